//! A connection between its requests, when nothing has come for a while.
//!
//! What reads and writes HTTP/1.1 keeps two buffers of 8 KiB and room for a request at work. A
//! connection that stands still gives all of that back and keeps its socket and a timer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::sleep;

use super::phase::PhaseReceiver;

/// How such a time ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Parked {
    /// With these bytes from the caller.
    Woken(Bytes),
    /// With the connection: the caller went, nothing came in time, or the process drains.
    Over,
}

/// Waits until bytes come, for no longer than `patience`.
pub(super) async fn park<I: AsyncRead + Unpin>(
    io: &mut I,
    phase: &mut PhaseReceiver,
    patience: Duration,
) -> Parked {
    let mut timer = pin!(sleep(patience));
    poll_fn(|context| {
        if phase.poll_draining(context) {
            return Poll::Ready(Parked::Over);
        }
        if let Poll::Ready(bytes) = poll_some(io, context) {
            return Poll::Ready(bytes.map_or(Parked::Over, Parked::Woken));
        }
        timer.as_mut().poll(context).map(|()| Parked::Over)
    })
    .await
}

/// A few bytes, or `None` at the end. Few, as their room is held by every parked connection.
fn poll_some<I: AsyncRead + Unpin>(io: &mut I, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
    let mut room = [0; ROOM_BYTES];
    let mut read = ReadBuf::new(&mut room);
    let outcome = ready!(Pin::new(io).poll_read(context, &mut read));
    let bytes = read.filled();
    Poll::Ready((outcome.is_ok() && !bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes)))
}

/// Enough to see that somebody is there; the rest is read where it is understood.
const ROOM_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::super::phase::{Phase, PhaseSender};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_bytes_with_the_caller_with_its_time_or_with_the_process() {
        let phases = PhaseSender::new();
        let patience = Duration::from_secs(75);
        let (mut ours, mut theirs) = tokio::io::duplex(256);
        let mut phase = phases.subscribe();
        theirs.write_all(b"GET").await.unwrap();
        let woken = Parked::Woken(Bytes::from_static(b"GET"));
        assert_eq!(park(&mut ours, &mut phase, patience).await, woken);

        let before = tokio::time::Instant::now();
        assert_eq!(park(&mut ours, &mut phase, patience).await, Parked::Over);
        assert_eq!(tokio::time::Instant::now() - before, patience);

        phases.enter(Phase::Draining);
        assert_eq!(park(&mut ours, &mut phase, patience).await, Parked::Over);
        assert_eq!(tokio::time::Instant::now() - before, patience, "at once");

        let (mut ours, theirs) = tokio::io::duplex(256);
        drop(theirs);
        let mut phase = PhaseSender::new().subscribe();
        assert_eq!(park(&mut ours, &mut phase, patience).await, Parked::Over);
    }
}
