//! Everything that a run needs to know.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri};
use rustls_pki_types::CertificateDer;

use super::supply::Supply;

/// What to send, where, how fast and for how long. [`Plan::new`] has defaults for all but the
/// first two.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// What is sent in turn as `Authorization`.
    pub credentials: Supply,
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Whose certificates count, over https.
    pub trust: Trust,
    /// The rest of each request.
    pub request: RequestForm,
    /// Connections, over all threads.
    pub connections: NonZeroUsize,
    /// Threads; never more than connections are used.
    pub threads: NonZeroUsize,
    /// When requests begin.
    pub pace: Pace,
    /// When the run ends.
    pub bounds: Bounds,
    /// How long one request may take, from when it is sent; a connection as well.
    pub timeout: Duration,
}

impl Plan {
    /// Ten seconds of `GET` over HTTP/1.1, on 64 connections of one thread, as fast as answers come.
    pub fn new(target: Target, credentials: Supply) -> Self {
        Self {
            target,
            credentials,
            protocol: Protocol::Http1,
            trust: Trust::System,
            request: RequestForm::default(),
            connections: CONNECTIONS,
            threads: NonZeroUsize::MIN,
            pace: Pace::Closed,
            bounds: Bounds::default(),
            timeout: TIMEOUT,
        }
    }
}

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

/// The version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, one request after the other on each connection.
    Http1,
    /// HTTP/2, by ALPN over TLS and by prior knowledge without, with so many streams at a time on
    /// each connection.
    Http2(NonZeroU32),
}

impl Protocol {
    /// How many requests one connection may have under way.
    pub fn streams(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2(streams) => usize::try_from(streams.get()).unwrap_or(usize::MAX),
        }
    }
}

/// Whose certificates count.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Those that one of these has signed.
    Authorities(Vec<CertificateDer<'static>>),
    /// Anybody's: for measuring alone.
    Anyone,
}

/// Method, header fields and body of each request.
#[derive(Clone, Debug, Default)]
pub struct RequestForm {
    /// The method; `GET` by default.
    pub method: Method,
    /// Further fields. `host`, `content-length` and the credential are set by the generator.
    pub headers: HeaderMap,
    /// The body; none if empty.
    pub body: Bytes,
}

/// When requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: each connection sends its next request when it has the answer to the last.
    Closed,
    /// Open loop: so many requests a second over all threads, whatever the answers do.
    Open(f64),
}

/// When the run ends: when the first of its bounds is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// How long requests are sent before the measurement; nothing of it is counted.
    pub warm_up: Duration,
    /// How long new requests begin, warm-up apart.
    pub duration: Option<Duration>,
    /// How many requests begin, warm-up apart.
    pub requests: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { warm_up: Duration::ZERO, duration: Some(DURATION), requests: None }
    }
}

const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
const DURATION: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(10);

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
