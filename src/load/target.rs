//! Where requests go.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// An `http` or `https` URL, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    is_tls: bool,
    authority: Authority,
    path: PathAndQuery,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidTarget {
    /// Not an absolute URL with a host.
    Grammar,
    /// Another scheme than http and https.
    Scheme,
    /// A user name or password before the host.
    Userinfo,
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "write a URL such as http://127.0.0.1:8080/orders/1",
            Self::Scheme => "the URL begins with http:// or https://",
            Self::Userinfo => "no user name in the URL: give -H 'authorization: Basic …'",
        })
    }
}

impl std::error::Error for InvalidTarget {}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let uri: Uri = text.parse().map_err(|_| InvalidTarget::Grammar)?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(InvalidTarget::Grammar)?;
        let is_tls = scheme == Scheme::HTTPS;
        if !is_tls && scheme != Scheme::HTTP {
            return Err(InvalidTarget::Scheme);
        }
        let authority = parts.authority.ok_or(InvalidTarget::Grammar)?;
        if authority.as_str().contains('@') {
            return Err(InvalidTarget::Userinfo);
        }
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { is_tls, authority, path })
    }
}

impl Target {
    /// Whether it is spoken to over TLS.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Host and port as the URL has them: the `Host` field.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Path and query.
    pub const fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, or the one of the scheme.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_taken_apart() {
        #[rustfmt::skip]
        let cases = [
            ("http://a/b?c",         "a",   80,   "/b?c", false),
            ("https://a.test",       "a.test", 443, "/",  true),
            ("http://[::1]:8080/x",  "::1", 8080, "/x",   false),
        ];
        for (text, host, port, path, is_tls) in cases {
            let target: Target = text.parse().unwrap();
            let found = (target.host(), target.port(), target.path().as_str(), target.is_tls());
            assert_eq!(found, (host, port, path, is_tls), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_told() {
        #[rustfmt::skip]
        let cases = [
            ("/orders",       InvalidTarget::Grammar),
            ("ftp://a/",      InvalidTarget::Scheme),
            ("http://a:b@c/", InvalidTarget::Userinfo),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Target>(), Err(expected), "{text}");
        }
    }
}
