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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_the_wait_whatever_the_timer_was_set_to_before() {
        let start = Instant::now();
        let mut wait = Wait::new(start);
        assert!(poll_fn(|cx| Poll::Ready(wait.poll_over(cx))).await.is_pending(), "none is set");
        for (after_s, over_s) in [(10, 10), (5, 15), (60, 75)] {
            wait.until(Instant::now() + Duration::from_secs(after_s));
            poll_fn(|cx| wait.poll_over(cx)).await;
            assert_eq!(Instant::now().duration_since(start).as_secs(), over_s);
        }
        wait.until(Instant::now() + Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(wait.poll_over(cx))).await.is_pending());
        wait.until(Instant::now() + Duration::from_secs(1));
        poll_fn(|cx| wait.poll_over(cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 76, "a shorter one after");
        wait.stop();
        assert!(!wait.is_on());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_task_that_waits_is_woken() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let woken = || (first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed));
        let mut wait = Wait::new(Instant::now());
        for (task, expected) in [(&first, (1, 0)), (&second, (1, 1))] {
            wait.until(Instant::now() + Duration::from_secs(1));
            let waker = Waker::from(Arc::clone(task));
            assert!(wait.poll_over(&mut Context::from_waker(&waker)).is_pending());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(woken(), expected);
        }
        let waker = Waker::from(Arc::clone(&first));
        wait.until(Instant::now() + Duration::from_secs(1));
        assert!(wait.poll_over(&mut Context::from_waker(&waker)).is_pending());
        wait.forget_task();
        assert_eq!(Arc::strong_count(&first), 2, "this test and its waker");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(woken(), (1, 1));
    }
}
