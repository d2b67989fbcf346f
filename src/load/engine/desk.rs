//! Where the connections of one thread get their turns and leave their outcomes.
//!
//! One visit per request: the outcome of the last one goes in and the next turn comes out, under a
//! lock that no other thread takes.

use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::schedule::Schedule;
use super::tally::{Batch, Closing, News, Outcome, second_of};
use super::turn::{Share, Times, Turn};
use crate::load::plan::{Pace, Plan};
use crate::load::supply::{Credential, Supply};

/// The turns and numbers of one thread.
pub(super) struct Desk {
    supply: Supply,
    times: Times,
    is_open_loop: bool,
    state: Mutex<State>,
}

struct State {
    next: usize,
    count: usize,
    left: Option<u64>,
    schedule: Option<Schedule>,
    stopped_at: Option<Instant>,
    batch: Batch,
    last: Option<Instant>,
    out: Sender<News>,
}

impl Desk {
    /// The desk of one thread of a run.
    pub(super) fn new(plan: &Plan, times: Times, share: Share, out: Sender<News>) -> Self {
        let schedule = match plan.pace {
            Pace::Closed => None,
            Pace::Open(rate) => {
                Some(Schedule::new(times.origin, rate, share.thread, share.threads))
            }
        };
        let state = State {
            next: plan.credentials.offset(share.thread, share.threads),
            count: plan.credentials.count(),
            left: plan.bounds.requests.map(|requests| share.of(requests)),
            schedule,
            stopped_at: None,
            batch: Batch::default(),
            last: None,
            out,
        };
        Self {
            supply: plan.credentials.clone(),
            times,
            is_open_loop: state.schedule.is_some(),
            state: Mutex::new(state),
        }
    }

    /// The credential of a turn.
    pub(super) fn credential(&self, turn: &Turn) -> &Credential {
        self.supply.take(turn.credential)
    }

    /// Whether turns are given out by the clock.
    pub(super) const fn is_open_loop(&self) -> bool {
        self.is_open_loop
    }

    /// Counts what became of a turn, and gives the next one, or none when the run is over.
    pub(super) fn turn(&self, last: Option<Outcome>, now: Instant) -> Option<Turn> {
        let mut state = self.state();
        if let Some(outcome) = last {
            state.count(&outcome, now, self.times.from);
        }
        state.take(&self.times, now)
    }

    /// Counts a connection that was opened in place of one that had ended.
    pub(super) fn count_reconnect(&self, now: Instant) {
        if now >= self.times.from {
            self.state().batch.reconnects += 1;
        }
    }

    /// Hands over a second that is past, which otherwise only the next outcome does.
    pub(super) fn tick(&self, now: Instant) {
        self.state().enter(second_of(now, self.times.from));
    }

    /// Gives out no further turn.
    pub(super) fn stop(&self, now: Instant) {
        self.state().stopped_at.get_or_insert(now);
    }

    /// Hands over what is left, when all requests have ended.
    pub(super) fn close(&self) -> Closing {
        let mut state = self.state();
        state.enter(u64::MAX);
        let end = state.stopped_at.into_iter().chain(self.times.end).min();
        let is_spent = state.left == Some(0);
        let not_started = match (&state.schedule, end) {
            (Some(schedule), Some(end)) if !is_spent => schedule.left_between(self.times.from, end),
            _ => 0,
        };
        Closing { last: state.last, not_started }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, times: &Times, now: Instant) -> Option<Turn> {
        let start = self.schedule.as_ref().map_or(now, Schedule::peek);
        let is_over = times.end.is_some_and(|end| start >= end || now >= end);
        if is_over || self.stopped_at.is_some() {
            return None;
        }
        let counts = start >= times.from;
        if counts && let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.take();
        }
        let credential = self.next;
        self.next = if credential + 1 < self.count { credential + 1 } else { 0 };
        Some(Turn { credential, start, late: false, counts })
    }

    fn count(&mut self, outcome: &Outcome, now: Instant, from: Instant) {
        self.enter(second_of(now, from));
        self.last = Some(now);
        self.batch.count(outcome, now);
    }

    /// Hands over the second before, if another one has begun.
    fn enter(&mut self, second: u64) {
        if self.batch.second == second {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Batch::of(second));
        if !batch.is_empty() {
            // Fails when nobody collects any more: then nobody asks for the numbers either.
            let _ = self.out.send(News::Batch(batch));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;
    use crate::base::time;
    use crate::load::engine::tally::Answered;
    use crate::load::plan::Bounds;

    const ONE: Share = Share { thread: 0, threads: 1 };

    fn desk(pace: Pace, requests: Option<u64>, warm_up: u64) -> (Desk, Receiver<News>, Instant) {
        let supply = Supply::bearer(["a", "b"], "good").unwrap();
        let mut plan = Plan::new("http://a/".parse().unwrap(), supply);
        plan.pace = pace;
        let warm_up = Duration::from_secs(warm_up);
        plan.bounds = Bounds { warm_up, duration: Some(Duration::from_secs(2)), requests };
        let (out, batches) = channel();
        let origin = time::instant();
        (Desk::new(&plan, Times::new(origin, &plan.bounds), ONE, out), batches, origin)
    }

    fn outcome(turn: &Turn) -> Outcome {
        let result = Ok(Answered { status: 200, bytes: 1 });
        Outcome { kind: 0, start: turn.start, late: turn.late, result }
    }

    #[test]
    fn a_closed_loop_begins_when_it_is_asked_and_ends_in_time() {
        let (desk, batches, origin) = desk(Pace::Closed, None, 0);
        let at = |ms| origin + Duration::from_millis(ms);
        let first = desk.turn(None, at(5)).unwrap();
        let second = desk.turn(Some(outcome(&first)), at(900)).unwrap();
        assert_eq!((first.start, second.start), (at(5), at(900)));
        assert_ne!(first.credential, second.credential, "tokens come in turn");
        assert!(desk.turn(Some(outcome(&second)), at(2000)).is_none());
        assert_eq!((desk.close().last, desk.close().not_started), (Some(at(2000)), 0));
        let seconds: Vec<_> = batches
            .try_iter()
            .filter_map(
                |news| if let News::Batch(batch) = news { Some(batch.second) } else { None },
            )
            .collect();
        assert_eq!(seconds, [0, 2]);
    }

    #[test]
    fn warm_up_does_not_use_up_requests() {
        let (desk, _batches, origin) = desk(Pace::Closed, Some(1), 1);
        let counts =
            |ms| desk.turn(None, origin + Duration::from_millis(ms)).map(|turn| turn.counts);
        assert_eq!([0, 500, 1000, 1100].map(counts), [Some(false), Some(false), Some(true), None]);
    }

    #[test]
    fn an_open_loop_tells_what_was_due_and_never_begun() {
        let (desk, _batches, origin) = desk(Pace::Open(10.0), None, 0);
        let stalled = origin + Duration::from_secs(3);
        let starts: Vec<_> = (0..3).filter_map(|_| desk.turn(None, origin)).collect();
        assert_eq!(starts.last().unwrap().start, origin + Duration::from_millis(200));
        assert!(desk.turn(None, stalled).is_none());
        assert_eq!(desk.close().not_started, 17);
    }

    #[test]
    fn a_stop_ends_the_turns_and_what_was_not_due_yet_is_not_missed() {
        let (desk, _batches, origin) = desk(Pace::Open(10.0), None, 0);
        assert!(desk.turn(None, origin).is_some());
        desk.stop(origin + Duration::from_millis(450));
        assert!(desk.turn(None, origin).is_none());
        assert_eq!(desk.close().not_started, 4);
    }
}
