//! A request's head as it is written (RFC 9112 §3 and §6). Pure.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body as _;

use crate::body::Body;

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// There is none.
    Nothing,
    /// That many bytes, and `Content-Length` says so.
    Length(u64),
    Chunked,
}

impl Framing {
    /// What a body says of itself. Whatever its caller framed it by has been checked by the
    /// server's side, and what came over HTTP/2 without a length has none here either.
    pub(super) fn of(body: &Body) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::Nothing,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// Appends a request's head to `out`. Its fields are final but for the framing, which is ours.
///
pub(super) fn write(out: &mut Vec<u8>, request: &Request<Body>, framing: Framing) {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    write_target(out, request.uri());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            write_field(out, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => write_field(out, "transfer-encoding", b"chunked"),
        Framing::Nothing if tells_zero(request.method(), request.headers()) => {
            write_length(out, 0);
        }
        Framing::Nothing => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one field line.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number's digits to that base, at most 16.
pub(super) fn write_number(out: &mut Vec<u8>, number: u64, base: u64) {
    let mut digits = [0; DIGITS_MAX];
    let (mut rest, mut start) = (number, DIGITS_MAX);
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get((rest % base) as usize).copied().unwrap_or(b'0');
        rest /= base;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Origin-form or, for `OPTIONS`, asterisk-form (RFC 9112 §3.2).
fn write_target(out: &mut Vec<u8>, uri: &Uri) {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') && target != "*" {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    write_number(out, length, 10);
    out.extend_from_slice(b"\r\n");
}

/// RFC 9110 §8.6: servers ask for a length where content means something, even where there is
/// none, and a caller over HTTP/2 has no reason to send it. One that sent it is taken at its word.
fn tells_zero(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
        || headers.contains_key(CONTENT_LENGTH)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Digits of the largest number, to base 10.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: &Request<Body>) -> String {
        let mut out = Vec::new();
        write(&mut out, request, Framing::of(request.body()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc9112_6_the_framing_is_what_the_body_says() {
        #[rustfmt::skip]
        let cases = [
            // method, fields, content, what is written
            ("GET", vec![], None, ""),
            ("GET", vec![("content-length", "0")], None, "content-length: 0\r\n"),
            ("GET", vec![("content-length", "30"), ("content-length", "0")], None, "content-length: 0\r\n"),
            ("GET", vec![("transfer-encoding", "chunked")], None, ""),
            ("GET", vec![("expect", "100-continue")], None, "expect: 100-continue\r\n"),
            ("DELETE", vec![], None, ""),
            ("POST", vec![], None, "content-length: 0\r\n"),
            ("PUT", vec![], None, "content-length: 0\r\n"),
            ("POST", vec![], Some("abc"), "content-length: 3\r\n"),
            ("GET", vec![], Some("abc"), "content-length: 3\r\n"),
            ("POST", vec![("content-length", "9")], Some("abc"), "content-length: 3\r\n"),
            ("POST", vec![("transfer-encoding", "chunked")], Some("abc"), "content-length: 3\r\n"),
            ("POST", vec![("expect", "100-continue"), ("a", "b")], Some("abc"), "expect: 100-continue\r\na: b\r\ncontent-length: 3\r\n"),
        ];
        for (method, fields, content, expected) in cases {
            let body = content
                .map_or_else(Body::empty, |content: &str| Body::full(content.to_owned().into()));
            let mut request = Request::builder().method(method).uri("/a?b");
            for (name, value) in &fields {
                request = request.header(*name, *value);
            }
            let expected = format!("{method} /a?b HTTP/1.1\r\n{expected}\r\n");
            assert_eq!(written(&request.body(body).unwrap()), expected, "{fields:?}");
        }
    }

    #[test]
    fn rfc9112_3_2_the_target_is_in_origin_form() {
        for (uri, target) in
            [("/", "/"), ("/a%20b?c", "/a%20b?c"), ("*", "*"), ("http://a?b", "/?b")]
        {
            let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
            assert_eq!(written(&request), format!("GET {target} HTTP/1.1\r\n\r\n"), "{uri}");
        }
    }

    #[test]
    fn a_field_is_written_as_often_as_it_stands_and_byte_by_byte() {
        let mut request = Request::builder().uri("/").body(Body::empty()).unwrap();
        for value in [&b"1"[..], b"2", b"\xff\t"] {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append("x-a", value);
        }
        let mut out = Vec::new();
        write(&mut out, &request, Framing::Nothing);
        assert_eq!(out, b"GET / HTTP/1.1\r\nx-a: 1\r\nx-a: 2\r\nx-a: \xff\t\r\n\r\n");
    }

    #[test]
    fn numbers_are_written_to_their_base() {
        for (number, base, expected) in
            [(0, 10, "0"), (7, 16, "7"), (255, 16, "ff"), (4096, 16, "1000"), (1024, 10, "1024")]
        {
            let mut out = Vec::new();
            write_number(&mut out, number, base);
            assert_eq!(out, expected.as_bytes());
        }
        let mut out = Vec::new();
        write_number(&mut out, u64::MAX, 10);
        assert_eq!(out, u64::MAX.to_string().as_bytes());
    }
}
