//! The kinds of tokens that a load is made of, and what a gateway must say to each.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

/// What is right or wrong about a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TokenKind {
    /// Nothing is wrong with it.
    Good,
    /// `exp` is an hour ago.
    Expired,
    /// It carries no scope.
    Scope,
    /// It is meant for another audience.
    Audience,
    /// Another issuer says that it is its own.
    Issuer,
    /// A bit of the signature is flipped.
    Signature,
    /// Random text in the form of a JWT.
    Garbage,
    /// There is no credential at all.
    None,
}

/// The name is none of those we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownKind;

impl TokenKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Good,
        Self::Expired,
        Self::Scope,
        Self::Audience,
        Self::Issuer,
        Self::Signature,
        Self::Garbage,
        Self::None,
    ];

    /// The name on the command line and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Signature => "signature",
            Self::Garbage => "garbage",
            Self::None => "none",
        }
    }

    /// What a route that needs a scope answers (RFC 6750 §3.1), if its upstream answers 200.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Good => StatusCode::OK,
            Self::Scope => StatusCode::FORBIDDEN,
            Self::Expired
            | Self::Audience
            | Self::Issuer
            | Self::Signature
            | Self::Garbage
            | Self::None => StatusCode::UNAUTHORIZED,
        }
    }
}

impl FromStr for TokenKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
