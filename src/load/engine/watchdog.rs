//! The timeout of a request, without a timer per request.
//!
//! Setting a timer costs as much as everything else that is done for an answer here. So a lane only
//! writes down when it sent, and one sweep per thread looks at all of them now and then.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// Watches one lane: a connection, or a stream of one. Its thread alone uses it.
pub(super) struct Watchdog {
    origin: Instant,
    /// Microseconds since the origin, plus one; 0 while nothing is under way.
    sent: AtomicU64,
    rung: AtomicBool,
    waker: AtomicWaker,
}

/// The timeout is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expired;

impl Watchdog {
    /// Nothing is under way.
    pub(super) const fn new(origin: Instant) -> Self {
        let (sent, rung) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { origin, sent, rung, waker: AtomicWaker::new() }
    }

    /// Awaits a future that began at `now`, until the sweep finds that it takes too long.
    pub(super) async fn guard<T>(
        &self,
        now: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Expired> {
        self.rung.store(false, Ordering::Relaxed);
        self.sent.store(self.micros(now) + 1, Ordering::Relaxed);
        let mut future = pin!(future);
        let outcome = poll_fn(|context| {
            if self.rung.load(Ordering::Relaxed) {
                return Poll::Ready(Err(Expired));
            }
            let polled = future.as_mut().poll(context).map(Ok);
            if polled.is_pending() {
                self.waker.register(context.waker());
            }
            polled
        })
        .await;
        self.sent.store(0, Ordering::Relaxed);
        outcome
    }

    /// Ends what has been under way for longer than `timeout`.
    pub(super) fn sweep(&self, now: Instant, timeout: Duration) {
        let sent = self.sent.load(Ordering::Relaxed);
        let limit = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        if sent != 0 && self.micros(now) > sent.saturating_add(limit) {
            self.rung.store(true, Ordering::Relaxed);
            self.waker.wake();
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX - 1)
    }
}

/// How often to look, so that a timeout is kept to a twentieth.
pub(super) fn period(timeout: Duration) -> Duration {
    (timeout / 20).clamp(Duration::from_millis(5), Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    #[tokio::test]
    async fn what_takes_too_long_is_ended_by_the_sweep() {
        let start = time::instant();
        let dog = Watchdog::new(start);
        let timeout = Duration::from_secs(1);
        let sweep = async {
            dog.sweep(start + timeout, timeout);
            tokio::task::yield_now().await;
            dog.sweep(start + timeout * 2, timeout);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = dog.guard(start, std::future::pending::<()>()) => assert!(ended.is_err()),
            () = sweep => {}
        }
        dog.sweep(start + timeout * 9, timeout);
        assert!(dog.guard(start, async { 1 }).await.is_ok(), "nothing was under way then");
    }
}
