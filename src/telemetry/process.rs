//! The numbers of the process as a whole: what it holds, its caches and its configuration.

use std::sync::{Mutex, PoisonError};

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tokio::runtime::Handle;

use super::metrics::{counters, gauges};

/// The families that say how the process stands.
#[derive(Debug)]
pub(super) struct ProcessFamilies {
    cache_entries: IntGaugeVec,
    reloads: IntCounterVec,
    configuration_refused: IntGauge,
    tasks: IntGauge,
    runtimes: Mutex<Vec<Handle>>,
}

impl ProcessFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        // Memory, processor time, threads and file descriptors, under the names that all
        // exporters use. Not on every system, and a page without them is still one.
        let _ = registry.register(Box::new(ProcessCollector::for_self()));
        let tasks = gauges(
            registry,
            "scopegate_tasks",
            "Tasks that live, all threads together: connections, streams, and what runs beside.",
            &[],
        );
        let refused = gauges(
            registry,
            "scopegate_configuration_refused",
            "1 while the newest configuration was refused and an older one serves.",
            &[],
        );
        let reloads = counters(
            registry,
            "scopegate_reloads_total",
            "Configurations that were to be taken up, by how that ended.",
            &["outcome"],
        );
        // A family without a number is not on the page, and an alert on its rate would see no
        // first reload.
        for outcome in ["accepted", "refused"] {
            reloads.with_label_values(&[outcome]);
        }
        Self {
            cache_entries: gauges(
                registry,
                "scopegate_cache_entries",
                "Entries of a cache of verdicts, all authorization servers together.",
                &["cache"],
            ),
            reloads,
            configuration_refused: refused.with_label_values::<&str>(&[]),
            tasks: tasks.with_label_values::<&str>(&[]),
            runtimes: Mutex::default(),
        }
    }

    pub(super) fn runs_on(&self, runtime: &Handle) {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).push(runtime.clone());
    }

    pub(super) fn count_tasks(&self) {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks: usize = runtimes.iter().map(|one| one.metrics().num_alive_tasks()).sum();
        self.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    pub(super) fn cache_entries(&self, cache: &'static str, entries: u64) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.cache_entries.with_label_values(&[cache]).set(entries);
    }

    pub(super) fn reloaded(&self, accepted: bool) {
        self.reloads.with_label_values(&[if accepted { "accepted" } else { "refused" }]).inc();
        self.configuration_refused.set(i64::from(!accepted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_configuration_shows_until_one_is_accepted() {
        let process = ProcessFamilies::new(&Registry::new());
        process.reloaded(false);
        assert_eq!(process.configuration_refused.get(), 1);
        process.reloaded(true);
        assert_eq!(process.configuration_refused.get(), 0);
        assert_eq!(process.reloads.with_label_values(&["refused"]).get(), 1);
    }
}
