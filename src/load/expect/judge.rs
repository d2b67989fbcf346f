//! Holds a run against what was expected of it.

use std::fmt;
use std::time::Duration;

use super::{Amount, Condition, Expectation, Operator, Point, What};
use crate::load::latency::Latency;
use crate::load::summary::Summary;
use crate::load::value::shown;

/// Whether a run came to what was expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The expectation as written.
    pub text: Box<str>,
    /// What was found, with its unit.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = if self.holds { "holds" } else { "does not hold" };
        write!(formatter, "{} {holds}: {}", self.text, self.found)
    }
}

/// Holds a run against what was expected of it, in the order in which it was written.
///
/// A latency of which there is none holds in no way: a target that never answers is not a fast one.
pub fn judge(summary: &Summary, expectations: &[Expectation]) -> Vec<Verdict> {
    let latency = summary.latency();
    let verdict = |expectation: &Expectation| {
        let (found, holds) = match expectation.condition {
            Condition::Latency(point, operator, bound) => {
                of_latency(&latency, point, operator, bound)
            }
            Condition::Rate(operator, bound) => {
                let rate = summary.rate();
                (format!("{rate:.1}/s"), operator.holds(rate, bound))
            }
            Condition::Count(what, operator, amount) => of_count(summary, what, operator, amount),
        };
        Verdict { text: expectation.text.clone(), found, holds }
    };
    expectations.iter().map(verdict).collect()
}

fn of_latency(
    latency: &Latency,
    point: Point,
    operator: Operator,
    bound: Duration,
) -> (String, bool) {
    if latency.count() == 0 {
        return ("no answer".to_owned(), false);
    }
    let found = match point {
        Point::Percentile(percent) => latency.at(percent),
        Point::Min => latency.min(),
        Point::Mean => latency.mean(),
        Point::Max => latency.max(),
    };
    (shown(found), operator.holds(found.as_secs_f64(), bound.as_secs_f64()))
}

fn of_count(summary: &Summary, what: What, operator: Operator, amount: Amount) -> (String, bool) {
    let not_started = summary.punctuality.map_or(0, |kept| kept.not_started);
    let requests = summary.answers() + summary.errors();
    let (count, whole) = match what {
        What::Errors => (summary.errors(), requests),
        What::Failure(failure) => {
            (summary.failures().get(&failure).copied().unwrap_or_default(), requests)
        }
        What::NotStarted => (not_started, requests + not_started),
        What::Status(status) => (summary.statuses().of(status), requests),
        What::Class(digit) => (summary.statuses().of_class(digit), requests),
    };
    let (percent, count) = (percent(count, whole), count);
    match amount {
        Amount::Percent(bound) => {
            (format!("{percent:.3}% ({count} of {whole})"), operator.holds(percent, bound))
        }
        Amount::Count(bound) => (count.to_string(), operator.holds(float(count), bound)),
    }
}

impl Operator {
    fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::Less => found < bound,
            Self::LessOrEqual => found <= bound,
            Self::Greater => found > bound,
            Self::GreaterOrEqual => found >= bound,
        }
    }
}

fn percent(count: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(count) * 100.0 / float(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "a count is far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::expect::parse;
    use crate::load::failure::Failure;
    use crate::load::summary::KindSummary;

    fn summary(answers: u64, refused: u64, timeouts: u64) -> Summary {
        let mut kind = KindSummary::default();
        for number in 0..answers {
            kind.statuses.count(if number < refused { 401 } else { 200 });
            kind.latency.record(Duration::from_millis(number + 1));
        }
        if timeouts > 0 {
            kind.failures.insert(Failure::TimedOut, timeouts);
        }
        Summary::of(Duration::from_secs(2), vec![kind])
    }

    #[test]
    fn a_run_is_held_against_each_condition() {
        #[rustfmt::skip]
        let cases = [
            ("p50<51ms", true), ("p50<50ms", false), ("max<=100ms", false), ("max<101ms", true),
            ("rps>=50", true), ("rps>50", false),
            ("errors<=25", true), ("errors<25", false), ("errors<=20%", true), ("errors<20%", false),
            ("errors.timeout>0", true), ("errors.tls>0", false),
            ("status401>=10", true), ("status2xx>72%", false), ("status2xx>=72%", true),
            ("notstarted<1", true),
        ];
        let summary = summary(100, 10, 25);
        for (text, holds) in cases {
            let verdicts = judge(&summary, &parse(text).unwrap());
            assert_eq!(verdicts[0].holds, holds, "{}", verdicts[0]);
        }
    }

    #[test]
    fn a_target_that_never_answers_is_not_a_fast_one() {
        let verdicts = judge(&summary(0, 0, 3), &parse("p99<5ms,p99>1us").unwrap());
        assert!(verdicts.iter().all(|verdict| !verdict.holds), "{verdicts:?}");
    }
}
