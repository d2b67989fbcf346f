//! The percentiles of the latencies in the text form of HdrHistogram, which its plotter reads.

use std::fmt::Write as _;

use crate::load::latency::Latency;

/// All percentiles, in milliseconds, in the form of `outputPercentileDistribution`.
pub fn percentiles(latency: &Latency) -> String {
    let histogram = latency.histogram();
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    // Writing to a String does not fail.
    for value in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += value.count_since_last_iteration();
        let (at, share) = (ms(value.value_iterated_to()), value.quantile_iterated_to());
        let _ = match share < 1.0 {
            true => {
                writeln!(out, "{at:>12.3} {share:>14.12} {count:>10} {:>14.2}", 1.0 / (1.0 - share))
            }
            false => writeln!(out, "{at:>12.3} {share:>14.12} {count:>10}"),
        };
    }
    let (mean, deviation) =
        (latency.mean().as_secs_f64() * 1e3, latency.deviation().as_secs_f64() * 1e3);
    let max = latency.max().as_secs_f64() * 1e3;
    let _ = writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let _ = writeln!(out, "#[Max     = {max:>12.3}, Total count    = {:>12}]", latency.count());
    let (buckets, sub_buckets) = (histogram.buckets(), SUB_BUCKETS);
    let _ = writeln!(out, "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]");
    out
}

#[expect(clippy::cast_precision_loss, reason = "an hour in nanoseconds is below 2^52")]
const fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// As many as HdrHistogram's own tools take.
const TICKS_PER_HALF: u32 = 5;
/// Of a histogram of three digits.
const SUB_BUCKETS: u32 = 2048;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_is_what_the_plotter_reads() {
        let mut latency = Latency::new();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        let text = percentiles(&latency);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].split_whitespace().eq([
            "Value",
            "Percentile",
            "TotalCount",
            "1/(1-Percentile)"
        ]));
        let median = lines.iter().find(|line| line.contains(" 0.500000000000 ")).unwrap();
        let fields: Vec<f64> = median.split_whitespace().map(|one| one.parse().unwrap()).collect();
        assert!((fields[0] - 500.0).abs() < 1.0 && fields[3] == 2.0, "{median}");
        let total = lines.iter().filter(|line| line.contains("Total count    =         1000"));
        assert_eq!(total.count(), 1);
        let values = lines[2..].iter().take_while(|line| !line.starts_with('#'));
        let values: Vec<f64> =
            values.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
        assert!(values.is_sorted() && values.len() > 20);
    }

    #[test]
    fn none_is_a_text_as_well() {
        assert!(percentiles(&Latency::new()).contains("Total count    =            0"));
    }
}
