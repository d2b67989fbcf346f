//! HTTP/2 towards an upstream: hyper's client, whose connection works by itself.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::connect::Stream;
use super::exchange::Unanswered;
use super::message::{accept, copy_of, is_unprocessed, prepare_http2};
use super::patience::Patience;
use super::pool::InFlight;
use crate::body::{Body, BodyError, IdleTimer, Source};
use crate::reject::UpstreamFailure;
use crate::telemetry::RetryReason;

/// Starts HTTP/2 on a new connection, which then works by itself until its last sender is gone.
pub(super) async fn start(stream: Stream) -> Result<SendRequest<Body>, UpstreamFailure> {
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(RESPONSE_HEAD_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamFailure::Reset)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the upstream broke");
        }
    });
    Ok(sender)
}

/// Sends a request as a stream and waits for the head of its answer. Dropping the future resets
/// the stream.
pub(super) async fn send(
    mut sender: SendRequest<Body>,
    mut request: Request<Body>,
    scheme: Scheme,
    exchange: InFlight,
    deadline: Instant,
) -> Result<Response<Body>, Unanswered> {
    prepare_http2(&mut request, scheme).map_err(Unanswered::Blameless)?;
    let watch = request.body().watch();
    let copy = copy_of(&request);
    let mut patience = Patience::new(watch.clone(), exchange.started(), deadline);
    let mut deadline = deadline;
    let sent_at = Instant::now();
    let mut answer = pin!(sender.try_send_request(request));
    let answered = loop {
        let answered = timeout_at(deadline, answer.as_mut()).await;
        match patience.renewed(Instant::now()) {
            Some(later) if answered.is_err() => deadline = later,
            _ => break answered,
        }
    };
    match answered {
        Ok(Ok(mut response)) => {
            accept(&mut response).map_err(Unanswered::Failed)?;
            let idle = IdleTimer::new(exchange.idle());
            Ok(response.map(|incoming| {
                Body::response(Box::new(Streamed { incoming, idle, _exchange: exchange }))
            }))
        }
        Ok(Err(error)) => match copy {
            Some(copy) if error.message().is_none() && is_unprocessed(error.error()) => {
                Err(Unanswered::unsent(copy, exchange, RetryReason::Refused))
            }
            _ if watch.fault().is_some() => Err(Unanswered::Blameless(UpstreamFailure::Reset)),
            _ => Err(Unanswered::from_error(error, exchange)),
        },
        // Who has not sent all of its request may be the one that everybody waits for.
        Err(_) if watch.is_streaming() => Err(Unanswered::Blameless(UpstreamFailure::TimedOut)),
        Err(_) => {
            exchange.give_up_shared(sent_at);
            Err(Unanswered::Failed(UpstreamFailure::TimedOut))
        }
    }
}

/// The content of an answer, its time-out, and what it counts for.
struct Streamed {
    incoming: Incoming,
    idle: IdleTimer,
    _exchange: InFlight,
}

impl Source for Streamed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.idle.restart();
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::UpstreamGone)));
        }
        ready!(self.idle.poll_expired(cx));
        Poll::Ready(Some(Err(BodyError::UpstreamSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn release(self: Box<Self>) {}
}

/// Bytes of an answer's header list.
const RESPONSE_HEAD_MAX: u32 = 64 * 1024;
/// What an upstream may send on one stream before its caller has read any of it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection: many slow callers must not starve a quick one.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// A connection that carries requests and says nothing for this long is asked whether it lives,
const PING_EVERY: Duration = Duration::from_secs(15);
/// and given up after this.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
