//! HTTP/2 frames by hand, for what no client library will send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;

/// Frame types of RFC 9113 §6.
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const END_STREAM: u8 = 1;
/// See [`END_STREAM`].
pub const END_HEADERS: u8 = 4;

/// Error codes of RFC 9113 §7.
pub const PROTOCOL_ERROR: u32 = 1;
/// See [`PROTOCOL_ERROR`].
pub const REFUSED_STREAM: u32 = 7;

/// `SETTINGS_MAX_CONCURRENT_STREAMS` (RFC 9113 §6.5.2).
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// Frames that a flood sends in one write.
const FLOOD_AT_ONCE: usize = 1000;

/// A connection after its preface.
pub struct Frames {
    stream: TcpStream,
}

/// A frame.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// How a stream ended for its client.
#[derive(Debug, Eq, PartialEq)]
pub enum End {
    /// With HEADERS: an answer.
    Answered,
    /// RST_STREAM with that code.
    Reset(u32),
    /// The connection went: GOAWAY with that code, or just closed.
    Gone(Option<u32>),
}

impl Frames {
    /// Opens a connection in cleartext and sends preface and settings.
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let mut frames = Self { stream };
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Sends a frame; false once the other side has closed.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload)).await
    }

    /// Sends a frame that many times, many in one write; false once the other side has closed.
    pub async fn flood(&mut self, frame: &[u8], times: usize) -> bool {
        let piece = frame.repeat(FLOOD_AT_ONCE);
        for _ in 0..times.div_ceil(FLOOD_AT_ONCE) {
            if !self.raw(&piece).await {
                return false;
            }
        }
        true
    }

    /// Sends a request's HEADERS.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) {
        self.send(HEADERS, END_HEADERS | flags, stream, &hpack(fields)).await;
    }

    /// The next frame, `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        in_time("a frame", self.stream.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        in_time("a payload", self.stream.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// How many streams the other side allows at once: it says so in its first frame.
    pub async fn max_streams(&mut self) -> u32 {
        let frame = self.next().await.expect("SETTINGS");
        assert_eq!((frame.kind, frame.flags), (SETTINGS, 0));
        let mut settings = frame.payload.chunks(6);
        let limit = settings.find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes());
        word(&limit.expect("a limit")[2..])
    }

    /// How that stream ends.
    pub async fn end(&mut self, stream: u32) -> End {
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return End::Answered,
                RST_STREAM if frame.stream == stream => return End::Reset(word(&frame.payload)),
                GOAWAY => return End::Gone(Some(word(&frame.payload[4..]))),
                SETTINGS if frame.flags == 0 => {
                    self.send(SETTINGS, 1, 0, &[]).await;
                }
                _ => {}
            }
        }
        End::Gone(None)
    }

    /// Sends bytes as they are; false once the other side has closed.
    pub async fn raw(&mut self, bytes: &[u8]) -> bool {
        in_time("a write", self.stream.write_all(bytes)).await.is_ok()
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as literals without indexing (RFC 7541 §6.2.2), names and values as they are.
pub fn hpack(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    let mut left = text.len();
    if left < 127 {
        block.push(u8::try_from(left).unwrap());
    } else {
        block.push(127);
        left -= 127;
        while left >= 128 {
            block.push(u8::try_from(left % 128).unwrap() | 128);
            left /= 128;
        }
        block.push(u8::try_from(left).unwrap());
    }
    block.extend(text.bytes());
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
