//! An answer's head as it is read (RFC 9112 §4 to §6, §9.3). Pure.
//!
//! The parser is hyper's own, `httparse`, as strict as hyper has it: no folded lines, no bare CR,
//! no white space around a name. What fields say of this connection alone ends here: a
//! `Connection` that names nothing but `close` or `keep-alive`, and `Transfer-Encoding`.
//!
//! Cost: two allocations for all values, as they share one copy of the head, and one for each name
//! that is not a standard one; none for the map, as the request's is filled anew.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::ext::ReasonPhrase;

use super::{Malformed, RESPONSE_FIELDS_MAX, RESPONSE_HEAD_MAX};

/// What was read so far.
pub(super) enum Answer {
    /// Not yet a head.
    Partial,
    /// An interim answer of that many bytes (RFC 9110 §15.2): none but `100` is of use. 101 is not
    /// among them: no other answer follows it in HTTP.
    Interim(StatusCode, usize),
    Final(Head),
}

/// The head of a final answer; its fields are in the map it was read into.
#[derive(Debug)]
pub(super) struct Head {
    /// Its bytes, the empty line included.
    pub(super) bytes: usize,
    pub(super) status: StatusCode,
    /// What the upstream says beside the number, where it is not the usual.
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) framing: Framing,
    /// Whether the upstream lets the connection carry another request.
    pub(super) keeps: bool,
    /// A copy of what was read, as far as it is small, from the head's first byte on.
    pub(super) copy: Bytes,
}

/// How an answer's end is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads the head of an answer to a request of that method from the start of `input`, and fills
/// `fields` if it is a final one. They hold what they held as long as it is not.
///
/// # Errors
/// What is no answer, has no clear end, or goes over a bound.
pub(super) fn read(
    input: &[u8],
    method: &Method,
    fields: &mut HeaderMap,
) -> Result<Answer, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; RESPONSE_FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        input,
        &mut room,
    );
    let bytes = match outcome.map_err(|_| Malformed)? {
        httparse::Status::Complete(bytes) if bytes <= RESPONSE_HEAD_MAX => bytes,
        httparse::Status::Partial if input.len() < RESPONSE_HEAD_MAX => return Ok(Answer::Partial),
        _ => return Err(Malformed),
    };
    let status = StatusCode::from_u16(parsed.code.ok_or(Malformed)?).map_err(|_| Malformed)?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Interim(status, bytes));
    }
    let copied = if input.len() <= COPY_MAX { input.len() } else { bytes };
    let copy = Bytes::copy_from_slice(input.get(..copied).unwrap_or_default());
    let mut reading = Reading::new(parsed.version == Some(1));
    fields.clear();
    for field in parsed.headers {
        let value = shared(&copy, input, field.value).ok_or(Malformed)?;
        reading.field(field.name, value, fields)?;
    }
    let framing = reading.framing(method, status)?;
    let reason = reason(parsed.reason, status);
    Ok(Answer::Final(Head { bytes, status, reason, framing, keeps: reading.keeps(), copy }))
}

/// A part of `input`, found in its copy: a value then shares the copy without being copied again.
fn shared(copy: &Bytes, input: &[u8], part: &[u8]) -> Option<Bytes> {
    if part.is_empty() {
        return Some(Bytes::new());
    }
    let start = part.as_ptr().addr().checked_sub(input.as_ptr().addr())?;
    let end = start.checked_add(part.len()).filter(|end| *end <= copy.len())?;
    Some(copy.slice(start..end))
}

/// What the fields read so far say about framing and connection.
struct Reading {
    is_http11: bool,
    length: Option<u64>,
    is_chunked: bool,
    is_closed: bool,
}

impl Reading {
    const fn new(is_http11: bool) -> Self {
        Self { is_http11, length: None, is_chunked: false, is_closed: false }
    }

    fn field(&mut self, name: &str, value: Bytes, fields: &mut HeaderMap) -> Result<(), Malformed> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed)?;
        if name == CONTENT_LENGTH {
            return self.content_length(&value, fields);
        }
        if name == TRANSFER_ENCODING {
            return self.transfer_encoding(&value);
        }
        if name == CONNECTION && !self.connection(&value) {
            return Ok(());
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?;
        fields.append(name, value);
        Ok(())
    }

    /// RFC 9112 §6.3: the same length more than once, be it in a list, is passed on once;
    /// different ones are an error or an attack.
    fn content_length(&mut self, value: &Bytes, fields: &mut HeaderMap) -> Result<(), Malformed> {
        for member in value.split(|byte| *byte == b',') {
            let length = parse_length(member.trim_ascii()).ok_or(Malformed)?;
            if self.length.is_some_and(|known| known != length) {
                return Err(Malformed);
            }
            if self.length.replace(length).is_none() {
                let value = match member.len() == value.len() {
                    true => HeaderValue::from_maybe_shared(value.clone()),
                    false => HeaderValue::from_bytes(member.trim_ascii()),
                };
                fields.append(CONTENT_LENGTH, value.map_err(|_| Malformed)?);
            }
        }
        Ok(())
    }

    /// RFC 9112 §6.1: a coding that we do not undo would reach the caller without its name.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || self.is_chunked || !self.is_http11 {
            return Err(Malformed);
        }
        self.is_chunked = true;
        Ok(())
    }

    /// Notes what it says of this connection, and whether it says anything else.
    fn connection(&mut self, value: &[u8]) -> bool {
        let mut names_others = false;
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.is_closed = true;
            } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"keep-alive") {
                names_others = true;
            }
        }
        names_others
    }

    fn framing(&self, method: &Method, status: StatusCode) -> Result<Framing, Malformed> {
        let is_bodiless = *method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::SWITCHING_PROTOCOLS;
        if status == StatusCode::SWITCHING_PROTOCOLS && !self.is_http11 {
            return Err(Malformed);
        }
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Malformed),
            _ if is_bodiless => Ok(Framing::Length(0)),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }

    /// Why HTTP/1.0 never: an intermediary of that age repeats a `Connection` it does not
    /// understand (RFC 9112 §9.3 and appendix C.2.2).
    const fn keeps(&self) -> bool {
        self.is_http11 && !self.is_closed
    }
}

/// 1*DIGIT, as far as 64 bits go.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |length, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn reason(reason: Option<&str>, status: StatusCode) -> Option<ReasonPhrase> {
    let reason = reason.filter(|reason| Some(*reason) != status.canonical_reason())?;
    ReasonPhrase::try_from(reason.as_bytes()).ok()
}

/// Up to here, a body that came with its head is copied with it: one allocation less.
const COPY_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, framing, keeps, fields as `name=value`, bytes of the head.
    type Read = (u16, Framing, bool, String, usize);

    fn read_in(input: &str, method: &Method) -> Result<Option<Read>, Malformed> {
        let mut fields = HeaderMap::new();
        fields.insert("host", HeaderValue::from_static("of the request"));
        match read(input.as_bytes(), method, &mut fields)? {
            Answer::Partial => Ok(None),
            Answer::Interim(_, bytes) => {
                Ok(Some((100, Framing::Length(0), true, String::new(), bytes)))
            }
            Answer::Final(head) => {
                let text = fields.iter().map(|(name, value)| {
                    format!("{name}={}", String::from_utf8_lossy(value.as_bytes()))
                });
                let text = text.collect::<Vec<_>>().join("|");
                Ok(Some((head.status.as_u16(), head.framing, head.keeps, text, head.bytes)))
            }
        }
    }

    #[test]
    fn rfc9112_6_3_an_answer_has_one_end_or_is_none() {
        use Framing::{Chunked, Length, UntilClose};
        #[rustfmt::skip]
        let cases = [
            // method, status line and fields, what is read
            ("GET", "1.1 200 OK\r\ncontent-length: 2", Some((200, Length(2), true, "content-length=2"))),
            ("GET", "1.1 200 OK", Some((200, UntilClose, true, ""))),
            ("GET", "1.1 200", Some((200, UntilClose, true, ""))),
            ("GET", "1.1 200 \r\nX-A:b \r\nx-a:\tc", Some((200, UntilClose, true, "x-a=b|x-a=c"))),
            ("GET", "1.1 200 OK\r\nx-a:\r\nx-b: ", Some((200, UntilClose, true, "x-a=|x-b="))),
            ("GET", "1.1 200 OK\r\nx: \u{e9}", Some((200, UntilClose, true, "x=\u{e9}"))),
            ("GET", "1.1 200 OK\r\nTransfer-Encoding: Chunked", Some((200, Chunked, true, ""))),
            ("GET", "1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 2", Some((200, Length(2), true, "content-length=2"))),
            ("GET", "1.1 200 OK\r\ncontent-length: 2, 2", Some((200, Length(2), true, "content-length=2"))),
            ("GET", "1.1 200 OK\r\ncontent-length: 007", Some((200, Length(7), true, "content-length=007"))),
            ("HEAD", "1.1 200 OK\r\ncontent-length: 9", Some((200, Length(0), true, "content-length=9"))),
            ("HEAD", "1.1 200 OK\r\ntransfer-encoding: chunked", Some((200, Length(0), true, ""))),
            ("GET", "1.1 204 No Content\r\ncontent-length: 9", Some((204, Length(0), true, "content-length=9"))),
            ("GET", "1.1 304 Not Modified", Some((304, Length(0), true, ""))),
            ("GET", "1.1 103 Early Hints\r\nlink: x", Some((100, Length(0), true, ""))),
            ("GET", "1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0", Some((200, Length(0), true, "content-length=0"))),
            ("GET", "1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0", Some((200, Length(0), false, "content-length=0"))),
            ("GET", "1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive", Some((200, UntilClose, false, ""))),
            ("GET", "1.1 200 OK\r\nconnection: x-a, close\r\nx-a: b", Some((200, UntilClose, false, "connection=x-a, close|x-a=b"))),
            ("GET", "1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2", Some((200, Length(2), false, "content-length=2"))),
            ("GET", "1.1 101 Switching Protocols\r\nupgrade: x\r\ncontent-length: 9", Some((101, Length(0), true, "upgrade=x|content-length=9"))),
            ("GET", "1.0 101 Switching Protocols\r\nupgrade: x", None),
            ("GET", "1.0 200 OK\r\ntransfer-encoding: chunked", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding: gzip", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding: gzip, chunked", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding: chunked, chunked", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding:", None),
            ("GET", "1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 1, 2", None),
            ("HEAD", "1.1 200 OK\r\ncontent-length: 1, 2", None),
            ("GET", "1.1 200 OK\r\ncontent-length:", None),
            ("GET", "1.1 200 OK\r\ncontent-length: +1", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 1x", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 1,", None),
            ("GET", "1.1 200 OK\r\ncontent-length: 18446744073709551616", None),
            ("GET", "1.1 200 OK\r\na: b\r\n folded", None),
            ("GET", "1.1 200 OK\r\na : b", None),
            ("GET", "1.1 200 OK\r\n a: b", None),
            ("GET", "1.1 200 OK\r\na: b\rc", None),
            ("GET", "1.1 200 OK\r\na: b\0c", None),
            ("GET", "1.1 200 OK\r\na(b): c", None),
            ("GET", "1.1 200 OK\r\nnothing", None),
            ("GET", "1.1 99999 Odd", None),
            ("GET", "1.1 099 Odd", None),
            ("GET", "2.0 200 OK", None),
        ];
        for (method, head, expected) in cases {
            let method = method.parse().unwrap();
            let input = format!("HTTP/{head}\r\n\r\nbody");
            let bytes = input.len() - 4;
            let expected = expected
                .map(|(status, framing, keeps, fields): (_, _, _, &str)| {
                    Some((status, framing, keeps, fields.to_owned(), bytes))
                })
                .ok_or(Malformed);
            assert_eq!(read_in(&input, &method), expected, "{head}");
            // Every part of it is either not enough, or refused for what will not get better.
            for (cut, part) in (0..bytes).filter_map(|cut| Some((cut, input.get(..cut)?))) {
                let outcome = read_in(part, &method);
                let is_refused = outcome == Err(Malformed) && expected == Err(Malformed);
                assert!(outcome == Ok(None) || is_refused, "{head}, cut at {cut}: {outcome:?}");
            }
        }
    }

    #[test]
    fn a_head_over_a_bound_is_refused() {
        let fields = |count| "a: b\r\n".repeat(count);
        let long = |bytes: usize| format!("a: {}\r\n", "b".repeat(bytes));
        for (claim, fields, is_read) in [
            ("as many fields as may be", fields(RESPONSE_FIELDS_MAX), true),
            ("one more", fields(RESPONSE_FIELDS_MAX + 1), false),
            ("nearly too long", long(RESPONSE_HEAD_MAX - 100), true),
            ("too long", long(RESPONSE_HEAD_MAX), false),
        ] {
            let input = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert_eq!(read_in(&input, &Method::GET).is_ok(), is_read, "{claim}");
        }
        let endless = "HTTP/1.1 200 OK\r\na: ".to_owned() + &"b".repeat(RESPONSE_HEAD_MAX);
        assert_eq!(read_in(&endless, &Method::GET), Err(Malformed));
    }

    #[test]
    fn a_reason_of_its_own_is_kept() {
        for (line, expected) in
            [("200 OK", None), ("200 Fine", Some("Fine")), ("299 Odd", Some("Odd"))]
        {
            let input = format!("HTTP/1.1 {line}\r\n\r\n");
            let Ok(Answer::Final(head)) =
                read(input.as_bytes(), &Method::GET, &mut HeaderMap::new())
            else {
                panic!("{line} is an answer");
            };
            let reason = head.reason.map(|reason| reason.as_bytes().to_vec());
            assert_eq!(reason.as_deref(), expected.map(str::as_bytes), "{line}");
        }
    }
}
