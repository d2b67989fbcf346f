//! The turn of one request, and what decides whose it is and when.

use std::time::Instant;

use crate::load::plan::Bounds;
use crate::load::summary::Punctuality;

/// The moments of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When the first request may begin.
    pub(super) origin: Instant,
    /// When the measurement begins.
    pub(super) from: Instant,
    /// When the last request may begin, if the run is bounded by time.
    pub(super) end: Option<Instant>,
}

/// Which thread of how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// This one, from 0.
    pub(super) thread: usize,
    /// All.
    pub(super) threads: usize,
}

/// A request that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Which credential is sent.
    pub(super) credential: usize,
    /// When it begins, which in an open loop may be past or yet to come.
    pub(super) start: Instant,
    /// Whether it began late.
    pub(super) late: bool,
    /// Whether it belongs to the measurement.
    pub(super) counts: bool,
}

impl Times {
    /// Those of a run that begins at `origin`.
    pub(super) fn new(origin: Instant, bounds: &Bounds) -> Self {
        let from = origin + bounds.warm_up;
        Self { origin, from, end: bounds.duration.and_then(|duration| from.checked_add(duration)) }
    }
}

impl Share {
    /// The part of a whole that is this thread's.
    pub(super) fn of(self, whole: u64) -> u64 {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (thread, threads) = (wide(self.thread), wide(self.threads).max(1));
        whole / threads + u64::from(thread < whole % threads)
    }
}

impl Turn {
    /// Says whether it begins late, where it begins now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.late = now.saturating_duration_since(self.start) > Punctuality::GRACE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_shared_without_a_rest() {
        let parts = [0, 1, 2].map(|thread| Share { thread, threads: 3 }.of(8));
        assert_eq!(parts, [3, 3, 2]);
    }
}
