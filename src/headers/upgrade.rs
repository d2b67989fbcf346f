//! Another protocol in place of HTTP/1.1: who asks for one, and who agrees (RFC 9110 §7.8).
//!
//! `Connection` and `Upgrade` are about one connection: both are taken out of every message that
//! goes on, and made anew for the one protocol that a route allows.

use std::fmt;
use std::str::FromStr;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};

/// The name of a protocol that a connection can be handed over to: `name` or `name/version`, in
/// small letters, at most 64 bytes. Never one that carries HTTP requests, which nobody would look
/// at once the connection is a tunnel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Protocol(HeaderValue);

/// Why a text is no such name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidProtocol {
    /// It is no protocol name (RFC 9110 §7.8).
    Grammar,
    /// Requests would travel in it unseen.
    CarriesRequests,
}

impl fmt::Display for InvalidProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "not the name of one protocol (RFC 9110 §7.8)",
            Self::CarriesRequests => "requests would travel in it, and nobody would check them",
        })
    }
}

impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        let lower = text.to_ascii_lowercase();
        let mut parts = lower.split('/');
        let (name, version) = (parts.next().unwrap_or_default(), parts.next());
        let is_whole = parts.next().is_none() && lower.len() <= NAME_MAX_BYTES;
        if !is_whole || name == "*" || !is_token(name) || !version.is_none_or(is_token) {
            return Err(InvalidProtocol::Grammar);
        }
        if CARRY_REQUESTS.contains(&name) {
            return Err(InvalidProtocol::CarriesRequests);
        }
        HeaderValue::from_str(&lower).map(Self).map_err(|_| InvalidProtocol::Grammar)
    }
}

impl Protocol {
    /// Whether it is WebSocket (RFC 6455).
    pub fn is_websocket(&self) -> bool {
        self.0 == WEBSOCKET
    }

    /// Whether a request asks for it, perhaps among others.
    pub fn is_asked_for(&self, headers: &HeaderMap) -> bool {
        names_upgrade(headers) && members(headers, UPGRADE).any(|member| self.is(member))
    }

    /// Whether an answer switches to it, and to nothing else.
    pub fn is_agreed_to(&self, headers: &HeaderMap) -> bool {
        let mut named = members(headers, UPGRADE);
        let is_the_one = named.next().is_some_and(|member| self.is(member));
        names_upgrade(headers) && is_the_one && named.next().is_none()
    }

    /// Asks for it, or agrees to it; what a message said of its connection is gone.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.0.clone());
    }

    /// RFC 9110 §7.8: names are compared without regard to case.
    fn is(&self, member: &[u8]) -> bool {
        member.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

/// Whether whoever sends this may go on in another protocol as soon as it is answered, or believe
/// that somebody else does.
///
/// `h2c` is left aside: it is offered by the way, by clients that go on in HTTP/1.1 as they began,
/// and RFC 9113 §3.1 has taken it back.
pub fn may_leave_http(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| offers_to_leave(value.as_bytes()))
}

/// The same of one line of `Upgrade`.
pub fn offers_to_leave(value: &[u8]) -> bool {
    split(value).any(|member| !member.eq_ignore_ascii_case(b"h2c"))
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    members(headers, CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

fn members(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().flat_map(|value| split(value.as_bytes()))
}

fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members = value.split(|byte| *byte == b',');
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

const WEBSOCKET: &str = "websocket";
/// Longer than any that is registered.
const NAME_MAX_BYTES: usize = 64;
/// Protocols that HTTP requests travel in: HTTP itself, and TLS, within which it goes on
/// (RFC 2817 §3).
const CARRY_REQUESTS: [&str; 5] = ["h2", "h2c", "http", "https", "tls"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn rfc9110_7_8_a_protocol_has_a_name_and_perhaps_a_version() {
        for (text, is_websocket) in [("websocket", true), ("WebSocket", true), ("irc/6.9", false)] {
            assert_eq!(text.parse::<Protocol>().unwrap().is_websocket(), is_websocket, "{text}");
        }
        for text in ["", "*", "a b", "a,b", "a/", "/1", "a/1/2", "é", &"a".repeat(65)] {
            assert_eq!(text.parse::<Protocol>(), Err(InvalidProtocol::Grammar), "{text}");
        }
        for text in ["h2c", "H2C", "h2", "HTTP/2.0", "http", "TLS/1.2", "tls"] {
            assert_eq!(text.parse::<Protocol>(), Err(InvalidProtocol::CarriesRequests), "{text}");
        }
    }

    #[test]
    fn a_protocol_is_asked_for_and_agreed_to_by_two_fields() {
        #[rustfmt::skip]
        let cases = [
            // fields                                                           asked  agreed
            (&[("connection", "Upgrade"), ("upgrade", "WebSocket")][..],        true,  true),
            (&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], true, true),
            (&[("connection", "a"), ("connection", "upgrade"), ("upgrade", ",websocket ,")], true, true),
            (&[("connection", "upgrade"), ("upgrade", "irc, websocket")],       true,  false),
            (&[("connection", "upgrade"), ("upgrade", "websocket, websocket")], true,  false),
            (&[("connection", "upgrade"), ("upgrade", "websocket/13")],         false, false),
            (&[("connection", "upgrade"), ("upgrade", "h2c")],                  false, false),
            (&[("connection", "close"), ("upgrade", "websocket")],              false, false),
            (&[("upgrade", "websocket")],                                       false, false),
            (&[("connection", "upgrade")],                                      false, false),
        ];
        let protocol: Protocol = "websocket".parse().unwrap();
        for (fields, asked, agreed) in cases {
            let fields = headers(fields);
            assert_eq!(protocol.is_asked_for(&fields), asked, "{fields:?}");
            assert_eq!(protocol.is_agreed_to(&fields), agreed, "{fields:?}");
        }
    }

    #[test]
    fn only_what_offers_h2c_alone_is_sure_to_go_on_in_http() {
        for (value, expected) in
            [("h2c", false), ("H2C", false), ("", false), ("websocket", true), ("h2c, x", true)]
        {
            assert_eq!(may_leave_http(&headers(&[("upgrade", value)])), expected, "{value}");
        }
        assert!(!may_leave_http(&HeaderMap::new()));
    }
}
