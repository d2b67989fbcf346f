//! Step-up authentication (RFC 9470): a route that asks how and when the user logged in.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::gateway::check;
use crate::harness::world::{Setup, endpoints};
use crate::harness::{Backend, Reply, Scratch, TestIssuer, World};

const ROUTE: &str = r#"path = "/pay", access = { scopes = ["pay"], acr_values = ["urn:mfa", "urn:hwk"], max_age = "10m" }"#;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[tokio::test]
async fn rfc9470_3_a_login_that_is_too_weak_or_too_old_is_told_which_one_is_needed() {
    let world = World::with(&[ROUTE]).await;
    let none = || Value::Null;
    #[rustfmt::skip]
    let cases = [
        ("strong and fresh",        "pay",   json!("urn:mfa"),     json!(now() - 5),          200),
        ("the other one",           "a pay", json!("urn:hwk"),     json!(now() - 590),        200),
        ("with a fraction",         "pay",   json!("urn:mfa"),     json!(now() as f64 - 0.5), 200),
        ("a clock that is ahead",   "pay",   json!("urn:mfa"),     json!(now() + 30),         200),
        ("too weak",                "pay",   json!("urn:pwd"),     json!(now() - 5),          401),
        ("another case",            "pay",   json!("URN:MFA"),     json!(now() - 5),          401),
        ("a list",                  "pay",   json!(["urn:mfa"]),   json!(now() - 5),          401),
        ("no acr",                  "pay",   none(),               json!(now() - 5),          401),
        ("too long ago",            "pay",   json!("urn:mfa"),     json!(now() - 620),        401),
        ("no auth_time",            "pay",   json!("urn:mfa"),     none(),                    401),
        ("auth_time in text",       "pay",   json!("urn:mfa"),     json!(now().to_string()),  401),
        ("neither",                 "pay",   none(),               none(),                    401),
        ("the scope is missing",    "other", json!("urn:mfa"),     json!(now() - 5),          403),
        ("the scope is missing too", "other", json!("urn:pwd"),    json!(now() - 5),          401),
    ];
    for (claim, scopes, acr, auth_time, status) in cases {
        let mut token = world.issuer.token().scopes(scopes);
        for (name, value) in [("acr", acr), ("auth_time", auth_time)] {
            if !value.is_null() {
                token = token.claim(name, value);
            }
        }
        let answer = world.gateway.get("/pay").bearer(&token.sign()).send().await;
        assert_eq!(answer.status, status, "{claim}: {}", answer.text());
        if status == 401 {
            let challenge = answer.challenge("Bearer").unwrap();
            assert_eq!(challenge["error"], "insufficient_user_authentication", "{claim}");
            assert_eq!(challenge["acr_values"], "urn:mfa urn:hwk", "{claim}");
            assert_eq!(challenge["max_age"], "600", "{claim}");
            let scope = challenge.get("scope").map(String::as_str);
            assert_eq!(scope, (scopes == "other").then_some("pay"), "{claim}");
            assert_eq!(answer.json()["reason"], "authentication_insufficient", "{claim}");
        }
    }
    assert_eq!(world.upstream.count(), 4);
}

#[tokio::test]
async fn rfc9470_9_a_bad_token_is_not_told_what_login_is_needed() {
    let world = World::with(&[ROUTE]).await;
    let expired = world.issuer.token().scopes("pay").ttl(-600).sign();
    for (token, error) in [(Some(&*expired), Some("invalid_token")), (None, None)] {
        let mut request = world.gateway.get("/pay");
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let answer = request.send().await;
        let challenge = answer.challenge("Bearer").unwrap();
        assert_eq!(challenge.get("error").map(String::as_str), error);
        assert!(!challenge.contains_key("acr_values") && !challenge.contains_key("max_age"));
    }
}

#[tokio::test]
async fn the_time_of_the_login_is_held_against_the_clock_for_each_request() {
    let route = r#"path = "/pay", access = { max_age = "2s" }"#;
    let world = World::with(&[route]).await;
    let login = now();
    let token = world.issuer.token().claim("auth_time", login).sign();
    let ask = async || world.gateway.get("/pay").bearer(&token).send().await.status;
    assert_eq!(ask().await, 200);
    // The verdict is in the cache, and the token lives on.
    crate::harness::eventually("a login that is too old", async || {
        (ask().await == 401).then_some(())
    })
    .await;
    assert!(2 < now() - login);
}

#[tokio::test]
async fn rfc9470_6_2_an_introspection_answer_says_it_too() {
    let answers = Backend::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let acr = if body.contains("token=strong") { "urn:mfa" } else { "urn:pwd" };
        let told = json!({
            "active": true, "scope": "pay", "client_id": "app", "sub": "alice", "acr": acr,
            "auth_time": now() - 5, "exp": now() + 60, "aud": "https://api.test",
        });
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let world = World::built(TestIssuer::new(), &endpoints(&answers.url(), ""), |setup| {
        setup.secret("gateway", "s").route(ROUTE)
    })
    .await;
    for (token, status) in [("strong", 200), ("weak", 401)] {
        let answer = world.gateway.get("/pay").bearer(token).send().await;
        assert_eq!(answer.status, status, "{token}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_rule_about_logins_that_nobody_could_meet_is_a_mistake() {
    let (folder, issuer) = (Scratch::new(), TestIssuer::new());
    for (access, expected) in [
        (r#"{ acr_values = ["a b"] }"#, "printable ASCII without blanks"),
        (r#"{ acr_values = ["a\"b"] }"#, "printable ASCII without blanks"),
        (r#"{ acr_values = [] }"#, "an empty list"),
        (r#"{ max_age = "0s" }"#, "max_age"),
        (r#"{ max_age = 60 }"#, "max_age"),
    ] {
        let setup =
            Setup::new().issuer("main", &issuer, "").upstream("api", "http://127.0.0.1:1", "");
        let text = setup.route(&format!(r#"path = "/a", access = {access}"#)).text();
        let (code, told) = check(&folder, &text).await;
        assert_eq!(code, 2, "{access}\n{told}");
        assert!(told.contains(expected), "{expected} in:\n{told}");
    }
}
