//! What each stage of a request costs once its token has been seen: `cargo bench --bench hot_path`.
//!
//! The stages stand in the order in which a request comes by them. What they share (a key, a
//! verifier with the token in its cache) is made once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench is a test: it stops where something is wrong"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use scopegate::base::net::Peer;
use scopegate::base::time;
use scopegate::config::{self, Config, Source};
use scopegate::credential::{self, Accept};
use scopegate::headers::{Caller, Pseudonym, Sanitizer, Scheme, Trust};
use scopegate::oauth::{Plaintext, RawToken, ServerId, VerifiedToken};
use scopegate::policy::{self, Access};
use scopegate::route::{
    HostPattern, MethodSet, NormalHost, NormalPath, PathPattern, RouteKey, Table,
};
use scopegate::telemetry::Metrics;
use scopegate::verify::{Recall, Server, Shared, TokenCaches, Verifier};
use serde_json::json;

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "https://api.test";

/// A configuration with one authorization server and one route, and a token for it.
struct World {
    config: Config,
    token: String,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = key.unwrap();
        let folder = std::env::temp_dir().join(format!("scopegate-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("jwks.json"), key_set(pkcs8.as_ref())).unwrap();
        let source = Source { path: folder.join("bench.toml"), text: CONFIGURATION.to_owned() };
        let config = config::parse(vec![source], Plaintext::Refused).unwrap().config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { config, token: token(pkcs8.as_ref()), folder, runtime }
    }

    /// A verifier that has seen the token.
    fn verifier(&self) -> (Verifier, Arc<VerifiedToken>) {
        let caches = Arc::new(TokenCaches::new(&self.config.caches));
        let shared = Shared {
            runtime: self.runtime.handle().clone(),
            metrics: Arc::new(Metrics::new()),
            caches: Arc::clone(&caches),
        };
        let server = Server::start(ServerId::new(0), self.config.servers[0].clone(), &shared);
        let verifier = Verifier::new(vec![server.unwrap()], None, caches);
        let token = RawToken::new(&self.token);
        let verified = self.runtime.block_on(verifier.verify(token, time::now()));
        (verifier, verified.expect("the token is good"))
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

fn token(pkcs8: &[u8]) -> String {
    let header: jsonwebtoken::Header =
        serde_json::from_value(json!({ "typ": "at+jwt", "alg": "ES256", "kid": "k" })).unwrap();
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "client_id": "bench",
        "scope": "orders:read orders:write", "jti": "1", "exp": time::now().unix.get() + 3600,
    });
    let key = jsonwebtoken::EncodingKey::from_ec_der(pkcs8);
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

fn request_headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("api.test"));
    for (name, value) in [("user-agent", "bench/1"), ("accept", "*/*"), ("accept-encoding", "gzip")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

fn stages(criterion: &mut Criterion) {
    let world = World::new();
    let headers = request_headers(&world.token);
    let (verifier, verified) = world.verifier();
    let route = &world.config.routes[0];
    let Access::Token(requirement) = &route.access else { panic!("the route asks for a token") };
    let audiences = &world.config.servers[0].audiences;

    find(criterion, 1);
    find(criterion, 10_000);
    criterion.bench_function("credential/bearer", |bench| {
        let accept = Accept { bearer: true, basic: false };
        bench.iter(|| credential::extract(accept, black_box(&headers), None).unwrap());
    });
    criterion.bench_function("verify/recall", |bench| {
        let (token, now) = (RawToken::new(&world.token), time::now());
        bench.iter(|| match verifier.recall(black_box(token), now) {
            Recall::Hit(verified) => verified,
            other => panic!("{other:?}"),
        });
    });
    criterion.bench_function("policy/decide", |bench| {
        bench.iter(|| {
            let token = Arc::clone(black_box(&verified));
            policy::decide(requirement, token, verified.principal, audiences).unwrap()
        });
    });
    criterion.bench_function("headers/sanitize_announce_identity", |bench| {
        let sanitizer = Sanitizer::new(route.edits.identity_names().cloned());
        let caller = Caller::new(Peer::Ip("192.0.2.1:4711".parse().unwrap()), Scheme::Https);
        let pseudonym = Pseudonym::new(1);
        let announcement = caller.announcement(HeaderValue::from_static("api.test"));
        bench.iter_batched(
            || headers.clone(),
            |mut headers| {
                sanitizer.request(&mut headers, Trust::Stranger).unwrap();
                caller.announce(&mut headers, &announcement, Trust::Stranger);
                pseudonym.sign(&mut headers, Version::HTTP_11);
                route.edits.apply_identity(&mut headers, &verified, verified.principal).unwrap();
                headers
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

/// One look-up among so many routes.
fn find(criterion: &mut Criterion, routes: usize) {
    let (host, methods) = (HostPattern::Any, MethodSet::All);
    let paths: Vec<PathPattern> =
        (0..routes).map(|one| format!("/v1/r{one}/{{id}}").parse().unwrap()).collect();
    let keys: Vec<RouteKey<'_>> =
        paths.iter().map(|path| RouteKey { host: &host, path, methods: &methods }).collect();
    let table = Table::build(&keys).unwrap();
    criterion.bench_function(&format!("route/find/{routes}"), |bench| {
        bench.iter(|| {
            let host = NormalHost::parse(black_box("api.test")).unwrap();
            let path = NormalPath::parse(black_box("/v1/r0/17")).unwrap();
            table.find(&host, &path, &Method::GET).unwrap()
        });
    });
}

const CONFIGURATION: &str = r#"
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

criterion_group!(hot_path, stages);
criterion_main!(hot_path);
