//! Asking an upstream for another protocol (RFC 9110 §7.8).
//!
//! # What holds
//! * Such a request has a connection of its own, which never carries another one, whatever the
//!   answer.
//! * Only a 101 that names the protocol that was asked for makes a tunnel, and for WebSocket only
//!   one that answers the key (RFC 6455 §4.1). Nothing of the caller's but the request is sent
//!   before.
//! * A tunnel counts as a request under way until it is dropped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connect::{Purpose, Stream};
use super::exchange::Unanswered;
use super::lines::Line;
use super::pool::InFlight;
use super::{Upstream, WorkerIndex, later};
use crate::body::Body;
use crate::config::RouteTimeouts;
use crate::headers::{ExpectedAccept, Protocol};
use crate::policy::Permit;
use crate::reject::UpstreamFailure;

/// What came of asking.
pub enum Switching {
    /// The fields of its 101, and the connection.
    Agreed(HeaderMap, Switched),
    /// An answer like any other.
    Declined(Response<Body>),
}

/// A connection to an upstream that speaks another protocol now.
pub struct Switched {
    stream: Stream,
    /// What came with the head of the answer.
    read_ahead: Bytes,
    _exchange: InFlight,
}

/// Asks an upstream for another protocol. `request` has its final headers, `Connection` and
/// `Upgrade` for this protocol among them, and no body. `timeouts` are as for
/// [`forward`](super::forward).
///
/// # Errors
/// Why there is no answer, or none that counts.
pub async fn switch(
    permit: &Permit,
    (upstream, worker): (&Upstream, WorkerIndex),
    mut request: Request<Body>,
    protocol: &Protocol,
    timeouts: RouteTimeouts,
) -> Result<Switching, UpstreamFailure> {
    let key = upstream.key(permit, &request);
    let accept = ExpectedAccept::to(request.headers());
    request.extensions_mut().clear();
    let switching = upstream.switch(worker, request, key, timeouts).await?;
    if let Switching::Agreed(fields, _) = &switching {
        let is_answered = || accept.is_some_and(|accept| accept.stands_in(fields));
        let is_agreed = protocol.is_agreed_to(fields);
        if !is_agreed || (protocol.is_websocket() && !is_answered()) {
            return Err(UpstreamFailure::Malformed);
        }
    }
    Ok(switching)
}

impl Upstream {
    async fn switch(
        &self,
        worker: WorkerIndex,
        request: Request<Body>,
        key: Option<u64>,
        timeouts: RouteTimeouts,
    ) -> Result<Switching, UpstreamFailure> {
        let pool = self.pools.get(worker.get()).ok_or(UpstreamFailure::Busy)?;
        let now = Instant::now();
        let deadline = later(now, timeouts.header.unwrap_or(self.settings.timeouts.header));
        let mut exchange = pool.enter(key, now, &timeouts)?;
        let line = self.open(worker, &mut exchange, Purpose::Switch, deadline).await?;
        let Line::Http1(link) = line else { return Err(UpstreamFailure::Refused) };
        let slot = exchange.slot();
        let switching = link.switch(request, exchange, deadline).await;
        self.report(worker, slot, switching.as_ref().map(Switching::status));
        switching.map_err(Unanswered::failure)
    }
}

impl Switching {
    fn status(&self) -> StatusCode {
        match self {
            Self::Agreed(..) => StatusCode::SWITCHING_PROTOCOLS,
            Self::Declined(response) => response.status(),
        }
    }
}

impl Switched {
    pub(super) const fn new(stream: Stream, read_ahead: Bytes, exchange: InFlight) -> Self {
        Self { stream, read_ahead, _exchange: exchange }
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.read_ahead.len().min(buffer.remaining());
        buffer.put_slice(self.read_ahead.get(..count).unwrap_or_default());
        self.read_ahead.advance(count);
        if self.read_ahead.is_empty() {
            self.read_ahead = Bytes::new(); // it holds on to the buffer that it stands in
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
