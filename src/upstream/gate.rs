//! The waker of a pooled connection: it wakes whichever task uses the connection now.
//!
//! hyper keeps the waker it was last polled with in several places: the socket, the queue of
//! requests, the body's channel. With a task's own waker there, handing a request to a pooled
//! connection would wake the task that used it before, and taking a frame would wake ourselves.
//! So a connection is polled with one waker for life, and that waker knows whom to wake.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Passes a wake-up on to the task that is attached, if one is.
#[derive(Debug, Default)]
pub(super) struct Gate {
    task: Mutex<Option<Waker>>,
    state: AtomicU8,
}

impl Gate {
    /// From now on `task` is woken.
    pub(super) fn attach(&self, task: &Waker) {
        let mut slot = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.as_mut() {
            Some(held) => held.clone_from(task),
            None => *slot = Some(task.clone()),
        }
    }

    /// From now on nobody is woken.
    pub(super) fn detach(&self) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Runs `work`, which touches the connection's queues, without being woken by that, and says
    /// whether a wake-up came meanwhile: whoever does not poll the connection next must then see
    /// to it, as it may have been the socket's.
    pub(super) fn muted<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        self.state.store(MUTED, Ordering::Release);
        let done = work();
        (done, self.state.swap(OPEN, Ordering::AcqRel) == MUTED_AND_WOKEN)
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let muted = self.state.compare_exchange(
            MUTED,
            MUTED_AND_WOKEN,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if muted == Err(OPEN)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

const OPEN: u8 = 0;
const MUTED: u8 = 1;
const MUTED_AND_WOKEN: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_the_attached_task_is_woken_and_not_while_muted() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let gate = Arc::new(Gate::default());
        let waker = Waker::from(Arc::clone(&gate));
        let counts = || (first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed));

        waker.wake_by_ref();
        gate.attach(&Waker::from(Arc::clone(&first)));
        waker.wake_by_ref();
        assert_eq!(counts(), (1, 0));
        gate.attach(&Waker::from(Arc::clone(&second)));
        waker.wake_by_ref();
        assert_eq!(counts(), (1, 1));
        assert_eq!(gate.muted(|| waker.wake_by_ref()), ((), true));
        assert_eq!(gate.muted(|| ()), ((), false));
        gate.detach();
        waker.wake_by_ref();
        assert_eq!(counts(), (1, 1));
    }
}
