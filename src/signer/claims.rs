//! What a JWT of a signer says. Pure.

use serde_json::{Map, Value, json};

use super::Holder;
use crate::base::random;
use crate::base::time::UnixSeconds;
use crate::config::Signer;
use crate::oauth::{TokenKind, VerifiedToken};
use crate::reject::Rejection;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The claims as JSON: those about the JWT itself (RFC 7519 §4.1), then those of the caller's token
/// that the settings name, each as it stands there.
///
/// # Errors
/// 403 where a JWT lacks a `sub` or `client_id` that the settings name.
pub(super) fn of(
    settings: &Signer,
    holder: Holder<'_>,
    ends: UnixSeconds,
    now: UnixSeconds,
) -> Result<Vec<u8>, Rejection> {
    let mut claims = Map::new();
    claims.insert("iss".into(), json!(settings.issuer.as_str()));
    claims.insert("aud".into(), json!(settings.audience.as_str()));
    claims.insert("iat".into(), json!(now.get()));
    claims.insert("exp".into(), json!(ends.get()));
    if let Some(nonce) = random::nonce() {
        claims.insert("jti".into(), json!(BASE64_URL_SAFE_NO_PAD.encode(nonce)));
    }
    for name in &settings.claims {
        let value = match &**name {
            Signer::PRINCIPAL => Some(json!(holder.principal.as_str())),
            name => claim(name, holder.token)?,
        };
        if let Some(value) = value {
            claims.insert(name.to_string(), value);
        }
        if &**name == "sub" {
            claims.extend(subject_id(holder.token));
        }
    }
    // A map of names and JSON values always serializes.
    Ok(serde_json::to_vec(&claims).unwrap_or_default())
}

fn claim(name: &str, token: &VerifiedToken) -> Result<Option<Value>, Rejection> {
    let value = match name {
        "sub" => token.subject().map(|subject| json!(subject)),
        "client_id" => token.client_id().map(|client| json!(client)),
        "scope" => (!token.scopes().is_empty()).then(|| json!(token.scopes().to_string())),
        other => return Ok(token.claims.value(other).cloned()),
    };
    // As for identity headers: to leave it out would be to say that nobody is there.
    match value.is_none() && name != "scope" && token.kind == TokenKind::Jwt {
        true => Err(Rejection::ClaimsInsufficient),
        false => Ok(value),
    }
}

/// RFC 9493 §3.2.5: a subject as its issuer names it. Two authorization servers can each have a
/// user of that name.
fn subject_id(token: &VerifiedToken) -> Option<(String, Value)> {
    let subject = token.subject()?;
    let id = json!({ "format": "iss_sub", "iss": token.issuer.as_str(), "sub": subject });
    Some(("sub_id".into(), id))
}
