//! Values with a grammar of their own: durations, sizes, URLs, names, endpoints.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;

use super::problem::Told;
use super::reader::Value;
use super::{Endpoint, EndpointAddress, EndpointProtocol};
use crate::base::net::is_safe_endpoint;

/// Whether a duration may be zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Zero {
    /// It turns something off.
    Allowed,
    /// It would be a time-out before anything could happen, or a loop without a rest.
    Refused,
}

/// A duration in the configuration.
pub(super) fn duration(value: &Value<'_>, zero: Zero) -> Result<Duration, Told> {
    let duration = match value.is_zero() {
        true => Duration::ZERO,
        false => value
            .parse("write a duration such as \"30s\", \"5m\", \"1h30m\" or \"500ms\"", |text| {
                parse_duration(text)
            })?,
    };
    if duration.is_zero() && zero == Zero::Refused {
        return Err(value.wrong("it cannot be zero", "write a duration such as \"30s\""));
    }
    Ok(duration)
}

/// A size in the configuration, in bytes.
pub(super) fn size(value: &Value<'_>) -> Result<u64, Told> {
    value.parse("write a size such as \"512B\", \"64KiB\" or \"1MiB\"", parse_size)
}

/// The URL of an authorization server's endpoint.
pub(super) fn endpoint_url(value: &Value<'_>) -> Result<Uri, Told> {
    value.parse("write an https URL such as \"https://login.example.com/token\"", |text| {
        let url = absolute(text)?;
        if is_safe_endpoint(&url) { Ok(url) } else { Err(InvalidUrl::Unsafe) }
    })
}

/// An absolute URI without fragment, as RFC 8707 §2 wants a resource to be.
pub(super) fn resource(value: &Value<'_>) -> Result<Box<str>, Told> {
    value.parse("write an absolute URI such as \"https://api.example.com\"", |text| {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        let is_absolute = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && scheme.len() + 1 < text.len()
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        match text.contains('#') {
            true => Err("a resource has no fragment (RFC 8707 §2)"),
            false if !is_absolute => Err("a resource is an absolute URI (RFC 8707 §2)"),
            false => Ok(text.into()),
        }
    })
}

/// A page for people.
pub(super) fn web_page(value: &Value<'_>) -> Result<Box<str>, Told> {
    value.parse("write a URL such as \"https://example.com/docs\"", |text| {
        let url = absolute(text)?;
        match url.scheme_str() {
            Some("http" | "https") if !has_userinfo(&url) => Ok(text.into()),
            Some("http" | "https") => Err(InvalidUrl::Userinfo),
            _ => Err(InvalidUrl::Scheme),
        }
    })
}

/// An http proxy on the way to an authorization server.
pub(super) fn proxy(value: &Value<'_>) -> Result<Uri, Told> {
    value.parse("write a URL such as \"http://proxy.example.com:3128\"", |text| {
        let url = absolute(text)?;
        match url.scheme_str() {
            Some("http" | "https") if !has_userinfo(&url) => Ok(url),
            Some("http" | "https") => Err(InvalidUrl::Userinfo),
            _ => Err(InvalidUrl::Scheme),
        }
    })
}

/// The name of a table: a label in metrics and logs, so it is short and plain.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || NAME_MAX_BYTES < name.len() || !name.bytes().all(is_plain) {
        return Err("a name has 1 to 64 letters, digits, `_`, `-` and `.`");
    }
    Ok(())
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InvalidDuration {
    Grammar,
    TooLong,
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "not a duration: a whole number with ms, s, m, h or d",
            Self::TooLong => "longer than 3650 days",
        })
    }
}

fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut left = text;
    let mut unit_before = u64::MAX;
    while !left.is_empty() {
        let (number, rest) = split_number(left).ok_or(InvalidDuration::Grammar)?;
        let at = rest.find(|one: char| !one.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at_checked(at).ok_or(InvalidDuration::Grammar)?;
        let unit_ms = unit_ms(unit).filter(|unit| *unit < unit_before);
        let unit_ms = unit_ms.ok_or(InvalidDuration::Grammar)?;
        let part = number.checked_mul(unit_ms).ok_or(InvalidDuration::TooLong)?;
        total = total.saturating_add(Duration::from_millis(part));
        (left, unit_before) = (rest, unit_ms);
    }
    match total {
        _ if text.is_empty() => Err(InvalidDuration::Grammar),
        total if DURATION_MAX < total => Err(InvalidDuration::TooLong),
        total => Ok(total),
    }
}

fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InvalidSize {
    Grammar,
    TooLarge,
}

impl fmt::Display for InvalidSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "not a size: a whole number with B, KiB, MiB or GiB (or KB, MB, GB)",
            Self::TooLarge => "too large",
        })
    }
}

fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let (number, unit) = split_number(text).ok_or(InvalidSize::Grammar)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(InvalidSize::Grammar),
    };
    number.checked_mul(unit_bytes).ok_or(InvalidSize::TooLarge)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, rest))
}

/// Why a text is no URL that can be used where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InvalidUrl {
    Grammar,
    Fragment,
    Scheme,
    Userinfo,
    Unsafe,
    More,
    Path,
    Port,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Grammar => "not a URL with a scheme and a host",
            Self::Fragment => "a URL to send requests to has no fragment",
            Self::Scheme => "its scheme does not fit here",
            Self::Userinfo => "a name or password in a URL would be a secret in this file",
            Self::Unsafe => {
                "tokens and secrets travel there, so it has to be https (http only on loopback), \
                 without user name, and not a link-local address"
            }
            Self::More => "an endpoint is a scheme, a host and a port: no path, no query",
            Self::Path => "a Unix socket has an absolute path",
            Self::Port => "port 0 is no port to connect to",
        })
    }
}

fn absolute(text: &str) -> Result<Uri, InvalidUrl> {
    // `Uri` drops a fragment without a word.
    if text.contains('#') {
        return Err(InvalidUrl::Fragment);
    }
    let url: Uri = text.parse().map_err(|_| InvalidUrl::Grammar)?;
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if url.scheme().is_some() && has_host { Ok(url) } else { Err(InvalidUrl::Grammar) }
}

fn has_userinfo(url: &Uri) -> bool {
    url.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

/// One endpoint of an upstream.
pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, InvalidUrl> {
    if let Some(path) = text.strip_prefix("unix:") {
        let address = EndpointAddress::Unix(path.into());
        let endpoint = Endpoint { protocol: EndpointProtocol::Http1, address };
        return if path.starts_with('/') { Ok(endpoint) } else { Err(InvalidUrl::Path) };
    }
    let url = absolute(text)?;
    let (protocol, default_port) = match url.scheme_str() {
        Some("http") => (EndpointProtocol::Http1, 80),
        Some("h2c") => (EndpointProtocol::H2c, 80),
        Some("https") => (EndpointProtocol::Tls, 443),
        _ => return Err(InvalidUrl::Scheme),
    };
    if has_userinfo(&url) {
        return Err(InvalidUrl::Userinfo);
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(InvalidUrl::More);
    }
    let port = port(&url, default_port)?;
    let address = address(url.host().unwrap_or_default(), port)?;
    Ok(Endpoint { protocol, address })
}

/// `Uri` takes a port that is none for an absent one, and must not turn it into the default.
fn port(url: &Uri, default: u16) -> Result<u16, InvalidUrl> {
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    let host = url.host().unwrap_or_default();
    match authority.strip_prefix(host).map(|rest| rest.strip_prefix(':').unwrap_or(rest)) {
        Some("") => Ok(default),
        Some(port) => match port.parse() {
            Ok(0) => Err(InvalidUrl::Port),
            Ok(port) => Ok(port),
            Err(_) => Err(InvalidUrl::Grammar),
        },
        None => Err(InvalidUrl::Grammar),
    }
}

fn address(host: &str, port: u16) -> Result<EndpointAddress, InvalidUrl> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(EndpointAddress::Ip(SocketAddr::new(ip, port)));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // A dot at the end says that the name is whole: no search list is tried.
    let name = host.to_ascii_lowercase();
    let is_name = name.strip_suffix('.').unwrap_or(&name).split('.').all(is_label);
    // What ends in digits alone is an address that somebody mistyped (RFC 3696 §2).
    let is_numeric = name.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    match is_name && !is_numeric && name.len() <= 254 {
        true => Ok(EndpointAddress::Name(name.into(), port)),
        false => Err(InvalidUrl::Grammar),
    }
}

/// Longer than any key set, token or connection should be left to itself.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Metrics carry it on each line.
const NAME_MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_whole_numbers_with_units_from_large_to_small() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "1.5s", "-1s", "1s1s", "1s1m", "5 s", "5S", "1h ", "é", "1é"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::Grammar), "{text}");
        }
        for text in ["99999999999999999d", "3651d", "18446744073709551615ms"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::TooLong), "{text}");
        }
    }

    #[test]
    fn a_size_is_a_whole_number_with_a_unit() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MB", 1_000_000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64K", "64 KiB", "1.5MiB", "-1B", "kiB", "64kib"] {
            assert_eq!(parse_size(text), Err(InvalidSize::Grammar), "{text}");
        }
        assert_eq!(parse_size("18446744073709551615GiB"), Err(InvalidSize::TooLarge));
    }

    #[test]
    fn an_endpoint_is_a_scheme_with_a_host_and_a_port_or_a_socket() {
        use EndpointProtocol::{H2c, Http1, Tls};
        let name = |name: &str, port| EndpointAddress::Name(name.into(), port);
        let ip = |text: &str| EndpointAddress::Ip(text.parse().unwrap());
        for (text, protocol, address) in [
            ("http://10.0.0.4:9000", Http1, ip("10.0.0.4:9000")),
            ("http://[::1]:9000/", Http1, ip("[::1]:9000")),
            ("h2c://Orders.svc", H2c, name("orders.svc", 80)),
            ("https://orders.example.com", Tls, name("orders.example.com", 443)),
            ("unix:/run/app.sock", Http1, EndpointAddress::Unix("/run/app.sock".into())),
        ] {
            assert_eq!(parse_endpoint(text), Ok(Endpoint { protocol, address }), "{text}");
        }
        for (text, expected) in [
            ("10.0.0.4:9000", InvalidUrl::Grammar),
            ("http://", InvalidUrl::Grammar),
            ("http://10.0.0.256", InvalidUrl::Grammar),
            ("http://a..b", InvalidUrl::Grammar),
            ("http://a:99999", InvalidUrl::Grammar),
            ("http://a:0", InvalidUrl::Port),
            ("http://a/b", InvalidUrl::More),
            ("http://a?b", InvalidUrl::More),
            ("http://a#b", InvalidUrl::Fragment),
            ("http://u:p@a", InvalidUrl::Userinfo),
            ("ftp://a", InvalidUrl::Scheme),
            ("unix:run/app.sock", InvalidUrl::Path),
        ] {
            assert_eq!(parse_endpoint(text), Err(expected), "{text}");
        }
    }
    #[test]
    fn an_endpoint_is_shown_as_it_is_written() {
        for text in
            ["http://10.0.0.4:9000", "h2c://a.test:80", "https://a.test:443", "unix:/a.sock"]
        {
            assert_eq!(parse_endpoint(text).unwrap().to_string(), text);
        }
    }
}
