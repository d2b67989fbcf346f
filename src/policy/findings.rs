//! What a route asks of a token, rule by rule: for people who want to know which one fails.
//! [`decide`](super::decide) alone decides.

use super::requirement::{AuthenticationRequirement, ClaimRequirement, Requirement};
use super::{names_one_of, ours};
use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, Principal, Scope, ScopeRef, VerifiedToken};

/// One thing that a route asks of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule<'r> {
    /// `aud` names one of these.
    Audience(&'r [Audience]),
    /// Its user logged in like this.
    Authentication(&'r AuthenticationRequirement),
    /// It carries this scope.
    Scope(ScopeRef<'r>),
    /// It carries one of these scopes.
    AnyScope(&'r [Scope]),
    /// It has a claim with one of its values.
    Claim(&'r ClaimRequirement),
    /// It speaks for a user, or for a client.
    Principal(Principal),
}

/// A rule, and whether the token meets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding<'r> {
    /// What is asked.
    pub rule: Rule<'r>,
    /// Whether the token has it.
    pub is_met: bool,
}

/// Holds a token against every rule of `requirement`, in the order in which
/// [`decide`](super::decide) looks at them: that one says yes if all are met, and no by the first
/// that is not. The arguments are the same.
pub fn findings<'r>(
    requirement: &'r Requirement,
    token: &VerifiedToken,
    principal: Principal,
    server_audiences: &'r [Audience],
    now: UnixSeconds,
) -> Vec<Finding<'r>> {
    let audiences = ours(requirement, server_audiences);
    let held = token.scopes();
    let mut findings = vec![Finding {
        rule: Rule::Audience(audiences),
        is_met: names_one_of(&token.audiences, audiences),
    }];
    findings.extend(requirement.authentication.as_deref().map(|login| Finding {
        rule: Rule::Authentication(login),
        is_met: login.is_met_by(token, now),
    }));
    findings.extend(
        requirement
            .scopes
            .iter()
            .map(|scope| Finding { rule: Rule::Scope(scope), is_met: held.contains(scope) }),
    );
    if !requirement.any_scope.is_empty() {
        let is_met = requirement.any_scope.iter().any(|scope| held.contains(scope));
        findings.push(Finding { rule: Rule::AnyScope(&requirement.any_scope), is_met });
    }
    findings.extend(
        requirement
            .claims
            .iter()
            .map(|claim| Finding { rule: Rule::Claim(claim), is_met: claim.is_met_by(token) }),
    );
    findings.extend(
        requirement
            .principal
            .map(|only| Finding { rule: Rule::Principal(only), is_met: only == principal }),
    );
    findings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::super::decide;
    use super::super::tests::token;
    use super::*;
    use crate::oauth::ScopeSet;

    /// All requirements of some scopes, claims, audiences and principals against all tokens of some:
    /// the rules and the decision never disagree.
    #[test]
    fn a_token_is_let_in_exactly_when_all_rules_are_met() {
        let scopes = ["", "a", "b", "a b", "a b c"];
        let claims = [json!(null), json!(["it"]), json!([])];
        let principals = [None, Some(Principal::User), Some(Principal::Client)];
        let login = |acr: &str, max_age_s| AuthenticationRequirement {
            acr_values: acr.split_whitespace().map(Box::from).collect(),
            max_age: Some(Duration::from_secs(max_age_s)),
        };
        let logins = [None, Some(Box::new(login("", 10))), Some(Box::new(login("mfa hwk", 100)))];
        let now = UnixSeconds::new(1000);
        let mut outcomes = [0, 0];
        for (all, any) in scopes.iter().flat_map(|all| scopes.iter().map(move |any| (all, any))) {
            for (claim, audience) in claims
                .iter()
                .flat_map(|claim| ["", "https://api.test", "x"].map(|aud| (claim, aud)))
            {
                for (only, login) in
                    principals.iter().flat_map(|only| logins.iter().map(|login| (*only, login)))
                {
                    let requirement = Requirement {
                        scopes: ScopeSet::from_claim(all),
                        any_scope: any.split_whitespace().map(|one| one.parse().unwrap()).collect(),
                        claims: claim
                            .as_array()
                            .map(|values| ClaimRequirement {
                                name: "department".into(),
                                any_of: values.clone(),
                            })
                            .into_iter()
                            .collect(),
                        audiences: audience.split_whitespace().map(Audience::new).collect(),
                        principal: only,
                        authentication: login.clone(),
                    };
                    for (held, said) in scopes.iter().flat_map(|held| {
                        [r#"{"department":"it","acr":"hwk","auth_time":980}"#, "{}"]
                            .map(|said| (held, said))
                    }) {
                        let token = Arc::new(token(held, said));
                        let servers = [Audience::new("https://api.test")];
                        let of = findings(&requirement, &token, Principal::User, &servers, now);
                        let is_met = of.iter().all(|finding| finding.is_met);
                        let decided = decide(&requirement, token, Principal::User, &servers, now);
                        assert_eq!(is_met, decided.is_ok(), "{requirement:?} {held} {said}");
                        outcomes[usize::from(is_met)] += 1;
                    }
                }
            }
        }
        assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
    }
}
