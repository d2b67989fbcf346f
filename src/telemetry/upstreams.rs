//! The numbers of what happens to the members of an upstream. A member's address is no label: it
//! may have come from a name server.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::metrics::{counters, gauges};

/// The families that upstreams are counted in.
#[derive(Debug)]
pub(super) struct UpstreamFamilies {
    members: IntGaugeVec,
    connections: IntGaugeVec,
    waits: IntCounterVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    retries: IntCounterVec,
}

/// Why a request is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryReason {
    /// A connection could not be opened.
    Unreachable,
    /// The upstream says that it did nothing with the request (RFC 9113 §8.7).
    Refused,
    /// A connection that had been idle closed without a byte of an answer.
    Closed,
}

/// What became of that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryOutcome {
    /// It was tried again.
    Sent,
    /// It was not: too many were.
    OverBudget,
}

impl RetryReason {
    const ALL: [Self; 3] = [Self::Unreachable, Self::Refused, Self::Closed];

    const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

impl RetryOutcome {
    const ALL: [Self; 2] = [Self::Sent, Self::OverBudget];

    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::OverBudget => "over_budget",
        }
    }
}

/// The counters of one upstream, their labels resolved.
#[derive(Clone, Debug)]
pub struct UpstreamEvents {
    ejections: IntCounter,
    /// Refused and served ones.
    waits: [IntCounter; 2],
    /// Bad and good ones.
    checks: [IntCounter; 2],
    retries: [[IntCounter; RetryOutcome::ALL.len()]; RetryReason::ALL.len()],
}

impl UpstreamEvents {
    /// Counts a member that was ejected.
    pub fn ejected(&self) {
        self.ejections.inc();
    }

    /// Counts a request that found no connection free, and did get one, or none in time.
    pub fn waited(&self, is_served: bool) {
        let [refused, served] = &self.waits;
        if is_served { served.inc() } else { refused.inc() }
    }

    /// Counts a health check.
    pub fn checked(&self, is_good: bool) {
        let [bad, good] = &self.checks;
        if is_good { good.inc() } else { bad.inc() }
    }

    /// Counts a request that was tried again, or would have been.
    pub fn retried(&self, reason: RetryReason, outcome: RetryOutcome) {
        let counters = self.retries.get(reason as usize);
        if let Some(counter) = counters.and_then(|counters| counters.get(outcome as usize)) {
            counter.inc();
        }
    }
}

impl UpstreamFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            members: gauges(
                registry,
                "scopegate_upstream_members",
                "Members of an upstream, by their state.",
                &["upstream", "state"],
            ),
            connections: gauges(
                registry,
                "scopegate_upstream_connections",
                "Connections to an upstream, and requests that wait for one.",
                &["upstream", "state"],
            ),
            waits: counters(
                registry,
                "scopegate_upstream_connection_waits_total",
                "Requests that found as many connections open as may be, by how that ended.",
                &["upstream", "outcome"],
            ),
            ejections: counters(
                registry,
                "scopegate_upstream_ejections_total",
                "Members of an upstream that failed and were left alone for a while.",
                &["upstream"],
            ),
            checks: counters(
                registry,
                "scopegate_upstream_health_checks_total",
                "Health checks of an upstream's members, by how they ended.",
                &["upstream", "outcome"],
            ),
            retries: counters(
                registry,
                "scopegate_upstream_retries_total",
                "Requests tried again, by why, and whether the budget allowed it.",
                &["upstream", "reason", "outcome"],
            ),
        }
    }

    pub(super) fn events(&self, name: &str) -> UpstreamEvents {
        UpstreamEvents {
            ejections: self.ejections.with_label_values(&[name]),
            waits: ["refused", "served"]
                .map(|outcome| self.waits.with_label_values(&[name, outcome])),
            checks: ["bad", "good"].map(|outcome| self.checks.with_label_values(&[name, outcome])),
            retries: RetryReason::ALL.map(|reason| {
                RetryOutcome::ALL.map(|outcome| {
                    self.retries.with_label_values(&[name, reason.name(), outcome.name()])
                })
            }),
        }
    }

    pub(super) fn forget_members(&self) {
        self.members.reset();
        self.connections.reset();
    }

    pub(super) fn members(&self, upstream: &str, state: &'static str, count: usize) {
        self.members.with_label_values(&[upstream, state]).set(whole(count));
    }

    pub(super) fn connections(&self, upstream: &str, open: usize, waiting: usize) {
        for (state, count) in [("open", open), ("waiting", waiting)] {
            self.connections.with_label_values(&[upstream, state]).set(whole(count));
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_counts_under_its_reason_and_outcome() {
        let families = UpstreamFamilies::new(&Registry::new());
        let events = families.events("api");
        events.retried(RetryReason::Closed, RetryOutcome::OverBudget);
        let counted = |labels: &[&str]| families.retries.with_label_values(labels).get();
        assert_eq!(counted(&["api", "closed", "over_budget"]), 1);
        assert_eq!(counted(&["api", "closed", "sent"]), 0);
        families.members("api", "healthy", 3);
        families.forget_members();
        assert_eq!(families.members.with_label_values(&["api", "healthy"]).get(), 0);
    }
}
