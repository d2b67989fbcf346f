//! Challenges and bodies of refusals (RFC 6750 §3, RFC 9110 §11, RFC 9457).

use crate::harness::issuer::TestIssuer;
use crate::harness::world::{Setup, endpoints};
use crate::harness::{Backend, Reply, World};

#[tokio::test]
async fn rfc6750_3_1_without_a_credential_realm_and_scope_are_named_and_nothing_else() {
    let world = World::orders().await;
    let response = world.gateway.get("/orders/1").send().await;
    assert_eq!(response.header("www-authenticate"), r#"Bearer realm="test", scope="orders:read""#);
}

#[tokio::test]
async fn rfc6750_3_1_a_token_without_the_scope_gets_403_and_every_scope_is_named() {
    let world = World::with(&[
        r#"path = "/orders", access = { scopes = ["orders:read", "orders:write"] }"#,
    ])
    .await;
    let token = world.issuer.token().scopes("orders:read").sign();
    let response = world.gateway.get("/orders").bearer(&token).send().await;
    let challenge = response.challenge("Bearer").unwrap();
    assert_eq!(response.status, 403);
    assert_eq!(challenge["error"], "insufficient_scope");
    assert_eq!(challenge["scope"], "orders:read orders:write");
}

#[tokio::test]
async fn of_any_scope_the_first_alone_is_named() {
    let world = World::with(&[r#"path = "/orders", access = { any_scope = ["b", "a"] }"#]).await;
    let response =
        world.gateway.get("/orders").bearer(&world.issuer.token().scopes("c").sign()).send().await;
    assert_eq!(response.challenge("Bearer").unwrap()["scope"], "b");
    for scopes in ["a", "b", "x a"] {
        let token = world.issuer.token().scopes(scopes).sign();
        assert_eq!(
            world.gateway.get("/orders").bearer(&token).send().await.status,
            200,
            "{scopes}"
        );
    }
}

#[tokio::test]
async fn rfc9110_11_5_a_realm_with_quotes_is_escaped() {
    let issuer = TestIssuer::new();
    let gateway = Setup::new()
        .issuer("main", &issuer, "")
        .upstream("api", "http://127.0.0.1:1", "")
        .route(r#"path = "/orders", access = { scopes = ["a"] }"#);
    let text = gateway.text().replace(r#"realm = "test""#, r#"realm = 'a "quoted" \ realm'"#);
    let gateway = crate::harness::Gateway::start(&text).await;
    let response = gateway.get("/orders").send().await;
    assert_eq!(response.challenge("Bearer").unwrap()["realm"], r#"a "quoted" \ realm"#);
}

#[tokio::test]
async fn rfc6750_3_error_descriptions_are_printable_and_repeat_no_claim() {
    let world = World::orders().await;
    for hostile in ["say \"hi\"\\", "a\r\nset-cookie: x=1", "ümläut-😀", "\u{0}"] {
        for token in [
            world.issuer.token().claim("iss", hostile),
            world.issuer.token().claim("aud", hostile),
            world.issuer.token().header("typ", hostile),
            world.issuer.token().header("kid", hostile),
            world.issuer.token().header("alg", hostile),
        ] {
            let response = world.gateway.get("/orders/1").bearer(&token.sign()).send().await;
            assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
            let challenge = response.challenge("Bearer").unwrap();
            let description = challenge.get("error_description").cloned().unwrap_or_default();
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(description.bytes().all(allowed), "{description:?}");
            assert!(!description.contains("say"), "{description:?}");
            assert_eq!(response.header("set-cookie"), "");
            assert!(!response.text().contains("say"), "{}", response.text());
        }
    }
}

#[tokio::test]
async fn rfc9110_11_6_1_each_accepted_scheme_has_a_line_and_the_error_stands_in_the_used_one() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(|seen| {
        let (status, body) = match seen.target.as_str() {
            "/token" => (401, r#"{"error":"invalid_client"}"#),
            _ => (200, r#"{"active":false}"#),
        };
        Reply::status(status).header("content-type", "application/json").body(body)
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&server.url(), ""))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/both", access = { scopes = ["a"] }, accept = ["bearer", "basic"]"#)
        .start()
        .await;
    let none = gateway.get("/both").send().await;
    assert_eq!(none.all("www-authenticate").len(), 2, "{:?}", none.headers);
    assert_eq!(none.challenge("Basic").unwrap()["charset"], "UTF-8", "RFC 7617 section 2.1");
    let bad = gateway.get("/both").bearer("a.b.c").send().await;
    assert_eq!(bad.error(), "invalid_token");
    assert!(!bad.challenge("Basic").unwrap().contains_key("error"));
    let refused = gateway.get("/both").basic("key", "wrong").send().await;
    assert_eq!(refused.status, 401);
    let basic = refused.challenge("Basic").expect("a Basic challenge");
    assert_eq!(basic["realm"], "test");
    assert!(!basic.contains_key("error"), "RFC 7617 has no error parameter");
}

#[tokio::test]
async fn rfc9110_9_3_2_a_refused_head_has_the_fields_of_a_get_and_no_body() {
    let world = World::orders().await;
    let get = world.gateway.get("/orders/1").send().await;
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.request("HEAD", "/orders/1").bytes()).await;
    let head = connection.response("HEAD").await;
    for name in ["www-authenticate", "content-type", "content-length", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    connection.write(&world.gateway.get("/orders/1").bytes()).await;
    assert_eq!(connection.response("GET").await.status, 401, "nothing stood between the answers");
}

#[tokio::test]
async fn rfc9457_the_problem_is_whole_and_tells_nothing_inner() {
    let world = World::orders().await;
    let token = world.issuer.token().scopes("orders:write").sign();
    let response = world.gateway.get("/orders/1").bearer(&token).send().await;
    let problem = response.json();
    for member in ["title", "detail"] {
        assert!(problem[member].is_string(), "{member} in {problem}");
    }
    // Absent means about:blank (RFC 9457 section 3.1.1), whose title is the phrase of the status.
    let kind = problem["type"].as_str().unwrap_or("about:blank");
    assert!(kind == "about:blank" || kind.contains(':'), "an absolute URI: {kind}");
    let text = response.text();
    for inner in [&token, "alice", "ES256-1", "127.0.0.1"] {
        assert!(!text.contains(inner), "{inner} in {text}");
    }
}

#[tokio::test]
async fn rfc9110_11_6_1_the_upstreams_own_challenge_passes_unchanged() {
    let world = World::orders().await;
    world.upstream.answer(|_| {
        Reply::status(401)
            .header("www-authenticate", r#"Bearer realm="inner", error="invalid_token""#)
            .header("www-authenticate", r#"Digest realm="x""#)
    });
    let response = world.gateway.get("/orders/1").bearer(&world.token()).send().await;
    let expected = vec![r#"Bearer realm="inner", error="invalid_token""#, r#"Digest realm="x""#];
    assert_eq!(response.all("www-authenticate"), expected);
    assert_eq!(response.status, 401);
}
