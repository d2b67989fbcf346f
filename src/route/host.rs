//! Hosts: what routes name, and what requests ask for, in one normal form.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// `host` of a route.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// No `host`: any.
    #[default]
    Any,
    /// `*.example.com`: one or more labels before this suffix, which is kept as `.example.com`.
    Wildcard(Box<str>),
    /// One host, in its normal form.
    Exact(Box<str>),
}

/// A request's host in its normal form: lower case, no port, no dot at the end, an IPv6 address
/// as RFC 5952 writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NormalHost<'a>(Cow<'a, str>);

/// Why a text is no host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidHost {
    /// There is nothing, or nothing but a port or a dot.
    Empty,
    /// Longer than any name in the DNS (RFC 1035 §2.3.4).
    TooLong,
    /// A scheme, userinfo or a path around it.
    NotAlone,
    /// A port, where a route names a host.
    Port,
    /// A port that is no number up to 65535.
    BadPort,
    /// An empty label: two dots in a row, or one in front.
    EmptyLabel,
    /// A character outside letters, digits, `-`, `_` and `.`.
    Character,
    /// Brackets without an IPv6 address between them.
    BadAddress,
    /// A `*` anywhere but as the first label.
    Wildcard,
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "a host cannot be empty: leave `host` out for any",
            Self::TooLong => "a host has at most 253 characters",
            Self::NotAlone => {
                "write the host alone, without https://, user@ or a path: \"api.example.com\""
            }
            Self::Port => "write the host without its port: a route serves every port",
            Self::BadPort => "a port is a number up to 65535",
            Self::EmptyLabel => "no dot in front and no two dots in a row: \"api.example.com\"",
            Self::Character => {
                "a host has letters, digits, - and _ between its dots; write an international name \
                 in its xn-- form"
            }
            Self::BadAddress => "write an IPv6 address in brackets: \"[2001:db8::1]\"",
            Self::Wildcard => "* stands for whole labels in front: \"*.example.com\"",
        })
    }
}

impl std::error::Error for InvalidHost {}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    /// `api.example.com` or `*.example.com`. Case and a dot at the end mean nothing.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if let Some(suffix) = text.strip_prefix("*.") {
            let mut kept = String::from(".");
            kept.push_str(host_alone(suffix)?.as_str());
            return if suffix.starts_with('[') {
                Err(InvalidHost::Wildcard)
            } else {
                Ok(Self::Wildcard(kept.into()))
            };
        }
        host_alone(text).map(|host| Self::Exact(host.as_str().into()))
    }
}

impl<'a> NormalHost<'a> {
    /// Reads a Host field or `:authority` (RFC 9110 §7.2): `host[:port]`, no userinfo. Borrowed if
    /// it is normal already, but for the port and a dot at the end; an IPv6 address may cost an
    /// allocation even so.
    ///
    /// Why not RFC 3986's whole reg-name: a percent-encoded or sub-delimited host has two readings,
    /// and nobody can look it up.
    ///
    /// # Errors
    /// When it is no host that a route could be meant for.
    pub fn parse(authority: &'a str) -> Result<Self, InvalidHost> {
        let (host, port) = split_port(authority)?;
        if port.is_some_and(|port| !is_port(port)) {
            return Err(InvalidHost::BadPort);
        }
        if host.starts_with('[') { address(host) } else { name(host) }
    }

    /// The host: a name or address to compare byte by byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself.
    pub fn into_text(self) -> Cow<'a, str> {
        self.0
    }
}

fn host_alone(text: &str) -> Result<NormalHost<'_>, InvalidHost> {
    if text.contains(['/', '@', '?', '#']) {
        return Err(InvalidHost::NotAlone);
    }
    if text.contains('*') {
        return Err(InvalidHost::Wildcard);
    }
    match split_port(text)? {
        (_, Some(_)) if text.matches(':').count() > 1 && !text.starts_with('[') => {
            Err(InvalidHost::BadAddress)
        }
        (_, Some(_)) => Err(InvalidHost::Port),
        (_, None) => NormalHost::parse(text),
    }
}

/// Host and port; the colons inside brackets belong to the host.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidHost> {
    if !authority.starts_with('[') {
        return Ok(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    }
    let end = authority.find(']').ok_or(InvalidHost::BadAddress)?;
    let (host, rest) = authority.split_at_checked(end + 1).ok_or(InvalidHost::BadAddress)?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(InvalidHost::BadAddress),
    }
}

/// RFC 3986 §3.2.3 lets the digits behind the colon be absent.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// A DNS name or an IPv4 address, which are of one grammar.
fn name(text: &str) -> Result<NormalHost<'_>, InvalidHost> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(InvalidHost::Empty);
    }
    if HOST_MAX_BYTES < text.len() {
        return Err(InvalidHost::TooLong);
    }
    let mut has_upper = false;
    let mut before = b'.';
    for byte in text.bytes() {
        match byte {
            b'.' if before == b'.' => return Err(InvalidHost::EmptyLabel),
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {}
            b'A'..=b'Z' => has_upper = true,
            _ => return Err(InvalidHost::Character),
        }
        before = byte;
    }
    if before == b'.' {
        return Err(InvalidHost::EmptyLabel);
    }
    Ok(NormalHost(if has_upper { text.to_ascii_lowercase().into() } else { text.into() }))
}

/// `[` IPv6 address `]`. Without a zone: that is nobody's business but the sender's (RFC 6874 §4).
fn address(text: &str) -> Result<NormalHost<'_>, InvalidHost> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address: Ipv6Addr =
        inner.and_then(|inner| inner.parse().ok()).ok_or(InvalidHost::BadAddress)?;
    let normal = format!("[{address}]");
    Ok(NormalHost(if normal == text { text.into() } else { normal.into() }))
}

/// RFC 1035 §2.3.4 allows 255 bytes on the wire, which are 253 characters of text.
const HOST_MAX_BYTES: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(authority: &str) -> Result<String, InvalidHost> {
        NormalHost::parse(authority).map(|host| host.as_str().to_owned())
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        #[rustfmt::skip]
        let cases = [
            ("api.example.com",             "api.example.com"),
            ("API.Example.COM",             "api.example.com"),
            ("api.example.com.",            "api.example.com"),
            ("api.example.com:8443",        "api.example.com"),
            ("Api.example.com.:443",        "api.example.com"),
            ("api.example.com:",            "api.example.com"),
            ("localhost",                   "localhost"),
            ("my_service:80",               "my_service"),
            ("xn--bcher-kva.example",       "xn--bcher-kva.example"),
            ("192.0.2.1:80",                "192.0.2.1"),
            ("[2001:db8::1]",               "[2001:db8::1]"),
            ("[2001:DB8:0:0::1]:443",       "[2001:db8::1]"),
            ("[::]",                        "[::]"),
        ];
        for (authority, expected) in cases {
            assert_eq!(normal(authority).as_deref(), Ok(expected), "{authority}");
        }
    }

    #[test]
    fn rfc9110_4_2_4_userinfo_and_garbage_are_no_host() {
        let long = "a".repeat(254);
        for authority in [
            "",
            ":80",
            ".",
            "..",
            ".:80",
            "a..b",
            ".a",
            "a..",
            "user@a",
            "user:pw@a",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+1",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "a,b",
            "a;b",
            "é",
            "a\0b",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[::1%25eth0]",
            "[v1.a]",
            "[1.2.3.4]",
            "::1",
            "*.a",
            "a\"b",
            "a b:80",
            "a:80 ",
            " a",
            &long,
        ] {
            assert!(NormalHost::parse(authority).is_err(), "{authority:?}");
        }
    }

    #[test]
    fn a_normal_host_is_borrowed() {
        for authority in ["api.example.com", "api.example.com.:443", "[2001:db8::1]:1"] {
            let host = NormalHost::parse(authority).unwrap();
            assert!(matches!(host.0, Cow::Borrowed(_)), "{authority}");
        }
    }

    #[test]
    fn a_pattern_is_one_host_or_what_ends_in_a_suffix() {
        for (text, expected) in [
            ("api.example.com", HostPattern::Exact("api.example.com".into())),
            ("API.example.com.", HostPattern::Exact("api.example.com".into())),
            ("[2001:DB8::1]", HostPattern::Exact("[2001:db8::1]".into())),
            ("*.Example.com", HostPattern::Wildcard(".example.com".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("", InvalidHost::Empty),
            ("*.", InvalidHost::Empty),
            ("*", InvalidHost::Wildcard),
            ("*.*.a", InvalidHost::Wildcard),
            ("a*.b", InvalidHost::Wildcard),
            ("*.[::1]", InvalidHost::Wildcard),
            ("a:80", InvalidHost::Port),
            ("*.a:80", InvalidHost::Port),
            ("[::1]:80", InvalidHost::Port),
            ("::1", InvalidHost::BadAddress),
            ("[::g]", InvalidHost::BadAddress),
            ("https://a", InvalidHost::NotAlone),
            ("user@a", InvalidHost::NotAlone),
            ("a/", InvalidHost::NotAlone),
            ("bücher.example", InvalidHost::Character),
            ("*..a", InvalidHost::EmptyLabel),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(expected), "{text}");
        }
    }
}
