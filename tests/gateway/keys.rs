//! Keys and discovery (RFC 7517, RFC 8414, OpenID discovery), with the real server where it counts.

use serde_json::json;

use crate::harness::tls::Authority;
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{
    AuthServer, Backend, Gateway, Reply, SigningKey, TestIssuer, World, eventually,
};

const QUICK: &str = r#"jwks = { refresh = "1s", cooldown = "1s", max_stale = "24h" }"#;

async fn with_server(more: &str) -> (AuthServer, Backend, Gateway) {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, more)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    (server, upstream, gateway)
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.get("/orders/1").bearer(token).send().await.status
}

#[tokio::test]
async fn the_real_servers_tokens_are_let_in_with_every_algorithm() {
    let (server, _upstream, gateway) = with_server("").await;
    for resource in ["jwt", "ps256", "es256", "eddsa", "ed25519", "opaque"] {
        let order = json!({ "resource": format!("https://api.test/{resource}") });
        let token = server.mint(order).await;
        assert_eq!(status(&gateway, &token).await, 200, "{resource}");
    }
    assert_eq!(server.count("jwks").await, 1);
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_the_old_ones_serve_while_published() {
    let (server, _upstream, gateway) = with_server(QUICK).await;
    let old = server.mint(json!({})).await;
    assert_eq!(status(&gateway, &old).await, 200);
    server.control("/rotate", json!({ "keep_old": true })).await;
    let new = server.mint(json!({})).await;
    eventually("the new key", async || (status(&gateway, &new).await == 200).then_some(())).await;
    assert_eq!(status(&gateway, &old).await, 200, "the old key is still published");
}

#[tokio::test]
async fn a_removed_key_takes_its_cached_verdicts_with_it() {
    let (server, upstream, gateway) = with_server(QUICK).await;
    let old = server.mint(json!({})).await;
    assert_eq!(status(&gateway, &old).await, 200);
    server.control("/rotate", json!({ "keep_old": false })).await;
    eventually("the end of the old key", async || {
        (status(&gateway, &old).await == 401).then_some(())
    })
    .await;
    let before = upstream.count();
    assert_eq!(status(&gateway, &old).await, 401);
    assert_eq!(upstream.count(), before);
}

#[tokio::test]
async fn other_keys_under_the_same_name_replace_the_old_ones() {
    let (server, _upstream, gateway) = with_server(QUICK).await;
    let old = server.mint(json!({})).await;
    assert_eq!(status(&gateway, &old).await, 200);
    server.control("/restart_keys", json!({})).await;
    let new = server.mint(json!({})).await;
    eventually("the new key", async || (status(&gateway, &new).await == 200).then_some(())).await;
    eventually("the end of the old key", async || {
        (status(&gateway, &old).await == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_unknown_key_ids_are_one_fetch() {
    let (server, upstream, gateway) =
        with_server(r#"jwks = { refresh = "15m", cooldown = "30s", max_stale = "24h" }"#).await;
    assert_eq!(status(&gateway, &server.mint(json!({})).await).await, 200);
    let (before, count) = (server.count("jwks").await, upstream.count());
    let issuer = TestIssuer::named(&server.issuer, &["ES256"]);
    let tokens = (0..1_000).map(|serial| {
        let key_id = format!("unknown-{}", serial % 100);
        let token = issuer.token().header("kid", key_id).claim("aud", "https://api.test/jwt");
        format!("Bearer {}", token.scopes("orders:read").sign())
    });
    let statuses = gateway.at_once("/orders/1", &tokens.collect::<Vec<_>>()).await;
    assert!(statuses.iter().all(|status| *status == 401), "{:?}", &statuses[..10]);
    assert!(server.count("jwks").await - before <= 1, "one fetch in the cool-down");
    assert_eq!(upstream.count(), count);
}

#[tokio::test]
async fn old_keys_serve_on_while_the_server_is_down_and_unknown_ones_get_503() {
    let (server, _upstream, gateway) = with_server(QUICK).await;
    let good = server.mint(json!({})).await;
    assert_eq!(status(&gateway, &good).await, 200);
    for endpoint in ["jwks", "discovery"] {
        server.fault(endpoint, json!({ "status": 500 })).await;
    }
    let failed = [("server", "main"), ("endpoint", "jwks"), ("outcome", "status")];
    eventually("a failed refresh", async || {
        let count = gateway.metric("scopegate_authorization_server_calls_total", &failed).await;
        (count > 0.0).then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &good).await, 200, "cached");
    assert_eq!(status(&gateway, &server.mint(json!({})).await).await, 200, "not seen before");
    let unknown = server.mint(json!({ "header": { "kid": "unknown" } })).await;
    let response = gateway.get("/orders/1").bearer(&unknown).send().await;
    assert_eq!(response.status, 503, "nobody said that there is no such key");
    assert!(!response.header("retry-after").is_empty());
}

/// A gateway that has no keys, as its authorization server gives none.
async fn without_keys() -> (AuthServer, Backend, Gateway) {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    server.fault("jwks", json!({ "status": 503 })).await;
    let gateway = Setup::new()
        .server("main", &server, QUICK)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start_unready()
        .await;
    (server, upstream, gateway)
}

#[tokio::test]
async fn without_keys_the_gateway_is_not_ready_and_answers_503() {
    let (server, _upstream, gateway) = without_keys().await;
    let token = server.mint(json!({})).await;
    let response = gateway.get("/orders/1").bearer(&token).send().await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(gateway.admin("/readyz").await.status, 503);
    assert_eq!(gateway.admin("/livez").await.status, 200, "it lives all the same");
    server.fault("jwks", json!({})).await;
    let gateway = gateway.ready().await;
    assert_eq!(status(&gateway, &token).await, 200);
}

#[tokio::test]
async fn a_failed_refresh_says_in_the_log_which_document_was_asked_for() {
    let (server, _upstream, gateway) = without_keys().await;
    let line = |what: &str| {
        let log = gateway.log();
        log.lines().find(|line| line.contains(what)).map(str::to_owned)
    };
    for (what, path, last) in [
        ("key refresh failed, no keys serve", "/jwks", "discovery"),
        ("metadata refresh failed, the old one still serves", "/.well-known/", "jwks"),
    ] {
        let found = eventually(what, async || line(what)).await;
        assert!(found.contains(&format!("url={}{path}", server.issuer)), "{found}");
        server.fault("jwks", json!({})).await;
        server.fault(last, json!({ "status": 500 })).await;
    }
    let found = eventually("old keys", async || line("key refresh failed, old keys")).await;
    assert!(found.contains(&format!("url={}/jwks", server.issuer)), "{found}");
}

#[tokio::test]
async fn rfc8414_3_3_metadata_of_another_issuer_is_not_used() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    for issuer in [format!("{}/", server.issuer), "https://other.test".to_owned()] {
        server.fault("discovery", json!({ "patch": { "issuer": issuer } })).await;
        let gateway = Setup::new()
            .server("main", &server, "")
            .upstream("api", &upstream.url(), "")
            .route(ORDERS)
            .start_unready()
            .await;
        let token = server.mint(json!({})).await;
        assert_eq!(status(&gateway, &token).await, 503, "{issuer}");
        assert_eq!(gateway.admin("/readyz").await.status, 503, "{issuer}");
    }
}

#[tokio::test]
async fn rfc8414_3_2_unusable_answers_leave_the_gateway_without_keys() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let faults = [
        json!({ "garbage": true }),
        json!({ "body": "<html></html>", "headers": { "content-type": "text/html" } }),
        json!({ "status": 302, "headers": { "location": format!("{}/jwks", server.issuer) } }),
        json!({ "huge_bytes": 8_000_000 }),
        json!({ "truncate": true }),
        json!({ "close": true }),
        json!({ "body": { "keys": "none" } }),
    ];
    for fault in faults {
        server.fault("jwks", fault.clone()).await;
        let gateway = Setup::new()
            .server("main", &server, "")
            .upstream("api", &upstream.url(), "")
            .route(ORDERS)
            .start_unready()
            .await;
        assert_eq!(status(&gateway, &server.mint(json!({})).await).await, 503, "{fault}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn rfc8414_6_1_a_server_that_another_ca_vouches_for_is_told_nothing() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let authority = crate::harness::tls::Authority::new();
    let setup = Setup::new();
    let ca = setup.folder.write("other-ca.pem", authority.pem()).display().to_string();
    let text = setup.server("main", &server, "").upstream("api", &upstream.url(), "").route(ORDERS);
    let config = text.text().replace(&server.ca(), &ca);
    let gateway = Gateway::start_in(text.folder, &config).await;
    let token = server.mint(json!({})).await;
    let opaque = server.mint(json!({ "resource": "https://api.test/opaque" })).await;
    assert_eq!(status(&gateway, &token).await, 503);
    assert_eq!(status(&gateway, &opaque).await, 503);
    assert_eq!(server.count("jwks").await + server.count("introspection").await, 0);
}

#[tokio::test]
async fn rfc7517_5_a_broken_or_foreign_key_is_skipped_and_the_rest_serve() {
    let issuer = TestIssuer::named("https://issuer.test", &["ES256"]);
    let oct = json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "oct", "alg": "HS256" });
    let mut encryption = SigningKey::new("ES256", "enc").jwk();
    encryption["use"] = json!("enc");
    let mut keys = vec![
        oct,
        encryption,
        json!({ "kty": "unheard-of", "kid": "a" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "kid": "b" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short", "alg": "RS256" }),
        json!(7),
    ];
    keys.push(issuer.keys[0].jwk());
    issuer.publish(&json!({ "keys": keys, "more": true }));
    let world = World::built(issuer, "", |setup| setup.route(ORDERS)).await;
    assert_eq!(world.gateway.get("/orders/1").bearer(&world.token()).send().await.status, 200);
    let secret = b"secret-secret-secret-secret-secret";
    let forged =
        world.issuer.token().scopes("orders:read").header("alg", "HS256").header("kid", "oct");
    let forged = forged.sign_by(|input| crate::harness::keys::hmac_sha256(secret, input));
    assert_eq!(world.gateway.get("/orders/1").bearer(&forged).send().await.status, 401);
}

#[tokio::test]
async fn rfc7517_4_5_two_keys_with_one_name_are_both_tried() {
    let mut issuer = TestIssuer::named("https://issuer.test", &["ES256"]);
    issuer.keys = vec![
        SigningKey::new("ES256", "same"),
        SigningKey::new("ES256", "same"),
        SigningKey::new("RS256", "same"),
    ];
    issuer.publish(&issuer.jwks());
    let world = World::built(issuer, "", |setup| setup.route(ORDERS)).await;
    for key in &world.issuer.keys {
        let token = world.issuer.token_by(key).scopes("orders:read").sign();
        assert_eq!(world.gateway.get("/orders/1").bearer(&token).send().await.status, 200);
    }
}

/// A gateway whose issuer is found by discovery at `path` of an in-test server, which has its
/// metadata only at `place`. The requests that reached it, in order.
async fn discovered(path: &str, place: &'static str) -> (u16, Vec<String>) {
    let authority = Authority::new();
    let server = Backend::over_tls(&authority, &[b"http/1.1"]).await;
    let base = format!("https://{}", server.address());
    let issuer = TestIssuer::named(&format!("{base}{path}"), &["ES256"]);
    let metadata =
        json!({ "issuer": issuer.name, "jwks_uri": format!("{base}/keys"), "unknown": 1 });
    let jwks = issuer.jwks();
    server.answer(move |seen| {
        let json = |body: &serde_json::Value| {
            Reply::status(200).header("content-type", "application/json").body(body.to_string())
        };
        match seen.target.as_str() {
            "/keys" => json(&jwks),
            target if target == place => json(&metadata),
            _ => Reply::status(404),
        }
    });
    let upstream = Backend::start().await;
    let setup = Setup::new();
    setup.folder.write("ca.pem", authority.pem());
    let table = format!(
        "[authorization_servers.main]\nissuer = \"{}\"\naudiences = [\"https://api.test\"]\n\
         outbound = {{ ca = \"ca.pem\" }}",
        issuer.name
    );
    let gateway = setup
        .table(&table)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start_unready()
        .await;
    let status = eventually("an answer", async || {
        let response = gateway
            .get("/orders/1")
            .bearer(&issuer.token().scopes("orders:read").sign())
            .send()
            .await;
        (response.status != 503).then_some(response.status)
    })
    .await;
    (status, server.all().into_iter().map(|seen| seen.target).collect())
}

#[tokio::test]
async fn rfc8414_3_1_metadata_is_looked_for_inserted_first_then_appended_then_as_openid_inserts_it()
{
    let inserted = "/.well-known/oauth-authorization-server/t1";
    let appended = "/t1/.well-known/openid-configuration";
    let last = "/.well-known/openid-configuration/t1";
    let cases: [(&str, &'static str, &[&str]); 4] = [
        ("/t1", inserted, &[inserted]),
        ("/t1", appended, &[inserted, appended]),
        ("/t1", last, &[inserted, appended, last]),
        ("/t1/", inserted, &[inserted]),
    ];
    for (path, place, expected) in cases {
        let (status, asked) = discovered(path, place).await;
        assert_eq!(status, 200, "{path} at {place}: {asked:?}");
        assert_eq!(asked[..expected.len()], *expected, "{path}");
        assert_eq!(asked[expected.len()], "/keys", "{path}");
    }
}
