//! Introspection answers that are signed (RFC 9701): the real server's, and such as nobody may take.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::gateway::check;
use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::keys::SigningKey;
use crate::harness::world::{ORDERS, Setup, endpoints};
use crate::harness::{AuthServer, Backend, Reply, Scratch, unix_now};

const OPAQUE: &str = "https://api.test/opaque";
const JWT: &str = "application/token-introspection+jwt";

#[tokio::test]
async fn rfc9701_4_5_the_real_server_signs_and_nothing_else_is_an_answer() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .table("answer = \"jwt\"\nnegative_cache_ttl = \"0s\"")
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let status = async |token: &str| gateway.get("/orders/1").bearer(token).send().await.status;
    let opaque = async || server.mint(json!({ "resource": OPAQUE })).await;

    let good = opaque().await;
    assert_eq!(status(&good).await, 200, "{}", gateway.log());
    assert_eq!(status(&good).await, 200);
    assert_eq!(server.count("introspection").await, 1, "one answer serves both");
    let requests = server.control("/requests", Value::Null).await;
    let requests = requests.as_array().or(requests["requests"].as_array()).unwrap().clone();
    let asked = requests.iter().find(|one| one["endpoint"] == "introspection").unwrap();
    assert_eq!(asked["headers"]["accept"], JWT);
    let checks = gateway.metric("scopegate_signature_checks_total", &[("server", "main")]).await;
    assert!((checks - 1.0).abs() < f64::EPSILON, "the answer's signature: {checks}");

    let other = server.mint(json!({ "resource": "https://api.test/jwt", "alg": "none" })).await;
    assert_eq!(status(&other).await, 401, "a JWT is judged as one");
    let narrow = server.mint(json!({ "resource": OPAQUE, "scope": "reports:read" })).await;
    assert_eq!(status(&narrow).await, 403, "what is signed is what counts");
    let revoked = opaque().await;
    assert!(server.revoke(&revoked).await);
    let refused = gateway.get("/orders/1").bearer(&revoked).send().await;
    assert_eq!((refused.status, refused.error()), (401, "invalid_token".to_owned()));

    // Whoever stands between could write this: plain JSON, whatever it says, is no answer.
    let yes = json!({ "active": true, "scope": "orders:read", "aud": OPAQUE });
    for kind in ["application/json", JWT] {
        let fault = json!({ "status": 200, "headers": { "content-type": kind }, "body": yes });
        server.fault("introspection", fault).await;
        assert_eq!(status(&opaque().await).await, 503, "{kind}");
    }
    let fault = json!({ "status": 401, "body": { "error": "invalid_client" } });
    server.fault("introspection", fault).await;
    assert_eq!(status(&opaque().await).await, 503, "an error is read as ever");

    // Opaque tokens alone need no keys elsewhere; here nobody could tell whose the answers are.
    server.fault("discovery", json!({ "status": 404 })).await;
    let by_hand = format!("introspection_endpoint = \"{}/token/introspection\"", server.issuer);
    let keyless = Setup::new()
        .server("main", &server, &by_hand)
        .table("answer = \"jwt\"")
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start_unready()
        .await;
    keyless.logs("key refresh failed, no keys serve").await;
    assert_eq!(keyless.admin("/readyz").await.status, 503);
}

#[tokio::test]
async fn rfc9701_5_signed_answers_need_an_algorithm_that_signs() {
    let (folder, issuer) = (Scratch::new(), TestIssuer::new());
    folder.write("secrets/gateway", "s");
    folder.write("secrets/shared", "s".repeat(32));
    let shared = "algorithms = [\"HS256\"]\nshared_secret = { file = \"secrets/shared\" }\n";
    for (more, expected) in [("answer = \"jwt\"", 2), ("answer = \"json\"", 0)] {
        let server = format!("{shared}{}", endpoints("https://as.test", more));
        let setup =
            Setup::new().issuer("main", &issuer, &server).upstream("api", "http://127.0.0.1:1", "");
        let (code, text) = check(&folder, &setup.route(ORDERS).text()).await;
        assert_eq!(code, expected, "{text}");
        assert_eq!(text.contains("no algorithm here signs"), expected == 2, "{text}");
    }
}

/// What the server answers about a token of that name, and what becomes of the request.
fn answers(issuer: &TestIssuer) -> Vec<(&'static str, &'static str, String, u16)> {
    let stranger = SigningKey::new("ES256", "ES256-1");
    let said = json!({ "active": true, "aud": AUDIENCE, "scope": "orders:read", "sub": "alice" });
    let with = |name: &str, value: Value| {
        let answer = issuer.token().header("typ", "token-introspection+jwt");
        let answer = answer.claim("aud", "gateway").claim("exp", Value::Null);
        let answer = answer.claim("sub", Value::Null).claim("token_introspection", said.clone());
        match name {
            "typ" | "alg" | "kid" | "crit" => answer.header(name, value),
            "" => answer,
            claim => answer.claim(claim, value),
        }
    };
    let good = with("", Value::Null).sign();
    let beside = json!({ "active": false });
    let inner = with("token_introspection", beside).claim("active", true).claim("sub", "alice");
    let now = unix_now();
    #[rustfmt::skip]
    let answers = vec![
        ("good",            JWT,                good.clone(),                                       200),
        ("parameter",       "application/token-introspection+jwt; charset=utf-8", good.clone(),     200),
        ("long type",       JWT, with("typ", json!(JWT)).sign(),                                    200),
        ("inactive",        JWT, inner.sign(),                                                      401),
        ("as JSON",         "application/json", said.to_string(),                                   503),
        ("JWT as JSON",     "application/json", good.clone(),                                       503),
        ("JWT as JWT",      "application/jwt",  good.clone(),                                       503),
        ("JSON as JWT",     JWT,                said.to_string(),                                   503),
        ("no type",         JWT, with("typ", Value::Null).sign(),                                   503),
        ("access token",    JWT, with("typ", json!("at+jwt")).sign(),                               503),
        ("plain JWT",       JWT, with("typ", json!("JWT")).sign(),                                  503),
        ("another's key",   JWT, with("", Value::Null).sign_by(|input| stranger.sign(input)),       503),
        ("unknown key",     JWT, with("kid", json!("none")).sign(),                                 503),
        ("not signed",      JWT, with("alg", json!("none")).sign_by(|_| Vec::new()),                503),
        ("crit",            JWT, with("crit", json!(["x"])).sign(),                                 503),
        ("another issuer",  JWT, with("iss", json!("https://other.test")).sign(),                   503),
        ("another client",  JWT, with("aud", json!("client")).sign(),                               503),
        ("the API",         JWT, with("aud", json!(AUDIENCE)).sign(),                               503),
        ("old",             JWT, with("iat", json!(now - 600)).sign(),                              503),
        ("of tomorrow",     JWT, with("iat", json!(now + 600)).sign(),                              503),
        ("silent",          JWT, with("token_introspection", Value::Null).claim("active", true).sign(), 503),
        ("encrypted",       JWT, format!("{good}.x.y"),                                             503),
        ("broken",          JWT, good.replace('.', ".e30"),                                         503),
    ];
    answers
}

#[tokio::test]
async fn rfc9701_5_8_1_an_answer_is_the_servers_own_for_us_and_speaks_in_one_place() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let cases = answers(&issuer);
    let by_token: BTreeMap<String, (&str, String)> = cases
        .iter()
        .enumerate()
        .map(|(index, (_, kind, body, _))| (format!("token-{index}-"), (*kind, body.clone())))
        .collect();
    let server = Backend::answering(move |seen| {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let (_, (kind, body)) =
            by_token.iter().find(|(token, _)| form.contains(&***token)).unwrap();
        Reply::status(200).header("content-type", kind).body(body.clone())
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&server.url(), "answer = \"jwt\""))
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    for (index, (claim, _, _, expected)) in cases.iter().enumerate() {
        let token = format!("token-{index}-");
        let response = gateway.get("/orders/1").bearer(&token).send().await;
        assert_eq!(response.status, *expected, "{claim}: {}", gateway.log());
        if *expected == 503 {
            assert_eq!(response.error(), "-", "{claim}: no challenge");
        }
    }
    let good = cases.iter().filter(|(.., status)| *status == 200).count();
    assert_eq!(upstream.count(), good);
}
