//! Trailers that hold a pseudo-header field make their stream malformed (RFC 9113 §8.1), which
//! the HTTP/2 library does not see to: it takes such fields out before anybody can know of them.
//! It does refuse them where they stand behind an ordinary field. So [`Trailers`] puts one at the
//! head of every trailer section that a caller sends, an empty `proxy-authorization`, which no
//! trailers ever take further: a single octet, for it stands in the static table of HPACK.
//!
//! It also counts what the library answers for as long as it comes: PING, SETTINGS, and frames
//! that say nothing. A caller that sends many of them and lets us do nothing else floods us
//! (RFC 9113 §10.5, CVE-2019-9512, CVE-2019-9515), and its connection ends.

use std::io;

use super::connection::HTTP2_PREFACE;
use super::read_along::Along;

/// How far a caller's frames have been read along. Pure. What is held back is a trailer section's
/// beginning, or a frame header that came in two reads.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    frames: Frames,
    held: Vec<u8>,
}

impl Along for Trailers {
    fn came(&mut self, bytes: &[u8], instead: &mut Vec<u8>) -> io::Result<usize> {
        if IDLE_FRAMES_MAX < self.frames.idle {
            return Err(IDLE_FLOOD.into());
        }
        let same = if self.held.is_empty() { self.frames.same(bytes) } else { 0 };
        if same < bytes.len() {
            self.held.extend(bytes.get(same..).unwrap_or_default());
            self.tell_apart(instead);
        }
        Ok(same)
    }

    /// Inside a frame: whoever reads will say so.
    fn ended(&mut self, instead: &mut Vec<u8>) {
        instead.append(&mut self.held);
    }

    fn leave(&mut self) {
        self.frames.wrote();
    }
}

impl Trailers {
    /// Hands on what can be told apart.
    fn tell_apart(&mut self, instead: &mut Vec<u8>) {
        let mut rest = self.held.as_slice();
        loop {
            let length = match self.frames.next(rest) {
                Next::Same(length) => length,
                Next::Trailers { beginning, length } => {
                    instead.extend(beginning.longer_by_one());
                    instead.extend(rest.get(FRAME_HEADER_BYTES..length).unwrap_or_default());
                    instead.push(ORDINARY_FIELD);
                    rest = rest.get(length..).unwrap_or_default();
                    continue;
                }
                Next::Unclear => break,
            };
            let (same, behind) = rest.split_at(length);
            instead.extend(same);
            rest = behind;
        }
        let taken = self.held.len() - rest.len();
        self.held.drain(..taken);
    }
}

/// Where in a caller's frames the bytes stand.
#[derive(Debug)]
struct Frames {
    /// Bytes that are no frame header: of the preface, or of a frame's payload.
    left: usize,
    /// The newest stream that the caller has opened: each opens with a higher one than the last
    /// (RFC 9113 §5.1.1), so HEADERS of another are trailers, or an error all the same.
    newest: u32,
    /// Idle frames that came while little else went on.
    idle: u32,
}

/// What some bytes begin with.
#[derive(Debug, Eq, PartialEq)]
enum Next {
    /// So many that go on as they are; at least one.
    Same(usize),
    /// A trailer section: what comes before its first field is `length` bytes long.
    Trailers { beginning: FrameHeader, length: usize },
    /// More is needed to know, or there are none.
    Unclear,
}

impl Default for Frames {
    fn default() -> Self {
        Self { left: HTTP2_PREFACE.len(), newest: 0, idle: 0 }
    }
}

impl Frames {
    /// How many of `bytes`, from the first, go on as they are.
    fn same(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let before = (self.left, self.newest, self.idle);
            match self.next(bytes.get(passed..).unwrap_or_default()) {
                Next::Same(length) => passed += length,
                Next::Unclear => return passed,
                Next::Trailers { .. } => {
                    (self.left, self.newest, self.idle) = before;
                    return passed;
                }
            }
        }
    }

    fn next(&mut self, bytes: &[u8]) -> Next {
        if bytes.is_empty() {
            return Next::Unclear;
        }
        if 0 < self.left {
            let length = self.left.min(bytes.len());
            self.left -= length;
            return Next::Same(length);
        }
        let Some((header, payload)) = bytes.split_first_chunk() else { return Next::Unclear };
        let header = FrameHeader(*header);
        let length = header.length();
        if header.is_headers() && header.stream() <= self.newest {
            let before_fields = header.before_fields();
            // One that is too short or too long is refused as it is (RFC 9113 §4.2, §6.2).
            if before_fields <= length && length < FRAME_MAX_BYTES {
                if payload.len() < before_fields {
                    return Next::Unclear;
                }
                self.left = length - before_fields;
                let length = FRAME_HEADER_BYTES + before_fields;
                return Next::Trailers { beginning: header, length };
            }
        } else if header.is_headers() {
            self.newest = header.stream();
        }
        self.idle = if header.is_idle() { self.idle + 1 } else { self.idle.saturating_sub(1) };
        self.left = length;
        Next::Same(FRAME_HEADER_BYTES)
    }

    /// Something leaves for the caller: an answer, or what answers a few idle frames. A flood is
    /// answered many frames at a time.
    const fn wrote(&mut self) {
        self.idle = self.idle.saturating_sub(IDLE_FRAMES_A_WRITE);
    }
}

/// A frame's first nine octets (RFC 9113 §4.1): the payload's length in three, the type, the
/// flags, and the stream in four.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FrameHeader([u8; FRAME_HEADER_BYTES]);

impl FrameHeader {
    const fn length(self) -> usize {
        let [a, b, c, ..] = self.0;
        u32::from_be_bytes([0, a, b, c]) as usize
    }

    const fn is_headers(self) -> bool {
        matches!(self.0, [_, _, _, HEADERS, ..])
    }

    /// Whether it asks for nothing and brings nothing. WINDOW_UPDATE is not among them: a caller
    /// may send one for every few bytes that it gets.
    const fn is_idle(self) -> bool {
        let [_, _, _, kind, flags, ..] = self.0;
        match kind {
            DATA => self.length() == 0 && flags & END_STREAM == 0,
            HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION => false,
            _ => true,
        }
    }

    const fn stream(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d]) & !RESERVED
    }

    /// Octets of HEADERS that stand before the first field: the length of the padding, and the
    /// priority (RFC 9113 §6.2).
    const fn before_fields(self) -> usize {
        let [_, _, _, _, flags, ..] = self.0;
        let padding = if flags & PADDED == 0 { 0 } else { 1 };
        let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
        padding + priority
    }

    /// The same with one octet more of payload.
    const fn longer_by_one(self) -> [u8; FRAME_HEADER_BYTES] {
        let [_, _, _, kind, flags, stream @ ..] = self.0;
        let [_, a, b, c] = (self.length() as u32 + 1).to_be_bytes();
        let [d, e, f, g] = stream;
        [a, b, c, kind, flags, d, e, f, g]
    }
}

const FRAME_HEADER_BYTES: usize = 9;
/// Longer ones end the connection, as we allow no more than HTTP/2 does by itself (RFC 9113 §4.2);
/// trailers that fill a frame to its last octet do so too.
const FRAME_MAX_BYTES: usize = 16_384;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// A flood of them is the library's to see.
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const RESERVED: u32 = 1 << 31;
/// `proxy-authorization` with an empty value, by its place in the static table (RFC 7541 §6.1 and
/// appendix A).
const ORDINARY_FIELD: u8 = 0x80 | 49;
/// How many idle frames may come while nothing else goes on: clients send a few at the beginning,
/// and a PING now and then.
const IDLE_FRAMES_MAX: u32 = 1000;
/// How many of them a write makes good. Clients that measure the line send a PING for every few
/// DATA that they get.
const IDLE_FRAMES_A_WRITE: u32 = 10;
/// The error that a flood of them ends a connection with: of a kind that no socket gives.
pub(super) const IDLE_FLOOD: io::ErrorKind = io::ErrorKind::QuotaExceeded;

#[cfg(test)]
mod tests {
    use super::super::read_along::tests::read;
    use super::*;

    const END: u8 = 0x5;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn trailers_alone_get_an_ordinary_field_before_theirs() {
        let request = frame(HEADERS, 0x4, 1, b"\x82\x84");
        let data = frame(0, 0, 1, &[HEADERS; 300]);
        let other = frame(HEADERS, END, 3, b"\x82\x84");
        let late = frame(HEADERS, END, 5, b"\x82");
        #[rustfmt::skip]
        let cases = [
            // claim                       trailers                                          as they are read
            ("plain",                      frame(HEADERS, END, 1, b"\x84"),                  Some(frame(HEADERS, END, 1, b"\xb1\x84"))),
            ("empty",                      frame(HEADERS, END, 1, b""),                      Some(frame(HEADERS, END, 1, b"\xb1"))),
            ("padded",                     frame(HEADERS, END | PADDED, 1, b"\x02\x84\0\0"), Some(frame(HEADERS, END | PADDED, 1, b"\x02\xb1\x84\0\0"))),
            ("with a priority",            frame(HEADERS, END | PRIORITY, 1, b"pppp!\x84"),  Some(frame(HEADERS, END | PRIORITY, 1, b"pppp!\xb1\x84"))),
            ("with both",                  frame(HEADERS, END | 0x28, 1, b"\x01pppp!\x84\0"), Some(frame(HEADERS, END | 0x28, 1, b"\x01pppp!\xb1\x84\0"))),
            ("too short for its priority", frame(HEADERS, END | PRIORITY, 1, b"ppp"),        None),
            ("as long as a frame can be",  frame(HEADERS, END, 1, &[0x84; 16_384]),          None),
            ("longer by their length",     frame(HEADERS, END, 1, &[0x84; 255]),             Some(frame(HEADERS, END, 1, &[&[0xb1][..], &[0x84; 255]].concat()))),
            ("none",                       Vec::new(),                                       None),
        ];
        for (claim, trailers, changed) in cases {
            let changed = changed.unwrap_or_else(|| trailers.clone());
            let all = |trailers: &[u8]| {
                [HTTP2_PREFACE, &frame(4, 0, 0, b""), &request, &data, &other, trailers, &late]
                    .concat()
            };
            for (chunk, at_once) in [(1, 1), (1, 64), (7, 3), (64, 64), (100_000, 100_000)] {
                let read = read(&all(&trailers), Trailers::default(), (chunk, at_once, 24)).await;
                assert!(read == all(&changed), "{claim}, {chunk} and {at_once} at a time");
            }
        }
    }

    #[test]
    fn rfc9113_10_5_idle_frames_are_bounded_while_nothing_else_goes_on() {
        let ping = frame(6, 0, 0, &[0; 8]);
        let (mut trailers, mut instead) = (Trailers::default(), Vec::new());
        assert_eq!(trailers.came(HTTP2_PREFACE, &mut instead).unwrap(), HTTP2_PREFACE.len());
        let mut pings = |trailers: &mut Trailers, count: u32| {
            for _ in 0..count {
                assert_eq!(trailers.came(&ping, &mut instead).unwrap(), ping.len());
            }
        };
        pings(&mut trailers, IDLE_FRAMES_MAX);
        for _ in 0..5 {
            trailers.leave();
        }
        pings(&mut trailers, 5 * IDLE_FRAMES_A_WRITE);
        let request = frame(HEADERS, END, 1, b"\x82");
        assert!(trailers.came(&request, &mut Vec::new()).is_ok(), "and it makes one good");
        pings(&mut trailers, 2);
        let flood = trailers.came(&ping, &mut Vec::new()).unwrap_err();
        assert_eq!(flood.kind(), IDLE_FLOOD);
    }

    #[test]
    fn frames_that_bring_nothing_are_idle() {
        #[rustfmt::skip]
        let cases = [
            // claim                       frame                              idle
            ("DATA without a byte",        frame(DATA, 0, 1, b""),            true),
            ("DATA that ends its stream",  frame(DATA, END_STREAM, 1, b""),   false),
            ("DATA",                       frame(DATA, 0, 1, b"a"),           false),
            ("HEADERS",                    frame(HEADERS, 0, 1, b"\x82"),     false),
            ("PRIORITY",                   frame(2, 0, 1, b"pppp!"),          true),
            ("RST_STREAM",                 frame(RST_STREAM, 0, 1, b"1234"),  false),
            ("SETTINGS",                   frame(4, 0, 0, b""),               true),
            ("PING",                       frame(6, 0, 0, &[0; 8]),           true),
            ("WINDOW_UPDATE",              frame(8, 0, 0, b"1234"),           false),
            ("of a type that nobody knows", frame(200, 0, 0, b"x"),           true),
        ];
        for (claim, frame, idle) in cases {
            let header = FrameHeader(*frame.first_chunk().unwrap());
            assert_eq!(header.is_idle(), idle, "{claim}");
        }
    }

    #[tokio::test]
    async fn what_ends_inside_a_frame_ends_there() {
        let whole = [HTTP2_PREFACE, &frame(HEADERS, END, 1, b"\x82")].concat();
        for length in 0..whole.len() {
            let cut = &whole[..length];
            assert_eq!(read(cut, Trailers::default(), (64, 64, 24)).await, cut, "{length}");
        }
    }
}
