//! One HTTP/1.1 answer (RFC 9112), read to its end and no further.
//!
//! Pure: bytes in, and out comes whether the answer is whole. The body is skipped, not kept.
//! Cost for an answer that arrives in one piece: one pass of `httparse` over its head.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use crate::body::{Chunked, MalformedChunks};
use crate::load::failure::Failure;

/// How far the reading of an answer is.
#[derive(Debug)]
pub(super) struct Reading {
    asked: Asked,
    head: Option<Head>,
    body: Body,
}

/// Whether a body can follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// By `HEAD`: the fields speak of a body that is not sent (RFC 9110 §9.3.2).
    HeadAlone,
    /// By any other method.
    Whole,
}

/// What a head says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// The status code.
    pub(super) status: u16,
    /// Whether the connection can be used again.
    pub(super) keep_alive: bool,
}

/// What of the body is to come.
#[derive(Debug)]
enum Body {
    Length(u64),
    Chunked(Chunked),
    ToClose,
}

/// Where the reading is after some bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// So many bytes are used up, and more must come.
    More(usize),
    /// The answer ended after so many bytes.
    Done(usize, Head),
}

impl Reading {
    /// Before the first byte.
    pub(super) const fn new(asked: Asked) -> Self {
        Self { asked, head: None, body: Body::Length(0) }
    }

    /// Reads on. Bytes that are not used up must be given again, with more.
    ///
    /// # Errors
    /// [`Failure::Malformed`].
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Step, Failure> {
        let mut used = 0;
        while self.head.is_none() {
            let rest = bytes.get(used..).unwrap_or_default();
            match self.read_head(rest)? {
                Some(length) => used += length,
                None => return Ok(Step::More(used)),
            }
        }
        let head = self.head.ok_or(Failure::Malformed)?;
        let rest = bytes.get(used..).unwrap_or_default();
        used += self.skip(rest)?;
        Ok(if self.body.is_over() { Step::Done(used, head) } else { Step::More(used) })
    }

    /// The connection has ended: the answer, if that is how it ends.
    ///
    /// # Errors
    /// [`Failure::Closed`] before the first byte, else [`Failure::Truncated`].
    pub(super) fn close(&self, unread: usize) -> Result<Head, Failure> {
        match (self.head, &self.body) {
            (Some(head), Body::ToClose) => Ok(head),
            (None, _) if unread == 0 => Err(Failure::Closed),
            _ => Err(Failure::Truncated),
        }
    }

    /// Reads a head, if it is there, and says how long it is.
    fn read_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
        let mut response = Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut fields,
        );
        let Status::Complete(length) = parsed.map_err(|_| Failure::Malformed)? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        if is_interim(status)? {
            return Ok(Some(length));
        }
        let fields = Fields::of(response.headers)?;
        self.body = body(self.asked, status, &fields)?;
        let keep_alive = match response.version {
            Some(1) => !fields.close,
            _ => fields.keep_alive && !fields.close,
        };
        let is_told = !matches!(self.body, Body::ToClose);
        self.head = Some(Head { status, keep_alive: keep_alive && is_told });
        Ok(Some(length))
    }

    /// Skips what belongs to the body, and says how long it is.
    fn skip(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        match &mut self.body {
            Body::ToClose => Ok(bytes.len()),
            Body::Chunked(chunked) => {
                chunked.skip(bytes).map_err(|MalformedChunks| Failure::Malformed)
            }
            Body::Length(left) => {
                let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                Ok(usize::try_from(here).unwrap_or(bytes.len()))
            }
        }
    }
}

impl Body {
    /// Whether its last byte was skipped.
    fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_over(),
            Self::ToClose => false,
        }
    }
}

/// Whether the final answer is still to come (RFC 9110 §15.2). Nobody asked to switch protocols.
fn is_interim(status: u16) -> Result<bool, Failure> {
    match status {
        101 => Err(Failure::Malformed),
        100..=199 => Ok(true),
        200..=599 => Ok(false),
        _ => Err(Failure::Malformed),
    }
}

/// How the body's end is known (RFC 9112 §6.3).
fn body(asked: Asked, status: u16, fields: &Fields) -> Result<Body, Failure> {
    match (fields.coding, fields.length) {
        _ if asked == Asked::HeadAlone || matches!(status, 204 | 304) => Ok(Body::Length(0)),
        // Two readings: what one reader takes for the end, another takes for data.
        (Some(_), Some(_)) => Err(Failure::Malformed),
        (Some(Coding::Chunked), None) => Ok(Body::Chunked(Chunked::default())),
        (None, Some(length)) => Ok(Body::Length(length)),
        (Some(Coding::Other), None) | (None, None) => Ok(Body::ToClose),
    }
}

/// What the fields say of framing and connection.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    coding: Option<Coding>,
    close: bool,
    keep_alive: bool,
}

/// The last transfer coding.
#[derive(Clone, Copy)]
enum Coding {
    Chunked,
    Other,
}

impl Fields {
    fn of(headers: &[Header<'_>]) -> Result<Self, Failure> {
        let mut fields = Self::default();
        for Header { name, value } in headers {
            // By length first: most fields are none of these.
            match name.len() {
                14 if name.eq_ignore_ascii_case("content-length") => fields.length(value)?,
                17 if name.eq_ignore_ascii_case("transfer-encoding") => fields.coding(value),
                10 if name.eq_ignore_ascii_case("connection") => fields.connection(value),
                _ => {}
            }
        }
        Ok(fields)
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Failure> {
        let digits = value.iter().all(u8::is_ascii_digit).then_some(value);
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let length = text.and_then(|text| text.parse().ok()).ok_or(Failure::Malformed)?;
        match self.length.replace(length) {
            Some(before) if before != length => Err(Failure::Malformed),
            _ => Ok(()),
        }
    }

    fn coding(&mut self, value: &[u8]) {
        let is_chunked = items(value).last().is_some_and(|last| last.eq_ignore_ascii_case(CHUNKED));
        self.coding = Some(if is_chunked { Coding::Chunked } else { Coding::Other });
    }

    fn connection(&mut self, value: &[u8]) {
        for item in items(value) {
            self.close |= item.eq_ignore_ascii_case(b"close");
            self.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// The items of a list field.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

const CHUNKED: &[u8] = b"chunked";
/// As many as nginx and Envoy let through by far.
const FIELDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads bytes in pieces, as the connection does.
    fn read(asked: Asked, bytes: &[u8], piece: usize) -> Result<(usize, Head), Failure> {
        let (mut reading, mut unread, mut used_before) = (Reading::new(asked), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            unread.extend_from_slice(piece);
            match reading.advance(&unread)? {
                Step::Done(used, head) => return Ok((used_before + used, head)),
                Step::More(used) => {
                    used_before += used;
                    unread.drain(..used);
                }
            }
        }
        reading.close(unread.len()).map(|head| (used_before, head))
    }

    #[test]
    fn the_end_of_an_answer_is_found_however_it_arrives() {
        #[rustfmt::skip]
        let cases: [(&str, &[u8], u16, bool); 9] = [
            ("by length",      b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, true),
            ("length, close",  b"HTTP/1.1 401 X\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", 401, false),
            ("no reason",      b"HTTP/1.1 403\r\ncontent-length: 1\r\n\r\nx", 403, true),
            ("chunked",        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, true),
            ("to the close",   b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, false),
            ("no content",     b"HTTP/1.1 204 No Content\r\n\r\n", 204, true),
            ("interim first",  b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, true),
            ("HTTP/1.0",       b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, false),
            ("1.0 kept alive", b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", 200, true),
        ];
        for (claim, bytes, status, keep_alive) in cases {
            for piece in 1..=bytes.len() {
                let expected = Ok((bytes.len(), Head { status, keep_alive }));
                assert_eq!(read(Asked::Whole, bytes, piece), expected, "{claim}, by {piece}");
            }
        }
    }

    #[test]
    fn rfc9110_9_3_2_an_answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert!(matches!(read(Asked::HeadAlone, bytes, 100), Ok((38, _))));
    }

    #[test]
    fn rfc9112_6_3_what_cannot_be_trusted_is_no_answer() {
        #[rustfmt::skip]
        let cases: [(&str, &[u8], Failure); 9] = [
            ("nothing",         b"", Failure::Closed),
            ("half a head",     b"HTTP/1.1 200 OK\r\ncont", Failure::Truncated),
            ("half a body",     b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal", Failure::Truncated),
            ("half a chunk",    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal", Failure::Truncated),
            ("not HTTP",        b"SSH-2.0-OpenSSH\r\n", Failure::Malformed),
            ("two lengths",     b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", Failure::Malformed),
            ("length and coding", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx", Failure::Malformed),
            ("a sign",          b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", Failure::Malformed),
            ("other protocol",  b"HTTP/1.1 101 Switching\r\n\r\n", Failure::Malformed),
        ];
        for (claim, bytes, failure) in cases {
            assert_eq!(read(Asked::Whole, bytes, 100), Err(failure), "{claim}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_not_used_up() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxtra";
        assert!(matches!(read(Asked::Whole, bytes, 100), Ok((used, _)) if used + 3 == bytes.len()));
    }
}
