//! The first bytes of a connection that begins with a PROXY header.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use super::proxy_protocol::{Malformed, Origin, Progress, progress, read};

/// Reads them at once, byte by byte and in pieces: the outcome is one, and no byte behind the
/// header is taken.
pub fn run(data: &[u8]) {
    let (outcome, count) = read_in(data, usize::MAX);
    for size in [1, 2, 7, 16, 1 + data.len() / 2] {
        let (other, other_count) = read_in(data, size);
        assert_eq!(other, outcome, "in pieces of {size}");
        // Of what is no header, as much may have been taken as had come.
        assert!(outcome.is_err() || other_count == count, "in pieces of {size}");
    }
    let Ok(origin) = outcome else { return };
    assert!(count <= HEADER_MAX_BYTES, "{count} bytes");
    let (header, _) = data.split_at_checked(count).expect("no more than there is");
    assert_eq!(read_in(header, usize::MAX), (outcome, count), "it needs nothing behind it");
    for end in 0..count {
        let Some(begun) = header.get(..end) else { break };
        match progress(begun) {
            Ok(Progress::More(more)) => assert!(0 < more && more <= count - end, "at {end}"),
            other => panic!("{other:?} of {end} bytes, and then {outcome:?} of {count}"),
        }
    }
    if let Origin::Caller(address) = origin {
        assert_eq!(named(header), Some(address), "another address than the header has");
    }
}

/// The outcome, and how many bytes it took.
fn read_in(data: &[u8], size: usize) -> (Result<Origin, Malformed>, usize) {
    let mut pieces = Pieces { rest: data, size };
    let outcome = read(&mut pieces).now_or_never().expect("nothing here waits");
    (outcome, data.len() - pieces.rest.len())
}

/// Whom a header names, read as simply as can be.
fn named(header: &[u8]) -> Option<SocketAddr> {
    if header.starts_with(b"PROXY ") {
        let line = std::str::from_utf8(header).ok()?.strip_suffix("\r\n")?;
        let words: Vec<&str> = line.split(' ').collect();
        let [_, family, from, _, port, _] = words[..] else { return None };
        let ip: IpAddr = from.parse().ok()?;
        let is_fit = ip.is_ipv4() == (family == "TCP4");
        return is_fit.then_some(SocketAddr::new(ip, port.parse().ok()?));
    }
    let number = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    match (header.get(12)?, header.get(13)?) {
        (0x21, 0x11) => {
            let ip: [u8; 4] = header.get(16..20)?.try_into().ok()?;
            Some(SocketAddr::new(ip.into(), number(24)?))
        }
        (0x21, 0x21) => {
            let ip: [u8; 16] = header.get(16..32)?.try_into().ok()?;
            Some(SocketAddr::new(ip.into(), number(48)?))
        }
        _ => None,
    }
}

/// A connection on which so many bytes come at a time, and which then ends.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = self.size.min(buffer.remaining()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(count);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// Of version 2: signature and fixed part, and the most that may come behind it.
const HEADER_MAX_BYTES: usize = 16 + 4096;
