//! One connection: which HTTP it speaks, its requests one after the other, and its end.
//!
//! hyper's own header timer would arm and disarm a timer for every request. Here one timer watches
//! a connection: it is set anew when it fires, and while a head is under way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::cork::Corked;
use super::door::Door;
use super::heads::Heads;
use super::misconduct::misconduct;
use super::pace::StreamExecutor;
use super::parked::{Parked, park};
use super::phase::PhaseReceiver;
use super::read_along::ReadAlong;
use super::trailers::Trailers;
use super::transport::{Activity, Transport};
use super::watchdog::{Expiry, Watchdog};
use super::watched::{Busy, Watched};
use crate::body::RequestWatch;
use crate::config::ListenerLimits;
use crate::gateway::{Connection, Gateway, Handover, Upgrade};
use crate::telemetry::ConnectionEnd;

/// What a connection needs besides its bytes.
pub(super) struct Served {
    pub(super) gateway: Arc<Gateway>,
    pub(super) connection: Connection,
    pub(super) limits: ListenerLimits,
    pub(super) phase: PhaseReceiver,
}

/// The HTTP version that a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Served {
    /// Serves a connection without TLS: HTTP/2 if it opens with its preface (RFC 9113 §3.3).
    pub(super) async fn plaintext<I: Stream>(self, mut io: I) {
        match timeout(self.limits.header_timeout, read_preface(&mut io)).await {
            Ok(Ok((protocol, prefix))) => self.serve(io, prefix, protocol).await,
            Ok(Err(_)) => {} // the caller went
            Err(_) => self.gateway.metrics().connections().ended(ConnectionEnd::HeadTooSlow),
        }
    }

    /// Serves a connection whose protocol ALPN has settled.
    pub(super) async fn negotiated<I: Stream>(self, io: I, protocol: Protocol) {
        self.serve(io, Bytes::new(), protocol).await;
    }

    async fn serve<I: Stream>(self, io: I, prefix: Bytes, protocol: Protocol) {
        let Self { gateway, connection, limits, phase } = self;
        let stalled = gateway.metrics().connections().streams_stalled();
        let activity = Arc::new(Activity::counting(stalled));
        let streams = StreamExecutor::new(limits.idle_timeout);
        let streams_phase = (protocol == Protocol::Http2).then(|| phase.clone());
        let door = Arc::new(Door::new(gateway, connection, streams_phase));
        let handle = {
            let activity = Arc::clone(&activity);
            let door = Arc::clone(&door);
            move |mut request: Request<Incoming>, pace| {
                // Over HTTP/1.1 the connection itself is handed over.
                let stream = match protocol {
                    Protocol::Http1 => None,
                    Protocol::Http2 => request.extensions_mut().remove::<OnUpgrade>(),
                };
                let busy = Busy::begin(&activity);
                let door = Arc::clone(&door);
                async move {
                    let mut response = door.gateway.handle(request, &door.connection).await;
                    if let Some(watch) = response.extensions_mut().remove::<RequestWatch>()
                        && protocol == Protocol::Http1
                    {
                        busy.body_goes_on(watch);
                    }
                    if let Some(handover) = response.extensions_mut().remove::<Handover>()
                        && let Some(upgrade) = handover.take()
                    {
                        door.leave_http(upgrade, stream, &busy);
                    }
                    Ok(response.map(|body| Watched::new(body, busy, pace)))
                }
            }
        };
        let serving = Serving { door: &door, activity: &activity, limits, phase };
        match protocol {
            Protocol::Http1 => {
                let io = TokioIo::new(ReadAlong::new(io, prefix, Heads::default()));
                let transport = Transport::new(io, Bytes::new(), protocol, Arc::clone(&activity));
                let service = service_fn(move |request| handle(request, None));
                Box::pin(serving.http1(transport, service)).await;
            }
            Protocol::Http2 => {
                let io = TokioIo::new(ReadAlong::new(io, prefix, Trailers::default()));
                let transport = Transport::new(io, Bytes::new(), protocol, Arc::clone(&activity));
                let paces = streams.clone();
                // Boxed: hyper, h2 and tokio hand a stream's future on from one to the other.
                let service =
                    service_fn(move |request| Box::pin(handle(request, Some(paces.expect()))));
                Box::pin(serving.http2(transport, service, streams)).await;
            }
        }
    }
}

/// A connection on which requests are served.
struct Serving<'a> {
    door: &'a Door,
    activity: &'a Arc<Activity>,
    limits: ListenerLimits,
    phase: PhaseReceiver,
}

impl Serving<'_> {
    async fn http1<I: Stream, S: Handling>(
        mut self,
        transport: Transport<TokioIo<ReadAlong<I, Heads>>>,
        service: S,
    ) where
        S::Future: Send,
    {
        let (mut transport, mut service) = (transport, service);
        let status = loop {
            // Boxed: given back while the connection is parked.
            let working = Box::pin(self.http1_until_idle(transport, service));
            let (expiry, parts) = working.await;
            if let Some(upgrade) = self.door.take_upgrade()
                && expiry.is_none()
            {
                return Box::pin(self.tunnel(*upgrade, parts)).await;
            }
            (transport, service) = (parts.io, parts.service);
            let still_for = match expiry {
                None => break transport.held_back(),
                Some(Expiry::HeadTooSlow) => {
                    self.ended(ConnectionEnd::HeadTooSlow);
                    break Some(StatusCode::REQUEST_TIMEOUT);
                }
                Some(Expiry::Stalled) => {
                    self.ended(ConnectionEnd::Stalled);
                    break None;
                }
                Some(Expiry::Idle(still_for)) => still_for,
            };
            let mut io = transport.into_inner();
            // Copied: even empty it holds on to the buffer that it stands in.
            let read_ahead = Bytes::copy_from_slice(&parts.read_buf);
            drop(parts.read_buf);
            let bytes = match self.parked(io.inner_mut(), read_ahead, still_for).await {
                Parked::Woken(bytes) => bytes,
                Parked::Over => return Box::pin(close(io.into_inner(), None)).await,
            };
            transport = Transport::new(io, bytes, Protocol::Http1, Arc::clone(self.activity));
        };
        let answer = status.map(|status| self.door.gateway.unparsed(&self.door.connection, status));
        Box::pin(close(transport.into_inner().into_inner(), answer.as_deref())).await;
    }

    /// Serves until the connection ends, or nothing is asked for.
    async fn http1_until_idle<I: Stream, S: Handling>(
        &mut self,
        transport: Transport<TokioIo<I>>,
        service: S,
    ) -> (Option<Expiry>, http1::Parts<Transport<TokioIo<I>>, S>)
    where
        S::Future: Send,
    {
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_buf_size(self.limits.header_max.max(HTTP1_BUFFER_MIN_BYTES))
            .max_header_size(self.limits.header_max);
        let mut connection = builder.serve_connection(transport, service);
        let mut watchdog = pin!(Watchdog::new(self.activity, &self.limits));
        let expiry = poll_fn(|context| {
            if let Poll::Ready(end) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(self.http1_ended(&end));
            }
            if self.phase.poll_draining(context) {
                Pin::new(&mut connection).graceful_shutdown();
                if let Poll::Ready(end) = Pin::new(&mut connection).poll(context) {
                    return Poll::Ready(self.http1_ended(&end));
                }
            }
            watchdog.as_mut().poll_expiry(context).map(Some)
        })
        .await;
        (expiry, connection.into_parts())
    }

    /// A connection that did not end well, or not with all of its last answer, becomes nothing
    /// else.
    fn http1_ended(&self, end: &hyper::Result<()>) -> Option<Expiry> {
        if end.is_err() || self.activity.is_answering() {
            drop(self.door.take_upgrade());
        }
        None
    }

    /// Lets bytes through in another protocol, to the end of the connection.
    async fn tunnel<I: Stream, S>(
        mut self,
        upgrade: Upgrade,
        parts: http1::Parts<Transport<TokioIo<ReadAlong<I, Heads>>>, S>,
    ) {
        let (io, first) = parts.io.into_parts();
        let (io, second, heads) = io.into_inner().into_parts();
        if !heads.have_left() {
            return; // a request that nobody else takes for one that asks for another protocol
        }
        let read_ahead = [parts.read_buf, first, second].concat();
        let io = upgrade.run(io, &read_ahead, self.phase.draining()).await;
        let _ = timeout(TUNNEL_LINGER, close(io, None)).await;
    }

    /// Waits for the next request's first bytes. What hyper had read of one is given back to it,
    /// but for line ends: some callers send one behind a body, and it begins no request (RFC 9112
    /// §2.2).
    async fn parked<I: Stream>(
        &mut self,
        io: &mut I,
        read_ahead: Bytes,
        still_for: Duration,
    ) -> Parked {
        if read_ahead.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return Parked::Woken(read_ahead);
        }
        park(io, &mut self.phase, self.limits.idle_timeout.saturating_sub(still_for)).await
    }

    async fn http2<I: Stream, S: Handling>(
        mut self,
        transport: Transport<TokioIo<I>>,
        service: S,
        streams: StreamExecutor,
    ) where
        S::Future: Send + 'static,
    {
        let corked = Corked::new(transport);
        let connection = self.http2_builder(streams).serve_connection(corked.clone(), service);
        let mut connection = pin!(connection);
        let mut watchdog = pin!(Watchdog::new(self.activity, &self.limits).between_requests_only());
        let mut is_leaving = false;
        let end = poll_fn(|context| {
            if let Poll::Ready(outcome) = corked.poll_turn(connection.as_mut(), context) {
                let error = outcome.and_then(Result::err);
                return Poll::Ready(error.and_then(|error| misconduct(&error)));
            }
            let expiry = watchdog.as_mut().poll_expiry(context);
            if expiry.is_ready() && is_leaving {
                let is_stalled = expiry == Poll::Ready(Expiry::Stalled);
                return Poll::Ready(is_stalled.then_some(ConnectionEnd::Stalled));
            }
            if expiry.is_ready() || self.phase.poll_draining(context) {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
                return corked.poll_turn(connection.as_mut(), context).map(|_| None);
            }
            Poll::Pending
        })
        .await;
        if let Some(end) = end {
            self.ended(end);
        }
    }

    fn ended(&self, end: ConnectionEnd) {
        self.door.gateway.metrics().connections().ended(end);
    }

    /// Every limit of HTTP/2 is set here: none is left to a default that may change
    /// (RFC 9113 §10.5).
    fn http2_builder(&self, streams: StreamExecutor) -> http2::Builder<StreamExecutor> {
        let mut builder = http2::Builder::new(streams);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(self.limits.header_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
            .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
            .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(self.limits.idle_timeout)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        // RFC 8441 §3: said only where there is something to connect to.
        if self.door.gateway.snapshot().allows_websocket() {
            builder.enable_connect_protocol();
        }
        builder
    }
}

/// A caller's stream of bytes, TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<I: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for I {}

/// What hyper calls for every request.
trait Handling:
    Service<Request<Incoming>, Response = Response<Watched>, Error = Infallible> + Send + 'static
{
}

impl<S> Handling for S where
    S: Service<Request<Incoming>, Response = Response<Watched>, Error = Infallible>
        + Send
        + 'static
{
}

/// Reads until it is clear whether the connection opens with the preface of HTTP/2.
async fn read_preface<I: AsyncRead + Unpin>(io: &mut I) -> io::Result<(Protocol, Bytes)> {
    let mut read = BytesMut::with_capacity(HTTP2_PREFACE.len());
    while read.len() < HTTP2_PREFACE.len() {
        let mut rest = (&mut *io).take((HTTP2_PREFACE.len() - read.len()) as u64);
        if rest.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !HTTP2_PREFACE.starts_with(&read) {
            return Ok((Protocol::Http1, read.freeze()));
        }
    }
    Ok((Protocol::Http2, read.freeze()))
}

/// Sends a last answer, if a request could not be read, and closes the connection in two steps
/// (RFC 9112 §9.6): what the caller still sends is taken off for a moment, or a reset would
/// overtake the answer that it has not read yet.
async fn close<I: Stream>(mut io: I, answer: Option<&[u8]>) {
    let closing = async {
        if let Some(answer) = answer {
            io.write_all(answer).await?;
        }
        io.shutdown().await?;
        take_off(&mut io).await
    };
    let _ = timeout(LINGER, closing).await;
}

/// Reads what still comes, until nothing has come for a moment or it is too much.
async fn take_off<I: Stream>(io: &mut I) -> io::Result<()> {
    let mut room = vec![0; LINGER_READ_BYTES];
    let mut left = LINGER_MAX_BYTES;
    while let Ok(read) = timeout(LINGER_IDLE, io.read(&mut room)).await {
        let length = read?;
        match left.checked_sub(length) {
            Some(rest) if length > 0 => left = rest,
            _ => break,
        }
    }
    Ok(())
}

/// RFC 9113 §3.4.
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// hyper wants at least this much.
const HTTP1_BUFFER_MIN_BYTES: usize = 8192;
/// Streams open at once on a connection; over it: REFUSED_STREAM (RFC 9113 §5.1.2).
const HTTP2_STREAMS: u32 = 256;
/// Streams that a caller has reset and that we have not looked at; over it the connection ends
/// (CVE-2023-44487).
const HTTP2_PENDING_RESETS: usize = 20;
/// Streams reset by us because of the caller's errors; over it the connection ends
/// (CVE-2025-8671).
const HTTP2_LOCAL_RESETS: usize = 256;
/// Bytes of an answer that wait for one stream's window.
const HTTP2_SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Bytes of a body that may be under way to us, for each stream and for all of a connection.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How long an answer to PING may take.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long and how far a closing connection is read on: as far as a caller may have sent before
/// it sees the answer, over a slow line too. One that sends nothing for a moment has seen it.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LINGER_MAX_BYTES: usize = 64 * 1024 * 1024;
const LINGER_READ_BYTES: usize = 16 * 1024;
/// The same behind a tunnel, where all that may still be unread is a last word.
const TUNNEL_LINGER: Duration = Duration::from_millis(500);
