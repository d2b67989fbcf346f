//! Introspection (RFC 7662): the real server with its counters and faults, and answers that a real
//! one seldom gives.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::backend::Seen;
use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::world::{ORDERS, Setup, endpoints};
use crate::harness::{AuthServer, Backend, Gateway, Reply, SigningKey, eventually, unix_now};

const OPAQUE: &str = "https://api.test/opaque";

async fn with_server(introspection: &str) -> (AuthServer, Backend, Gateway) {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .table(introspection)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    (server, upstream, gateway)
}

async fn opaque(server: &AuthServer) -> String {
    server.mint(json!({ "resource": OPAQUE })).await
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/orders/1").bearer(token).send().await.status
}

#[tokio::test]
async fn two_hundred_requests_with_one_unseen_token_are_one_call() {
    let (server, upstream, gateway) = with_server("").await;
    let bearer = format!("Bearer {}", opaque(&server).await);
    server.fault("introspection", json!({ "delay_ms": 200 })).await;
    let statuses = gateway.at_once("/orders/1", &vec![bearer; 200]).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(server.count("introspection").await, 1);
    assert_eq!(upstream.count(), 200);
}

#[tokio::test]
async fn rfc7523_3_our_client_asserts_for_the_token_endpoint_here_too_where_the_settings_say_so() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let key = SigningKey::new("ES256", "ours-1");
    let metadata = json!({
        "client_id": "gateway", "grant_types": [], "response_types": [], "redirect_uris": [],
        "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] },
        "assertion_audience": format!("{}/token", server.issuer),
    });
    server.control("/clients", metadata).await;
    let introspect = format!("introspection_endpoint = \"{}/token/introspection\"", server.issuer);
    for (audience, more, expected) in [
        ("token_endpoint", "", 200),
        // Nothing but the audience is left for the metadata to name.
        ("token_endpoint", introspect.as_str(), 200),
        ("issuer", "", 503),
    ] {
        let proof = format!(
            "authentication = \"private_key_jwt\"\nassertion_audience = \"{audience}\"\n\
             client_key = {{ file = \"secrets/assertion-key\" }}"
        );
        let table = server.table("main", more);
        let gateway = Setup::new()
            .secret("assertion-key", &key.pkcs8_pem())
            .table(&table.replace("client_secret = { env = \"TEST_GATEWAY_SECRET\" }", &proof))
            .upstream("api", &upstream.url(), "")
            .route(ORDERS)
            .start()
            .await;
        let token = opaque(&server).await;
        assert_eq!(
            status(&gateway, &token).await,
            expected,
            "{audience} {more}: {}",
            gateway.log()
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_fails_nobody() {
    let (server, _upstream, gateway) = with_server("").await;
    let token = opaque(&server).await;
    server.fault("introspection", json!({ "delay_ms": 400 })).await;
    let mut first = gateway.connect().await;
    first.write(&gateway.get("/orders/1").bearer(&token).bytes()).await;
    eventually("the call", async || (server.in_flight("introspection").await == 1).then_some(()))
        .await;
    drop(first);
    assert_eq!(status(&gateway, &token).await, 200);
    assert_eq!(server.count("introspection").await, 1, "the first caller's call served the second");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_503_in_bounded_time_and_lets_nobody_in() {
    let (server, upstream, gateway) = with_server("").await;
    let faults = [
        json!({ "status": 500 }),
        json!({ "status": 401, "body": { "error": "invalid_client" } }),
        json!({ "status": 403, "body": "" }),
        json!({ "status": 400, "body": { "error": "invalid_request" } }),
        json!({ "hang": true }),
        json!({ "hang": "body" }),
        json!({ "truncate": true }),
        json!({ "close": true }),
        json!({ "garbage": true }),
        json!({ "huge_bytes": 8_000_000 }),
        json!({ "body": "<html></html>", "headers": { "content-type": "text/html" } }),
        json!({ "status": 302, "headers": { "location": "https://127.0.0.1:1/" } }),
        json!({ "patch": { "active": null } }),
        json!({ "patch": { "active": "true" } }),
        json!({ "patch": { "active": 1 } }),
    ];
    for fault in faults {
        server.fault("introspection", fault.clone()).await;
        let token = opaque(&server).await;
        let start = Instant::now();
        let response = gateway.get("/orders/1").bearer(&token).send().await;
        assert_eq!(response.status, 503, "{fault}: {}", response.text());
        assert!(response.header("retry-after").parse::<u64>().unwrap() > 0, "{fault}");
        assert_eq!(response.error(), "-", "{fault}: no challenge");
        assert!(start.elapsed() < Duration::from_secs(5), "{fault}: {:?}", start.elapsed());
        server.fault("introspection", json!({})).await;
        eventually("the token to be let in again", async || {
            (status(&gateway, &token).await == 200).then_some(())
        })
        .await;
    }
    assert!(upstream.count() >= 15);
}

#[tokio::test]
async fn rfc9110_10_2_3_the_servers_own_retry_after_is_told() {
    let (server, _upstream, gateway) = with_server("").await;
    for status in [429, 503] {
        let fault = json!({ "status": status, "headers": { "retry-after": "17" } });
        server.fault("introspection", fault).await;
        let response = gateway.get("/orders/1").bearer(&opaque(&server).await).send().await;
        assert_eq!((response.status, response.header("retry-after")), (503, "17"));
    }
}

#[tokio::test]
async fn rfc7662_2_2_an_inactive_token_is_401_and_remembered() {
    let (server, _upstream, gateway) = with_server("negative_cache_ttl = \"30s\"").await;
    for _ in 0..5 {
        let response = gateway.get("/orders/1").bearer("unheard-of").send().await;
        assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
    }
    assert_eq!(server.count("introspection").await, 1);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_the_latest_after_cache_ttl() {
    let (server, _upstream, gateway) = with_server("cache_ttl = \"1s\"").await;
    let token = opaque(&server).await;
    assert_eq!(status(&gateway, &token).await, 200);
    assert!(server.revoke(&token).await);
    eventually("the token's end", async || (status(&gateway, &token).await == 401).then_some(()))
        .await;
}

#[tokio::test]
async fn cache_ttl_zero_asks_every_time() {
    let (server, _upstream, gateway) = with_server("cache_ttl = \"0s\"").await;
    let token = opaque(&server).await;
    for _ in 0..3 {
        assert_eq!(status(&gateway, &token).await, 200);
    }
    assert_eq!(server.count("introspection").await, 3);
}

#[tokio::test]
async fn rfc7662_4_a_cached_answer_ends_with_exp() {
    let (server, _upstream, gateway) = with_server("cache_ttl = \"60s\"").await;
    let order = json!({ "resource": "https://api.test/short-opaque", "ttl": 2 });
    let token = server.mint(order).await;
    assert_eq!(status(&gateway, &token).await, 200);
    eventually("the token's end", async || (status(&gateway, &token).await == 401).then_some(()))
        .await;
}

#[tokio::test]
async fn serve_stale_serves_what_was_good_and_nothing_else() {
    let stale = "cache_ttl = \"1s\"\non_unavailable = \"serve_stale\"\nmax_stale = \"60s\"";
    let (server, _upstream, gateway) = with_server(stale).await;
    let (seen, unseen) = (opaque(&server).await, opaque(&server).await);
    assert_eq!(status(&gateway, &seen).await, 200);
    server.fault("introspection", json!({ "status": 500 })).await;
    let failed = [("server", "main"), ("endpoint", "introspection"), ("outcome", "status")];
    eventually("a call that failed", async || {
        assert_eq!(status(&gateway, &seen).await, 200, "stale serves on");
        let count = gateway.metric("scopegate_authorization_server_calls_total", &failed).await;
        (count > 0.0).then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &seen).await, 200);
    assert_eq!(status(&gateway, &unseen).await, 503, "what was never seen is not let in");
    server.fault("introspection", json!({})).await;
    server.revoke(&seen).await;
    eventually("the revocation", async || (status(&gateway, &seen).await == 401).then_some(()))
        .await;
}

#[tokio::test]
async fn serve_stale_ends_with_max_stale() {
    let stale = "cache_ttl = \"1s\"\non_unavailable = \"serve_stale\"\nmax_stale = \"1s\"";
    let (server, _upstream, gateway) = with_server(stale).await;
    let token = opaque(&server).await;
    assert_eq!(status(&gateway, &token).await, 200);
    server.fault("introspection", json!({ "status": 500 })).await;
    eventually("the end of the stale verdict", async || {
        (status(&gateway, &token).await == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_jwt_at_a_server_that_introspects_no_jwts_makes_no_outage() {
    let (server, _upstream, gateway) = with_server("").await;
    let encrypted = json!({ "resource": "https://api.test/encrypted" });
    let token = server.control("/mint", encrypted).await["token"].as_str().unwrap().to_owned();
    // Five parts: a JWE is opaque to us, and the server answers `unsupported_token_type`.
    let jwe = format!("{token}.a.b");
    let response = gateway.get("/orders/1").bearer(&jwe).send().await;
    assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
}

#[tokio::test]
async fn the_other_real_server_is_asked_as_well() {
    let (server, upstream) = (AuthServer::django().await, Backend::start().await);
    let issuer = TestIssuer::named("https://django.test", &["ES256"]);
    let base = server.issuer.clone();
    let table = endpoints(&base, "require_audience = false")
        .replace(&format!("{base}/introspect"), &format!("{base}/introspect/"))
        .replace(&format!("{base}/token"), &format!("{base}/token/"));
    let gateway = Setup::new()
        .secret("gateway", "gateway-secret")
        .issuer("main", &issuer, &table)
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/orders", access = { scopes = ["orders:read"] }, accept = ["bearer", "basic"]"#)
        .start()
        .await;
    let get = async |token: &str| gateway.get("/orders").bearer(token).send().await.status;
    let good = server.mint(json!({ "sub": "alice" })).await;
    assert_eq!(get(&good).await, 200);
    assert_eq!(get(&server.mint(json!({ "scope": "reports:read" })).await).await, 403);
    assert_eq!(get(&server.mint(json!({ "expired": true })).await).await, 401);
    assert_eq!(get("unheard-of").await, 401);
    let response = gateway.get("/orders").basic("café: 100%+1 id", "s:ecret+%41 é").send().await;
    assert_ne!(
        response.status, 200,
        "an id with a colon cannot come by Basic (RFC 7617 section 2)"
    );
    assert_eq!(gateway.get("/orders").basic("limited", "limited-secret").send().await.status, 200);
}

/// A gateway that asks a server whose answer is given here for each token.
async fn asking(
    introspection: &str,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Backend, Backend, Gateway) {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(answer).await;
    let gateway = Setup::new()
        .secret("gateway", "p%q+é")
        .issuer("main", &issuer, &endpoints(&server.url(), introspection))
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    (server, upstream, gateway)
}

fn active(change: impl FnOnce(&mut Value)) -> Reply {
    let mut answer = json!({
        "active": true, "scope": "orders:read", "client_id": "app", "sub": "alice",
        "aud": AUDIENCE, "iss": "https://issuer.test", "exp": unix_now() + 300,
    });
    change(&mut answer);
    answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Reply::status(200).header("content-type", "application/json").body(answer.to_string())
}

#[tokio::test]
async fn rfc7662_2_1_the_request_is_a_form_with_the_token_and_a_client() {
    let (server, _upstream, gateway) = asking("", |_| active(|_| ())).await;
    assert_eq!(status(&gateway, "a+b/c==").await, 200);
    let seen = server.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/introspect"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    let body = String::from_utf8(seen.body.clone()).unwrap();
    assert_eq!(body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    // gateway:p%25q%2B%C3%A9, each half form-encoded (RFC 6749 section 2.3.1).
    assert_eq!(seen.header("authorization"), Some("Basic Z2F0ZXdheTpwJTI1cSUyQiVDMyVBOQ=="));
    assert!(seen.header("accept").unwrap_or_default().contains("application/json"));
}

#[tokio::test]
async fn the_other_ways_to_authenticate_are_spoken() {
    let post = "authentication = \"client_secret_post\"";
    let (server, _upstream, gateway) = asking(post, |_| active(|_| ())).await;
    assert_eq!(status(&gateway, "token").await, 200);
    let body = String::from_utf8(server.last().body).unwrap();
    assert_eq!(
        server.last().header("authorization"),
        None,
        "one method alone (RFC 6749 section 2.3)"
    );
    assert!(
        body.contains("client_id=gateway") && body.contains("client_secret=p%25q%2B%C3%A9"),
        "{body}"
    );

    let raw = "basic_encoding = \"raw\"";
    let (server, _upstream, gateway) = asking(raw, |_| active(|_| ())).await;
    assert_eq!(status(&gateway, "token").await, 200);
    assert_eq!(server.last().header("authorization"), Some("Basic Z2F0ZXdheTpwJXErw6k="));

    let extra = "parameters = { tenant = \"a b\" }";
    let (server, _upstream, gateway) = asking(extra, |_| active(|_| ())).await;
    assert_eq!(status(&gateway, "token").await, 200);
    assert!(String::from_utf8(server.last().body).unwrap().contains("tenant=a+b"));
}

#[tokio::test]
async fn rfc7662_2_2_an_active_answer_is_checked_again() {
    let answer = Arc::new(Mutex::new(json!({})));
    let patch = Arc::clone(&answer);
    let (_server, upstream, gateway) =
        asking("cache_ttl = \"0s\"\nnegative_cache_ttl = \"0s\"", move |_| {
            let patch = patch.lock().unwrap().clone();
            active(|answer| {
                for (name, value) in patch.as_object().unwrap() {
                    answer[name] = value.clone();
                }
            })
        })
        .await;
    let now = unix_now();
    #[rustfmt::skip]
    let cases = [
        (json!({}),                                           200),
        (json!({ "aud": ["https://x.test", AUDIENCE] }),      200),
        (json!({ "scope": "orders:read orders:write" }),      200),
        (json!({ "token_type": "bearer" }),                   200),
        (json!({ "exp": null }),                              200),
        (json!({ "iss": null }),                              200),
        (json!({ "iat": now + 3600 }),                        200),
        (json!({ "aud": "https://x.test" }),                  401),
        (json!({ "aud": null }),                              401),
        (json!({ "iss": "https://x.test" }),                  401),
        (json!({ "exp": now - 300 }),                         401),
        (json!({ "nbf": now + 300 }),                         401),
        (json!({ "token_type": "refresh_token" }),            401),
        (json!({ "token_use": "refresh" }),                   401),
        (json!({ "typ": "Refresh" }),                         401),
        (json!({ "cnf": { "jkt": "abc" } }),                  401),
        (json!({ "active": false }),                          401),
        (json!({ "scope": "orders:readonly" }),               403),
        (json!({ "scope": null }),                            403),
    ];
    for (change, expected) in cases {
        *answer.lock().unwrap() = change.clone();
        let before = upstream.count();
        let response = gateway.get("/orders/1").bearer("token").send().await;
        assert_eq!(response.status, expected, "{change}: {}", response.text());
        assert_eq!(upstream.count() - before, usize::from(expected == 200), "{change}");
    }
    let labels = [("server", "main")];
    let ahead = gateway.metric("scopegate_tokens_from_the_future_total", &labels).await;
    assert_eq!(ahead, 1.0, "RFC 7519 §4.1.6: accepted, and counted");
}

#[tokio::test]
async fn an_outage_is_never_remembered_as_a_bad_token() {
    let code = Arc::new(AtomicU16::new(500));
    let answered = Arc::clone(&code);
    let (_server, _upstream, gateway) =
        asking("negative_cache_ttl = \"60s\"", move |_| match answered.load(Ordering::Relaxed) {
            200 => active(|_| ()),
            other => Reply::status(other),
        })
        .await;
    assert_eq!(status(&gateway, "token").await, 503);
    code.store(200, Ordering::Relaxed);
    eventually("the token to be let in", async || {
        (status(&gateway, "token").await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn introspect_all_lets_in_what_both_say_yes_to() {
    let good = Arc::new(AtomicU16::new(1));
    let says = Arc::clone(&good);
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(move |_| {
        let yes = says.load(Ordering::Relaxed) == 1;
        active(|answer| answer["active"] = json!(yes))
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &format!("introspect = \"all\"\n{}", endpoints(&server.url(), "")))
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let token = || issuer.token().scopes("orders:read");
    assert_eq!(status(&gateway, &token().sign()).await, 200);
    assert_eq!(
        status(&gateway, &token().sign_by(|_| vec![1; 64])).await,
        401,
        "the signature says no"
    );
    assert_eq!(server.count(), 1, "a bad signature is not asked about");
    good.store(0, Ordering::Relaxed);
    assert_eq!(status(&gateway, &token().sign()).await, 401, "the server says no");
}

#[tokio::test]
async fn rfc7523_3_introspection_is_asked_with_a_signed_assertion_where_the_settings_say_so() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(|_| active(|_| ())).await;
    let key = crate::harness::SigningKey::new("ES256", "ours-1");
    let table = endpoints(&server.url(), "cache_ttl = \"0s\"").replace(
        "client_secret = { file = \"secrets/gateway\" }",
        "authentication = \"private_key_jwt\"\nclient_key = { file = \"secrets/key\" }",
    );
    let gateway = Setup::new()
        .secret("key", &key.pkcs8_pem())
        .issuer("main", &issuer, &table)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..2 {
        assert_eq!(status(&gateway, "token").await, 200);
        let seen = server.last();
        assert_eq!(seen.header("authorization"), None, "one method alone (RFC 6749 section 2.3)");
        let body = String::from_utf8(seen.body).unwrap();
        let value = |name: &str| {
            let named = body.split('&').filter_map(|pair| pair.strip_prefix(&format!("{name}=")));
            let all: Vec<_> = named.collect();
            assert_eq!(all.len(), 1, "{name} in {body}");
            all[0].to_owned()
        };
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        assert_eq!(value("client_assertion_type"), kind);
        let assertion = value("client_assertion");
        let part = |index: usize| -> Value {
            use base64::Engine;
            let part = assertion.split('.').nth(index).unwrap();
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        assert_eq!(header["typ"], "client-authentication+jwt");
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("gateway"), &json!("gateway")));
        assert_eq!(claims["aud"], "https://issuer.test", "one string, the issuer");
        assert!(claims["exp"].as_i64().unwrap() <= unix_now() + 300, "{claims}");
        ids.insert(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 2, "each assertion has an id of its own");
}
