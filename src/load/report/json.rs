//! The results as JSON for programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Report, parameters, points};
use crate::load::expect::Verdict;
use crate::load::failure::Failure;
use crate::load::latency::Latency;
use crate::load::summary::{Ending, KindSummary, Second, Statuses, Summary};

/// The results as one JSON object. Latencies are milliseconds; they are null where there was no
/// answer.
pub fn json(report: &Report<'_>) -> Value {
    let Report { plan, summary, verdicts } = report;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "parameters": parameters(plan).into_iter().collect::<BTreeMap<_, _>>(),
        "ended": match summary.ending { Ending::Bound => "bound", Ending::Interrupted => "interrupted" },
        "elapsed_s": summary.elapsed.as_secs_f64(),
        "requests": summary.answers() + summary.errors(),
        "answers": summary.answers(),
        "rps": summary.rate(),
        "received_bytes": summary.received_bytes,
        "reconnects": summary.reconnects,
        "statuses": statuses(&summary.statuses()),
        "errors": errors(&summary.failures()),
        "latency_ms": latency(&summary.latency()),
        "schedule": schedule(summary),
        "kinds": summary.kinds.iter().map(kind).collect::<Vec<_>>(),
        "seconds": summary.seconds.iter().map(second).collect::<Vec<_>>(),
        "expectations": verdicts.iter().map(verdict).collect::<Vec<_>>(),
    })
}

fn schedule(summary: &Summary) -> Value {
    summary.punctuality.map_or(Value::Null, |kept| {
        json!({
            "rate": kept.rate, "due": kept.due, "late": kept.late, "not_started": kept.not_started
        })
    })
}

fn kind(kind: &KindSummary) -> Value {
    json!({
        "name": kind.name,
        "answers": kind.statuses.total(),
        "statuses": statuses(&kind.statuses),
        "errors": errors(&kind.failures),
        "latency_ms": latency(&kind.latency),
    })
}

fn second(second: &Second) -> Value {
    json!({
        "answers": second.statuses.total(),
        "statuses": statuses(&second.statuses),
        "errors": second.errors,
        "p50_ms": second.p50.as_secs_f64() * 1e3,
        "p99_ms": second.p99.as_secs_f64() * 1e3,
    })
}

fn verdict(verdict: &Verdict) -> Value {
    json!({ "expected": verdict.text, "found": verdict.found, "holds": verdict.holds })
}

/// How often each status was seen.
pub(in crate::load) fn statuses(statuses: &Statuses) -> Map<String, Value> {
    statuses.iter().map(|(status, count)| (status.to_string(), count.into())).collect()
}

/// Requests without an answer, in all and by what went wrong.
pub(in crate::load) fn errors(failures: &BTreeMap<Failure, u64>) -> Map<String, Value> {
    let total: u64 = failures.values().sum();
    let each = failures.iter().map(|(failure, count)| (failure.to_string(), (*count).into()));
    [("total".to_owned(), total.into())].into_iter().chain(each).collect()
}

/// The points of the latencies in milliseconds.
pub(in crate::load) fn latency(latency: &Latency) -> Value {
    if latency.count() == 0 {
        return Value::Null;
    }
    let point = |(name, value): (&str, std::time::Duration)| {
        (name.to_owned(), (value.as_secs_f64() * 1e3).into())
    };
    points(latency).into_iter().map(point).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{plan, report, summary};
    use super::*;

    #[test]
    fn numbers_are_numbers_under_stable_names() {
        let (plan, summary) = (plan(), summary());
        let json = json(&report(&plan, &summary));
        let at = |pointer: &str| json.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/statuses/200"), 20);
        assert_eq!(at("/errors"), json!({ "total": 1, "timeout": 1 }));
        assert_eq!(at("/kinds/1/name"), "<bad>");
        assert_eq!(at("/schedule/not_started"), 4);
        assert_eq!(at("/seconds/1/answers"), 0);
        assert_eq!(at("/expectations/1/holds"), false);
        assert!((at("/latency_ms/max").as_f64().unwrap() - 40.0).abs() < 0.1);
        assert_eq!(at("/ended"), "interrupted");
    }
}
