//! What a request looks like on the upstream's connection, and which answers count.
//!
//! Why `Expect` is dropped where there is a body: hyper's client does not wait for a `100`. The
//! caller got its own from us when the body was first asked for, so nothing is lost but the
//! upstream's chance to refuse before the body (RFC 9110 §10.1.1).

use std::error::Error as _;

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::Body;
use crate::reject::UpstreamFailure;

/// Makes it an HTTP/1.1 request: origin-form, `Host`, one `Cookie`, a framing that says what
/// follows.
pub(super) fn prepare_http1(request: &mut Request<Body>) {
    if request.uri().authority().is_some() {
        to_origin_form(request);
    }
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;
    let has_body = !request.body().is_end_stream();
    let has_length = request.body().size_hint().exact().is_some();
    let method = request.method();
    let is_bodiless_by_habit = *method == Method::GET || *method == Method::HEAD;
    let wants_length = !has_body && means_content(method);
    let headers = request.headers_mut();
    if has_body {
        headers.remove(EXPECT);
    }
    if has_body && !has_length && is_bodiless_by_habit {
        // hyper would leave the body of a GET away if its length is not known.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if wants_length && !headers.contains_key(CONTENT_LENGTH) {
        // RFC 9110 §8.6: servers ask for it, and a caller over HTTP/2 has no reason to send it.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// Makes it an HTTP/2 request: the `Host` becomes the authority (RFC 9113 §8.3.1).
pub(super) fn prepare_http2(
    request: &mut Request<Body>,
    scheme: Scheme,
) -> Result<(), UpstreamFailure> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
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
pub(super) fn accept(
    response: &mut Response<Incoming>,
    protocol: Version,
) -> Result<(), UpstreamFailure> {
    // RFC 9110 §7.8: we asked for no other protocol.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamFailure::Malformed);
    }
    if protocol == Version::HTTP_11 && response.body().size_hint().exact().is_none() {
        check_framing(response)?;
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(())
}

/// RFC 9112 §6.3: a length beside a transfer coding is an error or an attack, and a coding that we
/// do not undo would reach the caller without its name.
fn check_framing(response: &Response<Incoming>) -> Result<(), UpstreamFailure> {
    let headers = response.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match is_chunked && codings.next().is_none() && !headers.contains_key(CONTENT_LENGTH) {
        true => Ok(()),
        false => Err(UpstreamFailure::Malformed),
    }
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

/// Methods whose content means something even where there is none.
fn means_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
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
