//! The frames of one turn in one write.
//!
//! h2 writes and flushes each DATA frame that it would not copy by itself: with TLS a record and a
//! system call for every short answer, however many streams answer at once. Here what it writes
//! waits until the connection's turn is over; its task then sends it all, so nothing waits for
//! longer than a turn takes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};

/// A byte stream whose writes wait for the end of a [turn](Self::poll_turn).
///
/// Shared by hyper, which writes, and the task that polls it, which sends: one and the same, so
/// the lock is never contended.
#[derive(Debug)]
pub(super) struct Corked<T>(Arc<Mutex<Cork<T>>>);

#[derive(Debug)]
struct Cork<T> {
    io: T,
    /// Up to [`CORK_BYTES`]; gives its memory back when it has been sent.
    waiting: BytesMut,
}

impl<T> Clone for Corked<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Corked<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Cork { io, waiting: BytesMut::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Cork<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Write + Unpin> Corked<T> {
    /// Polls the connection that writes here, then sends what it wrote: its outcome, or `None`
    /// where it goes on over a stream that is broken.
    pub(super) fn poll_turn<F: Future>(
        &self,
        connection: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Option<F::Output>> {
        let polled = connection.poll(context);
        let sent = self.poll_send(context);
        match (polled, sent) {
            (Poll::Ready(outcome), _) => Poll::Ready(Some(outcome)),
            (Poll::Pending, Poll::Ready(Err(_))) => Poll::Ready(None),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        ready!(cork.poll_drain(context))?;
        Pin::new(&mut cork.io).poll_flush(context)
    }
}

impl<T: Write + Unpin> Cork<T> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.waiting.has_remaining() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        self.waiting = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Makes room for that many bytes, if that many may wait.
    fn poll_room(&mut self, context: &mut Context<'_>, bytes: usize) -> Poll<io::Result<bool>> {
        if CORK_BYTES < self.waiting.len() + bytes {
            ready!(self.poll_drain(context))?;
        }
        if CORK_BYTES < bytes {
            return Poll::Ready(Ok(false));
        }
        if self.waiting.is_empty() {
            self.waiting = BytesMut::with_capacity(CORK_BYTES);
        }
        Poll::Ready(Ok(true))
    }
}

impl<T: Read + Unpin> Read for Corked<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Corked<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut cork = self.lock();
        let length = slices.iter().map(|slice| slice.len()).sum();
        if !ready!(cork.poll_room(context, length))? {
            return Pin::new(&mut cork.io).poll_write_vectored(context, slices);
        }
        for slice in slices {
            cork.waiting.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true // or h2 would copy what is copied here
    }

    /// There is nothing to wait for: what waits is sent when the turn is over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.lock().io).poll_shutdown(context)
    }
}

/// As much as a TLS record holds (RFC 8446 §5.1).
const CORK_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// What is written, piece by piece; each write has to wait while there is no room.
    #[derive(Debug, Default)]
    struct Line {
        pieces: Vec<usize>,
        room: usize,
        is_shut: bool,
    }

    impl Write for Line {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            assert!(!self.is_shut);
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Poll::Pending;
            }
            self.room -= length;
            self.pieces.push(length);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn corked(room: usize) -> Corked<Line> {
        Corked::new(Line { room, ..Line::default() })
    }

    /// How much of so many bytes was taken, flushed behind it as h2 does.
    fn write(corked: &mut Corked<Line>, bytes: usize) -> Poll<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let (head, rest) = (vec![1; bytes / 2], vec![2; bytes - bytes / 2]);
        let slices = [IoSlice::new(&head), IoSlice::new(&rest)];
        let written = Pin::new(&mut *corked).poll_write_vectored(&mut context, &slices);
        assert!(Pin::new(corked).poll_flush(&mut context).is_ready());
        written.map(Result::unwrap)
    }

    fn sends(corked: &Corked<Line>) -> bool {
        corked.poll_send(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn pieces(corked: &Corked<Line>) -> Vec<usize> {
        corked.lock().io.pieces.clone()
    }

    #[test]
    fn the_frames_of_a_turn_leave_in_one_piece_and_no_memory_stays() {
        let mut corked = corked(usize::MAX);
        for _ in 0..10 {
            assert_eq!(write(&mut corked, 1000), Poll::Ready(1000));
        }
        assert!(pieces(&corked).is_empty());
        assert!(sends(&corked));
        assert_eq!(pieces(&corked), [10_000]);
        assert_eq!(corked.lock().waiting.capacity(), 0);
        assert!(sends(&corked));
        assert_eq!(pieces(&corked), [10_000]);
    }

    #[test]
    fn no_more_waits_than_the_bound_and_what_is_longer_overtakes_nothing() {
        let mut corked = corked(usize::MAX);
        assert_eq!(write(&mut corked, CORK_BYTES), Poll::Ready(CORK_BYTES));
        assert_eq!(write(&mut corked, 1), Poll::Ready(1));
        assert_eq!(pieces(&corked), [CORK_BYTES]);
        assert!(write(&mut corked, CORK_BYTES + 1).is_ready());
        assert_eq!(pieces(&corked)[..2], [CORK_BYTES, 1]);
        assert!(pieces(&corked).len() > 2 && corked.lock().waiting.is_empty());
    }

    #[test]
    fn a_caller_that_does_not_read_is_waited_for() {
        let mut corked = corked(10);
        assert!(write(&mut corked, CORK_BYTES).is_ready());
        assert!(!sends(&corked));
        assert_eq!(write(&mut corked, 100), Poll::Pending, "the bound is reached");
        assert_eq!(pieces(&corked), [10]);
        corked.lock().io.room = CORK_BYTES;
        assert!(sends(&corked));
        assert_eq!(pieces(&corked), [10, CORK_BYTES - 10]);
    }

    #[test]
    fn what_waits_is_sent_before_the_end() {
        let mut corked = corked(3);
        let mut context = Context::from_waker(Waker::noop());
        assert!(write(&mut corked, 5).is_ready());
        assert!(Pin::new(&mut corked).poll_shutdown(&mut context).is_pending());
        corked.lock().io.room = 2;
        assert!(Pin::new(&mut corked).poll_shutdown(&mut context).is_ready());
        assert_eq!(pieces(&corked), [3, 2]);
        assert!(corked.lock().io.is_shut);
    }
}
