//! One direction of a tunnel: what is read on one side is written on the other.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How far it has come. While nothing waits to be written it holds no buffer.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Read and not written yet, from `start` on; at most [`ROOM_BYTES`].
    kept: Vec<u8>,
    start: usize,
    stage: Stage,
    needs_flush: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Open,
    /// Nothing more is read; the other side is to be told.
    Ending,
    Over,
}

/// Which side has broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Reading,
    Writing,
}

impl Direction {
    /// Begins with bytes that were read already.
    pub(super) fn after(read: &[u8]) -> Self {
        Self { kept: read.to_vec(), ..Self::default() }
    }

    /// Whether all was read and written, and the other side was told.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Ends it where it is: nobody takes what it would write.
    pub(super) fn give_up(&mut self) {
        *self = Self { stage: Stage::Over, ..Self::default() };
    }

    /// Moves what can be moved now. Ready once it is over. `sent` sees what was written.
    pub(super) fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        sent: &mut dyn FnMut(&[u8]),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..TURNS_MAX {
            if self.start < self.kept.len() {
                ready!(self.poll_write_kept(to, sent, cx))?;
                continue;
            }
            match self.stage {
                Stage::Open => ready!(self.poll_move(from, to, sent, cx))?,
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Fault::Writing)?;
                    self.stage = Stage::Over;
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
        // The other direction, and other tunnels, have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_kept(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        sent: &mut dyn FnMut(&[u8]),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let bytes = self.kept.get(self.start..).unwrap_or_default();
        let count = ready!(poll_write(to, bytes, sent, cx))?;
        (self.start, self.needs_flush) = (self.start + count, true);
        if self.kept.len() <= self.start {
            (self.kept, self.start) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what was read; the rest is kept.
    fn poll_move(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        sent: &mut dyn FnMut(&[u8]),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let mut room = ROOM.try_with(Cell::take).unwrap_or_default();
        room.resize(ROOM_BYTES, 0);
        let mut read = ReadBuf::new(&mut room);
        let polled = match Pin::new(from).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => {
                let bytes = read.filled();
                if bytes.is_empty() {
                    self.stage = Stage::Ending;
                }
                self.write_or_keep(bytes, to, sent, cx)
            }
            Poll::Ready(Err(_)) => Err(Fault::Reading),
            Poll::Pending => match self.poll_flush(to, cx) {
                Poll::Ready(Err(fault)) => Err(fault),
                _ => {
                    give_back(room);
                    return Poll::Pending;
                }
            },
        };
        give_back(room);
        Poll::Ready(polled)
    }

    fn write_or_keep(
        &mut self,
        mut bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        sent: &mut dyn FnMut(&[u8]),
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let Poll::Ready(count) = poll_write(to, bytes, sent, cx)? else {
                self.kept = bytes.to_vec();
                break;
            };
            self.needs_flush = true;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn poll_flush(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        if self.needs_flush {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| Fault::Writing)?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    sent: &mut dyn FnMut(&[u8]),
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Fault>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(count) if 0 < count => {
            sent(bytes.get(..count).unwrap_or_default());
            Poll::Ready(Ok(count))
        }
        _ => Poll::Ready(Err(Fault::Writing)),
    }
}

/// Without a place to put it, it is freed.
fn give_back(room: Vec<u8>) {
    let _ = ROOM.try_with(|place| place.set(room));
}

thread_local! {
    /// Room to read into, lent to whichever tunnel reads now: most of them stand still.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is read at once, and the most that one direction holds.
const ROOM_BYTES: usize = 16 * 1024;
/// Reads and writes in one turn.
const TURNS_MAX: usize = 16;
