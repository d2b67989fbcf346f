//! Names that are compared code point by code point: issuer, audience, client id.

use std::fmt;
use std::sync::Arc;

use http::Uri;

/// An authorization server's issuer identifier (RFC 8414 §2): an https URL without query and
/// fragment, kept and compared exactly as written (RFC 7519 §7.3).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Issuer(Arc<str>);

/// Whether an issuer may be an http URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plaintext {
    /// Everywhere but in `scopegate dev`.
    Refused,
    /// In `scopegate dev`, whose authorization server lives on loopback.
    Allowed,
}

/// Why a text is no issuer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidIssuer {
    /// No URL with a host.
    NoUrl,
    /// The scheme is not https (RFC 8414 §2).
    NotHttps,
    /// There is a query or a fragment (RFC 8414 §2).
    QueryOrFragment,
}

impl fmt::Display for InvalidIssuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoUrl => "an issuer is a URL, such as https://login.example.com",
            Self::NotHttps => "an issuer is an https URL (RFC 8414 §2)",
            Self::QueryOrFragment => "an issuer has no query and no fragment (RFC 8414 §2)",
        })
    }
}

impl std::error::Error for InvalidIssuer {}

impl Issuer {
    /// Reads an issuer from a configuration.
    ///
    /// # Errors
    /// When it is not what RFC 8414 §2 asks for.
    pub fn parse(text: &str, plaintext: Plaintext) -> Result<Self, InvalidIssuer> {
        if text.contains(['?', '#']) {
            return Err(InvalidIssuer::QueryOrFragment);
        }
        let url: Uri = text.parse().map_err(|_| InvalidIssuer::NoUrl)?;
        let host = url.host().filter(|host| !host.is_empty());
        match (url.scheme_str(), host) {
            (Some("https"), Some(_)) => Ok(Self(text.into())),
            (Some("http"), Some(_)) if plaintext == Plaintext::Allowed => Ok(Self(text.into())),
            (Some(_), Some(_)) => Err(InvalidIssuer::NotHttps),
            _ => Err(InvalidIssuer::NoUrl),
        }
    }

    /// Exactly as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One value of `aud` (RFC 7519 §4.1.3): whom a token is meant for. Case counts, prefixes do not.
///
/// A clone shares the text: a verdict whose token names a configured audience has no copy of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Audience(Arc<str>);

impl Audience {
    /// Takes any text: the RFC sets no grammar but StringOrURI.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Exactly as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A client identifier (RFC 6749 §2.2), of whatever length its authorization server gives.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Takes any text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Exactly as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8414_2_an_issuer_is_an_https_url_without_query_and_fragment() {
        let parse = |text| Issuer::parse(text, Plaintext::Refused).map(|issuer| issuer.to_string());
        assert_eq!(parse("https://as.test/t1/"), Ok("https://as.test/t1/".to_owned()));
        assert_eq!(parse("http://as.test"), Err(InvalidIssuer::NotHttps));
        assert_eq!(parse("https://as.test?x"), Err(InvalidIssuer::QueryOrFragment));
        assert_eq!(parse("https://as.test/#f"), Err(InvalidIssuer::QueryOrFragment));
        assert_eq!(parse("as.test"), Err(InvalidIssuer::NoUrl));
        assert_eq!(parse(""), Err(InvalidIssuer::NoUrl));
        assert!(Issuer::parse("http://127.0.0.1:1", Plaintext::Allowed).is_ok());
    }
}
