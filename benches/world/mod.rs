//! What the benches share: an authorization server whose key they hold, a route, tokens for it.
#![allow(dead_code, reason = "some of it is for one bench only")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::time::{ClockId, clock_gettime};
use scopegate::base::time;
use scopegate::config::{self, Config, Source};
use scopegate::oauth::{Plaintext, RawToken, ServerId, VerifiedToken};
use scopegate::policy::{Access, Requirement};
use scopegate::route::{HostPattern, MethodSet, PathPattern, RouteKey, Table};
use scopegate::telemetry::Metrics;
use scopegate::verify::{Server, Shared, TokenCaches, Verifier};
use serde_json::json;

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "https://api.test";

/// A configuration with one authorization server and one route.
pub struct World {
    pub config: Config,
    key: Vec<u8>,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl World {
    pub fn new() -> Self {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = key.unwrap().as_ref().to_vec();
        let folder = std::env::temp_dir().join(format!("scopegate-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("jwks.json"), key_set(&key)).unwrap();
        let source = Source { path: folder.join("bench.toml"), text: CONFIGURATION.to_owned() };
        let config = config::parse(vec![source], Plaintext::Refused).unwrap().config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { config, key, folder, runtime }
    }

    /// A token that the route lets in.
    pub fn token(&self, serial: usize) -> String {
        let header: jsonwebtoken::Header =
            serde_json::from_value(json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k" })).unwrap();
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{serial}"), "client_id": "bench",
            "scope": "orders:read orders:write", "jti": serial.to_string(),
            "exp": time::now().unix.get() + 3600,
        });
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.key);
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    /// A verifier that has seen no token, and its caches.
    pub fn verifier(&self, metrics: &Arc<Metrics>) -> (Verifier, Arc<TokenCaches>) {
        let caches = Arc::new(TokenCaches::new(&self.config.caches));
        let shared = Shared {
            runtime: self.runtime.handle().clone(),
            metrics: Arc::clone(metrics),
            caches: Arc::clone(&caches),
            proofs: Arc::default(),
        };
        let server = Server::start(ServerId::new(0), self.config.servers[0].clone(), &shared);
        (Verifier::new(vec![server.unwrap()], None, Arc::clone(&caches)), caches)
    }

    /// Lets the verifier see a token.
    pub fn verify(&self, verifier: &Verifier, token: &str) -> Arc<VerifiedToken> {
        let verified = self.runtime.block_on(verifier.verify(RawToken::new(token), time::now()));
        verified.expect("the token is good")
    }

    /// Where the benches' background work runs.
    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// What the route asks of a token.
    pub fn requirement(&self) -> &Requirement {
        match &self.config.routes[0].access {
            Access::Token(requirement) => requirement,
            Access::Public => panic!("the route asks for a token"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn key_set(pkcs8: &[u8]) -> String {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": x, "y": y });
    json!({ "keys": [jwk] }).to_string()
}

/// How long this thread has been on a processor. What others do on the machine is not in it, but
/// for the caches that they empty.
pub fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap())
}

/// The header section of a caller with this token.
pub fn request_headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("api.test"));
    for (name, value) in [("user-agent", "bench/1"), ("accept", "*/*"), ("accept-encoding", "gzip")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

/// A table of so many routes, `/v1/r0/{id}` and on.
pub fn table(routes: usize) -> Table {
    let (host, methods) = (HostPattern::Any, MethodSet::All);
    let paths: Vec<PathPattern> =
        (0..routes).map(|one| format!("/v1/r{one}/{{id}}").parse().unwrap()).collect();
    let keys: Vec<RouteKey<'_>> =
        paths.iter().map(|path| RouteKey { host: &host, path, methods: &methods }).collect();
    Table::build(&keys).unwrap()
}

const CONFIGURATION: &str = r#"
workers = 1
[[listeners]]
address = "127.0.0.1:0"
[authorization_servers.main]
issuer = "https://issuer.test"
audiences = ["https://api.test"]
jwks_file = "jwks.json"
[upstreams.api]
endpoints = ["http://127.0.0.1:9000"]
[[routes]]
path = "/orders/{id}"
upstream = "api"
access = { scopes = ["orders:read"] }
identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }
"#;
