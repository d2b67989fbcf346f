//! How long an answer is waited for while its request is still being sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::body::RequestWatch;

/// The wait for an answer's head. It begins anew whenever it has run out and the request's body
/// moved meanwhile: a long upload is no silence, and a caller that stalls is the body's own
/// time-out. A request without a body has one wait.
pub(super) struct Patience {
    watch: RequestWatch,
    seen: u32,
    wait: Duration,
}

impl Patience {
    /// A wait that lasts from `started` to `deadline` at first.
    pub(super) fn new(watch: RequestWatch, started: Instant, deadline: Instant) -> Self {
        let wait = deadline.saturating_duration_since(started);
        Self { seen: watch.progress(), watch, wait }
    }

    /// The wait has run out: until when it goes on, or `None` if nothing has moved.
    pub(super) fn renewed(&mut self, now: Instant) -> Option<Instant> {
        let moved = self.watch.progress();
        let goes_on = moved != self.seen;
        self.seen = moved;
        goes_on.then(|| now.checked_add(self.wait)).flatten()
    }
}
