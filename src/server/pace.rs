//! How long a caller over HTTP/2 may leave one answer unread.
//!
//! hyper asks an answer's body for more only when the stream's window has room. A caller that
//! never opens it, and answers our pings, would hold the stream, and with it a connection and a
//! place at the upstream, for as long as it likes (CVE-2019-9511, CVE-2019-9517). HTTP/1.1 has one
//! answer per connection, which the [`watchdog`](super::watchdog) looks after; here a stream ends
//! by itself and leaves the others alone.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, sleep};

/// What of one answer waits for its caller.
///
/// Written and read by one task; the atomics are for sharing, never for contention.
#[derive(Debug, Default)]
pub(super) struct Pace {
    frames: AtomicU64,
    /// The shares of the last frame; zero while the caller waits for us.
    shares: AtomicU32,
    is_given_up: AtomicBool,
}

impl Pace {
    /// A frame with that much data was handed over.
    pub(super) fn frame_left(&self, bytes: usize) {
        let shares = u32::try_from(bytes.div_ceil(SHARE_BYTES)).unwrap_or(u32::MAX);
        self.frames.store(self.frames.load(Relaxed) + 1, Relaxed);
        self.shares.store(shares.max(1), Relaxed);
    }

    /// hyper asked for a frame and there was none: it is not the caller who is slow.
    pub(super) fn frame_is_due(&self) {
        self.shares.store(0, Relaxed);
    }

    /// Whether the stream ends since its caller stood still: asked by the answer when it is dropped.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Relaxed)
    }

    /// Which frame waits, and in how many shares.
    fn waiting(&self) -> Option<(u64, u32)> {
        let shares = self.shares.load(Relaxed);
        (shares > 0).then(|| (self.frames.load(Relaxed), shares))
    }
}

/// Runs the streams of one connection, each as a task that ends when its caller stands still.
///
/// hyper calls the service for a stream and then has its future executed, one right after the
/// other and in one task: that is how a future and its [`Pace`] come together.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    next: Arc<Mutex<Option<Arc<Pace>>>>,
    share_timeout: Duration,
}

impl StreamExecutor {
    /// For a connection whose callers take that long at most for [`SHARE_BYTES`].
    pub(super) fn new(share_timeout: Duration) -> Self {
        Self { next: Arc::default(), share_timeout }
    }

    /// The pace of the stream whose future comes next.
    pub(super) fn expect(&self) -> Arc<Pace> {
        let pace = Arc::default();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pace));
        pace
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let pace = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match pace {
            Some(pace) => tokio::spawn(paced(future, pace, self.share_timeout)),
            None => tokio::spawn(future),
        };
    }
}

/// Runs a stream, and drops it, which resets it, when its caller takes nothing off for too long. The
/// pace says so then, and the answer counts it as it is dropped: a handle to the number here would be
/// a clone for each stream.
///
/// The timer is made when a frame has to wait for the first time: most answers never make one.
async fn paced(future: impl Future<Output = ()>, pace: Arc<Pace>, share_timeout: Duration) {
    let mut future = pin!(future);
    let mut timer = None;
    let mut waited = None;
    poll_fn(|context| {
        if future.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let waiting = pace.waiting();
        let is_new = waiting != waited;
        waited = waiting;
        let Some((_, shares)) = waiting else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(share_timeout)));
        if is_new {
            let wait = share_timeout.saturating_mul(shares).min(WAIT_MAX);
            timer.as_mut().reset(Instant::now() + wait);
        }
        let expired = timer.as_mut().poll(context);
        if expired.is_ready() {
            pace.is_given_up.store(true, Relaxed);
        }
        expired
    })
    .await;
}

/// A frame is up to eight times as large: a line that many streams share may be slow for each of
/// them without anybody standing still.
const SHARE_BYTES: usize = 16 * 1024;
/// Longer than any wait; a duration beyond any sense could overflow the clock.
const WAIT_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// After how many seconds a stream ends that does this and then waits for ever.
    async fn ends_after(work: impl FnOnce(&Pace) + Send + 'static) -> Option<u64> {
        let pace: Arc<Pace> = Arc::default();
        let theirs = Arc::clone(&pace);
        let stream = async move {
            work(&theirs);
            std::future::pending().await
        };
        let from = Instant::now();
        let ended = tokio::time::timeout(TIMEOUT * 100, paced(stream, pace, TIMEOUT)).await;
        ended.ok().map(|()| (Instant::now() - from).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_caller_takes_nothing_and_not_when_it_waits_for_us() {
        assert_eq!(ends_after(|_| {}).await, None, "no answer yet");
        assert_eq!(ends_after(|pace| pace.frame_left(1)).await, Some(10));
        assert_eq!(ends_after(|pace| pace.frame_left(0)).await, Some(10));
        assert_eq!(ends_after(|pace| pace.frame_left(SHARE_BYTES * 3)).await, Some(30));
        let due = ends_after(|pace| {
            pace.frame_left(1);
            pace.frame_is_due();
        });
        assert_eq!(due.await, None, "the upstream is slow");
    }

    #[tokio::test(start_paused = true)]
    async fn each_frame_that_leaves_begins_the_wait_anew() {
        let pace: Arc<Pace> = Arc::default();
        let theirs = Arc::clone(&pace);
        let stream = async move {
            for _ in 0..5 {
                theirs.frame_left(1);
                sleep(TIMEOUT - Duration::from_secs(1)).await;
            }
            std::future::pending().await
        };
        let from = Instant::now();
        paced(stream, pace, TIMEOUT).await;
        assert_eq!((Instant::now() - from).as_secs(), 4 * 9 + 10);
    }
}
