//! Scopes and sets of them (RFC 6749 §3.3).

use std::fmt;
use std::str::FromStr;

/// One scope (RFC 6749 §3.3): printable ASCII without space, `"` and `\`; at most 256 bytes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope as it is written in a token. Case counts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidScope {
    /// Empty, or over the limit; the length in bytes.
    Length(usize),
    /// The byte at this offset is not allowed.
    Byte {
        /// Offset in bytes.
        at: usize,
    },
}

impl fmt::Display for InvalidScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(0) => formatter.write_str("a scope cannot be empty (RFC 6749 §3.3)"),
            Self::Length(length) => {
                write!(formatter, "a scope has at most {SCOPE_MAX_BYTES} bytes, this has {length}")
            }
            Self::Byte { at } => write!(
                formatter,
                "character {} is not allowed in a scope (RFC 6749 §3.3): no space, no \" and \\, \
                 only printable ASCII; write two scopes as two strings",
                at + 1
            ),
        }
    }
}

impl std::error::Error for InvalidScope {}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        check(text).map(|()| Self(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A scope of a set, where it lies there.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ScopeRef<'a>(&'a str);

impl<'a> ScopeRef<'a> {
    /// As [`Scope::as_str`].
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> From<&'a Scope> for ScopeRef<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self(&scope.0)
    }
}

impl fmt::Display for ScopeRef<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// Scopes, sorted and without repeats: equality is set equality, and
/// [`first_missing`](Self::first_missing) is one merge walk without allocation.
///
/// They are kept as RFC 6749 §3.3 writes them, with one blank between two: a million cached
/// verdicts have one text each and not one for each scope.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ScopeSet(Box<str>);

impl ScopeSet {
    /// Reads a token's space-separated `scope`. Kind in reading and strict in granting: empty
    /// pieces are dropped, and a piece outside the grammar grants nothing.
    pub fn from_claim(text: &str) -> Self {
        // Most servers write a set as it is kept: each scope once and in order.
        let mut last = "";
        let is_set = text
            .split(' ')
            .all(|piece| std::mem::replace(&mut last, piece) < piece && check(piece).is_ok());
        if is_set {
            return Self(text.into());
        }
        text.split(' ').filter(|piece| check(piece).is_ok()).map(ScopeRef).collect()
    }

    /// Whether there is no scope in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes are in it. Counts them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The scopes in ascending order.
    pub fn iter(&self) -> Scopes<'_> {
        Scopes(&self.0)
    }

    /// As it is written in a token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `scope` is in it.
    pub fn contains<'s>(&self, scope: impl Into<ScopeRef<'s>>) -> bool {
        HeldScopes::from(self).contains(scope)
    }

    /// The first scope of this set that `held` lacks: `None` if `held` covers all of it.
    pub fn first_missing<'h>(&self, held: impl Into<HeldScopes<'h>>) -> Option<ScopeRef<'_>> {
        self.missing(held.into()).next()
    }

    /// All scopes of this set that `held` lacks.
    pub fn missing_from<'h>(&self, held: impl Into<HeldScopes<'h>>) -> Self {
        self.missing(held.into()).collect()
    }

    fn missing<'s, 'h>(
        &'s self,
        held: HeldScopes<'h>,
    ) -> impl Iterator<Item = ScopeRef<'s>> + use<'s, 'h> {
        let mut held = held.iter().map(ScopeRef::as_str).peekable();
        self.iter().filter(move |wanted| {
            while held.next_if(|scope| *scope < wanted.as_str()).is_some() {}
            held.next_if(|scope| *scope == wanted.as_str()).is_none()
        })
    }
}

impl<'a> FromIterator<ScopeRef<'a>> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = ScopeRef<'a>>>(scopes: I) -> Self {
        let mut scopes: Vec<&str> = scopes.into_iter().map(ScopeRef::as_str).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes.join(" ").into())
    }
}

impl<'a> FromIterator<&'a Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = &'a Scope>>(scopes: I) -> Self {
        scopes.into_iter().map(ScopeRef::from).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Vec::from_iter(scopes).iter().collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The scopes that a token holds, where they lie in its verdict: a [`ScopeSet`] that is not by
/// itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldScopes<'a>(&'a str);

impl<'a> HeldScopes<'a> {
    /// Takes the text of a set for what it is.
    pub(super) const fn of_set(text: &'a str) -> Self {
        Self(text)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in ascending order.
    pub const fn iter(self) -> Scopes<'a> {
        Scopes(self.0)
    }

    /// Whether `scope` is among them. Looks at one after the other: a token has few.
    pub fn contains<'s>(self, scope: impl Into<ScopeRef<'s>>) -> bool {
        let scope = scope.into();
        self.iter().any(|held| held == scope)
    }

    /// A set of its own.
    pub fn to_set(self) -> ScopeSet {
        ScopeSet(self.0.into())
    }
}

impl<'a> From<&'a ScopeSet> for HeldScopes<'a> {
    fn from(set: &'a ScopeSet) -> Self {
        Self(&set.0)
    }
}

impl fmt::Display for HeldScopes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// The scopes of a set in ascending order.
#[derive(Clone, Debug)]
pub struct Scopes<'a>(&'a str);

impl<'a> Iterator for Scopes<'a> {
    type Item = ScopeRef<'a>;

    fn next(&mut self) -> Option<ScopeRef<'a>> {
        if self.0.is_empty() {
            return None;
        }
        // Not `split_once`: for a few bytes the machinery of a pattern costs more than the search.
        let (scope, rest) = match self.0.bytes().position(|byte| byte == b' ') {
            Some(at) => (self.0.get(..at)?, self.0.get(at + 1..)?),
            None => (self.0, ""),
        };
        self.0 = rest;
        Some(ScopeRef(scope))
    }
}

fn check(text: &str) -> Result<(), InvalidScope> {
    if text.is_empty() || SCOPE_MAX_BYTES < text.len() {
        return Err(InvalidScope::Length(text.len()));
    }
    match text.bytes().position(|byte| !is_scope_byte(byte)) {
        Some(at) => Err(InvalidScope::Byte { at }),
        None => Ok(()),
    }
}

/// Longer than any scope seen in use, URIs included.
pub const SCOPE_MAX_BYTES: usize = 256;

/// `scope-token` of RFC 6749 §3.3: `%x21 / %x23-5B / %x5D-7E`.
const fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_3_3_a_scope_is_printable_ascii_without_space_quote_and_backslash() {
        assert!("urn:a/b?c=d!".parse::<Scope>().is_ok());
        for (text, expected) in [
            ("", InvalidScope::Length(0)),
            ("a b", InvalidScope::Byte { at: 1 }),
            ("\"", InvalidScope::Byte { at: 0 }),
            ("a\\", InvalidScope::Byte { at: 1 }),
            ("é", InvalidScope::Byte { at: 0 }),
            ("\u{7f}", InvalidScope::Byte { at: 0 }),
        ] {
            assert_eq!(text.parse::<Scope>(), Err(expected), "{text:?}");
        }
        assert_eq!("a".repeat(257).parse::<Scope>(), Err(InvalidScope::Length(257)));
    }

    #[test]
    fn order_and_repeats_mean_nothing() {
        assert_eq!(ScopeSet::from_claim("b a a"), ScopeSet::from_claim("a b"));
        assert_eq!(ScopeSet::from_claim("b a a").to_string(), "a b");
        let scopes: Vec<Scope> = ["b", "a", "a"].map(|text| text.parse().unwrap()).into();
        assert_eq!(scopes.iter().collect::<ScopeSet>(), ScopeSet::from_claim("a b"));
        assert_eq!(scopes.into_iter().collect::<ScopeSet>(), ScopeSet::from_claim("a b"));
    }

    #[test]
    fn a_set_has_its_scopes_one_by_one_in_order() {
        // `!` is the one byte of a scope next to the blank between two.
        for (claim, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("b a", &["a", "b"]),
            ("ab a! a a-b", &["a", "a!", "a-b", "ab"]),
            ("a b", &["a", "b"]),
            ("a b ", &["a", "b"]),
            (" a b", &["a", "b"]),
            ("a  b", &["a", "b"]),
            ("a a", &["a"]),
            ("a \"", &["a"]),
            (" ", &[]),
        ] {
            let set = ScopeSet::from_claim(claim);
            let found: Vec<&str> = set.iter().map(ScopeRef::as_str).collect();
            assert_eq!((found.as_slice(), set.len()), (expected, expected.len()), "{claim}");
            assert_eq!(set.is_empty(), expected.is_empty());
            assert_eq!(set.iter().collect::<ScopeSet>(), set);
            let holds = |text: &str| set.contains(&text.parse::<Scope>().unwrap());
            assert!(expected.iter().all(|scope| holds(scope)) && !holds("aa") && !holds("z"));
        }
    }

    #[test]
    fn scopes_are_a_set_of_whole_words() {
        #[rustfmt::skip]
        let cases = [
            // claim                            required              held                      missing
            ("every scope is held",             "read",               "read write",             None),
            ("nothing is required",             "",                   "",                       None),
            ("the second one is lacking",       "read write",         "read",                   Some("write")),
            ("the first one is lacking",        "a z",                "z",                      Some("a")),
            ("a longer scope is another one",   "orders:read",        "orders:readonly",        Some("orders:read")),
            ("a shorter scope is another one",  "orders:read",        "orders:rea",             Some("orders:read")),
            ("case counts",                     "orders:read",        "Orders:Read",            Some("orders:read")),
            ("a part inside is not the whole",  "admin",              "superadmin",             Some("admin")),
            ("double spaces are dropped",       "a b",                " a  b ",                 None),
            ("a tab does not separate",         "a",                  "a\tb",                   Some("a")),
        ];
        for (claim, required, held, missing) in cases {
            let required = ScopeSet::from_claim(required);
            let held = ScopeSet::from_claim(held);
            let found = required.first_missing(&held).map(ScopeRef::as_str);
            assert_eq!(found, missing, "{claim}");
            let all = required.missing_from(&held);
            assert_eq!(all.is_empty(), missing.is_none(), "{claim}");
        }
    }
}
