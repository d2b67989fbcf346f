//! Logout tokens (OpenID Connect Back-Channel Logout 1.0): a server says that a user has logged out.
//!
//! Whoever can reach us can send one, so nothing of it counts before its signature holds. The claims
//! are judged by [`read`], which is pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::jwt::Form;
use super::server::Server;
use crate::base::time::{Now, UnixSeconds};
use crate::oauth::{Audience, Claims, ClientId};
use crate::reject::{InvalidToken, Rejection};

/// What a good logout token says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logout {
    /// `sub`: who logged out. There is this, or `sid`, or both.
    pub subject: Option<Box<str>>,
    /// `sid`: the one session that ended.
    pub session: Option<Box<str>>,
    /// `iat`.
    pub issued_at: UnixSeconds,
    /// `exp`.
    pub expires: UnixSeconds,
    /// `jti`.
    pub id: Box<str>,
}

/// Why a logout token is refused (§2.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogoutFault {
    /// It is no JWT, or a claim has a wrong type.
    Malformed,
    /// `typ` is that of another token.
    Type,
    /// `iss` is not this server.
    Issuer,
    /// No key of the server proves it, or its `alg` is not allowed.
    Signature,
    /// The keys cannot be had.
    Keys,
    /// `aud` names none of the clients.
    Audience,
    /// `iat` is absent, or ahead.
    IssuedAt,
    /// `exp` is absent, or over.
    Expired,
    /// `jti` is absent.
    Id,
    /// `events` does not say that it is a logout.
    Events,
    /// Neither `sub` nor `sid` is there.
    Nobody,
    /// There is a `nonce`: it is an ID token.
    Nonce,
}

impl LogoutFault {
    /// One sentence for whoever runs the server.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "the logout token is malformed",
            Self::Type => "typ is not logout+jwt",
            Self::Issuer => "iss is not this authorization server",
            Self::Signature => "the signature cannot be verified",
            Self::Keys => "the keys of the authorization server cannot be had at the moment",
            Self::Audience => "aud names no client of this address",
            Self::IssuedAt => "iat is absent or in the future",
            Self::Expired => "exp is absent or over",
            Self::Id => "jti is absent",
            Self::Events => "events does not have the back-channel logout event",
            Self::Nobody => "sub and sid are both absent",
            Self::Nonce => "a logout token has no nonce",
        }
    }
}

impl fmt::Display for LogoutFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for LogoutFault {}

impl Server {
    /// Judges a logout token of this server, for one of these clients.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub async fn check_logout(
        self: &Arc<Self>,
        token: &str,
        client_ids: &[ClientId],
        now: Now,
    ) -> Result<Logout, LogoutFault> {
        let jwt = match Form::of(token) {
            Form::Jwt(Ok(jwt)) => jwt,
            Form::Jwt(Err(InvalidToken::Algorithm | InvalidToken::Critical)) => {
                return Err(LogoutFault::Signature);
            }
            Form::Jwt(Err(_)) | Form::Opaque => return Err(LogoutFault::Malformed),
        };
        if !jwt.may_be("logout+jwt") {
            return Err(LogoutFault::Type);
        }
        if jwt.issuer() != Ok(self.settings().issuer.as_str()) {
            return Err(LogoutFault::Issuer);
        }
        match self.check_integrity(&jwt, now).await {
            Ok(_) => read(&jwt.claims, client_ids, self.settings().clock_skew, now.unix),
            Err(Rejection::VerifierUnavailable(_)) => Err(LogoutFault::Keys),
            Err(_) => Err(LogoutFault::Signature),
        }
    }
}

/// Judges the claims of a logout token whose issuer and signature are good.
fn read(
    claims: &Claims,
    client_ids: &[ClientId],
    skew: Duration,
    now: UnixSeconds,
) -> Result<Logout, LogoutFault> {
    let malformed = |_| LogoutFault::Malformed;
    let text = |name| claims.string(name).map_err(malformed);
    if claims.value("nonce").is_some() {
        return Err(LogoutFault::Nonce);
    }
    let audiences = claims.audiences("aud", &Arc::default()).map_err(malformed)?;
    let is_ours = |one: &Audience| client_ids.iter().any(|ours| ours.as_str() == one.as_str());
    if !audiences.iter().any(is_ours) {
        return Err(LogoutFault::Audience);
    }
    let issued_at = claims.numeric_date("iat").map_err(malformed)?;
    let issued_at = issued_at.filter(|at| at.minus(skew) <= now).ok_or(LogoutFault::IssuedAt)?;
    let expires = claims.numeric_date("exp").map_err(malformed)?;
    let expires = expires.filter(|exp| now < exp.plus(skew)).ok_or(LogoutFault::Expired)?;
    let id = text("jti")?.ok_or(LogoutFault::Id)?;
    let event = claims.value("events").and_then(|events| events.get(LOGOUT_EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(LogoutFault::Events);
    }
    let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Box::from);
    let (subject, session) = (some(text("sub")?), some(text("sid")?));
    if subject.is_none() && session.is_none() {
        return Err(LogoutFault::Nobody);
    }
    Ok(Logout { subject, session, issued_at, expires, id: id.into() })
}

/// §2.4.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_471_566_154;

    /// The example of §2.4, with the `exp` that the final version asks for.
    fn example() -> Value {
        json!({
            "iss": "https://server.example.com",
            "sub": "248289761001",
            "aud": "s6BhdRkqt3",
            "iat": NOW,
            "exp": NOW + 120,
            "jti": "bWJq",
            "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
            "events": { LOGOUT_EVENT: {} },
        })
    }

    fn judged(claims: &Value) -> Result<Logout, LogoutFault> {
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        let clients = [ClientId::new("other"), ClientId::new("s6BhdRkqt3")];
        read(&claims, &clients, Duration::from_secs(30), UnixSeconds::new(NOW))
    }

    #[test]
    fn bcl_2_4_the_example_is_good() {
        let logout = judged(&example()).unwrap();
        assert_eq!(logout.subject.as_deref(), Some("248289761001"));
        assert_eq!(logout.session.as_deref(), Some("08a5019c-17e1-4977-8f42-65a12843ea02"));
        assert_eq!((logout.issued_at.get(), logout.expires.get()), (NOW, NOW + 120));
        assert_eq!(&*logout.id, "bWJq");
    }

    #[test]
    fn bcl_2_6_every_check_is_made() {
        use LogoutFault as F;
        let (gone, nothing) = (Value::Null, json!({}));
        #[rustfmt::skip]
        let cases = [
            ("sid alone",                 "sub",    gone.clone(),              Ok(())),
            ("sub alone",                 "sid",    gone.clone(),              Ok(())),
            ("several audiences",         "aud",    json!(["x", "s6BhdRkqt3"]), Ok(())),
            ("a skew of clocks",          "iat",    json!(NOW + 30),           Ok(())),
            ("over by less than a skew",  "exp",    json!(NOW - 29),           Ok(())),
            ("another member of events",  "events", json!({LOGOUT_EVENT: {}, "x": 1}), Ok(())),
            ("another audience",          "aud",    json!("S6BhdRkqt3"),       Err(F::Audience)),
            ("no audience",               "aud",    gone.clone(),              Err(F::Audience)),
            ("an audience of no text",    "aud",    json!(1),                  Err(F::Malformed)),
            ("iat absent",                "iat",    gone.clone(),              Err(F::IssuedAt)),
            ("iat as text",               "iat",    json!("1471566154"),       Err(F::Malformed)),
            ("iat ahead",                 "iat",    json!(NOW + 31),           Err(F::IssuedAt)),
            ("exp absent",                "exp",    gone.clone(),              Err(F::Expired)),
            ("exp over",                  "exp",    json!(NOW - 30),           Err(F::Expired)),
            ("jti absent",                "jti",    gone.clone(),              Err(F::Id)),
            ("events absent",             "events", gone.clone(),              Err(F::Events)),
            ("events without the event",  "events", nothing.clone(),           Err(F::Events)),
            ("an event that is no object", "events", json!({LOGOUT_EVENT: []}), Err(F::Events)),
            ("events as text",            "events", json!(LOGOUT_EVENT),       Err(F::Events)),
            ("a nonce",                   "nonce",  json!("n"),                Err(F::Nonce)),
            ("sid as a number",           "sid",    json!(7),                  Err(F::Malformed)),
        ];
        for (claim, name, value, expected) in cases {
            let mut claims = example();
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value,
            }
            assert_eq!(judged(&claims).map(drop), expected, "{claim}");
        }
        let mut nobody = example();
        (nobody["sub"], nobody["sid"]) = (json!(""), json!(""));
        assert_eq!(judged(&nobody), Err(F::Nobody));
    }
}
