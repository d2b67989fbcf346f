//! What a route requires (RFC 6749 §3.3, RFC 9068 §4): scopes, audiences, claims, decided anew for
//! every request.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::world::{Setup, endpoints};
use crate::harness::{Backend, Gateway, Reply, World};

#[tokio::test]
async fn rfc6749_3_3_scopes_are_compared_whole_and_by_case() {
    let world =
        World::with(&[r#"path = "/orders", access = { scopes = ["a", "orders:read"] }"#]).await;
    #[rustfmt::skip]
    let cases = [
        ("all of them",            json!("a orders:read"),          200),
        ("order means nothing",    json!("orders:read a"),          200),
        ("repeats mean nothing",   json!("a a orders:read a"),      200),
        ("more does no harm",      json!("a b c orders:read"),      200),
        ("two blanks",             json!("a  orders:read "),        200),
        ("a list",                 json!(["a", "orders:read"]),     200),
        ("one is lacking",         json!("a"),                      403),
        ("another case",           json!("a Orders:Read"),          403),
        ("a longer one",           json!("a orders:readonly"),      403),
        ("a shorter one",          json!("a orders"),               403),
        ("a tab is no separator",  json!("a\torders:read"),         403),
        ("a comma is none",        json!("a,orders:read"),          403),
        ("empty",                  json!(""),                       403),
        ("null",                   Value::Null,                     403),
        ("a number",               json!(7),                        401),
        ("an object",              json!({ "a": true }),            401),
        ("a list of other things", json!(["a", 7]),                 401),
    ];
    for (claim, scope, status) in cases {
        let token = world.issuer.token().claim("scope", scope).sign();
        let response = world.gateway.get("/orders").bearer(&token).send().await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
    }
    let token = world.issuer.token().claim("scp", json!(["a", "orders:read"])).sign();
    assert_eq!(world.gateway.get("/orders").bearer(&token).send().await.status, 200, "scp");
}

#[tokio::test]
async fn rfc7519_7_3_claims_are_compared_by_type_and_code_point() {
    let world =
        World::with(&[r#"path = "/it", access = { claims = { department = ["it", "ops"] } }"#])
            .await;
    #[rustfmt::skip]
    let cases = [
        (json!("it"), 200), (json!(["hr", "it"]), 200), (json!("ops"), 200),
        (json!("IT"), 403), (json!("it,hr"), 403), (json!(true), 403), (json!({ "it": 1 }), 403),
        (json!(["hr"]), 403), (json!([]), 403), (Value::Null, 403), (json!("it "), 403),
    ];
    for (value, status) in cases {
        let token = world.issuer.token().claim("department", value.clone()).sign();
        let response = world.gateway.get("/it").bearer(&token).send().await;
        assert_eq!(response.status, status, "{value}");
        if status == 403 {
            assert_eq!(response.error(), "", "more scope would not help");
        }
    }
}

#[tokio::test]
async fn rfc9700_2_3_another_resources_audience_is_401_whatever_the_scopes() {
    let world = World::with(&[
        r#"path = "/default", access = { scopes = ["a"] }"#,
        r#"path = "/own", access = { scopes = ["a"] }, audiences = ["https://api.test/own"]"#,
    ])
    .await;
    #[rustfmt::skip]
    let cases = [
        (json!(AUDIENCE),                               200, 401),
        (json!("https://api.test/own"),                 401, 200),
        (json!(["https://x.test", AUDIENCE]),           200, 401),
        (json!([AUDIENCE, "https://api.test/own"]),     200, 200),
        (json!("https://api.test/"),                    401, 401),
        (json!("https://API.test"),                     401, 401),
        (json!("https://api.tes"),                      401, 401),
        (json!([]),                                     401, 401),
        (json!(""),                                     401, 401),
        (Value::Null,                                   401, 401),
        (json!(7),                                      401, 401),
    ];
    for (audience, default, own) in cases {
        let token = world.issuer.token().scopes("a").claim("aud", audience.clone()).sign();
        for (path, status) in [("/default", default), ("/own", own)] {
            let response = world.gateway.get(path).bearer(&token).send().await;
            assert_eq!(response.status, status, "{audience} at {path}");
        }
    }
}

/// Routes `/a` and `/b` that need scopes `a` and `b`, and a server that gives the caller whatever
/// scopes its token or key names.
async fn two_routes(issuer: &TestIssuer, upstream: &Backend) -> (Gateway, Backend) {
    let name = issuer.name.clone();
    let server = Backend::answering(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let answer = if seen.target == "/introspect" {
            let scope = body.split("scope-").nth(1).and_then(|rest| rest.split('&').next());
            json!({ "active": true, "scope": scope, "aud": AUDIENCE, "iss": name, "client_id": "app" })
        } else {
            json!({ "access_token": "opaque-scope-a", "token_type": "Bearer", "expires_in": 60, "scope": "a" })
        };
        Reply::status(200).header("content-type", "application/json").body(answer.to_string())
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", issuer, &endpoints(&server.url(), ""))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/a", access = { scopes = ["a"] }, accept = ["bearer", "basic"]"#)
        .route(r#"path = "/b", access = { scopes = ["b"] }, accept = ["bearer", "basic"]"#)
        .start()
        .await;
    (gateway, server)
}

#[tokio::test]
async fn rfc9700_2_3_a_cached_answer_never_carries_scopes_to_another_route() {
    let (issuer, upstream) = (TestIssuer::new(), Arc::new(Backend::start().await));
    for order in [["/a", "/b", "/a", "/b"], ["/b", "/a", "/b", "/a"]] {
        let (gateway, _server) = two_routes(&issuer, &upstream).await;
        let jwt = issuer.token().scopes("a").sign();
        for path in order {
            let status = if path == "/a" { 200 } else { 403 };
            for (kind, request) in [
                ("JWT", gateway.get(path).bearer(&jwt)),
                ("opaque", gateway.get(path).bearer("token-scope-a")),
                ("Basic", gateway.get(path).basic("key", "secret")),
            ] {
                let response = request.send().await;
                assert_eq!(
                    response.status,
                    status,
                    "{kind} at {path} in {order:?}: {}",
                    response.text()
                );
            }
        }
    }
}

#[tokio::test]
async fn identity_headers_carry_what_was_verified() {
    let world = World::with(&[
        r#"path = "/orders", access = { scopes = ["a"] }, identity_headers = { "x-subject" = "sub", "x-scopes" = "scope", "x-client" = "client_id" }"#,
    ])
    .await;
    let token = world.issuer.token().scopes("a b").sign();
    assert_eq!(world.gateway.get("/orders").bearer(&token).send().await.status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-subject"), Some("alice"));
    assert_eq!(seen.header("x-scopes"), Some("a b"));
    assert_eq!(seen.header("x-client"), Some("app"));
}

#[tokio::test]
async fn rfc9110_5_5_a_claim_that_cannot_be_a_header_is_refused_and_never_cut() {
    let world = World::with(&[
        r#"path = "/orders", access = { scopes = ["a"] }, identity_headers = { "x-subject" = "sub" }"#,
    ])
    .await;
    for hostile in ["a\r\nx-admin: 1", "a\nb", "a\u{0}b"] {
        let token = world.issuer.token().scopes("a").claim("sub", hostile).sign();
        let response = world.gateway.get("/orders").bearer(&token).send().await;
        assert!(matches!(response.status, 401 | 403), "{hostile:?}: {}", response.status);
    }
    let token = world.issuer.token().scopes("a").claim("sub", Value::Null).sign();
    let response = world.gateway.get("/orders").bearer(&token).send().await;
    assert!(
        matches!(response.status, 401 | 403),
        "a header whose claim is absent: {}",
        response.status
    );
    assert_eq!(world.upstream.count(), 0);
}
