//! The same over HTTP/2 on both sides, where windows bound what waits for a slow side.
//!
//! Frames by hand: a library built for debugging would be slower than the gateway that it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::endless::{is_release, passes_at_constant_memory};
use super::harness::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame, hpack,
};

#[test]
fn bodies_of_half_a_gibibyte_pass_over_http2_at_constant_memory() {
    let bytes = if is_release() { 512 << 20 } else { 64 << 20 };
    let length = Arc::new(AtomicU64::new(0));
    let endpoint = format!("h2c://{}", upstream(Arc::clone(&length)));
    passes_at_constant_memory(&endpoint, [WARM_UP_BYTES, bytes], |gateway, bytes| {
        length.store(bytes, Ordering::Relaxed);
        let mut caller = Peer::client(gateway);
        caller.open(1, "GET", END_STREAM);
        assert_eq!(caller.head(), OK, "no 200");
        assert_eq!(caller.drain(), Some(bytes), "the answer breaks off");
        caller.open(3, "POST", 0);
        caller.fill(bytes).expect("an upload to its end");
        assert_eq!(caller.head(), OK, "the upstream got another number of bytes");
    });
}

/// An upstream that answers a request without a body with so many bytes, and one with as many of
/// them with 200.
fn upstream(length: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let length = Arc::clone(&length);
            thread::spawn(move || {
                let mut peer = Peer::server(stream);
                while peer.serve(&length).is_some() {}
            });
        }
    });
    address
}

/// One end of a connection that has one stream at a time.
struct Peer {
    io: TcpStream,
    /// The last frame's.
    payload: Vec<u8>,
    stream: u32,
    /// What may be sent: on the connection, on a new stream, and on this one.
    windows: [i64; 3],
    /// What came of the stream's body, and what of that the other side has no room back for.
    came: u64,
    owed: u32,
}

impl Peer {
    fn client(to: SocketAddr) -> Self {
        let mut io = TcpStream::connect(to).unwrap();
        io.write_all(PREFACE).unwrap();
        Self::begun(io)
    }

    fn server(mut io: TcpStream) -> Self {
        io.read_exact(&mut [0; PREFACE.len()]).unwrap();
        Self::begun(io)
    }

    fn begun(mut io: TcpStream) -> Self {
        let window = [&[0, 4], &WINDOW.to_be_bytes()[..]].concat();
        io.write_all(&frame(SETTINGS, 0, 0, &window)).unwrap();
        let more = WINDOW - WINDOW_AT_FIRST as u32;
        io.write_all(&frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes())).unwrap();
        Self {
            io,
            payload: Vec::new(),
            stream: 0,
            windows: [WINDOW_AT_FIRST, WINDOW_AT_FIRST, 0],
            came: 0,
            owed: 0,
        }
    }

    /// Sends the head of a request.
    fn open(&mut self, stream: u32, method: &str, flags: u8) {
        let fields =
            [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", "/0")];
        self.begin(stream);
        self.send(HEADERS, END_HEADERS | flags, &hpack(&fields)).unwrap();
    }

    fn begin(&mut self, stream: u32) {
        (self.stream, self.came) = (stream, 0);
        self.windows[2] = self.windows[1];
    }

    /// The first byte of the next head: an index, where it is a usual status.
    fn head(&mut self) -> u8 {
        let (kind, _) = self.next().expect("a head");
        assert_eq!(kind, HEADERS);
        self.payload[0]
    }

    /// Serves a request; `None` at the end.
    fn serve(&mut self, length: &AtomicU64) -> Option<()> {
        let length = || length.load(Ordering::Relaxed);
        let (HEADERS, flags) = self.next()? else { return None };
        if flags & END_STREAM != 0 {
            self.send(HEADERS, END_HEADERS, &[OK])?;
            return self.fill(length());
        }
        let is_whole = self.drain()? == length();
        self.send(HEADERS, END_HEADERS | END_STREAM, &[if is_whole { OK } else { FAILED }])
    }

    /// Takes the body off; gives how many bytes it had.
    fn drain(&mut self) -> Option<u64> {
        loop {
            let (DATA, flags) = self.next()? else { return None };
            if flags & END_STREAM != 0 {
                return Some(self.came);
            }
        }
    }

    /// Sends a body of so many bytes, as fast as there is room for it.
    fn fill(&mut self, bytes: u64) -> Option<()> {
        let piece = [b'x'; FRAME_BYTES as usize];
        let mut left = i64::try_from(bytes).unwrap();
        while 0 < left {
            let [connection, _, stream] = self.windows;
            let now = connection.min(stream).min(FRAME_BYTES).min(left);
            if now <= 0 {
                self.take_one()?;
                continue;
            }
            left -= now;
            self.windows[0] -= now;
            self.windows[2] -= now;
            let flags = if left == 0 { END_STREAM } else { 0 };
            self.send(DATA, flags, &piece[..now as usize])?;
        }
        Some(())
    }

    /// The next frame of a request or an answer: its type and flags.
    fn next(&mut self) -> Option<(u8, u8)> {
        loop {
            let (kind, flags) = self.take_one()?;
            if kind == HEADERS || kind == DATA {
                return Some((kind, flags));
            }
        }
    }

    /// Takes one frame, and does what it asks for.
    fn take_one(&mut self) -> Option<(u8, u8)> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        self.payload.resize(length as usize, 0);
        self.io.read_exact(&mut self.payload).ok()?;
        let (kind, flags, stream) = (head[3], head[4], word(&head[5..]));
        let is_question = flags & ACK == 0;
        match kind {
            HEADERS if stream != self.stream => self.begin(stream),
            DATA => {
                self.came += u64::from(length);
                self.owed += length;
                if RETURNED_AT < self.owed {
                    let room = std::mem::take(&mut self.owed).to_be_bytes();
                    self.io.write_all(&frame(WINDOW_UPDATE, 0, 0, &room)).ok()?;
                    self.send(WINDOW_UPDATE, 0, &room)?;
                }
            }
            SETTINGS if is_question => {
                for setting in self.payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                    let new = i64::from(word(&setting[2..]));
                    self.windows[2] += new - self.windows[1];
                    self.windows[1] = new;
                }
                self.io.write_all(&frame(SETTINGS, ACK, 0, &[])).ok()?;
            }
            PING if is_question => self.io.write_all(&frame(PING, ACK, 0, &self.payload)).ok()?,
            WINDOW_UPDATE if stream == 0 => self.windows[0] += i64::from(word(&self.payload)),
            WINDOW_UPDATE if stream == self.stream => {
                self.windows[2] += i64::from(word(&self.payload));
            }
            RST_STREAM | GOAWAY => return None,
            _ => {}
        }
        Some((kind, flags))
    }

    /// Sends a frame of the stream.
    fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Option<()> {
        self.io.write_all(&frame(kind, flags, self.stream, payload)).ok()
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// `:status` 200 and 500 (RFC 7541, Appendix A).
const OK: u8 = 0x88;
const FAILED: u8 = 0x8E;
/// What a side may send before it hears of another size (RFC 9113 §6.9.2, §6.5.2).
const WINDOW_AT_FIRST: i64 = 65_535;
const FRAME_BYTES: i64 = 16_384;
/// What the gateway may send us, and how much of it is taken before we say so.
const WINDOW: u32 = 1 << 20;
const RETURNED_AT: u32 = WINDOW / 4;
/// Enough for every buffer to have its size.
const WARM_UP_BYTES: u64 = 16 << 20;
