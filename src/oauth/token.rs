//! Access tokens as they are sent, and the only form in which they are kept.

use std::fmt;

use crate::base::digest::Digest;

/// An access token as the caller sent it (RFC 6750 §2.1), borrowed from the request.
///
/// It lives from `credential` to `verify`, in the forwarded header, and in `grant` while it is
/// exchanged for another; everywhere else there is only its [`TokenDigest`]. `Debug` hides it, and
/// there is no `Display`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct RawToken<'a>(&'a str);

impl<'a> RawToken<'a> {
    /// Takes a text that keeps to `b64token`; the credential grammar has seen to that.
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The token itself, for the verifier that must look into it or send it.
    pub const fn expose(self) -> &'a str {
        self.0
    }

    /// Its digest.
    pub fn digest(self) -> TokenDigest {
        TokenDigest(Digest::of(self.0.as_bytes()))
    }
}

impl fmt::Debug for RawToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawToken(…)")
    }
}

/// SHA-256 of a token: the only form in which a token is a cache key or a log field. It shows
/// eight hex digits: enough to join two log lines, too few to look a token up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TokenDigest(Digest);

impl TokenDigest {
    /// All 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_token_is_never_shown() {
        let token = RawToken::new("mF_9.B5f-4.1JqM");
        assert_eq!(format!("{token:?}"), "RawToken(…)");
        assert_eq!(token.digest().to_string().len(), 8);
    }

    #[test]
    fn tokens_that_differ_in_one_byte_have_two_digests() {
        let [a, b] = ["eyJ.a.b", "eyJ.a.c"].map(|text| RawToken::new(text).digest());
        assert_ne!(a, b);
    }
}
