//! The answer of an introspection endpoint: the first line of the data is the status, the rest is
//! the body.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "as in claims")]

use http::StatusCode;
use serde_json::Value;

use super::access_token;
use super::fuzz_claims::{NOW, check_texts, server};
use super::introspection::{NoVerdict, confirm, judge, read};
use crate::base::time::UnixSeconds;
use crate::oauth::{Audiences, Claims, RawToken, ServerId, VerifiedToken};
use crate::reject::InvalidToken;

/// Reads the answer, and holds a verdict against what another reader finds in it.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (status, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let status = StatusCode::from_bytes(status).unwrap_or(StatusCode::OK);
    let claims = match read(status, None, body) {
        Ok(claims) => claims,
        Err(NoVerdict::Bad(InvalidToken::Inactive)) => {
            let active = value(body)["active"].clone();
            assert_eq!((status, active), (StatusCode::OK, Value::Bool(false)));
            return;
        }
        Err(_) => return,
    };
    let value = value(body);
    assert_eq!(status, StatusCode::OK, "RFC 7662 section 2.2: no other status is an answer");
    assert_eq!(value["active"], Value::Bool(true), "exactly true");
    for is_named in [true, false] {
        let mut settings = server().introspection.clone().expect("it is configured");
        settings.require_audience = is_named;
        let digest = RawToken::new("t").digest();
        let us = (ServerId::new(1), server());
        let Ok(token) = judge(&claims, digest, us, &settings, UnixSeconds::new(NOW)) else {
            continue;
        };
        check(&value, &token);
        let is_ours = token.audiences == Audiences::MeantForUs;
        assert_eq!(is_ours, value.get("aud").is_none(), "aud");
        assert!(!is_ours || !is_named, "nobody said that it is for us");
    }
    check_confirmed(&claims);
}

fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON to one is JSON to all")
}

fn check(value: &Value, token: &VerifiedToken) {
    assert!(value.get("cnf").is_none(), "bound is never taken as unbound");
    let issuer = value.get("iss").map(|issuer| issuer.as_str().expect("iss is a text"));
    assert!(issuer.is_none_or(|issuer| issuer == "https://as.test"), "of another server");
    let now = UnixSeconds::new(NOW);
    assert!(!token.validity.is_over(now) && !token.validity.is_ahead(now), "not its time");
    check_texts(value, token);
}

/// A JWT that its server calls active too is never good for more than before.
fn check_confirmed(claims: &Claims) {
    let json = br#"{"aud":"https://api.test","exp":1700000060,"sub":"u1","scope":"read write"}"#;
    let jwt = Claims::parse(json).expect("a constant");
    let (digest, now) = (RawToken::new("t").digest(), UnixSeconds::new(NOW));
    let token = access_token::judge(&jwt, digest, (ServerId::new(1), server()), now);
    let token = token.expect("a constant");
    let Ok(confirmed) = confirm(token.clone(), claims, server(), now) else { return };
    for scope in confirmed.scopes().iter() {
        assert!(token.scopes().iter().any(|held| held == scope), "{scope} came with the answer");
    }
    assert_eq!(confirmed.texts.subject(), token.texts.subject(), "another subject");
    assert_eq!(confirmed.audiences, token.audiences, "another audience");
    assert_eq!(confirmed.validity, confirmed.validity.and(token.validity), "a longer life");
}
