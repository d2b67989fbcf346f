//! The fields and the query that a credential may be in: the first line of the data is the query,
//! each other one a value of `Authorization`.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::{Accept, CREDENTIAL_MAX_BYTES, Credential, extract};
use crate::reject::Rejection;

/// Extracts for every `accept`, and holds what is found against the grammars.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let mut headers = HeaderMap::new();
    for line in lines.take(FIELDS_MAX) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(AUTHORIZATION, value);
    }
    for bits in 0..8 {
        let accept = Accept { bearer: bits & 1 > 0, basic: bits & 2 > 0, dpop: bits & 4 > 0 };
        match extract(accept, &headers, query) {
            Ok(found) => check(accept, &headers, query, &found),
            Err(Rejection::CredentialMissing | Rejection::CredentialMalformed(_)) => {}
            Err(other) => panic!("{other:?} is not about a credential"),
        }
    }
}

fn check(accept: Accept, headers: &HeaderMap, query: Option<&str>, found: &Credential<'_>) {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().expect("nothing comes of nothing").as_bytes();
    assert!(values.next().is_none(), "one of two was taken");
    let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let is_token = |name: &str| name.eq_ignore_ascii_case("access_token");
    assert!(!query.into_iter().any(|(name, _)| is_token(&name)), "a token in the query, too");
    let space = value.iter().position(|byte| *byte == b' ').expect("a space behind the scheme");
    let (scheme, rest) = value.split_at(space);
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let text = rest.get(blanks..).expect("it was counted");
    assert!(text.len() <= CREDENTIAL_MAX_BYTES, "longer than anything that is looked at");
    match found {
        Credential::Bearer(token) | Credential::Dpop(token) => {
            let (is_accepted, name) = match found {
                Credential::Dpop(_) => (accept.dpop, "dpop"),
                _ => (accept.bearer, "bearer"),
            };
            assert!(is_accepted && scheme.eq_ignore_ascii_case(name.as_bytes()));
            assert_eq!(token.expose().as_bytes(), text, "the token is all of it");
            // RFC 6750 section 2.1, b64token.
            let body = token.expose().trim_end_matches('=');
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert!(!body.is_empty() && body.bytes().all(is_allowed), "no b64token");
        }
        Credential::Basic(pair) => {
            assert!(accept.basic && scheme.eq_ignore_ascii_case(b"basic"));
            let (id, secret) = (pair.client_id.as_str(), pair.secret.expose());
            assert!(!id.is_empty() && !id.contains(':'), "the first colon ends the id");
            assert!(!id.chars().chain(secret.chars()).any(|one| one.is_ascii_control()));
            let again = STANDARD.encode(format!("{id}:{secret}"));
            assert_eq!(again.as_bytes(), text, "a pair has one spelling");
        }
    }
}

/// Two fields are as bad as many.
const FIELDS_MAX: usize = 3;
