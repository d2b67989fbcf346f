//! What one thread counts, and hands over when a second is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::load::failure::Failure;
use crate::load::latency::Latency;
use crate::load::summary::Statuses;

/// What a thread tells while it works.
#[derive(Debug)]
pub(super) enum News {
    /// Its connections are open.
    Ready,
    /// A second is over.
    Batch(Batch),
    /// All its requests have ended.
    Closing(Closing),
}

/// What is known of a thread's turns when all its requests have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// When the last request ended.
    pub(super) last: Option<Instant>,
    /// Moments of the schedule that nobody took.
    pub(super) not_started: u64,
}

/// The numbers of one second of one thread.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Which second of the measurement.
    pub(super) second: u64,
    /// By the index of the kind; a kind that was not seen may be missing at the end.
    pub(super) kinds: Vec<Counts>,
    /// Bytes of answers.
    pub(super) received_bytes: u64,
    /// Connections opened again.
    pub(super) reconnects: u64,
    /// Requests that began late.
    pub(super) late: u64,
}

/// The numbers of one kind.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Statuses of answers.
    pub(super) statuses: Statuses,
    /// Requests without an answer.
    pub(super) failures: BTreeMap<Failure, u64>,
    /// Made when the first answer comes: it takes two hundred kilobytes.
    pub(super) latency: Option<Latency>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// The kind of its credential.
    pub(super) kind: usize,
    /// When it began, or was to begin.
    pub(super) start: Instant,
    /// Whether it began late.
    pub(super) late: bool,
    /// The status and the bytes of its answer.
    pub(super) result: Result<Answered, Failure>,
}

/// An answer that was read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Answered {
    /// Its status code.
    pub(super) status: u16,
    /// Its bytes.
    pub(super) bytes: u64,
}

impl Batch {
    /// Of this second, with nothing in it.
    pub(super) fn of(second: u64) -> Self {
        Self { second, ..Self::default() }
    }

    /// Whether nothing is in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.reconnects == 0
    }

    /// Counts a request that ended at `now`.
    pub(super) fn count(&mut self, outcome: &Outcome, now: Instant) {
        self.late += u64::from(outcome.late);
        if self.kinds.len() <= outcome.kind {
            self.kinds.resize_with(outcome.kind + 1, Counts::default);
        }
        let Some(counts) = self.kinds.get_mut(outcome.kind) else { return };
        match outcome.result {
            Ok(answered) => {
                self.received_bytes += answered.bytes;
                counts.statuses.count(answered.status);
                let latency = now.saturating_duration_since(outcome.start);
                counts.latency.get_or_insert_default().record(latency);
            }
            Err(failure) => *counts.failures.entry(failure).or_default() += 1,
        }
    }
}

/// The second of the measurement in which a moment lies.
pub(super) fn second_of(now: Instant, from: Instant) -> u64 {
    now.checked_duration_since(from).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    #[test]
    fn an_answer_and_a_failure_are_counted_under_their_kind() {
        let start = time::instant();
        let mut batch = Batch::of(0);
        let answered = Ok(Answered { status: 200, bytes: 10 });
        for (kind, result) in [(1, answered), (1, Err(Failure::TimedOut)), (0, answered)] {
            let outcome = Outcome { kind, start, late: kind == 0, result };
            batch.count(&outcome, start + Duration::from_millis(3));
        }
        let [first, second] = &batch.kinds[..] else { panic!("two kinds") };
        assert_eq!((first.statuses.of(200), second.statuses.of(200)), (1, 1));
        assert_eq!(second.failures.get(&Failure::TimedOut), Some(&1));
        assert_eq!(second.latency.as_ref().unwrap().count(), 1, "a failure has no latency");
        assert_eq!((batch.received_bytes, batch.late), (20, 1));
    }
}
