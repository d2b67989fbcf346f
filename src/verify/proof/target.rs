//! The address of a request, as `htu` and as the caller used it, in one normal form
//! (RFC 9449 §4.3 #9, RFC 3986 §6.2.2 and §6.2.3).

use crate::route::{NormalHost, NormalPath};

/// An http or https URL without query and fragment. Two that are equal name one resource.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    Http,
    Https,
}

impl Target {
    /// Reads a URL: scheme and host in small letters, the scheme's own port filled in, the path in the
    /// form that routes are found by. `None` for whatever no request can be for.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = url.split(['?', '#']).next()?;
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, own_port) = if scheme.eq_ignore_ascii_case("https") {
            (Scheme::Https, 443)
        } else if scheme.eq_ignore_ascii_case("http") {
            (Scheme::Http, 80)
        } else {
            return None;
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // Userinfo is none of a host's characters.
        let host = NormalHost::parse(authority).ok()?.as_str().to_owned();
        let port = match port(authority) {
            None | Some("") => own_port,
            Some(port) => port.parse().ok()?,
        };
        let path = if path.is_empty() { "/" } else { path };
        let path = NormalPath::parse(path).ok()?.as_str().to_owned();
        Some(Self { scheme, host, port, path })
    }
}

/// What stands behind the last colon that is not inside of an IPv6 address.
fn port(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    (!port.contains(']')).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9449_4_3_htu_matches_after_normalisation() {
        let request = Target::parse("https://api.test/a~b/%C3%A9/c").unwrap();
        #[rustfmt::skip]
        let cases = [
            ("https://api.test/a~b/%C3%A9/c",          true),
            ("HTTPS://API.Test:443/a%7eb/%c3%a9/c",    true),
            ("https://api.test./a~b/%C3%A9/c",         true),
            ("https://api.test:/a~b/%C3%A9/c",         true),
            ("https://api.test/a~b/%C3%A9/c?q=1",      true),
            ("https://api.test/a~b/%C3%A9/c#f",        true),
            ("http://api.test/a~b/%C3%A9/c",           false),
            ("https://api.test:8443/a~b/%C3%A9/c",     false),
            ("https://api.test:80/a~b/%C3%A9/c",       false),
            ("https://evil.test/a~b/%C3%A9/c",         false),
            ("https://api.test.evil/a~b/%C3%A9/c",     false),
            ("https://api.test@evil.test/a~b/%C3%A9/c", false),
            ("https://u@api.test/a~b/%C3%A9/c",        false),
            ("https://api.test/a~b/%C3%A9/c/",         false),
            ("https://api.test/a~b/%C3%A9",            false),
            ("https://api.test/A~b/%C3%A9/c",          false),
            ("https://api.test/x/../a~b/%C3%A9/c",     false),
            ("https://api.test",                       false),
            ("//api.test/a~b/%C3%A9/c",                false),
            ("/a~b/%C3%A9/c",                          false),
            ("ftp://api.test/a~b/%C3%A9/c",            false),
            (" https://api.test/a~b/%C3%A9/c",         false),
            ("",                                       false),
        ];
        for (htu, matches) in cases {
            assert_eq!(Target::parse(htu).as_ref() == Some(&request), matches, "{htu}");
        }
    }

    #[test]
    fn ports_and_empty_paths_have_one_form() {
        for (one, other) in [
            ("http://[2001:DB8::0001]/", "http://[2001:db8::1]:80"),
            ("https://a", "https://A:443/"),
            ("http://a:8080/x", "http://a:08080/x"),
        ] {
            assert_eq!(Target::parse(one), Target::parse(other), "{one}");
            assert!(Target::parse(one).is_some(), "{one}");
        }
        for url in
            ["https://a:70000/", "https://[::1", "https:///x", "https://a/%zz", "https://a b/"]
        {
            assert_eq!(Target::parse(url), None, "{url}");
        }
    }
}
