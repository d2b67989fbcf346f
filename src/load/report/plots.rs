//! The plots of the page: which numbers, in which colours.

use std::time::Duration;

use super::float;
use super::page::escaped;
use super::svg::{Axis, Plot, short};
use crate::load::latency::Latency;
use crate::load::summary::{KindSummary, Second};
use crate::load::value::shown;

/// Latency by percentile, each nine as wide as the one before. A line for all, and for each kind.
pub(super) fn by_percentile(kinds: &[KindSummary], all: &Latency) -> String {
    let marks = NINES.map(|(percent, text)| (nines(percent), text.to_owned()));
    let y = Axis::linear(ms(all.max()), "ms");
    let mut plot = Plot::new(Axis::marked(marks.into(), "percentile"), y);
    let mut names = vec!["all"];
    let mut lines = vec![all];
    if kinds.len() > 1 {
        lines.extend(kinds.iter().map(|kind| &kind.latency));
        names.extend(kinds.iter().map(|kind| &*kind.name));
    }
    for (latency, class) in lines.into_iter().zip(COLOURS.iter().cycle()) {
        let steps = (0..=STEPS).map(|step| f64::from(step) / STEPS_PER_NINE);
        plot.line(class, steps.map(|x| (x, ms(latency.at(100.0 - 100.0 / 10_f64.powf(x))))));
    }
    for (percent, text) in NINES {
        let value = all.at(percent);
        plot.point("c0", nines(percent), ms(value), &format!("p{text}: {}", shown(value)));
    }
    legend(COLOURS.into_iter().cycle().zip(names)) + &plot.svg("latency by percentile")
}

/// Answers of each second by the class of their status, and errors, as bars on top of each other.
pub(super) fn throughput(seconds: &[Second]) -> String {
    let all = |second: &Second| second.statuses.total() + second.errors;
    let most = seconds.iter().map(all).max().unwrap_or_default();
    let mut plot = Plot::new(seconds_axis(seconds), Axis::linear(float(most), "per second"));
    for (at, second) in (0..).map(f64::from).zip(seconds) {
        let mut under = 0;
        for (digit, (class, name)) in (1..).zip(CLASSES) {
            let count = if digit <= 5 { second.statuses.of_class(digit) } else { second.errors };
            if count > 0 {
                let tip = format!("second {at}: {name} {count}");
                plot.bar(class, (at, at + 0.9), float(under), float(under + count), &tip);
            }
            under += count;
        }
    }
    legend(CLASSES.into_iter()) + &plot.svg("answers and errors in each second")
}

/// The median and the 99th percentile of each second that had answers.
pub(super) fn over_time(seconds: &[Second]) -> String {
    let most = seconds.iter().map(|second| second.p99).max().unwrap_or_default();
    let mut plot = Plot::new(seconds_axis(seconds), Axis::linear(ms(most), "ms"));
    let answered = || {
        let seconds = (0..).map(f64::from).zip(seconds);
        seconds.filter(|(_, second)| second.statuses.total() > 0)
    };
    plot.line("c0", answered().map(|(at, second)| (at + 0.5, ms(second.p50))));
    plot.line("c4", answered().map(|(at, second)| (at + 0.5, ms(second.p99))));
    for (at, second) in answered() {
        let tip = format!("second {at}: p99 {}", shown(second.p99));
        plot.point("c4", at + 0.5, ms(second.p99), &tip);
    }
    let names = [("c0", "p50"), ("c4", "p99")];
    legend(names.into_iter()) + &plot.svg("latency in each second")
}

/// Which colour is what.
fn legend<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let key = |(class, name): (&str, &str)| {
        format!("<span class=key><i class={class}></i>{}</span>", escaped(name))
    };
    names.map(key).collect::<String>() + "\n"
}

/// From the start to the end of the last second.
fn seconds_axis(seconds: &[Second]) -> Axis {
    let count = u32::try_from(seconds.len().max(1)).unwrap_or(u32::MAX);
    let step = usize::try_from(count.div_ceil(SECOND_MARKS)).unwrap_or(1);
    let marks = (0..count).step_by(step).chain([count]).map(f64::from);
    Axis::marked(marks.map(|at| (at, short(at))).collect(), "seconds")
}

/// Where a percentile stands: 90 at 1, 99 at 2, 99.9 at 3.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

const NINES: [(f64, &str); 6] =
    [(0.0, "0"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99")];
/// Points of a line up to the last of the nines.
const STEPS: u32 = 160;
const STEPS_PER_NINE: f64 = 40.0;
const SECOND_MARKS: u32 = 12;
const COLOURS: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];
/// The classes of statuses by their first digit, and errors after them.
const CLASSES: [(&str, &str); 6] =
    [("c5", "1xx"), ("c2", "2xx"), ("c0", "3xx"), ("c1", "4xx"), ("c3", "5xx"), ("c4", "errors")];

#[cfg(test)]
mod tests {
    use super::super::testing::summary;
    use super::*;

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        for (percent, at) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((nines(percent) - at).abs() < 1e-6, "{percent}");
        }
    }

    #[test]
    fn answers_and_errors_of_a_second_stand_on_each_other() {
        let plot = throughput(&summary().seconds);
        assert!(plot.contains("second 0: 2xx 20") && plot.contains("second 2: 4xx 20"), "{plot}");
        assert!(plot.contains("second 2: errors 1") && !plot.contains("second 1:"));
    }
}
