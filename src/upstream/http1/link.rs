//! One HTTP/1.1 connection to an upstream, driven by whichever task uses it.
//!
//! Why not a task per connection, as HTTP clients usually have it: a request would then wake that
//! task, and its answer wake ours. Here the task of the caller writes the request and reads the
//! answer itself. An idle connection needs no task either: the socket's readiness is looked at
//! before each use and now and then (see [`pool`](crate::upstream::pool)).
//!
//! Cost of an exchange whose answer comes in one piece: one `send`, one `recv`, one wake-up by the
//! socket; no timer as long as requests follow each other within the time-out; two allocations.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::answer::Head;
use super::download::{Download, NoAnswer};
use super::duplex::Duplex;
use super::upload::{BodyBroke, Upload};
use super::wait::Wait;
use crate::body::{Body, BodyError, Source};
use crate::reject::UpstreamFailure;
use crate::telemetry::RetryReason;
use crate::upstream::connect::Stream;
use crate::upstream::message::prepare_http1;
use crate::upstream::patience::Patience;
use crate::upstream::pool::InFlight;
use crate::upstream::upgrade::{Switched, Switching};
use crate::upstream::{Unanswered, later};

/// A connection that carries one exchange at a time.
pub(in crate::upstream) struct Link {
    stream: Stream,
    upload: Upload,
    download: Download,
    wait: Wait,
    /// When it was last taken into use.
    used: Instant,
    /// Whether it has carried an exchange before this one.
    is_reused: bool,
    /// Whether it may carry another one after this.
    keeps: bool,
    /// The request, until its answer has come.
    request: Option<(Parts, Body)>,
    /// What this exchange counts for, while one is under way.
    exchange: Option<InFlight>,
    /// The longest wait within this exchange's answer.
    idle: Duration,
}

/// Why no answer came in time.
enum Failure {
    Upstream(NoAnswer),
    /// The request's own body broke off.
    Body,
    TimedOut,
}

impl Link {
    /// Takes a new connection into use.
    pub(in crate::upstream) fn start(stream: Stream) -> Box<Self> {
        let used = Instant::now();
        Box::new(Self {
            stream,
            upload: Upload::default(),
            download: Download::new(),
            wait: Wait::new(used),
            used,
            is_reused: false,
            keeps: true,
            request: None,
            exchange: None,
            idle: Duration::ZERO,
        })
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the
    /// connection, which is HTTP/1.1's only way to call a request off.
    ///
    /// Why not an `async fn`: the request is in the link before anything is waited for, and should
    /// not take room in the future of every caller.
    pub(in crate::upstream) fn send(
        mut self: Box<Self>,
        request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, Unanswered>> {
        let mut patience = self.begin(request, exchange, deadline);
        async move {
            match poll_fn(|cx| self.poll_answered(&mut patience, cx)).await {
                // RFC 9110 §7.8: we asked for no other protocol.
                Ok((head, _)) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    Err(Unanswered::Failed(UpstreamFailure::Malformed))
                }
                Ok((head, fields)) => Ok(self.answer(head, fields)),
                Err(failure) => Err(self.unanswered(&failure)),
            }
        }
    }

    /// Sends a request for another protocol and waits for the head of its answer. Whatever that
    /// is, the connection carries no other request: what came before it and behind it may belong
    /// to either protocol.
    pub(in crate::upstream) async fn switch(
        mut self: Box<Self>,
        request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> Result<Switching, Unanswered> {
        let mut patience = self.begin(request, exchange, deadline);
        match poll_fn(|cx| self.poll_answered(&mut patience, cx)).await {
            Ok((head, fields)) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                let malformed = Unanswered::Failed(UpstreamFailure::Malformed);
                self.switched().map(|it| Switching::Agreed(fields, it)).ok_or(malformed)
            }
            Ok((mut head, fields)) => {
                head.keeps = false;
                Ok(Switching::Declined(self.answer(head, fields)))
            }
            Err(failure) => Err(self.unanswered(&failure)),
        }
    }

    fn begin(
        &mut self,
        mut request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> Patience {
        prepare_http1(&mut request);
        self.used = exchange.started();
        self.idle = exchange.idle();
        let patience = Patience::new(request.body().watch(), self.used, deadline);
        self.upload.begin(&request);
        self.wait.until(match self.upload.is_asking() {
            true => patience.asking_until(self.used),
            false => deadline,
        });
        self.request = Some(request.into_parts());
        self.exchange = Some(exchange);
        patience
    }

    /// The connection, as another protocol's; `None` if the answer came before the request was
    /// sent.
    fn switched(self: Box<Self>) -> Option<Switched> {
        let Self { stream, upload, download, exchange, .. } = *self;
        let exchange = exchange.filter(|_| upload.is_over())?;
        Some(Switched::new(stream, download.into_rest(), exchange))
    }

    /// Whether an idle connection may be used: it is open, nothing has come over it unasked, and
    /// it was in use since `oldest`. Nobody is woken by its socket from now on.
    pub(in crate::upstream) fn is_usable(&mut self, oldest: Option<Instant>) -> bool {
        oldest.is_none_or(|oldest| oldest <= self.used) && self.is_silent()
    }

    /// Holds on to no task.
    pub(in crate::upstream) fn forget_task(&mut self) {
        self.wait.forget_task();
    }

    /// Whether there is nothing to read, not even an end. Costs no system call where the socket's
    /// readiness says so.
    ///
    /// Why unconstrained: for a task that has used up its share everything is silent, and what
    /// came unasked would be taken for the next answer.
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut room = ReadBuf::new(&mut byte);
        let stream = &mut self.stream;
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut room));
        pin!(unconstrained(read)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn poll_answered(
        &mut self,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Head, HeaderMap), Failure>> {
        loop {
            let polled = self.poll_exchange(cx);
            if polled.is_ready() {
                return polled;
            }
            if self.upload.is_asking() {
                if !self.download.has_continued() {
                    ready!(self.wait.poll_over(cx));
                }
                self.upload.stop_asking();
                self.wait.until(patience.deadline());
                continue;
            }
            ready!(self.wait.poll_over(cx));
            match patience.renewed(Instant::now()) {
                Some(deadline) => self.wait.until(deadline),
                None => return Poll::Ready(Err(Failure::TimedOut)),
            }
        }
    }

    /// Both directions at once: an answer may come before its request was sent.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, HeaderMap), Failure>> {
        let Self { stream, upload, download, request: Some((parts, body)), .. } = self else {
            return Poll::Ready(Err(Failure::Body));
        };
        if upload.goes_on()
            && let Poll::Ready(Err(BodyBroke)) = upload.poll_send(body, stream, cx)
        {
            return Poll::Ready(Err(Failure::Body));
        }
        let head = ready!(download.poll_head(stream, &parts.method, &mut parts.headers, cx));
        Poll::Ready(match head {
            Ok(head) => Ok((head, std::mem::take(&mut parts.headers))),
            Err(failure) => Err(Failure::Upstream(failure)),
        })
    }

    fn answer(mut self: Box<Self>, head: Head, fields: HeaderMap) -> Response<Body> {
        self.wait.stop();
        if self.upload.is_asking() {
            self.upload.give_up();
        }
        self.keeps = head.keeps && self.upload.is_over();
        let body = match self.download.begin(&head) {
            Some(content) => {
                self.give_back();
                Body::full(content)
            }
            None if self.upload.goes_on() => Body::response(self.part()),
            None => {
                self.request = None;
                Body::response(self)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = fields;
        if let Some(reason) = head.reason {
            response.extensions_mut().insert(reason);
        }
        response
    }

    /// Lets both directions go on by themselves. The connection is not used again.
    fn part(self: Box<Self>) -> Box<dyn Source> {
        let Self { stream, upload, download, request, exchange, idle, .. } = *self;
        let body = request.map_or_else(Body::empty, |(_, body)| body);
        Box::new(Duplex::start(stream, upload, body, download, (exchange, idle)))
    }

    /// RFC 9112 §9.3.1: a connection that was in use before and ended without a byte of an answer
    /// was closed for its idleness, most likely, before the request arrived. Whether that is so
    /// nobody knows, and only what may be done twice is sent again.
    fn unanswered(&mut self, failure: &Failure) -> Unanswered {
        let failed = match failure {
            Failure::Upstream(NoAnswer::Unbegun) => return self.send_again(),
            Failure::Upstream(NoAnswer::Malformed) => UpstreamFailure::Malformed,
            Failure::Upstream(NoAnswer::Cut) => UpstreamFailure::Reset,
            Failure::Body => return Unanswered::Blameless(UpstreamFailure::Reset),
            // Who has not sent all of its request may be the one that everybody waits for.
            Failure::TimedOut if self.upload.goes_on() => {
                return Unanswered::Blameless(UpstreamFailure::TimedOut);
            }
            Failure::TimedOut => UpstreamFailure::TimedOut,
        };
        Unanswered::Failed(failed)
    }

    fn send_again(&mut self) -> Unanswered {
        match (self.request.take(), self.exchange.take()) {
            (Some((parts, body)), Some(exchange)) if self.may_be_sent_again(&parts.method) => {
                let request = Request::from_parts(parts, body);
                Unanswered::unsent(request, exchange, RetryReason::Closed)
            }
            _ => Unanswered::Failed(UpstreamFailure::Reset),
        }
    }

    fn may_be_sent_again(&self, method: &Method) -> bool {
        let is_harmless = !self.upload.has_sent() || (self.is_reused && method.is_idempotent());
        is_harmless && self.upload.has_left_the_body()
    }

    /// Gives the connection back, unless it must not be used again.
    fn give_back(mut self: Box<Self>) {
        if !self.keeps || !self.download.is_over() {
            return;
        }
        self.wait.stop();
        self.request = None;
        self.upload.rest();
        self.download.rest();
        self.is_reused = true;
        if let Some(exchange) = self.exchange.take() {
            exchange.leave(self);
        }
    }
}

impl Source for Link {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = self.download.poll_frame(&mut self.stream, cx) {
            self.wait.stop();
            return Poll::Ready(frame);
        }
        if !self.wait.is_on() {
            self.wait.until(later(Instant::now(), self.idle));
        }
        self.wait.poll_over(cx).map(|()| Some(Err(BodyError::UpstreamSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.download.content().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.download.content().size_hint()
    }

    fn release(self: Box<Self>) {
        self.give_back();
    }
}
