//! A gateway: the configuration at work, and what becomes of a request under it.
//!
//! A request's way is [`pipeline`]: `decide` finds its route and judges its credential, `serve` sends
//! it on. [`Gateway::handle`] stands around that: it makes the answer of whatever came out.

mod certificates;
mod clients;
mod connection;
mod context;
mod departure;
mod doors;
mod entry;
mod explain;
mod handover;
mod holding;
mod linger;
mod metadata;
mod pipeline;
mod proving;
mod refusals;
mod revoking;
mod route;
mod snapshot;
mod unparsed;
mod upgrade;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::runtime::Handle;

pub use certificates::CertificateStatus;
pub use connection::{Connection, Worker};
pub use explain::{Explanation, Mark, Outcome, Question, Sent, Step};
pub use handover::{Handover, Upgrade};
pub use route::{Admission, Route, Terms};
pub use snapshot::{BuildError, Snapshot};

use self::context::Context;
use self::pipeline::serve;
use self::refusals::Refusals;
use self::snapshot::Ground;
use crate::base::time;
use crate::body::{Body, RequestWatch};
use crate::config::Config;
use crate::reject::{Bound, MalformedRequest, Rejection};
use crate::revocation::Use;
use crate::telemetry::Metrics;

/// A gateway: the snapshot of the moment and what all snapshots have in common.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    ground: Ground,
    process: u64,
    is_draining: AtomicBool,
    /// What the last configuration that was refused was refused for, and when.
    refused: Mutex<Option<RefusedConfiguration>>,
    /// Held while a snapshot takes the place of another: nothing that was changed is lost.
    changing: Mutex<()>,
    certificates: ArcSwap<Vec<CertificateStatus>>,
    refusals: Refusals,
}

/// A configuration that was not taken up.
#[derive(Clone, Debug)]
pub struct RefusedConfiguration {
    /// When.
    pub at: time::UnixSeconds,
    /// Why, as the operator reads it.
    pub why: String,
}

impl Gateway {
    /// Puts a configuration to work. What is no request runs on `control`.
    ///
    /// # Errors
    /// When the configuration cannot be put to work.
    pub fn new(config: Config, control: Handle) -> Result<Self, BuildError> {
        Self::made(config, Ground::new(control, Use::Serving))
    }

    /// The same for who only asks what would become of a request: what another process may be
    /// serving by is left as it is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn onlooker(config: Config, control: Handle) -> Result<Self, BuildError> {
        Self::made(config, Ground::new(control, Use::Looking))
    }

    fn made(config: Config, ground: Ground) -> Result<Self, BuildError> {
        let snapshot = Snapshot::build(&ground, config, None)?;
        let process = random_number();
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            ground,
            process,
            is_draining: AtomicBool::new(false),
            refused: Mutex::new(None),
            changing: Mutex::default(),
            certificates: ArcSwap::default(),
            refusals: Refusals::default(),
        })
    }

    /// One of the threads that serve requests, counted from 0.
    pub fn worker(&self, index: usize) -> Worker {
        Worker::new(index, self.process)
    }

    /// The configuration at work.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The numbers.
    pub fn metrics(&self) -> &Metrics {
        &self.ground.metrics
    }

    /// Takes up a new configuration; requests in flight end under the old one. The number of
    /// workers stays what it was at the start.
    ///
    /// # Errors
    /// When it cannot be put to work; the old one then goes on.
    pub fn take_up(&self, mut config: Config) -> Result<(), BuildError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        config.workers = before.config().workers;
        let snapshot = Snapshot::build(&self.ground, config, Some(&before))?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Changes the configuration at work: what has other settings by that is made anew, with
    /// connections of its own, as by a reload. `change` says whether there is anything to change;
    /// gives that.
    ///
    /// # Errors
    /// When it cannot be put to work; the old one then goes on.
    pub fn change(&self, change: impl FnOnce(&mut Config) -> bool) -> Result<bool, BuildError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        let mut config = before.config().clone();
        if !change(&mut config) {
            return Ok(false);
        }
        let snapshot = Snapshot::build(&self.ground, config, Some(&before))?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(true)
    }

    /// Takes note of how certificates stand.
    pub fn publish_certificates(&self, certificates: Vec<CertificateStatus>) {
        self.certificates.store(Arc::new(certificates));
    }

    /// How certificates stand, as was published last.
    pub fn certificates(&self) -> Arc<Vec<CertificateStatus>> {
        self.certificates.load_full()
    }

    /// Remembers how taking up a configuration ended, for `/status` and the metrics.
    pub fn reloaded(&self, outcome: &Result<(), String>) {
        self.metrics().reloaded(outcome.is_ok());
        let refused = outcome
            .as_ref()
            .err()
            .map(|why| RefusedConfiguration { at: time::now().unix, why: why.clone() });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    /// The configuration that was refused since the one at work was taken up.
    pub fn refused_configuration(&self) -> Option<RefusedConfiguration> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on `/readyz` says no.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    /// Whether new work may be sent here: not while draining, and not before the key sets and
    /// upstream addresses are known.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.unready().is_empty()
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// What is not there yet: names of authorization servers and upstreams.
    pub fn unready(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let upstreams = snapshot.upstreams().filter(|upstream| !upstream.addresses_known());
        let upstreams = upstreams.map(|one| format!("upstreams.{}", one.settings().name));
        self.unready_servers().chain(upstreams).collect()
    }

    /// The authorization servers of which not all is known yet that requests need. Of one whose tokens
    /// no route takes the keys are nobody's concern; where it gives tokens to clients of ours must be
    /// known.
    pub fn unready_servers(&self) -> impl Iterator<Item = String> + use<> {
        let snapshot = self.snapshot();
        let config = snapshot.config();
        let is_asked = |index| config.routes.iter().any(|route| route.servers.contains(&index));
        let gives = |index| config.clients.iter().any(|client| client.server == index);
        let servers = snapshot.servers().iter().enumerate();
        let unready = servers.filter(|(index, server)| match is_asked(*index) {
            true => !server.is_ready(),
            false => gives(*index) && server.token_endpoint().is_none(),
        });
        let names =
            unready.map(|(_, one)| format!("authorization_servers.{}", one.settings().name));
        names.collect::<Vec<_>>().into_iter()
    }

    /// Answers one request: by the upstream if it may go there, by a refusal if not. An answer that
    /// came while the request's body was still being sent has its [`RequestWatch`] with it, and one
    /// that switches protocols its [`Handover`].
    ///
    /// Why not an `async fn`: it would have room for the request twice, whole and in parts, and
    /// hyper moves each future about before it begins.
    pub fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> impl Future<Output = Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let mut body = Some(body);
        async move {
            let snapshot = connection.worker.hold().current(&self.snapshot);
            let leaves = upgrade::must_close(&parts);
            let mut context = Context::new(&snapshot, connection, &parts, time::now());
            let served = serve(&mut context, &mut parts, &mut body).await;
            let unfinished = context.sending.take().filter(RequestWatch::is_streaming);
            let mut response = match served {
                Ok(response) => context.finish(response),
                Err(rejection) => {
                    self.refusals.keep(&context, &parts, &rejection);
                    context.refuse(&rejection, &parts.headers)
                }
            };
            if let Some(unread) = body {
                linger::keep_open(unread, parts.version);
            }
            if let Some(watch) = unfinished {
                response.extensions_mut().insert(watch);
            }
            if leaves && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }

    /// The answer to a request that could not be parsed: the bytes, in HTTP/1.1.
    pub fn unparsed(&self, connection: &Connection, status: StatusCode) -> Vec<u8> {
        let rejection = match status {
            StatusCode::URI_TOO_LONG => Rejection::TooLarge(Bound::Target),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Rejection::TooLarge(Bound::Header),
            StatusCode::REQUEST_TIMEOUT => Rejection::TooSlow,
            _ => Rejection::RequestMalformed(MalformedRequest::Framing),
        };
        let snapshot = self.snapshot();
        unparsed::unparsed(&snapshot, &rejection, connection)
    }

    /// Makes a worker let go of a configuration that is no longer at work. Its next request would
    /// do so too, but may be long in coming.
    pub fn settle(&self, worker: &Worker) {
        worker.hold().current(&self.snapshot);
    }
}

/// A number that tells this process from others: in request ids and in `Via`.
fn random_number() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no TLS either; a number that is not random is then no loss.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
