//! What is told of a token: what it says, which check it fails, which rules it meets.

use super::step::{Mark, Step};
use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, Audiences, Principal, RawToken, TokenKind, VerifiedToken};
use crate::policy::cel::NotTrue;
use crate::policy::{
    AuthenticationRequirement, Circumstances, RequestFacts, Requirement, Rule, findings,
};
use crate::reject::{InvalidToken, Rejection};
use crate::verify::{Check, JwtReading, Reading, read};

/// The checks of a token, up to the one that `refusal` names.
pub(super) fn checks(
    token: RawToken<'_>,
    verified: Option<&VerifiedToken>,
    refusal: Option<&Rejection>,
    now: UnixSeconds,
) -> Vec<Step> {
    match read(token) {
        Reading::Opaque => vec![opaque(verified, refusal, now)],
        Reading::BrokenJwt(why) => vec![no("form", cause(&Rejection::TokenInvalid(why)))],
        // Good, whatever the route then asks of it: also where its authorization server had to be
        // asked about it and nothing here shows that.
        Reading::Jwt(jwt) => of_jwt(&jwt, verified, refusal, now),
    }
}

fn opaque(verified: Option<&VerifiedToken>, refusal: Option<&Rejection>, now: UnixSeconds) -> Step {
    match (verified, refusal) {
        (Some(token), _) => yes("introspection", says_active(token, now)),
        (None, Some(refusal)) => Step {
            mark: Mark::of(refusal),
            what: "introspection",
            detail: refusal.detail().to_owned(),
        },
        (None, None) => yes("introspection", "not needed".to_owned()),
    }
}

fn says_active(token: &VerifiedToken, now: UnixSeconds) -> String {
    let ends = token.validity.until().map(|until| format!(", until {}", moment(until, now)));
    format!("{} says that it is active{}", token.issuer, ends.unwrap_or_default())
}

/// Who vouches for a token that was found good.
pub(super) fn vouched_for(token: &VerifiedToken, now: UnixSeconds) -> String {
    let ends = token.validity.until().map(|until| format!(", until {}", moment(until, now)));
    let kind = if token.kind == TokenKind::Jwt { "a JWT" } else { "an opaque token" };
    format!("{kind} of {}{}", token.issuer, ends.unwrap_or_default())
}

fn of_jwt(
    jwt: &JwtReading,
    verified: Option<&VerifiedToken>,
    refusal: Option<&Rejection>,
    now: UnixSeconds,
) -> Vec<Step> {
    let mut steps = vec![yes("form", "a JWT")];
    // Without a verdict the refusal is about the token.
    let refusal = if verified.is_some() { None } else { refusal };
    let failed = match refusal {
        Some(Rejection::TokenInvalid(why)) => Check::failed(*why),
        // The keys could not be had, or the authorization server not be asked.
        Some(Rejection::VerifierUnavailable(_)) => Some(Check::Key),
        _ => None,
    };
    let is_asked_about = verified.is_some_and(|token| token.kind != TokenKind::Jwt);
    for check in Check::ALL {
        if failed == Some(check) {
            let mark = refusal.map_or(Mark::No, Mark::of);
            let detail = format!("{}: {}", said(jwt, check, now), refusal.map_or("", cause));
            steps.push(Step { mark, what: name(check), detail });
            break;
        }
        let is_told = match check {
            Check::Introspection => is_asked_about,
            Check::Revocation => false, // where there is a list, who is on it hears of it
            _ => true,
        };
        if is_told {
            steps.push(yes(name(check), said(jwt, check, now)));
        }
    }
    steps
}

/// Why, also where a caller is not told that: this is for the operator.
pub(super) const fn cause(refusal: &Rejection) -> &'static str {
    match refusal {
        Rejection::TokenInvalid(InvalidToken::Algorithm) => {
            "alg is absent, unknown, not allowed here, or another than that of the key"
        }
        Rejection::TokenInvalid(InvalidToken::Critical) => {
            "crit names an extension, and none is known (RFC 7515 section 4.1.11)"
        }
        Rejection::TokenInvalid(InvalidToken::KeyUnknown) => {
            "the authorization server has no key of this kid and alg"
        }
        Rejection::TokenInvalid(InvalidToken::Signature) => "the signature does not hold",
        other => other.detail(),
    }
}

const fn name(check: Check) -> &'static str {
    match check {
        Check::Issuer => "issuer",
        Check::Type => "type",
        Check::Algorithm => "algorithm",
        Check::Key => "key",
        Check::Signature => "signature",
        Check::Claims => "claims",
        Check::Time => "time",
        Check::Binding => "binding",
        Check::Introspection => "introspection",
        Check::Revocation => "revocation",
    }
}

/// What the token says of that which is checked.
fn said(jwt: &JwtReading, check: Check, now: UnixSeconds) -> String {
    let claim = |name: &str| jwt.claims.value(name).map(ToString::to_string);
    let or_none = |name: &str| claim(name).unwrap_or_else(|| format!("no {name}"));
    let quoted = |text: &Option<String>, name: &str| match text {
        Some(text) => format!("{name} {text:?}"),
        None => format!("no {name}"),
    };
    match check {
        Check::Issuer => format!("iss {}", or_none("iss")),
        Check::Type => quoted(&jwt.kind, "typ"),
        Check::Algorithm => format!("alg {}", jwt.algorithm),
        Check::Key => quoted(&jwt.key_id, "kid"),
        Check::Signature => "by that key".to_owned(),
        Check::Claims => {
            let of = |name: &str| claim(name).map(|value| format!("{name} {value}"));
            let told: Vec<String> = ["sub", "client_id"].into_iter().filter_map(of).collect();
            if told.is_empty() { "no sub, no client_id".to_owned() } else { told.join(", ") }
        }
        Check::Time => {
            let at = |name: &'static str| jwt.claims.numeric_date(name).ok().flatten();
            let exp =
                at("exp").map_or("no exp".to_owned(), |at| format!("exp {}", moment(at, now)));
            match at("nbf") {
                Some(nbf) => format!("{exp}, nbf {}", moment(nbf, now)),
                None => exp,
            }
        }
        Check::Binding => match claim("cnf") {
            Some(cnf) => format!("cnf {cnf}"),
            None => "it is bound to no key".to_owned(),
        },
        Check::Introspection => "the authorization server was asked too".to_owned(),
        Check::Revocation => "by the revocation list".to_owned(),
    }
}

/// A moment, and how far it is from now.
pub(super) fn moment(at: UnixSeconds, now: UnixSeconds) -> String {
    let distance = match (at.since(now), now.since(at)) {
        (Some(ahead), _) => format!("in {} s", ahead.as_secs()),
        (None, Some(ago)) => format!("{} s ago", ago.as_secs()),
        (None, None) => "now".to_owned(),
    };
    format!("{} ({distance})", at.http_date())
}

/// What the route asks, rule by rule.
pub(super) fn rules(
    requirement: &Requirement,
    token: &VerifiedToken,
    (principal, audiences): (Principal, Option<&[Audience]>),
    now: UnixSeconds,
    request: Option<RequestFacts<'_>>,
) -> Vec<Step> {
    let Some(server_audiences) = audiences else {
        let why = Rejection::TokenInvalid(InvalidToken::Issuer);
        return vec![no("issuer", why.detail())];
    };
    let circumstances = Circumstances { principal, server_audiences, now };
    let found = findings(requirement, token, circumstances, request).into_iter();
    let mut steps: Vec<Step> = found
        .map(|finding| {
            let (what, detail) = asked(finding.rule, token, principal);
            Step { mark: Mark::of_rule(finding.is_met), what, detail }
        })
        .collect();
    let held = token.scopes();
    if !held.is_empty() {
        let detail = format!("the token carries {held}");
        steps.push(Step { mark: Mark::Aside, what: "scopes", detail });
    }
    steps
}

fn asked(rule: Rule<'_>, token: &VerifiedToken, principal: Principal) -> (&'static str, String) {
    match rule {
        Rule::Audience(ours) => {
            let ours: Vec<&str> = ours.iter().map(Audience::as_str).collect();
            let aud = match &token.audiences {
                Audiences::Named(named) if named.is_empty() => "no aud".to_owned(),
                Audiences::Named(named) => {
                    let named: Vec<&str> = named.iter().map(Audience::as_str).collect();
                    format!("aud {}", named.join(", "))
                }
                Audiences::MeantForUs => "given out for this gateway".to_owned(),
            };
            ("audience", format!("{aud}; it must name one of: {}", ours.join(", ")))
        }
        Rule::Authentication(AuthenticationRequirement { acr_values, max_age }) => {
            let acr = (!acr_values.is_empty())
                .then(|| format!("acr is one of {}", acr_values.join(", ")));
            let age =
                max_age.map(|max_age| format!("auth_time is at most {} s ago", max_age.as_secs()));
            let told: Vec<String> = acr.into_iter().chain(age).collect();
            ("login", told.join(", "))
        }
        Rule::Scope(scope) => ("scope", scope.to_string()),
        Rule::AnyScope(scopes) => {
            let scopes: Vec<&str> = scopes.iter().map(crate::oauth::Scope::as_str).collect();
            ("any_scope", format!("one of {}", scopes.join(", ")))
        }
        Rule::Claim(claim) => {
            let values: Vec<String> = claim.any_of.iter().map(ToString::to_string).collect();
            ("claim", format!("{} is one of {}", claim.name, values.join(", ")))
        }
        Rule::Condition(condition) => ("condition", condition.to_string()),
        Rule::Detail(detail) => ("details", format!("an object with {detail}")),
        Rule::Expression(expression, outcome) => {
            let outcome = match outcome {
                None => "is true",
                Some(NotTrue::False) => "is false",
                Some(NotTrue::Failed(why)) => why,
            };
            ("cel", format!("{expression}: {outcome}"))
        }
        Rule::Principal(only) => {
            ("principal", format!("for a {} alone; this is a {}", who(only), who(principal)))
        }
    }
}

const fn who(principal: Principal) -> &'static str {
    match principal {
        Principal::User => "user",
        Principal::Client => "client",
    }
}

fn yes(what: &'static str, detail: impl Into<String>) -> Step {
    Step { mark: Mark::Yes, what, detail: detail.into() }
}

fn no(what: &'static str, detail: &str) -> Step {
    Step { mark: Mark::No, what, detail: detail.to_owned() }
}
