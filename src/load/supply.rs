//! The credentials of a run, ready to be sent.
//!
//! Each thread takes them in turn from an offset of its own, so that N distinct tokens are all sent
//! before the first is sent again. What share each kind has is laid out beforehand, by how often
//! and where its credentials stand in the list.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// One credential: the value of the `Authorization` field, and the kind that it is counted under.
/// `Debug` hides the value.
#[derive(Clone)]
pub struct Credential {
    authorization: Option<HeaderValue>,
    kind: usize,
}

/// Why a text cannot be sent as a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidCredential {
    /// A byte that a field value cannot have (RFC 9110 §5.5), or no byte at all.
    Grammar,
    /// There is no credential, not even the one that sends no field.
    None,
    /// A credential names a kind that is not in the list.
    Kind,
}

impl fmt::Display for InvalidCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "a token has only visible ASCII characters",
            Self::None => "there is no token",
            Self::Kind => "a token of a kind that was not named",
        })
    }
}

impl std::error::Error for InvalidCredential {}

impl Credential {
    /// A bearer token (RFC 6750 §2.1), counted under the kind of this index.
    ///
    /// # Errors
    /// When the token is empty or has other characters than visible ASCII. That it is good is not
    /// asked: a load of bad tokens is a load, too.
    pub fn bearer(token: &str, kind: usize) -> Result<Self, InvalidCredential> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidCredential::Grammar);
        }
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        Ok(Self::field(value.map_err(|_| InvalidCredential::Grammar)?, kind))
    }

    /// Any value of `Authorization`, counted under the kind of this index.
    pub const fn field(authorization: HeaderValue, kind: usize) -> Self {
        Self { authorization: Some(authorization), kind }
    }

    /// No `Authorization` at all.
    pub const fn absent(kind: usize) -> Self {
        Self { authorization: None, kind }
    }

    /// The field's value, if the field is sent.
    pub const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The index of its kind.
    pub const fn kind(&self) -> usize {
        self.kind
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential(kind {})", self.kind)
    }
}

/// At least one credential, and the names of their kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supply {
    credentials: Arc<[Credential]>,
    kinds: Arc<[Box<str>]>,
}

impl Supply {
    /// Credentials in the order in which they are sent, and the names of the kinds that they index.
    ///
    /// # Errors
    /// When there is none, or one has a kind without a name.
    pub fn new(
        credentials: Vec<Credential>,
        kinds: Vec<Box<str>>,
    ) -> Result<Self, InvalidCredential> {
        if credentials.is_empty() {
            return Err(InvalidCredential::None);
        }
        if credentials.iter().any(|credential| credential.kind >= kinds.len()) {
            return Err(InvalidCredential::Kind);
        }
        Ok(Self { credentials: credentials.into(), kinds: kinds.into() })
    }

    /// These bearer tokens, all of one kind.
    ///
    /// # Errors
    /// When there is none, or one cannot be sent.
    pub fn bearer<'a>(
        tokens: impl IntoIterator<Item = &'a str>,
        kind: &str,
    ) -> Result<Self, InvalidCredential> {
        let credentials: Result<Vec<_>, _> =
            tokens.into_iter().map(|token| Credential::bearer(token, 0)).collect();
        Self::new(credentials?, vec![kind.into()])
    }

    /// Requests without `Authorization`.
    pub fn absent() -> Self {
        Self { credentials: [Credential::absent(0)].into(), kinds: [Box::from("none")].into() }
    }

    /// The names of the kinds.
    pub fn kinds(&self) -> &[Box<str>] {
        &self.kinds
    }

    /// How many credentials there are.
    pub fn count(&self) -> usize {
        self.credentials.len()
    }

    /// The credential of a turn: turns go around.
    #[expect(clippy::indexing_slicing, reason = "a remainder is below the length, which is not 0")]
    pub(super) fn take(&self, turn: usize) -> &Credential {
        &self.credentials[turn % self.credentials.len()]
    }

    /// The turn at which thread `thread` of `threads` begins.
    pub(super) fn offset(&self, thread: usize, threads: usize) -> usize {
        self.credentials.len() * thread / threads.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_sent_before_the_first_comes_again() {
        let supply = Supply::bearer(["a", "b", "c"], "good").unwrap();
        let sent: Vec<_> = (0..4)
            .map(|turn| supply.take(turn).authorization().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(sent, ["Bearer a", "Bearer b", "Bearer c", "Bearer a"]);
        assert_eq!([supply.offset(0, 2), supply.offset(1, 2)], [0, 1]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let none: [&str; 0] = [];
        assert_eq!(Supply::bearer(none, "a").unwrap_err(), InvalidCredential::None);
        for token in ["", "a b", "a\r\nx: y", "é"] {
            assert_eq!(Credential::bearer(token, 0).unwrap_err(), InvalidCredential::Grammar);
        }
        let unnamed = Supply::new(vec![Credential::absent(1)], vec!["a".into()]);
        assert_eq!(unnamed.unwrap_err(), InvalidCredential::Kind);
    }

    #[test]
    fn debug_shows_no_token() {
        let supply = Supply::bearer(["s3cret"], "good").unwrap();
        assert!(!format!("{supply:?}").contains("s3cret"));
    }
}
