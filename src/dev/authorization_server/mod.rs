//! A development authorization server: small and right, and on loopback only.
//!
//! Metadata (RFC 8414), a key set, client credentials (RFC 6749 §4.4), introspection (RFC 7662)
//! and revocation (RFC 7009); access tokens as JWTs (RFC 9068) or opaque. From Rust, and from
//! Rust alone, it makes any token: expired, for another scope, tampered with.
//!
//! # What holds
//! * Nothing outlives the process: a new key at each start, tokens in memory, all of it bounded.
//! * Every request is answered by a plain function of state, request and time.

mod answer;
mod calls;
mod client;
mod form;
mod introspection;
mod mint;
mod store;
mod token;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub use calls::CallCounts;
pub use client::{RegisteredClient, TokenFormat};
pub use mint::{MintError, TokenFacts, tampered};

use crate::base::time::UnixSeconds;
use crate::dev::loopback::{Loopback, Port, bare};
use crate::dev::narrate::STORY;
use crate::oauth::{Audience, RawToken};

use answer::OAuthError;
use calls::Calls;
use client::Registry;
use mint::SigningKey;
use store::Store;

/// A running authorization server; dropping it ends it.
#[derive(Debug)]
pub struct AuthorizationServer {
    state: Arc<State>,
    _server: Loopback,
}

/// Under which name a server goes, and which keys it vouches for beside its own.
#[derive(Debug, Default)]
pub struct Identity {
    /// Its issuer identifier; absent: `http://127.0.0.1:PORT`.
    pub issuer: Option<String>,
    /// JWKs of others, which its key set has too: what they sign counts as the server's.
    pub keys: Vec<Value>,
}

/// A name that nobody can guess.
pub(crate) fn random_name() -> Result<String, MintError> {
    mint::random_text::<16>()
}

/// Why it did not start.
#[derive(Debug)]
pub enum StartError {
    /// No port on loopback.
    Port(io::Error),
    /// No signing key.
    Key(MintError),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(error) => write!(formatter, "no port on loopback: {error}"),
            Self::Key(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for StartError {}

impl AuthorizationServer {
    /// Starts it on a port that the system picks. Tokens are for the first of `resources`, unless
    /// a client asks for others of them.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        clients: Vec<RegisteredClient>,
        resources: Vec<Audience>,
    ) -> Result<Self, StartError> {
        Self::start_as(Identity::default(), clients, resources).await
    }

    /// Starts it under another name than its address: a gateway that trusts it is then told where
    /// its endpoints are.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_as(
        identity: Identity,
        clients: Vec<RegisteredClient>,
        resources: Vec<Audience>,
    ) -> Result<Self, StartError> {
        let port = Port::take().await.map_err(StartError::Port)?;
        let base = format!("http://{}", port.address());
        let state = Arc::new(State {
            issuer: identity.issuer.unwrap_or_else(|| base.clone()),
            base,
            key: SigningKey::generate().map_err(StartError::Key)?,
            other_keys: identity.keys,
            clients: Registry::new(clients),
            resources,
            store: Mutex::default(),
            calls: Calls::default(),
        });
        let answering = Arc::clone(&state);
        let server =
            port.serve(move |request: &Request<Bytes>, now| answering.answer(request, now));
        Ok(Self { state, _server: server })
    }

    /// Its issuer identifier, `http://127.0.0.1:PORT` unless it was started under another name.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// The URL of its key set.
    pub fn jwks_uri(&self) -> String {
        self.state.at(JWKS)
    }

    /// The URL of its introspection endpoint.
    pub fn introspection_endpoint(&self) -> String {
        self.state.at(INTROSPECTION)
    }

    /// How often it has been called so far.
    pub fn calls(&self) -> CallCounts {
        self.state.calls.counts()
    }

    /// Signs a JWT that says `facts`, whatever they are.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn jwt(&self, facts: &TokenFacts) -> Result<String, MintError> {
        self.state.key.sign(&self.state.issuer, facts)
    }

    /// Makes an opaque token that introspection knows as `facts`.
    ///
    /// # Errors
    /// [`MintError`], also when the store is full.
    pub fn opaque(&self, facts: TokenFacts, now: UnixSeconds) -> Result<String, MintError> {
        self.state.opaque(facts, now).map_err(|_| MintError)
    }
}

#[derive(Debug)]
struct State {
    issuer: String,
    /// `http://127.0.0.1:PORT`.
    base: String,
    key: SigningKey,
    other_keys: Vec<Value>,
    clients: Registry,
    resources: Vec<Audience>,
    store: Mutex<Store>,
    calls: Calls,
}

impl State {
    fn answer(&self, request: &Request<Bytes>, now: UnixSeconds) -> Response<Full<Bytes>> {
        self.calls.count(request.uri().path());
        let is_get = request.method() == Method::GET;
        let is_post = request.method() == Method::POST;
        match request.uri().path() {
            METADATA | OPENID_CONFIGURATION if is_get => answer::public(&self.metadata()),
            JWKS if is_get => answer::public(&self.key.key_set(&self.other_keys)),
            METADATA | OPENID_CONFIGURATION | JWKS => answer::only("GET"),
            TOKEN if is_post => self.token(request, now),
            INTROSPECTION if is_post => self.introspection(request, now),
            REVOCATION if is_post => self.revocation(request, now),
            TOKEN | INTROSPECTION | REVOCATION => answer::only("POST"),
            _ => bare(StatusCode::NOT_FOUND),
        }
    }

    /// RFC 8414 §2; it answers OpenID discovery too, for clients that know no other.
    fn metadata(&self) -> Value {
        let at = |path: &str| self.at(path);
        let ways = ["client_secret_basic", "client_secret_post"];
        json!({
            "issuer": self.issuer,
            "jwks_uri": at(JWKS),
            "token_endpoint": at(TOKEN),
            "introspection_endpoint": at(INTROSPECTION),
            "revocation_endpoint": at(REVOCATION),
            "grant_types_supported": ["client_credentials"],
            // Required, and empty: there is no authorization endpoint.
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ways,
            "introspection_endpoint_auth_methods_supported": ways,
            "revocation_endpoint_auth_methods_supported": ways,
        })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn opaque(&self, facts: TokenFacts, now: UnixSeconds) -> Result<String, OAuthError> {
        let token = mint::random_text::<32>().map_err(|_| OAuthError::Full)?;
        self.store().keep(RawToken::new(&token), facts, now)?;
        Ok(token)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // No method of the store leaves it half changed, so a panic elsewhere does not spoil it.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/jwks";
const TOKEN: &str = "/token";
const INTROSPECTION: &str = "/introspect";
const REVOCATION: &str = "/revoke";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::base::secret::Secret;
    use crate::dev::loopback::tests::raw;
    use crate::oauth::{ClientId, ScopeSet};

    fn clients() -> Vec<RegisteredClient> {
        let client = |id: &str, secret, scopes, format| RegisteredClient {
            id: ClientId::new(id),
            secret: Secret::new(secret),
            scopes: ScopeSet::from_claim(scopes),
            format,
        };
        vec![
            client("shop", "s", "orders:read orders:write", TokenFormat::Jwt),
            client("mobile", "m", "orders:read", TokenFormat::Opaque),
            client("gateway", "g", "", TokenFormat::Jwt),
        ]
    }

    fn resources() -> Vec<Audience> {
        ["https://a.test", "https://b.test"].map(Audience::new).into()
    }

    /// A server without a network.
    pub(super) fn state() -> State {
        State {
            issuer: "http://127.0.0.1:1".into(),
            base: "http://127.0.0.1:1".into(),
            key: SigningKey::generate().unwrap(),
            other_keys: Vec::new(),
            clients: Registry::new(clients()),
            resources: resources(),
            store: Mutex::default(),
            calls: Calls::default(),
        }
    }

    fn text(response: Response<Full<Bytes>>) -> Response<String> {
        let (head, body) = response.into_parts();
        let body = futures_util::FutureExt::now_or_never(body.collect()).unwrap().unwrap();
        Response::from_parts(head, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    /// Posts a form with Basic credentials.
    pub(super) fn post(
        state: &State,
        path: &str,
        who: &str,
        form: &str,
        now: UnixSeconds,
    ) -> Response<String> {
        let request = Request::post(path)
            .header("authorization", format!("Basic {}", STANDARD.encode(who)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .unwrap();
        text(state.answer(&request, now))
    }

    /// A token from the token endpoint.
    pub(super) fn issued(state: &State, who: &str, now: UnixSeconds) -> String {
        let answer = post(state, "/token", who, "grant_type=client_credentials", now);
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    #[test]
    fn rfc8414_3_2_metadata_names_the_issuer_and_every_endpoint_exists() {
        let state = state();
        for path in [METADATA, OPENID_CONFIGURATION] {
            let request = Request::get(path).body(Bytes::new()).unwrap();
            let answer = text(state.answer(&request, UnixSeconds::new(0)));
            let metadata: Value = serde_json::from_str(answer.body()).unwrap();
            assert_eq!(metadata["issuer"], "http://127.0.0.1:1");
            for name in ["token_endpoint", "introspection_endpoint", "revocation_endpoint"] {
                let endpoint = metadata[name].as_str().unwrap().parse::<http::Uri>().unwrap();
                let status = post(&state, endpoint.path(), "a:b", "", UnixSeconds::new(0)).status();
                assert_eq!(status, 401, "{name} asks who it is");
            }
        }
    }

    #[tokio::test]
    async fn under_another_name_it_vouches_for_the_keys_of_others_and_counts_who_asks() {
        let key = json!({ "kty": "OKP", "kid": "other" });
        let identity = Identity { issuer: Some("https://as.test".into()), keys: vec![key] };
        let server = AuthorizationServer::start_as(identity, clients(), resources()).await.unwrap();
        assert_eq!(server.issuer(), "https://as.test");
        let address = server.state.base.strip_prefix("http://").unwrap().parse().unwrap();
        let request = "GET /jwks HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        assert!(raw(address, request.as_bytes()).await.contains(r#""kid":"other""#));
        assert_eq!(server.calls(), CallCounts { jwks: 1, ..CallCounts::default() });
    }

    #[test]
    fn an_endpoint_has_one_method_and_an_unknown_path_is_not_found() {
        let state = state();
        let status = |method: Method, path: &str| {
            let mut request = Request::new(Bytes::new());
            *request.method_mut() = method;
            *request.uri_mut() = path.parse().unwrap();
            state.answer(&request, UnixSeconds::new(0)).status().as_u16()
        };
        assert_eq!(status(Method::GET, "/token"), 405);
        assert_eq!(status(Method::PUT, "/jwks"), 405);
        assert_eq!(status(Method::GET, "/jwks"), 200);
        assert_eq!(status(Method::GET, "/"), 404);
    }

    #[tokio::test]
    async fn over_a_socket_a_client_gets_a_token_and_a_wrong_secret_a_challenge() {
        let server = AuthorizationServer::start(clients(), resources()).await.unwrap();
        let address = server.issuer().strip_prefix("http://").unwrap().parse().unwrap();
        let request = |secret: &str| {
            let body =
                format!("grant_type=client_credentials&client_id=shop&client_secret={secret}");
            format!(
                "POST /token HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: \
                 application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let good = raw(address, request("s").as_bytes()).await;
        assert!(good.starts_with("HTTP/1.1 200 ") && good.contains("no-store"), "{good}");
        let bad = raw(address, request("x").as_bytes()).await;
        assert!(bad.starts_with("HTTP/1.1 401 "), "{bad}");
        assert!(bad.contains("www-authenticate: Basic realm="), "{bad}");
    }

    #[test]
    fn whatever_a_peer_sends_is_answered() {
        let state = state();
        for body in [&b"\xff\xfe"[..], b"&&&", b"%", b"token=%00%ff", b"=", b"grant_type=%"] {
            for path in [TOKEN, INTROSPECTION, REVOCATION, "//", "/%"] {
                let request = Request::post(path)
                    .header("authorization", &b"Basic \xff"[..])
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(Bytes::from_static(body))
                    .unwrap();
                assert!(state.answer(&request, UnixSeconds::new(0)).status().as_u16() >= 400);
            }
        }
    }
}
