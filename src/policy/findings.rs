//! What a route asks of a token, rule by rule: for people who want to know which one fails.
//! [`decide`](super::decide) alone decides.

use super::cel::{Expression, NotTrue, RequestFacts};
use super::condition::Condition;
use super::details::DetailRequirement;
use super::requirement::{AuthenticationRequirement, ClaimRequirement, Requirement};
use super::{Circumstances, names_one_of, ours};
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
    /// Its claims meet this.
    Condition(&'r Condition),
    /// One of its `authorization_details` has this.
    Detail(&'r DetailRequirement),
    /// This is true of it and of the request; or why it is not.
    Expression(&'r Expression, Option<NotTrue>),
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
    circumstances: Circumstances<'r>,
    request: Option<RequestFacts<'_>>,
) -> Vec<Finding<'r>> {
    let Circumstances { principal, server_audiences, now } = circumstances;
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
    if let Some(rules) = &requirement.rules {
        findings.extend(rules.conditions.iter().map(|condition| Finding {
            rule: Rule::Condition(condition),
            is_met: condition.is_met_by(token),
        }));
        findings.extend(
            rules.authorization_details.iter().map(|detail| Finding {
                rule: Rule::Detail(detail),
                is_met: detail.is_met_by(token),
            }),
        );
        findings.extend(rules.expression.as_ref().map(|expression| {
            let no_request = NotTrue::Failed("there is no request");
            let outcome = request
                .as_ref()
                .map_or(Err(no_request), |request| expression.outcome(token, principal, request));
            let rule = Rule::Expression(expression, outcome.err());
            Finding { rule, is_met: outcome.is_ok() }
        }));
    }
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
    use crate::base::time::UnixSeconds;
    use crate::oauth::ScopeSet;
    use crate::policy::ClaimRules;

    #[test]
    fn each_rule_is_found_as_it_is_decided() {
        let requirement = Requirement {
            rules: Some(Box::new(ClaimRules {
                conditions: vec![Condition::Present("/a".parse().unwrap(), true)],
                authorization_details: vec![DetailRequirement {
                    kind: "t".into(),
                    ..DetailRequirement::default()
                }],
                expression: Some(
                    Expression::compile("claims.b > 1 && request.path == \"/x\"").unwrap(),
                ),
            })),
            ..Requirement::default()
        };
        let servers = [Audience::new("https://api.test")];
        let circumstances = Circumstances {
            principal: Principal::User,
            server_audiences: &servers,
            now: UnixSeconds::new(1000),
        };
        let mut outcomes = [0, 0];
        for (a, details, b, path) in
            [(r#""a":1,"#, r#"[{"type":"t"}]"#, "2", "/x"), ("", "[]", "1", "/y")]
                .into_iter()
                .flat_map(|one| {
                    [(one.0, one.1), ("", one.1), (one.0, "[]")]
                        .map(|two| (two.0, two.1, one.2, one.3))
                })
                .flat_map(|one| ["2", "1", "\"2\""].map(|b| (one.0, one.1, b, one.3)))
        {
            let token = Arc::new(token(
                "",
                &format!(r#"{{{a}"b":{b},"authorization_details":{details}}}"#),
            ));
            let facts = RequestFacts { method: "GET", path: path.into(), host: "a".into() };
            let of = findings(&requirement, &token, circumstances, Some(facts.clone()));
            let is_met = of.iter().all(|finding| finding.is_met);
            let decided = decide(&requirement, token, circumstances, || Some(facts.clone()));
            assert_eq!(is_met, decided.is_ok(), "{a} {details} {b} {path}");
            assert_eq!(of.len(), 4);
            outcomes[usize::from(is_met)] += 1;
        }
        assert!(outcomes.iter().all(|count| 0 < *count), "{outcomes:?}");
    }

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
                        rules: None,
                    };
                    for (held, said) in scopes.iter().flat_map(|held| {
                        [r#"{"department":"it","acr":"hwk","auth_time":980}"#, "{}"]
                            .map(|said| (held, said))
                    }) {
                        let token = Arc::new(token(held, said));
                        let servers = [Audience::new("https://api.test")];
                        let circumstances = Circumstances {
                            principal: Principal::User,
                            server_audiences: &servers,
                            now,
                        };
                        let of = findings(&requirement, &token, circumstances, None);
                        let is_met = of.iter().all(|finding| finding.is_met);
                        let decided = decide(&requirement, token, circumstances, || None);
                        assert_eq!(is_met, decided.is_ok(), "{requirement:?} {held} {said}");
                        outcomes[usize::from(is_met)] += 1;
                    }
                }
            }
        }
        assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
    }
}
