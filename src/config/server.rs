//! Authorization servers and our own clients there, compiled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls_pki_types::CertificateDer;

#[cfg(doc)]
use super::Config;
use crate::base::secret::Secret;
use crate::oauth::{Algorithm, Audience, ClientId, Issuer, ScopeSet};

/// `[authorization_servers.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorizationServer {
    /// NAME: the label in metrics and logs.
    pub name: Box<str>,
    /// Who issues, and what `iss` must be.
    pub issuer: Issuer,
    /// What `aud` must contain, unless a route says otherwise; empty is a mistake unless every
    /// route says.
    pub audiences: Arc<[Audience]>,
    /// The claim in which the audience stands; default `aud`.
    pub audience_claim: Box<str>,
    /// What tokens may be signed with; default: all asymmetric ones that the keys support.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` values of access tokens; default `at+jwt`. `JWT` also lets an absent one pass.
    pub token_types: Vec<Box<str>>,
    /// How far clocks may differ; default 30 s.
    pub clock_skew: Duration,
    /// Where the keys come from.
    pub keys: KeySource,
    /// A secret shared with the issuer, for HS* only.
    pub shared_secret: Option<Secret>,
    /// Endpoints set by hand; each absent one is taken from the metadata.
    pub endpoints: Endpoints,
    /// How the key set is kept fresh.
    pub jwks: JwksTimes,
    /// How the server is reached.
    pub outbound: Outbound,
    /// `introspection`; absent: opaque tokens are refused.
    pub introspection: Option<Introspection>,
    /// `basic`; always there, its defaults apply where a route accepts Basic.
    pub basic: Basic,
    /// The claims that some rule or header of a route names: what a verdict must remember. Sorted.
    pub kept_claims: Vec<Box<str>>,
}

/// Where an authorization server's keys come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// From its metadata: RFC 8414, then OpenID discovery.
    Discovery,
    /// From this JWK Set URL.
    Uri(Uri),
    /// From a file, read at load: its path and content.
    File(PathBuf, Box<[u8]>),
}

/// Endpoints of an authorization server that the configuration names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoints {
    /// RFC 7662.
    pub introspection: Option<Uri>,
    /// RFC 6749 §3.2.
    pub token: Option<Uri>,
    /// RFC 7009.
    pub revocation: Option<Uri>,
}

/// `jwks` of an authorization server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksTimes {
    /// How old a key set gets before it is fetched again; default 15 min.
    pub refresh: Duration,
    /// At most one fetch for unknown key ids in this time; default 30 s.
    pub cooldown: Duration,
    /// How long old keys serve while refreshing fails; default 24 h.
    pub max_stale: Duration,
}

/// `outbound` of an authorization server: how we reach it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outbound {
    /// The only CA that counts for it; absent: the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Where `ca` was read.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy on the way; the environment is never asked for one.
    pub proxy: Option<Uri>,
    /// Default 2 s.
    pub connect_timeout: Duration,
    /// From the request to the last byte of its answer; default 5 s.
    pub timeout: Duration,
    /// Bytes of an answer's body; default 1 MiB.
    pub max_response: usize,
}

/// `[authorization_servers.NAME.introspection]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introspection {
    /// Our own client there.
    pub client: ClientAuthentication,
    /// The longest that a verdict lives; default 60 s; zero turns the cache off.
    pub cache_ttl: Duration,
    /// How long a bad token is remembered; default 10 s.
    pub negative_cache_ttl: Duration,
    /// Whether an answer without `aud` is refused; default true.
    pub require_audience: bool,
    /// What happens while the server cannot be asked.
    pub on_unavailable: OnUnavailable,
    /// Which tokens are asked about.
    pub introspect: Introspect,
    /// In which form answers come; another one is none.
    pub answer: IntrospectionAnswer,
}

/// `answer`: in which form the authorization server says what it knows of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IntrospectionAnswer {
    /// As JSON (RFC 7662 §2.2).
    Json,
    /// As a JWT that it signs (RFC 9701).
    Jwt,
}

/// `on_unavailable`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnUnavailable {
    /// 503.
    Refuse,
    /// A verdict that has run out of its `cache_ttl`, though not of the token's `exp`, serves on.
    ServeStale {
        /// For at most so long after its `cache_ttl`; default 5 min.
        max_stale: Duration,
    },
}

/// `introspect`: which tokens the authorization server is asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Introspect {
    /// Those that are no JWTs.
    Opaque,
    /// JWTs too: both must say yes.
    All,
}

/// `[authorization_servers.NAME.basic]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Basic {
    /// Which scopes are asked for.
    pub scopes: BasicScopes,
    /// The longest that a token obtained is used; default 60 s; bounded by `expires_in`.
    pub cache_ttl: Duration,
    /// How long a refused pair is remembered; default 10 s.
    pub negative_cache_ttl: Duration,
    /// How key and secret are encoded towards the authorization server.
    pub encoding: BasicEncoding,
}

/// `basic.scopes`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BasicScopes {
    /// `"route"`: what the route requires.
    Route,
    /// A list.
    These(ScopeSet),
    /// `"none"`: no `scope` parameter, the server's default.
    None,
}

/// `basic_encoding`: how id and secret go into an Authorization field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BasicEncoding {
    /// Form-encoded first (RFC 6749 §2.3.1).
    Form,
    /// As they are, for servers that do not decode.
    Raw,
}

/// How a client of ours proves who it is, at the token endpoint and at introspection alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientAuthentication {
    /// Who it is.
    pub client_id: ClientId,
    /// How it proves it.
    pub method: ClientAuthenticationMethod,
    /// Fixed extra parameters; nothing of a caller's request is ever among them.
    pub parameters: BTreeMap<String, String>,
}

/// `authentication` (RFC 7591 §2 has the names).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientAuthenticationMethod {
    /// `client_secret_basic`.
    SecretBasic(Secret, BasicEncoding),
    /// `client_secret_post`.
    SecretPost(Secret),
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt(AssertionKey),
}

impl ClientAuthentication {
    /// Whether it needs to know the server's token endpoint, wherever it asks.
    pub fn is_for_token_endpoint(&self) -> bool {
        match &self.method {
            ClientAuthenticationMethod::PrivateKeyJwt(key) => {
                key.audience == AssertionAudience::TokenEndpoint
            }
            ClientAuthenticationMethod::SecretBasic(..)
            | ClientAuthenticationMethod::SecretPost(_) => false,
        }
    }
}

/// The key of `private_key_jwt`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssertionKey {
    /// PKCS#8, PEM; it parses, which loading has tried.
    pub pem: Secret,
    /// What it signs with; default by the key's type: RS256, ES256, ES384 or EdDSA.
    pub algorithm: Algorithm,
    /// `kid` of the assertion, if the server wants one.
    pub key_id: Option<Box<str>>,
    /// Whom the assertion is for.
    pub audience: AssertionAudience,
}

/// `assertion_audience`: the `aud` of assertions, always one string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AssertionAudience {
    /// The issuer: no other server takes such an assertion for its own.
    Issuer,
    /// The token endpoint, for servers that take nothing else. Two servers can share its URL or
    /// name each other's, so that a key for it is for one server alone (RFC 9700 §2.1).
    TokenEndpoint,
}

/// `[clients.NAME]`: a client whose token the gateway fetches itself (RFC 6749 §4.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// NAME: the label in metrics and logs.
    pub name: Box<str>,
    /// Index into [`Config::servers`].
    pub server: usize,
    /// Who it is there.
    pub authentication: ClientAuthentication,
    /// What it asks for.
    pub scopes: ScopeSet,
    /// RFC 8707, one parameter each.
    pub resources: Vec<Box<str>>,
    /// What happens if fewer scopes are granted than asked for.
    pub partial_scopes: PartialScopes,
    /// How long after a refusal it is not asked again; default 10 s.
    pub negative_cache_ttl: Duration,
    /// How long a token without `expires_in` is used; default 60 s.
    pub cache_ttl: Duration,
}

/// `partial_scopes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartialScopes {
    /// 502; the missing ones go to log and metric.
    Refuse,
    /// Used for what was granted.
    Allow,
}
