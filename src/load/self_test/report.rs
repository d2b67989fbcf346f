//! What a self-test came to, as a table and as JSON. Pure.

use std::fmt;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Options;
use super::row::{Fault, Row, Warmth};
use crate::dev::authorization_server::CallCounts;
use crate::load::Summary;
use crate::load::report::json as report;
use crate::load::value::shown;

/// All rows.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was chosen.
    pub options: Options,
    /// The rows, in the order in which they ran.
    pub rows: Vec<RowReport>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct RowReport {
    /// Which one.
    pub row: Row,
    /// What the load came to.
    pub summary: Summary,
    /// The processor time that the gateway used for it, if the system tells.
    pub used: Option<Duration>,
    /// The calls to the authorization server during it.
    pub calls: CallCounts,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.faults.is_empty())
    }

    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let Options { distinct_tokens, algorithm, duration, connections } = self.options;
        json!({
            "version": VERSION,
            "build": BUILD,
            "system": SYSTEM,
            "processors": processors(),
            "gateway_workers": 1,
            "algorithm": algorithm.name(),
            "distinct_tokens": distinct_tokens,
            "connections": connections,
            "duration_s": duration.as_secs_f64(),
            "upstream_body_bytes": 1024,
            "rows": self.rows.iter().map(RowReport::json).collect::<Vec<_>>(),
            "passed": self.is_good(),
        })
    }
}

impl RowReport {
    /// The processor time of the gateway for one request, if it is known and there was one.
    pub fn used_per_request(&self) -> Option<Duration> {
        let requests = u32::try_from(self.summary.answers()).ok().filter(|count| *count > 0)?;
        self.used.map(|used| used / requests)
    }

    fn json(&self) -> Value {
        let summary = &self.summary;
        json!({
            "row": self.row.key(),
            "requests": summary.answers() + summary.errors(),
            "answers": summary.answers(),
            "elapsed_s": summary.elapsed.as_secs_f64(),
            "rps": summary.rate(),
            "expected_status": self.row.status().as_u16(),
            "statuses": report::statuses(&summary.statuses()),
            "errors": report::errors(&summary.failures()),
            "latency_ms": report::latency(&summary.latency()),
            "gateway_cpu_us_per_request":
                self.used_per_request().map(|time| time.as_secs_f64() * 1e6),
            "introspection_calls": self.calls.introspection,
            "jwks_calls": self.calls.jwks,
            "faults": self.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

/// What is measured, and the head of the table.
#[derive(Clone, Copy, Debug)]
pub struct Head(pub Options);

impl fmt::Display for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { distinct_tokens, algorithm, duration, connections } = self.0;
        writeln!(
            formatter,
            "scopegate {VERSION}, {BUILD} build, {SYSTEM}, {} processors",
            processors()
        )?;
        writeln!(
            formatter,
            "{distinct_tokens} tokens of each sort, JWTs signed with {}; {connections} connections, {} a \
             row; HTTP/1.1, answers of 1 KiB",
            algorithm.name(),
            shown(duration),
        )?;
        writeln!(
            formatter,
            "gateway: a process of its own with one worker. Load, upstream and authorization server \
             share the machine\nwith it: CPU/request is the gateway's alone, requests/s what all of \
             them together reached."
        )?;
        if BUILD == "debug" {
            writeln!(formatter, "a debug build says nothing about speed: cargo build --release")?;
        }
        write!(
            formatter,
            "\n{:<13}{:>10}{:>11}{:>11}{:>13}{:>16}{:>10}  status",
            "row", "requests/s", "p50", "p99", "CPU/request", "introspections", "key sets"
        )
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.summary.latency();
        let used = self.used_per_request().map_or("not known".to_owned(), shown);
        write!(
            formatter,
            "{:<13}{:>10.0}{:>11}{:>11}{:>13}{:>16}{:>10}  {}",
            self.row.name(),
            self.summary.rate(),
            shown(latency.at(50.0)),
            shown(latency.at(99.0)),
            used,
            self.calls.introspection,
            self.calls.jwks,
            self.statuses(),
        )?;
        self.faults.iter().try_for_each(|fault| write!(formatter, "\n  wrong: {fault}"))
    }
}

impl RowReport {
    fn statuses(&self) -> String {
        let statuses = self.summary.statuses();
        let each = statuses.iter().map(|(status, count)| format!("{status} × {count}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Report {
    /// What stands below the rows.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_cold = |row: &&RowReport| row.row.warmth() == Warmth::Cold;
        let early = self.rows.iter().filter(is_cold).filter(|row| self.is_early(row));
        let early: Vec<_> = early.map(|row| row.row.name()).collect();
        writeln!(
            formatter,
            "\ncold: every token once. warm: the same tokens again, each sent before."
        )?;
        writeln!(
            formatter,
            "refused: tokens without the scope. pass-through: a public route, no token."
        )?;
        if !early.is_empty() {
            let names = early.join(" and ");
            writeln!(
                formatter,
                "{names} ended when all tokens were sent: more --distinct-tokens take longer."
            )?;
        }
        match self.rows.iter().map(|row| row.faults.len()).sum::<usize>() {
            0 => {
                formatter.write_str("good: every status and every number of calls is as it must be")
            }
            count => write!(formatter, "{count} wrong: see above"),
        }
    }
}

impl Report {
    fn is_early(&self, row: &RowReport) -> bool {
        row.summary.elapsed < self.options.duration
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };
const SYSTEM: &str = std::env::consts::OS;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::super::row::tests::summary;
    use super::*;
    use crate::oauth::SignatureAlgorithm;

    fn row(row: Row, statuses: &[u16], faults: Vec<Fault>) -> RowReport {
        let calls = CallCounts { introspection: 7, ..CallCounts::default() };
        let used = Some(Duration::from_micros(90));
        RowReport { row, summary: summary(statuses), used, calls, faults }
    }

    fn report(rows: Vec<RowReport>) -> Report {
        let options = Options {
            distinct_tokens: NonZeroUsize::MIN,
            algorithm: SignatureAlgorithm::Rs256,
            duration: Duration::from_secs(1),
            connections: NonZeroUsize::MIN,
        };
        Report { options, rows }
    }

    #[test]
    fn a_row_says_what_it_came_to_and_what_is_wrong() {
        let refused = row(Row::Refused, &[403, 403, 200], vec![Fault::Status(1, 200)]);
        let text = refused.to_string();
        for told in ["30.0µs", "200 × 1, 403 × 2", "wrong: 1 answers", "7"] {
            assert!(text.contains(told), "{told:?} in {text}");
        }
        let json = report(vec![refused]).json();
        assert_eq!(json["passed"], false);
        assert_eq!(json["rows"][0]["statuses"]["403"], 2);
        assert_eq!(json["rows"][0]["gateway_cpu_us_per_request"], 30.0);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let unknown = RowReport { used: None, ..row(Row::WarmJwt, &[200], Vec::new()) };
        assert!(unknown.to_string().contains("not known"));
        assert_eq!(unknown.json()["gateway_cpu_us_per_request"], Value::Null);
        let silent = row(Row::WarmJwt, &[], Vec::new());
        assert_eq!(silent.used_per_request(), None);
        assert!(report(vec![silent]).is_good());
    }
}
