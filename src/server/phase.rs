//! Where the process stands between its start and its end, as every connection hears of it.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use tokio::sync::watch;
use tokio::task::coop::unconstrained;

/// Where the process stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Accepting.
    Serving,
    /// No more connections; those that are open end after the requests they have.
    Draining,
}

/// Tells all of them.
#[derive(Debug)]
pub(super) struct PhaseSender(watch::Sender<Phase>);

/// Hears of it. While one of them lives, somebody is still at work.
pub(super) struct PhaseReceiver {
    receiver: watch::Receiver<Phase>,
    draining: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    /// Who will be woken.
    listening: Option<Waker>,
}

impl PhaseSender {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    pub(super) fn subscribe(&self) -> PhaseReceiver {
        PhaseReceiver::new(self.0.subscribe())
    }

    /// Waits until no receiver is left.
    pub(super) async fn all_gone(&self) {
        self.0.closed().await;
    }
}

impl PhaseReceiver {
    fn new(receiver: watch::Receiver<Phase>) -> Self {
        let mut heard = receiver.clone();
        let draining = async move {
            let _ = heard.wait_for(|phase| *phase != Phase::Serving).await;
        };
        Self { receiver, draining: Some(Box::pin(draining)), listening: None }
    }

    /// Whether the process has begun to drain: true once, then never again.
    ///
    /// Cost while nothing has changed and the same task asks again: one load. To ask the future
    /// each time would take a lock that all connections of all workers share.
    ///
    /// Why unconstrained: a task that has used up its share would be told to come back, and nobody
    /// would be told whom to wake.
    pub(super) fn poll_draining(&mut self, context: &mut Context<'_>) -> bool {
        let is_listening =
            self.listening.as_ref().is_some_and(|task| task.will_wake(context.waker()));
        if is_listening && matches!(self.receiver.has_changed(), Ok(false)) {
            return false;
        }
        let Some(draining) = &mut self.draining else {
            return false;
        };
        self.listening = Some(context.waker().clone());
        let has_begun = pin!(unconstrained(draining.as_mut())).poll(context).is_ready();
        if has_begun {
            self.draining = None;
        }
        has_begun
    }

    /// Waits until the process drains.
    pub(super) async fn draining(&mut self) {
        let _ = self.receiver.wait_for(|phase| *phase != Phase::Serving).await;
    }
}

impl Clone for PhaseReceiver {
    fn clone(&self) -> Self {
        Self::new(self.receiver.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    #[tokio::test]
    async fn draining_is_heard_once_and_the_last_receiver_is_waited_for() {
        let sender = PhaseSender::new();
        let mut receiver = sender.subscribe();
        let hear = |receiver: &mut PhaseReceiver, context: &mut Context<'_>| {
            Poll::Ready(receiver.poll_draining(context))
        };
        assert!(!poll_fn(|context| hear(&mut receiver, context)).await);
        sender.enter(Phase::Draining);
        assert!(poll_fn(|context| hear(&mut receiver, context)).await);
        assert!(!poll_fn(|context| hear(&mut receiver, context)).await);
        drop(receiver);
        sender.all_gone().await;
    }

    #[tokio::test]
    async fn a_task_that_had_used_up_its_share_when_it_asked_hears_of_it() {
        let sender = PhaseSender::new();
        let mut receiver = sender.subscribe();
        let mut polls = 0;
        let hearing = tokio::spawn(poll_fn(move |context| {
            polls += 1;
            // As a connection does that has read and written much in one turn.
            while polls == 1 && has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(context);
            }
            if receiver.poll_draining(context) { Poll::Ready(()) } else { Poll::Pending }
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
        sender.enter(Phase::Draining);
        let heard = tokio::time::timeout(Duration::from_secs(1), hearing).await;
        assert!(heard.is_ok());
    }
}
