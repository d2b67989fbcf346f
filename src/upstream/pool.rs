//! The connections of one worker to one upstream, and what is under way on them.
//!
//! One pool per worker: a connection belongs to the runtime that drives it, and nothing here is
//! written by two threads on the hot path. The lock is there because types cannot say so.
//!
//! Idle HTTP/1.1 connections are a stack: the one used last is the least likely to be closed under
//! our hands, and what is not needed ages at the bottom until the sweep takes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::time::{Instant, sleep};

use super::budget::Budget;
use super::connect::Protocol;
use super::http1::Link;
use super::lines::{Line, Shared};
use super::member::Member;
use super::places::Places;
use super::quota::Quota;
use super::roster::Roster;
use super::slots::{Slot, Slots};
use crate::body::Body;
use crate::config::{self, RouteTimeouts};
use crate::reject::UpstreamFailure;

/// One worker's part of an upstream. Aligned so that no two workers share a cache line.
#[repr(align(128))]
pub(super) struct Pool {
    state: Mutex<State>,
    quota: Arc<Quota>,
    places: Arc<Places>,
    roster: Arc<Roster>,
    worker: usize,
    /// The most idle connections kept for one member.
    idle_max: usize,
    /// How long one is kept unused, and how long a body may stand still.
    idle: Duration,
}

struct State {
    slots: Slots,
    in_flight: usize,
    /// Places taken from the quota and not in use.
    held: usize,
    budget: Budget,
    is_swept: bool,
}

impl Pool {
    pub(super) fn new(
        settings: &config::Upstream,
        (quota, places): (Arc<Quota>, Arc<Places>),
        roster: Arc<Roster>,
        worker: usize,
    ) -> Self {
        let state = State {
            slots: Slots::new(&roster, &settings.balance, worker, Instant::now()),
            in_flight: 0,
            held: 0,
            budget: Budget::new(settings.retries.budget_percent),
            is_swept: false,
        };
        Self {
            state: Mutex::new(state),
            quota,
            places,
            roster,
            worker,
            idle_max: settings.limits.idle_connections,
            idle: settings.timeouts.idle,
        }
    }

    /// Lets a request in and picks its member, by `key` if it has one, unless too many are under
    /// way. What `timeouts` has takes the place of the upstream's own.
    pub(super) fn enter(
        self: &Arc<Self>,
        key: Option<u64>,
        now: Instant,
        timeouts: &RouteTimeouts,
    ) -> Result<InFlight, UpstreamFailure> {
        let mut state = self.lock();
        let State { slots, in_flight, held, budget, .. } = &mut *state;
        if !self.quota.take(held) {
            return Err(UpstreamFailure::Busy);
        }
        budget.earn();
        slots.sync(&self.roster, now);
        // There is always one: a roster has no way to become empty.
        let at = slots.pick(key).unwrap_or_default();
        *in_flight += 1;
        if let Some(slot) = slots.get_mut(at) {
            slot.in_flight += 1;
        }
        drop(state);
        let idle = timeouts.idle.unwrap_or(self.idle);
        let connect_ms = timeouts.connect.map_or(0, whole_ms);
        let (pool, slot) = (Some(Arc::clone(self)), at as u32);
        Ok(InFlight { pool, slot, connect_ms, key, started: now, idle })
    }

    /// The member in a slot that a request is under way to.
    pub(super) fn member(&self, slot: usize) -> Option<Arc<Member>> {
        self.lock().slots.get(slot).map(|slot| Arc::clone(slot.member()))
    }

    /// Pays for sending a request again, unless too many were.
    pub(super) fn spend(&self, now: Instant) -> bool {
        self.lock().budget.spend(now)
    }

    /// An open connection to a member, if there is one that can be used.
    pub(super) fn take(&self, slot: usize, now: Instant) -> Option<Line> {
        let oldest = now.checked_sub(self.idle);
        loop {
            let mut link = match self.take_any(slot, now)? {
                Line::Http1(link) => link,
                http2 @ Line::Http2(_) => return Some(http2),
            };
            if link.is_usable(oldest) {
                return Some(Line::Http1(link));
            }
        }
    }

    /// A connection that was idle, if it can be used.
    pub(super) fn checked(&self, mut link: Box<Link>, now: Instant) -> Option<Box<Link>> {
        link.is_usable(now.checked_sub(self.idle)).then_some(link)
    }

    /// Closes a connection that carries nothing, the one that was used least lately if there are
    /// several of HTTP/1.1; false: there is none.
    pub(super) fn close_idle(&self) -> bool {
        // Closed when the lock is given back: its place may be somebody's at once.
        let closed = self.lock().slots.iter_mut().find_map(Slot::take_idle);
        closed.is_some()
    }

    fn take_any(&self, slot: usize, now: Instant) -> Option<Line> {
        let mut state = self.lock();
        let lines = &mut state.slots.get_mut(slot)?.lines;
        if let Some(shared) = &mut lines.http2 {
            if !shared.sender.is_closed() {
                shared.used = now;
                return Some(Line::Http2(shared.sender.clone()));
            }
            lines.http2 = None;
        }
        lines.idle.pop().map(Line::Http1)
    }

    /// Lets others use an HTTP/2 connection.
    pub(super) fn share(self: &Arc<Self>, slot: usize, sender: SendRequest<Body>) {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(slot) = state.slots.get_mut(slot) {
            slot.lines.spoke = Some(Protocol::Http2);
            slot.lines.http2 = Some(Shared { sender, opened: now, used: now });
        }
        self.have_swept(&mut state);
    }

    /// Lets no more requests use an HTTP/2 connection that was open at that moment. Those under way
    /// go on.
    #[cold]
    fn give_up_shared(&self, slot: usize, open_at: Instant) {
        let mut state = self.lock();
        let slot = state.slots.get_mut(slot);
        let given_up =
            slot.and_then(|slot| slot.lines.http2.take_if(|shared| shared.opened <= open_at));
        drop(state);
        drop(given_up);
    }

    /// What a member spoke last.
    pub(super) fn spoke(&self, slot: usize) -> Option<Protocol> {
        self.lock().slots.get(slot)?.lines.spoke
    }

    /// Notes that a member speaks HTTP/1.1.
    pub(super) fn speaks_http1(&self, slot: usize) {
        if let Some(slot) = self.lock().slots.get_mut(slot) {
            slot.lines.spoke = Some(Protocol::Http1);
        }
    }

    /// Leaves a member alone for a while, as it could not be reached.
    pub(super) fn mark_down(&self, slot: usize, now: Instant) {
        self.lock().slots.mark_down(slot, now + DOWN_FOR);
    }

    /// Another member for a request, when those `tried` were of no use.
    pub(super) fn other_than(
        &self,
        tried: &[usize],
        exchange: &InFlight,
        now: Instant,
    ) -> Option<usize> {
        let mut state = self.lock();
        state.slots.sync(&self.roster, now);
        state.slots.pick_other(tried, exchange.key)
    }

    /// Requests of this worker under way to a member.
    pub(super) fn in_flight_to(&self, member: &Arc<Member>) -> usize {
        let state = self.lock();
        let mut slots = state.slots.iter();
        slots.find(|slot| Arc::ptr_eq(slot.member(), member)).map_or(0, |slot| slot.in_flight)
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// Idle HTTP/1.1 connections.
    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.lock().slots.iter().map(|slot| slot.lines.idle.len()).sum()
    }

    /// Members that there is room for.
    #[cfg(test)]
    pub(super) fn slot_count(&self) -> usize {
        self.lock().slots.iter().count()
    }

    fn put(self: &Arc<Self>, state: &mut State, slot: usize, link: Box<Link>) {
        if let Some(slot) = state.slots.get_mut(slot)
            && slot.lines.idle.len() < self.idle_max
            && !slot.is_retired()
        {
            slot.lines.idle.push(link);
            self.have_swept(state);
        }
    }

    /// Lets go of what somebody waits for: a connection of HTTP/1.1 as it is, one of HTTP/2 as soon
    /// as the last request on it is over. This worker's next requests stand in line then, too:
    /// otherwise those of another might never get a connection.
    #[cold]
    fn pass_on(&self, mut state: MutexGuard<'_, State>, slot: usize, link: Option<Box<Link>>) {
        let shared = state.slots.get_mut(slot).and_then(|slot| slot.lines.http2.take());
        drop(state);
        drop(shared);
        if let Some(link) = link {
            self.places.pass_on((self.worker, slot), link);
        }
    }

    fn have_swept(self: &Arc<Self>, state: &mut State) {
        if !state.is_swept
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            state.is_swept = true;
            runtime.spawn(sweep(Arc::downgrade(self), self.idle.clamp(SWEEP_MIN, SWEEP_MAX)));
        }
    }

    /// Closes what is dead or unused for too long; false: nothing is left to look after.
    fn sweep(&self, now: Instant) -> bool {
        let oldest = now.checked_sub(self.idle);
        let mut state = self.lock();
        let State { slots, is_swept, .. } = &mut *state;
        *is_swept = false;
        // What vanished closes its connections even if no request comes.
        slots.sync(&self.roster, now);
        for slot in slots.iter_mut() {
            let (in_flight, is_retired) = (slot.in_flight, slot.is_retired());
            let lines = &mut slot.lines;
            lines.idle.retain_mut(|link| {
                link.forget_task();
                link.is_usable(oldest)
            });
            lines.http2.take_if(|shared| {
                let is_old = oldest.is_some_and(|oldest| shared.used < oldest);
                shared.sender.is_closed() || ((is_old || is_retired) && in_flight == 0)
            });
            *is_swept |= !lines.idle.is_empty() || lines.http2.is_some();
        }
        *is_swept
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after idle connections while there are any.
async fn sweep(pool: Weak<Pool>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.sweep(Instant::now()) {
            return;
        }
    }
}

/// A request that is under way: counted until this is dropped.
pub(super) struct InFlight {
    /// `None` once it is over.
    pool: Option<Arc<Pool>>,
    /// Half as wide as an index, so that the next one costs no room: every request carries this.
    slot: u32,
    /// How long it waits for a new connection, in place of the upstream's own; zero: as that says.
    connect_ms: u32,
    key: Option<u64>,
    started: Instant,
    idle: Duration,
}

impl InFlight {
    /// A health check, which counts for nothing.
    pub(super) const fn of_a_check(started: Instant, idle: Duration) -> Self {
        Self { pool: None, slot: 0, connect_ms: 0, key: None, started, idle }
    }

    /// Where its member is in the worker's pool, for as long as it is under way.
    pub(super) const fn slot(&self) -> usize {
        self.slot as usize
    }

    /// How long it waits for a new connection, where that is not the upstream's own.
    pub(super) const fn connect(&self) -> Option<Duration> {
        match self.connect_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms as u64)),
        }
    }

    /// Whether equal requests should go to the same member.
    pub(super) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// How long its answer's body may stand still.
    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }

    /// Was sent over HTTP/2 at that moment and got no answer in time: what is wrong with the
    /// connection cannot be known, so it takes no other request.
    pub(super) fn give_up_shared(&self, sent_at: Instant) {
        if let Some(pool) = &self.pool {
            pool.give_up_shared(self.slot(), sent_at);
        }
    }

    /// Goes to another member.
    pub(super) fn move_to(&mut self, slot: usize) {
        let Some(pool) = &self.pool else { return };
        let mut state = pool.lock();
        if let Some(before) = state.slots.get_mut(self.slot()) {
            before.in_flight -= 1;
        }
        if let Some(after) = state.slots.get_mut(slot) {
            after.in_flight += 1;
        }
        drop(state);
        self.slot = slot as u32;
    }

    /// Is over, and leaves its connection for the next one.
    pub(super) fn leave(mut self, link: Box<Link>) {
        self.end(Some(link));
    }

    fn end(&mut self, link: Option<Box<Link>>) {
        let Some(pool) = self.pool.take() else { return };
        let mut state = pool.lock();
        state.in_flight -= 1;
        if let Some(slot) = state.slots.get_mut(self.slot()) {
            slot.in_flight -= 1;
        }
        pool.quota.give(&mut state.held);
        // Under the lock: whoever has looked for an idle connection before is seen to wait.
        if pool.places.waiting() > 0 {
            return pool.pass_on(state, self.slot(), link);
        }
        if let Some(link) = link {
            pool.put(&mut state, self.slot(), link);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// In whole milliseconds, at least one; what is longer than 49 days is no bound of a wait.
fn whole_ms(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// How long a member that refused a connection is passed over by the worker that met it.
const DOWN_FOR: Duration = Duration::from_secs(1);
/// How often idle connections are looked at: soon enough that those the upstream has closed do not
/// pile up, seldom enough to cost nothing.
const SWEEP_MAX: Duration = Duration::from_secs(5);
const SWEEP_MIN: Duration = Duration::from_millis(50);
