//! What a route's `access` and `audiences` ask for, and whether scopes and claims meet it.

use std::time::Duration;

use serde_json::Value;

use super::cel::{Expression, RequestFacts};
use super::condition::Condition;
use super::details::{AUTHORIZATION_DETAILS, DetailRequirement};
use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, HeldScopes, Principal, Scope, ScopeRef, ScopeSet, VerifiedToken};
use crate::reject::StepUp;

/// What a token must carry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirement {
    /// All of these.
    pub scopes: ScopeSet,
    /// One of these; empty: no such rule. In the order of the configuration.
    pub any_scope: Vec<Scope>,
    /// Each of these claims with one of its values.
    pub claims: Vec<ClaimRequirement>,
    /// What few routes ask for; `None`: nothing of it.
    pub rules: Option<Box<ClaimRules>>,
    /// How the user must have logged in; `None`: no such rule.
    pub authentication: Option<Box<AuthenticationRequirement>>,
    /// In place of the authorization server's; empty: the server's hold.
    pub audiences: Vec<Audience>,
    /// For these alone; `None`: for users and clients.
    pub principal: Option<Principal>,
}

/// What a token must say beyond `claims`. Few routes have any of it, so all others pay one pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimRules {
    /// `all`, `any`, `not`: each of these.
    pub conditions: Vec<Condition>,
    /// `authorization_details`: for each of these an object of the token.
    pub authorization_details: Vec<DetailRequirement>,
    /// `cel`: true.
    pub expression: Option<Expression>,
}

impl ClaimRules {
    /// How many rules these are.
    pub fn count(&self) -> usize {
        let expressions = usize::from(self.expression.is_some());
        self.conditions.len() + self.authorization_details.len() + expressions
    }

    /// Whether a token meets all of them. Without a request no expression is true.
    pub(super) fn are_met_by(
        &self,
        token: &VerifiedToken,
        principal: Principal,
        request: Option<&RequestFacts<'_>>,
    ) -> bool {
        self.conditions.iter().all(|condition| condition.is_met_by(token))
            && self.authorization_details.iter().all(|detail| detail.is_met_by(token))
            && self.expression.as_ref().is_none_or(|expression| {
                request.is_some_and(|request| expression.is_met_by(token, principal, request))
            })
    }

    /// The claims that they look at.
    pub fn claim_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.conditions.iter().flat_map(Condition::claim_names).collect();
        names.extend((!self.authorization_details.is_empty()).then_some(AUTHORIZATION_DETAILS));
        names.extend(self.expression.iter().flat_map(Expression::claim_names));
        names
    }
}

/// `acr_values` and `max_age`: how strongly, and how long ago, the user logged in (RFC 9470).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthenticationRequirement {
    /// `acr` must be one of these, the preferred first; empty: no such rule.
    pub acr_values: Vec<Box<str>>,
    /// `auth_time` must not be longer ago.
    pub max_age: Option<Duration>,
}

impl AuthenticationRequirement {
    /// Whether a token says that its user logged in like that. One that says nothing does not meet
    /// it, nor one that says it in another type.
    pub(super) fn is_met_by(&self, token: &VerifiedToken, now: UnixSeconds) -> bool {
        let acr = token.claims.value(ACR).and_then(Value::as_str);
        let is_strong = self.acr_values.is_empty()
            || acr.is_some_and(|acr| self.acr_values.iter().any(|one| **one == *acr));
        is_strong && self.max_age.is_none_or(|max_age| is_within(token, max_age, now))
    }
}

fn is_within(token: &VerifiedToken, max_age: Duration, now: UnixSeconds) -> bool {
    // A login to come, by a server whose clock is ahead, was not long ago.
    let is_recent = |login| now.since(login).is_none_or(|age| age <= max_age);
    token.claims.numeric_date(AUTH_TIME).is_some_and(is_recent)
}

/// `claims = { department = ["it"] }`: a claim and the values of which it must have one.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRequirement {
    /// The name of the claim.
    pub name: Box<str>,
    /// One of these: strings, numbers, booleans. Empty: nothing meets it.
    pub any_of: Vec<Value>,
}

impl Requirement {
    /// The scopes to name to a caller without a token: all of `scopes`, and of `any_scope` the
    /// first alone, since two would read as "both are needed" (RFC 6750 §3).
    pub fn challenge_scopes(&self) -> ScopeSet {
        self.scopes.iter().chain(self.any_scope.first().map(ScopeRef::from)).collect()
    }

    /// All scopes that it names, those of which one is enough too.
    pub fn named_scopes(&self) -> ScopeSet {
        self.scopes.iter().chain(self.any_scope.iter().map(ScopeRef::from)).collect()
    }

    /// The claims that a verdict must remember for the rules here: those named in them, without
    /// the ones that a [`VerifiedToken`] has in fields of its own.
    pub fn claim_names(&self) -> impl Iterator<Item = &str> {
        let of_login = self.authentication.iter().flat_map(|_| [ACR, AUTH_TIME]);
        let named = self.claims.iter().map(|claim| &*claim.name);
        let named = named.chain(self.rules.iter().flat_map(|rules| rules.claim_names()));
        named.filter(|name| !FIELDS.contains(name)).chain(of_login)
    }

    /// Whether `held` has all of `scopes`, and one of `any_scope` if there is such a rule.
    pub(super) fn is_met_by_scopes(&self, held: HeldScopes<'_>) -> bool {
        let has_one = self.any_scope.is_empty() || self.one_of_any(held).is_some();
        has_one && self.scopes.first_missing(held).is_none()
    }

    /// The scopes to name to a caller whose token has not enough with `held`: all that are
    /// needed, not the difference (RFC 6750 §3.1), so that a token with exactly these gets in. Of
    /// `any_scope` that is the one it has, or else the first.
    pub(super) fn needed_beside(&self, held: HeldScopes<'_>) -> ScopeSet {
        let of_any = self.one_of_any(held).or_else(|| self.any_scope.first());
        self.scopes.iter().chain(of_any.map(ScopeRef::from)).collect()
    }

    /// What a caller is told whose user must log in anew: the scopes too if the token lacks one of
    /// those as well (RFC 9470 §3).
    pub(super) fn step_up(
        &self,
        authentication: &AuthenticationRequirement,
        held: HeldScopes<'_>,
    ) -> StepUp {
        StepUp {
            acr_values: authentication.acr_values.join(" ").into(),
            max_age_s: authentication.max_age.map(|max_age| max_age.as_secs()),
            scopes: (!self.is_met_by_scopes(held)).then(|| self.needed_beside(held)),
        }
    }

    fn one_of_any(&self, held: HeldScopes<'_>) -> Option<&Scope> {
        self.any_scope.iter().find(|scope| held.contains(*scope))
    }
}

impl ClaimRequirement {
    /// Whether the token has this claim with one of the values. `iss`, `sub`, `client_id` and
    /// `scope` are looked up in the fields of the verdict, which hold them whatever the token's
    /// own name for them was; `scope` is a list. All others are looked up in its claims.
    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        match &*self.name {
            ISS => self.takes_text(token.issuer.as_str()),
            SUB => token.subject().is_some_and(|subject| self.takes_text(subject)),
            CLIENT_ID => token.client_id().is_some_and(|client| self.takes_text(client)),
            SCOPE => token.scopes().iter().any(|scope| self.takes_text(scope.as_str())),
            name => token.claims.value(name).is_some_and(|value| takes(&self.any_of, value)),
        }
    }

    fn takes_text(&self, text: &str) -> bool {
        self.any_of.iter().any(|value| value.as_str() == Some(text))
    }
}

/// A scalar must be one of the values; of an array of scalars one element must be. A string is
/// never taken apart: `"it,hr"` is one name.
pub(super) fn takes(any_of: &[Value], value: &Value) -> bool {
    match value {
        Value::Array(items) => {
            items.iter().all(is_scalar) && items.iter().any(|item| takes_scalar(any_of, item))
        }
        scalar => takes_scalar(any_of, scalar),
    }
}

/// The same JSON type and the same value: strings code point by code point (RFC 7519 §7.3), numbers
/// as written, so that 1 and 1.0 differ.
fn takes_scalar(any_of: &[Value], value: &Value) -> bool {
    is_scalar(value) && !value.is_null() && any_of.contains(value)
}

pub(super) const fn is_scalar(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// OpenID Connect Core §2, and RFC 9470 §6.1 and §6.2 for access tokens and introspection.
const ACR: &str = "acr";
const AUTH_TIME: &str = "auth_time";
pub(super) const ISS: &str = "iss";
pub(super) const SUB: &str = "sub";
pub(super) const CLIENT_ID: &str = "client_id";
pub(super) const SCOPE: &str = "scope";

/// The claims that a verdict has in fields of its own.
pub(super) const FIELDS: [&str; 4] = [ISS, SUB, CLIENT_ID, SCOPE];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::token;
    use super::*;
    use crate::oauth::TokenTexts;

    fn claim(name: &str, any_of: Value) -> ClaimRequirement {
        let Value::Array(any_of) = any_of else { panic!("a list of values") };
        ClaimRequirement { name: name.into(), any_of }
    }

    #[test]
    fn rfc7519_7_3_a_claim_is_met_by_an_equal_value_of_the_same_type() {
        #[rustfmt::skip]
        let cases = [
            // required          claim of the token       met
            (json!(["it"]),      json!("it"),             true),
            (json!(["it"]),      json!(["hr", "it"]),     true),
            (json!(["it", "x"]), json!("x"),              true),
            (json!(["it"]),      json!("IT"),             false),
            (json!(["it"]),      json!("it,hr"),          false),
            (json!(["it"]),      json!("it hr"),          false),
            (json!(["it"]),      json!(" it"),            false),
            (json!(["it"]),      json!("i"),              false),
            (json!(["it"]),      json!(""),               false),
            (json!(["it"]),      json!(true),             false),
            (json!(["it"]),      json!(null),             false),
            (json!(["it"]),      json!({"it": 1}),        false),
            (json!(["it"]),      json!([]),               false),
            (json!(["it"]),      json!([["it"]]),         false),
            (json!(["it"]),      json!(["it", ["x"]]),    false),
            (json!(["it"]),      json!(["it", {}]),       false),
            (json!(["it"]),      json!(["it", 1, null]),  true),
            (json!(["\u{e9}"]),  json!("e\u{301}"),       false),
            (json!([true]),      json!(true),             true),
            (json!([true]),      json!("true"),           false),
            (json!([true]),      json!(1),                false),
            (json!([7]),         json!(7),                true),
            (json!([7]),         json!([6, 7]),           true),
            (json!([7]),         json!("7"),              false),
            (json!([7]),         json!(7.0),              false),
            (json!([]),          json!("it"),             false),
            (json!([null]),      json!(null),             false),
            (json!([["it"]]),    json!(["it"]),           false),
            (json!([{"it": 1}]), json!({"it": 1}),        false),
        ];
        for (required, value, expected) in cases {
            let token = token("", &json!({ "department": value }).to_string());
            let met = claim("department", required.clone()).is_met_by(&token);
            assert_eq!(met, expected, "{required} {value}");
        }
    }

    #[test]
    fn an_absent_claim_meets_nothing() {
        assert!(!claim("department", json!(["it", ""])).is_met_by(&token("", "{}")));
        let mut nobody = token("", "{}");
        nobody.texts = TokenTexts::saying(None, None, "");
        for name in FIELDS {
            assert!(!claim(name, json!([""])).is_met_by(&nobody), "{name}");
        }
    }

    #[test]
    fn claims_with_fields_of_their_own_are_looked_up_there() {
        let other = r#"{"sub":"mallory","iss":"x","client_id":"x","scope":"x"}"#;
        let token = token("read write", other);
        #[rustfmt::skip]
        let cases = [
            (SUB,       "alice",           true),
            (SUB,       "mallory",         false),
            (ISS,       "https://as.test", true),
            (ISS,       "https://as.test/", false),
            (CLIENT_ID, "reports",         true),
            (CLIENT_ID, "x",               false),
            (SCOPE,     "write",           true),
            (SCOPE,     "read write",      false),
            (SCOPE,     "x",               false),
        ];
        for (name, value, expected) in cases {
            assert_eq!(claim(name, json!([value])).is_met_by(&token), expected, "{name} {value}");
        }
    }

    #[test]
    fn a_verdict_need_not_keep_what_it_has_in_fields() {
        let claims = ["sub", "department", "iss", "scope", "client_id", "level"];
        let claims = claims.map(|name| claim(name, json!(["x"]))).to_vec();
        let requirement = Requirement { claims, ..Requirement::default() };
        assert!(requirement.claim_names().eq(["department", "level"]));
    }

    #[test]
    fn rfc6750_3_a_challenge_names_all_scopes_and_one_of_any() {
        let any = |any: &[&str]| any.iter().map(|scope| scope.parse().unwrap()).collect();
        for (scopes, any_scope, expected) in [
            ("", any(&[]), ""),
            ("b a", any(&[]), "a b"),
            ("", any(&["z", "y"]), "z"),
            ("b a", any(&["z", "y"]), "a b z"),
        ] {
            let scopes = ScopeSet::from_claim(scopes);
            let requirement = Requirement { scopes, any_scope, ..Requirement::default() };
            assert_eq!(requirement.challenge_scopes().to_string(), expected);
        }
    }
}
