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
    /// The request or its route had less time than a connection may take, or waited for another's.
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
        let connect = exchange.connect();
        let tries = if self.settings.retries.attempts == 0 { 1 } else { TRIES };
        let mut tried = Vec::new();
        loop {
            let slot = exchange.slot();
            let member = pool.member(slot).ok_or(UpstreamFailure::Refused)?;
            let wait = Wait::of(Instant::now(), self.settings.timeouts.connect, connect, deadline);
            let opening = async {
                match purpose {
                    Purpose::Requests => self.open_to(worker, pool, slot, &member, wait).await,
                    Purpose::Switch => self.open_for_a_switch(worker, pool, &member, wait).await,
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

    /// Where requests share a connection, one opens it and the others wait for it, each for no longer
    /// than its [`Wait`] says, the wait for a place apart. Who gives up while it opens one leaves that
    /// to the next, which begins anew.
    async fn open_to(
        &self,
        worker: WorkerIndex,
        pool: &Arc<Pool>,
        slot: usize,
        member: &Member,
        mut wait: Wait,
    ) -> Result<Line, NotOpened> {
        let by = |blame| move |failure| NotOpened { failure, blame };
        let until = wait.end();
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
        wait.for_a_place(waited);
        let blame = |failure| wait.not_opened(failure);
        let deadline = wait.end();
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
        mut wait: Wait,
    ) -> Result<Line, NotOpened> {
        let (place, waited) = match self.place(worker, pool, NO_SLOT, wait.end()).await {
            Some((Turn::Open(place), waited)) => (place, waited),
            Some((Turn::Take(link), _)) => return Ok(Line::Http1(link)),
            None => return Err(NotOpened::busy()),
        };
        wait.for_a_place(waited);
        let opened = connect(&member.target, Purpose::Switch, place, wait.end()).await;
        match opened.map_err(|failure| wait.not_opened(failure))? {
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
}

/// How long one request waits for a connection to one member.
struct Wait {
    /// When the request has no more time at all.
    deadline: Instant,
    /// When its route has it give up, or the upstream does where the route says nothing.
    own: Instant,
    /// When a member that is well has opened one.
    whole: Instant,
}

impl Wait {
    /// From now on: `connect` is the upstream's, `of_route` stands in its place.
    fn of(now: Instant, connect: Duration, of_route: Option<Duration>, deadline: Instant) -> Self {
        let whole = later(now, connect);
        let own = of_route.map_or(whole, |connect| later(now, connect));
        Self { deadline, own, whole }
    }

    fn end(&self) -> Instant {
        self.deadline.min(self.own)
    }

    /// What a place was waited for is no part of opening.
    fn for_a_place(&mut self, waited: Duration) {
        self.own += waited;
        self.whole += waited;
    }

    /// A connection that failed: one that had less time than the upstream's own says nothing of its
    /// member, or an impatient route would keep the others from it.
    fn not_opened(&self, failure: UpstreamFailure) -> NotOpened {
        let is_cut_short = failure == UpstreamFailure::TimedOut && self.end() < self.whole;
        NotOpened { failure, blame: if is_cut_short { Blame::Nobody } else { Blame::Member } }
    }
}

/// That of a request which can take over no connection as it is.
const NO_SLOT: usize = usize::MAX;
/// How many members one request tries to reach.
const TRIES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_less_time_than_the_upstream_gives_blames_nobody() {
        let ms = Duration::from_millis;
        #[rustfmt::skip]
        let cases = [
            // upstream, route,          whole request, waits, whose fault no connection in time is
            (ms(200),    None,           ms(900),       200,   Blame::Member),
            (ms(200),    None,           ms(100),       100,   Blame::Nobody),
            (ms(200),    Some(ms(50)),   ms(900),        50,   Blame::Nobody),
            (ms(200),    Some(ms(200)),  ms(900),       200,   Blame::Member),
            (ms(200),    Some(ms(500)),  ms(900),       500,   Blame::Member),
            (ms(200),    Some(ms(500)),  ms(300),       300,   Blame::Member),
            (ms(200),    Some(ms(500)),  ms(100),       100,   Blame::Nobody),
        ];
        let now = Instant::now();
        for (upstream, route, request, waits_ms, blame) in cases {
            let case = format!("{upstream:?}, {route:?}, {request:?}");
            let mut wait = Wait::of(now, upstream, route, now + request);
            assert_eq!(wait.end() - now, ms(waits_ms), "{case}");
            assert_eq!(wait.not_opened(UpstreamFailure::TimedOut).blame, blame, "{case}");
            assert_eq!(wait.not_opened(UpstreamFailure::Refused).blame, Blame::Member, "{case}");
            wait.for_a_place(ms(1));
            let longer = (waits_ms + 1).min(request.as_millis() as u64);
            assert_eq!(wait.end() - now, ms(longer), "{case}: a place is waited for apart");
        }
    }
}
