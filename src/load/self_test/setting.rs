//! What a self-test needs around it, each thing ended with it: authorization server, upstream,
//! gateway, and the tokens.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::configuration::{self, AUDIENCE, CLIENT, ISSUER, Layout, SCOPE};
use super::gateway::Gateway;
use super::row::{Row, RowTokens};
use super::upstream::Upstream;
use super::{Event, Listener, Options, SelfTestError};
use crate::base::secret::Secret;
use crate::base::time::{self, UnixSeconds};
use crate::dev::authorization_server::{
    AuthorizationServer, CallCounts, Identity, RegisteredClient, TokenFacts, TokenFormat,
    random_name,
};
use crate::load::plan::{Bounds, Plan};
use crate::load::supply::Supply;
use crate::load::tokens::{Mint, MintKey, TokenKind};
use crate::oauth::{Audience, ClientId, ScopeSet};

/// Everything around a self-test.
pub(super) struct Setting {
    gateway: Gateway,
    authorization_server: AuthorizationServer,
    _upstream: Upstream,
    tokens: Tokens,
    connections: NonZeroUsize,
    /// The calls before the first row of each sort of token.
    before_opaque: Option<CallCounts>,
}

struct Tokens {
    jwt: Supply,
    opaque: Supply,
    scopeless: Supply,
    none: Supply,
}

impl Setting {
    /// Makes the tokens and starts it all; the gateway is ready then.
    pub(super) async fn start(
        options: Options,
        listener: &Arc<impl Listener>,
    ) -> Result<Self, SelfTestError> {
        let count = options.distinct_tokens.get();
        let key = MintKey::generate(options.algorithm).map_err(SelfTestError::Key)?;
        let secret = random_name().map_err(SelfTestError::Opaque)?;
        let authorization_server = authorization_server(&key, &secret).await?;
        let upstream = Upstream::start().await.map_err(SelfTestError::Upstream)?;
        let opaque = opaque(&authorization_server, count)?;
        let (jwt, scopeless) = jwts(key, count, listener).await?;
        let text = configuration::text(Layout {
            jwks_uri: &authorization_server.jwks_uri(),
            introspection_endpoint: &authorization_server.introspection_endpoint(),
            upstream: upstream.address(),
            tokens: count,
            connections: options.connections.get(),
        });
        let name = random_name().map_err(SelfTestError::Opaque)?;
        let gateway = Gateway::start(&format!("scopegate-self-test-{name}"), &text, &secret).await;
        Ok(Self {
            gateway: gateway.map_err(SelfTestError::Gateway)?,
            authorization_server,
            _upstream: upstream,
            tokens: Tokens { jwt, opaque, scopeless, none: Supply::absent() },
            connections: options.connections,
            before_opaque: None,
        })
    }

    /// The plan of a row. One thread drives it, so that tokens are sent strictly in turn.
    pub(super) fn plan(&self, row: Row, bounds: Bounds) -> Result<Plan, SelfTestError> {
        let url = format!("http://{}{}", self.gateway.address(), row.path());
        let target = url.parse().map_err(SelfTestError::Target)?;
        let plan = Plan::new(target, self.supply(row).clone());
        Ok(Plan { connections: self.connections, bounds, ..plan })
    }

    /// How many tokens a row has.
    pub(super) fn count(&self, row: Row) -> u64 {
        u64::try_from(self.supply(row).count()).unwrap_or(u64::MAX)
    }

    /// The calls to the authorization server so far.
    pub(super) fn calls(&self) -> CallCounts {
        self.authorization_server.calls()
    }

    /// The calls before any token of a row was sent, by this row or an earlier one.
    pub(super) fn calls_before(&mut self, row: Row) -> CallCounts {
        let now = self.calls();
        if row.tokens() == RowTokens::Opaque { *self.before_opaque.get_or_insert(now) } else { now }
    }

    /// The processor time of the gateway so far, if the system tells.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        self.gateway.processor_time()
    }

    /// Whether the gateway is gone.
    pub(super) fn gateway_has_ended(&mut self) -> bool {
        self.gateway.ended().is_some()
    }

    fn supply(&self, row: Row) -> &Supply {
        match row.tokens() {
            RowTokens::None => &self.tokens.none,
            RowTokens::Jwt => &self.tokens.jwt,
            RowTokens::Opaque => &self.tokens.opaque,
            RowTokens::Scopeless => &self.tokens.scopeless,
        }
    }
}

async fn authorization_server(
    key: &MintKey,
    secret: &str,
) -> Result<AuthorizationServer, SelfTestError> {
    let gateway = RegisteredClient {
        id: ClientId::new(CLIENT),
        secret: Secret::new(secret),
        scopes: ScopeSet::default(),
        format: TokenFormat::Opaque,
    };
    let identity = Identity { issuer: Some(ISSUER.to_owned()), keys: vec![key.jwk(KEY_ID)] };
    let started =
        AuthorizationServer::start_as(identity, vec![gateway], vec![Audience::new(AUDIENCE)]);
    started.await.map_err(SelfTestError::AuthorizationServer)
}

fn opaque(server: &AuthorizationServer, count: usize) -> Result<Supply, SelfTestError> {
    let now = time::now().unix;
    let tokens = (0..count).map(|_| server.opaque(facts(now), now));
    let tokens = tokens.collect::<Result<Vec<_>, _>>().map_err(SelfTestError::Opaque)?;
    supply(tokens.iter().map(String::as_str), TokenKind::Good)
}

fn facts(now: UnixSeconds) -> TokenFacts {
    TokenFacts {
        client_id: ClientId::new("scopegate-load"),
        scopes: ScopeSet::from_claim(SCOPE),
        audiences: vec![Audience::new(AUDIENCE)],
        issued: now,
        expires: now.plus(LIFETIME),
    }
}

/// Good JWTs, and some without the scope.
async fn jwts(
    key: MintKey,
    count: usize,
    listener: &Arc<impl Listener>,
) -> Result<(Supply, Supply), SelfTestError> {
    let listener = Arc::clone(listener);
    let minting = tokio::task::spawn_blocking(move || {
        let mint = mint(key);
        let now = time::now().unix;
        let done = |minted| listener(&Event::Minted(minted));
        let good = mint.tokens(&vec![TokenKind::Good; count], now, &done)?;
        let scopeless = mint.tokens(&[TokenKind::Scope; SCOPELESS], now, &|_| ())?;
        Ok((good, scopeless))
    });
    let minted = minting.await.map_err(|_| SelfTestError::Panicked)?;
    let (good, scopeless) = minted.map_err(SelfTestError::Key)?;
    let good = supply(good.iter().flatten().map(String::as_str), TokenKind::Good)?;
    Ok((good, supply(scopeless.iter().flatten().map(String::as_str), TokenKind::Scope)?))
}

fn mint(key: MintKey) -> Mint {
    Mint {
        key,
        key_id: Some(KEY_ID.into()),
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        scopes: ScopeSet::from_claim(SCOPE),
        lifetime: LIFETIME,
    }
}

fn supply<'t>(
    tokens: impl Iterator<Item = &'t str>,
    kind: TokenKind,
) -> Result<Supply, SelfTestError> {
    Supply::bearer(tokens, kind.name()).map_err(SelfTestError::Credential)
}

const KEY_ID: &str = "self-test";
/// Longer than a self-test of any size takes.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Their verdicts are cached like those of good ones: it makes no difference how many there are.
const SCOPELESS: usize = 100;
