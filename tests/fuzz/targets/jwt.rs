//! The form of a token: the data as it is, and a token made of its lines, of which the first is
//! the header and the second the claims.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::jwt::{Form, TOKEN_MAX_BYTES, UnverifiedJwt, is_like_jwt};
use crate::oauth::Algorithm;
use crate::reject::InvalidToken;

/// Reads both as tokens, and holds what is accepted against RFC 7515 section 5.2.
pub fn run(data: &[u8]) {
    if let Ok(token) = std::str::from_utf8(data) {
        read(token);
    }
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let parts = [lines.next(), lines.next(), lines.next()];
    read(&parts.map(|part| URL_SAFE_NO_PAD.encode(part.unwrap_or_default())).join("."));
}

fn read(token: &str) {
    match Form::of(token) {
        Form::Jwt(Ok(jwt)) => check(token, &jwt),
        Form::Jwt(Err(why)) => {
            use InvalidToken as I;
            assert!(matches!(why, I::Algorithm | I::Critical | I::Malformed), "{why:?}");
            assert!(is_like_jwt(token) || TOKEN_MAX_BYTES < token.len(), "the cache looks for it");
        }
        Form::Opaque => assert!(token.len() <= TOKEN_MAX_BYTES, "too long to be asked about"),
    }
}

fn check(token: &str, jwt: &UnverifiedJwt<'_>) {
    assert!(token.len() <= TOKEN_MAX_BYTES && is_like_jwt(token));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    assert_eq!(jwt.signed, format!("{header}.{payload}"), "what the signature covers");
    assert_eq!(URL_SAFE_NO_PAD.encode(&jwt.signature), signature, "one spelling");
    let header = object(header);
    let algorithm = header.get("alg").and_then(Value::as_str).expect("alg is a text");
    assert!(!algorithm.eq_ignore_ascii_case("none"), "RFC 8725 section 3.1");
    assert_eq!(algorithm.starts_with("HS"), matches!(jwt.algorithm, Algorithm::Mac(_)));
    assert!(header.get("crit").is_none(), "an extension that we do not understand");
    assert_eq!(jwt.key_id(), header.get("kid").map(|id| id.as_str().expect("kid is a text")));
    let kind = header.get("typ").map(|kind| kind.as_str().expect("typ is a text"));
    if jwt.check_type(&["at+jwt".into()]).is_ok() {
        let kind = kind.expect("nothing says that it is an access token").to_ascii_lowercase();
        assert!(kind == "at+jwt" || kind == "application/at+jwt", "{kind}");
    }
    let claims = object(payload);
    assert_eq!(jwt.issuer().ok(), claims.get("iss").and_then(Value::as_str), "iss");
}

/// What another reader makes of a part.
fn object(part: &str) -> Value {
    let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    assert_eq!(URL_SAFE_NO_PAD.encode(&json), part, "one spelling");
    let value: Value = serde_json::from_slice(&json).expect("JSON");
    assert!(value.is_object(), "RFC 7515 section 5.2, RFC 7519 section 7.2");
    value
}
