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

use super::balance::{Load, choose, dice, next};
use super::connect::Protocol;
use super::http1::Link;
use super::quota::Quota;
use crate::body::Body;
use crate::config;
use crate::reject::UpstreamFailure;

/// One worker's part of an upstream. Aligned so that no two workers share a cache line.
#[repr(align(128))]
pub(super) struct Pool {
    state: Mutex<State>,
    quota: Arc<Quota>,
    /// The most idle connections kept for one endpoint.
    idle_max: usize,
    /// How long one is kept unused, and how long a body may stand still.
    idle: Duration,
}

struct State {
    loads: Box<[Load]>,
    lines: Box<[Lines]>,
    in_flight: usize,
    /// Places taken from the quota and not in use.
    held: usize,
    dice: u64,
    is_swept: bool,
}

/// What is open to one endpoint.
#[derive(Default)]
struct Lines {
    #[expect(clippy::vec_box, reason = "a link's box moves between pool, exchange and body")]
    idle: Vec<Box<Link>>,
    http2: Option<Shared>,
    /// What it spoke last, where that is agreed on anew for each connection.
    spoke: Option<Protocol>,
}

/// An HTTP/2 connection that requests share.
struct Shared {
    sender: SendRequest<Body>,
    used: Instant,
}

/// An open connection.
pub(super) enum Line {
    Http1(Box<Link>),
    Http2(SendRequest<Body>),
}

impl Pool {
    pub(super) fn new(settings: &config::Upstream, quota: Arc<Quota>, worker: usize) -> Self {
        let endpoints = settings.endpoints.len();
        let state = State {
            loads: vec![Load::default(); endpoints].into(),
            lines: (0..endpoints).map(|_| Lines::default()).collect(),
            in_flight: 0,
            held: 0,
            dice: worker as u64,
            is_swept: false,
        };
        Self {
            state: Mutex::new(state),
            quota,
            idle_max: settings.limits.idle_connections,
            idle: settings.timeouts.idle,
        }
    }

    /// Lets a request in and picks its endpoint, unless too many are under way. `idle` is how long a
    /// body of it may stand still, in place of the upstream's own.
    pub(super) fn enter(
        self: &Arc<Self>,
        now: Instant,
        idle: Option<Duration>,
    ) -> Result<InFlight, UpstreamFailure> {
        let mut state = self.lock();
        let State { loads, in_flight, held, dice: dice_state, .. } = &mut *state;
        if !self.quota.take(held) {
            return Err(UpstreamFailure::Busy);
        }
        let random = if loads.len() < 2 { 0 } else { dice(dice_state) };
        let endpoint = choose(loads, random, now);
        *in_flight += 1;
        if let Some(load) = loads.get_mut(endpoint) {
            load.in_flight += 1;
        }
        drop(state);
        let idle = idle.unwrap_or(self.idle);
        Ok(InFlight { pool: Some(Arc::clone(self)), endpoint, started: now, idle })
    }

    /// An open connection to an endpoint, if there is one that can be used.
    pub(super) fn take(&self, endpoint: usize, now: Instant) -> Option<Line> {
        let oldest = now.checked_sub(self.idle);
        loop {
            let mut link = match self.take_any(endpoint, now)? {
                Line::Http1(link) => link,
                http2 @ Line::Http2(_) => return Some(http2),
            };
            if link.is_usable(oldest) {
                return Some(Line::Http1(link));
            }
        }
    }

    fn take_any(&self, endpoint: usize, now: Instant) -> Option<Line> {
        let mut state = self.lock();
        let lines = state.lines.get_mut(endpoint)?;
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
    pub(super) fn share(self: &Arc<Self>, endpoint: usize, sender: SendRequest<Body>) {
        let mut state = self.lock();
        if let Some(lines) = state.lines.get_mut(endpoint) {
            lines.spoke = Some(Protocol::Http2);
            lines.http2 = Some(Shared { sender, used: Instant::now() });
        }
        self.have_swept(&mut state);
    }

    /// What an endpoint spoke last.
    pub(super) fn spoke(&self, endpoint: usize) -> Option<Protocol> {
        self.lock().lines.get(endpoint)?.spoke
    }

    /// Notes that an endpoint speaks HTTP/1.1.
    pub(super) fn speaks_http1(&self, endpoint: usize) {
        if let Some(lines) = self.lock().lines.get_mut(endpoint) {
            lines.spoke = Some(Protocol::Http1);
        }
    }

    /// Leaves an endpoint alone for a while, as it could not be reached.
    pub(super) fn mark_down(&self, endpoint: usize, now: Instant) {
        if let Some(load) = self.lock().loads.get_mut(endpoint) {
            load.down_until = Some(now + DOWN_FOR);
        }
    }

    /// Another endpoint, when those `tried` could not be reached.
    pub(super) fn other_than(&self, tried: &[usize], now: Instant) -> Option<usize> {
        next(&self.lock().loads, tried, now)
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// Idle HTTP/1.1 connections.
    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.lock().lines.iter().map(|lines| lines.idle.len()).sum()
    }

    fn put(self: &Arc<Self>, state: &mut State, endpoint: usize, link: Box<Link>) {
        if let Some(lines) = state.lines.get_mut(endpoint)
            && lines.idle.len() < self.idle_max
        {
            lines.idle.push(link);
            self.have_swept(state);
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
        let State { loads, lines, is_swept, .. } = &mut *state;
        *is_swept = false;
        for (lines, load) in lines.iter_mut().zip(loads) {
            lines.idle.retain_mut(|link| {
                link.forget_task();
                link.is_usable(oldest)
            });
            lines.http2.take_if(|shared| {
                let is_old = oldest.is_some_and(|oldest| shared.used < oldest);
                shared.sender.is_closed() || (is_old && load.in_flight == 0)
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
    endpoint: usize,
    started: Instant,
    idle: Duration,
}

impl InFlight {
    pub(super) const fn endpoint(&self) -> usize {
        self.endpoint
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// How long its answer's body may stand still.
    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }

    /// Goes to another endpoint.
    pub(super) fn move_to(&mut self, endpoint: usize) {
        let Some(pool) = &self.pool else { return };
        let mut state = pool.lock();
        if let Some(load) = state.loads.get_mut(self.endpoint) {
            load.in_flight -= 1;
        }
        if let Some(load) = state.loads.get_mut(endpoint) {
            load.in_flight += 1;
        }
        drop(state);
        self.endpoint = endpoint;
    }

    /// Is over, and leaves its connection for the next one.
    pub(super) fn leave(mut self, link: Box<Link>) {
        self.end(Some(link));
    }

    fn end(&mut self, link: Option<Box<Link>>) {
        let Some(pool) = self.pool.take() else { return };
        let mut state = pool.lock();
        state.in_flight -= 1;
        if let Some(load) = state.loads.get_mut(self.endpoint) {
            load.in_flight -= 1;
        }
        pool.quota.give(&mut state.held);
        if let Some(link) = link {
            pool.put(&mut state, self.endpoint, link);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// How long an endpoint that refused a connection is passed over.
const DOWN_FOR: Duration = Duration::from_secs(1);
/// How often idle connections are looked at: soon enough that those the upstream has closed do not
/// pile up, seldom enough to cost nothing.
const SWEEP_MAX: Duration = Duration::from_secs(5);
const SWEEP_MIN: Duration = Duration::from_millis(50);
