//! How many requests may be under way at one upstream, all workers together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The places that are not given out. Workers take and return them by the batch, so that the hot
/// path writes nothing that two workers share; the sum never goes over the bound.
///
/// What idle workers may hold back is less than two batches each, a quarter of the bound in all.
/// A bound too small for that is counted one by one.
#[derive(Debug)]
pub(super) struct Quota {
    left: AtomicUsize,
    batch: usize,
}

impl Quota {
    pub(super) fn new(requests: usize, workers: usize) -> Self {
        let batch = requests / workers.max(1).saturating_mul(BATCHES_PER_WORKER);
        Self { left: AtomicUsize::new(requests), batch }
    }

    /// Takes a place, out of `held` if there is one; false: every place is taken.
    pub(super) fn take(&self, held: &mut usize) -> bool {
        if *held == 0 {
            *held = self.fetch();
        }
        match held.checked_sub(1) {
            Some(rest) => {
                *held = rest;
                true
            }
            None => false,
        }
    }

    /// Returns a place.
    pub(super) fn give(&self, held: &mut usize) {
        *held += 1;
        if *held >= 2 * self.batch {
            let back = self.batch.max(1);
            *held -= back;
            self.left.fetch_add(back, Ordering::Relaxed);
        }
    }

    fn fetch(&self) -> usize {
        let wanted = self.batch.max(1);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(wanted.min(left))
        });
        taken.map_or(0, |left| wanted.min(left))
    }
}

const BATCHES_PER_WORKER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_over_all_workers_and_none_starves() {
        for (requests, workers) in [(1, 1), (1, 4), (7, 4), (100, 4), (10_000, 8)] {
            let quota = Quota::new(requests, workers);
            let mut held = vec![0; workers];
            let mut out = vec![0; workers];
            for turn in 0..requests * 2 {
                let worker = turn % workers;
                out[worker] += usize::from(quota.take(&mut held[worker]));
            }
            let all: usize = out.iter().sum();
            assert!(all <= requests && requests * 3 <= all * 4, "{all} of {requests}");
            for worker in 0..workers {
                for _ in 0..out[worker] {
                    quota.give(&mut held[worker]);
                }
            }
            let alone = (0..requests * 2).filter(|_| quota.take(&mut held[0])).count();
            assert!(alone <= requests && requests * 3 <= alone * 4, "{alone} of {requests}");
        }
    }
}
