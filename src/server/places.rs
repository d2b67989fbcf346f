//! How many connections a listener may have, over all reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: AtomicUsize,
    /// Places that were taken when there were more of them: so many are not given back.
    too_many: AtomicUsize,
}

/// The place of one connection; given back when it is dropped.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            most: AtomicUsize::new(most),
            too_many: AtomicUsize::new(0),
        })
    }

    /// A place, if one is free.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place { permit: Some(permit), places: Arc::clone(self) })
    }

    /// A place, as soon as one is free.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place { permit: Some(permit), places: Arc::clone(self) })
    }

    /// From now on there are so many. Connections that are over it live on, and nobody comes in
    /// their place. One caller at a time.
    pub(super) fn resize(&self, most: usize) {
        let before = self.most.swap(most, Relaxed);
        if let Some(fewer) = before.checked_sub(most) {
            let forgotten = self.free.forget_permits(fewer);
            self.too_many.fetch_add(fewer - forgotten, Relaxed);
            return;
        }
        for _ in before..most {
            if !self.is_paid() {
                self.free.add_permits(1);
            }
        }
    }

    /// Takes one off those that are too many, if any are.
    fn is_paid(&self) -> bool {
        self.too_many.fetch_update(Relaxed, Relaxed, |many| many.checked_sub(1)).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.places.is_paid()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_counts_whatever_the_bound_becomes() {
        let places = Places::new(3);
        let mut taken: Vec<_> = (0..3).filter_map(|_| places.try_take()).collect();
        assert!(taken.len() == 3 && places.try_take().is_none());
        places.resize(1);
        for left in [2, 1] {
            taken.pop();
            assert!(places.try_take().is_none(), "{left} are still open");
        }
        taken.pop();
        taken.extend(places.try_take());
        assert!(taken.len() == 1 && places.try_take().is_none());
        places.resize(2);
        taken.extend(places.try_take());
        assert!(taken.len() == 2 && places.try_take().is_none());
        places.resize(1);
        places.resize(2);
        assert!(places.try_take().is_none(), "lowered and raised while two are open");
        taken.pop();
        assert!(places.try_take().is_some());
    }
}
