//! Where permitted requests go: endpoints, connections, and the exchange itself.
//!
//! [`forward`] takes the proof of a decision and a request whose headers are final; it gives the
//! upstream's answer or says why there is none.
//!
//! # What holds
//! * No request without a [`Permit`].
//! * A request is sent again only once, and only if it cannot be done twice by that, or may be:
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
//! Cost of an exchange over a pooled HTTP/1.1 connection: two uncontended locks of the pool, one
//! clock read, no task and, in steady use, no timer; two allocations for a small answer (see
//! [`http1`]).

mod balance;
mod connect;
mod http1;
mod message;
mod patience;
mod pool;
mod quota;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use http::uri::Scheme;
use http::{Request, Response};
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::body::Body;
use crate::config::{self, RouteTimeouts, tls};
use crate::policy::Permit;
use crate::reject::UpstreamFailure;
use connect::{Protocol, Security, Target, connect, resolve};
use http1::Link;
use pool::{InFlight, Line, Pool};
use quota::Quota;

pub use crate::config::tls::TlsError as UpstreamError;

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
    endpoints: Box<[Endpoint]>,
    pools: Box<[Arc<Pool>]>,
    addresses_known: AtomicBool,
}

struct Endpoint {
    target: Target,
    /// One per worker: whoever holds it opens the connection that the others wait to share.
    opening: Box<[tokio::sync::Mutex<()>]>,
}

/// Sends a request to an upstream and gives its answer, whose body comes as it is read.
///
/// `request` has its final headers, `Host` among them; its target is sent as it is. It must have
/// the version its caller spoke. What `timeouts` has takes the place of the upstream's own: `header` is
/// from now to the end of the answer's head. Its `total` is the caller's business.
///
/// # Errors
/// Why there is no answer. If the request's own body is at fault, its
/// [`RequestWatch`](crate::body::RequestWatch) says so, and this error means nothing.
///
/// Why not an `async fn`: the request goes to its connection before anything is waited for, and
/// should not take room in the future of every caller.
pub fn forward(
    _permit: &Permit,
    upstream: &Upstream,
    worker: WorkerIndex,
    request: Request<Body>,
    timeouts: RouteTimeouts,
) -> impl Future<Output = Result<Response<Body>, UpstreamFailure>> {
    upstream.exchange(worker, request, timeouts)
}

impl Upstream {
    /// Builds what the settings say, for that many workers. Opens nothing.
    ///
    /// # Errors
    /// TLS settings that cannot work.
    pub fn new(settings: config::Upstream, workers: usize) -> Result<Self, UpstreamError> {
        let workers = workers.max(1);
        let targets = targets(&settings)?;
        let opening = || (0..workers).map(|_| tokio::sync::Mutex::new(())).collect();
        let endpoints =
            targets.into_iter().map(|target| Endpoint { target, opening: opening() }).collect();
        let quota = Arc::new(Quota::new(settings.limits.requests, workers));
        let pools = (0..workers)
            .map(|worker| Arc::new(Pool::new(&settings, Arc::clone(&quota), worker)))
            .collect();
        Ok(Self { settings, endpoints, pools, addresses_known: AtomicBool::new(false) })
    }

    /// What it was built from.
    pub const fn settings(&self) -> &config::Upstream {
        &self.settings
    }

    /// Requests under way, all workers together.
    pub fn in_flight(&self) -> usize {
        self.pools.iter().map(|pool| pool.in_flight()).sum()
    }

    /// Whether [`resolve`](Self::resolve) has found an address.
    pub fn addresses_known(&self) -> bool {
        self.addresses_known.load(Ordering::Relaxed)
    }

    /// Looks the endpoints' names up, until one has an address; for readiness only, as every new
    /// connection looks its own up.
    pub async fn resolve(&self) -> bool {
        for endpoint in &self.settings.endpoints {
            let is_known = match &endpoint.address {
                config::EndpointAddress::Unix(_) => true,
                address => resolve(address).await.is_ok_and(|found| !found.is_empty()),
            };
            if is_known {
                self.addresses_known.store(true, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    fn exchange(
        &self,
        worker: WorkerIndex,
        request: Request<Body>,
        timeouts: RouteTimeouts,
    ) -> impl Future<Output = Result<Response<Body>, UpstreamFailure>> {
        match self.begin(worker, request, timeouts) {
            Ok((sent, deadline)) => {
                Either::Left(sent.then(move |sent| self.settle(worker, sent, deadline)))
            }
            Err(failure) => Either::Right(ready(Err(failure))),
        }
    }

    /// Sends once more what may be sent again.
    fn settle(
        &self,
        worker: WorkerIndex,
        sent: Sent,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, UpstreamFailure>> {
        match sent {
            Err(Unanswered::Unsent(request, exchange)) => {
                let again = Box::pin(self.send_anew(worker, *request, exchange, deadline));
                Either::Left(again.map(|sent| sent.map_err(Unanswered::failure)))
            }
            sent => Either::Right(ready(sent.map_err(Unanswered::failure))),
        }
    }

    /// Gives a request to a connection that is open, or to one that will be.
    fn begin(
        &self,
        worker: WorkerIndex,
        mut request: Request<Body>,
        timeouts: RouteTimeouts,
    ) -> Result<(impl Future<Output = Sent>, Instant), UpstreamFailure> {
        if request.body().watch().fault().is_some() {
            return Err(UpstreamFailure::Reset);
        }
        let version = request.version();
        request.body_mut().framed_by(version);
        // What the server side has put there is about the caller's connection.
        request.extensions_mut().clear();
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Busy)?;
        let now = Instant::now();
        let deadline = later(now, timeouts.header.unwrap_or(self.settings.timeouts.header));
        let exchange = pool.enter(now, timeouts.idle)?;
        let sent = match pool.take(exchange.endpoint(), now) {
            Some(line) => Either::Left(self.send(line, request, exchange, deadline)),
            // Boxed, as this is rare and every request would carry its size around.
            None => Either::Right(Box::pin(self.send_anew(worker, request, exchange, deadline))),
        };
        Ok((sent, deadline))
    }

    /// Sends over a connection that is opened for it, unless another request has opened one to
    /// share meanwhile.
    async fn send_anew(
        &self,
        worker: WorkerIndex,
        request: Request<Body>,
        mut exchange: InFlight,
        deadline: Instant,
    ) -> Result<Response<Body>, Unanswered> {
        let line = self.open(worker, &mut exchange, deadline).await.map_err(Unanswered::Failed)?;
        self.send(line, request, exchange, deadline).await
    }

    /// Why not an `async fn`: one more of them would carry the request around once more.
    fn send(
        &self,
        line: Line,
        request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, Unanswered>> {
        match line {
            Line::Http1(link) => Either::Left(link.send(request, exchange, deadline)),
            Line::Http2(sender) => {
                let scheme = self.scheme(exchange.endpoint());
                // Boxed, so that HTTP/1.1 does not carry its size around.
                let sent = stream::send(sender, request, scheme, exchange, deadline);
                Either::Right(Box::pin(sent))
            }
        }
    }

    /// Opens a connection, to another endpoint if the first cannot be reached. `exchange` moves
    /// along.
    async fn open(
        &self,
        worker: WorkerIndex,
        exchange: &mut InFlight,
        deadline: Instant,
    ) -> Result<Line, UpstreamFailure> {
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Busy)?;
        let mut tried = Vec::new();
        loop {
            let endpoint = exchange.endpoint();
            let failure = match Box::pin(self.open_to(worker, endpoint, deadline)).await {
                Ok(line) => return Ok(line),
                Err(failure) => failure,
            };
            let now = Instant::now();
            tried.push(endpoint);
            pool.mark_down(endpoint, now);
            if TRIES <= tried.len() || deadline <= now {
                return Err(failure);
            }
            let other = pool.other_than(&tried, now).ok_or(failure)?;
            exchange.move_to(other);
            if let Some(line) = pool.take(other, now) {
                return Ok(line);
            }
        }
    }

    /// Where requests share a connection, one opens it and the others wait for it, all of them for
    /// no longer than `timeouts.connect`.
    async fn open_to(
        &self,
        worker: WorkerIndex,
        at: usize,
        deadline: Instant,
    ) -> Result<Line, UpstreamFailure> {
        let endpoint = self.endpoints.get(at).ok_or(UpstreamFailure::Refused)?;
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Refused)?;
        let deadline = deadline.min(later(Instant::now(), self.settings.timeouts.connect));
        let expected = endpoint.target.security.protocol().or_else(|| pool.spoke(at));
        let opening = match endpoint.opening.get(worker.get()) {
            Some(opening) if expected != Some(Protocol::Http1) => {
                let held = timeout_at(deadline, opening.lock()).await;
                Some(held.map_err(|_| UpstreamFailure::TimedOut)?)
            }
            _ => None,
        };
        if opening.is_some()
            && let Some(line) = pool.take(at, Instant::now())
        {
            return Ok(line);
        }
        let (stream, protocol) = connect(&endpoint.target, deadline).await?;
        match protocol {
            Protocol::Http1 => {
                pool.speaks_http1(at);
                Ok(Line::Http1(Link::start(stream)))
            }
            Protocol::Http2 => {
                let sender = timeout_at(deadline, stream::start(stream))
                    .await
                    .map_err(|_| UpstreamFailure::TimedOut)??;
                pool.share(at, sender.clone());
                Ok(Line::Http2(sender))
            }
        }
    }

    fn scheme(&self, endpoint: usize) -> Scheme {
        match self.endpoints.get(endpoint).map(|endpoint| &endpoint.target.security) {
            Some(Security::Tls(..)) => Scheme::HTTPS,
            Some(Security::Plain(_)) | None => Scheme::HTTP,
        }
    }
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

/// How an exchange over one connection ended.
type Sent = Result<Response<Body>, Unanswered>;

/// A request that got no answer.
enum Unanswered {
    /// Nothing was done with it, or it may be done twice: it may be sent again.
    Unsent(Box<Request<Body>>, InFlight),
    /// The end of it.
    Failed(UpstreamFailure),
}

impl Unanswered {
    fn from_error(mut error: TrySendError<Request<Body>>, exchange: InFlight) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), exchange),
            None => Self::Failed(message::failure_of(error.error())),
        }
    }

    fn failure(self) -> UpstreamFailure {
        match self {
            Self::Unsent(..) => UpstreamFailure::Reset,
            Self::Failed(failure) => failure,
        }
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

/// How many endpoints one request tries to reach.
const TRIES: usize = 3;
/// Longer than any exchange.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests;
