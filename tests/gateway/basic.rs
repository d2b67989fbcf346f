//! `accept = ["basic"]` (RFC 7617, RFC 6749 §2.3.1): a caller's key and secret, exchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::world::{Setup, endpoints};
use crate::harness::{AuthServer, Backend, Gateway, Reply};

const READ: &str =
    r#"path = "/read", access = { scopes = ["orders:read"] }, accept = ["bearer", "basic"]"#;
const BOTH: &str =
    r#"path = "/both", access = { scopes = ["orders:read", "orders:write"] }, accept = ["basic"]"#;

async fn with_server() -> (AuthServer, Backend, Gateway) {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .upstream("api", &upstream.url(), "")
        .route(READ)
        .route(BOTH)
        .start()
        .await;
    (server, upstream, gateway)
}

#[tokio::test]
async fn a_right_pair_is_exchanged_once_and_the_secret_goes_no_further() {
    let (server, upstream, gateway) = with_server().await;
    for _ in 0..3 {
        let response = gateway.get("/read").basic("reports", "reports-secret").send().await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(server.count("token").await, 1);
    let seen = upstream.last();
    assert!(seen.header("authorization").unwrap().starts_with("Bearer "), "the issued token");
    assert!(seen.headers.iter().all(|(_, value)| !value.contains("Basic")), "{:?}", seen.headers);
    assert!(!gateway.whole_log().await.contains("reports-secret"));
}

#[tokio::test]
async fn rfc6749_10_10_many_wrong_pairs_from_one_address_are_429_and_hinder_nobody_else() {
    let (server, _upstream, gateway) = with_server().await;
    let read = async |key: &str, secret: &str| gateway.get("/read").basic(key, secret).send().await;
    assert_eq!(read("reports", "reports-secret").await.status, 200);
    for guess in 0..10 {
        // Who says in a header that it comes from elsewhere still comes from here.
        let elsewhere = format!("192.0.2.{guess}");
        let request = gateway.get("/read").basic("reports", &format!("guess {guess}"));
        let answer = request.header("x-forwarded-for", &elsewhere).send().await;
        assert_eq!(answer.status, 401, "{guess}");
    }
    let asked = server.count("token").await;
    let refused = read("reports", "guess 10").await;
    assert_eq!((refused.status, refused.error().as_str()), (429, "-"));
    assert_eq!(refused.json()["reason"], "guessed_too_often");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(read("reports", "guess 0").await.status, 401, "what is known is told");
    assert_eq!(read("reports", "reports-secret").await.status, 200, "and so is a right pair");
    assert_eq!(server.count("token").await, asked, "the server is left in peace");
    let eighty = format!("eighty-{}abc", "0123456789".repeat(7));
    assert_eq!(read(&eighty, "eighty-secret").await.status, 200, "a neighbour");
}

#[tokio::test]
async fn two_hundred_requests_with_one_pair_are_one_exchange() {
    let (server, _upstream, gateway) = with_server().await;
    server.fault("token", json!({ "delay_ms": 200 })).await;
    let pair = "Basic cmVwb3J0czpyZXBvcnRzLXNlY3JldA==".to_owned();
    let statuses = gateway.at_once("/read", &vec![pair; 200]).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(server.count("token").await, 1);
}

#[tokio::test]
async fn long_and_special_ids_and_secrets_arrive_whole() {
    let (server, _upstream, gateway) = with_server().await;
    let eighty = format!("eighty-{}abc", "0123456789".repeat(7));
    assert_eq!(eighty.len(), 80);
    assert_eq!(gateway.get("/read").basic(&eighty, "eighty-secret").send().await.status, 200);
    for (id, secret) in [
        ("plus+per%41cent", "s:e%63ret+&=/?\"\\~ x"),
        ("a b&c=d", "p%q+r s"),
        ("client.with-all_of~these", "~-._!*'()"),
    ] {
        let metadata = json!({
            "client_id": id, "client_secret": secret, "grant_types": ["client_credentials"],
            "response_types": [], "redirect_uris": [], "api_scope": "orders:read",
        });
        server.control("/clients", metadata).await;
        let response = gateway.get("/read").basic(id, secret).send().await;
        assert_eq!(response.status, 200, "{id}: {}", response.text());
    }
}

#[tokio::test]
async fn a_wrong_secret_is_401_also_while_the_right_one_is_cached() {
    let (server, upstream, gateway) = with_server().await;
    assert_eq!(gateway.get("/read").basic("reports", "reports-secret").send().await.status, 200);
    for _ in 0..3 {
        let response = gateway.get("/read").basic("reports", "wrong").send().await;
        assert_eq!(response.status, 401);
        assert_eq!(response.challenge("Basic").unwrap()["realm"], "test");
    }
    assert_eq!(server.count("token").await, 2, "the wrong pair is asked about once");
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.get("/read").basic("reports", "reports-secret").send().await.status, 200);
}

#[tokio::test]
async fn partial_scopes_open_exactly_what_they_carry() {
    let (_server, upstream, gateway) = with_server().await;
    for path in ["/both", "/read", "/both"] {
        let response = gateway.get(path).basic("limited", "limited-secret").send().await;
        let expected = if path == "/read" { 200 } else { 403 };
        assert_eq!(response.status, expected, "{path}: {}", response.text());
    }
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.get("/both").basic("reports", "reports-secret").send().await.status, 200);
}

#[tokio::test]
async fn rfc7617_2_what_is_no_basic_credential_is_400() {
    let (_server, upstream, gateway) = with_server().await;
    use base64::Engine;
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let cases = [
        ("nothing", String::new()),
        ("bad base64", "!!!".to_owned()),
        ("no colon", encoded(b"abc")),
        ("a control character", encoded(b"a:b\x07")),
        ("a NUL in the id", encoded(b"a\0:b")),
        ("no UTF-8", encoded(b"a:\xff")),
        ("two", format!("{} {}", encoded(b"a:b"), encoded(b"a:b"))),
    ];
    for (claim, value) in cases {
        let response = gateway
            .get("/read")
            .header("authorization", format!("Basic {value}").trim())
            .send()
            .await;
        assert_eq!(response.status, 400, "{claim}: {}", response.text());
        assert!(response.challenge("Basic").is_some(), "{claim}: a challenge that fits the route");
    }
    assert_eq!(upstream.count(), 0);
}

/// A token endpoint that answers so, at a gateway with the two routes.
async fn answering(status: u16, body: serde_json::Value) -> (Backend, Backend, Gateway) {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(move |_| {
        Reply::status(status).header("content-type", "application/json").body(body.to_string())
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&server.url(), ""))
        .upstream("api", &upstream.url(), "")
        .route(READ)
        .route(BOTH)
        .start()
        .await;
    (server, upstream, gateway)
}

#[tokio::test]
async fn rfc6749_5_2_each_error_is_blamed_on_whose_fault_it_is() {
    #[rustfmt::skip]
    let cases = [
        (401, "invalid_client", 401), (400, "invalid_client", 401),
        (400, "invalid_scope", 403), (400, "unauthorized_client", 403),
        (400, "invalid_request", 502), (400, "unsupported_grant_type", 502),
        (500, "server_error", 503), (503, "temporarily_unavailable", 503), (429, "slow_down", 503),
    ];
    for (status, error, expected) in cases {
        let (_server, upstream, gateway) = answering(status, json!({ "error": error })).await;
        let response = gateway.get("/read").basic("key", "secret").send().await;
        assert_eq!(response.status, expected, "{status} {error}: {}", response.text());
        assert_eq!(upstream.count(), 0, "{error}");
    }
}

#[tokio::test]
async fn rfc6749_3_3_the_granted_scopes_count_and_absent_means_as_asked() {
    let grant = |scope: Option<&str>| {
        let mut answer =
            json!({ "access_token": "opaque-t", "token_type": "Bearer", "expires_in": 60 });
        if let Some(scope) = scope {
            answer["scope"] = json!(scope);
        }
        answer
    };
    for (scope, status) in
        [(Some("orders:read"), 200), (Some("orders:readonly"), 403), (Some(""), 403)]
    {
        let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
        let answer = grant(scope);
        let server = Backend::answering(move |_| {
            Reply::status(200).header("content-type", "application/json").body(answer.to_string())
        })
        .await;
        let token_only = format!("token_endpoint = \"{}/token\"", server.url());
        let gateway = Setup::new()
            .issuer("main", &issuer, &token_only)
            .upstream("api", &upstream.url(), "")
            .route(READ)
            .start()
            .await;
        let response = gateway.get("/read").basic("key", "secret").send().await;
        assert_eq!(response.status, status, "{scope:?}: {}", response.text());
    }
}

#[tokio::test]
async fn an_issued_jwt_is_judged_like_any_token() {
    let (issuer, upstream) = (Arc::new(TestIssuer::new()), Backend::start().await);
    let (forged, signer) = (Arc::new(AtomicBool::new(false)), Arc::clone(&issuer));
    let forge = Arc::clone(&forged);
    let server = Backend::answering(move |_| {
        let token = signer.token().scopes("orders:read").claim("aud", AUDIENCE);
        let token = match forge.load(Ordering::Relaxed) {
            true => token.sign_by(|_| vec![1; 64]),
            false => token.sign(),
        };
        let answer =
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": 60, "scope": "orders:read orders:write" });
        Reply::status(200).header("content-type", "application/json").body(answer.to_string())
    })
    .await;
    let token_only = format!("token_endpoint = \"{}/token\"", server.url());
    let gateway = Setup::new()
        .issuer("main", &issuer, &token_only)
        .upstream("api", &upstream.url(), "")
        .route(READ)
        .route(BOTH)
        .start()
        .await;
    assert_eq!(gateway.get("/read").basic("key", "secret").send().await.status, 200);
    let response = gateway.get("/both").basic("key", "secret").send().await;
    assert_eq!(response.status, 403, "what the JWT says counts, not what the answer claims");
    forged.store(true, Ordering::Relaxed);
    let response = gateway.get("/read").basic("other", "secret").send().await;
    assert_ne!(response.status, 200, "a bad signature: {}", response.text());
}
