//! An upstream that keeps every byte and reads it by the letter of RFC 9112, with no leniency: what
//! it cannot read that way, the gateway must not have sent.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What reached the upstream, on one connection after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A request, whole.
    Whole(Recorded),
    /// The beginning of one.
    Part(Vec<u8>),
    /// What is no request by the letter.
    Malformed(&'static str, Vec<u8>),
}

/// A whole request.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Request line and fields.
    pub lines: Vec<Vec<u8>>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// The upstream.
pub struct Recorder {
    url: String,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Recorder {
    /// Starts it: it answers every whole request with 200 and nothing.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let records = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&records);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(record(stream, Arc::clone(&kept)));
            }
        });
        Self { url, records }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.records.lock().unwrap())
    }
}

async fn record(mut stream: TcpStream, records: Arc<Mutex<Vec<Record>>>) {
    let mut buffer = Vec::new();
    loop {
        let read = stream.read_buf(&mut buffer).await.unwrap_or(0);
        loop {
            match request(&buffer) {
                Ok(Some(whole)) => {
                    buffer.drain(..whole.bytes.len());
                    records.lock().unwrap().push(Record::Whole(whole));
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    drop(stream.write_all(answer).await);
                }
                Ok(None) => break,
                Err(why) => {
                    records.lock().unwrap().push(Record::Malformed(why, buffer));
                    return;
                }
            }
        }
        if read == 0 {
            if !buffer.is_empty() {
                records.lock().unwrap().push(Record::Part(buffer));
            }
            return;
        }
    }
}

/// Reads a request from the start of `bytes`; `None` while it is not whole.
fn request(bytes: &[u8]) -> Result<Option<Recorded>, &'static str> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let lines: Vec<Vec<u8>> = split_lines(&bytes[..end]);
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if lines.iter().flatten().any(is_control) {
        return Err("a control in the head");
    }
    let words: Vec<_> = lines[0].split(|byte| *byte == b' ').collect();
    if words.len() != 3 || !words[1].starts_with(b"/") || words[2] != b"HTTP/1.1" {
        return Err("the request line");
    }
    if !lines[1..].iter().all(|line| is_field(line)) {
        return Err("a field");
    }
    if values(&lines, "host").len() != 1 {
        return Err("not one host");
    }
    let (lengths, codings) =
        (values(&lines, "content-length"), values(&lines, "transfer-encoding"));
    let start = end + 4;
    let (body, used) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), 0),
        ([length], []) => {
            let length: usize = length.parse().map_err(|_| "the length")?;
            match bytes.get(start..start + length) {
                Some(body) => (body.to_vec(), length),
                None => return Ok(None),
            }
        }
        ([], [coding]) if coding == "chunked" => match chunks(&bytes[start..])? {
            Some(read) => read,
            None => return Ok(None),
        },
        _ => return Err("the framing"),
    };
    Ok(Some(Recorded { bytes: bytes[..start + used].to_vec(), lines, body }))
}

/// A chunked body from the start of `bytes`, and how many bytes it takes.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&bytes[at..]) else { return Ok(None) };
        let text = std::str::from_utf8(line).map_err(|_| "a chunk's size")?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a chunk's size");
        }
        let size = usize::from_str_radix(text, 16).map_err(|_| "a chunk's size")?;
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(content) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !content.ends_with(b"\r\n") {
            return Err("a chunk's end");
        }
        body.extend(&content[..size]);
        at += size + 2;
    }
    loop {
        let Some(line) = line(&bytes[at..]) else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
        if !is_field(line) {
            return Err("a trailer");
        }
    }
}

fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.windows(2).position(|two| two == b"\r\n").map(|end| &bytes[..end])
}

fn split_lines(head: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut rest) = (Vec::new(), head);
    while let Some(found) = line(rest) {
        lines.push(found.to_vec());
        rest = &rest[found.len() + 2..];
    }
    lines.push(rest.to_vec());
    lines
}

fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    line.contains(&b':') && !name.is_empty() && name.iter().all(is_tchar)
}

fn values(lines: &[Vec<u8>], name: &str) -> Vec<String> {
    let fields = lines[1..].iter().map(|line| String::from_utf8_lossy(line).into_owned());
    let named = fields.filter_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    named.collect()
}
