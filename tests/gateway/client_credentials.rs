//! `forward = { client = … }` (RFC 6749 §4.4): a token of the gateway's own for the upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::backend::Seen;
use crate::harness::gateway::check;
use crate::harness::world::{self, Setup};
use crate::harness::{AuthServer, Backend, Gateway, Reply, TestIssuer, eventually};

const ROUTE: &str = r#"path = "/out", access = "public", forward = { client = "ours" }"#;

fn client(id: &str, scopes: &str, more: &str) -> String {
    world::client("ours", id, scopes, more)
}

async fn with_server(client: &str, secret: &str) -> (AuthServer, Backend, Gateway) {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("ours", secret)
        .table(client)
        .upstream("api", &upstream.url(), "")
        .route(ROUTE)
        .start()
        .await;
    (server, upstream, gateway)
}

#[tokio::test]
async fn two_hundred_requests_are_one_exchange() {
    let client = client("reports", "orders:read", "");
    let (server, upstream, gateway) = with_server(&client, "reports-secret").await;
    server.fault("token", json!({ "delay_ms": 200 })).await;
    let statuses = gateway.at_once("/out", &vec![String::new(); 200]).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(server.count("token").await, 1);
    let seen = upstream.last();
    assert!(
        seen.header("authorization").unwrap().starts_with("Bearer eyJ"),
        "the gateway's own token"
    );
}

#[tokio::test]
async fn the_callers_own_token_does_not_reach_the_upstream() {
    let client = client("reports", "orders:read", "");
    let (_server, upstream, gateway) = with_server(&client, "reports-secret").await;
    let response = gateway.get("/out").bearer("callers-own").send().await;
    assert_eq!(response.status, 200);
    assert_eq!(upstream.last().all("authorization").len(), 1);
    assert!(!upstream.last().header("authorization").unwrap().contains("callers-own"));
}

#[tokio::test]
async fn partial_scopes_are_refused_or_allowed_as_configured_and_visible() {
    let scopes = "orders:read orders:write";
    for (partial, status) in [("refuse", 502), ("allow", 200)] {
        let client = client("limited", scopes, &format!("partial_scopes = \"{partial}\""));
        let (_server, upstream, gateway) = with_server(&client, "limited-secret").await;
        let response = gateway.get("/out").send().await;
        assert_eq!(response.status, status, "{partial}: {}", response.text());
        assert_eq!(upstream.count(), usize::from(status == 200), "{partial}");
        assert!(!response.text().contains("orders:write"), "the caller need not know");
        let missing =
            gateway.metric("scopegate_client_missing_scopes", &[("client", "ours")]).await;
        assert_eq!(missing, 1.0, "{partial}");
        let status = gateway.admin("/status").await.text();
        assert!(status.contains("orders:write"), "{partial}: {status}");
        gateway.logs("orders:write").await;
    }
}

/// A token with a part of the scopes that were asked for: the upstream is told which are missing.
#[tokio::test]
async fn rfc6749_3_3_the_upstream_is_told_of_scopes_that_were_not_granted() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let told = r#"identity_headers = { "x-scopes-missing" = "missing_scopes" }"#;
    let gateway = Setup::new()
        .server("main", &server, "[authorization_servers.main.basic]\nscopes = [\"orders:read\", \"orders:write\"]")
        .secret("ours", "limited-secret")
        .table(&client("limited", "orders:read orders:write", "partial_scopes = \"allow\""))
        .upstream("api", &upstream.url(), "")
        .route(&format!(
            r#"path = "/own", access = {{ scopes = ["orders:read"] }}, forward = {{ client = "ours" }}, {told}"#
        ))
        .route(&format!(
            r#"path = "/in", accept = ["bearer", "basic"], access = {{ scopes = ["orders:read"] }}, {told}"#
        ))
        .start()
        .await;
    let token = server.mint(json!({ "scope": "orders:read" })).await;
    for (case, request, expected) in [
        ("our client", gateway.get("/own").bearer(&token), Some("orders:write")),
        (
            "a key and secret",
            gateway.get("/in").basic("limited", "limited-secret"),
            Some("orders:write"),
        ),
        ("all was granted", gateway.get("/in").basic("reports", "reports-secret"), None),
        ("nobody knows", gateway.get("/in").bearer(&token), None),
    ] {
        let answer = request.header("x-scopes-missing", "forged").send().await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        assert_eq!(upstream.last().header("x-scopes-missing"), expected, "{case}");
    }
}

#[tokio::test]
async fn a_client_that_is_refused_is_502_and_not_asked_again_at_once() {
    let client = client("reports", "orders:read", "negative_cache_ttl = \"30s\"");
    let (server, upstream, gateway) = with_server(&client, "wrong").await;
    for _ in 0..5 {
        let response = gateway.get("/out").send().await;
        assert_eq!(response.status, 502, "{}", response.text());
    }
    assert_eq!(server.count("token").await, 1);
    assert_eq!(upstream.count(), 0);
    gateway.logs("invalid_client").await;
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_is_503_and_well_again_afterwards() {
    let client = client("reports", "orders:read", "");
    let (server, upstream, gateway) = with_server(&client, "reports-secret").await;
    for fault in [json!({ "status": 500 }), json!({ "close": true }), json!({ "hang": true })] {
        server.fault("token", fault.clone()).await;
        let response = gateway.get("/out").send().await;
        assert_eq!(response.status, 503, "{fault}: {}", response.text());
        assert!(!response.header("retry-after").is_empty());
    }
    assert_eq!(upstream.count(), 0);
    server.fault("token", json!({})).await;
    eventually("the client's token", async || {
        (gateway.get("/out").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_grants_nothing_and_says_nothing_has_not_granted_all() {
    let client = client("limited", "reports:read", "");
    let (_server, upstream, gateway) = with_server(&client, "limited-secret").await;
    let response = gateway.get("/out").send().await;
    assert_eq!(
        response.status,
        502,
        "200 without scope, and a JWT without scope: {}",
        response.text()
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn client_secret_post_is_accepted_by_the_real_server() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let post = client("poster", "orders:read", "authentication = \"client_secret_post\"");
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("ours", "poster-secret")
        .table(&post)
        .upstream("api", &upstream.url(), "")
        .route(ROUTE)
        .start()
        .await;
    assert_eq!(gateway.get("/out").send().await.status, 200);
}

/// A client of ours that signs with `key`, as the authorization server knows it.
fn asserter(key: &crate::harness::SigningKey) -> serde_json::Value {
    json!({
        "client_id": "asserter", "grant_types": ["client_credentials"], "response_types": [],
        "redirect_uris": [], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [key.jwk()] }, "api_scope": "orders:read",
    })
}

#[tokio::test]
async fn private_key_jwt_is_accepted_by_the_real_server() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let key = crate::harness::SigningKey::new("ES256", "ours-1");
    server.control("/clients", asserter(&key)).await;
    let setup = Setup::new().secret("assertion-key", &key.pkcs8_pem());
    let table = "[clients.ours]\nauthorization_server = \"main\"\nclient_id = \"asserter\"\n\
                 authentication = \"private_key_jwt\"\nclient_key = { file = \"secrets/assertion-key\" }\n\
                 scopes = [\"orders:read\"]\n";
    let gateway = setup
        .server("main", &server, "")
        .table(table)
        .upstream("api", &upstream.url(), "")
        .route(ROUTE)
        .start()
        .await;
    let response = gateway.get("/out").send().await;
    assert_eq!(response.status, 200, "{}\n{}", response.text(), gateway.log());
}

#[tokio::test]
async fn rfc7523_3_a_server_that_takes_only_its_token_endpoint_as_audience_can_be_satisfied() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let key = crate::harness::SigningKey::new("ES256", "ours-1");
    let mut metadata = asserter(&key);
    metadata["assertion_audience"] = json!(format!("{}/token", server.issuer));
    server.control("/clients", metadata).await;
    for (audience, status) in [("token_endpoint", 200), ("issuer", 502)] {
        let table = format!(
            "[clients.ours]\nauthorization_server = \"main\"\nclient_id = \"asserter\"\n\
             authentication = \"private_key_jwt\"\nscopes = [\"orders:read\"]\n\
             client_key = {{ file = \"secrets/assertion-key\" }}\n\
             assertion_audience = \"{audience}\"\n"
        );
        // The endpoint itself comes from the server's metadata.
        let gateway = Setup::new()
            .secret("assertion-key", &key.pkcs8_pem())
            .server("main", &server, "")
            .table(&table)
            .upstream("api", &upstream.url(), "")
            .route(ROUTE)
            .start()
            .await;
        let response = gateway.get("/out").send().await;
        assert_eq!(response.status, status, "{audience}: {}\n{}", response.text(), gateway.log());
    }
}

/// A gateway whose token endpoint is given here.
async fn asking(
    more: &str,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Backend, Backend, Gateway) {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(answer).await;
    // Without introspection: an opaque token of ours cannot be looked into.
    let token_only = format!("token_endpoint = \"{}/token\"", server.url());
    let gateway = Setup::new()
        .secret("ours", "p%q+é")
        .issuer("main", &issuer, &token_only)
        .table(&client("a b:c", "a b", more))
        .upstream("api", &upstream.url(), "")
        .route(ROUTE)
        .start()
        .await;
    (server, upstream, gateway)
}

fn granted(change: Value) -> Reply {
    let mut answer = json!({
        "access_token": "own-token", "token_type": "Bearer", "expires_in": 300, "scope": "b a",
    });
    for (name, value) in change.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Reply::status(200).header("content-type", "application/json").body(answer.to_string())
}

#[tokio::test]
async fn rfc6749_2_3_1_id_and_secret_are_form_encoded_and_sent_once() {
    let resource = "resource = \"https://api.example\"\nparameters = { tenant = \"x\" }";
    let (server, _upstream, gateway) = asking(resource, |_| granted(json!({}))).await;
    assert_eq!(gateway.get("/out").send().await.status, 200);
    let seen = server.last();
    use base64::Engine;
    let expected = base64::engine::general_purpose::STANDARD.encode("a+b%3Ac:p%25q%2B%C3%A9");
    assert_eq!(seen.header("authorization"), Some(format!("Basic {expected}").as_str()));
    let body = String::from_utf8(seen.body).unwrap();
    let mut parameters: Vec<_> = body.split('&').collect();
    parameters.sort_unstable();
    let expected = [
        "grant_type=client_credentials",
        "resource=https%3A%2F%2Fapi.example",
        "scope=a+b",
        "tenant=x",
    ];
    assert_eq!(parameters, expected);
}

#[tokio::test]
async fn rfc6749_5_1_what_counts_as_a_grant() {
    #[rustfmt::skip]
    let cases = [
        ("in another order",        json!({}),                                  200),
        ("more than asked",         json!({ "scope": "a b c" }),                200),
        ("scope absent: as asked",  json!({ "scope": null }),                   200),
        ("BEARER",                  json!({ "token_type": "BEARER" }),          200),
        ("unknown members",         json!({ "x": 1, "refresh_token": "r" }),    200),
        ("no expires_in",           json!({ "expires_in": null }),              200),
        ("expires_in as text",      json!({ "expires_in": "300" }),             200),
        ("fewer",                   json!({ "scope": "a" }),                    502),
        ("none",                    json!({ "scope": "" }),                     502),
        ("DPoP unasked",            json!({ "token_type": "DPoP" }),            502),
        ("another type",            json!({ "token_type": "mac" }),             502),
        ("no type at all",          json!({ "token_type": "N_A" }),             502),
        ("no type",                 json!({ "token_type": null }),              502),
        ("no token",                json!({ "access_token": null }),            502),
        ("a token with a line end", json!({ "access_token": "a\r\nx: y" }),     502),
        ("an error with 200",       json!({ "error": "invalid_scope" }),        502),
    ];
    for (claim, change, status) in cases {
        let told = change.clone();
        let (_server, upstream, gateway) = asking("", move |_| granted(told.clone())).await;
        let response = gateway.get("/out").send().await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
        assert_eq!(upstream.count(), usize::from(status == 200), "{claim}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end() {
    let serial = Arc::new(AtomicUsize::new(0));
    let next = Arc::clone(&serial);
    let (server, upstream, gateway) = asking("", move |_| {
        let serial = next.fetch_add(1, Ordering::Relaxed);
        granted(json!({ "access_token": format!("own-{serial}"), "expires_in": 3 }))
    })
    .await;
    assert_eq!(gateway.get("/out").send().await.status, 200);
    eventually("a second token", async || {
        assert_eq!(gateway.get("/out").send().await.status, 200);
        (upstream.last().header("authorization") != Some("Bearer own-0")).then_some(())
    })
    .await;
    assert!(server.count() >= 2);
}

#[tokio::test]
async fn rfc9110_15_5_2_a_token_that_the_upstream_refuses_leaves_the_cache_and_the_caller_gets_502()
{
    let pause = "negative_cache_ttl = \"1h\"";
    let (server, upstream, gateway) = asking(pause, |_| granted(json!({}))).await;
    upstream.answer(|_| Reply::status(401).header("www-authenticate", "Bearer realm=\"inner\""));
    let response = gateway.get("/out").send().await;
    assert_eq!((response.status, response.all("www-authenticate").len()), (502, 0));
    upstream.answer(|_| Reply::status(200));
    assert_eq!(gateway.get("/out").send().await.status, 200);
    assert_eq!(server.count(), 2, "a new token was fetched");
    upstream.answer(|seen| Reply::status(if seen.body.is_empty() { 200 } else { 401 }));
    for _ in 0..3 {
        assert_eq!(gateway.request("POST", "/out").body("password").send().await.status, 502);
        assert_eq!(gateway.get("/out").send().await.status, 200, "nobody else is stopped");
    }
    assert_eq!(server.count(), 2, "and no token is fetched for each");
}

#[tokio::test]
async fn rfc9700_2_4_only_client_credentials_are_ever_granted_to_us() {
    let grant = "grant_type = \"password\"";
    for key in [grant, "username = \"u\"", "password = { file = \"secrets/ours\" }"] {
        let setup = Setup::new()
            .secret("ours", "s")
            .issuer("main", &TestIssuer::new(), "")
            .table(&client("reports", "a", key))
            .upstream("api", "http://127.0.0.1:1", "")
            .route(ROUTE);
        let text = setup.text();
        let (code, output) = check(&setup.folder, &text).await;
        assert_eq!(code, 2, "{key}: {output}");
        let told = output.contains("unknown key") || output.contains("is not one of the words");
        assert!(told, "{key}: {output}");
    }
}
