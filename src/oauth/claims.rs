//! Claims as JSON, read strictly: no member twice, and a wrong type is never "absent".

use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value};

use super::{Audience, Scope, ScopeSet, members};
use crate::base::time::UnixSeconds;

/// A JSON object without repeated members: a token's header or claims, an introspection answer,
/// a token answer, server metadata.
///
/// A list in the order of the text and not a map: a token has a dozen members, and names of
/// another length are passed over by one comparison of numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Claims(Vec<(String, Value)>);

/// Why a text is not a JSON object that we accept, or a claim is not what its RFC says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimError {
    /// Not UTF-8, not JSON, not an object, a member twice, nested too deeply, or a number out of
    /// range.
    NotAnObject,
    /// The member of this name has another type than its RFC says.
    WrongType(&'static str),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => formatter.write_str("not a JSON object with distinct members"),
            Self::WrongType(name) => write!(formatter, "member {name} has the wrong type"),
        }
    }
}

impl std::error::Error for ClaimError {}

impl Claims {
    /// Reads a JSON object. A member that stands twice, at any depth, is an error: two readers
    /// could take different ones (RFC 7519 §4). Nesting is bounded by serde_json at 128.
    ///
    /// # Errors
    /// [`ClaimError::NotAnObject`].
    pub fn parse(json: &[u8]) -> Result<Self, ClaimError> {
        members::read(json).map(Self).ok_or(ClaimError::NotAnObject)
    }

    /// The member of that name, whatever its type.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Only the members named, as a cached verdict keeps them.
    pub fn only(&self, names: &[Box<str>]) -> KeptClaims {
        let kept = names.iter().filter_map(|name| Some((name.clone(), self.value(name)?.clone())));
        KeptClaims::new(kept.collect())
    }

    /// A member that must be a string where it is present.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`], also for `null`.
    pub fn string(&self, name: &'static str) -> Result<Option<&str>, ClaimError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimError::WrongType(name)),
        }
    }

    /// A member that is an object; `None` for an absent one, and for any other type.
    pub fn object(&self, name: &str) -> Option<Self> {
        // Its own members are distinct too: they were read with the whole.
        let members = self.value(name)?.as_object()?.clone();
        Some(Self(members.into_iter().collect()))
    }

    /// A NumericDate (RFC 7519 §2): a number, fraction and exponent allowed; the fraction is
    /// dropped, and a date beyond `i64` is the last one there is.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`]: a date as a string is malformed, not absent.
    pub fn numeric_date(&self, name: &'static str) -> Result<Option<UnixSeconds>, ClaimError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(whole_seconds(number))),
            Some(_) => Err(ClaimError::WrongType(name)),
        }
    }

    /// The audiences in the member of that name: a string or an array of strings
    /// (RFC 7519 §4.1.3). Absent and empty both give none. A list equal to `known` is `known`, and
    /// a text in it that is among `known` is shared with it.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`] for anything else, and for an array with something else in it.
    pub fn audiences(
        &self,
        name: &str,
        known: &Arc<[Audience]>,
    ) -> Result<Arc<[Audience]>, ClaimError> {
        let audience = |text: &str| {
            let same = known.iter().find(|one| one.as_str() == text);
            same.cloned().unwrap_or_else(|| Audience::new(text))
        };
        let wrong = ClaimError::WrongType("aud");
        let found: Vec<Audience> = match self.value(name) {
            None => Vec::new(),
            Some(Value::String(one)) => vec![audience(one)],
            Some(Value::Array(many)) => {
                let each = many.iter().map(|one| one.as_str().map(audience).ok_or(wrong));
                each.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong),
        };
        Ok(if *found == **known { Arc::clone(known) } else { found.into() })
    }

    /// The scopes: `scope`, and where that is absent `scp`; each a string (RFC 8693 §4.2) or, as
    /// seen in the wild, an array of strings. Never the union of both. `null` is none at all.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`] for any other type.
    pub fn scopes(&self) -> Result<ScopeSet, ClaimError> {
        let wrong = ClaimError::WrongType("scope");
        match self.value("scope").or_else(|| self.value("scp")) {
            None | Some(Value::Null) => Ok(ScopeSet::default()),
            Some(Value::String(text)) => Ok(ScopeSet::from_claim(text)),
            Some(Value::Array(many)) if many.iter().all(Value::is_string) => {
                Ok(many.iter().filter_map(|one| one.as_str()?.parse::<Scope>().ok()).collect())
            }
            Some(_) => Err(wrong),
        }
    }
}

/// Those claims of a token that some route asks for, as its verdict keeps them: few, mostly none,
/// and a million times over. None take 8 bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeptClaims(
    /// Sorted by name. Boxed twice, since the length is not worth 8 bytes where there is none.
    #[expect(clippy::type_complexity, reason = "it stands here once")]
    Option<Box<Box<[(Box<str>, Value)]>>>,
);

impl KeptClaims {
    /// Names that stand twice are one to [`value`](Self::value).
    fn new(mut members: Vec<(Box<str>, Value)>) -> Self {
        if members.is_empty() {
            return Self(None);
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|(a, _), (b, _)| a == b);
        Self(Some(Box::new(members.into())))
    }

    /// The claim of that name, whatever its type.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let members = self.0.as_deref()?;
        let at = members.binary_search_by(|(member, _)| (**member).cmp(name)).ok()?;
        members.get(at).map(|(_, value)| value)
    }

    /// A NumericDate (RFC 7519 §2), the fraction dropped; `None` where there is none, or another
    /// type.
    pub fn numeric_date(&self, name: &str) -> Option<UnixSeconds> {
        match self.value(name)? {
            Value::Number(number) => Some(whole_seconds(number)),
            _ => None,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |members| members.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Claims> for KeptClaims {
    /// All of them.
    fn from(claims: Claims) -> Self {
        Self::new(claims.0.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

fn whole_seconds(number: &Number) -> UnixSeconds {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
    let fraction_dropped = |float: f64| float.floor() as i64;
    UnixSeconds::new(
        number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| number.as_f64().map(fraction_dropped))
            .unwrap_or(i64::MIN),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn rfc7519_4_a_member_twice_is_refused_at_any_depth() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"\u0061":2}]}"#,
            "[]",
            "\"text\"",
            "",
            "{}x",
            r#"{"exp":1e999}"#,
        ] {
            assert_eq!(Claims::parse(json.as_bytes()), Err(ClaimError::NotAnObject), "{json}");
        }
        assert_eq!(Claims::parse(b"{\"a\":\"\xff\"}"), Err(ClaimError::NotAnObject));
        for (count, last) in [(2, 0), (24, 0), (25, 0), (25, 24), (1000, 999)] {
            let each = |names: &[usize]| {
                let members = names.iter().map(|name| format!("\"{name}\":1"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            };
            let distinct: Vec<usize> = (0..count).collect();
            assert_eq!(claims(&each(&distinct)).len(), count);
            let repeated = each(&[distinct.as_slice(), &[last]].concat());
            let found = Claims::parse(repeated.as_bytes());
            assert_eq!(found, Err(ClaimError::NotAnObject), "{count} and {last} again");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(Claims::parse(deep.as_bytes()), Err(ClaimError::NotAnObject));
    }

    #[test]
    fn rfc7519_2_a_numeric_date_is_a_number_and_nothing_else() {
        let date =
            |json: &str| claims(json).numeric_date("exp").map(|date| date.map(|at| at.get()));
        #[rustfmt::skip]
        let cases = [
            (r#"{}"#,                        Ok(None)),
            (r#"{"exp":1700000000}"#,        Ok(Some(1_700_000_000))),
            (r#"{"exp":1700000000.5}"#,      Ok(Some(1_700_000_000))),
            (r#"{"exp":1.7e9}"#,             Ok(Some(1_700_000_000))),
            (r#"{"exp":-1}"#,                Ok(Some(-1))),
            (r#"{"exp":-0.5}"#,              Ok(Some(-1))),
            (r#"{"exp":1e300}"#,             Ok(Some(i64::MAX))),
            (r#"{"exp":18446744073709551615}"#, Ok(Some(i64::MAX))),
            (r#"{"exp":"1700000000"}"#,      Err(ClaimError::WrongType("exp"))),
            (r#"{"exp":null}"#,              Err(ClaimError::WrongType("exp"))),
            (r#"{"exp":true}"#,              Err(ClaimError::WrongType("exp"))),
            (r#"{"exp":[1]}"#,               Err(ClaimError::WrongType("exp"))),
            (r#"{"exp":{}}"#,                Err(ClaimError::WrongType("exp"))),
        ];
        for (json, expected) in cases {
            assert_eq!(date(json), expected, "{json}");
        }
    }

    #[test]
    fn rfc7519_4_1_3_an_audience_is_a_string_or_an_array_of_strings() {
        let audiences = |json: &str| {
            let found = claims(json).audiences("aud", &Arc::default())?;
            Ok(found.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>().join("|"))
        };
        let wrong = Err(ClaimError::WrongType("aud"));
        for (json, expected) in [
            (r#"{}"#, Ok("")),
            (r#"{"aud":[]}"#, Ok("")),
            (r#"{"aud":"a"}"#, Ok("a")),
            (r#"{"aud":["a","b"]}"#, Ok("a|b")),
            (r#"{"aud":[["a"]]}"#, wrong),
            (r#"{"aud":["a",1]}"#, wrong),
            (r#"{"aud":1}"#, wrong),
            (r#"{"aud":null}"#, wrong),
        ] {
            assert_eq!(audiences(json), expected.map(str::to_owned), "{json}");
        }
    }

    #[test]
    fn an_audience_that_is_known_is_not_copied() {
        let known: Arc<[Audience]> = ["a", "b"].map(Audience::new).into();
        let same = claims(r#"{"aud":["a","b"]}"#).audiences("aud", &known).unwrap();
        assert!(Arc::ptr_eq(&same, &known));
        let found = claims(r#"{"aud":["x","b"]}"#).audiences("aud", &known).unwrap();
        assert_eq!(*found, ["x", "b"].map(Audience::new));
        assert_eq!(found[1].as_str().as_ptr(), known[1].as_str().as_ptr());
    }

    #[test]
    fn a_verdict_keeps_the_claims_that_are_named_and_finds_each() {
        let all = claims(r#"{"b":1,"a":"x","c":null,"d":[1]}"#);
        let names = ["c", "a", "absent", "d", "a"].map(Box::from);
        let kept = all.only(&names);
        assert_eq!(kept.len(), 3);
        for name in ["a", "c", "d"] {
            assert_eq!(kept.value(name), all.value(name), "{name}");
        }
        for name in ["b", "absent", ""] {
            assert_eq!(kept.value(name), None, "{name}");
        }
        assert!(all.only(&[]).is_empty() && KeptClaims::default().value("a").is_none());
        assert_eq!(size_of::<KeptClaims>(), 8);
    }

    #[test]
    fn scope_and_scp_strings_and_lists_give_one_set() {
        let wrong = Err(ClaimError::WrongType("scope"));
        for (json, expected) in [
            (r#"{}"#, Ok("")),
            (r#"{"scope":null}"#, Ok("")),
            (r#"{"scope":""}"#, Ok("")),
            (r#"{"scope":"b a a"}"#, Ok("a b")),
            (r#"{"scope":["b","a"]}"#, Ok("a b")),
            (r#"{"scp":"a b"}"#, Ok("a b")),
            (r#"{"scp":["a"]}"#, Ok("a")),
            (r#"{"scope":"a","scp":"b"}"#, Ok("a")),
            (r#"{"scope":["a b"]}"#, Ok("")),
            (r#"{"scope":["a",1]}"#, wrong),
            (r#"{"scope":1}"#, wrong),
            (r#"{"scope":{"a":1}}"#, wrong),
            (r#"{"scope":true}"#, wrong),
        ] {
            let scopes = claims(json).scopes().map(|scopes| scopes.to_string());
            assert_eq!(scopes, expected.map(str::to_owned), "{json}");
        }
    }
}
