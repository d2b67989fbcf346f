//! How a run stands, for whoever watches it.

use std::time::Duration;

use super::summary::Statuses;

/// How a run stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which part of the run this is.
    pub phase: Phase,
    /// Time since the measurement, or in warm-up since the warm-up, began.
    pub elapsed: Duration,
    /// How much of the phase is done, from 0 to 1.
    pub done: f64,
    /// Answers so far.
    pub answers: u64,
    /// Requests without an answer so far.
    pub errors: u64,
    /// The statuses of the answers so far.
    pub statuses: Statuses,
    /// Answers a second, in the last whole second.
    pub rate: f64,
    /// The latency that 99 % did not exceed in the last whole second.
    pub p99: Duration,
}

/// Which part of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Requests are sent and not counted.
    WarmUp,
    /// Requests are counted.
    Measuring,
    /// No new request begins; those under way are waited for.
    Draining,
}
