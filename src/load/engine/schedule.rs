//! When requests of an open loop are to begin. Pure.

use std::time::{Duration, Instant};

/// The moments of one thread, evenly spread. The threads of a run take turns, so that together they
/// are evenly spread as well.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    origin: Instant,
    rate: f64,
    next: u64,
    step: u64,
}

impl Schedule {
    /// The moments of thread `thread` of `threads`, which make `rate` a second together.
    pub(super) fn new(origin: Instant, rate: f64, thread: usize, threads: usize) -> Self {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self { origin, rate, next: wide(thread), step: wide(threads).max(1) }
    }

    /// The next moment, which is not taken yet.
    pub(super) fn peek(&self) -> Instant {
        self.at(self.next)
    }

    /// Takes the next moment.
    pub(super) fn take(&mut self) {
        self.next = self.next.saturating_add(self.step);
    }

    /// How many moments from `from` on and before `end` were not taken.
    pub(super) fn left_between(&self, from: Instant, end: Instant) -> u64 {
        let first = self.first_at(from).max(self.next);
        let (mut count, behind) = (0, self.first_at(end));
        if first < behind {
            let to_first = (first - self.next).div_ceil(self.step);
            let to_behind = (behind - self.next).div_ceil(self.step);
            count = to_behind - to_first;
        }
        count
    }

    /// Counted from the origin each time: adding up intervals would add up their errors.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    fn at(&self, number: u64) -> Instant {
        let since = Duration::try_from_secs_f64(number as f64 / self.rate).unwrap_or(FOREVER);
        self.origin.checked_add(since).unwrap_or(self.origin + FOREVER)
    }

    /// The number of the first moment, of any thread, that is not before `when`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    fn first_at(&self, when: Instant) -> u64 {
        let since = when.saturating_duration_since(self.origin).as_secs_f64();
        let mut number = (since * self.rate).floor() as u64;
        while self.at(number) < when {
            number += 1;
        }
        number
    }
}

/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(3_650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    fn taken(mut schedule: Schedule, count: usize) -> Vec<Instant> {
        let mut moments = Vec::new();
        for _ in 0..count {
            moments.push(schedule.peek());
            schedule.take();
        }
        moments
    }

    #[test]
    fn threads_take_turns_and_spread_evenly() {
        let origin = time::instant();
        let ms = |ms| origin + Duration::from_millis(ms);
        assert_eq!(taken(Schedule::new(origin, 100.0, 0, 2), 3), [ms(0), ms(20), ms(40)]);
        assert_eq!(taken(Schedule::new(origin, 100.0, 1, 2), 3), [ms(10), ms(30), ms(50)]);
    }

    #[test]
    fn nothing_is_lost_over_a_long_run() {
        let origin = time::instant();
        let schedule = Schedule::new(origin, 30_000.0, 0, 1);
        let hour = Duration::from_secs(3600);
        assert_eq!(schedule.at(30_000 * 3600), origin + hour);
    }

    #[test]
    fn what_was_due_and_not_taken_is_counted() {
        let origin = time::instant();
        let second = |seconds| origin + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(origin, 10.0, 1, 2);
        assert_eq!(schedule.left_between(origin, second(1)), 5);
        schedule.take();
        assert_eq!(schedule.left_between(origin, second(1)), 4);
        assert_eq!(schedule.left_between(second(1), second(2)), 5);
        assert_eq!(schedule.left_between(second(1), second(1)), 0);
    }
}
