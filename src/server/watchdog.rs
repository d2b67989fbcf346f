//! One timer per connection that asks, when it fires, whether anything has happened since.
//!
//! A connection that stands still is found after one to two `idle_timeout`s; a head that does not
//! come to its end after `header_timeout`, counted from its first bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::transport::Activity;
use crate::config::ListenerLimits;

/// Watches one connection.
pub(super) struct Watchdog<'a> {
    activity: &'a Activity,
    header_timeout: Duration,
    idle_timeout: Duration,
    timer: Pin<Box<Sleep>>,
    watching: Watching,
    watches_heads: bool,
    progress_seen: (u64, u64),
}

/// What the timer is set for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Watching {
    Idleness,
    Head,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expiry {
    /// A head did not come to its end.
    HeadTooSlow,
    /// Nothing was asked for.
    Idle,
    /// The caller does not read its answer.
    Stalled,
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(activity: &'a Activity, limits: &ListenerLimits) -> Self {
        Self {
            activity,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            timer: Box::pin(sleep(limits.idle_timeout)),
            watching: Watching::Idleness,
            watches_heads: true,
            progress_seen: activity.progress(),
        }
    }

    /// For HTTP/2, where bytes between requests are no sign of a head.
    pub(super) fn between_requests_only(self) -> Self {
        Self { watches_heads: false, ..self }
    }

    /// To be polled after the connection: what it sees is the state the connection was left in.
    pub(super) fn poll_expiry(&mut self, context: &mut Context<'_>) -> Poll<Expiry> {
        let is_inside_a_head = self.watches_heads && self.activity.is_inside_a_head();
        match self.watching {
            Watching::Idleness if is_inside_a_head => self.set(Watching::Head, self.header_timeout),
            Watching::Head if !is_inside_a_head => self.set(Watching::Idleness, self.idle_timeout),
            Watching::Idleness | Watching::Head => {}
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.watching == Watching::Head {
                return Poll::Ready(Expiry::HeadTooSlow);
            }
            let progress = self.activity.progress();
            if progress == self.progress_seen {
                if !self.activity.is_busy() {
                    return Poll::Ready(Expiry::Idle);
                }
                if self.activity.is_write_blocked() {
                    return Poll::Ready(Expiry::Stalled);
                }
            }
            self.progress_seen = progress;
            self.set(Watching::Idleness, self.idle_timeout);
        }
    }

    fn set(&mut self, watching: Watching, wait: Duration) {
        self.watching = watching;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMITS: ListenerLimits = ListenerLimits {
        connections: 1,
        header_max: 1,
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
    };

    async fn seconds_until_expiry(activity: &Activity) -> (Expiry, u64) {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(activity, &LIMITS);
        let expiry = poll_fn(|context| watchdog.poll_expiry(context)).await;
        (expiry, (Instant::now() - start).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_after_the_idle_timeout() {
        assert_eq!(seconds_until_expiry(&Activity::default()).await, (Expiry::Idle, 75));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_stands_still_ends_after_the_header_timeout() {
        let activity = Activity::default();
        activity.bytes_came();
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::HeadTooSlow, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_worked_on_never_expires_unless_its_caller_stops_reading() {
        let activity = Activity::default();
        activity.request_began();
        let waiting =
            tokio::time::timeout(Duration::from_secs(3600), seconds_until_expiry(&activity));
        assert!(waiting.await.is_err());
        activity.write_was_blocked();
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::Stalled, 75));
    }
}
