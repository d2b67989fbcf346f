//! Conditions on claims by JSON pointer (RFC 6901), joined with `all`, `any` and `not`.
//!
//! # What holds
//! * A condition that cannot be told (the claim is not there, or has a type that cannot be compared)
//!   is neither met nor unmet: whatever `all`, `any` and `not` make of it, it lets nobody in.
//!   So `not` asks for a value that is there and is another one. Why not "what is absent is not
//!   there": issuers leave a claim out when it grows too large (Entra ID does so with `groups`), and
//!   `not` would then let in whom it was written against. Who means absence says `present = false`.
//! * Nesting and number are bounded where a configuration is read: [`DEPTH_MAX`], [`COUNT_MAX`].

use std::fmt;

use serde_json::Value;

use super::pointer::{Found, Pointer};
use super::requirement::{is_scalar, takes};
use crate::oauth::VerifiedToken;

/// One condition, or several joined.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// `{ pointer = "/a/b", has = ["x"] }`: one of these values stands there, or in the array there.
    Has(Pointer, Box<[Value]>),
    /// `{ pointer = "/a/b", present = true }`: whether there is a value at all.
    Present(Pointer, bool),
    /// Each of these.
    All(Box<[Condition]>),
    /// At least one of these.
    Any(Box<[Condition]>),
    /// None of these.
    Not(Box<[Condition]>),
}

/// What a condition comes to. Not a `bool`, since `not` must not make a yes of "cannot be told".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown,
}

impl Condition {
    /// Whether the token meets it, for sure.
    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        self.truth(token) == Truth::Yes
    }

    /// What it comes to, by the logic of three values (Kleene's).
    pub(super) fn truth(&self, token: &VerifiedToken) -> Truth {
        match self {
            Self::Has(pointer, any_of) => match pointer.find(token) {
                Found::Value(value) => holds(value, any_of),
                Found::Text(text) => Truth::of(takes_text(any_of, text)),
                Found::Scopes => {
                    let mut held = token.scopes().iter();
                    Truth::of(held.any(|scope| takes_text(any_of, scope.as_str())))
                }
                Found::Nothing | Found::Unreadable => Truth::Unknown,
            },
            Self::Present(pointer, wanted) => match pointer.find(token) {
                Found::Value(Value::Null) | Found::Unreadable => Truth::Unknown,
                Found::Value(_) | Found::Text(_) | Found::Scopes => Truth::of(*wanted),
                Found::Nothing => Truth::of(!wanted),
            },
            Self::All(inner) => all(inner, token),
            Self::Any(inner) => any(inner, token),
            Self::Not(inner) => any(inner, token).not(),
        }
    }

    /// The claims that a verdict must remember for it.
    pub(super) fn claim_names(&self) -> Vec<&str> {
        match self {
            Self::Has(pointer, _) | Self::Present(pointer, _) => vec![pointer.claim()],
            Self::All(inner) | Self::Any(inner) | Self::Not(inner) => {
                inner.iter().flat_map(Self::claim_names).collect()
            }
        }
    }
}

/// Every inner condition is looked at until one decides; those that cannot be told decide nothing.
fn any(conditions: &[Condition], token: &VerifiedToken) -> Truth {
    let mut outcome = Truth::No;
    for condition in conditions {
        match condition.truth(token) {
            Truth::Yes => return Truth::Yes,
            Truth::Unknown => outcome = Truth::Unknown,
            Truth::No => {}
        }
    }
    outcome
}

fn all(conditions: &[Condition], token: &VerifiedToken) -> Truth {
    let mut outcome = Truth::Yes;
    for condition in conditions {
        match condition.truth(token) {
            Truth::No => return Truth::No,
            Truth::Unknown => outcome = Truth::Unknown,
            Truth::Yes => {}
        }
    }
    outcome
}

impl Truth {
    const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    const fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// As [`ClaimRequirement`](super::ClaimRequirement) compares; and a no only where each value that
/// stands there is of a type that could have been a yes.
fn holds(value: &Value, any_of: &[Value]) -> Truth {
    if takes(any_of, value) {
        return Truth::Yes;
    }
    let is_comparable = |value: &Value| any_of.iter().any(|one| is_same_type(one, value));
    match value {
        Value::Array(items) if items.iter().all(is_comparable) => Truth::No,
        scalar if is_scalar(scalar) && is_comparable(scalar) => Truth::No,
        _ => Truth::Unknown,
    }
}

/// Whole numbers and others are two types: 1 and 1.0 differ, but nobody would call them unequal.
fn is_same_type(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => true,
        (Value::Number(one), Value::Number(other)) => one.is_f64() == other.is_f64(),
        _ => false,
    }
}

fn takes_text(any_of: &[Value], text: &str) -> bool {
    any_of.iter().any(|value| value.as_str() == Some(text))
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |formatter: &mut fmt::Formatter<'_>, word: &str, inner: &[Self]| {
            let each: Vec<String> = inner.iter().map(ToString::to_string).collect();
            write!(formatter, "{word} ({})", each.join("; "))
        };
        match self {
            Self::Has(pointer, any_of) => {
                let values: Vec<String> = any_of.iter().map(ToString::to_string).collect();
                write!(formatter, "{pointer} has one of {}", values.join(", "))
            }
            Self::Present(pointer, true) => write!(formatter, "{pointer} is there"),
            Self::Present(pointer, false) => write!(formatter, "{pointer} is not there"),
            Self::All(inner) => joined(formatter, "all of", inner),
            Self::Any(inner) => joined(formatter, "one of", inner),
            Self::Not(inner) => joined(formatter, "none of", inner),
        }
    }
}

/// How deep conditions may be nested in each other.
pub const DEPTH_MAX: usize = 8;

/// How many conditions one route may have, those that join others included.
pub const COUNT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::token;
    use super::*;
    use crate::oauth::TokenKind;
    use Truth::{No, Unknown, Yes};

    fn has(pointer: &str, any_of: Value) -> Condition {
        let Value::Array(any_of) = any_of else { panic!("a list of values") };
        Condition::Has(pointer.parse().unwrap(), any_of.into())
    }

    fn present(pointer: &str, wanted: bool) -> Condition {
        Condition::Present(pointer.parse().unwrap(), wanted)
    }

    fn truth(condition: &Condition, claims: &Value) -> Truth {
        condition.truth(&token("read write", &claims.to_string()))
    }

    #[test]
    fn rfc6901_5_the_examples_of_the_rfc() {
        // The document of the RFC, less the member "" at its top, which no pointer but "/" names.
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5,
            "k\"l": 6, " ": 7, "m~n": 8,
        });
        for (pointer, value) in [
            ("/foo/0", json!("bar")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/c%d", json!(2)),
            ("/e^f", json!(3)),
            ("/g|h", json!(4)),
            ("/i\\j", json!(5)),
            ("/k\"l", json!(6)),
            ("/ ", json!(7)),
            ("/m~0n", json!(8)),
        ] {
            assert_eq!(truth(&has(pointer, json!([value])), &document), Yes, "{pointer}");
            let shown: Pointer = pointer.parse().unwrap();
            assert_eq!(shown.to_string(), pointer);
        }
        assert_eq!(truth(&has("/foo", json!(["baz"])), &document), Yes);
    }

    #[test]
    fn a_value_is_found_compared_or_cannot_be_told() {
        let claims = |value: &Value| json!({ "realm_access": { "roles": value } });
        #[rustfmt::skip]
        let cases = [
            // has                value of the token           truth
            (json!(["admin"]),    json!(["admin", "x"]),       Yes),
            (json!(["admin"]),    json!("admin"),              Yes),
            (json!(["a", "b"]),   json!(["b"]),                Yes),
            (json!(["admin"]),    json!(["admin", 1]),         Yes),
            (json!([true]),       json!(true),                 Yes),
            (json!([7]),          json!([7]),                  Yes),
            (json!(["admin"]),    json!(["x"]),                No),
            (json!(["admin"]),    json!([]),                   No),
            (json!(["admin"]),    json!("Admin"),              No),
            (json!(["admin"]),    json!("superadmin"),         No),
            (json!([true]),       json!(false),                No),
            (json!([7]),          json!(8),                    No),
            (json!(["admin"]),    json!(["x", 1]),             Unknown),
            (json!(["admin"]),    json!([["admin"]]),          Unknown),
            (json!(["admin"]),    json!(["admin", {}]),        Unknown),
            (json!(["admin"]),    json!({ "admin": true }),    Unknown),
            (json!(["admin"]),    json!(null),                 Unknown),
            (json!([true]),       json!("true"),               Unknown),
            (json!([true]),       json!(1),                    Unknown),
            (json!([7]),          json!("7"),                  Unknown),
            (json!([7]),          json!(7.0),                  Unknown),
        ];
        for (any_of, value, expected) in cases {
            let condition = has("/realm_access/roles", any_of.clone());
            assert_eq!(truth(&condition, &claims(&value)), expected, "{any_of} {value}");
            let not = Condition::Not([condition].into());
            let opposite = expected.not();
            assert_eq!(truth(&not, &claims(&value)), opposite, "not {any_of} {value}");
        }
    }

    #[test]
    fn what_is_not_there_meets_neither_a_condition_nor_its_opposite() {
        let condition = has("/realm_access/roles", json!(["admin"]));
        let not = Condition::Not([condition.clone()].into());
        for claims in [
            json!({}),
            json!({ "realm_access": {} }),
            json!({ "realm_access": [] }),
            json!({ "realm_access": "roles" }),
            json!({ "realm_access": null }),
            json!({ "realm_access/roles": ["x"] }),
        ] {
            assert_eq!(truth(&condition, &claims), Unknown, "{claims}");
            assert_eq!(truth(&not, &claims), Unknown, "{claims}");
        }
    }

    #[test]
    fn that_a_value_is_there_can_be_asked_and_its_absence_too() {
        #[rustfmt::skip]
        let cases = [
            (json!({}),                         No),
            (json!({ "a": {} }),                No),
            (json!({ "a": [1] }),               Unknown),
            (json!({ "a": "x" }),               Unknown),
            (json!({ "a": { "b": null } }),     Unknown),
            (json!({ "a": { "b": false } }),    Yes),
            (json!({ "a": { "b": {} } }),       Yes),
        ];
        for (claims, there) in cases {
            assert_eq!(truth(&present("/a/b", true), &claims), there, "{claims}");
            assert_eq!(truth(&present("/a/b", false), &claims), there.not(), "{claims}");
        }
        for pointer in ["/a/1", "/a/5"] {
            assert_eq!(truth(&present(pointer, true), &json!({ "a": [0] })), No);
        }
        for pointer in ["/a/01", "/a/-", "/a/+1", "/a/"] {
            assert_eq!(truth(&present(pointer, true), &json!({ "a": [0, 1] })), Unknown);
        }
    }

    #[test]
    fn all_any_and_not_join_three_values() {
        let yes = || has("/t", json!([true]));
        let no = || has("/t", json!([false]));
        let unknown = || has("/absent", json!([true]));
        let joined = |join: fn(Box<[Condition]>) -> Condition, inner: &[Condition]| {
            truth(&join(inner.into()), &json!({ "t": true }))
        };
        #[rustfmt::skip]
        let cases = [
            // conditions              all      any      not
            (vec![yes()],              Yes,     Yes,     No),
            (vec![no()],               No,      No,      Yes),
            (vec![unknown()],          Unknown, Unknown, Unknown),
            (vec![yes(), no()],        No,      Yes,     No),
            (vec![yes(), unknown()],   Unknown, Yes,     No),
            (vec![unknown(), no()],    No,      Unknown, Unknown),
            (vec![no(), unknown()],    No,      Unknown, Unknown),
            (vec![yes(), yes()],       Yes,     Yes,     No),
            (vec![no(), no()],         No,      No,      Yes),
        ];
        for (inner, all, any, not) in cases {
            assert_eq!(joined(Condition::All, &inner), all, "all {inner:?}");
            assert_eq!(joined(Condition::Any, &inner), any, "any {inner:?}");
            assert_eq!(joined(Condition::Not, &inner), not, "not {inner:?}");
        }
        let twice = Condition::Not([Condition::Not([unknown()].into())].into());
        assert!(!twice.is_met_by(&token("", "{}")), "two opposites tell nothing either");
    }

    #[test]
    fn claims_with_fields_of_their_own_are_looked_up_there() {
        let said = json!({ "sub": "mallory", "scope": "x", "iss": "x", "client_id": "x" });
        for (pointer, value, expected) in [
            ("/sub", "alice", Yes),
            ("/sub", "mallory", No),
            ("/iss", "https://as.test", Yes),
            ("/client_id", "reports", Yes),
            ("/scope", "write", Yes),
            ("/scope", "read write", No),
        ] {
            assert_eq!(truth(&has(pointer, json!([value])), &said), expected, "{pointer} {value}");
        }
    }

    #[test]
    fn of_a_token_that_only_its_token_answer_describes_no_claim_is_known() {
        let mut issued = token("", "{}");
        issued.kind = TokenKind::Issued;
        for condition in [present("/a", false), present("/a", true), has("/a", json!(["x"]))] {
            assert_eq!(condition.truth(&issued), Unknown, "{condition}");
        }
        assert_eq!(has("/client_id", json!(["reports"])).truth(&issued), Yes);
        // That its answer named no scopes says nothing.
        let readonly = Condition::Not([has("/scope", json!(["readonly"]))].into());
        assert_eq!(readonly.truth(&issued), Unknown);
    }

    #[test]
    fn a_token_without_scopes_has_no_scope() {
        let bare = token("", "{}");
        assert_eq!(present("/scope", true).truth(&bare), No);
        assert_eq!(present("/scope", true).truth(&token("read", "{}")), Yes);
        assert_eq!(has("/scope", json!(["read"])).truth(&bare), Unknown);
    }

    #[test]
    fn it_is_told_in_words() {
        let condition = Condition::Any(
            [
                has("/a~1b", json!(["x", 1])),
                Condition::Not([present("/c", true)].into()),
                present("/c", false),
            ]
            .into(),
        );
        let told = "one of (/a~1b has one of \"x\", 1; none of (/c is there); /c is not there)";
        assert_eq!(condition.to_string(), told);
        assert_eq!(condition.claim_names(), ["a/b", "c", "c"]);
    }
}
