//! Where permitted requests go: endpoints, connections, and the exchange itself.
//!
//! [`forward`] takes the proof of a decision and a request whose headers are final; it gives the
//! upstream's answer or says why there is none.
//!
//! # What holds
//! * No request without a [`Permit`].
//! * A request is sent again `retries.attempts` times, once by default, within a
//!   [budget], and only if it cannot be done twice by that, or may be:
//!   - nothing of it was sent;
//!   - or the upstream says that it did nothing with it (RFC 9113 §8.7: streams it refused), and it
//!     has no body;
//!   - or a connection that was in use before closed without a byte of an answer, as one does that
//!     was idle for too long (RFC 9112 §9.3.1), the method is idempotent (RFC 9110 §9.2.2: not
//!     POST, not PATCH, none that we do not know) and nothing of its body was taken.
//! * A connection carries another request only if the last answer was read to its end and nothing
//!   else has come over it.
//! * Whoever drops the future or the answer's body calls the request off: the connection is closed
//!   or the stream reset.
//!
//! An upstream that closes an idle connection in the moment in which we write to it still fails a
//! POST with 502: nobody knows what was done with it. Its keep-alive time-out should be longer
//! than `timeouts.idle`.
//!
//! # Members
//! An endpoint's literal address or socket is one member; a name is one for each of its addresses,
//! looked up by [`tend`] every `resolve`. The [roster] has them, a [breaker] each leaves those alone
//! that fail, [health] checks those that say they are unwell, and each worker has its own [slots]
//! with connections to them. Which one a request goes to is decided by [balance]; how many
//! connections there may be, and who waits for one, by [places].
//!
//! Cost of an exchange over a pooled HTTP/1.1 connection: two uncontended locks of the pool, one
//! clock read, no task and, in steady use, no timer; two allocations for a small answer (see
//! [`http1`]).

mod balance;
mod breaker;
mod budget;
mod connect;
mod exchange;
mod health;
mod http1;
mod lines;
mod member;
mod message;
mod open;
mod patience;
mod places;
mod pool;
mod quota;
mod roster;
mod slots;
mod stream;
mod tend;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::base::time::UnixSeconds;
use crate::body::Body;
use crate::config::{self, Balance, HashKey, RouteTimeouts, tls};
use crate::policy::Permit;
use crate::reject::UpstreamFailure;
use crate::telemetry::UpstreamEvents;
use balance::number_of;
use connect::{Protocol, Security, Target};
use exchange::Unanswered;
use member::Member;
use places::Places;
use pool::Pool;
use quota::Quota;
use roster::Roster;

pub use crate::config::tls::TlsError as UpstreamError;
pub use member::MemberState;
pub use tend::tend;
pub use upgrade::{Switched, Switching, switch};

/// Which of the threads that serve requests this is, counted from zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkerIndex(usize);

impl WorkerIndex {
    /// The worker of that number.
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// One `[upstreams.NAME]`, live: shared by all workers, with a pool of connections for each.
pub struct Upstream {
    settings: config::Upstream,
    roster: Arc<Roster>,
    places: Arc<Places>,
    pools: Box<[Arc<Pool>]>,
    addresses_known: AtomicBool,
}

/// Sends a request to an upstream and gives its answer, whose body comes as it is read.
///
/// `request` has its final headers, `Host` among them; its target is sent as it is. It must have
/// the version its caller spoke. What `timeouts` has takes the place of the upstream's own: `header`
/// is from now to the end of the answer's head. Its `total` is the caller's business.
///
/// # Errors
/// Why there is no answer. If the request's own body is at fault, its
/// [`RequestWatch`](crate::body::RequestWatch) says so, and this error means nothing.
///
/// Why not an `async fn`: the request goes to its connection before anything is waited for, and
/// should not take room in the future of every caller.
pub fn forward(
    permit: &Permit,
    upstream: &Upstream,
    worker: WorkerIndex,
    request: Request<Body>,
    timeouts: RouteTimeouts,
) -> impl Future<Output = Result<Response<Body>, UpstreamFailure>> {
    let key = upstream.key(permit, &request);
    upstream.exchange(worker, request, key, timeouts)
}

impl Upstream {
    /// Builds what the settings say, for that many workers. Opens nothing.
    ///
    /// # Errors
    /// TLS settings that cannot work.
    pub fn new(
        settings: config::Upstream,
        workers: usize,
        events: UpstreamEvents,
    ) -> Result<Self, UpstreamError> {
        let workers = workers.max(1);
        let roster = Arc::new(Roster::new(&settings, targets(&settings)?, workers, events));
        let quota = Arc::new(Quota::new(settings.limits.requests, workers));
        let places = Places::new(settings.limits.connections);
        let pool = |worker| {
            let bounds = (Arc::clone(&quota), Arc::clone(&places));
            Arc::new(Pool::new(&settings, bounds, Arc::clone(&roster), worker))
        };
        let pools = (0..workers).map(pool).collect();
        Ok(Self { settings, roster, places, pools, addresses_known: AtomicBool::new(false) })
    }

    /// What it was built from.
    pub const fn settings(&self) -> &config::Upstream {
        &self.settings
    }

    /// Requests under way, all workers together.
    pub fn in_flight(&self) -> usize {
        self.pools.iter().map(|pool| pool.in_flight()).sum()
    }

    /// How its connections stand.
    pub fn connections(&self) -> ConnectionsStatus {
        ConnectionsStatus {
            open: self.places.taken(),
            most: self.places.most(),
            waiting: self.places.waiting(),
        }
    }

    /// Whether an address of it is known.
    pub fn addresses_known(&self) -> bool {
        self.addresses_known.load(Ordering::Relaxed)
    }

    /// How it does: each member with its address, state and requests under way.
    pub fn members(&self) -> Vec<MemberStatus> {
        let members = self.roster.members();
        let status = |member: &Arc<Member>| {
            let (state, since) = member.state();
            let endpoint = self.settings.endpoints.get(member.endpoint);
            let (endpoint, address) =
                (endpoint.map(ToString::to_string).unwrap_or_default(), member.address());
            let in_flight = self.pools.iter().map(|pool| pool.in_flight_to(member)).sum();
            MemberStatus { endpoint, address: address.to_string(), state, since, in_flight }
        };
        members.iter().map(status).collect()
    }

    /// How many members are in each state.
    pub fn member_counts(&self) -> [(MemberState, usize); MemberState::ALL.len()] {
        self.roster.count()
    }

    /// What a request's member is chosen by, where equal ones go to the same.
    fn key(&self, permit: &Permit, request: &Request<Body>) -> Option<u64> {
        let Balance::Hash(key) = &self.settings.balance else { return None };
        let bytes = match key {
            HashKey::ClientId => permit.token()?.client_id()?.as_bytes(),
            HashKey::Subject => permit.token()?.subject()?.as_bytes(),
            HashKey::Header(name) => request.headers().get(name)?.as_bytes(),
        };
        Some(number_of(bytes))
    }
}

/// The connections to an upstream, all workers and members together.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionsStatus {
    /// How many are open, or are being opened; health checks apart.
    pub open: usize,
    /// How many may be.
    pub most: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// How one member of an upstream does.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// The endpoint as configured.
    pub endpoint: String,
    /// Where it is.
    pub address: String,
    /// Whether it gets requests.
    pub state: MemberState,
    /// Since when it is in that state.
    pub since: UnixSeconds,
    /// Requests under way to it, all workers together.
    pub in_flight: usize,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Upstream")
            .field("name", &self.settings.name)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// All TLS endpoints of an upstream share one connector, and with it the sessions to resume.
fn targets(settings: &config::Upstream) -> Result<Vec<Target>, UpstreamError> {
    let mut shared = None;
    let mut targets = Vec::with_capacity(settings.endpoints.len());
    for endpoint in &settings.endpoints {
        let security = match Protocol::without_tls(endpoint.protocol) {
            Some(protocol) => Security::Plain(protocol),
            None => {
                let connector = match &shared {
                    Some(connector) => TlsConnector::clone(connector),
                    None => shared.insert(connector(&settings.tls)?).clone(),
                };
                Security::Tls(connector, tls::server_name(&settings.tls, &endpoint.address)?)
            }
        };
        targets.push(Target { address: endpoint.address.clone(), security });
    }
    Ok(targets)
}

fn connector(settings: &config::UpstreamTls) -> Result<TlsConnector, UpstreamError> {
    Ok(TlsConnector::from(Arc::new(tls::client_config(settings)?)))
}

/// The moment that much later; a duration beyond any sense is cut, as adding it could overflow.
fn later(now: Instant, duration: Duration) -> Instant {
    now + duration.min(FOREVER)
}

/// Longer than any exchange.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests;
