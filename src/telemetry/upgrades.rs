//! The numbers of connections that became another protocol's: how many are open, how they ended.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::metrics::{counters, gauges};

/// How a connection ended that had become another protocol's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpgradeEnd {
    /// Both sides have said that nothing more comes.
    Closed,
    /// The token that opened it has ended.
    TokenEnded,
    /// The token that opened it was revoked.
    TokenRevoked,
    /// Nothing moved for longer than `idle_timeout`.
    Idle,
    /// The process drains, and its time is over.
    Drained,
    /// The caller's connection broke.
    CallerGone,
    /// The upstream's connection broke.
    UpstreamGone,
    /// It was cut off: the process ended, or the caller's connection did before it began.
    Cut,
}

impl UpgradeEnd {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Closed,
        Self::TokenEnded,
        Self::TokenRevoked,
        Self::Idle,
        Self::Drained,
        Self::CallerGone,
        Self::UpstreamGone,
        Self::Cut,
    ];

    /// The label, and the word of the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::TokenEnded => "token_ended",
            Self::TokenRevoked => "token_revoked",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::CallerGone => "caller_gone",
            Self::UpstreamGone => "upstream_gone",
            Self::Cut => "cut",
        }
    }
}

/// The families that they are counted in.
#[derive(Debug)]
pub(super) struct UpgradeFamilies {
    open: IntGaugeVec,
    ended: IntCounterVec,
}

impl UpgradeFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            open: gauges(
                registry,
                "scopegate_upgrades_open",
                "Connections that became another protocol's and are open.",
                &["route"],
            ),
            ended: counters(
                registry,
                "scopegate_upgrades_total",
                "Connections that became another protocol's, by how they ended.",
                &["route", "end"],
            ),
        }
    }

    pub(super) fn route(&self, name: &str) -> UpgradeMetrics {
        UpgradeMetrics {
            open: self.open.with_label_values(&[name]),
            ended: UpgradeEnd::ALL.map(|end| self.ended.with_label_values(&[name, end.name()])),
        }
    }
}

/// The numbers of one route, labels resolved.
#[derive(Clone, Debug)]
pub struct UpgradeMetrics {
    open: IntGauge,
    ended: [IntCounter; UpgradeEnd::ALL.len()],
}

impl UpgradeMetrics {
    /// Counts one that begins.
    pub fn began(&self) {
        self.open.inc();
    }

    /// Counts one that has ended.
    pub fn ended(&self, end: UpgradeEnd) {
        self.open.dec();
        if let Some(counter) = self.ended.get(end as usize) {
            counter.inc();
        }
    }

    /// How many are open.
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_begins_is_open_until_it_ends_in_one_way() {
        let numbers = UpgradeFamilies::new(&Registry::new()).route("chat");
        numbers.began();
        numbers.began();
        numbers.ended(UpgradeEnd::TokenEnded);
        assert_eq!(numbers.open(), 1);
        let counts: Vec<u64> = numbers.ended.iter().map(IntCounter::get).collect();
        assert_eq!(counts, [0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
