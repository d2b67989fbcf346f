//! Rules about `authorization_details` (RFC 9396): what a token's own objects must say, and what a
//! client of the gateway's own asks for.
//!
//! # What holds
//! * Each object stands alone (§2.2): two of them never meet a rule together.
//! * Strings are equal code point by code point, without any normalisation (§12).
//! * What is no array of objects with a `type` each grants nothing, not even by those of its objects
//!   that would be right: whoever wrote it may have meant something else by them too.

use std::fmt;

use serde_json::{Map, Value};

use crate::oauth::VerifiedToken;

/// One object that `authorization_details` must have, with at least this in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DetailRequirement {
    /// `type`.
    pub kind: Box<str>,
    /// `identifier`; `None`: whatever it is.
    pub identifier: Option<Box<str>>,
    /// All of these, in each of the lists named: see [`LISTS`].
    pub lists: Vec<(&'static str, Box<[Box<str>]>)>,
}

/// The lists of texts that any object may have (RFC 9396 §2.2).
pub const LISTS: [&str; 4] = ["locations", "actions", "datatypes", "privileges"];

impl DetailRequirement {
    /// Whether one of the token's objects has all of it.
    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        self.is_granted_by(token.claims.value(AUTHORIZATION_DETAILS))
    }

    /// Whether one of these objects has all of it; `None`: there is no such member.
    pub fn is_granted_by(&self, details: Option<&Value>) -> bool {
        let Some(Value::Array(objects)) = details else { return false };
        let is_typed = |object: &Value| object.get("type").is_some_and(Value::is_string);
        objects.iter().all(is_typed)
            && objects.iter().filter_map(Value::as_object).any(|object| self.is_in(object))
    }

    /// The object that asks for it (RFC 9396 §2).
    fn to_object(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), (*self.kind).into());
        if let Some(identifier) = &self.identifier {
            object.insert("identifier".to_owned(), (**identifier).into());
        }
        for (name, texts) in &self.lists {
            object.insert((*name).to_owned(), texts.iter().map(|text| &**text).collect());
        }
        Value::Object(object)
    }

    fn is_in(&self, object: &Map<String, Value>) -> bool {
        let says = |name: &str, text: &str| object.get(name).is_some_and(|value| value == text);
        let identifier = self.identifier.as_deref();
        says("type", &self.kind)
            && identifier.is_none_or(|identifier| says("identifier", identifier))
            && self.lists.iter().all(|(name, asked)| has_all(object.get(*name), asked))
    }
}

/// The parameter that asks for all of these (RFC 9396 §6): a JSON array.
pub fn parameter(asked: &[DetailRequirement]) -> String {
    asked.iter().map(DetailRequirement::to_object).collect::<Value>().to_string()
}

/// The types of those that `granted` does not have, each once, in the order asked for.
///
/// `granted` is the member of a token answer (RFC 9396 §7). The server must say there what it
/// granted: its silence grants nothing.
pub fn missing_types(asked: &[DetailRequirement], granted: Option<&Value>) -> Box<[Box<str>]> {
    let mut types: Vec<Box<str>> = Vec::new();
    for one in asked.iter().filter(|one| !one.is_granted_by(granted)) {
        if !types.contains(&one.kind) {
            types.push(one.kind.clone());
        }
    }
    types.into_boxed_slice()
}

/// A list that is not there, or that has something else than texts in it, has none of them.
fn has_all(list: Option<&Value>, asked: &[Box<str>]) -> bool {
    let Some(Value::Array(items)) = list else { return false };
    items.iter().all(Value::is_string)
        && asked.iter().all(|one| items.iter().any(|item| *item == **one))
}

impl fmt::Display for DetailRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "type {:?}", self.kind)?;
        if let Some(identifier) = &self.identifier {
            write!(formatter, ", identifier {identifier:?}")?;
        }
        for (name, texts) in &self.lists {
            let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
            write!(formatter, ", {name} {}", texts.join(" "))?;
        }
        Ok(())
    }
}

/// The claim, in a JWT (RFC 9396 §9.1) and in an introspection answer (§9.2).
pub const AUTHORIZATION_DETAILS: &str = "authorization_details";

/// How many objects one route, or one client of the gateway's own, may ask for.
pub const DETAILS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::token;
    use super::*;

    fn rule(kind: &str, identifier: &str, lists: &[(&'static str, &[&str])]) -> DetailRequirement {
        let list = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
        DetailRequirement {
            kind: kind.into(),
            identifier: (!identifier.is_empty()).then(|| identifier.into()),
            lists: lists.iter().map(|(name, texts)| (*name, list(texts))).collect(),
        }
    }

    fn is_met(rule: &DetailRequirement, details: Value) -> bool {
        let claims = json!({ "authorization_details": details });
        rule.is_met_by(&token("", &claims.to_string()))
    }

    #[test]
    fn rfc9396_2_the_examples_of_the_rfc() {
        // The objects of the examples in RFC 9396 §2.
        let payment = json!({
            "type": "payment_initiation",
            "locations": ["https://example.com/payments"],
            "instructedAmount": { "currency": "EUR", "amount": "123.50" },
            "creditorName": "Merchant A",
            "creditorAccount": { "bic": "ABCIDEFFXXX", "iban": "DE02100100109307118603" },
            "remittanceInformationUnstructured": "Ref Number Merchant",
        });
        let accounts = json!({
            "type": "account_information",
            "actions": ["list_accounts", "read_balances", "read_transactions"],
            "locations": ["https://example.com/accounts"],
        });
        let both = json!([accounts, payment]);
        #[rustfmt::skip]
        let cases = [
            ("the type alone",    rule("payment_initiation", "", &[]), true),
            ("another type",      rule("payment", "", &[]), false),
            ("two actions",       rule("account_information", "", &[("actions", &["read_balances", "list_accounts"])]), true),
            ("one too many",      rule("account_information", "", &[("actions", &["list_accounts", "delete"])]), false),
            ("its location",      rule("payment_initiation", "", &[("locations", &["https://example.com/payments"])]), true),
            ("the other's",       rule("payment_initiation", "", &[("locations", &["https://example.com/accounts"])]), false),
            ("the other's action", rule("payment_initiation", "", &[("actions", &["list_accounts"])]), false),
        ];
        for (claim, rule, expected) in cases {
            assert_eq!(is_met(&rule, both.clone()), expected, "{claim}");
        }
    }

    #[test]
    fn rfc9396_6_what_is_asked_for_is_sent_as_json() {
        let asked = [
            rule("account_information", "", &[("actions", &["list_accounts", "read_balances"])]),
            rule("t", "i", &[("locations", &["https://example.com/\"accounts\""])]),
        ];
        let sent: Value = serde_json::from_str(&parameter(&asked)).unwrap();
        let expected = json!([
            { "type": "account_information", "actions": ["list_accounts", "read_balances"] },
            { "type": "t", "identifier": "i", "locations": ["https://example.com/\"accounts\""] },
        ]);
        assert_eq!(sent, expected);
        assert!(missing_types(&asked, Some(&sent)).is_empty(), "as asked");
    }

    #[test]
    fn rfc9396_7_what_the_token_answer_does_not_have_is_missing() {
        // The object of the token answer in RFC 9396 §7.
        let payment = json!({
            "type": "payment_initiation",
            "actions": ["initiate", "status", "cancel"],
            "locations": ["https://example.com/payments"],
            "instructedAmount": { "currency": "EUR", "amount": "123.50" },
            "creditorName": "Merchant A",
            "creditorAccount": { "iban": "DE02100100109307118603" },
            "remittanceInformationUnstructured": "Ref Number Merchant",
        });
        // RFC 9396 §7.1: the server may say more in an object than was asked for.
        let enriched = json!({
            "type": "account_information",
            "access": {
                "accounts": [{ "iban": "DE2310010010123456789" }, { "maskedPan": "123456xxxxxx1234" }],
                "balances": [{ "iban": "DE2310010010123456789" }],
            },
            "recurringIndicator": true,
        });
        let pay = |actions| rule("payment_initiation", "", &[("actions", actions)]);
        let asked = [pay(&["status"]), rule("account_information", "", &[]), pay(&["initiate"])];
        let less = json!({ "type": "payment_initiation", "actions": ["status"] });
        let both: &[&str] = &["payment_initiation", "account_information"];
        #[rustfmt::skip]
        let cases: [(&str, Option<Value>, &[&str]); 8] = [
            ("all of it",             Some(json!([enriched, payment])),           &[]),
            ("fewer objects",         Some(json!([payment])),                     &["account_information"]),
            ("less in an object",     Some(json!([enriched, less])),              &["payment_initiation"]),
            ("nothing",               Some(json!([])),                            both),
            ("no word of it",         None,                                       both),
            ("null",                  Some(Value::Null),                          both),
            ("no array",              Some(payment.clone()),                      both),
            ("an object without type", Some(json!([enriched, payment, {}])),      both),
        ];
        for (claim, granted, expected) in cases {
            let missing = missing_types(&asked, granted.as_ref());
            let missing: Vec<&str> = missing.iter().map(|kind| &**kind).collect();
            assert_eq!(missing, expected, "{claim}");
        }
    }

    #[test]
    fn rfc9396_2_2_each_object_stands_alone() {
        let rule = rule("t", "", &[("actions", &["a"]), ("locations", &["l"])]);
        let apart = json!([{ "type": "t", "actions": ["a"] }, { "type": "t", "locations": ["l"] }]);
        assert!(!is_met(&rule, apart));
        let together =
            json!([{ "type": "t" }, { "type": "t", "locations": ["l"], "actions": ["a"] }]);
        assert!(is_met(&rule, together));
    }

    #[test]
    fn rfc9396_12_texts_are_equal_without_any_normalisation() {
        let object = json!([{ "type": "T\u{e9}", "identifier": "I", "actions": ["read"] }]);
        #[rustfmt::skip]
        let cases = [
            (rule("T\u{e9}", "I", &[("actions", &["read"])]), true),
            (rule("Te\u{301}", "", &[]), false),
            (rule("t\u{e9}", "", &[]), false),
            (rule("T\u{e9} ", "", &[]), false),
            (rule("T\u{e9}", "i", &[]), false),
            (rule("T\u{e9}", "", &[("actions", &["Read"])]), false),
            (rule("T\u{e9}", "", &[("actions", &["rea"])]), false),
            (rule("T\u{e9}", "", &[("datatypes", &["read"])]), false),
        ];
        for (rule, expected) in cases {
            assert_eq!(is_met(&rule, object.clone()), expected, "{rule}");
        }
    }

    #[test]
    fn rfc9396_9_1_what_is_no_array_of_typed_objects_grants_nothing() {
        let good = json!({ "type": "t", "actions": ["a"] });
        let rule = rule("t", "", &[("actions", &["a"])]);
        for details in [
            json!(null),
            json!("t"),
            json!([]),
            good.clone(),
            json!([[good]]),
            json!(["t", good]),
            json!([good, {}]),
            json!([good, { "type": 1 }]),
            json!([good, null]),
            json!([good.to_string()]),
            json!([{ "type": ["t"], "actions": ["a"] }]),
            json!([{ "type": "t", "actions": "a" }]),
            json!([{ "type": "t", "actions": ["a", 1] }]),
            json!([{ "type": "t", "actions": { "a": true } }]),
            json!([{ "type": "t" }]),
        ] {
            assert!(!is_met(&rule, details.clone()), "{details}");
        }
        assert!(is_met(&rule, json!([good])));
        assert!(!rule.is_met_by(&token("", "{}")), "none at all");
    }
}
