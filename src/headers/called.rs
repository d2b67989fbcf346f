//! The URL that a caller used, where a trusted proxy in front has changed it on the way.

use http::{HeaderMap, HeaderName};

use super::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PREFIX, X_FORWARDED_PROTO};
use super::quoted::{Pieces, is_whole};
use crate::base::net::TrustedProxies;

/// What trusted proxies say of the URL that the caller used; absent: what is seen here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Called {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Host and port.
    pub authority: Option<String>,
    /// What was taken off in front of the path.
    pub prefix: Option<String>,
}

impl Called {
    /// Reads the header section of a request that a trusted proxy sent. `X-Forwarded-*` comes first,
    /// as most proxies write nothing else, and then `Forwarded` (RFC 7239 §5.3, §5.4).
    ///
    /// Each proxy tells of the request that came to it. So of several values that of the outermost
    /// trusted one counts: what stands before it may be the caller's own.
    pub fn read(headers: &HeaderMap, trusted: &TrustedProxies) -> Self {
        let hops = items(headers, &X_FORWARDED_FOR);
        let inner = hops.iter().rev().take_while(|hop| is_trusted(hop, trusted)).count();
        let said = |name: &HeaderName| {
            let items = items(headers, name);
            let outermost = items.len().checked_sub(1)?.saturating_sub(inner);
            items.into_iter().nth(outermost)
        };
        let element = forwarded(headers, trusted);
        let parameter = |name: &str| parameter(element.as_deref()?, name);
        Self {
            scheme: said(&X_FORWARDED_PROTO).or_else(|| parameter("proto")),
            authority: said(&X_FORWARDED_HOST).or_else(|| parameter("host")),
            prefix: said(&X_FORWARDED_PREFIX),
        }
    }
}

/// The element of `Forwarded` that the outermost trusted proxy wrote; none where a quote is not as
/// RFC 7239 §4 has it: the caller's own could hide what proxies added.
fn forwarded(headers: &HeaderMap, trusted: &TrustedProxies) -> Option<String> {
    let lines = headers.get_all(http::header::FORWARDED).iter().map(|line| line.to_str());
    let lines = lines.collect::<Result<Vec<&str>, _>>().ok()?.join(",");
    if !is_whole(&lines, b",; \t") {
        return None;
    }
    let elements: Vec<&str> = Pieces::of(&lines, b',').map(str::trim).collect();
    let mut outermost = None;
    for element in elements.into_iter().rev() {
        let is_inner = parameter(element, "for").is_some_and(|hop| is_trusted(&hop, trusted));
        outermost = Some(element.to_owned());
        if !is_inner {
            break;
        }
    }
    outermost
}

/// Whether a hop's address, with or without a port, is that of a trusted proxy.
fn is_trusted(hop: &str, trusted: &TrustedProxies) -> bool {
    let bare = || hop.parse().ok();
    let with_port = || hop.parse().ok().map(|address: std::net::SocketAddr| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = bare().or_else(with_port).or_else(bracketed);
    address.is_some_and(|address: std::net::IpAddr| trusted.trust_ip(address.to_canonical()))
}

/// All items of an `X-Forwarded-*` field, over all of its lines. They know no quotes, and one that
/// cannot be read is an item still: those behind it are others' words.
fn items(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    let items = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    items.map(|item| String::from_utf8_lossy(item).trim().to_owned()).collect()
}

/// The value of a parameter of one element.
fn parameter(element: &str, name: &str) -> Option<String> {
    let mut pairs = Pieces::of(element, b';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some(quoted.unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> (String, String, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let Called { scheme, authority, prefix } = Called::read(&headers, &trusted);
        let text = |part: Option<String>| part.unwrap_or("-".to_owned());
        (text(scheme), text(authority), text(prefix))
    }

    #[test]
    fn rfc7239_5_the_word_of_the_outermost_trusted_proxy_counts() {
        const FOR: &str = "x-forwarded-for";
        const PROTO: &str = "x-forwarded-proto";
        const HOST: &str = "x-forwarded-host";
        #[rustfmt::skip]
        let cases = [
            (&[][..],                                                        ["-", "-", "-"]),
            (&[(PROTO, "https"), (HOST, "a.test:8443")],                     ["https", "a.test:8443", "-"]),
            (&[("x-forwarded-prefix", "/v1")],                               ["-", "-", "/v1"]),
            // One proxy, which adds to what the caller says.
            (&[(FOR, "evil, 192.0.2.1"), (PROTO, "http, https")],            ["https", "-", "-"]),
            (&[(HOST, "evil.test"), (HOST, "a.test")],                       ["-", "a.test", "-"]),
            // Two.
            (&[(FOR, "192.0.2.1, 10.0.0.2"), (PROTO, "https, http")],        ["https", "-", "-"]),
            (&[(FOR, "10.9.9.9, 192.0.2.1, 10.0.0.2"), (PROTO, "ftp, https, http")], ["https", "-", "-"]),
            (&[(FOR, "192.0.2.1, 10.0.0.2"), (PROTO, "https")],              ["https", "-", "-"]),
            (&[("forwarded", "for=192.0.2.1;proto=https;host=\"a.test:1\"")], ["https", "a.test:1", "-"]),
            (&[("forwarded", "for=evil;host=evil.test, for=\"192.0.2.1:9\";host=a.test, For=\"10.0.0.2:4711\";Host=inner")], ["-", "a.test", "-"]),
            (&[("forwarded", "host=b.test;proto=http"), (HOST, "a.test")],   ["http", "a.test", "-"]),
        ];
        for (lines, [scheme, authority, prefix]) in cases {
            let expected = (scheme.to_owned(), authority.to_owned(), prefix.to_owned());
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn rfc7239_4_no_quote_of_a_caller_hides_what_a_proxy_adds() {
        let nothing = ["-", "-", "-"];
        #[rustfmt::skip]
        let cases = [
            (&[("forwarded", "host=evil.test;x=\", for=192.0.2.1;host=a.test")][..],        nothing),
            (&[("forwarded", "host=evil.test;x=\", for=\"[2001:db8::1]\";host=a.test")],    nothing),
            (&[("forwarded", "host=evil.test;x=\"\\"), ("forwarded", "host=a.test")],       nothing),
            (&[("forwarded", "host=evil.test;x=a\", host=a.test")],                         nothing),
            (&[("forwarded", "host=evil.test, \u{e9}"), ("forwarded", "host=a.test")],      nothing),
            (&[("forwarded", "for=\"a\\\"b,\" , for=192.0.2.1;host=a.test")],               ["-", "a.test", "-"]),
            // These know no quotes, and none has the caller's `Forwarded` count in their place.
            (&[("x-forwarded-host", "evil\", a.test"), ("forwarded", "host=evil.test")],    ["-", "a.test", "-"]),
            (&[("x-forwarded-host", "\u{e9}, a.test"), ("forwarded", "host=evil.test")],    ["-", "a.test", "-"]),
        ];
        for (lines, [scheme, authority, prefix]) in cases {
            let expected = (scheme.to_owned(), authority.to_owned(), prefix.to_owned());
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }
}
