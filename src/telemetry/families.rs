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

/// What stands in one family: as one thread counts it for one member.
pub(super) trait Numbers: 'static {
    const TYPE: MetricType;

    /// What all threads have counted, as it stands on the page: one for each of the family's kinds.
    fn metrics<'n>(of_threads: impl Iterator<Item = &'n Self> + Clone) -> Vec<Metric>;
}

/// Counters side by side, one for each kind of what is counted.
#[derive(Debug)]
pub(super) struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    /// Counts one of that kind. Cost: an atomic add in a cache line that no other thread writes.
    pub(super) fn count(&self, kind: usize) {
        if let Some(counter) = self.0.get(kind) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How many of each kind there were.
    pub(super) fn sums<'n>(of_threads: impl Iterator<Item = &'n Self>) -> [u64; N] {
        let mut sums = [0; N];
        for counters in of_threads {
            for (sum, counter) in sums.iter_mut().zip(&counters.0) {
                *sum += counter.load(Relaxed);
            }
        }
        sums
    }
}

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Numbers for Counters<N> {
    const TYPE: MetricType = MetricType::COUNTER;

    fn metrics<'n>(of_threads: impl Iterator<Item = &'n Self> + Clone) -> Vec<Metric> {
        let metric = |sum: u64| {
            let (mut metric, mut counter) = (Metric::default(), Counter::default());
            counter.set_value(sum as f64);
            metric.set_counter(counter);
            metric
        };
        Self::sums(of_threads).map(metric).into()
    }
}

/// How long something took, in buckets from 0.5 ms to 10 s. In this order, the sum is beside the
/// buckets that are used most.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Timings {
    sum_ns: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl Timings {
    /// Counts one that took so long. Cost: two atomic adds, as for [`Counters::count`].
    pub(super) fn observe(&self, took: Duration) {
        let bucket = BOUNDS.iter().take_while(|bound| **bound < took).count();
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns, Relaxed);
    }
}

impl Numbers for Timings {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn metrics<'n>(of_threads: impl Iterator<Item = &'n Self> + Clone) -> Vec<Metric> {
        let mut histogram = Histogram::default();
        let in_bucket = |at: usize| -> u64 {
            let of_threads = of_threads.clone();
            of_threads.filter_map(|times| times.buckets.get(at)).map(|one| one.load(Relaxed)).sum()
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
        let sum_ns: u64 = of_threads.clone().map(|times| times.sum_ns.load(Relaxed)).sum();
        histogram.set_sample_sum(Duration::from_nanos(sum_ns).as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        vec![metric]
    }
}

/// What is counted apart, such as the routes, by name. A member has all of its numbers in one block
/// for each thread, whatever families they stand in: a request touches that and no more.
#[derive(Debug)]
pub(super) struct Members<T>(Arc<Mutex<BTreeMap<Box<str>, PerThread<T>>>>);

impl<T: Default> Members<T> {
    /// The numbers of a member: the same ones for the same name.
    pub(super) fn of(&self, name: &str) -> PerThread<T> {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.entry(name.into()).or_default().clone()
    }
}

impl<T> Clone for Members<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The values of further labels, one list for each kind.
type Kinds = Vec<Vec<&'static str>>;

/// A family: the same numbers of each member under one name.
pub(super) struct Family<T, N> {
    description: Desc,
    /// The label that names the member, and those that name a kind.
    labels: Vec<&'static str>,
    kinds: Kinds,
    members: Members<T>,
    /// Where a member has them.
    part: fn(&T) -> &N,
}

impl<T: Send + Sync + 'static, N: Numbers> Family<T, N> {
    /// Registers a family. `labels` are that of the member and those of the kinds.
    pub(super) fn register(
        registry: &Registry,
        (name, help): (&'static str, &'static str),
        (labels, kinds): (&[&'static str], Kinds),
        members: &Members<T>,
        part: fn(&T) -> &N,
    ) {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        #[expect(clippy::expect_used, reason = "names are constants; a test makes them all")]
        let description = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())
            .expect("the metric's name and labels are valid");
        let members = members.clone();
        let family = Self { description, labels: labels.to_vec(), kinds, members, part };
        #[expect(clippy::expect_used, reason = "as above")]
        registry.register(Box::new(family)).expect("the metric's name is used once");
    }

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

impl<T: Send + Sync + 'static, N: Numbers> Collector for Family<T, N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let members = self.members.0.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = members.iter().flat_map(|(member, numbers)| {
            let labelled = |(kind, metric)| self.labelled(member, kind, metric);
            let metrics = N::metrics(numbers.all().map(self.part));
            metrics.into_iter().enumerate().map(labelled).collect::<Vec<_>>()
        });
        let mut family = MetricFamily::default();
        family.set_name(self.description.fq_name.clone());
        family.set_help(self.description.help.clone());
        family.set_field_type(N::TYPE);
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
        let members: Members<Counters<2>> = Members::default();
        let help = ("looks", "Help.");
        Family::register(&registry, help, (&labels, kinds), &members, |numbers| numbers);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| members.of("main").own().count(0));
            }
        });
        members.of("main").own().count(7); // of no kind: not counted
        assert_eq!(Counters::sums(members.of("main").all()), [3, 0]);
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
        let members: Members<Timings> = Members::default();
        let labels = (&["route"][..], vec![vec![]]);
        Family::register(&registry, ("seconds", "Help."), labels, &members, |numbers| numbers);
        for micros in [0, 500, 501, 20_000_000] {
            members.of("r").own().observe(Duration::from_micros(micros));
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
