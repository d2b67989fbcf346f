//! A connection for a request: opened to its member, or to another one if that cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connect::{Protocol, Purpose, connect};
use super::http1::Link;
use super::lines::Line;
use super::member::Member;
use super::places::{Asked, Turn};
use super::pool::{InFlight, Pool};
use super::{Upstream, WorkerIndex, later, stream};
use crate::reject::UpstreamFailure;
use crate::telemetry::{RetryOutcome, RetryReason};

/// Why there is no connection.
struct NotOpened {
    failure: UpstreamFailure,
    blame: Blame,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Blame {
    Member,
    /// The request had less time than a connection may take, or waited for another's.
    Nobody,
}

impl Upstream {
    /// Opens a connection, to another member if the first cannot be reached. `exchange` moves
    /// along.
    ///
    /// Why no budget for that: nothing was sent, and whoever is tried next gets no more requests
    /// than there are.
    pub(super) async fn open(
        &self,
        worker: WorkerIndex,
        exchange: &mut InFlight,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Line, UpstreamFailure> {
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Busy)?;
        let tries = if self.settings.retries.attempts == 0 { 1 } else { TRIES };
        let mut tried = Vec::new();
        loop {
            let slot = exchange.slot();
            let member = pool.member(slot).ok_or(UpstreamFailure::Refused)?;
            let opening = async {
                match purpose {
                    Purpose::Requests => self.open_to(worker, pool, slot, &member, deadline).await,
                    Purpose::Switch => {
                        self.open_for_a_switch(worker, pool, &member, deadline).await
                    }
                }
            };
            let NotOpened { failure, blame } = match Box::pin(opening).await {
                Ok(line) => return Ok(line),
                Err(not_opened) => not_opened,
            };
            let now = Instant::now();
            tried.push(slot);
            if blame == Blame::Member {
                pool.mark_down(slot, now);
                self.roster.failed(&member, now);
            }
            // Who found no place has waited for long enough, and would elsewhere find none either.
            let is_busy = failure == UpstreamFailure::Busy;
            if is_busy || tries <= tried.len() || deadline <= now {
                return Err(failure);
            }
            let other = pool.other_than(&tried, exchange, now).ok_or(failure)?;
            self.roster.events.retried(RetryReason::Unreachable, RetryOutcome::Sent);
            exchange.move_to(other);
            if purpose == Purpose::Requests
                && let Some(line) = pool.take(other, now)
            {
                return Ok(line);
            }
        }
    }

    /// Where requests share a connection, one opens it and the others wait for it, all of them for
    /// no longer than `timeouts.connect`, the wait for a place apart.
    async fn open_to(
        &self,
        worker: WorkerIndex,
        pool: &Arc<Pool>,
        slot: usize,
        member: &Member,
        deadline: Instant,
    ) -> Result<Line, NotOpened> {
        let whole = later(Instant::now(), self.settings.timeouts.connect);
        let by = |blame| move |failure| NotOpened { failure, blame };
        let until = deadline.min(whole);
        let expected = member.target.security.protocol().or_else(|| pool.spoke(slot));
        let opening = match member.opening.get(worker.get()) {
            Some(opening) if expected != Some(Protocol::Http1) => {
                let held = timeout_at(until, opening.lock()).await;
                Some(held.map_err(|_| by(Blame::Nobody)(self.waited_in_vain()))?)
            }
            _ => None,
        };
        if opening.is_some()
            && let Some(line) = pool.take(slot, Instant::now())
        {
            return Ok(line);
        }
        let (place, waited) = match self.place(worker, pool, slot, until).await {
            Some((Turn::Open(place), waited)) => (place, waited),
            Some((Turn::Take(link), _)) => return Ok(Line::Http1(link)),
            None => return Err(NotOpened::busy()),
        };
        let whole = whole + waited;
        let blame = |failure| NotOpened::of(failure, deadline, whole);
        let deadline = deadline.min(whole);
        let connected = connect(&member.target, Purpose::Requests, place, deadline).await;
        let (stream, protocol) = connected.map_err(blame)?;
        match protocol {
            Protocol::Http1 => {
                pool.speaks_http1(slot);
                Ok(Line::Http1(Link::start(stream)))
            }
            Protocol::Http2 => {
                let sender = timeout_at(deadline, stream::start(stream))
                    .await
                    .map_err(|_| UpstreamFailure::TimedOut)
                    .and_then(|started| started)
                    .map_err(blame)?;
                pool.share(slot, sender.clone());
                Ok(Line::Http2(sender))
            }
        }
    }

    /// Opens one that no other request gets.
    async fn open_for_a_switch(
        &self,
        worker: WorkerIndex,
        pool: &Pool,
        member: &Member,
        deadline: Instant,
    ) -> Result<Line, NotOpened> {
        let whole = later(Instant::now(), self.settings.timeouts.connect);
        let (place, waited) = match self.place(worker, pool, NO_SLOT, deadline.min(whole)).await {
            Some((Turn::Open(place), waited)) => (place, waited),
            Some((Turn::Take(link), _)) => return Ok(Line::Http1(link)),
            None => return Err(NotOpened::busy()),
        };
        let whole = whole + waited;
        let blame = |failure| NotOpened::of(failure, deadline, whole);
        let opened = connect(&member.target, Purpose::Switch, place, deadline.min(whole)).await;
        match opened.map_err(blame)? {
            (stream, Protocol::Http1) => Ok(Line::Http1(Link::start(stream))),
            // It speaks HTTP/2 alone, or chose what it was not offered.
            (_, Protocol::Http2) => {
                Err(NotOpened { failure: UpstreamFailure::Refused, blame: Blame::Nobody })
            }
        }
    }

    /// The right to open a connection, or one of that slot that came free meanwhile, and how long
    /// that was waited for; `None`: there was none by then.
    async fn place(
        &self,
        worker: WorkerIndex,
        pool: &Pool,
        slot: usize,
        until: Instant,
    ) -> Option<(Turn, Duration)> {
        let asked = Instant::now();
        loop {
            let stand = match self.places.ask((worker.get(), slot)) {
                Asked::Given(place) => return Some((Turn::Open(place), Instant::now() - asked)),
                Asked::Queued(stand) => stand,
            };
            // After that: what is left idle from now on sees that somebody waits.
            self.close_idle(worker);
            let turn = timeout_at(until, stand.turn()).await.ok().flatten();
            self.roster.events.waited(turn.is_some());
            let waited = Instant::now() - asked;
            match turn? {
                // One that is no good is closed, and its place is somebody's.
                Turn::Take(link) => {
                    if let Some(link) = pool.checked(link, Instant::now()) {
                        return Some((Turn::Take(link), waited));
                    }
                }
                open @ Turn::Open(_) => return Some((open, waited)),
            }
        }
    }

    /// Closes a connection that carries nothing: one of this worker's, else of another.
    fn close_idle(&self, worker: WorkerIndex) {
        let (before, from) = self.pools.split_at_checked(worker.get()).unwrap_or_default();
        let _ = from.iter().chain(before).any(|pool| pool.close_idle());
    }

    /// Why a connection that another request was to open is not there.
    fn waited_in_vain(&self) -> UpstreamFailure {
        match self.places.waiting() {
            0 => UpstreamFailure::TimedOut,
            _ => UpstreamFailure::Busy,
        }
    }
}

impl NotOpened {
    /// Every place was taken for too long.
    const fn busy() -> Self {
        Self { failure: UpstreamFailure::Busy, blame: Blame::Nobody }
    }

    /// A connection that failed, with the time that it had and the time that it may take.
    fn of(failure: UpstreamFailure, deadline: Instant, whole: Instant) -> Self {
        let is_cut_short = failure == UpstreamFailure::TimedOut && deadline < whole;
        Self { failure, blame: if is_cut_short { Blame::Nobody } else { Blame::Member } }
    }
}

/// That of a request which can take over no connection as it is.
const NO_SLOT: usize = usize::MAX;
/// How many members one request tries to reach.
const TRIES: usize = 3;
