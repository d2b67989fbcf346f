//! A snapshot as one worker holds it.
//!
//! Why not one `Arc` for all: each request owns its snapshot to the end, and workers that count
//! their requests in one place wait for each other's cache line.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;
use crate::headers::Sanitizer;

/// A snapshot, and what of it requests own by themselves; all of it counted by one worker alone.
pub(super) struct Holding {
    snapshot: Arc<Snapshot>,
    /// For bodies, which outlive their request's way.
    pub(super) sanitizer: Arc<Sanitizer>,
}

impl Holding {
    fn new(snapshot: Arc<Snapshot>) -> Arc<Self> {
        let sanitizer = Arc::new(snapshot.sanitizer.clone());
        Arc::new(Self { snapshot, sanitizer })
    }
}

impl Deref for Holding {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// What a worker holds at the moment. The lock is its own: nobody waits for it.
#[derive(Default)]
pub(super) struct Hold(Mutex<Option<Arc<Holding>>>);

impl Hold {
    /// The current snapshot. Lets go of the one before, if there is a newer one.
    ///
    /// Cost: one uncontended lock, one load, one count.
    pub(super) fn current(&self, shared: &ArcSwap<Snapshot>) -> Arc<Holding> {
        let current = shared.load();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(holding) if Arc::ptr_eq(&holding.snapshot, &current) => Arc::clone(holding),
            _ => Arc::clone(held.insert(Holding::new(Arc::clone(&current)))),
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Hold").finish_non_exhaustive()
    }
}
