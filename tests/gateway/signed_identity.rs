//! Signed identity: an upstream that trusts the gateway alone, by the keys that it serves.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::client::Request;
use crate::harness::gateway::{check, command};
use crate::harness::issuer::TestIssuer;
use crate::harness::program::{Program, node, run};
use crate::harness::world::Setup;
use crate::harness::{Backend, Gateway, Scratch, SigningKey, World, eventually, unix_now};

const ROUTE: &str = r#"path = "/orders/{id}", access = { scopes = ["orders:read"] }, forward = { signed = "orders" }"#;
const JWKS: &str = "/.well-known/jwks.json";

fn signer(more: &str) -> String {
    format!(
        "[signers.orders]\nissuer = \"https://gateway.test\"\naudience = \"https://orders.internal\"\n{more}\n"
    )
}

async fn key_set(gateway: &Gateway) -> Value {
    let answer = gateway.get(JWKS).send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    answer.json()
}

fn key_ids(set: &Value) -> Vec<&str> {
    let keys = set["keys"].as_array().unwrap().iter();
    keys.inspect(|key| assert!(key.get("d").is_none(), "a private key"))
        .map(|key| key["kid"].as_str().unwrap())
        .collect()
}

fn claims(jwt: &str) -> Value {
    let part = jwt.trim_start_matches("Bearer ").split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn reload(gateway: &Gateway, setup: &Setup) {
    let before = gateway.metric("scopegate_reloads_total", &[("outcome", "accepted")]).await;
    gateway.folder().write("gateway.toml", setup.text());
    gateway.signal("HUP");
    eventually("the reload", async || {
        let now = gateway.metric("scopegate_reloads_total", &[("outcome", "accepted")]).await;
        (before < now).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upstream_checks_who_is_asking_by_the_served_keys_and_over_a_rotation() {
    let mut program = Program::start(&mut node("clients/node/identity_upstream.mjs"));
    let upstream = program.ready().await["url"].as_str().unwrap().to_owned();
    let issuer = TestIssuer::new();
    let keys = [SigningKey::new("ES256", "a"), SigningKey::new("RS256", "b")];
    let setup = |order: &str| {
        Setup::new()
            .secret("a", &keys[0].pkcs8_pem())
            .secret("b", &keys[1].pkcs8_pem())
            .issuer("main", &issuer, "")
            .upstream("api", &upstream, "")
            .table(&signer(&format!("keys = [{order}]\n")))
            .route(ROUTE)
    };
    let (a, b) = (r#"{ file = "secrets/a" }"#, r#"{ file = "secrets/b" }"#);
    let gateway = setup(&format!("{a}, {b}")).start().await;
    let jwks = json!({ "jwks": format!("{}{JWKS}", gateway.url()) }).to_string();
    let address = upstream.trim_start_matches("http://").parse().unwrap();
    let told = Request::new(address, "POST", "/trust").body(jwks).send().await;
    assert_eq!(told.status, 200);

    let set = key_set(&gateway).await;
    let [first, second]: [&str; 2] = key_ids(&set).try_into().unwrap();
    let seen = async |more: &str| {
        let token = issuer.token().scopes("orders:read").claim("jti", more).sign();
        let answer = gateway.get("/orders/7").bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let told = seen("1").await;
    assert_eq!((&told["header"]["kid"], &told["header"]["alg"]), (&json!(first), &json!("ES256")));
    let payload = &told["payload"];
    assert_eq!((&payload["sub"], &payload["client_id"]), (&json!("alice"), &json!("app")));
    assert_eq!(payload["scope"], "orders:read");
    let id = json!({ "format": "iss_sub", "iss": "https://issuer.test", "sub": "alice" });
    assert_eq!(payload["sub_id"], id);
    let life = payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap();
    assert_eq!(life, 60);

    // The other key signs, which the upstream has already; then the first one is gone.
    reload(&gateway, &setup(&format!("{b}, {a}"))).await;
    let told = seen("2").await;
    assert_eq!((&told["header"]["kid"], &told["header"]["alg"]), (&json!(second), &json!("RS256")));
    reload(&gateway, &setup(b)).await;
    assert_eq!(key_ids(&key_set(&gateway).await), [second]);
    assert_eq!(seen("3").await["header"]["kid"], second);
}

#[tokio::test]
async fn a_jwt_serves_several_requests_and_nothing_of_the_callers_goes_along() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .table(&signer("header = \"x-identity\"\nclaims = [\"sub\", \"department\"]"))
            .route(ROUTE)
            .route(r#"path = "/open", access = "public""#)
            .route(r#"path = "/sent", access = { scopes = ["orders:read"] }"#)
    })
    .await;
    let token = world.issuer.token().scopes("orders:read").claim("department", "it").sign();
    let get = async |path: &str| {
        let request = world.gateway.get(path).bearer(&token).header("x-identity", "forged");
        assert_eq!(request.header("X_Identity", "forged").send().await.status, 200);
        let seen = world.upstream.last();
        assert_eq!(seen.header("x_identity"), None, "{path}");
        seen
    };
    let first = get("/orders/1").await;
    let jwt = first.header("x-identity").unwrap().to_owned();
    assert_eq!(first.header("authorization"), None, "the token stays here");
    let said = claims(&jwt);
    assert_eq!((&said["sub"], &said["department"]), (&json!("alice"), &json!("it")));
    assert!(said.get("scope").is_none() && said.get("client_id").is_none(), "{said}");
    assert_eq!(get("/orders/2").await.header("x-identity"), Some(&*jwt), "one signature");
    let signed = world.gateway.metric("scopegate_signatures_total", &[("signer", "orders")]).await;
    assert!((signed - 1.0).abs() < f64::EPSILON, "{signed}");
    for path in ["/open", "/sent"] {
        assert_eq!(get(path).await.header("x-identity"), None, "{path}");
    }
    let short = world.issuer.token().scopes("orders:read").ttl(20).sign();
    assert_eq!(world.gateway.get("/orders/3").bearer(&short).send().await.status, 200);
    let seen = world.upstream.last();
    let end = claims(seen.header("x-identity").unwrap())["exp"].as_i64().unwrap();
    assert!(end <= unix_now() + 20, "it never outlives the caller's token");
}

/// A key set is that of its own host: the upstream may be an authorization server with one of its own.
#[tokio::test]
async fn a_key_set_stands_at_its_host_and_shadows_no_other() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let gateway = Setup::new()
        .issuer("main", &issuer, "")
        .upstream("api", &upstream.url(), "")
        .table(&signer("jwks = { host = \"api.test\" }"))
        .route(ROUTE)
        .route(r#"path = "/{*rest}", access = "public""#)
        .start()
        .await;
    for (host, own) in [("api.test", true), ("login.test", false)] {
        let answer = gateway.get(JWKS).header("host", host).send().await;
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(answer.text().contains("\"kty\""), own, "{host}: {}", answer.text());
        // As long as `check` and the turn of the keys take it to be.
        let max_age =
            format!("public, max-age={}", scopegate::config::Signer::KEYS_MAX_AGE.as_secs());
        assert_eq!(answer.header("cache-control") == max_age, own, "{host}");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_keys_that_the_gateway_made() {
    let issuer = TestIssuer::new();
    let setup = |lifetime: &str| {
        Setup::new()
            .issuer("main", &issuer, "")
            .upstream("api", "http://127.0.0.1:1", "")
            .table(&signer(&format!("lifetime = \"{lifetime}\"")))
            .table(&format!("[caches]\nsigned = {}", 100 + lifetime.len()))
            .route(ROUTE)
    };
    let gateway = setup("60s").start().await;
    let before = key_set(&gateway).await;
    assert_eq!(before["keys"].as_array().unwrap().len(), 1);
    assert_eq!(before["keys"][0]["alg"], "ES256");
    reload(&gateway, &setup("5m")).await;
    assert_eq!(key_set(&gateway).await, before);
    let post = gateway.request("POST", JWKS).send().await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let status = gateway.admin("/status").await.json();
    assert_eq!(status["signers"][0]["keys"][0]["kid"], before["keys"][0]["kid"]);
    assert!(gateway.whole_log().await.contains("reason=\"key_set\""));
}

#[tokio::test]
async fn explain_tells_the_claims_and_never_a_token_that_works() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .secret("a", &SigningKey::new("ES256", "a").pkcs8_pem())
            .table(&signer("keys = [{ file = \"secrets/a\" }]"))
            .route(ROUTE)
    })
    .await;
    let config = world.gateway.config().to_str().unwrap();
    let mut explain = command(&["explain", "--config", config, "GET", "/orders/1", "--token"]);
    let (status, output, errors) = run(explain.arg(world.token())).await;
    assert!(status.success(), "{output}{errors}");
    let line = output.lines().find(|line| line.contains("authorization")).unwrap();
    assert!(line.contains("a JWT of [signers.orders] that says {"), "{line}");
    assert!(line.contains("\"sub\":\"alice\"") && !output.contains("eyJ"), "{output}");
}

#[tokio::test]
async fn what_could_not_work_is_a_mistake() {
    let folder = Scratch::new();
    folder.write("secrets/key", SigningKey::new("ES256", "a").pkcs8_pem());
    folder.write("secrets/other", "no key");
    let issuer = TestIssuer::new();
    let keys = "keys = [{ file = \"secrets/key\" }]";
    let twice =
        format!("{}[signers.b]\nissuer = \"https://b.test\"\naudience = \"b\"\n", signer(""));
    for (tables, route, expected) in [
        (signer("lifetime = \"1h\""), "", "write \"1s\" to \"10m\""),
        (signer("rotate = \"5m\""), "", "write \"1h\" to \"90d\""),
        (signer("algorithm = \"HS256\""), "", "\"ES256\" or \"EdDSA\" or \"RS256\""),
        (signer(&format!("{keys}\nalgorithm = \"ES256\"")), "", "the type of each key"),
        (signer(&format!("{keys}\nrotate = \"24h\"")), "", "rotated by whoever writes them"),
        (signer("keys = [{ file = \"secrets/other\" }]"), "", "no private key that can sign"),
        (signer("claims = [\"exp\"]"), "", "`exp` is about the JWT itself"),
        (signer("token_type = \"dpop+jwt\""), "", "another kind of JWT"),
        (signer("header = \"cookie\""), "", "a meaning of its own"),
        (signer("jwks = { path = \"/a/../b\" }"), "", "not one path in the normal form"),
        (twice, "", "where that of [signers.b] does"),
        (
            signer("").replace("https://gateway.test", "https://issuer.test"),
            "",
            "this issuer is already",
        ),
        (
            signer("header = \"x-identity\""),
            "request_headers = { set = { X_Identity = \"a\" } }",
            "puts something else into x-identity",
        ),
        (
            signer("header = \"x-identity\""),
            "identity_headers = { x-identity = \"sub\" }",
            "puts something else into x-identity",
        ),
        (signer(""), "forward = { signed = \"order\" }", "did you mean \"orders\"?"),
    ] {
        let setup =
            Setup::new().issuer("main", &issuer, "").upstream("api", "http://127.0.0.1:1", "");
        let route = format!(r#"path = "/x", access = {{ scopes = ["a"] }}, {route}"#);
        let route = route.trim_end_matches(", ");
        let (code, text) = check(&folder, &setup.table(&tables).route(route).text()).await;
        assert_eq!(code, 2, "{tables}\n{text}");
        assert!(text.contains(expected), "{expected} in:\n{text}");
    }
    let open = ROUTE.replace(r#"{ scopes = ["orders:read"] }"#, r#""public""#);
    let setup = Setup::new().issuer("main", &issuer, "").upstream("api", "http://127.0.0.1:1", "");
    let (code, text) = check(&folder, &setup.table(&signer("")).route(&open).text()).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("a public route checks no token"), "{text}");
}
