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
use crate::oauth::{Algorithm, Audience, ClientId, Issuer, ScopeSet, SignatureAlgorithm};
use crate::policy::DetailRequirement;

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
    /// The claim in which the client stands; default: `client_id`, or else `azp`.
    pub client_id_claim: Option<Box<str>>,
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
    /// `dpop`; absent: a token that is bound to a key is refused.
    pub dpop: Option<Dpop>,
    /// `certificate_bound`; absent: a token that is bound to a certificate is refused.
    pub certificate_bound: Option<Demand>,
    /// The claims that some rule or header of a route names: what a verdict must remember. Sorted.
    pub kept_claims: Vec<Box<str>>,
    /// Whether a verdict must remember what revocations can name: there is a revocation list.
    pub traced: bool,
    /// `revocation`: where we stand in for its revocation endpoint (RFC 7009).
    pub revocation: Option<OwnEndpoint>,
    /// `backchannel_logout`: where it tells us of logouts.
    pub logout: Option<BackchannelLogout>,
}

/// An address at which the gateway answers itself, on every listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnEndpoint {
    /// The one host that has it, in normal form; absent: every host.
    pub host: Option<Box<str>>,
    /// Its path, in normal form.
    pub path: Box<str>,
}

/// `[authorization_servers.NAME.backchannel_logout]` (OpenID Connect Back-Channel Logout 1.0).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackchannelLogout {
    /// Where logout tokens come in.
    pub at: OwnEndpoint,
    /// Whom they are for: `aud` names one of these clients. At least one.
    pub client_ids: Vec<ClientId>,
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

/// `tokens` of `dpop` and `certificate_bound`: which tokens a proof is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Demand {
    /// `"if_bound"`: those that are bound.
    IfBound,
    /// `"required"`: all, and one that is not bound is refused.
    Required,
}

/// `[authorization_servers.NAME.dpop]` (RFC 9449).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dpop {
    /// Which tokens it is asked for; default `"if_bound"`.
    pub tokens: Demand,
    /// What proofs may be signed with, in the order of the challenge.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// How long ago a proof may have been made; default 60 s.
    pub window: Duration,
    /// How long a nonce of ours lives; absent: proofs need none.
    pub nonce: Option<Duration>,
    /// What nonces are made with, so that several gateways take each other's; absent: something that
    /// this process alone has.
    pub nonce_secret: Option<Secret>,
    /// How many proofs are remembered at most; default 1,000,000.
    pub replay_entries: u64,
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
    /// `tls_client_auth` and `self_signed_tls_client_auth` (RFC 8705 §2): whom a certificate is
    /// good for is the server's business, and we send the same.
    Tls(ClientIdentity),
}

impl ClientAuthentication {
    /// What is asked, about which token, and by whom: never a matter of fixed `parameters`, since no
    /// parameter is sent twice (RFC 6749 §3.2).
    pub const PROTOCOL: [&str; 16] = [
        "actor_token",
        "actor_token_type",
        "assertion",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "grant_type",
        "refresh_token",
        "requested_token_type",
        "resource",
        "scope",
        "subject_token",
        "subject_token_type",
        "token",
        "token_type_hint",
    ];

    /// Whether it needs to know the server's token endpoint, wherever it asks.
    pub fn is_for_token_endpoint(&self) -> bool {
        match &self.method {
            ClientAuthenticationMethod::PrivateKeyJwt(key) => {
                key.audience == AssertionAudience::TokenEndpoint
            }
            ClientAuthenticationMethod::SecretBasic(..)
            | ClientAuthenticationMethod::SecretPost(_)
            | ClientAuthenticationMethod::Tls(_) => false,
        }
    }

    /// The certificate that it shows in the handshake, if that is how it proves who it is.
    pub fn identity(&self) -> Option<&ClientIdentity> {
        match &self.method {
            ClientAuthenticationMethod::Tls(identity) => Some(identity),
            ClientAuthenticationMethod::SecretBasic(..)
            | ClientAuthenticationMethod::SecretPost(_)
            | ClientAuthenticationMethod::PrivateKeyJwt(_) => None,
        }
    }
}

/// `certificate` and `client_key` of a client that authenticates by mutual TLS (RFC 8705 §2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientIdentity {
    /// The chain, our own certificate first.
    pub certificate: Vec<CertificateDer<'static>>,
    /// PEM; a pair with the certificate, which loading has tried.
    pub key: Secret,
    /// Where `certificate` was read.
    pub certificate_file: PathBuf,
    /// Where `client_key` was read; absent: the environment, which does not change.
    pub key_file: Option<PathBuf>,
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

/// `[clients.NAME]`: a client whose tokens the gateway fetches itself, for itself (RFC 6749 §4.4)
/// or for callers' tokens (RFC 8693, RFC 7523).
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
    /// Objects that it asks for beside them (RFC 9396); 16 at most.
    pub authorization_details: Vec<DetailRequirement>,
    /// What happens if fewer scopes or details are granted than asked for.
    pub partial_scopes: PartialScopes,
    /// How long after a refusal it is not asked again; default 10 s.
    pub negative_cache_ttl: Duration,
    /// How long a token without `expires_in` is used; default 60 s.
    pub cache_ttl: Duration,
    /// How it gets its tokens.
    pub grant: Grant,
    /// Whether tokens are renewed by refresh tokens, where the server gives them (RFC 6749 §6);
    /// default no: they are dropped.
    pub refresh_tokens: bool,
}

/// `grant` of a client: how it gets its tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grant {
    /// `client_credentials`: for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// For a caller's token.
    Exchange(Exchange),
}

impl Grant {
    /// The client whose token says who acts.
    pub fn actor(&self) -> Option<usize> {
        match self {
            Self::Exchange(Exchange { by: ExchangeGrant::TokenExchange(exchange), .. }) => {
                exchange.actor
            }
            Self::Exchange(Exchange { by: ExchangeGrant::JwtBearer, .. })
            | Self::ClientCredentials => None,
        }
    }

    /// As it is written.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Exchange(Exchange { by: ExchangeGrant::TokenExchange(_), .. }) => {
                "token_exchange"
            }
            Self::Exchange(Exchange { by: ExchangeGrant::JwtBearer, .. }) => "jwt_bearer",
        }
    }
}

/// How callers' tokens become others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// By which grant.
    pub by: ExchangeGrant,
    /// The longest that a token is used, whatever `expires_in` says: `cache_ttl` where it is
    /// written, else a day; zero turns the cache off.
    pub cap: Duration,
}

/// The grants that take a caller's token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExchangeGrant {
    /// `token_exchange` (RFC 8693).
    TokenExchange(TokenExchange),
    /// `jwt_bearer` (RFC 7523 §2.1).
    JwtBearer,
}

/// What a token exchange says beside the token (RFC 8693 §2.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenExchange {
    /// What the caller's token is called; default `access_token`.
    pub subject_token_type: TokenType,
    /// What is asked for; absent: the server chooses.
    pub requested_token_type: Option<TokenType>,
    /// `audience`, one parameter each.
    pub audiences: Vec<Box<str>>,
    /// The client of ours whose token says who acts: index into [`Config::clients`], and that one
    /// has [`Grant::ClientCredentials`].
    pub actor: Option<usize>,
}

/// A token type identifier (RFC 8693 §3); the others are of tokens that open no API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenType {
    /// `access_token`.
    AccessToken,
    /// `jwt`.
    Jwt,
}

impl TokenType {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::AccessToken, Self::Jwt];

    /// The identifier.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// `partial_scopes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartialScopes {
    /// 502; the missing ones go to log, `/status` and, of scopes, a metric.
    Refuse,
    /// Used for what was granted.
    Allow,
}
