//! What hyper's parser of HTTP/1.1 lets pass and has two readings is refused here, below it: a line
//! that ends in a bare LF, a length beside a transfer coding, a fragment in the target (RFC 9112
//! §2.2, §6.1, §3.2), and the same line ends in a chunked body's trailers (§7.1).
//!
//! [`Heads`] reads along, up to the byte that must not pass; in its place comes [`POISON`], which
//! no parser takes. So the request is answered with 400 by the same way as any other that cannot be
//! read, and its connection closes. Reading along means knowing where a body ends and the next head
//! begins; that reading decides nothing else. Behind a request for another protocol it ends: what
//! comes there is that protocol's, or nobody reads it.
//!
//! Cost for a request without a body: one search for line ends and a look at each line's first
//! byte, no allocation.

use std::io;

use super::read_along::Along;
use crate::body::Chunked;
use crate::headers::offers_to_leave;

/// What comes has two readings, which shows at this byte of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct TwoReadings {
    at: usize,
}

/// How far a caller's requests have been read along. Pure.
#[derive(Debug, Default)]
pub(super) struct Heads {
    place: Place,
    head: Head,
    /// The beginning of a line whose end has not come, as far as it matters.
    line: Vec<u8>,
    /// The last byte of that line.
    last: Option<u8>,
}

impl Along for Heads {
    fn came(&mut self, bytes: &[u8], instead: &mut Vec<u8>) -> io::Result<usize> {
        Ok(self.read(bytes).map_or_else(
            |TwoReadings { at }| {
                self.place = Place::Beyond;
                instead.extend(POISON);
                at
            },
            |()| bytes.len(),
        ))
    }
}

#[derive(Debug, Default)]
enum Place {
    /// At the beginning of a request, or between two.
    #[default]
    RequestLine,
    Fields,
    /// In a body, so many bytes before its end.
    Body(u64),
    Chunked(Box<Chunked>),
    /// Behind a request after which the connection closes, or becomes another protocol's: see
    /// [`offers_to_leave`].
    Left,
    /// Where nothing is looked at: it has been refused, or hyper refuses it.
    Beyond,
}

/// What the fields of a head have said of its body so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: Option<u64>,
    has_bad_length: bool,
    is_coded: bool,
    may_leave: bool,
}

impl Heads {
    /// Whether a request has asked for another protocol, so that all that came behind it was handed
    /// on as it came.
    pub(super) const fn have_left(&self) -> bool {
        matches!(self.place, Place::Left)
    }

    /// Reads on.
    fn read(&mut self, bytes: &[u8]) -> Result<(), TwoReadings> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match &mut self.place {
                Place::RequestLine | Place::Fields => {
                    self.head_line(rest).map_err(|inside| TwoReadings { at: at + inside.at })?
                }
                Place::Body(left) => {
                    let here =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.place = Place::RequestLine;
                    }
                    here
                }
                Place::Chunked(chunked) => {
                    let taken = chunked.skip(rest).map_err(|_| TwoReadings { at })?;
                    if chunked.is_over() {
                        self.place = Place::RequestLine;
                    }
                    taken
                }
                Place::Left | Place::Beyond => return Ok(()),
            };
        }
        Ok(())
    }

    /// Reads to the end of a line, or of what is there; says how many bytes that were.
    fn head_line(&mut self, rest: &[u8]) -> Result<usize, TwoReadings> {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.keep(rest);
            return Ok(rest.len());
        };
        let here = rest.get(..end).unwrap_or_default();
        let malformed = Err(TwoReadings { at: end });
        let outcome = match (self.last, here.strip_suffix(b"\r")) {
            (None, Some(line)) => self.line(line),
            (Some(b'\r'), _) if here.is_empty() => self.kept_line(),
            (Some(_), Some(more)) => {
                self.keep(more);
                self.kept_line()
            }
            (_, _) => return malformed,
        };
        (self.line, self.last) = (Vec::new(), None);
        if outcome.is_err() { malformed } else { Ok(end + 1) }
    }

    fn keep(&mut self, part: &[u8]) {
        self.last = part.last().copied().or(self.last);
        let room = LINE_KEPT_BYTES.saturating_sub(self.line.len());
        self.line.extend(part.get(..room.min(part.len())).unwrap_or_default());
        if matches!(self.place, Place::RequestLine) && part.contains(&b'#') {
            // Wherever it stands: the line is refused when it ends.
            self.line.insert(0, b'#');
        }
    }

    fn kept_line(&mut self) -> Result<(), ()> {
        let line = std::mem::take(&mut self.line);
        self.line(line.strip_suffix(b"\r").unwrap_or(&line))
    }

    /// A line, without its end.
    fn line(&mut self, line: &[u8]) -> Result<(), ()> {
        match self.place {
            // An empty line between two requests is none (RFC 9112 §2.2).
            Place::RequestLine if line.is_empty() => Ok(()),
            Place::RequestLine if line.contains(&b'#') => Err(()),
            Place::RequestLine => {
                (self.place, self.head) = (Place::Fields, Head::default());
                Ok(())
            }
            _ if line.is_empty() => {
                self.end_head();
                Ok(())
            }
            _ => self.head.field(line),
        }
    }

    fn end_head(&mut self) {
        self.place = match self.head {
            Head { has_bad_length: true, .. } => Place::Beyond,
            Head { is_coded: true, .. } => Place::Chunked(Box::default()),
            Head { length: Some(length @ 1..), .. } => Place::Body(length),
            Head { may_leave: true, .. } => Place::Left,
            _ => Place::RequestLine,
        };
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), ()> {
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                if let Some(value) = value_of(b"content-length:", line) {
                    self.content_length(whole(value, line)?);
                }
            }
            Some(b't') => self.is_coded |= value_of(b"transfer-encoding:", line).is_some(),
            Some(b'u') => {
                if let Some(value) = value_of(b"upgrade:", line) {
                    self.may_leave |= offers_to_leave(whole(value, line)?);
                }
            }
            _ => {}
        }
        // RFC 9112 §6.1: whoever stands in front may have taken either for the body's end.
        let has_length = self.length.is_some() || self.has_bad_length;
        if self.is_coded && has_length { Err(()) } else { Ok(()) }
    }

    /// What is no length, or another one, hyper refuses.
    fn content_length(&mut self, value: &[u8]) {
        let digits = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
        match digits.parse() {
            Ok(length) if self.length.is_none_or(|known| known == length) => {
                self.length = Some(length);
            }
            _ => self.has_bad_length = true,
        }
    }
}

/// The value of the field if its line begins so, in whatever case.
fn value_of<'l>(name: &[u8], line: &'l [u8]) -> Option<&'l [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

/// The value, if its line is not so long that only a part of it may be there.
fn whole<'l>(value: &'l [u8], line: &[u8]) -> Result<&'l [u8], ()> {
    if line.len() < LINE_KEPT_BYTES { Ok(value) } else { Err(()) }
}

/// No request line, field or chunk has it, and it ends whatever it stands in.
const POISON: &[u8] = b"\0\r\n\r\n";
/// Enough of a line for the names above, and for any value that is to be understood here: a longer
/// one is refused.
const LINE_KEPT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::read_along::tests::read;
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    #[tokio::test]
    async fn what_has_one_reading_passes_unchanged_however_it_comes() {
        let long = format!("GET /{} HTTP/1.1\r\nx: {}\r\n\r\n", "p".repeat(300), "y".repeat(300));
        for text in [
            GET.to_owned(),
            GET.repeat(3),
            long,
            format!("\r\n\r\n{GET}\r\n{GET}"),
            format!("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\n#\nb{GET}"),
            format!(
                "POST / HTTP/1.1\r\ncontent-length:\t5 \r\ncontent-length: 5\r\n\r\n\n\n\n\n\n{GET}"
            ),
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n#\r\n0\r\nx: y\r\n\r\n{GET}"
            ),
            "GET /?a%23b HTTP/1.1\r\nx: #\r\ncontent-lengthy: 1\r\ntransfer: x\r\n\r\n".to_owned(),
            // hyper's to refuse, with all that comes behind.
            "POST / HTTP/1.1\r\ncontent-length: 1, 2\r\n\r\n\n\n\n".to_owned(),
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n\n\n\n".to_owned(),
        ] {
            for chunk in [1, 2, 7, 64, 4096] {
                for prefix in [0, 1, 24] {
                    let read = read(text.as_bytes(), Heads::default(), (chunk, 64, prefix)).await;
                    assert_eq!(String::from_utf8(read).unwrap(), text, "{chunk} at a time");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_has_two_readings_is_poisoned_before_its_head_is_whole() {
        #[rustfmt::skip]
        let cases = [
            // what passes                                                    what does not
            ("GET / HTTP/1.1",                                                "\nhost: a\r\n\r\n"),
            ("GET / HTTP/1.1\r\nhost: a",                                     "\n\r\n"),
            ("GET / HTTP/1.1\r\nhost: a\r\n",                                 "\n"),
            ("GET / HTTP/1.1\r\nx: y\r\n\r\n",                                "\nGET / HTTP/1.1\r\n\r\n"),
            ("GET /#x HTTP/1.1\r",                                            "\nhost: a\r\n\r\n"),
            ("GET /?a#x HTTP/1.1\r",                                          "\n\r\n"),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding: x\r", "\n\r\n"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nx: y\r\nCONTENT-LENGTH:5\r", "\n\r\n0\r\n\r\n"),
            ("POST / HTTP/1.1\r\ncontent-length: x\r\ntransfer-encoding: chunked\r", "\n\r\n"),
            ("POST / HTTP/1.1\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r", "\n\r\n"),
            ("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nokGET / HTTP/1.1",   "\n\r\n"),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nGET / HTTP/1.1", "\n\r\n"),
        ];
        for (passes, refused) in cases {
            for chunk in [1, 2, 7, 4096] {
                let text = format!("{passes}{refused}");
                let read = read(text.as_bytes(), Heads::default(), (chunk, 64, 0)).await;
                let expected = [passes.as_bytes(), POISON].concat();
                assert!(read.starts_with(&expected), "{chunk}: {}", read.escape_ascii());
            }
        }
    }

    #[tokio::test]
    async fn chunks_with_two_readings_are_poisoned() {
        for chunks in [
            "5\nhello",
            "2\r\nok\n",
            "2\r\nokay\r\n",
            "0\r\nx-a: 1\n\r\n",
            "0x2\r\nok\r\n0\r\n\r\n",
        ] {
            let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            for chunk in [1, 4096] {
                let text = format!("{head}{chunks}{GET}");
                let read = read(text.as_bytes(), Heads::default(), (chunk, 64, 0)).await;
                assert!(memchr::memmem::find(&read, POISON).is_some(), "{chunks:?}");
            }
        }
    }

    #[tokio::test]
    async fn behind_a_request_for_another_protocol_nothing_is_looked_at() {
        const ODD: &str = "\n#\n\0";
        #[rustfmt::skip]
        let cases = [
            // fields                                                   is it so
            ("Upgrade: websocket\r\n",                                  true),
            ("UPGRADE:h2c , irc/6.9\r\n",                               true),
            ("upgrade: h2c\r\nupgrade: a\r\ncontent-length: 0\r\n",     true),
            ("upgrade: h2c\r\n",                                        false),
            ("upgrade:\r\n",                                            false),
            ("upgrades: websocket\r\n",                                 false),
            ("upgrade: websocket\r\ncontent-length: 1\r\n",             false),
            ("upgrade: websocket\r\ntransfer-encoding: chunked\r\n",    false),
        ];
        for (fields, expected) in cases {
            let text = format!("GET / HTTP/1.1\r\n{fields}\r\n{ODD}");
            for chunk in [1, 2, 7, 4096] {
                let read = read(text.as_bytes(), Heads::default(), (chunk, 64, 0)).await;
                let passed = String::from_utf8(read).unwrap();
                assert_eq!(passed == text, expected, "{fields:?}: {passed:?}");
                let mut heads = Heads::default();
                for piece in text.as_bytes().chunks(chunk) {
                    heads.came(piece, &mut Vec::new()).unwrap();
                }
                assert_eq!(heads.have_left(), expected, "{fields:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_value_that_is_not_understood_as_it_may_be_cut_short_is_refused() {
        for (name, value) in [("content-length:", "5"), ("upgrade:", "h2c")] {
            for (length, is_refused) in [(LINE_KEPT_BYTES - 1, false), (LINE_KEPT_BYTES, true)] {
                let blanks = " ".repeat(length - name.len() - value.len());
                let text = format!("GET / HTTP/1.1\r\n{name}{blanks}{value}\r\n\r\nhello{GET}");
                for chunk in [1, 2, 7, 4096] {
                    let read = read(text.as_bytes(), Heads::default(), (chunk, 64, 0)).await;
                    assert_eq!(read != text.as_bytes(), is_refused, "{name} {length} {chunk}");
                }
            }
        }
    }
}
