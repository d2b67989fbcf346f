//! The numbers that every request writes: counted by each thread apart, added up when somebody
//! reads them.
//!
//! Why not the library's own counters: two workers that count in one atomic wait for each other's
//! cache line with every request.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::base::per_thread::PerThread;

/// What a member of a family counts in.
pub(super) trait Numbers: Default + Send + Sync + 'static {
    const TYPE: MetricType;

    /// What stands on the page: one line for each of the family's kinds.
    fn metrics(&self) -> Vec<Metric>;
}

/// Counters side by side, one for each kind of what is counted.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>(PerThread<Row<N>>);

#[derive(Debug)]
struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    /// Counts one of that kind. Cost: an atomic add in a cache line that no other thread writes.
    pub(super) fn count(&self, kind: usize) {
        if let Some(counter) = self.0.own().0.get(kind) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How many of each kind there were.
    pub(super) fn sums(&self) -> [u64; N] {
        let mut sums = [0; N];
        for row in self.0.all() {
            for (sum, counter) in sums.iter_mut().zip(&row.0) {
                *sum += counter.load(Relaxed);
            }
        }
        sums
    }
}

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(PerThread::new())
    }
}

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Numbers for Counters<N> {
    const TYPE: MetricType = MetricType::COUNTER;

    fn metrics(&self) -> Vec<Metric> {
        let metric = |sum: u64| {
            let (mut metric, mut counter) = (Metric::default(), Counter::default());
            counter.set_value(sum as f64);
            metric.set_counter(counter);
            metric
        };
        self.sums().map(metric).into()
    }
}

/// How long something took, in buckets from 0.5 ms to 10 s.
#[derive(Debug, Default)]
pub(super) struct Timings(PerThread<Times>);

#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Timings {
    /// Counts one that took so long. Cost: two atomic adds, as for [`Counters::count`].
    pub(super) fn observe(&self, took: Duration) {
        let times = self.0.own();
        let bucket = BOUNDS.iter().take_while(|bound| **bound < took).count();
        if let Some(bucket) = times.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        times.sum_ns.fetch_add(took_ns, Relaxed);
    }
}

impl Numbers for Timings {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn metrics(&self) -> Vec<Metric> {
        let mut histogram = Histogram::default();
        let in_bucket = |at: usize| -> u64 {
            self.0
                .all()
                .filter_map(|times| times.buckets.get(at))
                .map(|one| one.load(Relaxed))
                .sum()
        };
        let mut count = 0;
        let buckets = BOUNDS.iter().enumerate().map(|(at, bound)| {
            count += in_bucket(at);
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(count);
            bucket.set_upper_bound(bound.as_secs_f64());
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + in_bucket(BOUNDS.len()));
        let sum_ns: u64 = self.0.all().map(|times| times.sum_ns.load(Relaxed)).sum();
        histogram.set_sample_sum(Duration::from_nanos(sum_ns).as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        vec![metric]
    }
}

/// The values of further labels, one list for each kind.
type Kinds = Vec<Vec<&'static str>>;

/// A family: the same numbers for each member, such as a route, under one name.
pub(super) struct Family<T>(Arc<Inside<T>>);

struct Inside<T> {
    description: Desc,
    /// The label that names the member, and those that name a kind.
    labels: Vec<&'static str>,
    kinds: Kinds,
    members: Mutex<BTreeMap<Box<str>, Arc<T>>>,
}

impl<T: Numbers> Family<T> {
    /// Registers a family. `labels` are that of the member and those of the kinds.
    pub(super) fn new(
        registry: &Registry,
        (name, help): (&'static str, &'static str),
        labels: &[&'static str],
        kinds: Kinds,
    ) -> Self {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        #[expect(clippy::expect_used, reason = "names are constants; a test makes them all")]
        let description = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())
            .expect("the metric's name and labels are valid");
        let members = Mutex::default();
        let inside = Inside { description, labels: labels.to_vec(), kinds, members };
        let family = Self(Arc::new(inside));
        #[expect(clippy::expect_used, reason = "as above")]
        registry.register(Box::new(family.clone())).expect("the metric's name is used once");
        family
    }

    /// The numbers of a member: the same ones for the same name.
    pub(super) fn of(&self, member: &str) -> Arc<T> {
        let mut members = self.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(members.entry(member.into()).or_default())
    }
}

impl<T> Inside<T> {
    fn labelled(&self, member: &str, kind: usize, mut metric: Metric) -> Metric {
        let values = self.kinds.get(kind).into_iter().flatten().copied();
        let labels = self.labels.iter().zip(std::iter::once(member).chain(values));
        let pair = |(name, value): (&&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut pairs: Vec<LabelPair> = labels.map(pair).collect();
        pairs.sort();
        metric.set_label(pairs);
        metric
    }
}

impl<T> Clone for Family<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Family<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Family").field(&self.0.description.fq_name).finish()
    }
}

impl<T: Numbers> Collector for Family<T> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let members = self.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = members.iter().flat_map(|(member, numbers)| {
            let labelled = |(kind, metric)| self.0.labelled(member, kind, metric);
            numbers.metrics().into_iter().enumerate().map(labelled).collect::<Vec<_>>()
        });
        let mut family = MetricFamily::default();
        family.set_name(self.0.description.fq_name.clone());
        family.set_help(self.0.description.help.clone());
        family.set_field_type(T::TYPE);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

/// The buckets of every histogram here.
pub(super) const BOUNDS: [Duration; 12] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    fn page(registry: &Registry) -> String {
        let mut page = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn what_threads_count_apart_is_one_number_on_the_page() {
        let registry = Registry::new();
        let kinds = vec![vec!["jwt", "hit"], vec!["jwt", "miss"]];
        let labels = ["server", "cache", "result"];
        let family: Family<Counters<2>> =
            Family::new(&registry, ("looks", "Help."), &labels, kinds);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| family.of("main").count(0));
            }
        });
        family.of("main").count(7); // of no kind: not counted
        assert_eq!(family.of("main").sums(), [3, 0]);
        let page = page(&registry);
        for line in [
            "# HELP looks Help.",
            "# TYPE looks counter",
            "looks{cache=\"jwt\",result=\"hit\",server=\"main\"} 3",
            "looks{cache=\"jwt\",result=\"miss\",server=\"main\"} 0",
        ] {
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_histogram_counts_in_the_first_bucket_that_has_room() {
        let registry = Registry::new();
        let family: Family<Timings> =
            Family::new(&registry, ("seconds", "Help."), &["route"], vec![vec![]]);
        for micros in [0, 500, 501, 20_000_000] {
            family.of("r").observe(Duration::from_micros(micros));
        }
        let page = page(&registry);
        for line in [
            "seconds_bucket{route=\"r\",le=\"0.0005\"} 2",
            "seconds_bucket{route=\"r\",le=\"0.001\"} 3",
            "seconds_bucket{route=\"r\",le=\"10\"} 3",
            "seconds_bucket{route=\"r\",le=\"+Inf\"} 4",
            "seconds_sum{route=\"r\"} 20.001001",
            "seconds_count{route=\"r\"} 4",
        ] {
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        }
    }
}
