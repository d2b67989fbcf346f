//! A run's results in their forms: table, JSON, percentiles, page. All pure: a report goes in, a
//! text comes out.

pub(in crate::load) mod json;
mod page;
mod percentiles;
mod plots;
mod svg;
mod table;

use std::time::Duration;

use super::expect::Verdict;
use super::latency::Latency;
use super::plan::{Pace, Plan, Protocol, Trust};
use super::summary::Summary;
use super::value::shown;

pub use json::json;
pub use page::page;
pub use percentiles::percentiles;
pub use table::table;

/// What there is to tell about a run.
pub struct Report<'a> {
    /// What was to be done.
    pub plan: &'a Plan,
    /// What it came to.
    pub summary: &'a Summary,
    /// How it stands against what was expected.
    pub verdicts: Vec<Verdict>,
}

/// The points of the latencies that are shown.
pub(super) fn points(latency: &Latency) -> [(&'static str, Duration); 7] {
    [
        ("min", latency.min()),
        ("mean", latency.mean()),
        ("p50", latency.at(50.0)),
        ("p90", latency.at(90.0)),
        ("p99", latency.at(99.0)),
        ("p99.9", latency.at(99.9)),
        ("max", latency.max()),
    ]
}

/// The parameters of a run, by name. No credential is among them.
fn parameters(plan: &Plan) -> Vec<(&'static str, String)> {
    let bounds = &plan.bounds;
    let mut all = vec![
        ("target", plan.target.to_string()),
        ("method", plan.request.method.to_string()),
        ("protocol", protocol(plan.protocol)),
        ("loop", pace(plan.pace)),
        ("connections", plan.connections.to_string()),
        ("threads", plan.threads.min(plan.connections).to_string()),
        ("timeout", shown(plan.timeout)),
        ("credentials", credentials(plan)),
    ];
    all.extend(bounds.duration.map(|duration| ("duration", shown(duration))));
    all.extend(bounds.requests.map(|requests| ("requests", requests.to_string())));
    if !bounds.warm_up.is_zero() {
        all.push(("warm-up", shown(bounds.warm_up)));
    }
    if !plan.request.body.is_empty() {
        all.push(("body", format!("{} bytes", plan.request.body.len())));
    }
    if plan.target.is_tls() && matches!(plan.trust, Trust::Anyone) {
        all.push(("certificate", "not verified".to_owned()));
    }
    all
}

fn credentials(plan: &Plan) -> String {
    let kinds: Vec<&str> = plan.credentials.kinds().iter().map(|kind| &**kind).collect();
    format!("{} ({})", plan.credentials.count(), kinds.join(", "))
}

fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::Http1 => "HTTP/1.1".to_owned(),
        Protocol::Http2(streams) => format!("HTTP/2, {streams} streams per connection"),
    }
}

fn pace(pace: Pace) -> String {
    match pace {
        Pace::Closed => "closed".to_owned(),
        Pace::Open(rate) => format!("open, {rate} requests/s"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count is far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn percent(count: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(count) * 100.0 / float(whole) }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::load::failure::Failure;
    use crate::load::summary::{Ending, KindSummary, Punctuality, Second};
    use crate::load::supply::{Credential, Supply};

    /// A plan of two kinds of credentials.
    pub(super) fn plan() -> Plan {
        let credentials =
            vec![Credential::bearer("good", 0).unwrap(), Credential::bearer("bad", 1).unwrap()];
        let supply = Supply::new(credentials, vec!["good".into(), "<bad>".into()]).unwrap();
        let mut plan = Plan::new("http://a.test/x?y=1&z".parse().unwrap(), supply);
        plan.pace = Pace::Open(40.0);
        plan
    }

    /// What it came to.
    pub(super) fn summary() -> Summary {
        let kinds = [("good", 200, 1_u64), ("<bad>", 401, 2)].map(|(name, status, factor)| {
            let mut kind = KindSummary { name: name.into(), ..KindSummary::default() };
            for ms in 1..=20 {
                kind.statuses.count(status);
                kind.latency.record(Duration::from_millis(ms * factor));
            }
            kind
        });
        let mut seconds = vec![Second::default(); 3];
        seconds[0].statuses = kinds[0].statuses.clone();
        seconds[2].statuses = kinds[1].statuses.clone();
        seconds[2].errors = 1;
        let [good, mut bad] = kinds;
        bad.failures.insert(Failure::TimedOut, 1);
        Summary {
            elapsed: Duration::from_millis(2500),
            kinds: vec![good, bad],
            seconds,
            punctuality: Some(Punctuality { rate: 40.0, due: 45, late: 3, not_started: 4 }),
            reconnects: 2,
            received_bytes: 4096,
            ending: Ending::Interrupted,
        }
    }

    /// Both, and one expectation that holds and one that does not.
    pub(super) fn report<'a>(plan: &'a Plan, summary: &'a Summary) -> Report<'a> {
        let verdict =
            |text: &str, holds| Verdict { text: text.into(), found: "16.0/s".into(), holds };
        Report { plan, summary, verdicts: vec![verdict("rps>1", true), verdict("rps>99", false)] }
    }
}
