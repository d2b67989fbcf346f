//! An authorization server and what the tests of this room need around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;

use super::answer::{self, BearerToken};
use super::request::Asked;
use crate::base::secret::Secret;
use crate::base::time::Now;
use crate::config::{
    AuthorizationServer, Basic, BasicEncoding, BasicScopes, Caches, Client,
    ClientAuthenticationMethod, Endpoints, Grant, Introspect, Introspection, IntrospectionAnswer,
    JwksTimes, KeySource, OnUnavailable, PartialScopes,
};
use crate::oauth::{Audience, Issuer, Plaintext, ScopeSet, ServerId};
use crate::outbound::testing::{FakeServer, Reply, Seen, client_of, outbound};
use crate::reject::Rejection;
use crate::telemetry::Metrics;
use crate::verify::{Server, Shared, TokenCaches};

pub(super) use crate::outbound::testing::answer_of;

pub(super) fn scopes(text: &str) -> ScopeSet {
    ScopeSet::from_claim(text)
}

pub(super) fn bearer(token: &str) -> BearerToken {
    let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#);
    answer::read(&answer_of(200, &body), &Asked::ClientCredentials).unwrap().bearer
}

/// A JWT with those claims and no good signature.
pub(super) fn jwt(claims: &str) -> String {
    let part = |json| BASE64_URL_SAFE_NO_PAD.encode(json);
    format!("{}.{}.c2ln", part(r#"{"typ":"at+jwt","alg":"RS256"}"#), part(claims))
}

pub(super) fn later(now: Now, seconds: u64) -> Now {
    let wait = Duration::from_secs(seconds);
    Now { unix: now.unix.plus(wait), instant: now.instant + wait }
}

/// A scripted authorization server, and the live view of it.
pub(super) struct Fixture {
    pub(super) authorization_server: FakeServer,
    pub(super) server: Arc<Server>,
    pub(super) shared: Shared,
}

impl Fixture {
    pub(super) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(FakeServer::start(answer).await, |_, settings| settings)
    }

    /// That reply so many times, and 503 from then on.
    pub(super) async fn start_silenced_after(times: usize, reply: Reply) -> Self {
        let left = AtomicUsize::new(times);
        Self::start(move |_| {
            let one_less = |left: usize| left.checked_sub(1);
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
                Ok(_) => reply.clone(),
                Err(_) => Reply::new(503),
            }
        })
        .await
    }

    /// Two hundred ask at once, and one of them goes away while the server thinks: all others must
    /// get what they asked for, and the server must have been asked once. Gives what they got.
    pub(super) async fn two_hundred<T: Send + 'static>(
        &self,
        ask: impl Fn() -> BoxFuture<'static, Result<T, Rejection>>,
    ) -> Vec<T> {
        self.authorization_server.hold();
        let mut waiting: Vec<_> = (0..200).map(|_| tokio::spawn(ask())).collect();
        self.authorization_server.wait_for(1).await;
        waiting.remove(0).abort();
        self.authorization_server.release();
        let mut got = Vec::new();
        for one in waiting {
            got.push(one.await.unwrap().unwrap());
        }
        assert_eq!(self.authorization_server.seen().len(), 1);
        got
    }

    pub(super) async fn start_basic(
        basic: Basic,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let server = FakeServer::start(answer).await;
        Self::with(server, |_, settings| AuthorizationServer { basic, ..settings })
    }

    pub(super) async fn start_introspecting(
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(FakeServer::start(answer).await, |server, mut settings| {
            settings.endpoints.introspection = Some(server.url("/introspect"));
            settings.introspection = Some(introspection());
            settings
        })
    }

    pub(super) async fn start_without_endpoint(server: FakeServer) -> Self {
        Self::with(server, |_, settings| AuthorizationServer {
            endpoints: Endpoints::default(),
            ..settings
        })
    }

    fn with(
        authorization_server: FakeServer,
        change: impl FnOnce(&FakeServer, AuthorizationServer) -> AuthorizationServer,
    ) -> Self {
        let caches = Caches { tokens: 100, negative: 100, basic: 100, exchanged: 100, signed: 100 };
        let shared = Shared {
            runtime: tokio::runtime::Handle::current(),
            metrics: Arc::new(Metrics::new()),
            caches: Arc::new(TokenCaches::new(&caches)),
            proofs: Arc::default(),
        };
        let settings = change(&authorization_server, settings(&authorization_server));
        let server = Server::start(ServerId::new(1), settings, &shared).unwrap();
        Self { authorization_server, server, shared }
    }

    /// The counter of that family whose labels have those values, in any order.
    pub(super) fn counted(&self, family: &str, labels: &[&str]) -> f64 {
        let families = self.shared.metrics.registry().gather();
        let family = families.iter().find(|one| one.name() == family).unwrap();
        let fits = |metric: &&prometheus::proto::Metric| {
            let has = |label| metric.get_label().iter().any(|one| one.value() == label);
            labels.iter().all(|label| has(*label))
        };
        family.get_metric().iter().find(fits).unwrap().get_counter().get_value()
    }

    pub(super) fn basic() -> Basic {
        Basic {
            scopes: BasicScopes::Route,
            cache_ttl: Duration::from_secs(60),
            negative_cache_ttl: Duration::from_secs(10),
            encoding: BasicEncoding::Form,
        }
    }

    pub(super) fn client_settings(&self) -> Client {
        Client {
            name: "reports".into(),
            server: 0,
            authentication: client_of("reports", secret_basic()),
            scopes: ScopeSet::default(),
            resources: vec![],
            authorization_details: vec![],
            partial_scopes: PartialScopes::Refuse,
            negative_cache_ttl: Duration::from_secs(10),
            cache_ttl: Duration::from_secs(60),
            grant: Grant::ClientCredentials,
            refresh_tokens: false,
        }
    }
}

fn secret_basic() -> ClientAuthenticationMethod {
    ClientAuthenticationMethod::SecretBasic(Secret::new("s3cret"), BasicEncoding::Form)
}

fn introspection() -> Introspection {
    Introspection {
        client: client_of("gateway", secret_basic()),
        cache_ttl: Duration::from_secs(60),
        negative_cache_ttl: Duration::from_secs(10),
        require_audience: false,
        on_unavailable: OnUnavailable::Refuse,
        introspect: Introspect::Opaque,
        answer: IntrospectionAnswer::Json,
    }
}

fn settings(server: &FakeServer) -> AuthorizationServer {
    AuthorizationServer {
        name: "main".into(),
        issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
        audiences: [Audience::new("https://api.test")].into(),
        audience_claim: "aud".into(),
        client_id_claim: None,
        algorithms: vec![],
        token_types: vec!["at+jwt".into()],
        clock_skew: Duration::from_secs(30),
        keys: KeySource::File("keys.json".into(), Box::from(&br#"{"keys":[]}"#[..])),
        shared_secret: None,
        endpoints: Endpoints { token: Some(server.url("/token")), ..Endpoints::default() },
        jwks: JwksTimes {
            refresh: Duration::from_secs(900),
            cooldown: Duration::from_secs(30),
            max_stale: Duration::from_secs(86_400),
        },
        outbound: outbound(),
        introspection: None,
        basic: Fixture::basic(),
        dpop: None,
        certificate_bound: None,
        kept_claims: vec![],
        traced: false,
        revocation: None,
        logout: None,
    }
}
