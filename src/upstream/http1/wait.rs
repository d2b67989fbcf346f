//! A deadline whose timer is set anew only when it has to be.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline on one connection, for one exchange after the other.
///
/// A timer that runs out early finds that the deadline lies later, and is set once more. So a
/// connection in steady use touches the timer once per time-out, not once per request.
pub(super) struct Wait {
    timer: Pin<Box<Sleep>>,
    deadline: Option<Instant>,
    /// Whom the timer wakes; `None`: it is not set.
    task: Option<Waker>,
}

impl Wait {
    pub(super) fn new(now: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(now)), deadline: None, task: None }
    }

    pub(super) const fn until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    pub(super) const fn stop(&mut self) {
        self.deadline = None;
    }

    pub(super) const fn is_on(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready once the deadline has passed, which wakes the task. Cost while it has not and the
    /// task is the same as before: one atomic load.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        loop {
            if self.task.is_none() || deadline < self.timer.deadline() {
                self.set(deadline);
            } else if self.timer.is_elapsed() {
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
                self.set(deadline);
            }
            if self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            ready!(self.attach(cx));
        }
    }

    /// Wakes nobody from now on, and holds on to no task.
    pub(super) fn forget_task(&mut self) {
        if self.task.take().is_some() {
            let _ = self.attach(&mut Context::from_waker(Waker::noop()));
            self.task = None;
        }
    }

    fn set(&mut self, deadline: Instant) {
        self.timer.as_mut().reset(deadline);
        self.task = None;
    }

    /// Why unconstrained: a task that has used up its share would be told to come back, and the
    /// timer not whom to wake.
    fn attach(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.task = Some(cx.waker().clone());
        pin!(unconstrained(self.timer.as_mut())).poll(cx)
    }
}
