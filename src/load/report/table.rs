//! The results as a table for people.

use std::fmt::Write as _;

use super::{Report, parameters, percent, points};
use crate::load::latency::Latency;
use crate::load::summary::{Ending, KindSummary, Summary};
use crate::load::value::shown;

/// The results as lines of text, the last one without a line end.
pub fn table(report: &Report<'_>) -> String {
    let Report { plan, summary, verdicts } = report;
    let mut out = String::new();
    for (name, value) in parameters(plan) {
        row(&mut out, name, &value);
    }
    out.push('\n');
    totals(&mut out, summary);
    out.push('\n');
    statuses(&mut out, summary);
    out.push('\n');
    latency(&mut out, "latency", &summary.latency());
    if let [_, _, ..] = &summary.kinds[..] {
        kinds(&mut out, &summary.kinds);
    }
    if !verdicts.is_empty() {
        out.push('\n');
    }
    for verdict in verdicts {
        row(
            &mut out,
            if verdict.holds { "holds" } else { "BROKEN" },
            &format!("{} (found {})", verdict.text, verdict.found),
        );
    }
    out.truncate(out.trim_end().len());
    out
}

fn totals(out: &mut String, summary: &Summary) {
    let answers = summary.answers();
    let elapsed = shown(summary.elapsed);
    row(out, "requests/s", &format!("{:.1} ({answers} answers in {elapsed})", summary.rate()));
    row(out, "received", &format!("{} bytes", summary.received_bytes));
    if summary.reconnects > 0 {
        row(out, "reconnects", &summary.reconnects.to_string());
    }
    if let Some(kept) = summary.punctuality {
        row(out, "due", &format!("{} at {}/s", kept.due, kept.rate));
        row(
            out,
            "late",
            &format!(
                "{} ({:.2}%), counted from when they were due",
                kept.late,
                percent(kept.late, kept.due)
            ),
        );
        row(
            out,
            "not started",
            &format!(
                "{} ({:.2}%), no connection was free for them",
                kept.not_started,
                percent(kept.not_started, kept.due)
            ),
        );
    }
    if summary.ending == Ending::Interrupted {
        row(out, "ended", "early, by request");
    }
}

fn statuses(out: &mut String, summary: &Summary) {
    let whole = summary.answers() + summary.errors();
    for (status, count) in summary.statuses().iter() {
        row(out, &format!("status {status}"), &share(count, whole));
    }
    for (failure, count) in summary.failures() {
        row(out, &format!("error {failure}"), &share(count, whole));
    }
    if summary.errors() == 0 {
        row(out, "errors", "none");
    }
}

fn latency(out: &mut String, name: &str, latency: &Latency) {
    let points = points(latency);
    row(out, name, &points.map(|(name, _)| format!("{name:>9}")).concat());
    let values = match latency.count() {
        0 => "no answer".to_owned(),
        _ => points.map(|(_, value)| format!("{:>9}", shown(value))).concat(),
    };
    row(out, "", &values);
}

fn kinds(out: &mut String, kinds: &[KindSummary]) {
    for kind in kinds {
        out.push('\n');
        latency(out, &kind.name, &kind.latency);
        let statuses = kind.statuses.iter().map(|(status, count)| format!("{status}: {count}"));
        let failures = kind.failures.iter().map(|(failure, count)| format!("{failure}: {count}"));
        let all: Vec<_> = statuses.chain(failures).collect();
        row(out, "", &all.join(", "));
    }
}

fn share(count: u64, whole: u64) -> String {
    format!("{count} ({:.2}%)", percent(count, whole))
}

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{name:<NAME_WIDTH$} {value}");
}

const NAME_WIDTH: usize = 14;

#[cfg(test)]
mod tests {
    use super::super::testing::{plan, report, summary};
    use super::*;

    #[test]
    fn everything_is_in_the_table() {
        let (plan, summary) = (plan(), summary());
        let table = table(&report(&plan, &summary));
        for line in [
            "target         http://a.test/x?y=1&z",
            "requests/s     16.0 (40 answers in 2.50s)",
            "due            45 at 40/s",
            "not started    4 (8.89%), no connection was free for them",
            "ended          early, by request",
            "status 200     20 (48.78%)",
            "error timeout  1 (2.44%)",
            "<bad>                min     mean      p50      p90      p99    p99.9      max",
            "               401: 20, timeout: 1",
            "BROKEN         rps>99 (found 16.0/s)",
        ] {
            assert!(table.lines().any(|one| one.trim_end() == line), "{line:?} in\n{table}");
        }
        assert!(!table.contains("good1") && !table.contains("Bearer"), "no token is shown");
    }
}
