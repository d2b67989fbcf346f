//! Refresh tokens of the gateway's own clients (RFC 6749 §6), where the server gives them and the
//! settings keep them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::backend::Seen;
use crate::harness::gateway::command;
use crate::harness::program::run;
use crate::harness::world::{Setup, client};
use crate::harness::{AuthServer, Backend, Gateway, Reply, TestIssuer, eventually};

/// `name` of a form.
fn field(seen: &Seen, name: &str) -> String {
    let pairs = form_urlencoded::parse(&seen.body);
    let values = pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    values.collect::<Vec<_>>().join(" ")
}

/// A token endpoint that rotates: `tN` and `rN`, and every refresh token is good once.
async fn rotating(accepts: bool) -> Backend {
    let serial = Arc::new(AtomicUsize::new(0));
    let spent = std::sync::Mutex::new(Vec::new());
    Backend::answering(move |seen| {
        let refresh = field(seen, "refresh_token");
        let is_spent = spent.lock().unwrap().contains(&refresh);
        if !refresh.is_empty() {
            spent.lock().unwrap().push(refresh.clone());
            if is_spent || !accepts {
                let error = json!({ "error": "invalid_grant" }).to_string();
                return Reply::status(400).header("content-type", "application/json").body(error);
            }
        }
        let number = serial.fetch_add(1, Ordering::SeqCst);
        let answer = json!({
            "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": 2,
            "scope": "a", "refresh_token": format!("r{number}"),
        });
        Reply::status(200).header("content-type", "application/json").body(answer.to_string())
    })
    .await
}

/// The issuer's keys lie in a file that goes with it.
fn setup(server: &Backend, issuer: &TestIssuer, upstream: &str, more: &str) -> Setup {
    let token_only = format!("token_endpoint = \"{}/token\"", server.url());
    Setup::new()
        .secret("ours", "s3cret")
        .issuer("main", issuer, &token_only)
        .table(&client("ours", "ours", "a", more))
        .upstream("api", upstream, "")
        .route(r#"path = "/out", access = "public", forward = { client = "ours" }"#)
}

/// Requests until the upstream has seen that token; each is answered well.
async fn until_seen(gateway: &Gateway, upstream: &Backend, token: &str) {
    eventually(token, async || {
        assert_eq!(gateway.get("/out").send().await.status, 200);
        (upstream.last().header("authorization") == Some(&format!("Bearer {token}"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rfc6749_6_a_rotated_refresh_token_takes_the_old_ones_place_and_none_is_used_twice() {
    for (accepts, outcome) in [(true, "refreshed"), (false, "refresh_refused")] {
        let (server, upstream) = (rotating(accepts).await, Backend::start().await);
        let issuer = TestIssuer::new();
        let gateway =
            setup(&server, &issuer, &upstream.url(), "refresh_tokens = true").start().await;
        until_seen(&gateway, &upstream, "t2").await;
        let asked = server.all();
        let refreshed: Vec<_> = asked.iter().map(|seen| field(seen, "refresh_token")).collect();
        let expected: &[&str] = if accepts { &["", "r0", "r1"] } else { &["", "r0", "", "r1", ""] };
        assert_eq!(refreshed[..expected.len()], *expected, "a new grant follows a refusal");
        let grants: Vec<_> = asked.iter().map(|seen| field(seen, "grant_type")).collect();
        assert_eq!(grants[..2], ["client_credentials", "refresh_token"]);
        assert!(asked.iter().all(|seen| seen.header("authorization").is_some()), "authenticated");
        let labels = [("client", "ours"), ("outcome", outcome)];
        assert!(gateway.metric("scopegate_client_tokens_total", &labels).await >= 2.0);
        let log = gateway.whole_log().await;
        assert!(!log.contains("r0") && !log.contains("refresh_token=") && !log.contains("s3cret"));
    }
}

#[tokio::test]
async fn rfc6749_4_4_3_without_the_setting_a_refresh_token_is_dropped() {
    let (server, upstream) = (rotating(true).await, Backend::start().await);
    let issuer = TestIssuer::new();
    let gateway = setup(&server, &issuer, &upstream.url(), "").start().await;
    until_seen(&gateway, &upstream, "t1").await;
    assert!(server.all().iter().all(|seen| field(seen, "grant_type") == "client_credentials"));
}

#[tokio::test]
async fn the_command_refreshes_and_prints_both_or_says_that_it_cannot() {
    for (accepts, expected, output, told) in
        [(true, 0, "t0\nt1", "refreshed"), (false, 1, "t0", "invalid_grant")]
    {
        let (server, issuer) = (rotating(accepts).await, TestIssuer::new());
        let setup = setup(&server, &issuer, "http://127.0.0.1:1", "");
        let config = setup.folder.write("gateway.toml", setup.text());
        let mut command = command(&["token", "--client", "ours", "--refresh", "--config"]);
        let (status, printed, errors) = run(command.arg(config)).await;
        assert_eq!((status.code(), &*printed), (Some(expected), output), "{errors}");
        assert!(errors.contains(told) && !errors.contains("r0"), "{errors}");
    }
}

/// A real server that gives refresh tokens and ends a grant whose token it sees twice.
#[tokio::test]
async fn rfc9700_4_14_2_a_real_server_that_rotates_is_refreshed_again_and_again() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let exchange = "grant = \"token_exchange\"\nresource = \"https://api.test/short-jwt\"\n\
                    refresh_tokens = true";
    let gateway = Setup::new()
        .secret("inner", "renewer-secret")
        .secret("machine", "reports-secret")
        .server("main", &server, "")
        .table(&client("inner", "renewer", "orders:read", exchange))
        .table(&client("machine", "reports", "orders:read", ""))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/in", access = { scopes = ["orders:read"] }, forward = { exchange = "inner" }"#)
        .start()
        .await;
    let order = json!({ "client": "web", "sub": "alice", "scope": "orders:read", "ttl": 300 });
    let token = server.mint(order).await;
    let outcome = |outcome| [("client", "inner"), ("outcome", outcome)];
    eventually("three refreshed tokens", async || {
        let answer = gateway.get("/in").bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gateway.log());
        let labels = outcome("refreshed");
        (gateway.metric("scopegate_client_tokens_total", &labels).await >= 3.0).then_some(())
    })
    .await;
    assert_eq!(
        gateway.metric("scopegate_client_tokens_total", &outcome("refresh_refused")).await,
        0.0
    );
    let config = gateway.config().to_str().unwrap();
    // A machine's token comes with none.
    let arguments = ["token", "--config", config, "--client", "machine", "--refresh"];
    let (status, printed, errors) = run(&mut command(&arguments)).await;
    assert_eq!((status.code(), printed.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("gave no refresh token"), "{errors}");
    let arguments = ["token", "--config", config, "--client", "inner"];
    let (status, _, errors) = run(&mut command(&arguments)).await;
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("token_exchange"), "{errors}");
}
