//! Waits for the moments of an open loop, finer than the runtime's timer, which knows milliseconds.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;

use super::timer::Timer;
use crate::base::time;

/// Those of one thread that wait for their moment. Moments are taken in order, so the queue is in
/// order as well, and one timer is enough.
#[derive(Default)]
pub(super) struct Pacer {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    sleepers: VecDeque<(Instant, Waker)>,
    is_stopped: bool,
}

impl Pacer {
    /// Waits until `at`, or until [`stop`](Self::stop), and says what time it is then.
    pub(super) async fn until(&self, at: Instant) -> Instant {
        let mut is_queued = false;
        poll_fn(|context| {
            let now = time::instant();
            let mut queue = self.queue();
            if now >= at || queue.is_stopped {
                return Poll::Ready(now);
            }
            if !is_queued {
                is_queued = true;
                queue.sleepers.push_back((at, context.waker().clone()));
                self.news.notify_one();
            }
            Poll::Pending
        })
        .await
    }

    /// Wakes each sleeper at its moment, forever.
    ///
    /// # Errors
    /// When the system gives no timer.
    pub(super) async fn run(&self) -> io::Result<()> {
        let mut timer = Timer::new()?;
        loop {
            match self.wake(time::instant()) {
                Some(next) => timer.until(next).await?,
                None => self.news.notified().await,
            }
        }
    }

    /// Lets nobody sleep any more.
    pub(super) fn stop(&self) {
        let mut queue = self.queue();
        queue.is_stopped = true;
        queue.sleepers.drain(..).for_each(|(_, waker)| waker.wake());
    }

    /// Wakes those whose moment has come, and says when the next one is to be woken.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let mut queue = self.queue();
        let due = queue.sleepers.partition_point(|(at, _)| *at <= now);
        queue.sleepers.drain(..due).for_each(|(_, waker)| waker.wake());
        queue.sleepers.front().map(|(at, _)| *at)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn sleepers_wake_at_their_moments_and_all_at_the_stop() {
        let pacer = Pacer::default();
        let start = time::instant();
        let at = |ms| start + Duration::from_millis(ms);
        tokio::select! {
            _ = pacer.run() => panic!("it runs forever"),
            woken = async { (pacer.until(at(3)).await, pacer.until(at(6)).await) } => {
                assert!(woken.0 >= at(3) && woken.1 >= at(6));
            }
        }
        let stop = async { pacer.stop() };
        let (woken, ()) = tokio::join!(pacer.until(at(60_000)), stop);
        assert!(woken < at(60_000));
    }
}
