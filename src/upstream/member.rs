//! One address of an upstream, and how it does: shared by all workers.
//!
//! What is here is read when something has changed, not with each request: a worker keeps what it
//! needs in its [slots](super::slots) until the roster's edition or a moment says otherwise.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::balance::{FULL, number_of};
use super::breaker::{Breaker, Gate};
use super::connect::Target;
use super::health::Pulse;
use crate::base::time::{self, UnixSeconds};
use crate::config::{Ejection, EndpointAddress, Health};

/// A member.
pub(super) struct Member {
    /// Which of the configured endpoints it belongs to.
    pub(super) endpoint: usize,
    pub(super) target: Target,
    /// What hashing knows it by.
    pub(super) id: u64,
    /// One per worker: whoever holds it opens the connection that the others wait to share.
    pub(super) opening: Box<[tokio::sync::Mutex<()>]>,
    /// Whether an answer of it would change anything.
    is_troubled: AtomicBool,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    pulse: Pulse,
    /// Since when it is as it is.
    since: UnixSeconds,
    /// When it came, or came back; `None`: it was there from the start.
    came: Option<Instant>,
}

/// How a member does, as operators see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MemberState {
    /// Requests go there.
    Healthy,
    /// Its health checks fail.
    Unhealthy,
    /// It failed, and is left alone for a while.
    Ejected,
}

impl MemberState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Unhealthy, Self::Ejected];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }
}

/// What a member is to a worker that picks one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Requests may go there, by that weight.
    In(u8),
    /// They may not, before that moment.
    Out(Instant),
    /// They may not, until a check says so.
    Ill,
    /// One may, and no other before that moment: said once.
    Trial(Instant),
}

/// What a report changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Nothing,
    /// It began to fail.
    Troubled,
    /// It is as it should be.
    Recovered,
    /// Left alone from now on; whether it was known to fail before.
    Ejected {
        was_troubled: bool,
    },
    /// Ejected no more.
    Returned,
}

impl Member {
    pub(super) fn new(endpoint: usize, target: Target, workers: usize, from: Start) -> Self {
        let address = target.address.to_string();
        let came = match from {
            Start::Outset => None,
            Start::Later(now) => Some(now),
        };
        let state = State {
            breaker: Breaker::default(),
            pulse: Pulse::default(),
            since: time::now().unix,
            came,
        };
        Self {
            endpoint,
            target,
            id: number_of(address.as_bytes()),
            opening: (0..workers).map(|_| tokio::sync::Mutex::new(())).collect(),
            is_troubled: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(super) const fn address(&self) -> &EndpointAddress {
        &self.target.address
    }

    /// Whether an answer of it is worth a [report](Self::succeeded).
    pub(super) fn is_troubled(&self) -> bool {
        self.is_troubled.load(Relaxed)
    }

    pub(super) fn state(&self) -> (MemberState, UnixSeconds) {
        let state = self.lock();
        let is = match (state.pulse.is_ill(), state.breaker.is_open()) {
            (true, _) => MemberState::Unhealthy,
            (false, true) => MemberState::Ejected,
            (false, false) => MemberState::Healthy,
        };
        (is, state.since)
    }

    /// What it is to the worker that asks.
    pub(super) fn standing(
        &self,
        settings: &Ejection,
        slow_start: Duration,
        now: Instant,
    ) -> Standing {
        let mut state = self.lock();
        if state.pulse.is_ill() {
            return Standing::Ill;
        }
        match state.breaker.gate(settings, now) {
            Gate::Open(until) => Standing::Out(until),
            Gate::Trial => Standing::Trial(now + settings.time),
            Gate::Closed => Standing::In(weight(state.came, slow_start, now)),
        }
    }

    /// A request to it failed, and that was its own fault.
    pub(super) fn failed(&self, settings: &Ejection, may_eject: bool, now: Instant) -> Change {
        let mut state = self.lock();
        let was_troubled = self.is_troubled.swap(true, Relaxed);
        if state.breaker.failed(settings, may_eject, now) {
            state.since = time::now().unix;
            return Change::Ejected { was_troubled };
        }
        if was_troubled { Change::Nothing } else { Change::Troubled }
    }

    /// A request to it was answered.
    pub(super) fn succeeded(&self, now: Instant) -> Change {
        let mut state = self.lock();
        let has_returned = state.breaker.succeeded(now);
        if state.breaker.is_open() || !self.is_troubled.swap(false, Relaxed) {
            return Change::Nothing;
        }
        if !has_returned {
            return Change::Recovered;
        }
        (state.since, state.came) = (time::now().unix, Some(now));
        Change::Returned
    }

    /// A health check was good or not. Gives whether that changed anything.
    pub(super) fn checked(&self, settings: &Health, is_good: bool, now: Instant) -> bool {
        let mut state = self.lock();
        let has_changed = state.pulse.checked(settings, is_good);
        if has_changed {
            state.since = time::now().unix;
            state.came = is_good.then_some(now).or(state.came);
        }
        has_changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when a member is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// Since its upstream is: all of its members begin together, and none of them slowly.
    Outset,
    /// Since then.
    Later(Instant),
}

/// The weight of a member that came at that moment: it grows evenly.
fn weight(came: Option<Instant>, slow_start: Duration, now: Instant) -> u8 {
    let Some(came) = came.filter(|_| !slow_start.is_zero()) else { return FULL };
    let share = now.saturating_duration_since(came).as_secs_f64() / slow_start.as_secs_f64();
    let weight = (share.min(1.0) * f64::from(FULL)) as u8;
    weight.max(WEIGHT_MIN)
}

/// A member that starts gets requests from the first moment on: a twentieth of its share.
const WEIGHT_MIN: u8 = FULL / 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_one_that_starts_slowly_grows_evenly() {
        let (now, slow) = (Instant::now(), Duration::from_secs(30));
        let after = |seconds| weight(Some(now), slow, now + Duration::from_secs(seconds));
        assert_eq!((after(0), after(15), after(30), after(99)), (WEIGHT_MIN, 127, FULL, FULL));
        assert_eq!(weight(None, slow, now), FULL, "there from the start");
        assert_eq!(weight(Some(now), Duration::ZERO, now), FULL, "slow start is off");
    }
}
