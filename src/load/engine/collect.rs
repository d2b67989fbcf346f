//! Brings together what the threads count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::tally::{Batch, Closing};
use super::turn::Times;
use crate::load::latency::Latency;
use crate::load::plan::{Pace, Plan};
use crate::load::progress::{Phase, Progress};
use crate::load::summary::{Ending, KindSummary, Punctuality, Second, Statuses, Summary};

/// The numbers of a run so far.
pub(super) struct Collection<'a> {
    plan: &'a Plan,
    times: Times,
    kinds: Vec<KindSummary>,
    seconds: BTreeMap<u64, Second>,
    /// The latencies of the last seconds, of which some threads may not have told yet.
    recent: BTreeMap<u64, Latency>,
    statuses: Statuses,
    errors: u64,
    received_bytes: u64,
    reconnects: u64,
    late: u64,
    not_started: u64,
    last: Option<Instant>,
}

impl<'a> Collection<'a> {
    /// None yet.
    pub(super) fn new(plan: &'a Plan, times: Times) -> Self {
        let kind = |name: &str| KindSummary { name: name.into(), ..KindSummary::default() };
        Self {
            plan,
            times,
            kinds: plan.credentials.kinds().iter().map(|name| kind(name)).collect(),
            seconds: BTreeMap::new(),
            recent: BTreeMap::new(),
            statuses: Statuses::default(),
            errors: 0,
            received_bytes: 0,
            reconnects: 0,
            late: 0,
            not_started: 0,
            last: None,
        }
    }

    /// Adds what one thread counted in one second.
    pub(super) fn add(&mut self, batch: &Batch) {
        self.received_bytes += batch.received_bytes;
        self.reconnects += batch.reconnects;
        self.late += batch.late;
        let second = self.seconds.entry(batch.second).or_default();
        let recent = self.recent.entry(batch.second).or_default();
        for (kind, counts) in self.kinds.iter_mut().zip(&batch.kinds) {
            let errors: u64 = counts.failures.values().sum();
            self.errors += errors;
            second.errors += errors;
            for statuses in [&mut second.statuses, &mut kind.statuses, &mut self.statuses] {
                statuses.add(&counts.statuses);
            }
            for (failure, count) in &counts.failures {
                *kind.failures.entry(*failure).or_default() += count;
            }
            if let Some(latency) = &counts.latency {
                recent.add(latency);
                kind.latency.add(latency);
            }
        }
        (second.p50, second.p99) = (recent.at(50.0), recent.at(99.0));
        while self.recent.len() > RECENT {
            self.recent.pop_first();
        }
    }

    /// Adds how a thread ended.
    pub(super) fn close(&mut self, closing: Closing) {
        self.not_started += closing.not_started;
        self.last = self.last.max(closing.last);
    }

    /// How the run stands.
    pub(super) fn progress(&self, now: Instant) -> Progress {
        let Times { origin, from, end } = self.times;
        let phase = match end {
            _ if now < from => Phase::WarmUp,
            Some(end) if end <= now => Phase::Draining,
            _ => Phase::Measuring,
        };
        let since = if phase == Phase::WarmUp { origin } else { from };
        let elapsed = now.saturating_duration_since(since);
        let told = elapsed.saturating_sub(HANDED_OVER).as_secs();
        let last = told.checked_sub(1).and_then(|second| self.seconds.get(&second));
        let measured = last.filter(|_| phase != Phase::WarmUp);
        Progress {
            phase,
            elapsed,
            done: self.done(phase, elapsed),
            answers: self.statuses.total(),
            errors: self.errors,
            statuses: self.statuses.clone(),
            rate: measured.map_or(0.0, |second| float(second.statuses.total())),
            p99: measured.map_or(Duration::ZERO, |second| second.p99),
        }
    }

    /// The share of a phase that is done, by the bound that is nearest.
    fn done(&self, phase: Phase, elapsed: Duration) -> f64 {
        let bounds = &self.plan.bounds;
        let whole = if phase == Phase::WarmUp { Some(bounds.warm_up) } else { bounds.duration };
        let by_time = whole.map_or(0.0, |whole| elapsed.as_secs_f64() / whole.as_secs_f64());
        let ended = float(self.statuses.total() + self.errors);
        let by_count = bounds.requests.map_or(0.0, |requests| ended / float(requests));
        by_time.max(by_count).clamp(0.0, 1.0)
    }

    /// What the run came to.
    pub(super) fn summary(self, ending: Ending) -> Summary {
        let elapsed = self.elapsed(ending);
        let seconds = self.seconds.keys().next_back().map_or(0, |last| last + 1);
        let mut of_second = self.seconds;
        let punctuality = match self.plan.pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Punctuality {
                rate,
                due: self.statuses.total() + self.errors + self.not_started,
                late: self.late,
                not_started: self.not_started,
            }),
        };
        Summary {
            elapsed,
            kinds: self.kinds,
            seconds: (0..seconds).map(|at| of_second.remove(&at).unwrap_or_default()).collect(),
            punctuality,
            reconnects: self.reconnects,
            received_bytes: self.received_bytes,
            ending,
        }
    }

    /// To the last answer; and where time ended the run, not less than that time: a target that
    /// had nothing more to say has not answered faster for it.
    fn elapsed(&self, ending: Ending) -> Duration {
        let to_last = self.last.map(|last| last.saturating_duration_since(self.times.from));
        let ended = float(self.statuses.total() + self.errors);
        let is_spent = self.plan.bounds.requests.is_some_and(|all| float(all) <= ended);
        let bound = self.plan.bounds.duration.filter(|_| ending == Ending::Bound && !is_spent);
        to_last.max(bound).unwrap_or_default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count is far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

/// How long after its end a second has surely been handed over by all threads.
const HANDED_OVER: Duration = Duration::from_millis(200);
/// How many seconds a thread may be behind another one.
const RECENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;
    use crate::load::Supply;
    use crate::load::engine::tally::{Answered, Outcome};
    use crate::load::plan::Bounds;

    fn plan(bounds: Bounds) -> Plan {
        let mut plan = Plan::new("http://a/".parse().unwrap(), Supply::absent());
        plan.bounds = bounds;
        plan
    }

    fn answered(start: Instant, took: Duration, second: u64) -> Batch {
        let mut batch = Batch::of(second);
        let result = Ok(Answered { status: 200, bytes: 1 });
        batch.count(&Outcome { kind: 0, start, late: false, result }, start + took);
        batch
    }

    #[test]
    fn seconds_without_an_answer_are_there_too() {
        let plan = plan(Bounds::default());
        let origin = time::instant();
        let mut all = Collection::new(&plan, Times::new(origin, &plan.bounds));
        all.add(&answered(origin, Duration::from_millis(1), 0));
        all.add(&answered(origin, Duration::from_secs(2), 2));
        let summary = all.summary(Ending::Bound);
        let totals: Vec<_> = summary.seconds.iter().map(|second| second.statuses.total()).collect();
        assert_eq!(totals, [1, 0, 1]);
        assert!(summary.seconds[2].p99 >= Duration::from_millis(1999));
        assert_eq!(summary.elapsed, Duration::from_secs(10), "the time that bounded it");
    }

    #[test]
    fn a_run_bounded_by_count_lasts_to_its_last_answer() {
        let plan = plan(Bounds { requests: Some(1), ..Bounds::default() });
        let origin = time::instant();
        let mut all = Collection::new(&plan, Times::new(origin, &plan.bounds));
        all.add(&answered(origin, Duration::from_millis(1), 0));
        let last = Some(origin + Duration::from_millis(250));
        all.close(Closing { last, not_started: 0 });
        let summary = all.summary(Ending::Bound);
        assert_eq!(summary.elapsed, Duration::from_millis(250));
        assert!((summary.rate() - 4.0).abs() < 1e-9);
    }
}
