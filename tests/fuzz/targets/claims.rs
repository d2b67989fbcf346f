//! The claims of a JWT whose signature holds.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target stops at what must not be, and a JSON value has no index that is out of it"
)]

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use super::access_token;
use crate::base::time::UnixSeconds;
use crate::config::{AuthorizationServer, Source, parse};
use crate::oauth::{Audiences, Claims, Plaintext, RawToken, ServerId, VerifiedToken};
use crate::reject::InvalidToken;

/// Judges `data`, and holds a good verdict against what another reader finds in it.
pub fn run(data: &[u8]) {
    let Ok(claims) = Claims::parse(data) else { return };
    let value: Value = serde_json::from_slice(data).expect("JSON to one is JSON to all");
    let members = value.as_object().expect("an object");
    assert_eq!(members.len(), claims.len(), "a member that stands twice has two readings");
    if let Ok(token) = judge(&claims, UnixSeconds::new(NOW)) {
        check(&value, &token);
        check_time(&claims, &token);
    }
}

fn judge(claims: &Claims, now: UnixSeconds) -> Result<VerifiedToken, InvalidToken> {
    let digest = RawToken::new("t").digest();
    access_token::judge(claims, digest, (ServerId::new(1), server()), now)
}

fn check(value: &Value, token: &VerifiedToken) {
    for name in ["cnf", "at_hash", "c_hash", "s_hash", "events", "token_introspection"] {
        assert!(value.get(name).is_none(), "bound, or no access token: {name}");
    }
    check_texts(value, token);
    let Audiences::Named(audiences) = &token.audiences else { panic!("a JWT names its audience") };
    let named = match &value["aud"] {
        Value::Array(many) => many.iter().collect(),
        Value::Null => vec![],
        one => vec![one],
    };
    let audiences: Vec<_> = audiences.iter().map(|one| Value::from(one.as_str())).collect();
    assert_eq!(audiences.iter().collect::<Vec<_>>(), named, "aud");
    assert_eq!(token.claims.value("department"), value.get("department"), "a claim that is kept");
    assert!(token.claims.value("sub").is_none(), "a claim that no route asks for");
}

/// Holds subject, client and scopes against what another reader finds.
pub(super) fn check_texts(value: &Value, token: &VerifiedToken) {
    assert_eq!(token.texts.subject(), value["sub"].as_str(), "sub");
    let client_id = value["client_id"].as_str().or(value["azp"].as_str());
    assert_eq!(token.texts.client_id(), client_id, "client_id");
    let said = value.get("scope").or(value.get("scp"));
    let said = match said {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split(' ').collect(),
        _ => Vec::new(),
    };
    for scope in token.scopes().iter() {
        assert!(said.contains(&scope.as_str()), "{scope} was not granted");
    }
}

/// RFC 7519 section 4.1.4 and 4.1.5, with the skew that the server is given.
fn check_time(claims: &Claims, token: &VerifiedToken) {
    let expires = claims.numeric_date("exp").ok().flatten().expect("RFC 9068 section 2.2");
    assert!(UnixSeconds::new(NOW) < expires.plus(SKEW), "over");
    let until = token.validity.until().expect("it has an end");
    assert_eq!(judge(claims, until), Err(InvalidToken::Expired), "good for ever");
    if let Some(from) = token.validity.from() {
        let before = judge(claims, from.minus(Duration::from_secs(1)));
        assert_eq!(before, Err(InvalidToken::NotYetValid), "good before its time");
    }
}

/// An authorization server with introspection, its tokens known for one claim that a route asks for.
pub(super) fn server() -> &'static AuthorizationServer {
    static SERVER: LazyLock<AuthorizationServer> = LazyLock::new(|| {
        let sources = vec![Source { path: SECRETS.into(), text: CONFIGURATION.into() }];
        let loaded = parse(sources, Plaintext::Refused).unwrap_or_else(|why| panic!("{why}"));
        loaded.config.servers.into_iter().next().expect("there is one")
    });
    &SERVER
}

/// What the clock says.
pub(super) const NOW: i64 = 1_700_000_000;

const SKEW: Duration = Duration::from_secs(30);

/// Relative paths start beside it: `client_secret` is read there.
const SECRETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/claims.toml");
const CONFIGURATION: &str = include_str!("../claims.toml");
