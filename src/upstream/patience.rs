//! How long an answer is waited for while its request is still being sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::body::RequestWatch;

/// The wait for an answer's head. It begins anew whenever it has run out and the request's body
/// moved meanwhile: a long upload is no silence, and a caller that stalls is the body's own
/// time-out. A request without a body has one wait.
///
/// Where the upstream is asked whether it wants the body (RFC 9110 §10.1.1), a short wait comes
/// first: servers that know nothing of the question never answer it.
pub(super) struct Patience {
    watch: RequestWatch,
    seen: u32,
    wait: Duration,
    deadline: Instant,
}

impl Patience {
    /// A wait that lasts from `started` to `deadline` at first.
    pub(super) fn new(watch: RequestWatch, started: Instant, deadline: Instant) -> Self {
        let wait = deadline.saturating_duration_since(started);
        Self { seen: watch.progress(), watch, wait, deadline }
    }

    /// When the wait for an answer ends, if nothing moves.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When the wait for a `100 Continue` ends.
    pub(super) fn asking_until(&self, started: Instant) -> Instant {
        started.checked_add(CONTINUE_WAIT).map_or(self.deadline, |end| end.min(self.deadline))
    }

    /// The wait has run out: until when it goes on, or `None` if nothing has moved.
    pub(super) fn renewed(&mut self, now: Instant) -> Option<Instant> {
        let moved = self.watch.progress();
        let goes_on = moved != self.seen;
        self.seen = moved;
        goes_on.then(|| now.checked_add(self.wait)).flatten()
    }
}

/// As long as curl waits before it sends its body unasked.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);
