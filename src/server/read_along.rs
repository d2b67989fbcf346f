//! A caller's stream whose bytes are looked at on their way to hyper: see [`heads`](super::heads)
//! for HTTP/1.1 and [`trailers`](super::trailers) for HTTP/2. Bytes stay where they were read,
//! but for those that somebody puts others in the place of.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whoever looks at them. Pure.
pub(super) trait Along {
    /// Looks at what came, at least one byte. Gives how many of these, from the first, go on as
    /// they are; what goes on in place of the others is put into `instead`, now or with what comes
    /// next.
    ///
    /// # Errors
    /// When the connection ends here.
    fn came(&mut self, bytes: &[u8], instead: &mut Vec<u8>) -> io::Result<usize>;

    /// Nothing more comes: what was held back goes on.
    fn ended(&mut self, _instead: &mut Vec<u8>) {}

    /// Bytes leave for the caller.
    fn leave(&mut self) {}
}

/// The stream.
#[derive(Debug)]
pub(super) struct ReadAlong<I, A> {
    io: I,
    along: A,
    /// Read before the protocol was known, and not yet handed on.
    prefix: Bytes,
    /// To be handed on before anything else is read.
    instead: Vec<u8>,
}

impl<I, A> ReadAlong<I, A> {
    /// `prefix`: what was read of it already.
    pub(super) const fn new(io: I, prefix: Bytes, along: A) -> Self {
        Self { io, along, prefix, instead: Vec::new() }
    }

    /// The stream itself; what was read of it and not handed on, as far as nobody has looked at it;
    /// and whoever looks.
    pub(super) fn into_parts(self) -> (I, Bytes, A) {
        (self.io, self.prefix, self.along)
    }
}

impl<I: AsyncRead + Unpin, A: Along + Unpin> AsyncRead for ReadAlong<I, A> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, along, prefix, instead } = &mut *self;
        while 0 < buffer.remaining() {
            if !instead.is_empty() {
                let length = instead.len().min(buffer.remaining());
                buffer.put_slice(instead.get(..length).unwrap_or_default());
                instead.drain(..length);
                break;
            }
            let before = buffer.filled().len();
            if prefix.is_empty() {
                ready!(Pin::new(&mut *io).poll_read(context, buffer))?;
            } else {
                let length = prefix.len().min(buffer.remaining());
                buffer.put_slice(&prefix.split_to(length));
            }
            let came = buffer.filled().get(before..).unwrap_or_default();
            if came.is_empty() {
                along.ended(instead);
                if instead.is_empty() {
                    break;
                }
                continue;
            }
            let same = along.came(came, instead)?;
            buffer.set_filled(before + same.min(came.len()));
            if 0 < same {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin, A: Along + Unpin> AsyncWrite for ReadAlong<I, A> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.along.leave();
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.along.leave();
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Reads all of `bytes`, at most `at_once` at a time, through `along` from a stream that gives
    /// `chunk` at a time; the first `prefix` were read before.
    pub(in crate::server) async fn read(
        bytes: &[u8],
        along: impl Along + Unpin,
        (chunk, at_once, prefix): (usize, usize, usize),
    ) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(chunk);
        let (prefix, rest) = bytes.split_at(prefix.min(bytes.len()));
        let mut stream = ReadAlong::new(far, Bytes::copy_from_slice(prefix), along);
        let sending = async { { near }.write_all(rest).await.unwrap() };
        let reading = async {
            let (mut all, mut buffer) = (Vec::new(), vec![0; at_once]);
            loop {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => return all,
                    length => all.extend(&buffer[..length]),
                }
            }
        };
        tokio::join!(sending, reading).1
    }
}
