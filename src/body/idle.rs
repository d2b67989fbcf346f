//! The end of a wait for the next frame.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A time-out between two frames. Made and set only when a poll found nothing, so that a body
/// whose frames are there when asked for never touches the timer.
#[derive(Debug)]
pub struct IdleTimer {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl IdleTimer {
    /// A wait may take this long.
    pub const fn new(after: Duration) -> Self {
        Self { after, sleep: None, is_waiting: false }
    }

    /// A frame came: the next wait starts anew.
    pub const fn restart(&mut self) {
        self.is_waiting = false;
    }

    /// To be asked when a poll found nothing: ready once the wait has taken too long.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.is_waiting {
                    sleep.as_mut().reset(deadline(self.after));
                }
                sleep
            }
            none => none.insert(Box::pin(sleep(self.after))),
        };
        self.is_waiting = true;
        sleep.as_mut().poll(cx)
    }
}

/// The moment that much later; a duration beyond any sense is cut to a year, as adding it to a
/// clock could overflow.
fn deadline(after: Duration) -> Instant {
    Instant::now() + after.min(A_YEAR)
}

const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_and_each_frame_starts_a_new_one() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut idle = IdleTimer::new(10 * second);
        let waiting = poll_fn(|cx| idle.poll_expired(cx));
        assert!(tokio::time::timeout(9 * second, waiting).await.is_err());
        idle.restart();
        poll_fn(|cx| idle.poll_expired(cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 19);
    }

    #[tokio::test]
    async fn a_wait_without_an_end_does_not_overflow() {
        let mut idle = IdleTimer::new(Duration::MAX);
        for _ in 0..2 {
            let polled = poll_fn(|cx| Poll::Ready(idle.poll_expired(cx))).await;
            assert!(polled.is_pending());
            idle.restart();
        }
    }
}
