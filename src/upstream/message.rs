//! What a request looks like to an upstream of either version, and which answers over HTTP/2 count.
//! How HTTP/1.1 is framed is in [`http1`](super::http1).

use std::error::Error as _;

use http::header::{COOKIE, EXPECT, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::Body;
use crate::reject::UpstreamFailure;

/// Makes it an HTTP/1.1 request: origin-form, `Host`, one `Cookie`.
pub(super) fn prepare_http1(request: &mut Request<Body>) {
    if request.uri().authority().is_some() {
        to_origin_form(request);
    }
    match request.version() {
        Version::HTTP_2 => join_cookies(request.headers_mut()),
        // RFC 9110 §10.1.1: it can expect nothing.
        Version::HTTP_10 => drop(request.headers_mut().remove(EXPECT)),
        _ => {}
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Makes it an HTTP/2 request: the `Host` becomes the authority (RFC 9113 §8.3.1).
pub(super) fn prepare_http2(
    request: &mut Request<Body>,
    scheme: Scheme,
) -> Result<(), UpstreamFailure> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    // hyper hides interim answers over HTTP/2: nobody would hear the 100 that is waited for.
    if !request.body().is_end_stream() {
        request.headers_mut().remove(EXPECT);
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme);
    if let Some(host) = host {
        parts.authority = Authority::try_from(host.as_bytes()).ok();
    }
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    // The gateway has validated the host; should it not have, nothing is sent.
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| UpstreamFailure::Malformed)?;
    Ok(())
}

/// A second copy of a request that has no body to read.
pub(super) fn copy_of(request: &Request<Body>) -> Option<Request<Body>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Refuses what is no answer to a request of ours, and makes the version our own.
pub(super) fn accept(response: &mut Response<Incoming>) -> Result<(), UpstreamFailure> {
    // RFC 9110 §7.8: we asked for no other protocol.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamFailure::Malformed);
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Why an exchange came to nothing.
pub(super) fn failure_of(error: &hyper::Error) -> UpstreamFailure {
    if error.is_parse() {
        return UpstreamFailure::Malformed;
    }
    match h2_error(error) {
        // Our side found the breach.
        Some(error) if error.is_library() && !error.is_io() => UpstreamFailure::Malformed,
        _ => UpstreamFailure::Reset,
    }
}

/// Whether the other side has said that it did nothing with the request: `REFUSED_STREAM`, or a
/// `GOAWAY` that does not cover the stream (RFC 9113 §8.7).
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused || error.is_go_away())
    })
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

fn to_origin_form(request: &mut Request<Body>) {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = &parts.authority
        && !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
}

/// RFC 9113 §8.2.3: HTTP/2 may split the field, HTTP/1.1 may not.
fn join_cookies(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (fields.next(), fields.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for field in std::iter::once(second).chain(fields) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(field.as_bytes());
    }
    if let Ok(mut joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, version: Version) -> Request<Body> {
        Request::builder().uri(uri).version(version).body(Body::empty()).unwrap()
    }

    #[test]
    fn rfc9112_3_2_1_an_http1_upstream_gets_origin_form_with_path_and_query_as_received() {
        for (uri, target, host) in [
            ("/a/b?c=d&e", "/a/b?c=d&e", None),
            ("http://api.test/a%20b?%7e", "/a%20b?%7e", Some("api.test")),
            ("https://api.test:8443?q", "/?q", Some("api.test:8443")),
            ("http://api.test", "/", Some("api.test")),
        ] {
            let mut request = request(uri, Version::HTTP_2);
            prepare_http1(&mut request);
            assert_eq!(request.uri(), target);
            assert_eq!(request.version(), Version::HTTP_11);
            assert_eq!(request.headers().get(HOST).map(|host| host.to_str().unwrap()), host);
        }
    }

    #[test]
    fn rfc9113_8_3_1_an_http2_upstream_gets_the_host_as_authority() {
        let mut request = request("/a?b", Version::HTTP_11);
        request.headers_mut().insert(HOST, HeaderValue::from_static("api.test:81"));
        prepare_http2(&mut request, Scheme::HTTP).unwrap();
        assert_eq!(request.uri(), "http://api.test:81/a?b");
        assert!(!request.headers().contains_key(HOST));
        prepare_http1(&mut request);
        assert_eq!(request.uri(), "/a?b", "and back, should the other endpoint speak HTTP/1.1");
        assert_eq!(request.headers()[HOST], "api.test:81");
    }

    #[test]
    fn rfc9113_8_2_3_cookie_fields_are_joined_towards_http1() {
        let mut request = request("/", Version::HTTP_2);
        for cookie in ["a=1", "b=2", "c=3"] {
            request.headers_mut().append(COOKIE, HeaderValue::from_static(cookie));
        }
        prepare_http1(&mut request);
        let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn only_a_request_without_a_body_is_copied() {
        let mut request = request("/", Version::HTTP_11);
        assert!(copy_of(&request).is_some());
        *request.body_mut() = Body::full("x".into());
        assert!(copy_of(&request).is_none());
    }
}
