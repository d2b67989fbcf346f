//! What was read from a connection and not taken yet.
//!
//! An idle connection holds no buffer: there is one spare per thread, lent to whichever connection
//! reads now and given back when nothing is left in it.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes in the order in which they came.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: BytesMut,
    /// Up to here they were taken.
    start: usize,
    /// The last read filled all the room there was, so that a larger one is worth it.
    was_full: bool,
}

impl Inbox {
    /// What is here.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() <= self.start
    }

    /// Drops that many bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.is_empty() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Takes that many bytes, if they are here. Few are copied, so that they do not hold a whole
    /// buffer; many are cut off with the buffer they stand in.
    pub(super) fn take(&mut self, bytes: usize) -> Bytes {
        let count = bytes.min(self.bytes().len());
        if count <= SPARE_BYTES {
            let taken = Bytes::copy_from_slice(self.bytes().get(..count).unwrap_or_default());
            self.consume(count);
            return taken;
        }
        self.buffer.advance(self.start);
        self.start = 0;
        self.buffer.split_to(count).freeze()
    }

    /// Reads once; 0: the other side has ended. `left` is what is known to come, so that no more
    /// room is made than can be filled.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        left: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room(left);
        let room = self.buffer.capacity() - self.buffer.len();
        let polled = pin!(stream.read_buf(&mut self.buffer)).poll(cx);
        match &polled {
            Poll::Ready(Ok(count)) => self.was_full = *count == room,
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.rest(),
        }
        polled
    }

    /// Gives the buffer back if there is nothing in it.
    pub(super) fn rest(&mut self) {
        if !self.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() == SPARE_BYTES {
            // Without a place to put it, it is freed.
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }

    fn make_room(&mut self, left: u64) {
        let wanted = self.room_for(left);
        if self.is_empty() {
            if self.buffer.capacity() < wanted {
                self.rest();
                self.buffer = fresh(wanted);
            }
        } else if self.buffer.capacity() - self.buffer.len() < ROOM_MIN_BYTES {
            self.buffer.advance(self.start);
            self.start = 0;
            self.buffer.reserve(wanted);
        }
    }

    fn room_for(&self, left: u64) -> usize {
        let max = if self.was_full { ROOM_MAX_BYTES } else { SPARE_BYTES };
        usize::try_from(left).unwrap_or(max).clamp(SPARE_BYTES, max)
    }
}

fn fresh(room: usize) -> BytesMut {
    let spare = match room {
        SPARE_BYTES => SPARE.try_with(Cell::take).unwrap_or_default(),
        _ => BytesMut::new(),
    };
    if spare.capacity() < room { BytesMut::with_capacity(room) } else { spare }
}

thread_local! {
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Room for most answers, so that they come with one read.
const SPARE_BYTES: usize = 16 * 1024;
/// Room for a large one.
const ROOM_MAX_BYTES: usize = 64 * 1024;
/// With less room than this, a read is not worth its system call.
const ROOM_MIN_BYTES: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn what_comes_in_goes_out_in_order_and_an_empty_inbox_holds_nothing() {
        let sent: Vec<u8> = (0..400_000_u32).map(|number| number as u8).collect();
        for piece in [1, 1000, SPARE_BYTES, 50_000, sent.len()] {
            let (mut inbox, mut source, mut got) = (Inbox::default(), &sent[..], Vec::new());
            loop {
                let left = source.len() as u64;
                let count = poll_fn(|cx| inbox.poll_fill(&mut source, left, cx)).await.unwrap();
                if count == 0 {
                    break;
                }
                while piece <= inbox.bytes().len() {
                    got.extend_from_slice(&inbox.take(piece));
                }
                let some = inbox.bytes().len() / 2;
                got.extend_from_slice(&inbox.bytes()[..some]);
                inbox.consume(some);
            }
            got.extend_from_slice(&inbox.take(usize::MAX));
            assert!(got == sent, "in pieces of {piece}");
            inbox.rest();
            assert_eq!(inbox.buffer.capacity(), 0, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn one_thread_has_one_spare_buffer() {
        let mut inbox = Inbox::default();
        let mut address = None;
        for _ in 0..3 {
            poll_fn(|cx| inbox.poll_fill(&mut &b"answer"[..], 0, cx)).await.unwrap();
            let here = inbox.buffer.as_ptr().addr();
            assert_eq!(*address.get_or_insert(here), here);
            assert_eq!(inbox.take(6), "answer");
            inbox.rest();
        }
    }
}
