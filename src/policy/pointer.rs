//! JSON pointers into a token's claims (RFC 6901).

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::requirement::{CLIENT_ID, FIELDS, ISS, SCOPE, SUB};
use crate::oauth::{TokenKind, VerifiedToken};

/// A place in a token's claims (RFC 6901), the first name in it apart: that is the claim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer {
    claim: Box<str>,
    inside: Box<[Box<str>]>,
}

/// What stands where a pointer leads.
pub(super) enum Found<'t> {
    Value(&'t Value),
    Text(&'t str),
    Scopes,
    Nothing,
    /// The way there leads through something that is no object or array, or nobody knows the claims.
    Unreadable,
}

impl Pointer {
    /// The claim that it leads into.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// Follows it into a token.
    pub(super) fn find<'t>(&self, token: &'t VerifiedToken) -> Found<'t> {
        // Nobody but the token answer describes such a token: that a claim is not there says nothing.
        let absent = match token.kind {
            TokenKind::Issued => Found::Unreadable,
            TokenKind::Jwt | TokenKind::Opaque => Found::Nothing,
        };
        match &*self.claim {
            ISS => Found::Text(token.issuer.as_str()),
            SUB => token.subject().map_or(absent, Found::Text),
            CLIENT_ID => token.client_id().map_or(absent, Found::Text),
            SCOPE if token.scopes().is_empty() => absent,
            SCOPE => Found::Scopes,
            name => match token.claims.value(name) {
                Some(value) => descend(value, &self.inside),
                None => absent,
            },
        }
    }
}

/// RFC 6901 §4. The number of an array's element is written without leading zeros; `-`, the one
/// behind the last, is never there.
fn descend<'t>(value: &'t Value, path: &[Box<str>]) -> Found<'t> {
    let mut at = value;
    for name in path {
        let next = match at {
            Value::Object(members) => members.get(&**name),
            Value::Array(items) => match index(name) {
                Some(index) => items.get(index),
                None => return Found::Unreadable,
            },
            _ => return Found::Unreadable,
        };
        match next {
            Some(next) => at = next,
            None => return Found::Nothing,
        }
    }
    Found::Value(at)
}

fn index(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = name == "0" || !name.starts_with('0');
    (is_number && is_plain).then(|| name.parse().ok()).flatten()
}

/// Why a text is no pointer into claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidPointer {
    /// It does not begin with `/`; the empty one means all claims, which nothing equals.
    Start,
    /// A `~` that is neither `~0` nor `~1`.
    Escape,
    /// More than [`POINTER_MAX_BYTES`] bytes.
    Length,
    /// `aud` is judged by its own rule.
    Audience,
    /// Into a claim that is text: `iss`, `sub`, `client_id`, `scope`.
    Inside,
}

impl fmt::Display for InvalidPointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "a JSON pointer begins with `/` (RFC 6901 §3)",
            Self::Escape => "`~` is written as `~0` and `/` as `~1` (RFC 6901 §3)",
            Self::Length => "longer than 256 bytes",
            Self::Audience => "the audience is checked by `audiences`",
            Self::Inside => "nothing lies inside of iss, sub, client_id and scope",
        })
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if POINTER_MAX_BYTES < text.len() {
            return Err(InvalidPointer::Length);
        }
        let names = text.strip_prefix('/').ok_or(InvalidPointer::Start)?.split('/');
        let names: Vec<Box<str>> = names.map(unescaped).collect::<Result<_, _>>()?;
        let (claim, inside) = names.split_first().ok_or(InvalidPointer::Start)?;
        match &**claim {
            "aud" => Err(InvalidPointer::Audience),
            name if FIELDS.contains(&name) && !inside.is_empty() => Err(InvalidPointer::Inside),
            _ => Ok(Self { claim: claim.clone(), inside: inside.into() }),
        }
    }
}

fn unescaped(name: &str) -> Result<Box<str>, InvalidPointer> {
    let mut pieces = name.split('~');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match piece.strip_prefix('0') {
            Some(rest) => ('~', rest),
            None => ('/', piece.strip_prefix('1').ok_or(InvalidPointer::Escape)?),
        };
        text.push(character);
        text.push_str(rest);
    }
    Ok(text.into())
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in std::iter::once(&self.claim).chain(&self.inside) {
            write!(formatter, "/{}", name.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// Longer than any path of claims seen in use; a URL as a claim's name fits.
pub const POINTER_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6901_3_what_is_no_pointer_into_claims_is_a_mistake() {
        use InvalidPointer::{Audience, Escape, Inside, Length, Start};
        let long = format!("/{}", "x".repeat(POINTER_MAX_BYTES));
        for (text, why) in [
            ("", Start),
            ("roles", Start),
            ("#/roles", Start),
            ("/a~", Escape),
            ("/a~2", Escape),
            ("/aud", Audience),
            ("/aud/0", Audience),
            ("/scope/0", Inside),
            ("/sub/", Inside),
            (&long, Length),
        ] {
            assert_eq!(text.parse::<Pointer>(), Err(why), "{text}");
        }
        let escaped: Pointer = "/~01".parse().unwrap();
        assert_eq!(escaped.claim(), "~1", "RFC 6901 §4: first ~1, then ~0");
    }
}
