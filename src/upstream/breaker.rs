//! When a member that fails is left alone, and for how long. Pure.
//!
//! So many failures in a row open the breaker. When its time is over one request is let through as
//! a trial: if that is answered the member is back, if it fails it is out again, for twice as long.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Ejection;

/// The breaker of one member.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failures since the last answer.
    failures: u32,
    /// How often it opened without [`FORGOTTEN_AFTER`] in peace between.
    repeats: u32,
    open: Option<Open>,
    closed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// No request until then.
    until: Instant,
    /// Whether one was let through.
    is_tried: bool,
}

/// What a breaker says to the next request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    Closed,
    /// Not before then.
    Open(Instant),
    /// One may try: said once.
    Trial,
}

impl Breaker {
    /// What holds now. A trial that nobody tells the end of is given up after `settings.time`.
    pub(super) fn gate(&mut self, settings: &Ejection, now: Instant) -> Gate {
        match &mut self.open {
            None => Gate::Closed,
            Some(open) if now < open.until => Gate::Open(open.until),
            Some(open) => {
                *open = Open { until: now + settings.time, is_tried: true };
                Gate::Trial
            }
        }
    }

    /// Whether requests are kept away.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A request failed. Gives whether that opened the breaker, which it does not unless
    /// `may_open`. Requests that were under way when it opened change nothing.
    pub(super) fn failed(&mut self, settings: &Ejection, may_open: bool, now: Instant) -> bool {
        let opens = match self.open {
            Some(open) => open.is_tried,
            None => {
                self.failures = self.failures.saturating_add(1);
                settings.failures > 0 && settings.failures <= self.failures && may_open
            }
        };
        if !opens {
            return false;
        }
        if self.closed_at.is_some_and(|at| FORGOTTEN_AFTER < now.saturating_duration_since(at)) {
            self.repeats = 0;
        }
        self.closed_at = None;
        self.open = Some(Open { until: now + self.time(settings), is_tried: false });
        self.repeats = self.repeats.saturating_add(1);
        true
    }

    /// A request was answered. Gives whether that closed the breaker.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        if self.open.is_some_and(|open| !open.is_tried) {
            return false;
        }
        self.failures = 0;
        let closes = self.open.take().is_some();
        if closes {
            self.closed_at = Some(now);
        }
        closes
    }

    fn time(&self, settings: &Ejection) -> Duration {
        let doubled = settings.time.saturating_mul(2_u32.saturating_pow(self.repeats.min(16)));
        doubled.min(EJECTION_MAX.max(settings.time))
    }
}

/// The longest that a member is left alone, unless `eject.for` is longer.
const EJECTION_MAX: Duration = Duration::from_secs(300);
/// A member that has served for so long starts again from `eject.for`.
const FORGOTTEN_AFTER: Duration = EJECTION_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Ejection =
        Ejection { failures: 3, time: Duration::from_secs(10), server_errors: false };

    fn opened(breaker: &mut Breaker, now: Instant) -> Duration {
        while !breaker.failed(&SETTINGS, true, now) {}
        match breaker.gate(&SETTINGS, now) {
            Gate::Open(until) => until - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_starts_the_count_again() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let failed = |breaker: &mut Breaker| breaker.failed(&SETTINGS, true, now);
        assert!(!failed(&mut breaker) && !failed(&mut breaker));
        assert!(!breaker.succeeded(now), "it was not open");
        assert!(!failed(&mut breaker) && !failed(&mut breaker) && failed(&mut breaker));
        assert!(!failed(&mut breaker), "a request that was under way");
        assert!(!breaker.succeeded(now) && breaker.is_open(), "nor does an answer to one close it");
        assert_eq!(breaker.gate(&SETTINGS, now), Gate::Open(now + SETTINGS.time));

        let mut last = Breaker::default();
        assert!((0..9).all(|_| !last.failed(&SETTINGS, false, now)), "the last one is kept");
        assert!(last.failed(&SETTINGS, true, now), "until there is another");
        let off = Ejection { failures: 0, ..SETTINGS };
        assert!((0..9).all(|_| !Breaker::default().failed(&off, true, now)));
    }

    #[test]
    fn one_request_tries_when_the_time_is_over_and_decides() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let time = opened(&mut breaker, now);
        let later = now + time;
        assert_eq!(breaker.gate(&SETTINGS, later), Gate::Trial);
        assert_eq!(breaker.gate(&SETTINGS, later), Gate::Open(later + SETTINGS.time), "one alone");
        assert_eq!(breaker.gate(&SETTINGS, later + SETTINGS.time), Gate::Trial, "it got lost");
        assert!(breaker.succeeded(later) && !breaker.is_open());
        assert_eq!(breaker.gate(&SETTINGS, later), Gate::Closed);

        let time = opened(&mut breaker, later);
        assert_eq!(time, SETTINGS.time * 2, "soon after the last time");
        let later = later + time;
        assert_eq!(breaker.gate(&SETTINGS, later), Gate::Trial);
        assert!(breaker.failed(&SETTINGS, false, later), "one failure is enough");
        assert_eq!(breaker.gate(&SETTINGS, later), Gate::Open(later + SETTINGS.time * 4));
    }

    #[test]
    fn it_stays_open_longer_each_time_up_to_a_bound_and_peace_is_remembered() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        let mut times = vec![opened(&mut breaker, now).as_secs()];
        for _ in 0..6 {
            now += Duration::from_secs(*times.last().unwrap());
            assert_eq!(breaker.gate(&SETTINGS, now), Gate::Trial);
            assert!(breaker.failed(&SETTINGS, true, now));
            let Gate::Open(until) = breaker.gate(&SETTINGS, now) else { panic!("it is open") };
            times.push((until - now).as_secs());
        }
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300]);
        now += EJECTION_MAX;
        assert_eq!(breaker.gate(&SETTINGS, now), Gate::Trial);
        assert!(breaker.succeeded(now));
        now += FORGOTTEN_AFTER + Duration::from_secs(1);
        assert_eq!(opened(&mut breaker, now), SETTINGS.time);
        let long = Ejection { time: EJECTION_MAX * 2, ..SETTINGS };
        assert_eq!(Breaker::default().time(&long), long.time);
    }
}
