//! Every kind of application gets a token from the real authorization server in its own way, calls
//! through the gateway, refreshes and calls again.
//!
//! What each does step by step stands in its script. Here it runs through the gateway, and once
//! more straight at the upstream, where it must notice that nobody asks for a token.

use std::process::Command;

use serde_json::{Value, json};

use crate::clients::proves;
use crate::harness::program::{node, python};
use crate::harness::world::Setup;
use crate::harness::{AuthServer, Backend, Gateway, Reply};

const JWT: &str = "https://api.test/jwt";
const OPAQUE: &str = "https://api.test/opaque";
const SHORT: &str = "https://api.test/short-jwt";

/// An API for all of them: reading and writing ask for a scope each, and one path is for tokens of
/// another audience.
struct Stage {
    server: AuthServer,
    upstream: Backend,
    gateway: Gateway,
}

impl Stage {
    async fn set() -> Self {
        let (server, upstream) = (AuthServer::start().await, Backend::start().await);
        upstream.answer(|seen| {
            let subject = seen.header("x-subject");
            let scopes = seen.header("x-scopes");
            Reply::status(200)
                .header("content-type", "application/json")
                .header("x-total", "1")
                .header("x-inner", "1")
                .body(json!({ "subject": subject, "scopes": scopes }).to_string())
        });
        let cors = r#"cors = { origins = ["http://app.localhost"], expose = ["x-total"] }"#;
        let told = r#"identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }"#;
        let (read, write) = (r#"["orders:read"]"#, r#"["orders:write"]"#);
        let route = |path: &str, scopes: &str, more: &str| {
            format!(r#"path = "/{path}/{{id}}", access = {{ scopes = {scopes} }}, {told}{more}"#)
        };
        let only_get = r#", methods = ["GET"]"#;
        let another = r#", audiences = ["https://another.test"]"#;
        let gateway = Setup::new()
            .server("main", &server, "clock_skew = \"0s\"")
            .table("cache_ttl = \"1s\"")
            .upstream("api", &upstream.url(), "")
            .route(&route("orders", read, &format!("{only_get}, {cors}")))
            .route(&route("orders", write, &format!(", {cors}")))
            .route(&route("foreign", read, &format!("{another}, {cors}")))
            .route(&route("closed", read, ""))
            .route(&route("basic", read, r#", accept = ["bearer", "basic"]"#))
            .route(&format!(r#"path = "/public/{{id}}", access = "public", {cors}"#))
            .start()
            .await;
        Self { server, upstream, gateway }
    }

    async fn proves(&self, command: impl Fn() -> Command) -> Value {
        proves(&self.server, &self.gateway, &self.upstream.url(), command).await
    }
}

/// Whether a list of scopes, as OAuth writes it, has this one.
fn has(scopes: &Value, scope: &str) -> bool {
    scopes.as_str().unwrap().split(' ').any(|one| one == scope)
}

#[tokio::test]
async fn a_web_application_keeps_a_secret_and_its_users_tokens() {
    let stage = Stage::set().await;
    let seen = stage
        .proves(|| {
            let mut command = node("clients/node/web_app.mjs");
            command.args(["--resource", OPAQUE]);
            command
        })
        .await;
    assert!(!has(&seen["granted_scope"], "orders:write"), "the user refused it: {seen}");
    assert!(has(&seen["later_scope"], "orders:write"), "and then allowed it: {seen}");
    assert_eq!(seen["theft_seen"], json!(true));
    assert_eq!(seen["upstream_saw"]["subject"], "alice");
}

#[tokio::test]
async fn rfc8252_7_3_a_native_application_gets_its_code_on_any_loopback_port() {
    let stage = Stage::set().await;
    let seen = stage
        .proves(|| {
            let mut command = python("clients/python/native_app.py");
            command.args(["--resource", JWT]);
            command
        })
        .await;
    let ports = seen["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port != &ports[0]), "the system picked one each time: {seen}");
    assert!(!has(&seen["granted_scope"], "orders:write"), "{seen}");
    assert!(has(&seen["later_scope"], "orders:write"), "{seen}");
    assert_eq!(seen["upstream_saw"]["subject"], "alice");
}

#[tokio::test]
async fn a_single_page_application_calls_from_the_browser() {
    let stage = Stage::set().await;
    let seen = stage
        .proves(|| {
            let mut command = node("clients/node/single_page_app.mjs");
            command.args(["--resource", JWT]);
            command
        })
        .await;
    assert!(has(&seen["later_scope"], "orders:write"), "{seen}");
    let methods: Vec<_> = stage.upstream.all().into_iter().map(|seen| seen.method).collect();
    assert!(methods.iter().any(|method| method == "PUT"), "{methods:?}");
    assert!(!methods.iter().any(|method| method == "OPTIONS"), "a preflight got through");
    match seen["browser"].as_str() {
        Some(browser) => eprintln!("in {browser}"),
        None => eprintln!("under Node.js alone: there is no browser here"),
    }
}

#[tokio::test]
async fn rfc6749_4_4_3_a_machine_has_no_refresh_token_and_asks_anew() {
    let stage = Stage::set().await;
    let seen = stage
        .proves(|| {
            let mut command = node("clients/node/machine.mjs");
            command.args(["--short-resource", SHORT]);
            command
        })
        .await;
    assert_eq!(seen["partial_scope"], "orders:read");
    // Two of each machine, and the gateway's own for two pairs of key and secret.
    assert_eq!(stage.server.count("token").await, 8);
}
