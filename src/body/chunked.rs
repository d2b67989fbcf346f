//! The chunked transfer coding, undone (RFC 9112 §7.1). Pure: fed bytes, says what they mean.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A chunked body breaks RFC 9112 §7.1, or goes over a bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MalformedChunks;

/// Where in a chunked body the reader stands.
///
/// Lines end in CRLF and nothing else: a reader that takes a bare LF or CR for a line's end reads
/// another body than one that does not. Extensions are read over (RFC 9112 §7.1.1).
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of content left in this chunk.
    left: u64,
    /// Bytes of this size line so far.
    line_bytes: usize,
    /// Bytes of extensions in the whole body.
    extension_bytes: usize,
    /// The trailer section so far, its last line's end included.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Content,
    ContentCr,
    ContentLf,
    /// At the start of a line behind the last chunk.
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
    Over,
}

impl Chunked {
    /// Reads what is not content from the start of `input`; says how many bytes that were. It
    /// stops before content, at the end, or where the input ends.
    ///
    /// # Errors
    /// What is no chunked body, or goes over a bound.
    pub fn advance(&mut self, input: &[u8]) -> Result<usize, MalformedChunks> {
        for (at, byte) in input.iter().enumerate() {
            if matches!(self.state, State::Content | State::Over) {
                return Ok(at);
            }
            self.state = self.after(*byte)?;
        }
        Ok(input.len())
    }

    /// Reads over content too, for whoever looks only for the end; says how many bytes that were.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn skip(&mut self, input: &[u8]) -> Result<usize, MalformedChunks> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty() && !self.is_over()) {
            let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(self.content_left());
            if here > 0 {
                self.took(here);
                at += usize::try_from(here).unwrap_or(rest.len());
            } else {
                at += self.advance(rest)?;
            }
        }
        Ok(at)
    }

    /// Bytes of content that come next.
    pub const fn content_left(&self) -> u64 {
        match self.state {
            State::Content => self.left,
            _ => 0,
        }
    }

    /// That many bytes of content were taken.
    pub const fn took(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.state = State::ContentCr;
        }
    }

    /// Whether the body's last byte was read.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether it had trailers that nobody has taken.
    pub const fn has_trailers(&self) -> bool {
        !self.trailers.is_empty()
    }

    /// The trailers, once the body is over.
    ///
    /// # Errors
    /// What are no field lines.
    pub fn trailers(&mut self) -> Result<HeaderMap, MalformedChunks> {
        let section = std::mem::take(&mut self.trailers);
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        let Ok(httparse::Status::Complete((_, fields))) =
            httparse::parse_headers(&section, &mut fields)
        else {
            return Err(MalformedChunks);
        };
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name =
                HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| MalformedChunks)?;
            let value = HeaderValue::from_bytes(field.value).map_err(|_| MalformedChunks)?;
            trailers.append(name, value);
        }
        Ok(trailers)
    }

    fn after(&mut self, byte: u8) -> Result<State, MalformedChunks> {
        match (self.state, byte) {
            (State::Start | State::Size, byte) if byte.is_ascii_hexdigit() => self.digit(byte),
            (State::Size | State::SizeSpace | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size | State::SizeSpace, b' ' | b'\t') => self.on_line(State::SizeSpace),
            (State::Size | State::SizeSpace, b';') => self.on_line(State::Extension),
            (State::Extension, byte) if byte != b'\n' => self.extension(),
            (State::SizeLf, b'\n') => Ok(self.begin()),
            (State::ContentCr, b'\r') => Ok(State::ContentLf),
            (State::ContentLf, b'\n') => Ok(State::Start),
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(self.end()),
            (State::LineStart | State::Trailer, byte) => self.trailer(byte),
            (State::TrailerLf, b'\n') => self.trailer(b'\n'),
            _ => Err(MalformedChunks),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, MalformedChunks> {
        let digit = char::from(byte).to_digit(16).ok_or(MalformedChunks)?;
        let size = self.left.checked_mul(16).ok_or(MalformedChunks)?;
        self.left = size | u64::from(digit);
        self.on_line(State::Size)
    }

    fn extension(&mut self) -> Result<State, MalformedChunks> {
        self.extension_bytes += 1;
        match self.extension_bytes < EXTENSIONS_MAX {
            true => self.on_line(State::Extension),
            false => Err(MalformedChunks),
        }
    }

    const fn on_line(&mut self, state: State) -> Result<State, MalformedChunks> {
        self.line_bytes += 1;
        if self.line_bytes < SIZE_LINE_MAX { Ok(state) } else { Err(MalformedChunks) }
    }

    const fn begin(&mut self) -> State {
        self.line_bytes = 0;
        if self.left == 0 { State::LineStart } else { State::Content }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, MalformedChunks> {
        if TRAILERS_MAX_BYTES <= self.trailers.len() {
            return Err(MalformedChunks);
        }
        self.trailers.push(byte);
        match (self.state, byte) {
            (State::TrailerLf, _) => Ok(State::LineStart),
            (_, b'\n') => Err(MalformedChunks),
            (_, b'\r') => Ok(State::TrailerLf),
            _ => Ok(State::Trailer),
        }
    }

    fn end(&mut self) -> State {
        if self.has_trailers() {
            self.trailers.extend_from_slice(b"\r\n");
        }
        State::Over
    }
}

/// Fields of a trailer section, and its bytes.
const TRAILERS_MAX: usize = 100;
const TRAILERS_MAX_BYTES: usize = 64 * 1024;
/// Bytes of one size line: 16 digits and any extension that means something.
const SIZE_LINE_MAX: usize = 4096;
/// Bytes of extensions in one body.
const EXTENSIONS_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What came of a body: its content, its trailers and what stood behind it.
    type Read = (String, Vec<(String, String)>, usize);

    /// Reads a body that comes in two pieces; `None`: it is not over.
    fn read(input: &[u8], split: usize) -> Result<Option<Read>, MalformedChunks> {
        let (mut chunked, mut content, mut taken) = (Chunked::default(), Vec::new(), 0);
        for end in [split, input.len()] {
            while taken < end && !chunked.is_over() {
                taken += chunked.advance(&input[taken..end])?;
                let count = (end - taken).min(chunked.content_left() as usize);
                if count > 0 {
                    content.extend_from_slice(&input[taken..taken + count]);
                    chunked.took(count as u64);
                    taken += count;
                }
            }
        }
        if !chunked.is_over() {
            return Ok(None);
        }
        let trailers = match chunked.has_trailers() {
            true => chunked.trailers()?,
            false => HeaderMap::new(),
        };
        let own = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let content = String::from_utf8(content).unwrap();
        Ok(Some((content, trailers.iter().map(own).collect(), input.len() - taken)))
    }

    /// How many bytes stand behind the end; `None`: it has not come.
    fn skip(input: &[u8], split: usize) -> Result<Option<usize>, MalformedChunks> {
        let mut chunked = Chunked::default();
        let first = chunked.skip(&input[..split])?;
        let taken = first + chunked.skip(&input[first..])?;
        Ok(chunked.is_over().then(|| input.len() - taken))
    }

    #[test]
    fn rfc9112_7_1_a_body_is_the_same_however_it_is_split() {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(SIZE_LINE_MAX));
        let extended = format!("1;{}\r\nx\r\n", "e".repeat(4000)).repeat(5);
        let zeros = format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(SIZE_LINE_MAX));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(TRAILERS_MAX + 1));
        let large = format!("0\r\na: {}\r\n\r\n", "b".repeat(TRAILERS_MAX_BYTES));
        #[rustfmt::skip]
        let cases = [
            ("nothing", "0\r\n\r\n", Ok(Some(("", "", 0)))),
            ("one chunk", "2\r\nok\r\n0\r\n\r\n", Ok(Some(("ok", "", 0)))),
            ("several, in both cases", "A\r\n0123456789\r\nb\r\nabcdefghijk\r\n0\r\n\r\n", Ok(Some(("0123456789abcdefghijk", "", 0)))),
            ("zeros before the size", "002\r\nok\r\n000\r\n\r\n", Ok(Some(("ok", "", 0)))),
            ("extensions", "2;a=b;c=\"d\"\r\nok\r\n0;e\r\n\r\n", Ok(Some(("ok", "", 0)))),
            ("space behind the size", "2 \t\r\nok\r\n0 ;a\r\n\r\n", Ok(Some(("ok", "", 0)))),
            ("line ends in content", "4\r\n\r\n\r\n\r\n0\r\n\r\n", Ok(Some(("\r\n\r\n", "", 0)))),
            ("trailers", "2\r\nok\r\n0\r\nX-Sum: 7\r\nx-b:  c \r\n\r\n", Ok(Some(("ok", "x-sum=7,x-b=c", 0)))),
            ("bytes behind it", "2\r\nok\r\n0\r\n\r\nHTTP", Ok(Some(("ok", "", 4)))),
            ("cut in the last line's end", "2\r\nok\r\n0\r\n\r", Ok(None)),
            ("cut behind a chunk", "2\r\nok\r\n", Ok(None)),
            ("cut in content", "3\r\nok", Ok(None)),
            ("cut in a trailer", "0\r\na: b\r\n", Ok(None)),
            ("no size", "\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("only an extension", ";a\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("no number", "zz\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("a sign", "+2\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("a prefix", "0x2\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("space before the size", " 2\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("space inside the size", "1 0\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("an underscore", "1_0\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("more than 64 bits", "10000000000000000\r\nok\r\n", Err(MalformedChunks)),
            ("a bare LF behind the size", "2\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("a bare LF in an extension", "2;a\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("a bare CR in an extension", "2;a\rb\r\nok\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("more content than the size", "2\r\nokay\r\n0\r\n\r\n", Err(MalformedChunks)),
            ("a bare LF behind content", "2\r\nok\n0\r\n\r\n", Err(MalformedChunks)),
            ("a bare LF at the end", "2\r\nok\r\n0\r\n\n", Err(MalformedChunks)),
            ("a bare LF behind a trailer", "0\r\na: b\n\r\n", Err(MalformedChunks)),
            ("a bare CR in a trailer", "0\r\na: b\rc\r\n\r\n", Err(MalformedChunks)),
            ("a folded trailer", "0\r\na: b\r\n c\r\n\r\n", Err(MalformedChunks)),
            ("no trailer", "0\r\nab\r\n\r\n", Err(MalformedChunks)),
            ("a size line without an end", &*long, Err(MalformedChunks)),
            ("extensions without an end", &*extended, Err(MalformedChunks)),
            ("zeros without an end", &*zeros, Err(MalformedChunks)),
            ("too many trailers", &*many, Err(MalformedChunks)),
            ("too long a trailer", &*large, Err(MalformedChunks)),
        ];
        for (claim, input, expected) in cases {
            let expected = expected.map(|body| {
                body.map(|(content, trailers, behind)| {
                    let trailers = trailers.split(',').filter_map(|field| field.split_once('='));
                    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                    (content.to_owned(), trailers.map(own).collect(), behind)
                })
            });
            let splits = if input.len() < 1000 { 0..=input.len() } else { 0..=2 };
            for split in splits {
                assert_eq!(read(input.as_bytes(), split), expected, "{claim}, split at {split}");
                let end = expected.as_ref().map(|body| body.as_ref().map(|(.., behind)| *behind));
                if !claim.contains("trailer") {
                    assert_eq!(
                        skip(input.as_bytes(), split),
                        end.map_err(|error| *error),
                        "{claim}"
                    );
                }
            }
        }
    }
}
