//! What becomes of a token: introspection (RFC 7662) and revocation (RFC 7009).

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::answer::{OAuthError, never_stored};
use super::client::RegisteredClient;
use super::form::Form;
use super::{STORY, State};
use crate::base::time::UnixSeconds;
use crate::dev::loopback::bare;
use crate::oauth::RawToken;

impl State {
    /// Answers a request to the introspection endpoint: any registered client may ask.
    pub(super) fn introspection(
        &self,
        request: &Request<Bytes>,
        now: UnixSeconds,
    ) -> Response<Full<Bytes>> {
        let answered = self.asked(request).map(|(client, token)| {
            let claims = self.active(&token, now);
            tracing::info!(
                target: STORY,
                "authorization server: {} asked about a token: {}",
                client.id,
                if claims.is_some() { "active" } else { "not active" }
            );
            never_stored(StatusCode::OK, &introspected(claims))
        });
        answered.unwrap_or_else(OAuthError::response)
    }

    /// Answers a request to the revocation endpoint.
    pub(super) fn revocation(
        &self,
        request: &Request<Bytes>,
        now: UnixSeconds,
    ) -> Response<Full<Bytes>> {
        let revoked = self
            .asked(request)
            .and_then(|(client, token)| self.revoke(client, &token, now).map(|()| client));
        match revoked {
            Ok(client) => {
                tracing::info!(target: STORY, "authorization server: {} revoked a token", client.id);
                bare(StatusCode::OK)
            }
            Err(error) => error.response(),
        }
    }

    /// Who asks, and about which token.
    fn asked(&self, request: &Request<Bytes>) -> Result<(&RegisteredClient, String), OAuthError> {
        let form = Form::parse(request)?;
        let client = self.clients.authenticate(request.headers(), &form)?;
        let token = form.one("token").ok_or(OAuthError::InvalidRequest("token is missing"))?;
        Ok((client, token.to_owned()))
    }

    /// The claims of a token that counts now.
    fn active(&self, token: &str, now: UnixSeconds) -> Option<Map<String, Value>> {
        let claims = self.known(token)?;
        let expires = UnixSeconds::new(claims.get("exp")?.as_i64()?);
        (now < expires).then_some(claims)
    }

    /// The claims of a token of ours that is not revoked.
    fn known(&self, token: &str) -> Option<Map<String, Value>> {
        if let Some(facts) = self.store().find(RawToken::new(token)) {
            return Some(facts.claims(&self.issuer));
        }
        let claims = self.key.claims_of(token)?;
        let jti = claims.get("jti")?.as_str()?;
        (!self.store().is_revoked(jti)).then_some(claims)
    }

    /// RFC 7009 §2.1 and §2.2: only the client's own tokens, and an unknown token is as good as
    /// revoked.
    fn revoke(
        &self,
        client: &RegisteredClient,
        token: &str,
        now: UnixSeconds,
    ) -> Result<(), OAuthError> {
        let Some(claims) = self.known(token) else {
            return Ok(());
        };
        if claims.get("client_id").and_then(Value::as_str) != Some(client.id.as_str()) {
            return Err(OAuthError::UnauthorizedClient);
        }
        let jti = claims.get("jti").and_then(Value::as_str);
        let expires = claims.get("exp").and_then(Value::as_i64).map(UnixSeconds::new);
        match (jti, expires) {
            (Some(jti), Some(expires)) => self.store().revoke(jti.to_owned(), expires, now),
            // An opaque token has no `jti`: it is gone when the store forgets it.
            _ => {
                self.store().remove(RawToken::new(token));
                Ok(())
            }
        }
    }
}

/// RFC 7662 §2.2: whatever is wrong with a token, the answer about it is `active: false` alone.
fn introspected(claims: Option<Map<String, Value>>) -> Value {
    let Some(mut claims) = claims else {
        return json!({ "active": false });
    };
    claims.insert("active".to_owned(), true.into());
    claims.insert("token_type".to_owned(), "Bearer".into());
    claims.into()
}

#[cfg(test)]
mod tests {
    use super::super::mint::tampered;
    use super::super::tests::{issued, post, state};
    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

    fn introspected(state: &State, token: &str, now: UnixSeconds) -> Value {
        let answer = post(state, "/introspect", "gateway:g", &format!("token={token}"), now);
        assert_eq!(answer.status(), 200);
        serde_json::from_str(answer.body()).unwrap()
    }

    #[test]
    fn rfc7662_2_2_a_living_token_is_active_and_tells_its_facts() {
        let state = state();
        for who in ["shop:s", "mobile:m"] {
            let answer = introspected(&state, &issued(&state, who, NOW), NOW);
            assert_eq!(answer["active"], true, "{who}");
            assert_eq!(answer["aud"], "https://a.test", "{who}");
            assert_eq!(answer["client_id"], who.split(':').next().unwrap());
            assert_eq!(answer["exp"], NOW.get() + 3600, "{who}");
            assert_eq!(answer["token_type"], "Bearer", "{who}");
        }
    }

    #[test]
    fn rfc7662_2_2_any_other_token_is_not_active_and_nothing_more_is_said() {
        let state = state();
        let inactive = json!({ "active": false });
        let end = UnixSeconds::new(NOW.get() + 3600);
        for who in ["shop:s", "mobile:m"] {
            let token = issued(&state, who, NOW);
            assert_eq!(introspected(&state, &token, end), inactive, "{who}: expired");
        }
        let tampered = tampered(&issued(&state, "shop:s", NOW)).unwrap();
        for token in ["unknown", "a.b.c", &tampered] {
            assert_eq!(introspected(&state, token, NOW), inactive, "{token}");
        }
    }

    #[test]
    fn rfc7662_2_1_whoever_asks_proves_who_it_is_and_names_a_token() {
        let state = state();
        assert_eq!(post(&state, "/introspect", "gateway:x", "token=a", NOW).status(), 401);
        assert_eq!(post(&state, "/introspect", "gateway:g", "", NOW).status(), 400);
    }

    #[test]
    fn rfc7009_2_a_revoked_token_is_not_active_any_more() {
        let state = state();
        for who in ["shop:s", "mobile:m"] {
            let [token, other] = [issued(&state, who, NOW), issued(&state, who, NOW)];
            let body = format!("token={token}&token_type_hint=refresh_token");
            assert_eq!(post(&state, "/revoke", who, &body, NOW).status(), 200, "{who}");
            assert_eq!(introspected(&state, &token, NOW)["active"], false, "{who}");
            assert_eq!(introspected(&state, &other, NOW)["active"], true, "{who}");
            assert_eq!(post(&state, "/revoke", who, &body, NOW).status(), 200, "{who}: again");
        }
    }

    #[test]
    fn rfc7009_2_1_a_client_revokes_its_own_tokens_only_and_an_unknown_one_is_fine() {
        let state = state();
        let token = issued(&state, "shop:s", NOW);
        let answer = post(&state, "/revoke", "mobile:m", &format!("token={token}"), NOW);
        assert_eq!(answer.status(), 400);
        assert_eq!(introspected(&state, &token, NOW)["active"], true);
        assert_eq!(post(&state, "/revoke", "mobile:m", "token=unknown", NOW).status(), 200);
        assert_eq!(post(&state, "/revoke", "mobile:x", "token=unknown", NOW).status(), 401);
    }
}
