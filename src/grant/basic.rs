//! A caller's key and secret, exchanged for a token as that client (RFC 7617, RFC 6749 §4.4).
//!
//! The upstream gets the token and never the secret. What the token is worth, the verifier says.
//!
//! # What holds
//! * Outcomes are kept under a digest over server, key, secret and the scopes asked for. A wrong
//!   secret beside a right one that is kept is another key, and an unknown client and a wrong
//!   secret take the same way.
//! * A good one is used for `cache_ttl` at most and never past the token's end; a refused one is
//!   not asked about again for `negative_cache_ttl`. What says neither yes nor no is not kept.
//! * Who has guessed wrong too often asks nothing new for a while, whatever it guesses
//!   ([`Guesses`]).

use std::net::IpAddr;
use std::sync::Arc;

use moka::sync::Cache;
use tokio::runtime::Handle;

use super::answer::{ErrorCode, TokenAnswer, TokenFailure};
use super::flight::Flights;
use super::guesses::Guesses;
use super::issued::{Issued, Refusal, Remaining, Why};
use super::own_token::good_for;
use super::request::{Asked, TokenRequest};
use super::{RETRY_DEFAULT, ask, until};
use crate::base::digest::Digest;
use crate::base::time::{self, Now};
use crate::config::{BasicScopes, ClientAuthentication, ClientAuthenticationMethod};
use crate::credential::BasicCredential;
use crate::oauth::ScopeSet;
use crate::reject::{OutageCause, Rejection, RetryAfter};
use crate::telemetry::CacheKind;
use crate::verify::{IssuedFacts, Server, Shared};

/// The exchange of callers' keys and secrets at one authorization server.
pub struct BasicExchange {
    inner: Arc<Inner>,
}

struct Inner {
    server: Arc<Server>,
    runtime: Handle,
    good: Cache<Digest, Arc<Issued>>,
    bad: Cache<Digest, Refusal>,
    flights: Flights<Digest, Outcome>,
    guesses: Guesses,
}

type Outcome = Result<Arc<Issued>, Refusal>;

impl BasicExchange {
    /// An exchange that remembers at most `bound` good and as many bad outcomes.
    pub fn new(server: Arc<Server>, bound: u64, shared: &Shared) -> Self {
        let good = Cache::builder().max_capacity(bound).expire_after(Remaining).build();
        let bad = Cache::builder().max_capacity(bound).expire_after(Remaining).build();
        let runtime = shared.runtime.clone();
        let flights = Flights::new(FLIGHTS_MAX);
        let guesses = Guesses::new();
        Self { inner: Arc::new(Inner { server, runtime, good, bad, flights, guesses }) }
    }

    /// Where the exchange is.
    pub fn server(&self) -> &Arc<Server> {
        &self.inner.server
    }

    /// How many good and bad outcomes are remembered.
    pub fn entries(&self) -> (u64, u64) {
        (self.inner.good.entry_count(), self.inner.bad.entry_count())
    }

    /// The scopes that are asked for on a route whose challenge names `route_scopes`; `None`: the
    /// server's default.
    pub fn asked<'s>(&'s self, route_scopes: &'s ScopeSet) -> Option<&'s ScopeSet> {
        match &self.inner.server.settings().basic.scopes {
            BasicScopes::Route => Some(route_scopes),
            BasicScopes::These(scopes) => Some(scopes),
            BasicScopes::None => None,
        }
    }

    /// The token that this key and secret are worth; `route_scopes` are those of the challenge,
    /// and by default those asked for. `from` is the caller's address, where it has one.
    ///
    /// # Errors
    /// 401 for a wrong pair, 429 after too many of them, 403 where the client may not have what the route requires, 502 and
    /// 503 where it is no fault of the caller's.
    pub async fn exchange(
        &self,
        credential: &BasicCredential,
        route_scopes: &ScopeSet,
        from: Option<IpAddr>,
        now: Now,
    ) -> Result<Arc<Issued>, Rejection> {
        let inner = &self.inner;
        let none = ScopeSet::default();
        let asked = self.asked(route_scopes).unwrap_or(&none);
        let key = inner.key(credential, asked);
        let outcome = match inner.recall(key, now) {
            Some(known) => {
                inner.server.metrics().hit(CacheKind::Basic);
                known
            }
            None => {
                inner.server.metrics().miss(CacheKind::Basic);
                let id = &credential.client_id;
                let wait = from.and_then(|from| inner.guesses.wait(from, id, now.instant));
                if let Some(wait) = wait {
                    return Err(Rejection::GuessedTooOften(RetryAfter::new(wait)));
                }
                inner.join(key, (credential, from), asked, now).await
            }
        };
        outcome.map_err(|refusal| refusal.rejection(&inner.server, route_scopes, now))
    }
}

impl Inner {
    fn key(&self, credential: &BasicCredential, asked: &ScopeSet) -> Digest {
        let server = self.server.id().get().to_be_bytes();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(3 + asked.len());
        parts.push(&server);
        parts.push(credential.client_id.as_str().as_bytes());
        parts.push(credential.secret.expose().as_bytes());
        parts.extend(asked.iter().map(|scope| scope.as_str().as_bytes()));
        Digest::of_parts(&parts)
    }

    fn recall(&self, key: Digest, now: Now) -> Option<Outcome> {
        let good = self.good.get(&key).filter(|issued| issued.is_good(now));
        let bad = || self.bad.get(&key).filter(|refusal| now.instant < refusal.until);
        good.map(Ok).or_else(|| bad().map(Err))
    }

    async fn join(
        self: &Arc<Self>,
        key: Digest,
        (credential, from): (&BasicCredential, Option<IpAddr>),
        asked: &ScopeSet,
        now: Now,
    ) -> Outcome {
        let (inner, credential, asked) = (Arc::clone(self), credential.clone(), asked.clone());
        let flight = || async move {
            // Whoever missed while the last flight landed finds here what it left.
            match inner.recall(key, now) {
                Some(known) => known,
                None => {
                    let outcome = inner.ask(key, &credential, &asked).await;
                    if let (Err(Refusal { why: Why::Credential, .. }), Some(from)) =
                        (&outcome, from)
                    {
                        // Not `key`: the same pair on a route with other scopes is no other guess.
                        let pair = inner.key(&credential, &ScopeSet::default());
                        let now = time::now().instant;
                        inner.guesses.count(from, &credential.client_id, pair, now);
                    }
                    outcome
                }
            }
        };
        let busy = Refusal { why: Why::Outage(OutageCause::Busy), until: now.instant };
        self.flights.join(key, &self.runtime, flight).await.unwrap_or(Err(busy))
    }

    async fn ask(&self, key: Digest, credential: &BasicCredential, asked: &ScopeSet) -> Outcome {
        if credential.client_id.as_str().is_empty() || credential.secret.expose().is_empty() {
            // Servers call this a bad request, which would look like a fault of ours; and this
            // grant is for clients with a secret alone (RFC 6749 §4.4).
            return Err(self.keep_bad(key, TokenFailure::Refused(ErrorCode::InvalidClient)));
        }
        let basic = &self.server.settings().basic;
        let secret = credential.secret.clone();
        let client = ClientAuthentication {
            client_id: credential.client_id.clone(),
            method: ClientAuthenticationMethod::SecretBasic(secret, basic.encoding),
            parameters: Default::default(),
        };
        let grant = Asked::ClientCredentials;
        let request =
            TokenRequest { client: &client, grant, scopes: asked, resources: &[], details: &[] };
        let sent = time::now();
        match ask(&self.server, self.server.outbound(), &request, sent).await {
            Ok(answer) => self.keep_good(key, answer, credential, asked, sent),
            Err(failure) => Err(self.keep_bad(key, failure)),
        }
    }

    fn keep_good(
        &self,
        key: Digest,
        answer: TokenAnswer,
        credential: &BasicCredential,
        asked: &ScopeSet,
        sent: Now,
    ) -> Outcome {
        let ttl = self.server.settings().basic.cache_ttl;
        let life = answer.life.unwrap_or(ttl);
        let kept = good_for(life).min(ttl);
        let facts = IssuedFacts {
            client_id: credential.client_id.clone(),
            scopes: self.granted(&answer, asked),
            expires: sent.unix.plus(life),
        };
        let good_until = until(sent.instant, kept);
        let issued = Arc::new(Issued::new(answer.bearer, facts, good_until));
        if !kept.is_zero() {
            self.bad.invalidate(&key);
            self.good.insert(key, Arc::clone(&issued));
        }
        Ok(issued)
    }

    /// What is known of the scopes; `None` where the verifier will ask, and where nobody can tell.
    fn granted(&self, answer: &TokenAnswer, asked: &ScopeSet) -> Option<ScopeSet> {
        let as_asked = || {
            let nobody_to_ask = self.server.settings().introspection.is_none();
            (nobody_to_ask && !asked.is_empty()).then(|| asked.clone())
        };
        answer.scopes_said().or_else(as_asked)
    }

    fn keep_bad(&self, key: Digest, failure: TokenFailure) -> Refusal {
        let ttl = self.server.settings().basic.negative_cache_ttl;
        let (why, keep) = match failure {
            TokenFailure::Refused(code) => (Why::of(code), Some(ttl)),
            TokenFailure::Unusable => (Why::Unusable, None),
            TokenFailure::Outage(cause, wait) => (Why::Outage(cause), wait),
        };
        if let Why::Request(error) = why {
            let server = &self.server.settings().name;
            tracing::warn!(%server, error, "exchange of callers' credentials was refused");
        }
        let until = until(time::now().instant, keep.unwrap_or(RETRY_DEFAULT));
        let refusal = Refusal { why, until };
        if keep.is_some_and(|keep| !keep.is_zero()) {
            self.bad.insert(key, refusal.clone());
        }
        refusal
    }
}

/// Exchanges under way at once at one authorization server; over it: 503. More would be a flood
/// of made-up keys, and each holds a connection there.
const FLIGHTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::super::testing::{Fixture, jwt, later, scopes};
    use super::*;
    use crate::base::secret::Secret;
    use crate::config::{Basic, BasicEncoding};
    use crate::oauth::ClientId;
    use crate::outbound::testing::{Reply, Seen};
    use crate::reject::{Outage, OwnClientCause, OwnClientFailure};

    fn credential(id: &str, secret: &str) -> BasicCredential {
        BasicCredential { client_id: ClientId::new(id), secret: Secret::new(secret) }
    }

    fn good(more: &str) -> Reply {
        Reply::json(&format!(r#"{{"access_token":"t","token_type":"Bearer"{more}}}"#))
    }

    async fn fixture(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Fixture {
        Fixture::start(answer).await
    }

    fn exchange_of(fixture: &Fixture) -> Arc<BasicExchange> {
        Arc::new(BasicExchange::new(Arc::clone(&fixture.server), 100, &fixture.shared))
    }

    /// Right for `id:right` alone.
    fn judge(seen: &Seen) -> Reply {
        match seen.header("authorization") {
            Some("Basic aWQ6cmlnaHQ=") => good(r#","expires_in":20"#),
            _ => Reply::new(401).body(r#"{"error":"invalid_client"}"#),
        }
    }

    #[tokio::test]
    async fn a_right_pair_is_exchanged_once_until_near_the_tokens_end() {
        let fixture = fixture(judge).await;
        let exchange = exchange_of(&fixture);
        let now = time::now();
        let pair = credential("id", "right");
        let issued = exchange.exchange(&pair, &scopes("b a"), None, now).await.unwrap();
        assert_eq!(
            (issued.token().expose(), issued.authorization().as_bytes()),
            ("t", &b"Bearer t"[..])
        );
        assert!(issued.authorization().is_sensitive());
        assert_eq!(issued.facts().client_id.as_str(), "id");
        let [seen] = &fixture.authorization_server.seen()[..] else { panic!("one request") };
        assert_eq!(seen.body, "grant_type=client_credentials&scope=a+b");
        exchange.exchange(&pair, &scopes("a b"), None, later(now, 17)).await.unwrap();
        assert_eq!(fixture.authorization_server.seen().len(), 1);
        exchange.exchange(&pair, &scopes("a b"), None, later(now, 19)).await.unwrap();
        assert_eq!(fixture.authorization_server.seen().len(), 2);
        exchange.exchange(&pair, &scopes("a"), None, now).await.unwrap();
        assert_eq!(fixture.authorization_server.seen().len(), 3, "other scopes are another token");
    }

    #[tokio::test]
    async fn without_expires_in_and_past_cache_ttl_the_pair_is_asked_about_again() {
        for more in ["", r#","expires_in":3600"#] {
            let fixture = fixture(move |_| good(more)).await;
            let exchange = exchange_of(&fixture);
            let (now, pair, none) = (time::now(), credential("id", "s"), ScopeSet::default());
            for (after, calls) in [(0, 1), (57, 1), (61, 2)] {
                exchange.exchange(&pair, &none, None, later(now, after)).await.unwrap();
                assert_eq!(fixture.authorization_server.seen().len(), calls, "{more} {after}");
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_beside_a_cached_right_one_is_asked_about_and_refused() {
        let fixture = fixture(judge).await;
        let exchange = exchange_of(&fixture);
        let (now, none) = (time::now(), ScopeSet::default());
        exchange.exchange(&credential("id", "right"), &none, None, now).await.unwrap();
        for (id, secret) in [("id", "wrong"), ("unknown", "right")] {
            for _ in 0..3 {
                let outcome = exchange.exchange(&credential(id, secret), &none, None, now).await;
                assert_eq!(outcome.unwrap_err(), Rejection::BasicRefused);
            }
        }
        assert_eq!(fixture.authorization_server.seen().len(), 3, "one call per wrong pair");
        exchange.exchange(&credential("id", "right"), &none, None, now).await.unwrap();
        assert_eq!(fixture.authorization_server.seen().len(), 3);
        let outcome =
            exchange.exchange(&credential("id", "wrong"), &none, None, later(now, 11)).await;
        assert_eq!(outcome.unwrap_err(), Rejection::BasicRefused);
        assert_eq!(fixture.authorization_server.seen().len(), 4);
        let lookups =
            |result| fixture.counted("scopegate_cache_lookups_total", &["main", "basic", result]);
        assert_eq!((lookups("hit"), lookups("miss")), (5.0, 4.0));
        let calls = |outcome| {
            let family = "scopegate_authorization_server_calls_total";
            fixture.counted(family, &["main", "token", outcome])
        };
        assert_eq!((calls("answered"), calls("refused")), (1.0, 3.0));
    }

    #[tokio::test]
    async fn rfc6749_10_10_one_wrong_pair_on_many_routes_is_one_guess() {
        let fixture = fixture(judge).await;
        let exchange = exchange_of(&fixture);
        let (now, from) = (time::now(), Some([192, 0, 2, 1].into()));
        for route in 0..12 {
            let (old, asked) = (credential("id", "old"), scopes(&format!("route-{route}")));
            let outcome = exchange.exchange(&old, &asked, from, now).await;
            assert_eq!(outcome.unwrap_err(), Rejection::BasicRefused, "{route}");
        }
        let right = credential("id", "right");
        assert!(exchange.exchange(&right, &scopes("a"), from, now).await.is_ok());
    }

    #[tokio::test]
    async fn two_hundred_callers_with_one_pair_make_one_exchange_and_one_that_leaves_fails_nobody()
    {
        let fixture = fixture(judge).await;
        let exchange = exchange_of(&fixture);
        let ask = || {
            let exchange = Arc::clone(&exchange);
            let (pair, none) = (credential("id", "right"), ScopeSet::default());
            async move { exchange.exchange(&pair, &none, None, time::now()).await }.boxed()
        };
        fixture.two_hundred(ask).await;
    }

    #[tokio::test]
    async fn rfc6749_5_2_each_error_is_told_by_whose_fault_it_is() {
        let ours =
            |cause| Rejection::OwnClientRefused(OwnClientFailure { client: "main".into(), cause });
        let scope = || Rejection::ScopeInsufficient(scopes("a"));
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_client"}"#, Rejection::BasicRefused),
            (401, "", Rejection::BasicRefused),
            (400, r#"{"error":"invalid_scope"}"#, scope()),
            (400, r#"{"error":"unauthorized_client"}"#, scope()),
            (
                400,
                r#"{"error":"invalid_request"}"#,
                ours(OwnClientCause::Refused("invalid_request")),
            ),
            (
                400,
                r#"{"error":"unsupported_grant_type"}"#,
                ours(OwnClientCause::Refused("unsupported_grant_type")),
            ),
            (200, r#"{"access_token":"t","token_type":"mac"}"#, ours(OwnClientCause::Unusable)),
            (404, "", ours(OwnClientCause::Unusable)),
        ] {
            let fixture = fixture(move |_| Reply::new(status).body(body)).await;
            let exchange = exchange_of(&fixture);
            let pair = credential("id", "s");
            let outcome = exchange.exchange(&pair, &scopes("a"), None, time::now()).await;
            assert_eq!(outcome.unwrap_err(), expected, "{status} {body}");
        }
    }

    #[tokio::test]
    async fn an_empty_key_or_secret_is_wrong_without_a_call() {
        let fixture = fixture(judge).await;
        let exchange = exchange_of(&fixture);
        for (id, secret) in [("", ""), ("id", ""), ("", "right")] {
            let pair = credential(id, secret);
            let outcome = exchange.exchange(&pair, &scopes("a"), None, time::now()).await;
            assert_eq!(outcome.unwrap_err(), Rejection::BasicRefused);
        }
        assert!(fixture.authorization_server.seen().is_empty());
    }

    #[tokio::test]
    async fn an_outage_is_503_and_kept_only_for_as_long_as_the_server_said() {
        for (reply, retry_after, calls) in [
            (Reply::new(503), 1, 2),
            (Reply::new(429).header("retry-after", "30"), 30, 1),
            (Reply::new(400).body(r#"{"error":"server_error"}"#), 1, 2),
        ] {
            let fixture = fixture(move |_| reply.clone()).await;
            let exchange = exchange_of(&fixture);
            let (now, pair, none) = (time::now(), credential("id", "s"), ScopeSet::default());
            let outcome = exchange.exchange(&pair, &none, None, now).await.unwrap_err();
            let Rejection::VerifierUnavailable(outage) = outcome else { panic!("an outage") };
            let expected = Outage {
                issuer: fixture.server.settings().issuer.clone(),
                cause: OutageCause::Status,
                retry_after: RetryAfter::new(Duration::from_secs(retry_after)),
            };
            // Counted from the answer, which comes a little after `now`.
            assert!(outage.retry_after.seconds() - retry_after <= 1);
            assert_eq!(Outage { retry_after: expected.retry_after, ..outage }, expected);
            assert!(exchange.exchange(&pair, &none, None, now).await.is_err());
            assert_eq!(fixture.authorization_server.seen().len(), calls);
        }
    }

    #[tokio::test]
    async fn the_scopes_asked_for_are_those_of_the_setting() {
        let these = BasicScopes::These(scopes("c"));
        for (setting, expected) in [
            (BasicScopes::Route, vec!["a b".to_owned()]),
            (these, vec!["c".to_owned()]),
            (BasicScopes::None, vec![]),
        ] {
            let basic = Basic { scopes: setting, ..Fixture::basic() };
            let fixture = Fixture::start_basic(basic, |_| good("")).await;
            let exchange = exchange_of(&fixture);
            let pair = credential("id", "s");
            exchange.exchange(&pair, &scopes("b a"), None, time::now()).await.unwrap();
            assert_eq!(fixture.authorization_server.seen()[0].form("scope"), expected);
        }
    }

    #[tokio::test]
    async fn rfc6749_2_3_1_key_and_secret_travel_form_encoded_or_raw_as_set() {
        for (encoding, expected) in [
            (BasicEncoding::Form, "Basic YStiJTNBYzpwJTI1cSUyQiVDMyVBOQ=="),
            (BasicEncoding::Raw, "Basic YSBiOmM6cCVxK8Op"),
        ] {
            let fixture =
                Fixture::start_basic(Basic { encoding, ..Fixture::basic() }, |_| good("")).await;
            let exchange = exchange_of(&fixture);
            let pair = credential("a b:c", "p%q+é");
            exchange.exchange(&pair, &ScopeSet::default(), None, time::now()).await.unwrap();
            let seen = &fixture.authorization_server.seen()[0];
            assert_eq!(seen.header("authorization"), Some(expected));
            assert!(seen.form("client_secret").is_empty() && seen.form("client_id").is_empty());
        }
    }

    #[tokio::test]
    async fn scopes_that_nobody_named_are_those_asked_for_or_unknown_and_never_all() {
        let (partial, scopeless) = (jwt(r#"{"scope":"a"}"#), jwt("{}"));
        #[rustfmt::skip]
        let cases = [
            ("said",                   "t",       r#","scope":"a""#, "a b", Some("a")),
            ("silent, opaque",         "t",       "",                "a b", Some("a b")),
            ("silent, none asked",     "t",       "",                "",    None),
            ("silent, a JWT",          &*partial, "",                "a b", Some("a")),
            ("silent, a JWT has none", &*scopeless, "",              "a b", Some("")),
        ];
        for (claim, token, more, asked, expected) in cases {
            let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"{more}}}"#);
            let fixture = fixture(move |_| Reply::json(&body)).await;
            let pair = credential("id", "s");
            let exchange = exchange_of(&fixture);
            let issued = exchange.exchange(&pair, &scopes(asked), None, time::now()).await.unwrap();
            assert_eq!(issued.facts().scopes, expected.map(scopes), "{claim}");
        }
        let fixture = Fixture::start_introspecting(|_| good("")).await;
        let exchange = exchange_of(&fixture);
        let pair = credential("id", "s");
        let issued = exchange.exchange(&pair, &scopes("a"), None, time::now()).await.unwrap();
        assert_eq!(issued.facts().scopes, None, "the verifier asks");
    }
}
