//! Introspection (RFC 7662): the question, and what its answer means. The judging is pure.
//!
//! Only 200 with a boolean `active` is an answer. Whatever else comes says nothing about the
//! token: it is trouble between the server and us, and never the caller's 401.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use serde_json::Value;

use super::access_token::{Said, says_other_kind};
use super::server::Server;
use super::signed_answer;
use crate::base::secret::Secret;
use crate::base::time::{self, UnixSeconds};
use crate::config::{AuthorizationServer, Introspection, IntrospectionAnswer};
use crate::oauth::{
    Audiences, Claims, KeptClaims, ServerId, TokenDigest, TokenKind, VerifiedToken,
};
use crate::outbound::{FormRequest, OutboundFailure, Tries};
use crate::policy::details::AUTHORIZATION_DETAILS as DETAILS;
use crate::reject::{InvalidToken, OutageCause};
use crate::telemetry::{CallOutcome, Endpoint};

/// Why an introspection gave no good verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoVerdict {
    /// The token is bad, and the server's answer says so.
    Bad(InvalidToken),
    /// Nobody said anything about the token, and when to come back.
    Outage(OutageCause, Option<Duration>),
}

/// Asks about a token. The request carries the token, its kind, and what the configuration fixes:
/// nothing of a caller's request, and no scope of any route (RFC 7662 §2.1).
pub(super) async fn ask(
    server: &Arc<Server>,
    settings: &Introspection,
    endpoint: &Uri,
    token: &Secret,
    now: UnixSeconds,
) -> Result<Claims, NoVerdict> {
    let from = time::now().instant;
    let parameters = vec![
        ("token".into(), token.expose().into()),
        ("token_type_hint".into(), "access_token".into()),
    ];
    let issuer = &server.settings().issuer;
    let client = &settings.client;
    // Known by now, or else the call says so: what names it may have come with the last refresh.
    let audience = client.is_for_token_endpoint().then(|| server.token_endpoint()).flatten();
    let token_endpoint = audience.as_ref();
    let tries = Tries::Two;
    let request = FormRequest { endpoint, parameters, client, issuer, token_endpoint, now, tries };
    let is_signed = settings.answer == IntrospectionAnswer::Jwt;
    let called = match is_signed {
        true => server.introspecting().post_for(request, signed_answer::ACCEPT).await,
        false => server.introspecting().post(request).await,
    };
    let then = time::now();
    let took = then.instant - from;
    let status = called.as_ref().ok().map(|answer| answer.status.as_u16());
    let outcome = match &called {
        Ok(answer) if is_signed => signed_answer::read(server, settings, answer, then).await,
        Ok(answer) => read(answer.status, answer.retry_after, &answer.body),
        Err(failure) => Err(NoVerdict::Outage(failure.cause(), None)),
    };
    server.metrics().call(Endpoint::Introspection, counted(&called.err(), &outcome), took);
    if let Err(NoVerdict::Outage(cause, _)) = outcome {
        report(server.name(), cause, status);
    }
    outcome
}

/// An operator must act where our own client is refused; all else may pass.
fn report(server: &str, cause: OutageCause, status: Option<u16>) {
    let reason = cause.reason();
    if cause == OutageCause::OurClientRefused {
        tracing::error!(server, status, reason, "introspection refused our client");
    } else {
        tracing::warn!(server, status, reason, "introspection gave no answer");
    }
}

fn counted(failure: &Option<OutboundFailure>, outcome: &Result<Claims, NoVerdict>) -> CallOutcome {
    match (failure, outcome) {
        (Some(failure), _) => failure.outcome(),
        (None, Ok(_)) => CallOutcome::Answered,
        (None, Err(NoVerdict::Bad(_))) => CallOutcome::Refused,
        (None, Err(NoVerdict::Outage(OutageCause::Unusable | OutageCause::NoKeys, _))) => {
            CallOutcome::Unusable
        }
        (None, Err(NoVerdict::Outage(..))) => CallOutcome::Status,
    }
}

/// What an answer says before its claims are looked at.
pub(super) fn read(
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Result<Claims, NoVerdict> {
    let outage = |cause| Err(NoVerdict::Outage(cause, retry_after));
    match status {
        StatusCode::OK => verdict(Claims::parse(body).unwrap_or_default(), retry_after),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => outage(OutageCause::OurClientRefused),
        StatusCode::BAD_REQUEST => match error_code(body).as_deref() {
            // oidc-provider says so of anything shaped like a JWT: as an outage it would let any
            // caller bring on 503s.
            Some("unsupported_token_type") => Err(NoVerdict::Bad(InvalidToken::Unjudgeable)),
            Some("invalid_client" | "unauthorized_client") => outage(OutageCause::OurClientRefused),
            _ => outage(OutageCause::Unusable),
        },
        StatusCode::TOO_MANY_REQUESTS => outage(OutageCause::Status),
        _ if status.is_server_error() => outage(OutageCause::Status),
        _ => outage(OutageCause::Unusable),
    }
}

/// What an answer's claims say at first: only a boolean `active` says anything (RFC 7662 §2.2).
pub(super) fn verdict(claims: Claims, retry_after: Option<Duration>) -> Result<Claims, NoVerdict> {
    match claims.value("active").and_then(serde_json::Value::as_bool) {
        Some(true) => Ok(claims),
        Some(false) => Err(NoVerdict::Bad(InvalidToken::Inactive)),
        None => Err(NoVerdict::Outage(OutageCause::Unusable, retry_after)),
    }
}

fn error_code(body: &[u8]) -> Option<Box<str>> {
    Claims::parse(body).ok()?.string("error").ok()?.map(Box::from)
}

/// The verdict by an answer that says `active`, its claims checked again: servers differ in what
/// they check (RFC 7662 §2.2, RFC 9700 §2.3).
///
/// # Errors
/// When the answer's own claims speak against the token, or cannot be read.
pub(super) fn judge(
    claims: &Claims,
    digest: TokenDigest,
    (id, server): (ServerId, &AuthorizationServer),
    settings: &Introspection,
    now: UnixSeconds,
) -> Result<VerifiedToken, NoVerdict> {
    let said = check(claims, server, now)?;
    let audiences = match claims.value(&server.audience_claim) {
        Some(_) => {
            let named = claims.audiences(&server.audience_claim, &server.audiences);
            Audiences::Named(named.map_err(unusable)?)
        }
        None if settings.require_audience => {
            return Err(NoVerdict::Bad(InvalidToken::Audience));
        }
        None => Audiences::MeantForUs,
    };
    Ok(said.verdict(digest, TokenKind::Opaque, (id, server), audiences))
}

/// The verdict about a JWT that its server calls active too: both must say yes, so what either of
/// them narrows is narrowed.
///
/// # Errors
/// As [`judge`]; an audience is not asked for, since the token itself names it.
pub(super) fn confirm(
    token: VerifiedToken,
    claims: &Claims,
    server: &AuthorizationServer,
    now: UnixSeconds,
) -> Result<VerifiedToken, NoVerdict> {
    let said = check(claims, server, now)?;
    let names_scopes = claims.value("scope").is_some() || claims.value("scp").is_some();
    let confirmed =
        said.verdict(token.digest, token.kind, (token.server, server), Audiences::MeantForUs);
    let validity = token.validity.and(confirmed.validity);
    let token = bound_by_both(token, &confirmed)?;
    let granted = granted_by_both(&token.claims, claims).unwrap_or(token.claims);
    let token = VerifiedToken { claims: granted, ..token };
    if !names_scopes {
        return Ok(VerifiedToken { validity, ..token });
    }
    let both = token.scopes().iter().filter(|scope| confirmed.scopes().contains(*scope)).collect();
    let texts = token.texts.with_scopes(&both);
    Ok(VerifiedToken { texts, validity, ..token })
}

/// The token's claims with those of its `authorization_details` that the answer has as well (RFC 9396
/// §9.2). `None` where either of the two has no such member: as with scopes, that narrows nothing.
fn granted_by_both(token: &KeptClaims, answer: &Claims) -> Option<KeptClaims> {
    let (own, said) = (token.value(DETAILS)?, answer.value(DETAILS)?);
    let both = match (own, said) {
        (Value::Array(own), Value::Array(said)) => {
            own.iter().filter(|object| said.contains(object)).cloned().collect()
        }
        // What is no list grants nothing.
        _ => Vec::new(),
    };
    Some(token.replacing(DETAILS, Value::Array(both)))
}

/// Binds a token to what either of the two says.
fn bound_by_both(
    token: VerifiedToken,
    confirmed: &VerifiedToken,
) -> Result<VerifiedToken, NoVerdict> {
    let bound = match (token.confirmation(), confirmed.confirmation()) {
        (_, None) => return Ok(token),
        (None, Some(other)) => other.clone(),
        (Some(own), Some(other)) => {
            own.and(other).map_err(|_| NoVerdict::Bad(InvalidToken::Bound))?
        }
    };
    Ok(VerifiedToken { claims: token.claims.bound_to(bound), ..token })
}

fn check(
    claims: &Claims,
    server: &AuthorizationServer,
    now: UnixSeconds,
) -> Result<Said, NoVerdict> {
    let issuer = claims.string("iss").map_err(unusable)?;
    if issuer.is_some_and(|issuer| issuer != server.issuer.as_str()) {
        return Err(NoVerdict::Bad(InvalidToken::Issuer));
    }
    let kind = claims.string("token_type").map_err(unusable)?;
    let is_known = |kind: &str| TOKEN_TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known));
    if says_other_kind(claims) {
        return Err(NoVerdict::Bad(InvalidToken::NotAccessToken));
    }
    let said = Said::read(claims, server).map_err(unusable)?;
    said.check_use(server, now).map_err(NoVerdict::Bad)?;
    let is_dpop = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP"));
    if is_dpop && server.dpop.is_some() {
        // RFC 9449 §6.2: it then says which key, and without that it is bound to nobody's.
        let bound = said.confirmation.as_ref().and_then(|read| read.as_ref().ok());
        let has_key = bound.is_some_and(|bound| bound.key.is_some());
        return if has_key { Ok(said) } else { Err(NoVerdict::Bad(InvalidToken::Bound)) };
    }
    if kind.is_some_and(|kind| !is_known(kind)) {
        return Err(NoVerdict::Bad(InvalidToken::NotAccessToken));
    }
    Ok(said)
}

/// For how long a verdict is used without asking again: until `exp` without any skew, as a cached
/// answer must not outlive the token (RFC 7662 §4), and at most for `cap`.
pub(super) fn fresh_for(exp: Option<UnixSeconds>, now: UnixSeconds, cap: Duration) -> Duration {
    match exp {
        Some(exp) => exp.since(now).unwrap_or_default().min(cap),
        None => cap,
    }
}

/// The server's own mistake, not the token's.
fn unusable<E>(_: E) -> NoVerdict {
    NoVerdict::Outage(OutageCause::Unusable, None)
}

/// RFC 7662 §2.2 means a type of RFC 6749 §5.1; some servers name the kind of token instead.
const TOKEN_TYPES: [&str; 3] = ["Bearer", "access_token", "access"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{introspection, settings};
    use super::*;
    use crate::oauth::RawToken;

    const NOW: i64 = 1_700_000_000;

    fn judged(answer: &Value, require_audience: bool) -> Result<VerifiedToken, NoVerdict> {
        let introspection = Introspection { require_audience, ..introspection() };
        let server = AuthorizationServer {
            kept_claims: vec!["username".into()],
            ..settings("https://as.test")
        };
        let claims = Claims::parse(answer.to_string().as_bytes()).unwrap();
        let digest = RawToken::new("t").digest();
        let us = (ServerId::new(1), &server);
        judge(&claims, digest, us, &introspection, UnixSeconds::new(NOW))
    }

    #[test]
    fn rfc7662_2_2_only_a_200_with_a_boolean_active_is_an_answer() {
        use OutageCause as O;
        let bad = |why| Err(NoVerdict::Bad(why));
        let outage = |cause| Err(NoVerdict::Outage(cause, None));
        let long = "x".repeat(10);
        #[rustfmt::skip]
        let cases = [
            (200, r#"{"active":true}"#,            Ok(())),
            (200, r#"{"active":false}"#,           bad(InvalidToken::Inactive)),
            (200, r#"{"active":"true"}"#,          outage(O::Unusable)),
            (200, r#"{"active":1}"#,               outage(O::Unusable)),
            (200, r#"{"active":null}"#,            outage(O::Unusable)),
            (200, "{}",                            outage(O::Unusable)),
            (200, "<html>",                        outage(O::Unusable)),
            (200, r#"{"active":true,"active":false}"#, outage(O::Unusable)),
            (200, &long,                           outage(O::Unusable)),
            (201, r#"{"active":true}"#,            outage(O::Unusable)),
            (302, r#"{"active":true}"#,            outage(O::Unusable)),
            (404, r#"{"active":false}"#,           outage(O::Unusable)),
            (400, r#"{"error":"unsupported_token_type"}"#, bad(InvalidToken::Unjudgeable)),
            (400, r#"{"error":"invalid_client"}"#, outage(O::OurClientRefused)),
            (400, r#"{"error":"invalid_request"}"#,outage(O::Unusable)),
            (400, "",                              outage(O::Unusable)),
            (401, r#"{"active":true}"#,            outage(O::OurClientRefused)),
            (403, "",                              outage(O::OurClientRefused)),
            (429, "",                              outage(O::Status)),
            (500, r#"{"active":false}"#,           outage(O::Status)),
            (503, r#"{"error":"unsupported_token_type"}"#, outage(O::Status)),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = read(status, None, body.as_bytes()).map(drop);
            assert_eq!(outcome, expected, "{status} {body}");
        }
    }

    #[test]
    fn rfc9110_10_2_3_their_retry_after_is_passed_on() {
        let wait = Some(Duration::from_secs(7));
        let outcome = read(StatusCode::SERVICE_UNAVAILABLE, wait, b"");
        assert_eq!(outcome, Err(NoVerdict::Outage(OutageCause::Status, wait)));
    }

    #[test]
    fn rfc9700_2_3_the_claims_of_an_active_token_are_checked_again() {
        use InvalidToken as I;
        let good = json!({
            "active": true, "aud": "https://api.test", "scope": "read", "client_id": "c",
            "username": "u", "token_type": "Bearer", "iss": "https://as.test", "exp": NOW + 60,
        });
        let token = judged(&good, true).unwrap();
        assert_eq!((token.kind, token.subject()), (TokenKind::Opaque, None));
        assert_eq!(token.claims.value("username"), Some(&json!("u")));
        let outage = Err(NoVerdict::Outage(OutageCause::Unusable, None));
        let bad = |why| Err(NoVerdict::Bad(why));
        #[rustfmt::skip]
        let cases = [
            ("exp",        json!(NOW - 30),          bad(I::Expired)),
            ("exp",        json!(NOW - 29),          Ok(())),
            ("nbf",        json!(NOW + 31),          bad(I::NotYetValid)),
            ("iss",        json!("https://as.test/"),bad(I::Issuer)),
            ("token_type", json!("bearer"),          Ok(())),
            ("token_type", json!("mac"),             bad(I::NotAccessToken)),
            ("token_type", json!("DPoP"),            bad(I::NotAccessToken)),
            ("token_type", json!("refresh_token"),   bad(I::NotAccessToken)),
            ("token_use",  json!("refresh_token"),   bad(I::NotAccessToken)),
            ("typ",        json!("Refresh"),         bad(I::NotAccessToken)),
            ("cnf",        json!({"jkt": "x"}),      bad(I::Bound)),
            ("exp",        json!("soon"),            outage),
            ("scope",      json!(1),                 outage),
            ("scope",      json!(["read"]),          Ok(())),
            ("scope",      json!(null),              Ok(())),
            ("aud",        json!(1),                 outage),
            ("sub",        json!(1),                 outage),
        ];
        for (name, value, expected) in cases {
            let mut answer = good.clone();
            answer[name] = value.clone();
            assert_eq!(judged(&answer, true).map(drop), expected, "{name} {value}");
        }
    }

    #[test]
    fn an_answer_that_names_nobody_is_for_us_only_where_the_settings_say_so() {
        let answer = json!({"active": true});
        assert_eq!(judged(&answer, true).err(), Some(NoVerdict::Bad(InvalidToken::Audience)));
        assert_eq!(judged(&answer, false).unwrap().audiences, Audiences::MeantForUs);
        let named = judged(&json!({"active": true, "aud": []}), false).unwrap().audiences;
        assert_eq!(named, Audiences::Named(Arc::default()), "an empty list names nobody");
        assert!(judged(&answer, false).unwrap().scopes().is_empty());
    }

    #[test]
    fn rfc7662_4_an_answer_is_kept_for_the_smaller_of_exp_and_the_cap() {
        let cap = Duration::from_secs(60);
        for (exp, expected) in
            [(None, 60), (Some(20), 20), (Some(600), 60), (Some(0), 0), (Some(-9), 0)]
        {
            let exp = exp.map(|left| UnixSeconds::new(NOW + left));
            let kept = fresh_for(exp, UnixSeconds::new(NOW), cap);
            assert_eq!(kept, Duration::from_secs(expected), "{exp:?}");
        }
        assert!(fresh_for(None, UnixSeconds::new(NOW), Duration::ZERO).is_zero());
    }
}
