//! Latencies, kept as a histogram: three significant digits from a microsecond to an hour.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies of many requests. Adding one costs no allocation.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// None yet.
    #[expect(clippy::expect_used, reason = "the bounds are constants that the crate takes")]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("good bounds"))
    }

    /// Counts one more.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST_NS));
    }

    /// Counts all of `other` as well.
    pub fn add(&mut self, other: &Self) {
        // Fails only where the bounds differ, and all have the same.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this share of requests did not exceed; zero when there are none.
    pub fn at(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent)).min(self.max())
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        if self.0.is_empty() { Duration::ZERO } else { Duration::from_nanos(self.0.max()) }
    }

    /// The shortest.
    pub fn min(&self) -> Duration {
        if self.0.is_empty() { Duration::ZERO } else { Duration::from_nanos(self.0.min()) }
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64((self.0.mean() / 1e9).max(0.0))
    }

    /// The standard deviation.
    pub fn deviation(&self) -> Duration {
        Duration::from_secs_f64((self.0.stdev() / 1e9).max(0.0))
    }

    /// The histogram itself, in nanoseconds.
    pub const fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_true_to_a_thousandth() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        for (percent, ms) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)] {
            let found = latency.at(percent).as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.002, "p{percent}: {found} ms");
        }
        assert_eq!(latency.count(), 1000);
    }

    #[test]
    fn none_is_zero_and_more_than_an_hour_is_an_hour() {
        let mut latency = Latency::new();
        assert_eq!((latency.at(99.0), latency.max(), latency.mean()), Default::default());
        latency.record(Duration::from_secs(7200));
        assert!(latency.max() >= Duration::from_secs(3590));
    }
}
