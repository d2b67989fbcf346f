//! The members of an upstream as they are now: one for a literal address or a socket, one for each
//! address of a name. Shared by all workers, which learn of a change by the number of the edition.

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::connect::Target;
use super::member::{Change, Member, MemberState, Standing, Start};
use crate::config::{self, Ejection, EndpointAddress, Health};
use crate::telemetry::UpstreamEvents;

/// The members, and what becomes of them.
pub(super) struct Roster {
    name: Box<str>,
    targets: Box<[Target]>,
    workers: usize,
    eject: Ejection,
    slow_start: Duration,
    members: ArcSwap<Vec<Arc<Member>>>,
    edition: AtomicU64,
    /// How many members have failed and not answered since.
    troubled: AtomicUsize,
    /// Held by whoever changes the list.
    changing: Mutex<()>,
    pub(super) events: UpstreamEvents,
}

impl Roster {
    /// Each endpoint is one member at first. A name is looked up for each connection until its
    /// addresses are known.
    pub(super) fn new(
        settings: &config::Upstream,
        targets: Vec<Target>,
        workers: usize,
        events: UpstreamEvents,
    ) -> Self {
        let member = |(endpoint, target): (usize, &Target)| {
            Arc::new(Member::new(endpoint, target.clone(), workers, Start::Outset))
        };
        let members = targets.iter().enumerate().map(member).collect();
        Self {
            name: settings.name.clone(),
            targets: targets.into(),
            workers,
            eject: settings.eject.clone(),
            slow_start: settings.slow_start,
            members: ArcSwap::from_pointee(members),
            edition: AtomicU64::new(1),
            troubled: AtomicUsize::new(0),
            changing: Mutex::new(()),
            events,
        }
    }

    /// Changes whenever what [`members`](Self::members) or [`standing`](Self::standing) say does.
    /// Cost: one load.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Acquire)
    }

    pub(super) fn members(&self) -> Arc<Vec<Arc<Member>>> {
        self.members.load_full()
    }

    /// How many of an upstream's members are in each state.
    pub(super) fn count(&self) -> [(MemberState, usize); MemberState::ALL.len()] {
        let members = self.members.load();
        MemberState::ALL
            .map(|state| (state, members.iter().filter(|one| one.state().0 == state).count()))
    }

    /// What a member is to the worker that asks.
    pub(super) fn standing(&self, member: &Member, now: Instant) -> Standing {
        member.standing(&self.eject, self.slow_start, now)
    }

    /// Whether weights change with time.
    pub(super) const fn starts_slowly(&self) -> Option<Duration> {
        if self.slow_start.is_zero() { None } else { Some(self.slow_start) }
    }

    /// An endpoint's name has these addresses now. None at all is no answer: the old ones stay.
    pub(super) fn resolved(&self, endpoint: usize, mut addresses: Vec<SocketAddr>, now: Instant) {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let Some(target) = self.targets.get(endpoint) else { return };
        if addresses.is_empty() || !matches!(target.address, EndpointAddress::Name(..)) {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.members();
        let after = merged(&before, endpoint, &addresses, |address, start| {
            let target =
                Target { address: EndpointAddress::Ip(address), security: target.security.clone() };
            Arc::new(Member::new(endpoint, target, self.workers, start(now)))
        });
        let is_same = before.len() == after.len()
            && before.iter().zip(&after).all(|(before, after)| Arc::ptr_eq(before, after));
        if is_same {
            return;
        }
        let (upstream, count) = (&*self.name, addresses.len());
        tracing::info!(upstream, addresses = count, "the addresses of an endpoint changed");
        self.members.store(Arc::new(after));
        self.changed();
    }

    /// Whether any member's answer is worth a report. Cost: one load.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Relaxed) > 0
    }

    /// A request to a member failed, and that was the member's fault.
    pub(super) fn failed(&self, member: &Member, now: Instant) {
        // The last one is kept: where all fail, one of them is tried all the same.
        let may_eject = self.members.load().iter().any(|other| {
            !std::ptr::eq(&raw const **other, member) && other.state().0 == MemberState::Healthy
        });
        match member.failed(&self.eject, may_eject, now) {
            Change::Ejected { was_troubled } => {
                self.troubled.fetch_add(usize::from(!was_troubled), Relaxed);
                self.events.ejected();
                let (upstream, address) = (&*self.name, member.address());
                tracing::warn!(upstream, %address, "an upstream's member failed and was ejected");
                self.changed();
            }
            Change::Troubled => drop(self.troubled.fetch_add(1, Relaxed)),
            Change::Nothing | Change::Recovered | Change::Returned => {}
        }
    }

    /// A request to a member was answered.
    pub(super) fn succeeded(&self, member: &Member, now: Instant) {
        match member.succeeded(now) {
            Change::Returned => {
                self.troubled.fetch_sub(1, Relaxed);
                let (upstream, address) = (&*self.name, member.address());
                tracing::info!(upstream, %address, "an ejected member of an upstream is back");
                self.changed();
            }
            Change::Recovered => drop(self.troubled.fetch_sub(1, Relaxed)),
            Change::Nothing | Change::Troubled | Change::Ejected { .. } => {}
        }
    }

    /// A health check of a member was good or not.
    pub(super) fn checked(&self, member: &Member, settings: &Health, is_good: bool, now: Instant) {
        self.events.checked(is_good);
        if !member.checked(settings, is_good, now) {
            return;
        }
        let (upstream, address) = (&*self.name, member.address());
        match is_good {
            true => tracing::info!(upstream, %address, "a member of an upstream is well again"),
            false => tracing::warn!(upstream, %address, "a member of an upstream is unwell"),
        }
        self.changed();
    }

    fn changed(&self) {
        self.edition.fetch_add(1, Release);
    }
}

/// The members after a look-up: those whose address is still there are the same ones, and stand
/// where they stood. The first addresses of an endpoint do not start slowly: nobody else is there.
fn merged(
    before: &[Arc<Member>],
    endpoint: usize,
    addresses: &[SocketAddr],
    new: impl Fn(SocketAddr, fn(Instant) -> Start) -> Arc<Member>,
) -> Vec<Arc<Member>> {
    let is_at = |member: &&Arc<Member>, address: &SocketAddr| {
        member.endpoint == endpoint
            && matches!(member.address(), EndpointAddress::Ip(known) if known == address)
    };
    let is_first = !before
        .iter()
        .any(|one| one.endpoint == endpoint && matches!(one.address(), EndpointAddress::Ip(_)));
    let start: fn(Instant) -> Start = if is_first { |_| Start::Outset } else { Start::Later };
    let own = addresses.iter().map(|address| {
        let known = before.iter().find(|member| is_at(member, address));
        known.map_or_else(|| new(*address, start), Arc::clone)
    });
    let (lower, higher): (Vec<_>, Vec<_>) = before
        .iter()
        .filter(|member| member.endpoint != endpoint)
        .map(Arc::clone)
        .partition(|member| member.endpoint < endpoint);
    lower.into_iter().chain(own).chain(higher).collect()
}

/// Addresses of one name that count.
const ADDRESSES_MAX: usize = 64;
