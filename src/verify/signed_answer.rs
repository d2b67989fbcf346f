//! Introspection answers that the authorization server signs (RFC 9701).
//!
//! Where they are asked for, nothing else is an answer: plain JSON, another type, a signature by
//! somebody else or a JWT for another resource say nothing about the token. So all that is wrong
//! here is trouble between the server and us (503), and never the caller's 401.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::introspection::{self, NoVerdict};
use super::jwk::Candidates;
use super::jwt::{Form, UnverifiedJwt};
use super::server::Server;
use crate::base::time::{Now, UnixSeconds};
use crate::config::{AuthorizationServer, Introspection};
use crate::oauth::{Algorithm, Audience, Claims};
use crate::outbound::Answer;
use crate::reject::{OutageCause, Rejection};

/// The media type of signed answers (RFC 9701 §5). It is asked for, and nothing beside it: a server
/// that may also answer in JSON would be free to do so.
pub const ACCEPT: HeaderValue = HeaderValue::from_static(MEDIA_TYPE);

/// What an answer says before its claims are looked at. Only an answer of status 200 is signed; an
/// error is read as it always is, since it never says that a token is good.
pub(super) async fn read(
    server: &Arc<Server>,
    settings: &Introspection,
    answer: &Answer,
    now: Now,
) -> Result<Claims, NoVerdict> {
    if answer.status != StatusCode::OK {
        return introspection::read(answer.status, answer.retry_after, &answer.body);
    }
    let jwt = form(answer).ok_or(UNUSABLE)?;
    check_signature(server, &jwt, now).await?;
    let client_id = settings.client.client_id.as_str();
    let said = said(&jwt.claims, server.settings(), client_id, now.unix).ok_or(UNUSABLE)?;
    introspection::verdict(said, answer.retry_after)
}

/// The JWT, by the two types that must both say what it is (RFC 9701 §5).
fn form(answer: &Answer) -> Option<UnverifiedJwt<'_>> {
    if answer.media_type() != Some(MEDIA_TYPE) {
        return None;
    }
    let Form::Jwt(Ok(jwt)) = Form::of(std::str::from_utf8(&answer.body).ok()?) else {
        return None;
    };
    jwt.is_of_type(TYPE).then_some(jwt)
}

/// By a key of that server, with an algorithm that it may use. A MAC proves nothing here: its secret
/// is shared with whoever else checks the server's tokens.
async fn check_signature(
    server: &Arc<Server>,
    jwt: &UnverifiedJwt<'_>,
    now: Now,
) -> Result<(), NoVerdict> {
    let Algorithm::Signature(algorithm) = jwt.algorithm else { return Err(UNUSABLE) };
    if !server.allows(jwt.algorithm) {
        return Err(UNUSABLE);
    }
    let id = jwt.key_id();
    let held = server.keys_for(id, algorithm, now).await.map_err(no_key)?;
    let Candidates::Keys(keys) = held.candidates(id, algorithm) else { return Err(UNUSABLE) };
    let proves = |key: &&super::jwk::Key| {
        server.metrics().signature_checks.inc();
        key.public.verify(algorithm, jwt.signed.as_bytes(), &jwt.signature)
    };
    keys.iter().find(|key| proves(key)).map(drop).ok_or(UNUSABLE)
}

/// The caller's token is not what the missing key was to check.
fn no_key(rejection: Rejection) -> NoVerdict {
    match rejection {
        Rejection::VerifierUnavailable(outage) => NoVerdict::Outage(outage.cause, None),
        _ => UNUSABLE,
    }
}

/// What an answer whose signature is good says of the token: `token_introspection` alone, as the
/// members beside it are about the answer (RFC 9701 §5, §8.1). `None` where the answer is another
/// server's, for another client, or not made just now.
fn said(
    claims: &Claims,
    server: &AuthorizationServer,
    client_id: &str,
    now: UnixSeconds,
) -> Option<Claims> {
    if claims.string("iss").ok()? != Some(server.issuer.as_str()) {
        return None;
    }
    let audiences = claims.audiences("aud", &server.audiences).ok()?;
    if !audiences.contains(&Audience::new(client_id)) {
        return None;
    }
    let issued = claims.numeric_date("iat").ok()??;
    let is_ahead = now.plus(server.clock_skew) < issued;
    let is_old = issued.plus(server.clock_skew).plus(AGE_MAX) < now;
    if is_ahead || is_old {
        return None;
    }
    claims.object("token_introspection").ok().flatten()
}

const UNUSABLE: NoVerdict = NoVerdict::Outage(OutageCause::Unusable, None);

const MEDIA_TYPE: &str = "application/token-introspection+jwt";
const TYPE: &str = "token-introspection+jwt";

/// How long ago an answer may have been made, clock skew apart: it was made for a question that is
/// some seconds old, and one that is older is somebody's recording.
const AGE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::settings;
    use super::*;

    /// RFC 9701 §5, the claims of its example.
    fn example() -> Value {
        json!({
            "iss": "https://as.example.com/",
            "aud": "https://rs.example.com/resource",
            "iat": 1_514_797_892,
            "token_introspection": {
                "active": true,
                "iss": "https://as.example.com/",
                "aud": "https://rs.example.com/resource",
                "iat": 1_514_797_822,
                "exp": 1_514_797_942,
                "client_id": "paiB2goo0a",
                "scope": "read write dolphin",
                "sub": "Z5O3upPC88QrAjx00dis",
                "birthdate": "1982-02-01",
                "given_name": "John",
                "family_name": "Doe",
                "jti": "t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w",
            },
        })
    }

    fn found(claims: &Value) -> Option<Claims> {
        let server = settings("https://as.example.com/");
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        let now = UnixSeconds::new(1_514_797_892);
        said(&claims, &server, "https://rs.example.com/resource", now)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = example();
        claims[name] = value;
        claims
    }

    #[test]
    fn rfc9701_5_the_example_says_what_is_known_of_the_token() {
        let said = found(&example()).unwrap();
        assert_eq!(said.string("sub"), Ok(Some("Z5O3upPC88QrAjx00dis")));
        assert_eq!(said.scopes().unwrap().to_string(), "dolphin read write");
        assert!(introspection::verdict(said, None).is_ok());
    }

    #[test]
    fn rfc9701_8_1_the_members_beside_it_say_nothing_of_the_token() {
        let mut claims = with("token_introspection", json!({ "active": false }));
        claims["active"] = json!(true);
        claims["sub"] = json!("mallory");
        let said = found(&claims).unwrap();
        assert_eq!(said.string("sub"), Ok(None));
        assert!(matches!(introspection::verdict(said, None), Err(NoVerdict::Bad(_))));
    }

    #[test]
    fn rfc9701_5_an_answer_is_this_servers_for_us_and_new() {
        #[rustfmt::skip]
        let cases = [
            ("another server's",     "iss", json!("https://as.example.com"),            false),
            ("of no server",         "iss", json!(null),                                false),
            ("for another client",   "aud", json!("paiB2goo0a"),                        false),
            ("for nobody",           "aud", json!([]),                                  false),
            ("for us and others",    "aud", json!(["x", "https://rs.example.com/resource"]), true),
            ("made at no time",      "iat", json!("1514797892"),                        false),
            ("made in the future",   "iat", json!(1_514_797_892 + 31),                  false),
            ("within the skew",      "iat", json!(1_514_797_892 + 30),                  true),
            ("of a minute ago",      "iat", json!(1_514_797_892 - 90),                  true),
            ("of before that",       "iat", json!(1_514_797_892 - 91),                  false),
            ("that says nothing",    "token_introspection", json!("active"),            false),
            ("that says null",       "token_introspection", json!(null),                false),
        ];
        for (claim, name, value, is_taken) in cases {
            assert_eq!(found(&with(name, value)).is_some(), is_taken, "{claim}");
        }
        for name in ["iss", "aud", "iat", "token_introspection"] {
            let mut claims = example();
            claims.as_object_mut().unwrap().remove(name);
            assert!(found(&claims).is_none(), "without {name}");
        }
    }
}
