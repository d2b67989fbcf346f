//! One HTTP/1.1 connection to an upstream, driven by whichever task uses it.
//!
//! Why not a task per connection, as hyper's own clients have it: a request would then wake that
//! task, and its answer wake ours. Here the task of the caller writes the request and reads the
//! answer itself, and an answer that is whole in the read buffer needs no further wake-up.
//! An idle connection needs no task either: the socket's readiness is looked at before each use
//! and now and then (see [`pool`](super::pool)).
//!
//! Cost of an exchange: no task, no timer as long as requests follow each other within the
//! time-out, and of allocations only hyper's four (the answer's channel, its body's, and its read
//! buffer's two; counted with a preloaded allocator over 10,000 GETs of 1 KiB). One `writev`, one
//! `recv`, one `epoll_wait`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connect::Stream;
use super::gate::Gate;
use super::message::{accept, prepare_http1};
use super::patience::Patience;
use super::pool::InFlight;
use super::stream::{Streamed, Task};
use super::{Unanswered, later};
use crate::body::{Body, BodyError, Lease, RequestWatch};
use crate::reject::UpstreamFailure;

/// A connection that carries one exchange at a time.
pub(super) struct Link {
    sender: SendRequest<Body>,
    /// `None` once it has ended.
    connection: Option<Connection<TokioIo<Stream>, Body>>,
    gate: Arc<Gate>,
    /// The gate, as hyper wants it.
    waker: Waker,
    wait: Wait,
    /// When it was last taken into use.
    used: Instant,
    /// What this exchange counts for, while one is under way.
    exchange: Option<InFlight>,
    idle: Duration,
}

impl Link {
    /// Starts HTTP/1.1 on a new connection. `idle` is the longest wait within an answer's body.
    pub(super) async fn start(
        stream: Stream,
        idle: Duration,
    ) -> Result<Box<Self>, UpstreamFailure> {
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER_MAX).max_header_size(RESPONSE_HEAD_MAX);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|_| UpstreamFailure::Reset)?;
        let gate = Arc::new(Gate::default());
        let used = Instant::now();
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            waker: Waker::from(Arc::clone(&gate)),
            gate,
            wait: Wait::new(used),
            used,
            exchange: None,
            idle,
        }))
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the
    /// connection, which is HTTP/1.1's only way to call a request off.
    ///
    /// Why not an `async fn`: the request is gone before anything is waited for, and should not
    /// take room in the future of every caller.
    pub(super) fn send(
        mut self: Box<Self>,
        mut request: Request<Body>,
        exchange: InFlight,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, Unanswered>> {
        prepare_http1(&mut request);
        let watch = request.body().watch();
        self.used = exchange.started();
        let mut patience = Patience::new(watch.clone(), self.used, deadline);
        // Whatever wake-up is muted here: the connection is polled before anything is waited for.
        let (answer, _) = self.gate.muted(|| self.sender.try_send_request(request));
        self.wait.until(deadline, &self.waker);
        async move {
            let mut answer = pin!(answer);
            let answered = poll_fn(|cx| {
                self.drive(cx.waker());
                // An answer only comes out of `drive`, so nobody has to be woken for it.
                match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answered) => Poll::Ready(Some(answered)),
                    Poll::Pending => loop {
                        ready!(self.wait.poll_over(&self.waker));
                        match patience.renewed(Instant::now()) {
                            Some(deadline) => self.wait.until(deadline, &self.waker),
                            None => return Poll::Ready(None),
                        }
                    },
                }
            })
            .await;
            match answered {
                Some(Ok(response)) => self.answer(response, exchange, &watch),
                Some(Err(error)) => Err(Unanswered::from_error(error, exchange)),
                None => Err(Unanswered::Failed(UpstreamFailure::TimedOut)),
            }
        }
    }

    /// Whether an idle connection may be used: it is open, nothing has come over it unasked, and
    /// it was in use since `oldest`. Nobody is woken for it from now on.
    pub(super) fn is_usable(&mut self, oldest: Option<Instant>) -> bool {
        self.gate.detach();
        self.poll_connection();
        self.connection.is_some()
            && self.sender.is_ready()
            && oldest.is_none_or(|oldest| oldest <= self.used)
    }

    fn answer(
        mut self: Box<Self>,
        mut response: Response<Incoming>,
        exchange: InFlight,
        request: &RequestWatch,
    ) -> Result<Response<Body>, Unanswered> {
        self.wait.stop();
        accept(&mut response, Version::HTTP_11).map_err(Unanswered::Failed)?;
        self.exchange = Some(exchange);
        let (head, incoming) = response.into_parts();
        let lease: Option<Box<dyn Lease>> = if self.is_over() {
            self.release();
            None
        } else if request.is_streaming() {
            Some(self.detach())
        } else {
            Some(self)
        };
        Ok(Response::from_parts(head, Body::response(incoming, lease)))
    }

    /// Makes the connection a task of its own, for an answer that came before its request was
    /// sent: both bodies must go on by themselves, or a caller that reads nothing before it has
    /// sent everything would wait forever. It ends with the answer and is not used again.
    fn detach(mut self: Box<Self>) -> Box<dyn Lease> {
        let idle = self.idle;
        let exchange = self.exchange.take();
        let task = self.connection.take().map(|connection| {
            Task::new(tokio::spawn(async move {
                let _ = connection.await;
            }))
        });
        Box::new(Streamed::new(idle, exchange, task))
    }

    /// Lets the connection read and write, and has `task` woken when it can do more.
    fn drive(&mut self, task: &Waker) {
        self.gate.attach(task);
        self.poll_connection();
    }

    fn poll_connection(&mut self) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) =
                Pin::new(connection).poll(&mut Context::from_waker(&self.waker))
        {
            if let Err(error) = ended {
                tracing::debug!(%error, "the connection to the upstream broke");
            }
            self.connection = None;
        }
    }
}

impl Lease for Link {
    fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.drive(cx.waker());
        // Frames only come out of `drive`, and taking one wakes the connection: that is us.
        let (polled, woken) = self
            .gate
            .muted(|| Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop())));
        if let Poll::Ready(frame) = polled {
            self.wait.stop();
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::UpstreamGone)));
        }
        if woken {
            cx.waker().wake_by_ref();
        }
        if !self.wait.is_on() {
            self.wait.until(later(Instant::now(), self.idle), &self.waker);
        }
        self.wait.poll_over(&self.waker).map(|()| Some(Err(BodyError::UpstreamSlow)))
    }

    fn is_over(&self) -> bool {
        self.connection.is_none() || self.sender.is_ready()
    }

    fn release(mut self: Box<Self>) {
        self.gate.detach();
        self.wait.stop();
        if let Some(exchange) = self.exchange.take() {
            exchange.leave(self);
        }
    }
}

/// A deadline whose timer is set anew only when it has to be.
///
/// A timer that runs out early finds that the deadline lies later, and is set once more. So a
/// connection in steady use touches the timer once per time-out, not once per request.
struct Wait {
    timer: Pin<Box<Sleep>>,
    is_set: bool,
    deadline: Option<Instant>,
}

impl Wait {
    fn new(now: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(now)), is_set: false, deadline: None }
    }

    fn until(&mut self, deadline: Instant, waker: &Waker) {
        self.deadline = Some(deadline);
        if !self.is_set || self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.set(deadline, waker);
        }
    }

    const fn stop(&mut self) {
        self.deadline = None;
    }

    const fn is_on(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready once the deadline has passed. Cost while it has not: one atomic load.
    fn poll_over(&mut self, waker: &Waker) -> Poll<()> {
        match self.deadline {
            Some(deadline) if self.timer.is_elapsed() => {
                if deadline <= Instant::now() {
                    return Poll::Ready(());
                }
                self.set(deadline, waker);
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }

    fn set(&mut self, deadline: Instant, waker: &Waker) {
        self.is_set = true;
        self.timer.as_mut().reset(deadline);
        // Only so that the timer knows whom to wake; `poll_over` looks whether it has run out.
        let _ = self.timer.as_mut().poll(&mut Context::from_waker(waker));
    }
}

/// Bytes that hyper reads ahead on one connection.
const BUFFER_MAX: usize = 128 * 1024;
/// Bytes of an answer's head. Its fields are bounded by hyper, at 100: any other number would cost
/// an allocation per answer.
const RESPONSE_HEAD_MAX: usize = 64 * 1024;
