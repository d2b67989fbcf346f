//! Real clients through the gateway, and once more straight to the upstream, where each must fail:
//! a client that cannot fail proves nothing.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::authserver::server;
use crate::harness::program::{self, Program, fixture, node, python};
use crate::harness::world::Setup;
use crate::harness::{AuthServer, Gateway};

/// A gateway in front of the Python upstreams, with the real authorization server.
struct Stage {
    server: AuthServer,
    gateway: Gateway,
    echo: String,
    _programs: Vec<Program>,
}

const RESOURCE: &str = "https://api.test/opaque";

impl Stage {
    async fn set() -> Self {
        let auth = AuthServer::start().await;
        let (token, ca) = (format!("{}/token", auth.issuer), auth.ca());
        let trust = [("REQUESTS_CA_BUNDLE", ca.as_str())];
        let (echo_program, echo) = server("clients/python/http_echo.py", &[], &[]).await;
        let (grpc_program, grpc) = server("clients/python/grpc_echo.py", &[], &[]).await;
        let standin = ["--token-endpoint", token.as_str()];
        let (worldcat_program, worldcat) =
            server("clients/python/worldcat_standin.py", &standin, &trust).await;
        let orders = |path: &str, upstream: &str, methods: &str, scope: &str| {
            format!(
                r#"path = "{path}", {methods}upstream = "{upstream}", access = {{ scopes = ["{scope}"] }}, accept = ["bearer", "basic"], identity_headers = {{ "x-subject" = "client_id", "x-scopes" = "scope" }}"#
            )
        };
        let read = "methods = [\"GET\"], ";
        let gateway = Setup::new()
            .server("main", &auth, "")
            .table("cache_ttl = \"1s\"")
            .upstream("echo", &echo, "")
            .upstream("worldcat", &worldcat, "")
            .upstream("grpc", &grpc.replace("http://", "h2c://"), "")
            .route(&orders("/orders/{*rest}", "echo", read, "orders:read"))
            .route(&orders("/orders/{*rest}", "echo", "", "orders:write"))
            .route(&orders("/worldcat/{*rest}", "worldcat", read, "orders:read"))
            .route(&orders("/worldcat/{*rest}", "worldcat", "", "orders:write"))
            .route(r#"path = "/public/{*rest}", methods = ["GET"], access = "public", upstream = "echo""#)
            .route(r#"path = "/scopegate.test.Echo/{method}", access = { scopes = ["orders:read"] }, upstream = "grpc""#)
            .start()
            .await;
        let programs = vec![echo_program, grpc_program, worldcat_program];
        Self { server: auth, gateway, echo, _programs: programs }
    }

    async fn proves(&self, command: impl Fn() -> Command) -> Value {
        proves(&self.server, &self.gateway, &self.echo, command).await
    }
}

/// Runs a client through the gateway, where it must be content, and straight at the upstream,
/// where it must not. Gives what it reports of the first.
pub async fn proves(
    server: &AuthServer,
    gateway: &Gateway,
    upstream: &str,
    command: impl Fn() -> Command,
) -> Value {
    let mut through = command();
    environment(server, &mut through, &gateway.url());
    let (status, output, errors) = program::run(&mut through).await;
    assert!(status.success(), "{status}\n{output}\n{errors}\n--- log\n{}", gateway.log());
    let mut without = command();
    environment(server, &mut without, upstream);
    let (failed, _, _) = program::run(&mut without).await;
    assert_eq!(failed.code(), Some(1), "it does not notice that there is no gateway");
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

fn environment(server: &AuthServer, command: &mut Command, gateway: &str) {
    let ca = server.ca();
    command
        .env("TEST_GATEWAY", gateway)
        .env("TEST_ISSUER", &server.issuer)
        .env("NODE_EXTRA_CA_CERTS", &ca)
        .env("REQUESTS_CA_BUNDLE", &ca)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
}

fn shell(script: &str) -> Command {
    Command::new(fixture(script))
}

#[tokio::test]
async fn curl_right_and_wrong() {
    let stage = Stage::set().await;
    let token = stage.server.mint(json!({ "scope": "orders:read orders:write" })).await;
    let other = stage.server.mint(json!({ "scope": "reports:read" })).await;
    let seen = stage
        .proves(|| {
            let mut command = shell("clients/shell/curl_calls.sh");
            command.env("TEST_TOKEN", &token).env("TEST_OTHER_TOKEN", &other);
            command.env("TEST_CLIENT_ID", "reports").env("TEST_CLIENT_SECRET", "reports-secret");
            command
        })
        .await;
    assert_eq!(seen["statuses"].as_object().unwrap().len(), 33);
}

#[tokio::test]
async fn h2load_gets_the_wanted_status_every_time() {
    let stage = Stage::set().await;
    let token = stage.server.mint(json!({})).await;
    for (token, wanted) in [(token.as_str(), "2xx"), ("not-a-token", "4xx")] {
        let mut command = shell("clients/shell/h2load.sh");
        environment(&stage.server, &mut command, &stage.gateway.url());
        command.env("TEST_TOKEN", token).env("TEST_WANTED", wanted).env("TEST_REQUESTS", "1000");
        let (status, output, errors) = program::run(&mut command).await;
        assert!(status.success(), "{wanted}: {output}\n{errors}");
    }
}

#[tokio::test]
async fn openid_client_by_client_credentials() {
    let stage = Stage::set().await;
    for resource in ["", RESOURCE] {
        stage
            .proves(|| {
                let mut command = node("clients/node/client_credentials.mjs");
                command.args(["--client-id", "reports", "--client-secret", "reports-secret"]);
                command.args(["--other-scope", "reports:read", "--resource", resource]);
                command
            })
            .await;
    }
}

#[tokio::test]
async fn oauth4webapi_parses_every_challenge() {
    let stage = Stage::set().await;
    let other = stage.server.mint(json!({ "scope": "reports:read" })).await;
    stage
        .proves(|| {
            let mut command = node("clients/node/challenges.mjs");
            command.args(["--other-token", &other]);
            command
        })
        .await;
}

#[tokio::test]
async fn the_fifty_attack_tokens_are_refused() {
    let stage = Stage::set().await;
    let keys = stage.server.control("/keys", Value::Null).await;
    for (index, audience) in [(0, "https://api.test/jwt"), (2, "https://api.test/es256")] {
        let key = keys["keys"][index].to_string();
        let seen = stage
            .proves(|| {
                let mut command = node("clients/node/attack_jwts.mjs");
                command.args(["--key", &key, "--audience", audience]);
                command
            })
            .await;
        assert!(seen["refused"].as_u64().unwrap() >= 50, "{seen}");
    }
}

#[tokio::test]
async fn authlib_gets_uses_refreshes_and_revokes() {
    let stage = Stage::set().await;
    let seen = stage
        .proves(|| {
            let mut command = python("clients/python/authlib_client.py");
            command.args(["--client-id", "reports", "--client-secret", "reports-secret"]);
            command.args(["--resource", RESOURCE]);
            command
        })
        .await;
    assert_eq!(seen["revocation_seen"], json!(true));
}

#[tokio::test]
async fn requests_oauthlib_refreshes_by_itself() {
    let stage = Stage::set().await;
    stage.proves(|| python("clients/python/requests_oauthlib_client.py")).await;
}

#[tokio::test]
async fn bookops_worldcat_by_token_and_by_basic() {
    let stage = Stage::set().await;
    let key = format!("eighty-{}abc", "0123456789".repeat(7));
    let standin = ["--token-endpoint", &format!("{}/token", stage.server.issuer)];
    let ca = stage.server.ca();
    let trust = [("REQUESTS_CA_BUNDLE", ca.as_str())];
    let (_program, tokens) = server("clients/python/worldcat_standin.py", &standin, &trust).await;
    for basic in ["no", "yes"] {
        stage
            .proves(|| {
                let mut command = python("clients/python/worldcat_client.py");
                command.args([
                    "--token-server",
                    &tokens,
                    "--key",
                    &key,
                    "--secret",
                    "eighty-secret",
                ]);
                command.args(["--basic", basic]);
                command
            })
            .await;
    }
}

#[tokio::test]
async fn grpcio_calls_of_every_kind() {
    let stage = Stage::set().await;
    let token = stage.server.mint(json!({})).await;
    let other = stage.server.mint(json!({ "scope": "reports:read" })).await;
    stage
        .proves(|| {
            let mut command = python("clients/python/grpc_client.py");
            command.args(["--token", &token, "--other-token", &other]);
            command
        })
        .await;
}
