//! One timer per connection that asks, when it fires, whether anything has happened since.
//!
//! A caller that does not read its answer is found after one to two `idle_timeout`s, counted in
//! whole [`LOOK_EVERY`]; a head that does not come to its end after `header_timeout`, counted from
//! its first bytes. HTTP/1.1 between two requests is told at the next look and parked.

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
    /// Between looks.
    look_every: Duration,
    watches_heads: bool,
    progress_seen: (u64, u64),
    /// For how long it has not changed.
    still_for: Duration,
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
    /// No request is at work, and nothing has happened for so long.
    Idle(Duration),
    /// The caller does not read its answer.
    Stalled,
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(activity: &'a Activity, limits: &ListenerLimits) -> Self {
        Self {
            activity,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            timer: Box::pin(sleep(LOOK_EVERY.min(limits.idle_timeout))),
            watching: Watching::Idleness,
            look_every: LOOK_EVERY.min(limits.idle_timeout),
            watches_heads: true,
            progress_seen: activity.progress(),
            still_for: Duration::ZERO,
        }
    }

    /// For HTTP/2, where bytes between requests are no sign of a head, and where a connection is
    /// not parked: it is idle only after the whole `idle_timeout`.
    pub(super) fn between_requests_only(mut self) -> Self {
        self.watches_heads = false;
        self.look_every = self.idle_timeout;
        self.set(Watching::Idleness, self.look_every);
        self
    }

    /// To be polled after the connection: what it sees is the state the connection was left in.
    pub(super) fn poll_expiry(&mut self, context: &mut Context<'_>) -> Poll<Expiry> {
        let is_inside_a_head = self.watches_heads && self.activity.is_inside_a_head();
        match self.watching {
            Watching::Idleness if is_inside_a_head => self.set(Watching::Head, self.header_timeout),
            Watching::Head if !is_inside_a_head => self.set(Watching::Idleness, self.look_every),
            Watching::Idleness | Watching::Head => {}
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.watching == Watching::Head {
                return Poll::Ready(Expiry::HeadTooSlow);
            }
            let progress = self.activity.progress();
            let is_still = progress == self.progress_seen;
            self.still_for =
                if is_still { self.still_for + self.look_every } else { Duration::ZERO };
            self.progress_seen = progress;
            self.set(Watching::Idleness, self.look_every);
            if let Some(expiry) = self.expiry() {
                return Poll::Ready(expiry);
            }
        }
    }

    fn expiry(&self) -> Option<Expiry> {
        // The end of an answer may still wait for its caller to read, and what comes next may be
        // the rest of a body that was answered early: read as a head it would be a request.
        let is_quiet = !self.activity.is_busy()
            && !self.activity.is_answering()
            && !self.activity.is_inside_a_body();
        let is_over = self.idle_timeout <= self.still_for;
        if is_quiet && (self.watches_heads || is_over) {
            return Some(Expiry::Idle(self.still_for));
        }
        let waits_for_caller = !self.activity.is_busy() || self.activity.is_write_blocked();
        (is_over && waits_for_caller).then_some(Expiry::Stalled)
    }

    fn set(&mut self, watching: Watching, wait: Duration) {
        self.watching = watching;
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}

/// Seldom enough to cost nothing where requests come, and soon enough to give memory back.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
        until_expiry(Watchdog::new(activity, &LIMITS)).await
    }

    async fn until_expiry(mut watchdog: Watchdog<'_>) -> (Expiry, u64) {
        let start = Instant::now();
        let expiry = poll_fn(|context| watchdog.poll_expiry(context)).await;
        (expiry, (Instant::now() - start).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_between_requests_is_told_at_the_next_look() {
        let activity = Activity::default();
        let second = Duration::from_secs(1);
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::Idle(second), 1));
        let watchdog = Watchdog::new(&activity, &LIMITS);
        activity.request_began();
        activity.request_ended();
        activity.flushed();
        assert_eq!(until_expiry(watchdog).await, (Expiry::Idle(Duration::ZERO), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_all_written_is_not_given_up_between_looks() {
        let activity = Activity::default();
        activity.request_began();
        activity.request_ended();
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::Stalled, 75));
        activity.flushed();
        assert_eq!(seconds_until_expiry(&activity).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_behind_an_answer_is_not_waited_for_before_that_is_written() {
        let activity = Activity::default();
        activity.request_began();
        activity.request_ended();
        activity.bytes_came();
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::Stalled, 75));
        activity.flushed();
        assert_eq!(seconds_until_expiry(&activity).await, (Expiry::HeadTooSlow, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn over_http2_a_connection_without_requests_ends_after_the_idle_timeout() {
        let activity = Activity::default();
        let watchdog = Watchdog::new(&activity, &LIMITS).between_requests_only();
        assert_eq!(until_expiry(watchdog).await, (Expiry::Idle(LIMITS.idle_timeout), 75));
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
