//! What a run came to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Failure;
use super::latency::Latency;

/// What a run came to, warm-up apart.
#[derive(Clone, Debug)]
pub struct Summary {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The numbers of each kind of credential, in the order of the supply.
    pub kinds: Vec<KindSummary>,
    /// What happened in each second.
    pub seconds: Vec<Second>,
    /// How well the rate was kept; absent in a closed loop.
    pub punctuality: Option<Punctuality>,
    /// Connections that were opened after the first ones, because one had ended.
    pub reconnects: u64,
    /// Bytes of answers, heads included; over HTTP/2 bodies alone.
    pub received_bytes: u64,
    /// Why it ended.
    pub ending: Ending,
}

#[cfg(test)]
impl Summary {
    /// What a closed loop gives that ended by its bound.
    pub(in crate::load) const fn of(elapsed: Duration, kinds: Vec<KindSummary>) -> Self {
        Self {
            elapsed,
            kinds,
            seconds: Vec::new(),
            punctuality: None,
            reconnects: 0,
            received_bytes: 0,
            ending: Ending::Bound,
        }
    }
}

/// The numbers of one kind of credential.
#[derive(Clone, Debug, Default)]
pub struct KindSummary {
    /// Its name.
    pub name: Box<str>,
    /// The statuses of the answers.
    pub statuses: Statuses,
    /// Requests without an answer.
    pub failures: BTreeMap<Failure, u64>,
    /// Latencies of the answers.
    pub latency: Latency,
}

/// How often each status was seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statuses(BTreeMap<u16, u64>);

/// What happened in one second of the measurement.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// The statuses of the answers that came in it.
    pub statuses: Statuses,
    /// Requests that failed in it.
    pub errors: u64,
    /// The latency that half of its answers did not exceed.
    pub p50: Duration,
    /// The latency that 99 % of its answers did not exceed.
    pub p99: Duration,
}

/// How well an open loop kept its rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Punctuality {
    /// The rate asked for, in requests a second.
    pub rate: f64,
    /// Requests that were to begin in the measurement.
    pub due: u64,
    /// Of these, the ones that began more than [`Punctuality::GRACE`] late. Their latency counts
    /// from when they were to begin.
    pub late: u64,
    /// Of these, the ones that had not begun at the end: no connection was free for them. They have
    /// no latency at all.
    pub not_started: u64,
}

impl Punctuality {
    /// How late a request may begin and be in time. A timer of the system is at most so late.
    pub const GRACE: Duration = Duration::from_millis(5);
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A bound was reached.
    Bound,
    /// The watcher ended it.
    Interrupted,
}

impl Summary {
    /// The statuses of all kinds.
    pub fn statuses(&self) -> Statuses {
        let mut all = Statuses::default();
        self.kinds.iter().for_each(|kind| all.add(&kind.statuses));
        all
    }

    /// The failures of all kinds.
    pub fn failures(&self) -> BTreeMap<Failure, u64> {
        let mut all = BTreeMap::new();
        for (failure, count) in self.kinds.iter().flat_map(|kind| &kind.failures) {
            *all.entry(*failure).or_default() += count;
        }
        all
    }

    /// The latencies of all kinds.
    pub fn latency(&self) -> Latency {
        let mut all = Latency::new();
        self.kinds.iter().for_each(|kind| all.add(&kind.latency));
        all
    }

    /// Answers of any status.
    pub fn answers(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.statuses.total()).sum()
    }

    /// Requests without an answer.
    pub fn errors(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| kind.failures.values()).sum()
    }

    /// Answers of any status a second.
    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below 2^52")]
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.answers() as f64 / seconds } else { 0.0 }
    }
}

impl Statuses {
    /// Counts one answer.
    pub fn count(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }

    /// Counts all of `other` as well.
    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.0 {
            *self.0.entry(*status).or_default() += count;
        }
    }

    /// Answers with this status.
    pub fn of(&self, status: u16) -> u64 {
        self.0.get(&status).copied().unwrap_or_default()
    }

    /// Answers whose status has this first digit.
    pub fn of_class(&self, digit: u16) -> u64 {
        self.0.range(digit * 100..(digit + 1) * 100).map(|(_, count)| count).sum()
    }

    /// All answers.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each status that was seen, the lowest first, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.0.iter().map(|(status, count)| (*status, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_add_up_by_code_and_by_class() {
        let (mut all, mut more) = (Statuses::default(), Statuses::default());
        [200, 204, 401].into_iter().for_each(|status| all.count(status));
        [200, 503].into_iter().for_each(|status| more.count(status));
        all.add(&more);
        assert_eq!((all.of(200), all.of_class(2), all.of_class(3), all.total()), (2, 3, 0, 5));
    }
}
