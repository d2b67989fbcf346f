//! What a route asks of a token, and the proof that somebody decided.
//!
//! [`decide`] is pure: equal arguments, equal answer. It runs for every request, also where the
//! token's verdict came from a cache: a verdict is about the token alone, never about a route.
//!
//! # What holds
//! * Only this module makes a [`Permit`], and nothing reaches an upstream without one:
//!
//! ```compile_fail,E0451
//! use scopegate::policy::Permit;
//! let forged = Permit { holder: None };
//! ```
//! ```
//! use scopegate::policy::{Access, Permit, admit};
//! let made: Permit = admit(&Access::Public).expect("the route is public");
//! ```
//! * Absent means refused: a token without scope, audience or claim has none.
//!
//! Cost of an allowed request: one merge walk over the scopes; no allocation but by a `cel`
//! expression.

pub mod cel;
pub mod condition;
pub mod details;
mod findings;
pub mod pointer;
mod requirement;

use std::sync::Arc;

use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, Audiences, Principal, VerifiedToken};
use crate::reject::{InvalidToken, Rejection};

pub use cel::{Expression, RequestFacts};
pub use condition::Condition;
pub use details::DetailRequirement;
pub use findings::{Finding, Rule, findings};
pub use requirement::{AuthenticationRequirement, ClaimRequirement, ClaimRules, Requirement};

/// `access` of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// `"public"`: everybody, without a token.
    Public,
    /// Whoever has a token that carries this.
    Token(Requirement),
}

/// The proof of a decision: no upstream call without one, and only this module makes it.
#[derive(Clone, Debug)]
pub struct Permit {
    holder: Option<(Arc<VerifiedToken>, Principal)>,
}

impl Permit {
    /// Who was let in; `None` on a public route.
    pub fn token(&self) -> Option<&VerifiedToken> {
        self.holder.as_ref().map(|(token, _)| &**token)
    }

    /// The token, and whom the credential speaks for that brought it; `None` on a public route.
    pub fn holder(&self) -> Option<(&Arc<VerifiedToken>, Principal)> {
        self.holder.as_ref().map(|(token, principal)| (token, *principal))
    }
}

/// A public route's permit.
///
/// # Errors
/// [`Rejection::CredentialMissing`] where the route is not public.
pub fn admit(access: &Access) -> Result<Permit, Rejection> {
    match access {
        Access::Public => Ok(Permit { holder: None }),
        Access::Token(_) => Err(Rejection::CredentialMissing),
    }
}

/// What a decision looks at beside the token and what the route asks for.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Whom the credential speaks for: what the token says, or a client where the client sent its
    /// secret.
    pub principal: Principal,
    /// Those of the authorization server that vouched for the token; they hold unless the route
    /// names its own.
    pub server_audiences: &'a [Audience],
    /// When.
    pub now: UnixSeconds,
}

/// Decides whether `token` opens a route that asks for `requirement`. `request` is asked by the
/// routes alone that have an expression; where it says nothing, no expression is true.
///
/// Cost: 18 ns ±5 % for one scope (benches/hot_path).
///
/// # Errors
/// The first that fails of: audience (401: the token is not for us at all), the user's login (401:
/// another one is needed), scopes, claims and the rules about them, principal (403).
pub fn decide<'r>(
    requirement: &Requirement,
    token: Arc<VerifiedToken>,
    circumstances: Circumstances<'_>,
    request: impl FnOnce() -> Option<RequestFacts<'r>>,
) -> Result<Permit, Rejection> {
    let Circumstances { principal, server_audiences, now } = circumstances;
    if !names_one_of(&token.audiences, ours(requirement, server_audiences)) {
        return Err(Rejection::TokenInvalid(InvalidToken::Audience));
    }
    if let Some(authentication) = &requirement.authentication
        && !authentication.is_met_by(&token, now)
    {
        let step_up = Box::new(requirement.step_up(authentication, token.scopes()));
        return Err(Rejection::AuthenticationInsufficient(step_up));
    }
    if !requirement.is_met_by_scopes(token.scopes()) {
        return Err(Rejection::ScopeInsufficient(requirement.needed_beside(token.scopes())));
    }
    if !requirement.claims.iter().all(|claim| claim.is_met_by(&token)) {
        return Err(Rejection::ClaimsInsufficient);
    }
    if let Some(rules) = &requirement.rules {
        let request = rules.expression.as_ref().and_then(|_| request());
        if !rules.are_met_by(&token, principal, request.as_ref()) {
            return Err(Rejection::ClaimsInsufficient);
        }
    }
    if requirement.principal.is_some_and(|only| only != principal) {
        return Err(Rejection::PrincipalRefused(principal));
    }
    Ok(Permit { holder: Some((token, principal)) })
}

/// The audiences that count: the route's own, or else those of the authorization server.
fn ours<'r>(requirement: &'r Requirement, server_audiences: &'r [Audience]) -> &'r [Audience] {
    match requirement.audiences.as_slice() {
        [] => server_audiences,
        of_the_route => of_the_route,
    }
}

/// Whether a token is meant for one of `ours` (RFC 7519 §4.1.3): equal code point by code point.
// Why not by prefix: an issuer that mints `https://api` would then open `https://api.evil`.
fn names_one_of(audiences: &Audiences, ours: &[Audience]) -> bool {
    match audiences {
        Audiences::Named(named) => named.iter().any(|audience| ours.contains(audience)),
        Audiences::MeantForUs => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        Claims, Issuer, Plaintext, RawToken, ScopeSet, ServerId, TokenKind, TokenTexts, Validity,
    };

    const NOW: UnixSeconds = UnixSeconds::new(1000);

    pub(super) fn token(scopes: &str, claims: &str) -> VerifiedToken {
        VerifiedToken {
            digest: RawToken::new("t").digest(),
            kind: TokenKind::Jwt,
            server: ServerId::new(1),
            issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
            texts: TokenTexts::saying(Some("alice"), Some("reports"), scopes),
            principal: Principal::User,
            audiences: Audiences::Named(audiences("https://api.test").into()),
            validity: Validity::new(None, Some(UnixSeconds::new(1))),
            claims: Claims::parse(claims.as_bytes()).unwrap().into(),
        }
    }

    fn audiences(text: &str) -> Vec<Audience> {
        text.split_whitespace().map(Audience::new).collect()
    }

    fn requirement(scopes: &str, any_scope: &str) -> Requirement {
        Requirement {
            scopes: ScopeSet::from_claim(scopes),
            any_scope: any_scope.split_whitespace().map(|scope| scope.parse().unwrap()).collect(),
            ..Requirement::default()
        }
    }

    fn decided(
        requirement: &Requirement,
        token: VerifiedToken,
        principal: Principal,
        server_audiences: &[Audience],
    ) -> Result<Permit, Rejection> {
        let circumstances = Circumstances { principal, server_audiences, now: NOW };
        decide(requirement, Arc::new(token), circumstances, || None)
    }

    /// `"allowed"`, or the reason and for scopes those that are named.
    fn outcome(requirement: &Requirement, token: VerifiedToken, server: &[Audience]) -> String {
        match decided(requirement, token, Principal::User, server) {
            Ok(permit) => {
                assert!(permit.token().is_some());
                "allowed".to_owned()
            }
            Err(Rejection::ScopeInsufficient(needed)) => format!("needs {needed}"),
            Err(refusal) => refusal.reason().to_owned(),
        }
    }

    #[test]
    fn decides_by_scopes() {
        #[rustfmt::skip]
        let cases = [
            // claim                                all           any           held              outcome
            ("nothing is asked for",                "",           "",           "",               "allowed"),
            ("every scope is held",                 "read",       "",           "read write",     "allowed"),
            ("order and repeats mean nothing",      "a b",        "",           "b a a",          "allowed"),
            ("one scope is lacking: all are named", "read write", "",           "read",           "needs read write"),
            ("no scope at all",                     "read",       "",           "",               "needs read"),
            ("a longer scope is another one",       "orders:read", "",          "orders:readonly", "needs orders:read"),
            ("case counts",                         "orders:read", "",          "Orders:Read",    "needs orders:read"),
            ("a part inside is not the whole",      "admin",      "",           "superadmin",     "needs admin"),
            ("the first of any",                    "",           "z a",        "z",              "allowed"),
            ("the second of any",                   "",           "z a",        "a",              "allowed"),
            ("none of any: the first is named",     "",           "z a",        "b",              "needs z"),
            ("all and any",                         "read",       "z a",        "a read",         "allowed"),
            ("all but none of any",                 "read",       "z a",        "read",           "needs read z"),
            ("any but not all",                     "read",       "z a",        "a",              "needs a read"),
            ("neither",                             "read",       "z a",        "",               "needs read z"),
        ];
        for (claim, all, any, held, expected) in cases {
            let requirement = requirement(all, any);
            for kind in [TokenKind::Jwt, TokenKind::Opaque, TokenKind::Issued] {
                let token = VerifiedToken { kind, ..token(held, "{}") };
                let found = outcome(&requirement, token, &audiences("https://api.test"));
                assert_eq!(found, expected, "{claim}, {kind:?}");
            }
        }
    }

    #[test]
    fn a_token_with_exactly_the_scopes_that_a_refusal_names_is_let_in() {
        for (all, any, held) in
            [("b a", "", "a"), ("", "z y", ""), ("a", "z y", "y"), ("a", "z", "")]
        {
            let requirement = requirement(all, any);
            let server = &audiences("https://api.test");
            let refused = decided(&requirement, token(held, "{}"), Principal::User, server);
            let Err(Rejection::ScopeInsufficient(named)) = refused else { panic!("{refused:?}") };
            let asked = token(&named.to_string(), "{}");
            assert_eq!(outcome(&requirement, asked, server), "allowed", "{named}");
        }
    }

    #[test]
    fn rfc7519_4_1_3_decides_by_audience_before_anything_else() {
        let wrong = "token_audience";
        #[rustfmt::skip]
        let cases = [
            // claim                                  route's  server's  token's      outcome
            ("the server's",                          "",      "a",      Some("a"),   "allowed"),
            ("one of several",                        "",      "b a",    Some("c a"), "allowed"),
            ("the route's in place of the server's",  "r",     "a",      Some("r"),   "allowed"),
            ("the server's does not do for the route", "r",    "a",      Some("a"),   wrong),
            ("another's",                             "",      "a",      Some("b"),   wrong),
            ("a prefix",                              "",      "ab",     Some("a"),   wrong),
            ("a longer one",                          "",      "a",      Some("ab"),  wrong),
            ("another case",                          "",      "a",      Some("A"),   wrong),
            ("the token names nobody",                "",      "a",      Some(""),    wrong),
            ("nobody is configured",                  "",      "",       Some("a"),   wrong),
            ("nobody anywhere",                       "",      "",       Some(""),    wrong),
            ("meant for us",                          "r",     "a",      None,        "allowed"),
        ];
        for (claim, route, server, named, expected) in cases {
            let requirement =
                Requirement { audiences: audiences(route), ..requirement("read", "") };
            let audience = named
                .map_or(Audiences::MeantForUs, |named| Audiences::Named(audiences(named).into()));
            let with =
                |scopes| VerifiedToken { audiences: audience.clone(), ..token(scopes, "{}") };
            assert_eq!(
                outcome(&requirement, with("read"), &audiences(server)),
                expected,
                "{claim}"
            );
            if expected == wrong {
                assert_eq!(outcome(&requirement, with(""), &audiences(server)), wrong, "{claim}");
            }
        }
    }

    #[test]
    fn claims_are_looked_at_last() {
        let claim = ClaimRequirement { name: "department".into(), any_of: vec!["it".into()] };
        let requirement = Requirement { claims: vec![claim], ..requirement("read", "") };
        let server = &audiences("https://api.test");
        let it = r#"{"department":"it"}"#;
        assert_eq!(outcome(&requirement, token("read", it), server), "allowed");
        assert_eq!(outcome(&requirement, token("read", "{}"), server), "claims_insufficient");
        assert_eq!(outcome(&requirement, token("", "{}"), server), "needs read");
    }

    #[test]
    fn each_claim_that_is_required_must_be_there() {
        let claim = |name: &str| ClaimRequirement { name: name.into(), any_of: vec!["x".into()] };
        let requirement =
            Requirement { claims: vec![claim("a"), claim("b")], ..Requirement::default() };
        let server = &audiences("https://api.test");
        let both = token("", r#"{"a":"x","b":"x"}"#);
        assert_eq!(outcome(&requirement, both, server), "allowed");
        for one in [r#"{"a":"x"}"#, r#"{"b":"x"}"#, r#"{"a":"x","b":"y"}"#] {
            assert_eq!(outcome(&requirement, token("", one), server), "claims_insufficient");
        }
    }

    #[test]
    fn each_rule_is_asked_after_the_scopes_and_before_the_principal() {
        let rules = |rules: ClaimRules| Requirement {
            rules: Some(Box::new(rules)),
            principal: Some(Principal::User),
            ..requirement("read", "")
        };
        let conditions = vec![Condition::Has("/a/b".parse().unwrap(), ["x".into()].into())];
        let details = vec![DetailRequirement { kind: "t".into(), ..DetailRequirement::default() }];
        let expression = Expression::compile("claims.a.b == \"x\"").unwrap();
        let server = &audiences("https://api.test");
        let good = r#"{"a":{"b":"x"},"authorization_details":[{"type":"t"}]}"#;
        for (requirement, asks_the_request) in [
            (rules(ClaimRules { conditions, ..ClaimRules::default() }), false),
            (rules(ClaimRules { authorization_details: details, ..ClaimRules::default() }), false),
            (rules(ClaimRules { expression: Some(expression), ..ClaimRules::default() }), true),
        ] {
            let outcome = |scopes, claims, principal, is_asked: bool| {
                let facts = RequestFacts { method: "GET", path: "/".into(), host: "a".into() };
                let circumstances = Circumstances { principal, server_audiences: server, now: NOW };
                let token = Arc::new(token(scopes, claims));
                decide(&requirement, token, circumstances, || is_asked.then_some(facts)).map(drop)
            };
            let unmet = Err(Rejection::ClaimsInsufficient);
            assert_eq!(outcome("read", good, Principal::User, true), Ok(()));
            assert_eq!(outcome("read", "{}", Principal::Client, true), unmet, "before principal");
            let scopes = outcome("", "{}", Principal::User, true);
            assert!(matches!(scopes, Err(Rejection::ScopeInsufficient(_))), "scopes come first");
            let without_request = outcome("read", good, Principal::User, false);
            assert_eq!(without_request, if asks_the_request { unmet } else { Ok(()) });
        }
    }

    #[test]
    fn rfc9700_4_15_a_route_for_one_kind_of_principal_refuses_the_other() {
        use Principal::{Client, User};
        let server = audiences("https://api.test");
        for (only, principal, is_let_in) in [
            (None, User, true),
            (None, Client, true),
            (Some(User), User, true),
            (Some(User), Client, false),
            (Some(Client), User, false),
            (Some(Client), Client, true),
        ] {
            let requirement = Requirement { principal: only, ..requirement("read", "") };
            // What the token itself says does not count beside what the credential was.
            let outcome = decided(&requirement, token("read", "{}"), principal, &server);
            let holder = outcome.map(|permit| permit.holder().unwrap().1);
            let refused = Rejection::PrincipalRefused(principal);
            assert_eq!(holder, is_let_in.then_some(principal).ok_or(refused), "{only:?}");
        }
        let requirement = Requirement { principal: Some(User), ..requirement("read", "") };
        let lacking = decided(&requirement, token("", "{}"), Client, &server).map(drop);
        assert!(matches!(lacking, Err(Rejection::ScopeInsufficient(_))), "scopes come first");
    }

    #[test]
    fn only_a_public_route_admits_without_a_token() {
        assert!(admit(&Access::Public).unwrap().token().is_none());
        let refused = admit(&Access::Token(Requirement::default())).map(drop);
        assert_eq!(refused, Err(Rejection::CredentialMissing));
    }
}
