//! Where a request came from, as the upstream is told: `Forwarded` (RFC 7239), `X-Forwarded-*`,
//! `Via` (RFC 9110 §7.6.3).

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{FORWARDED, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::Trust;
use crate::base::net::{Peer, TrustedProxies};

/// What a connection says of every request on it; made once for a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For `X-Forwarded-For`; nothing for a Unix socket.
    address: Option<HeaderValue>,
    /// `for=…;proto=…`, to which the host is added.
    element: Box<str>,
    scheme: Scheme,
}

/// `http` or `https`, by the TLS state of the connection and not by what a request says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Plaintext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What requests for one host are announced with: made once for a connection and host.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The authority that the caller used, already judged.
    host: HeaderValue,
    /// The element of `Forwarded`.
    element: Option<HeaderValue>,
}

impl Announcement {
    /// The host that it is for.
    pub const fn host(&self) -> &HeaderValue {
        &self.host
    }
}

impl Caller {
    /// The caller at the other end of a connection.
    pub fn new(peer: Peer, scheme: Scheme) -> Self {
        let mut element = String::from("for=");
        // Writing into a String does not fail.
        let _ = match peer {
            // RFC 7239 §6: what has a colon in it is quoted, and IPv6 stands in brackets.
            Peer::Ip(address) => write!(element, "\"{address}\""),
            Peer::Unix => write!(element, "unknown"),
        };
        let _ = write!(element, ";proto={}", scheme.name());
        let address = match peer {
            Peer::Ip(address) => {
                HeaderValue::from_str(&address.ip().to_canonical().to_string()).ok()
            }
            Peer::Unix => None,
        };
        Self { address, element: element.into(), scheme }
    }

    /// What it speaks.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What requests for `host` are announced with.
    ///
    /// The host is copied: as it came it holds on to all that was read with it, some 8 KiB, and an
    /// announcement lives as long as its connection.
    pub fn announcement(&self, host: &HeaderValue) -> Announcement {
        let element = self.element_with(host);
        let host = HeaderValue::from_bytes(host.as_bytes()).unwrap_or_else(|_| host.clone());
        Announcement { host, element }
    }

    /// Adds this hop to what the upstream is told. What a stranger said has been taken away
    /// before; what a trusted proxy said is added to, and its word on scheme and host stays.
    pub fn announce(&self, headers: &mut HeaderMap, announcement: &Announcement, trust: Trust) {
        let Announcement { host, element } = announcement;
        match trust {
            Trust::Proxy => {
                extend(headers, &X_FORWARDED_FOR, self.address.as_ref());
                extend(headers, &FORWARDED, element.as_ref());
            }
            Trust::Stranger => {
                for (name, value) in [(X_FORWARDED_FOR, &self.address), (FORWARDED, element)] {
                    if let Some(value) = value {
                        headers.insert(name, value.clone());
                    }
                }
            }
        }
        headers
            .entry(X_FORWARDED_PROTO)
            .or_insert_with(|| HeaderValue::from_static(self.scheme.name()));
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }

    fn element_with(&self, host: &HeaderValue) -> Option<HeaderValue> {
        const HOST: &[u8] = b";host=\"";
        let mut text = Vec::with_capacity(self.element.len() + HOST.len() + host.len() + 1);
        text.extend_from_slice(self.element.as_bytes());
        text.extend_from_slice(HOST);
        text.extend_from_slice(host.as_bytes());
        text.push(b'"');
        HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
    }
}

/// Tells the upstream what was taken off the path before it: `X-Forwarded-Prefix`. Behind what a
/// trusted proxy took off, as that came first.
pub fn announce_prefix(headers: &mut HeaderMap, prefix: &HeaderValue) {
    extend(headers, &X_FORWARDED_PREFIX, Some(prefix));
}

/// Puts a value behind those that are there, in one line: some readers look at one alone.
fn extend(headers: &mut HeaderMap, name: &HeaderName, value: Option<&HeaderValue>) {
    let Some(value) = value else { return };
    let mut lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    lines.push(value.as_bytes());
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(lines.join(&b", "[..]))) {
        headers.insert(name, joined);
    }
}

/// Our name in `Via`, so that a request which comes round again is known.
#[derive(Clone, Debug)]
pub struct Pseudonym {
    name: Box<str>,
    /// The whole value for each version that a caller can speak.
    values: [HeaderValue; 3],
}

impl Pseudonym {
    /// A name that no other gateway has: `scopegate-` and the number in hex.
    pub fn new(number: u64) -> Self {
        let name = format!("scopegate-{number:016x}");
        let value = |version: &str| {
            HeaderValue::from_str(&format!("{version} {name}"))
                .unwrap_or(HeaderValue::from_static("1.1 scopegate"))
        };
        Self { values: ["1.0", "1.1", "2.0"].map(value), name: name.into() }
    }

    /// Adds us to a request's `Via`, with the version that it was received in.
    pub fn sign(&self, headers: &mut HeaderMap, version: Version) {
        let [http10, http11, http2] = &self.values;
        let value = match version {
            Version::HTTP_2 => http2,
            Version::HTTP_10 => http10,
            _ => http11,
        };
        headers.append(VIA, value.clone());
    }

    /// Whether a request has been here before.
    pub fn has_signed(&self, headers: &HeaderMap) -> bool {
        let name = self.name.as_bytes();
        headers.get_all(VIA).iter().any(|via| memchr::memmem::find(via.as_bytes(), name).is_some())
    }
}

/// The address that a request came from, as far as the chain of trusted proxies vouches for it:
/// from the right, the first that is not theirs. For logs.
pub fn client_address(headers: &HeaderMap, peer: Peer, trusted: &TrustedProxies) -> Option<IpAddr> {
    let own = match peer {
        Peer::Ip(address) => Some(address.ip().to_canonical()),
        Peer::Unix => None,
    };
    if !trusted.trust(peer) {
        return own;
    }
    let mut farthest = own;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for item in line.to_str().unwrap_or_default().rsplit(',') {
            let Ok(address) = item.trim().parse::<IpAddr>() else { return farthest };
            farthest = Some(address.to_canonical());
            if !trusted.trust_ip(address) {
                return farthest;
            }
        }
    }
    farthest
}

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn announced(peer: Peer, scheme: Scheme, trust: Trust, sent: &mut HeaderMap) {
        let caller = Caller::new(peer, scheme);
        let announcement = caller.announcement(&HeaderValue::from_static("api.test:8443"));
        caller.announce(sent, &announcement, trust);
    }

    #[test]
    fn rfc7239_a_hop_is_written_by_the_grammar() {
        let ip = |text: &str| Peer::Ip(text.parse().unwrap());
        for (peer, scheme, forwarded) in [
            (
                ip("192.0.2.1:4711"),
                Scheme::Https,
                "for=\"192.0.2.1:4711\";proto=https;host=\"api.test:8443\"",
            ),
            (
                ip("[2001:db8::1]:4711"),
                Scheme::Http,
                "for=\"[2001:db8::1]:4711\";proto=http;host=\"api.test:8443\"",
            ),
            (Peer::Unix, Scheme::Http, "for=unknown;proto=http;host=\"api.test:8443\""),
        ] {
            let mut sent = HeaderMap::new();
            announced(peer, scheme, Trust::Stranger, &mut sent);
            assert_eq!(sent["forwarded"], forwarded);
            assert_eq!(sent["x-forwarded-proto"], scheme.name());
            assert_eq!(sent["x-forwarded-host"], "api.test:8443");
        }
    }

    #[test]
    fn rfc7239_8_1_what_a_trusted_proxy_said_is_added_to() {
        let peer = Peer::Ip("10.0.0.1:1".parse().unwrap());
        let mut sent = headers(&[
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.7"),
        ]);
        announced(peer, Scheme::Http, Trust::Proxy, &mut sent);
        assert_eq!(sent["x-forwarded-for"], "192.0.2.7, 10.0.0.9, 10.0.0.1");
        assert_eq!(sent.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(sent["x-forwarded-proto"], "https");
        let expected = "for=192.0.2.7, for=\"10.0.0.1:1\";proto=http;host=\"api.test:8443\"";
        assert_eq!(sent["forwarded"], expected);
    }

    #[test]
    fn rfc9110_7_6_3_via_names_the_version_received_and_tells_a_loop() {
        let ours = Pseudonym::new(0xAB);
        let mut sent = headers(&[("via", "1.1 edge")]);
        assert!(!ours.has_signed(&sent));
        ours.sign(&mut sent, Version::HTTP_2);
        let via: Vec<_> = sent.get_all("via").iter().collect();
        assert_eq!(via, ["1.1 edge", "2.0 scopegate-00000000000000ab"]);
        assert!(ours.has_signed(&sent));
        assert!(!Pseudonym::new(0xAC).has_signed(&sent), "another instance may stand in the chain");
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_no_trusted_proxy_is() {
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let proxy = Peer::Ip("10.0.0.1:1".parse().unwrap());
        let stranger = Peer::Ip("192.0.2.1:1".parse().unwrap());
        for (peer, chain, expected) in [
            (stranger, "198.51.100.1", "192.0.2.1"),
            (proxy, "198.51.100.1", "198.51.100.1"),
            (proxy, "203.0.113.5, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            (proxy, "203.0.113.5, nonsense, 10.0.0.2", "10.0.0.2"),
            (proxy, "10.0.0.3", "10.0.0.3"),
        ] {
            let sent = headers(&[("x-forwarded-for", chain)]);
            let found = client_address(&sent, peer, &trusted);
            assert_eq!(found, Some(expected.parse().unwrap()), "{chain}");
        }
        assert_eq!(client_address(&HeaderMap::new(), Peer::Unix, &trusted), None);
    }
}
