//! A request's first reading: its host, its path, what it expects. Pure, and before any route.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Version, request};

use crate::reject::{MalformedRequest, Rejection, Unsupported};
use crate::route::{NormalHost, NormalPath};

/// What of a request decides its route.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Host and port as the caller wrote them: what the upstream gets as `Host`.
    pub(super) authority: &'a str,
    /// The host in its normal form.
    pub(super) host: NormalHost<'a>,
    /// The path in its normal form.
    pub(super) path: NormalPath<'a>,
}

impl<'a> Entry<'a> {
    /// Reads a request's head.
    ///
    /// # Errors
    /// When the host or the path has two readings or none, or the request wants what no gateway
    /// does.
    pub(super) fn read(parts: &'a request::Parts) -> Result<Self, Rejection> {
        check_scheme(parts.uri.scheme())?;
        let (authority, host) = Self::site(parts)?;
        let path = NormalPath::parse(parts.uri.path())
            .map_err(|_| Rejection::RequestMalformed(MalformedRequest::Path))?;
        Ok(Self { authority, host, path })
    }

    /// Reads all but the path: `*` is none, and asks about the server of this host
    /// (RFC 9112 §3.2.4).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn site(parts: &'a request::Parts) -> Result<(&'a str, NormalHost<'a>), Rejection> {
        if parts.method == Method::CONNECT {
            return Err(Rejection::NotSupported(Unsupported::Connect));
        }
        check_expectation(&parts.headers, parts.version)?;
        check_transfer_coding(&parts.headers)?;
        check_edges(&parts.headers, parts.version)?;
        let authority = authority(parts)?;
        let host = NormalHost::parse(authority)
            .map_err(|_| Rejection::RequestMalformed(MalformedRequest::Host))?;
        Ok((authority, host))
    }
}

/// RFC 9113 §8.3.1: `:authority` counts, and a Host field that differs makes the request malformed.
/// So it is over HTTP/1.1: RFC 9112 §3.2.2 has the authority of an absolute target count, but who
/// stands in front may have gone by the field.
fn authority(parts: &request::Parts) -> Result<&str, Rejection> {
    let malformed = Rejection::RequestMalformed(MalformedRequest::Host);
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(malformed),
        (Some(field), None) => Some(field.to_str().map_err(|_| malformed.clone())?),
        (None, None) => None,
    };
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    match (target, field) {
        (Some(target), Some(field)) if target.eq_ignore_ascii_case(field) => Ok(target),
        (Some(_), Some(_)) => Err(malformed),
        // RFC 9112 §3.2: an HTTP/1.1 request has a Host field, whatever form its target has.
        (Some(_), None) if parts.version != Version::HTTP_2 => Err(malformed),
        (Some(target), None) => Ok(target),
        (None, Some(field)) => Ok(field),
        (None, None) => Err(malformed),
    }
}

/// RFC 9110 §4.2: what else an absolute target may name is no resource of ours.
fn check_scheme(scheme: Option<&Scheme>) -> Result<(), Rejection> {
    match scheme {
        Some(other) if *other != Scheme::HTTP && *other != Scheme::HTTPS => {
            Err(Rejection::RequestMalformed(MalformedRequest::Target))
        }
        _ => Ok(()),
    }
}

/// RFC 9110 §10.1.1: `100-continue` is the one expectation there is; HTTP/1.0 knows none.
fn check_expectation(headers: &HeaderMap, version: Version) -> Result<(), Rejection> {
    if version == Version::HTTP_10 {
        return Ok(());
    }
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(is_known) {
        Ok(())
    } else {
        Err(Rejection::NotSupported(Unsupported::Expectation))
    }
}

/// RFC 9112 §6.1: `chunked` is the one transfer coding that we know.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Rejection> {
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_chunked(coding) => Ok(()),
        (Some(_), _) => Err(Rejection::NotSupported(Unsupported::TransferCoding)),
    }
}

/// RFC 9113 §8.2.1: over HTTP/2 a value neither begins nor ends with a blank. HTTP/1.1 takes such
/// blanks off, so an upstream of each version would read another value.
fn check_edges(headers: &HeaderMap, version: Version) -> Result<(), Rejection> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_malformed = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        is_blank(bytes.first()) || is_blank(bytes.last())
    };
    if version == Version::HTTP_2 && headers.values().any(is_malformed) {
        return Err(Rejection::RequestMalformed(MalformedRequest::Field));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(request: Request<()>) -> Result<(String, String), Rejection> {
        let (parts, ()) = request.into_parts();
        let entry = Entry::read(&parts)?;
        Ok((entry.authority.to_owned(), entry.host.as_str().to_owned()))
    }

    fn http1(target: &str, hosts: &[&str]) -> Request<()> {
        let request =
            hosts.iter().fold(Request::builder(), |request, host| request.header(HOST, *host));
        request.uri(target).body(()).unwrap()
    }

    fn http2(target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = http1(target, hosts);
        *request.version_mut() = Version::HTTP_2;
        request
    }

    #[test]
    fn one_host_decides_and_two_are_refused() {
        let malformed = Err(Rejection::RequestMalformed(MalformedRequest::Host));
        let found = |authority: &str, host: &str| Ok((authority.to_owned(), host.to_owned()));
        #[rustfmt::skip]
        let cases = [
            ("rfc9112 3.2: one Host",                 http1("/", &["API.test:8443"]),          found("API.test:8443", "api.test")),
            ("rfc9112 3.2: none",                     http1("/", &[]),                         malformed.clone()),
            ("rfc9112 3.2: two",                      http1("/", &["a", "a"]),                 malformed.clone()),
            ("rfc9112 3.2: empty",                    http1("/", &[""]),                       malformed.clone()),
            ("rfc9110 4.2.4: userinfo",               http1("/", &["u@a"]),                    malformed.clone()),
            ("rfc9112 3.2.2: absolute, Host agrees",  http1("http://a/x", &["A"]),             found("a", "a")),
            ("rfc9112 3.2.2: absolute, Host differs", http1("http://a/x", &["b"]),             malformed.clone()),
            ("rfc9112 3.2: absolute without Host",    http1("http://a/x", &[]),                malformed.clone()),
            ("rfc9113 8.3.1: :authority alone",       http2("https://a/x", &[]),               found("a", "a")),
            ("rfc9113 8.3.1: Host that agrees",       http2("https://a/x", &["A"]),            found("a", "a")),
            ("rfc9113 8.3.1: Host that differs",      http2("https://a/x", &["b"]),            malformed.clone()),
            ("rfc9113 8.3.1: neither",                http2("/x", &[]),                        malformed),
        ];
        for (claim, request, expected) in cases {
            assert_eq!(read(request), expected, "{claim}");
        }
    }

    #[test]
    fn rfc9110_4_2_an_absolute_target_is_http_or_https() {
        let malformed = Err(Rejection::RequestMalformed(MalformedRequest::Target));
        assert_eq!(read(http1("ftp://a/x", &["a"])), malformed);
        assert!(read(http1("https://a/x", &["a"])).is_ok());
    }

    #[test]
    fn rfc9110_10_1_1_only_100_continue_can_be_expected() {
        let expecting = |value: &str, version| {
            let request = Request::builder().header(HOST, "a").header(EXPECT, value);
            read(request.version(version).body(()).unwrap()).map(drop)
        };
        assert_eq!(expecting("100-Continue", Version::HTTP_11), Ok(()));
        assert_eq!(expecting("anything", Version::HTTP_10), Ok(()));
        let refused = Err(Rejection::NotSupported(Unsupported::Expectation));
        assert_eq!(expecting("anything", Version::HTTP_11), refused);
    }

    #[test]
    fn rfc9112_6_1_chunked_is_the_one_transfer_coding() {
        let coded = |codings: &[&str]| {
            let request =
                codings.iter().fold(Request::builder().header(HOST, "a"), |request, one| {
                    request.header(TRANSFER_ENCODING, *one)
                });
            read(request.body(()).unwrap()).map(drop)
        };
        assert_eq!(coded(&["Chunked"]), Ok(()));
        for codings in
            [&["gzip, chunked"][..], &["gzip", "chunked"], &["chunked", "chunked"], &["x"]]
        {
            let refused = Err(Rejection::NotSupported(Unsupported::TransferCoding));
            assert_eq!(coded(codings), refused, "{codings:?}");
        }
    }

    #[test]
    fn rfc9110_9_3_6_connect_is_not_done() {
        let request = Request::builder().method(Method::CONNECT).uri("a:443").header(HOST, "a:443");
        let refused = Err(Rejection::NotSupported(Unsupported::Connect));
        assert_eq!(read(request.body(()).unwrap()), refused);
    }
}
