//! What can be wrong with an expression.

use std::fmt;

/// Why a text is no expression, and at which byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidExpression {
    /// Offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub why: Mistake,
}

/// What is wrong with an expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mistake {
    /// Longer than [`SOURCE_MAX_BYTES`](super::SOURCE_MAX_BYTES).
    Length,
    /// More than [`NODES_MAX`](super::NODES_MAX) nodes.
    Size,
    /// Nested deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    Depth,
    /// A character that begins nothing.
    Character,
    /// Not a number of the language, or beyond 64 bits.
    Number,
    /// A text without its closing quote on the same line.
    Unclosed,
    /// Three quotes.
    TripleQuote,
    /// An escape that is none.
    Escape,
    /// Something else is expected here.
    Unexpected(&'static str),
    /// A name that stands for nothing.
    UnknownName,
    /// `claims` without a name behind it.
    ClaimsWhole,
    /// `claims.aud`.
    Audience,
    /// `claims.scope`.
    Scope,
    /// A member of `request` that there is not.
    RequestMember,
    /// A function that is not taken.
    UnknownFunction,
    /// `matches`.
    Regex,
    /// Not as many arguments as the function has.
    Arguments,
    /// `has` of something else than a member.
    HasArgument,
    /// A loop in a loop.
    NestedLoop,
    /// The name of a loop's element is that of something else.
    ElementName,
    /// It can never be true or false.
    NotBool,
}

impl fmt::Display for InvalidExpression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.why)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Length => "longer than 2048 bytes",
            Self::Size => "more than 256 operators, operands and calls",
            Self::Depth => "nested deeper than 32",
            Self::Character => "a character that begins nothing",
            Self::Number => "not a number that fits into 64 bits",
            Self::Unclosed => "a text without its closing quote",
            Self::TripleQuote => "texts between three quotes are not taken",
            Self::Escape => "not an escape",
            Self::Unexpected(what) => return write!(formatter, "{what} is expected here"),
            Self::UnknownName => {
                "there are claims, scopes, client_id, principal, and request.method, .path and .host"
            }
            Self::ClaimsWhole => "which claim? Write claims.NAME or claims[\"NAME\"]",
            Self::Audience => "the audience is checked by `audiences`",
            Self::Scope => "the scopes stand in `scopes`, which is a list",
            Self::RequestMember => "of a request there are method, path and host alone",
            Self::UnknownFunction => {
                "there are has, size, startsWith, endsWith, contains, all, exists and exists_one"
            }
            Self::Regex => "regular expressions are not taken; compare whole values",
            Self::Arguments => "it has another number of arguments",
            Self::HasArgument => "has() asks for a member: has(claims.NAME)",
            Self::NestedLoop => "no loop inside of a loop; `in` looks through a list, too",
            Self::ElementName => "this name already means something",
            Self::NotBool => "it can be neither true nor false",
        })
    }
}
