//! One request and its answer: sent, sent again where that is safe, and told to the member's
//! breaker.

use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use http::uri::Scheme;
use http::{Request, Response, StatusCode};
use hyper::client::conn::TrySendError;
use tokio::time::Instant;

use super::connect::Purpose;
use super::lines::Line;
use super::pool::{InFlight, Pool};
use super::{Upstream, WorkerIndex, later, message, stream};
use crate::body::Body;
use crate::config::RouteTimeouts;
use crate::reject::UpstreamFailure;
use crate::telemetry::{RetryOutcome, RetryReason};

impl Upstream {
    pub(super) fn exchange(
        &self,
        worker: WorkerIndex,
        request: Request<Body>,
        key: Option<u64>,
        timeouts: RouteTimeouts,
    ) -> impl Future<Output = Result<Response<Body>, UpstreamFailure>> {
        match self.begin(worker, request, key, timeouts) {
            Ok(Begun { sent, pooled, deadline }) => Either::Left(sent.then(move |sent| {
                if let Some(slot) = pooled {
                    self.report(worker, slot, sent.as_ref().map(Response::status));
                }
                self.settle(worker, sent, deadline)
            })),
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
            Err(Unanswered::Unsent(unsent)) => {
                Either::Left(Box::pin(self.send_again(worker, unsent, deadline)))
            }
            sent => Either::Right(ready(sent.map_err(Unanswered::failure))),
        }
    }

    /// Gives a request to a connection that is open, or to one that will be.
    fn begin(
        &self,
        worker: WorkerIndex,
        mut request: Request<Body>,
        key: Option<u64>,
        timeouts: RouteTimeouts,
    ) -> Result<Begun<impl Future<Output = Sent>>, UpstreamFailure> {
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
        let exchange = pool.enter(key, now, &timeouts)?;
        let slot = exchange.slot();
        let (sent, pooled) = match pool.take(slot, now) {
            Some(line) => {
                let sent = self.send(worker, line, request, exchange, deadline);
                (Either::Left(sent), Some(slot))
            }
            // Boxed, as this is rare and every request would carry its size around.
            None => {
                let sent = Box::pin(self.send_anew(worker, request, exchange, deadline));
                (Either::Right(sent), None)
            }
        };
        Ok(Begun { sent, pooled, deadline })
    }

    async fn send_again(
        &self,
        worker: WorkerIndex,
        unsent: Box<Unsent>,
        deadline: Instant,
    ) -> Result<Response<Body>, UpstreamFailure> {
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Busy)?;
        let mut unsent = unsent;
        for _ in 0..self.settings.retries.attempts {
            let Unsent { request, mut exchange, reason } = *unsent;
            let now = Instant::now();
            let may = pool.spend(now);
            let outcome = if may { RetryOutcome::Sent } else { RetryOutcome::OverBudget };
            self.roster.events.retried(reason, outcome);
            if !may {
                break;
            }
            self.leave_member(pool, &mut exchange, reason, now);
            match self.send_anew(worker, request, exchange, deadline).await {
                Err(Unanswered::Unsent(again)) => unsent = again,
                sent => return sent.map_err(Unanswered::failure),
            }
        }
        Err(UpstreamFailure::Reset)
    }

    /// The second try goes to another member, where there is one. That a connection closed which
    /// had been idle says nothing of its member, and is no reason to part equal keys.
    fn leave_member(
        &self,
        pool: &Pool,
        exchange: &mut InFlight,
        reason: RetryReason,
        now: Instant,
    ) {
        let stays = exchange.has_key() && reason == RetryReason::Closed;
        if !stays && let Some(other) = pool.other_than(&[exchange.slot()], exchange, now) {
            exchange.move_to(other);
        }
    }

    /// Sends over a connection that is opened for it, unless another request has opened one to
    /// share meanwhile.
    async fn send_anew(
        &self,
        worker: WorkerIndex,
        request: Request<Body>,
        mut exchange: InFlight,
        deadline: Instant,
    ) -> Sent {
        let opened = self.open(worker, &mut exchange, Purpose::Requests, deadline).await;
        let line = opened.map_err(Unanswered::Blameless)?;
        let slot = exchange.slot();
        let sent = self.send(worker, line, request, exchange, deadline).await;
        self.report(worker, slot, sent.as_ref().map(Response::status));
        sent
    }

    /// Whoever awaits it reports how it ended.
    ///
    /// Why not an `async fn`: one more of them would carry the request around once more.
    fn send(
        &self,
        worker: WorkerIndex,
        line: Line,
        request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> impl Future<Output = Sent> {
        match line {
            Line::Http1(link) => Either::Left(link.send(request, exchange, deadline)),
            Line::Http2(sender) => {
                let scheme = self.scheme(worker, exchange.slot());
                // Boxed, so that HTTP/1.1 does not carry its size around.
                let sent = stream::send(sender, request, scheme, exchange, deadline);
                Either::Right(Box::pin(sent))
            }
        }
    }

    /// Tells the member's breaker how it went. Cost where no member fails: one load.
    ///
    /// The slot is still the member's although the exchange may be over: it is given to another
    /// one only when a request comes to this worker, and none can before this one goes on.
    pub(super) fn report(
        &self,
        worker: WorkerIndex,
        slot: usize,
        answered: Result<StatusCode, &Unanswered>,
    ) {
        let has_failed = match answered {
            Ok(status) => self.settings.eject.server_errors && status.is_server_error(),
            Err(Unanswered::Failed(_)) => true,
            Err(Unanswered::Unsent(_) | Unanswered::Blameless(_)) => return,
        };
        if has_failed || self.roster.is_troubled() {
            self.report_anything(worker, slot, has_failed);
        }
    }

    #[cold]
    fn report_anything(&self, worker: WorkerIndex, slot: usize, has_failed: bool) {
        let member = self.pools.get(worker.get()).and_then(|pool| pool.member(slot));
        match member {
            Some(member) if has_failed => self.roster.failed(&member, Instant::now()),
            Some(member) if member.is_troubled() => {
                self.roster.succeeded(&member, Instant::now());
            }
            Some(_) | None => {}
        }
    }

    fn scheme(&self, worker: WorkerIndex, slot: usize) -> Scheme {
        let member = self.pools.get(worker.get()).and_then(|pool| pool.member(slot));
        member.map_or(Scheme::HTTP, |member| member.target.security.scheme())
    }
}

/// A request that is on its way.
struct Begun<F> {
    sent: F,
    /// The slot of its member, where it went over a connection that was open. Where one is opened
    /// for it, the outcome has been reported when it is there.
    pooled: Option<usize>,
    deadline: Instant,
}

/// How an exchange over one connection ended.
pub(super) type Sent = Result<Response<Body>, Unanswered>;

/// A request that got no answer.
pub(super) enum Unanswered {
    /// Nothing was done with it, or it may be done twice: it may be sent again.
    Unsent(Box<Unsent>),
    /// The end of it, by the member's fault.
    Failed(UpstreamFailure),
    /// The end of it, by the caller's fault, or nobody knows whose.
    Blameless(UpstreamFailure),
}

/// A request that may be sent again.
pub(super) struct Unsent {
    pub(super) request: Request<Body>,
    pub(super) exchange: InFlight,
    pub(super) reason: RetryReason,
}

impl Unanswered {
    pub(super) fn unsent(request: Request<Body>, exchange: InFlight, reason: RetryReason) -> Self {
        Self::Unsent(Box::new(Unsent { request, exchange, reason }))
    }

    pub(super) fn from_error(mut error: TrySendError<Request<Body>>, exchange: InFlight) -> Self {
        match error.take_message() {
            Some(request) => Self::unsent(request, exchange, RetryReason::Closed),
            None => Self::Failed(message::failure_of(error.error())),
        }
    }

    pub(super) fn failure(self) -> UpstreamFailure {
        match self {
            Self::Unsent(_) => UpstreamFailure::Reset,
            Self::Failed(failure) | Self::Blameless(failure) => failure,
        }
    }
}
