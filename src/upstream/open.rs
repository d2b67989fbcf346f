//! A connection for a request: opened to its member, or to another one if that cannot be reached.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::connect::{Protocol, Purpose, connect};
use super::http1::Link;
use super::member::Member;
use super::pool::{InFlight, Line, Pool};
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
                    Purpose::Switch => self.open_for_a_switch(&member, deadline).await,
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
            if tries <= tried.len() || deadline <= now {
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
    /// no longer than `timeouts.connect`.
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
        let blame = |failure| NotOpened::of(failure, deadline, whole);
        let deadline = deadline.min(whole);
        let expected = member.target.security.protocol().or_else(|| pool.spoke(slot));
        let opening = match member.opening.get(worker.get()) {
            Some(opening) if expected != Some(Protocol::Http1) => {
                let held = timeout_at(deadline, opening.lock()).await;
                Some(held.map_err(|_| by(Blame::Nobody)(UpstreamFailure::TimedOut))?)
            }
            _ => None,
        };
        if opening.is_some()
            && let Some(line) = pool.take(slot, Instant::now())
        {
            return Ok(line);
        }
        let (stream, protocol) =
            connect(&member.target, Purpose::Requests, deadline).await.map_err(blame)?;
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
        member: &Member,
        deadline: Instant,
    ) -> Result<Line, NotOpened> {
        let whole = later(Instant::now(), self.settings.timeouts.connect);
        let blame = |failure| NotOpened::of(failure, deadline, whole);
        let opened = connect(&member.target, Purpose::Switch, deadline.min(whole)).await;
        match opened.map_err(blame)? {
            (stream, Protocol::Http1) => Ok(Line::Http1(Link::start(stream))),
            // It speaks HTTP/2 alone, or chose what it was not offered.
            (_, Protocol::Http2) => {
                Err(NotOpened { failure: UpstreamFailure::Refused, blame: Blame::Nobody })
            }
        }
    }
}

impl NotOpened {
    /// A connection that failed, with the time that it had and the time that it may take.
    fn of(failure: UpstreamFailure, deadline: Instant, whole: Instant) -> Self {
        let is_cut_short = failure == UpstreamFailure::TimedOut && deadline < whole;
        Self { failure, blame: if is_cut_short { Blame::Nobody } else { Blame::Member } }
    }
}

/// How many members one request tries to reach.
const TRIES: usize = 3;
