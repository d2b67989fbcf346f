//! Small writes in one piece: `send` costs the kernel less than `writev`, which has to look at a
//! list of pieces first. A head and a short body are cheaper copied together than listed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room for what is gathered.
pub type Room = [u8; GATHER_MAX_BYTES];

/// The bytes of these slices in one piece: the only one that is not empty, or all of them copied
/// into `room` if they fit there. `None` if they are several and too long.
pub fn gathered<'a>(slices: &'a [IoSlice<'_>], room: &'a mut Room) -> Option<&'a [u8]> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    let first = filled.next()?;
    if filled.next().is_none() {
        return Some(first);
    }
    let mut end = 0;
    for slice in slices {
        room.get_mut(end..end + slice.len())?.copy_from_slice(slice);
        end += slice.len();
    }
    room.get(..end)
}

/// A socket whose short lists leave in one piece. TLS hands over its records as a list, mostly of
/// one.
#[derive(Debug)]
pub struct Gathering<S>(S);

impl<S> Gathering<S> {
    /// Gathers what is written to `stream`.
    pub const fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match gathered(slices, &mut [0; _]) {
            Some(bytes) => self.poll_write(context, bytes),
            None => Pin::new(&mut self.0).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A head and a body of 1 KiB: what is longer is worth the list.
const GATHER_MAX_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_become_one_and_long_ones_stay() {
        let long = vec![b'x'; GATHER_MAX_BYTES];
        for (claim, pieces, expected) in [
            ("nothing", &[][..], None),
            ("one piece, however long", &[&long[..]], Some(long.len())),
            ("one piece among empty ones", &[&b""[..], &long, b""], Some(long.len())),
            ("head and body", &[&b"head"[..], b"body"], Some(8)),
            ("too much to copy", &[&long[..], b"x"], None),
        ] {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut room = [0; GATHER_MAX_BYTES];
            let found = gathered(&slices, &mut room);
            assert_eq!(found.map(<[u8]>::len), expected, "{claim}");
            assert!(found.is_none_or(|bytes| bytes == pieces.concat()), "{claim}");
        }
    }
}
