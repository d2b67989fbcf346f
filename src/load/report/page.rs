//! The results as one HTML page that needs nothing else: no script, no font, no other file.

use std::fmt::Write as _;

use super::plots::{by_percentile, over_time, throughput};
use super::{Report, parameters, percent, points};
use crate::load::latency::Latency;
use crate::load::summary::Summary;
use crate::load::value::shown;

/// The page.
pub fn page(report: &Report<'_>) -> String {
    let Report { plan, summary, verdicts } = report;
    let latency = summary.latency();
    let mut out = String::from(HEAD);
    let target = escaped(&plan.target.to_string());
    let _ = writeln!(out, "<h1>scopegate load</h1>\n<p>{} {target}</p>", plan.request.method);
    let rows = verdicts.iter().map(|verdict| {
        let class = if verdict.holds { "holds" } else { "broken" };
        format!("<tr class={class}><th>{}<td>{class}<td>{}", escaped(&verdict.text), verdict.found)
    });
    section(&mut out, "Expectations", &table(rows));
    let plot = by_percentile(&summary.kinds, &latency);
    section(&mut out, "Latency", &(table(latencies(summary, &latency)) + &plot));
    section(&mut out, "Answers a second", &throughput(&summary.seconds));
    section(&mut out, "Latency in each second", &over_time(&summary.seconds));
    section(&mut out, "Answers", &table(answers(summary)));
    let rows = parameters(plan).into_iter();
    let rows = rows.map(|(name, value)| format!("<tr><th>{name}<td>{}", escaped(&value)));
    section(&mut out, "Parameters", &table(rows));
    out
}

/// A heading and what stands under it, unless that is nothing.
fn section(out: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        let _ = writeln!(out, "<section><h2>{title}</h2>\n{content}</section>");
    }
}

fn table(rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.map(|row| row + "\n").collect();
    if rows.is_empty() { rows } else { format!("<table>\n{rows}</table>\n") }
}

fn latencies(summary: &Summary, all: &Latency) -> impl Iterator<Item = String> {
    let names = points(all).map(|(name, _)| format!("<th>{name}")).concat();
    let row = |name: &str, latency: &Latency| {
        let values = points(latency).map(|(_, value)| format!("<td>{}", shown(value))).concat();
        format!("<tr><th>{}{values}", escaped(name))
    };
    let kinds: Vec<String> = match &summary.kinds[..] {
        [_, _, ..] => summary.kinds.iter().map(|kind| row(&kind.name, &kind.latency)).collect(),
        _ => Vec::new(),
    };
    [format!("<tr><th>{names}"), row("all", all)].into_iter().chain(kinds)
}

fn answers(summary: &Summary) -> impl Iterator<Item = String> {
    let whole = summary.answers() + summary.errors();
    let row = move |name: String, count: u64| {
        format!("<tr><th>{name}<td>{count}<td>{:.2}%", percent(count, whole))
    };
    let statuses: Vec<_> = summary.statuses().iter().collect();
    let statuses = statuses.into_iter().map(move |(status, count)| row(status.to_string(), count));
    let errors = summary.failures().into_iter();
    let errors = errors.map(move |(failure, count)| row(format!("error: {failure}"), count));
    let rate = format!("<tr><th>requests/s<td>{:.1}<td>", summary.rate());
    let kept = summary.punctuality.map(|kept| {
        format!(
            "<tr><th>late<td>{}<td>{:.2}%\n<tr><th>not started<td>{}<td>{:.2}%",
            kept.late,
            percent(kept.late, kept.due),
            kept.not_started,
            percent(kept.not_started, kept.due)
        )
    });
    [rate].into_iter().chain(statuses).chain(errors).chain(kept)
}

/// As it is read in HTML, where it is text or stands in quotation marks.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>scopegate load</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #ddd;
  --c0: #1f6feb; --c1: #b35900; --c2: #1a7f37; --c3: #8250df; --c4: #cf222e; --c5: #777; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --faint: #3a3d44;
  --c0: #6cb0ff; --c1: #f0a050; --c2: #57c26b; --c3: #c39bff; --c4: #ff7b72; --c5: #999; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 800px; margin: 2em auto; padding: 0 1em; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15em .9em .15em 0; text-align: left; font-weight: normal; }
th { opacity: .75; }
.broken { color: var(--c4); font-weight: bold; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--faint); fill: none; }
.c0 { stroke: var(--c0); fill: var(--c0); } .c1 { stroke: var(--c1); fill: var(--c1); }
.c2 { stroke: var(--c2); fill: var(--c2); } .c3 { stroke: var(--c3); fill: var(--c3); }
.c4 { stroke: var(--c4); fill: var(--c4); } .c5 { stroke: var(--c5); fill: var(--c5); }
.line { fill: none; stroke-width: 2; }
.key { display: inline-block; margin: .6em 1em 0 0; }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
i.c0 { background: var(--c0); } i.c1 { background: var(--c1); } i.c2 { background: var(--c2); }
i.c3 { background: var(--c3); } i.c4 { background: var(--c4); } i.c5 { background: var(--c5); }
</style>
"#;

#[cfg(test)]
mod tests {
    use super::super::testing::{plan, report, summary};
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let (plan, summary) = (plan(), summary());
        let page = page(&report(&plan, &summary));
        for outside in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
    }

    #[test]
    fn what_a_user_wrote_is_text_in_it() {
        let (plan, summary) = (plan(), summary());
        let page = page(&report(&plan, &summary));
        assert!(page.contains("&lt;bad&gt;") && page.contains("x?y=1&amp;z"));
        assert!(!page.contains("<bad>"));
        assert!(page.contains("<td>broken<td>") && page.contains("rps&gt;99"));
    }

    #[test]
    fn a_run_without_an_answer_has_a_page_too() {
        let (plan, mut summary) = (plan(), summary());
        summary.seconds.clear();
        summary.kinds.clear();
        let page = page(&report(&plan, &summary));
        assert!(page.contains("<svg") && !page.contains("NaN") && !page.contains("inf"));
    }
}
