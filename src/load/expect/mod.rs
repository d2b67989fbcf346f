//! What a run is expected to come to: `p99<5ms,status2xx>99.9%`.

mod judge;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::failure::Failure;
use super::value;

pub use judge::{Verdict, judge};

/// One condition, and how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    text: Box<str>,
    condition: Condition,
}

/// Why a text is no expectation: which part of it, and what was expected there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidExpectation {
    /// The condition as written.
    pub condition: Box<str>,
    /// What is wrong with it.
    pub mistake: Mistake,
}

/// What is wrong with a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mistake {
    /// There is no operator in it.
    Operator,
    /// What stands before the operator is nothing that is measured.
    Measure,
    /// A latency is compared with something that is no duration.
    Duration,
    /// A rate is compared with something that is no number.
    Number,
    /// A count is compared with something that is neither a whole number nor a percentage.
    CountOrPercent,
}

impl fmt::Display for InvalidExpectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?}: {}",
            self.condition,
            match self.mistake {
                Mistake::Operator =>
                    "write a measure, one of < <= > >=, and a bound, as in p99<5ms",
                Mistake::Measure =>
                    "measures are p50, p90, p99, p99.9, min, mean, max, rps, errors, notstarted, \
                 status200 and status2xx",
                Mistake::Duration => "a latency is compared with a duration, as in p99<5ms",
                Mistake::Number => "rps is compared with a number, as in rps>1000",
                Mistake::CountOrPercent =>
                    "a count is compared with a whole number or a percentage, as in errors<1 or \
                 status2xx>99.9%",
            }
        )
    }
}

impl std::error::Error for InvalidExpectation {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Latency(Point, Operator, Duration),
    Rate(Operator, f64),
    Count(What, Operator, Amount),
}

/// A point of the latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Percentile(f64),
    Min,
    Mean,
    Max,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Errors,
    Failure(Failure),
    NotStarted,
    Status(u16),
    Class(u16),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Count(f64),
    /// Of all requests that were made, the failed ones too.
    Percent(f64),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads conditions that are separated by commas.
///
/// # Errors
/// At the first one that is none.
pub fn parse(text: &str) -> Result<Vec<Expectation>, InvalidExpectation> {
    text.split(',').map(|one| one.trim().parse()).collect()
}

impl FromStr for Expectation {
    type Err = InvalidExpectation;

    fn from_str(text: &str) -> Result<Self, InvalidExpectation> {
        let wrong = |mistake| InvalidExpectation { condition: text.into(), mistake };
        let condition = condition(text).map_err(wrong)?;
        Ok(Self { text: text.into(), condition })
    }
}

fn condition(text: &str) -> Result<Condition, Mistake> {
    let found = OPERATORS.iter().find_map(|(sign, operator)| {
        text.split_once(sign).map(|(measure, bound)| (measure.trim(), *operator, bound.trim()))
    });
    let (measure, operator, bound) = found.ok_or(Mistake::Operator)?;
    if let Some(point) = point(measure) {
        let bound = value::duration(bound).map_err(|_| Mistake::Duration)?;
        return Ok(Condition::Latency(point, operator, bound));
    }
    if measure == "rps" {
        let bound = value::decimal(bound).ok_or(Mistake::Number)?;
        return Ok(Condition::Rate(operator, bound));
    }
    let what = what(measure).ok_or(Mistake::Measure)?;
    Ok(Condition::Count(what, operator, amount(bound).ok_or(Mistake::CountOrPercent)?))
}

fn point(measure: &str) -> Option<Point> {
    match measure {
        "min" => Some(Point::Min),
        "mean" => Some(Point::Mean),
        "max" => Some(Point::Max),
        _ => {
            let percent = value::decimal(measure.strip_prefix('p')?)?;
            (0.0..=100.0).contains(&percent).then_some(Point::Percentile(percent))
        }
    }
}

fn what(measure: &str) -> Option<What> {
    if let Some(status) = measure.strip_prefix("status") {
        return match status.as_bytes() {
            [digit @ b'1'..=b'5', b'x', b'x'] => Some(What::Class(u16::from(digit - b'0'))),
            [b'1'..=b'5', ..] if status.len() == 3 => status.parse().ok().map(What::Status),
            _ => None,
        };
    }
    match measure {
        "errors" => Some(What::Errors),
        "notstarted" => Some(What::NotStarted),
        _ => {
            let name = measure.strip_prefix("errors.")?;
            Failure::ALL.into_iter().find(|one| one.as_str() == name).map(What::Failure)
        }
    }
}

fn amount(bound: &str) -> Option<Amount> {
    match bound.strip_suffix('%') {
        Some(percent) => value::decimal(percent.trim()).map(Amount::Percent),
        None => value::decimal(bound).filter(|count| count.fract() == 0.0).map(Amount::Count),
    }
}

/// The longer ones first: `<=` begins as `<` does.
const OPERATORS: [(&str, Operator); 4] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let ms = Duration::from_millis;
        #[rustfmt::skip]
        let cases = [
            ("p99<5ms",          Condition::Latency(Point::Percentile(99.0), Operator::Less, ms(5))),
            ("p99.9 <= 1.5s",    Condition::Latency(Point::Percentile(99.9), Operator::LessOrEqual, ms(1500))),
            ("max>=1ms",         Condition::Latency(Point::Max, Operator::GreaterOrEqual, ms(1))),
            ("rps>1000",         Condition::Rate(Operator::Greater, 1000.0)),
            ("errors<1",         Condition::Count(What::Errors, Operator::Less, Amount::Count(1.0))),
            ("errors.timeout<=0", Condition::Count(What::Failure(Failure::TimedOut), Operator::LessOrEqual, Amount::Count(0.0))),
            ("status2xx>99.9%",  Condition::Count(What::Class(2), Operator::Greater, Amount::Percent(99.9))),
            ("status401>=10",    Condition::Count(What::Status(401), Operator::GreaterOrEqual, Amount::Count(10.0))),
        ];
        for (text, expected) in cases {
            assert_eq!(condition(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_condition() {
        #[rustfmt::skip]
        let cases = [
            ("",               Mistake::Operator),
            ("p99=5ms",        Mistake::Operator),
            ("p101<5ms",       Mistake::Measure),
            ("latency<5ms",    Mistake::Measure),
            ("status6xx<1",    Mistake::Measure),
            ("status20<1",     Mistake::Measure),
            ("p99<5",          Mistake::Duration),
            ("rps>10%",        Mistake::Number),
            ("errors<1ms",     Mistake::CountOrPercent),
            ("errors<0.5",     Mistake::CountOrPercent),
        ];
        for (text, mistake) in cases {
            assert_eq!(condition(text), Err(mistake), "{text}");
        }
        let error = parse("rps>1, p99<x").unwrap_err();
        assert!(error.to_string().starts_with("\"p99<x\": "), "{error}");
    }
}
