//! The token endpoint: client credentials and nothing else (RFC 6749 §4.4).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::answer::{OAuthError, never_stored};
use super::client::{RegisteredClient, TokenFormat};
use super::form::Form;
use super::mint::TokenFacts;
use super::{STORY, State};
use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, Scope, ScopeSet};

impl State {
    /// Answers a request to the token endpoint.
    pub(super) fn token(
        &self,
        request: &Request<Bytes>,
        now: UnixSeconds,
    ) -> Response<Full<Bytes>> {
        self.issue(request, now).unwrap_or_else(|error| {
            tracing::info!(target: STORY, "authorization server: no token, {}", error.code());
            error.response()
        })
    }

    fn issue(
        &self,
        request: &Request<Bytes>,
        now: UnixSeconds,
    ) -> Result<Response<Full<Bytes>>, OAuthError> {
        let form = Form::parse(request)?;
        let client = self.clients.authenticate(request.headers(), &form)?;
        match form.one("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(OAuthError::UnsupportedGrantType),
            None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        }
        let facts = TokenFacts {
            client_id: client.id.clone(),
            scopes: granted(form.one("scope"), client)?,
            audiences: self.audiences(&form)?,
            issued: now,
            expires: now.plus(LIFETIME),
        };
        let scope = facts.scopes.to_string();
        let token = match client.format {
            // Signing fails when the machine has no randomness; the client may try again.
            TokenFormat::Jwt => {
                self.key.sign(&self.issuer, &facts).map_err(|_| OAuthError::Full)?
            }
            TokenFormat::Opaque => self.opaque(facts, now)?,
        };
        tracing::info!(
            target: STORY,
            "authorization server: a token for {} with {scope}",
            client.id
        );
        let body = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": LIFETIME.as_secs(),
            "scope": scope,
        });
        Ok(never_stored(StatusCode::OK, &body))
    }

    /// Whom the token is for: the resources asked for (RFC 8707 §2), or else the first one.
    fn audiences(&self, form: &Form) -> Result<Vec<Audience>, OAuthError> {
        let known = |asked: &str| {
            let found = self.resources.iter().find(|resource| resource.as_str() == asked);
            found.cloned().ok_or(OAuthError::InvalidTarget)
        };
        let asked = form.all("resource").map(known).collect::<Result<Vec<_>, _>>()?;
        Ok(if asked.is_empty() { self.resources.iter().take(1).cloned().collect() } else { asked })
    }
}

/// What is asked for, as far as the client may have it; all it may have if nothing is asked for
/// (RFC 6749 §3.3).
fn granted(asked: Option<&str>, client: &RegisteredClient) -> Result<ScopeSet, OAuthError> {
    let Some(asked) = asked else {
        return Ok(client.scopes.clone());
    };
    let asked = asked.split(' ').map(str::parse::<Scope>).collect::<Result<ScopeSet, _>>();
    let asked = asked.map_err(|_| OAuthError::InvalidScope)?;
    let granted: ScopeSet = asked.iter().filter(|scope| client.scopes.contains(*scope)).collect();
    if granted.is_empty() { Err(OAuthError::InvalidScope) } else { Ok(granted) }
}

const LIFETIME: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::super::tests::{post, state};
    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

    #[test]
    fn rfc6749_5_a_token_request_is_granted_in_part_or_refused_by_code() {
        let state = state();
        #[rustfmt::skip]
        let cases = [
            // claim                          who          body                                                       status  expected
            ("nothing asked: all it may",     "shop:s",    "grant_type=client_credentials",                           200, r#""scope":"orders:read orders:write""#),
            ("a part is granted",             "shop:s",    "grant_type=client_credentials&scope=admin+orders:read",   200, r#""scope":"orders:read""#),
            ("an empty scope is left out",    "shop:s",    "grant_type=client_credentials&scope=",                    200, r#""scope":"orders:read orders:write""#),
            ("none of those asked for",       "shop:s",    "grant_type=client_credentials&scope=admin",               400, "invalid_scope"),
            ("a scope outside the grammar",   "shop:s",    "grant_type=client_credentials&scope=orders:read++a",      400, "invalid_scope"),
            ("a resource we know",            "shop:s",    "grant_type=client_credentials&resource=https://b.test",   200, "Bearer"),
            ("a resource we do not know",     "shop:s",    "grant_type=client_credentials&resource=https://b.test/x", 400, "invalid_target"),
            ("another grant",                 "shop:s",    "grant_type=authorization_code&code=a",                    400, "unsupported_grant_type"),
            ("no grant",                      "shop:s",    "scope=orders:read",                                       400, "invalid_request"),
            ("a grant twice",                 "shop:s",    "grant_type=client_credentials&grant_type=x",              400, "invalid_request"),
            ("a wrong secret",                "shop:S",    "grant_type=client_credentials",                           401, "invalid_client"),
            ("a wrong secret, another grant", "shop:S",    "grant_type=password",                                     401, "invalid_client"),
        ];
        for (claim, who, body, status, expected) in cases {
            let answer = post(&state, "/token", who, body, NOW);
            assert_eq!(answer.status(), status, "{claim}: {}", answer.body());
            assert!(answer.body().contains(expected), "{claim}: {}", answer.body());
            assert_eq!(answer.headers()["cache-control"], "no-store", "{claim}");
            let challenged = answer.headers().contains_key("www-authenticate");
            assert_eq!(challenged, status == 401, "{claim}");
        }
    }

    #[test]
    fn a_client_registered_for_opaque_tokens_gets_one_without_dots() {
        let answer = post(&state(), "/token", "mobile:m", "grant_type=client_credentials", NOW);
        let body: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        let token = body["access_token"].as_str().unwrap();
        assert_eq!((token.len(), token.contains('.')), (43, false), "{token}");
        assert_eq!(body["expires_in"], 3600);
    }
}
