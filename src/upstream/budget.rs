//! How many requests may be sent again. Pure.
//!
//! An upstream that fails under its load must not get more of it by our retries: they are a share
//! of the requests, and a few in any case, or a quiet upstream would get none.

use std::time::Duration;

use tokio::time::Instant;

/// What one worker may still spend at one upstream.
#[derive(Debug)]
pub(super) struct Budget {
    /// Hundredths of a retry that each request earns.
    share: u32,
    /// Hundredths of retries earned.
    earned: u32,
    /// Retries that need not be earned, of the second that began then.
    free: u32,
    since: Option<Instant>,
}

impl Budget {
    /// `percent`: retries for a hundred requests.
    pub(super) const fn new(percent: u32) -> Self {
        Self { share: percent, earned: 0, free: 0, since: None }
    }

    /// A request came.
    pub(super) const fn earn(&mut self) {
        let earned = self.earned.saturating_add(self.share);
        self.earned = if earned < EARNED_MAX { earned } else { EARNED_MAX };
    }

    /// Pays for a retry; false: there is nothing left. A budget of nothing pays for none at all.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        if let Some(rest) = self.earned.checked_sub(ONE) {
            self.earned = rest;
            return true;
        }
        if self.share == 0 {
            return false;
        }
        if self.since.is_none_or(|since| SECOND <= now.saturating_duration_since(since)) {
            (self.free, self.since) = (FREE_PER_SECOND, Some(now));
        }
        match self.free.checked_sub(1) {
            Some(rest) => {
                self.free = rest;
                true
            }
            None => false,
        }
    }
}

/// A retry, in hundredths.
const ONE: u32 = 100;
/// What is saved up in good times: a hundred retries.
const EARNED_MAX: u32 = 100 * ONE;
/// Retries of one worker in a second that need not be earned.
const FREE_PER_SECOND: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &mut Budget, now: Instant) -> usize {
        (0..1000).take_while(|_| budget.spend(now)).count()
    }

    #[test]
    fn retries_are_a_share_of_requests_and_a_few_in_any_case() {
        let now = Instant::now();
        #[rustfmt::skip]
        let cases = [
            // percent, requests, retries
            (20,   0,  3),
            (20,   4,  3),
            (20,   5,  4),
            (20, 100, 23),
            (20, 100_000, 103),
            (100, 10, 13),
            (0, 100_000, 0),
        ];
        for (percent, requests, retries) in cases {
            let mut budget = Budget::new(percent);
            (0..requests).for_each(|_| budget.earn());
            assert_eq!(spent(&mut budget, now), retries, "{percent} % of {requests}");
        }
    }

    #[test]
    fn the_few_come_back_each_second() {
        let (mut budget, now) = (Budget::new(20), Instant::now());
        assert_eq!(spent(&mut budget, now), 3);
        assert_eq!(spent(&mut budget, now + SECOND / 2), 0);
        assert_eq!(spent(&mut budget, now + SECOND), 3);
    }
}
