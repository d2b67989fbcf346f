//! The token endpoint's answer (RFC 6749 §5), read strictly.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::request::Asked;
use crate::base::secret::Secret;
use crate::config::TokenType;
use crate::oauth::{Claims, RawToken, ScopeSet};
use crate::outbound::Answer;
use crate::policy::details::AUTHORIZATION_DETAILS;
use crate::reject::OutageCause;

/// An access token of type bearer, and the field that carries it, both made once.
#[derive(Clone, Debug)]
pub(super) struct BearerToken {
    token: Secret,
    authorization: HeaderValue,
}

impl BearerToken {
    /// `None` for what no `Authorization` field can carry as one token: RFC 6749 §A.12 allows
    /// visible ASCII and space, RFC 6750 §2.1 no space.
    fn new(token: &str) -> Option<Self> {
        let fits = (1..=TOKEN_MAX_BYTES).contains(&token.len());
        if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let field = Zeroizing::new(format!("Bearer {token}"));
        let mut authorization = HeaderValue::from_str(&field).ok()?;
        authorization.set_sensitive(true);
        Some(Self { token: Secret::new(token), authorization })
    }

    pub(super) fn raw(&self) -> RawToken<'_> {
        RawToken::new(self.token.expose())
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.token
    }

    pub(super) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }
}

/// A successful answer. Whether its `refresh_token` is kept, its client's settings say; there is
/// none to be expected for client credentials (RFC 6749 §4.4.3).
#[derive(Clone, Debug)]
pub(super) struct TokenAnswer {
    pub(super) bearer: BearerToken,
    /// `expires_in`, where it is a number of whole seconds; at most [`LIFE_MAX`].
    pub(super) life: Option<Duration>,
    /// `refresh_token`, where it is one (RFC 6749 §A.17).
    pub(super) refresh: Option<Secret>,
    /// Whether `issued_token_type` says that the token is one that opens an API (RFC 8693 §2.2.1).
    pub(super) is_issued_for_apis: bool,
    /// `authorization_details` as it stands there (RFC 9396 §7).
    pub(super) details: Option<Value>,
    scope: Option<ScopeSet>,
}

impl TokenAnswer {
    /// The scopes that the answer says were granted, or, if it has no `scope`, the token itself.
    ///
    /// The token came from its issuer over TLS, so it is read without its signature. One that is
    /// a JWT and names no scopes carries none, whatever RFC 6749 §5.1 lets us conclude from the
    /// silence: servers that grant nothing leave `scope` out as well. `None` is an opaque token.
    pub(super) fn scopes_said(&self) -> Option<ScopeSet> {
        let in_token = || {
            let claims = jwt_claims(self.bearer.raw().expose())?;
            Some(claims.scopes().unwrap_or_default())
        };
        self.scope.clone().or_else(in_token)
    }
}

/// Why there is no token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum TokenFailure {
    /// The authorization server refused, with that code.
    Refused(ErrorCode),
    /// It could not be asked, or could not answer; and when to come back, if it said so.
    Outage(OutageCause, Option<Duration>),
    /// An answer that breaks RFC 6749 §5, or a token of a type that we did not ask for.
    Unusable,
}

impl TokenFailure {
    /// Its word for the log.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Refused(code) => code.name(),
            Self::Outage(cause, _) => cause.reason(),
            Self::Unusable => "unusable",
        }
    }
}

/// The error codes of RFC 6749 §5.2, RFC 8707 §2 and RFC 9396 §5. A code from the network goes no further
/// than here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    InvalidAuthorizationDetails,
    /// Of RFC 6749 §4.1.2.1, and seen here too.
    AccessDenied,
    /// Of RFC 6750 §3.1; some servers say it of a token that is to be exchanged.
    InvalidToken,
    /// None of these.
    Unknown,
}

impl ErrorCode {
    const ALL: [Self; 11] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidAuthorizationDetails,
        Self::AccessDenied,
        Self::InvalidToken,
        Self::Unknown,
    ];

    /// The code as it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::AccessDenied => "access_denied",
            Self::InvalidToken => "invalid_token",
            Self::Unknown => "unknown",
        }
    }

    fn read(text: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.name() == text).unwrap_or(Self::Unknown)
    }

    /// Whether it may be about a token that was shown (RFC 7523 §3.1, RFC 8693 §2.2.2).
    pub(super) const fn is_about_a_token(self) -> bool {
        matches!(self, Self::InvalidRequest | Self::InvalidGrant | Self::InvalidToken)
    }

    /// What a 401 with this code says where nobody but the client itself is shown. Servers older than the RFC send `unauthorized_client` or
    /// `access_denied` for a wrong secret, and a 401 says that who it is was not proven
    /// (RFC 9110 §15.5.2).
    const fn under_401(self) -> Self {
        match self {
            Self::UnauthorizedClient
            | Self::AccessDenied
            | Self::InvalidGrant
            | Self::Unknown
            | Self::InvalidClient => Self::InvalidClient,
            Self::InvalidRequest
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::InvalidAuthorizationDetails
            | Self::InvalidToken => self,
        }
    }
}

/// Reads an answer of any status to a question of that kind. Where a token was shown, a 401 with a
/// code can be about that one: only `invalid_client`, and the lack of a code, is about our client.
pub(super) fn read(answer: &Answer, asked: &Asked<'_>) -> Result<TokenAnswer, TokenFailure> {
    let outage = TokenFailure::Outage(OutageCause::Status, answer.retry_after);
    if answer.is_outage() {
        return Err(outage);
    }
    let body = answer.json();
    if answer.status == StatusCode::OK {
        return granted(&body.map_err(|_| TokenFailure::Unusable)?);
    }
    let error = body.as_ref().ok().and_then(|body| body.string("error").ok()?);
    Err(match (answer.status, error) {
        (_, Some("server_error" | "temporarily_unavailable")) => outage,
        (StatusCode::UNAUTHORIZED, None) => TokenFailure::Refused(ErrorCode::InvalidClient),
        (StatusCode::UNAUTHORIZED, Some(code)) => {
            let code = ErrorCode::read(code);
            TokenFailure::Refused(if asked.shows_a_token() { code } else { code.under_401() })
        }
        (status, Some(code)) if status.is_client_error() => {
            TokenFailure::Refused(ErrorCode::read(code))
        }
        _ => TokenFailure::Unusable,
    })
}

fn granted(body: &Claims) -> Result<TokenAnswer, TokenFailure> {
    let text = |name| body.string(name).ok().flatten().ok_or(TokenFailure::Unusable);
    let is_bearer = text("token_type")?.eq_ignore_ascii_case("bearer");
    if body.value("error").is_some() || !is_bearer {
        return Err(TokenFailure::Unusable);
    }
    let bearer = BearerToken::new(text("access_token")?).ok_or(TokenFailure::Unusable)?;
    let refresh = body.string("refresh_token").ok().flatten();
    let issued = body.string("issued_token_type").ok().flatten();
    Ok(TokenAnswer {
        bearer,
        life: life(body)?,
        refresh: refresh.filter(|text| is_refresh_token(text)).map(Secret::new),
        is_issued_for_apis: TokenType::ALL.iter().any(|one| Some(one.uri()) == issued),
        details: body.value(AUTHORIZATION_DETAILS).cloned(),
        scope: scope(body)?,
    })
}

/// RFC 6749 §A.17: visible ASCII and space.
fn is_refresh_token(text: &str) -> bool {
    let is_visible = |byte| matches!(byte, b' '..=b'~');
    (1..=TOKEN_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_visible)
}

/// `null` is read as absent: that leads to a look into the token, and not to "as asked". OCLC says
/// `scopes`, and who took that for silence would never see what was not granted.
fn scope(body: &Claims) -> Result<Option<ScopeSet>, TokenFailure> {
    match body.value("scope") {
        None | Some(Value::Null) => match body.value("scopes") {
            Some(Value::String(scopes)) => Ok(Some(ScopeSet::from_claim(scopes))),
            _ => Ok(None),
        },
        Some(_) => body.scopes().map(Some).map_err(|_| TokenFailure::Unusable),
    }
}

/// A token without any time to live cannot be used; an `expires_in` that is no integer says
/// nothing.
fn life(body: &Claims) -> Result<Option<Duration>, TokenFailure> {
    let Some(Value::Number(number)) = body.value("expires_in") else { return Ok(None) };
    match (number.as_u64(), number.as_i64()) {
        (Some(0), _) | (None, Some(_)) => Err(TokenFailure::Unusable),
        (Some(seconds), _) => Ok(Some(Duration::from_secs(seconds).min(LIFE_MAX))),
        (None, None) => Ok(None),
    }
}

/// The claims of a JWT, its signature unchecked; `None` if the token is none.
fn jwt_claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (header, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let object = |part| Claims::parse(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    object(header)?.value("alg")?;
    object(payload)
}

/// Larger than what header sections of common servers take.
const TOKEN_MAX_BYTES: usize = 16_384;
/// A longer life is cut to this: whatever a server names, its token is renewed once a day.
const LIFE_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::super::testing::{answer_of, jwt};
    use super::*;

    fn outcome(status: u16, body: &str) -> Result<TokenAnswer, TokenFailure> {
        read(&answer_of(status, body), &Asked::ClientCredentials)
    }

    #[test]
    fn rfc6749_5_1_an_answer_has_a_token_and_a_type_that_we_asked_for() {
        let good = outcome(200, r#"{"access_token":"a.b","token_type":"BEARER","x":1}"#).unwrap();
        assert_eq!(good.bearer.authorization(), "Bearer a.b");
        assert!(good.bearer.authorization().is_sensitive());
        assert!(!format!("{good:?}").contains("a.b"));
        for body in [
            "",
            "<html>",
            "[]",
            r#"{"access_token":"a"}"#,
            r#"{"token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"a b","token_type":"bearer"}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"bearer"}"#,
            r#"{"access_token":"é","token_type":"bearer"}"#,
            r#"{"access_token":1,"token_type":"bearer"}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"a","token_type":"N_A"}"#,
            r#"{"access_token":"a","token_type":"bearer","error":"invalid_client"}"#,
            r#"{"access_token":"a","access_token":"b","token_type":"bearer"}"#,
            r#"{"access_token":"a","token_type":"bearer","scope":1}"#,
            r#"{"access_token":"a","token_type":"bearer","expires_in":0}"#,
            r#"{"access_token":"a","token_type":"bearer","expires_in":-1}"#,
        ] {
            assert_eq!(outcome(200, body).map(drop), Err(TokenFailure::Unusable), "{body}");
        }
    }

    #[test]
    fn scopes_that_an_answer_names_in_another_member_are_no_silence() {
        for (body, expected) in [
            (r#""scopes":"b a""#, Some("a b")),
            (r#""scopes":"""#, Some("")),
            (r#""scope":null,"scopes":"b""#, Some("b")),
            (r#""scope":"a","scopes":"b""#, Some("a")),
            (r#""scopes":["a"]"#, None),
            (r#""scopes":7"#, None),
        ] {
            let body = format!(r#"{{"access_token":"a","token_type":"bearer",{body}}}"#);
            let said = outcome(200, &body).unwrap().scopes_said();
            assert_eq!(said.map(|scopes| scopes.to_string()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn rfc6749_5_1_expires_in_is_an_integer_or_says_nothing() {
        for (value, expected) in [
            ("60", Some(60)),
            ("18446744073709551615", Some(86_400)),
            ("\"60\"", None),
            ("60.5", None),
            ("null", None),
        ] {
            let body =
                format!(r#"{{"access_token":"a","token_type":"bearer","expires_in":{value}}}"#);
            let life = outcome(200, &body).unwrap().life;
            assert_eq!(life, expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn rfc6749_5_2_refusals_outages_and_nonsense_are_told_apart() {
        use ErrorCode as Code;
        use TokenFailure::{Refused, Unusable};
        let outage = || TokenFailure::Outage(OutageCause::Status, None);
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_client"}"#, Refused(Code::InvalidClient)),
            (401, r#"{"error":"invalid_client"}"#, Refused(Code::InvalidClient)),
            (401, "", Refused(Code::InvalidClient)),
            (401, "<html>", Refused(Code::InvalidClient)),
            (401, r#"{"error":"unauthorized_client"}"#, Refused(Code::InvalidClient)),
            (401, r#"{"error":"access_denied"}"#, Refused(Code::InvalidClient)),
            (401, r#"{"error":"invalid_scope"}"#, Refused(Code::InvalidScope)),
            (400, r#"{"error":"unauthorized_client"}"#, Refused(Code::UnauthorizedClient)),
            (400, r#"{"error":"invalid_target"}"#, Refused(Code::InvalidTarget)),
            (
                400,
                r#"{"error":"invalid_authorization_details"}"#,
                Refused(Code::InvalidAuthorizationDetails),
            ),
            (403, r#"{"error":"access_denied"}"#, Refused(Code::AccessDenied)),
            (400, r#"{"error":"s3cret\n"}"#, Refused(Code::Unknown)),
            (400, r#"{"error":"server_error"}"#, outage()),
            (400, r#"{"error":"temporarily_unavailable"}"#, outage()),
            (429, "", outage()),
            (500, r#"{"error":"invalid_client"}"#, outage()),
            (503, "", outage()),
            (400, "", Unusable),
            (400, r#"{"error":1}"#, Unusable),
            (404, "<html>", Unusable),
            (302, "", Unusable),
            (201, r#"{"access_token":"a","token_type":"bearer"}"#, Unusable),
        ] {
            assert_eq!(outcome(status, body).map(drop), Err(expected), "{status} {body}");
        }
    }

    #[test]
    fn rfc6749_5_2_a_401_is_about_the_client_unless_its_code_says_that_it_is_about_a_token() {
        use ErrorCode as Code;
        let token = Secret::new("t");
        for (body, expected) in [
            ("", Code::InvalidClient),
            (r#"{"error":"invalid_client"}"#, Code::InvalidClient),
            (r#"{"error":"invalid_grant"}"#, Code::InvalidGrant),
            (r#"{"error":"access_denied"}"#, Code::AccessDenied),
            (r#"{"error":"invalid_token"}"#, Code::InvalidToken),
            (r#"{"error":"session_over"}"#, Code::Unknown),
        ] {
            let refused = read(&answer_of(401, body), &Asked::JwtBearer(&token));
            assert_eq!(refused.map(drop), Err(TokenFailure::Refused(expected)), "{body}");
        }
    }

    #[test]
    fn a_silent_answer_is_read_from_the_token_and_never_means_all() {
        let scopeless = jwt(r#"{"sub":"a"}"#);
        let partial = jwt(r#"{"scope":"a"}"#);
        let odd = jwt(r#"{"scope":{"a":1}}"#);
        let no_header = format!("e30.{}.x", partial.split('.').nth(1).unwrap());
        for (token, member, expected) in [
            ("opaque", "", None),
            ("opaque", r#","scope":null"#, None),
            ("opaque", r#","scope":"""#, Some("")),
            ("opaque", r#","scope":"b a a""#, Some("a b")),
            (scopeless.as_str(), "", Some("")),
            (partial.as_str(), "", Some("a")),
            (partial.as_str(), r#","scope":null"#, Some("a")),
            (partial.as_str(), r#","scope":"b""#, Some("b")),
            (odd.as_str(), "", Some("")),
            (no_header.as_str(), "", None),
            ("a.b.c", "", None),
            ("a.b.c.d.e", "", None),
        ] {
            let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"{member}}}"#);
            let said = outcome(200, &body).unwrap().scopes_said().map(|said| said.to_string());
            assert_eq!(said.as_deref(), expected, "{body}");
        }
    }
}
