//! The one body type: what a caller sends, what an upstream answers, and what we say ourselves.
//!
//! Streams, never collects. Backpressure is `poll_frame`'s: nobody asks for a frame before the
//! last one is written.
//!
//! # What holds
//! * A body that was cut short ends in an error, never like one that is whole: an upstream gets no
//!   last chunk, a caller no clean end (RFC 9112 §8, RFC 9113 §8.1).
//! * Every wait for a frame has an end. The timer of that wait is only made when a poll finds
//!   nothing, and is made once per body.
//! * What a connection says about length and end is passed on as it is: framing depends on it.
//!
//! A request without a body costs nothing here; one with a body two allocations; a response none,
//! or its box if not all of it was there with its head.

mod chunked;
mod idle;
mod request;
mod response;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

pub use chunked::{Chunked, MalformedChunks};
pub use idle::IdleTimer;
use request::RequestBody;
pub use request::{RequestFault, RequestLimits, RequestWatch};
use response::ResponseBody;
pub use response::{Call, Source};

/// A body, of a request or a response.
pub struct Body {
    kind: Kind,
    sent_bytes: u64,
    outcome: Option<BodyOutcome>,
    hook: Option<Box<dyn FnOnce(BodyEnd) + Send>>,
}

enum Kind {
    Empty,
    Full(Bytes),
    Request(Box<RequestBody>),
    Response(ResponseBody),
}

/// How a body ended, for the access log and for whoever counts what is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BodyEnd {
    /// Bytes of content that were handed to the connection.
    pub bytes: u64,
    /// Whether that was all.
    pub outcome: BodyOutcome,
}

/// Whether a body was handed on whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyOutcome {
    /// All of it.
    Whole,
    /// Whoever took it went away.
    Dropped,
    /// Where it came from failed.
    Failed(BodyError),
}

/// Why a body broke off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyError {
    /// The request's body is at fault.
    Request(RequestFault),
    /// The upstream's connection or stream ended before its body did.
    UpstreamGone,
    /// The upstream sent nothing for longer than `timeouts.idle`.
    UpstreamSlow,
    /// The answer was not at its end when it had to be.
    Overdue,
    /// The token that it was for was revoked.
    Revoked,
}

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Request(fault) => fault.text(),
            Self::UpstreamGone => "the upstream broke off its body",
            Self::UpstreamSlow => "the upstream stopped sending its body",
            Self::Overdue => "the answer took longer than it may take in all",
            Self::Revoked => "the token was revoked",
        })
    }
}

impl std::error::Error for BodyError {}

impl Body {
    /// No content.
    pub const fn empty() -> Self {
        Self::new(Kind::Empty)
    }

    /// All of the content, at hand.
    pub const fn full(content: Bytes) -> Self {
        Self::new(Kind::Full(content))
    }

    /// What a caller sends. One that says it has none costs nothing.
    ///
    /// A body whose length is known to be over the bound has its fault from the start, so that
    /// nothing of the request is sent.
    pub fn request(incoming: Incoming, limits: RequestLimits) -> Self {
        if http_body::Body::is_end_stream(&incoming) {
            return Self::empty();
        }
        Self::new(Kind::Request(Box::new(RequestBody::new(incoming, limits))))
    }

    /// What an upstream answers, as it comes.
    pub fn response(source: Box<dyn Source>) -> Self {
        Self::new(Kind::Response(ResponseBody::new(source)))
    }

    /// Calls `hook` once when this body has ended, one way or another, dropping included.
    ///
    /// Costs one allocation; without it the end costs nothing.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(BodyEnd) + Send + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Makes an upstream's answer end at this moment, if it has not ended by then: with these
    /// trailers, or broken off where there are none or the answer has a length. One that is here
    /// as a whole already costs nothing.
    ///
    /// Either way its outcome is [`BodyError::Overdue`]. Trailers are for a form of answer in
    /// which they say that it is not whole, as gRPC's do.
    pub fn end_by(&mut self, limit: Instant, trailers: Option<HeaderMap>) {
        if let Kind::Response(body) = &mut self.kind {
            body.end_by(limit, trailers);
        }
    }

    /// Makes an upstream's answer end once `call` is ready, as by [`end_by`](Self::end_by), with the
    /// outcome `error`.
    pub fn end_on(&mut self, call: Call, error: BodyError, trailers: Option<HeaderMap>) {
        if let Kind::Response(body) = &mut self.kind {
            body.end_on(call, error, trailers);
        }
    }

    /// Whether it is an upstream's answer of which not all is here.
    pub const fn is_under_way(&self) -> bool {
        matches!(self.kind, Kind::Response(_))
    }

    /// A view of how the sending of this request's body goes, which outlives the body itself.
    pub fn watch(&self) -> RequestWatch {
        match &self.kind {
            Kind::Request(body) => body.watch(),
            Kind::Empty | Kind::Full(_) | Kind::Response(_) => RequestWatch::none(),
        }
    }

    /// Tells a request's body which version its caller speaks: over HTTP/2 a stream that was reset
    /// without an error looks to hyper like one that ended.
    pub fn framed_by(&mut self, version: Version) {
        if let Kind::Request(body) = &mut self.kind {
            body.framed_by(version);
        }
    }

    const fn new(kind: Kind) -> Self {
        Self { kind, sent_bytes: 0, outcome: None, hook: None }
    }

    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(content) => {
                let content = std::mem::take(content);
                Poll::Ready((!content.is_empty()).then(|| Ok(Frame::data(content))))
            }
            Kind::Request(body) => body.poll_frame(cx),
            Kind::Response(body) => body.poll_frame(cx),
        }
    }

    fn outcome_at_trailers(&self) -> BodyOutcome {
        match &self.kind {
            Kind::Response(body) => body.ended_by().map_or(BodyOutcome::Whole, BodyOutcome::Failed),
            Kind::Empty | Kind::Full(_) | Kind::Request(_) => BodyOutcome::Whole,
        }
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        match frame {
            None => self.outcome = Some(BodyOutcome::Whole),
            Some(Err(error)) => self.outcome = Some(BodyOutcome::Failed(*error)),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => self.sent_bytes += data.len() as u64,
                // Trailers are the last frame there is, and nobody asks for one after them.
                None => self.outcome = Some(self.outcome_at_trailers()),
            },
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_kind(cx);
        if let Poll::Ready(frame) = &polled {
            self.note(frame.as_ref());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(content) => content.is_empty(),
            Kind::Request(body) => body.is_end_stream(),
            Kind::Response(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(content) => SizeHint::with_exact(content.len() as u64),
            Kind::Request(body) => body.size_hint(),
            Kind::Response(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(hook) = self.hook.take() else { return };
        // A body of known length is not asked for the frame after its last one.
        let unpolled = match http_body::Body::is_end_stream(self) {
            true => BodyOutcome::Whole,
            false => BodyOutcome::Dropped,
        };
        hook(BodyEnd { bytes: self.sent_bytes, outcome: self.outcome.unwrap_or(unpolled) });
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Body").field("sent_bytes", &self.sent_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use std::sync::{Arc, Mutex};

    /// Gives a body a hook and the place where its end will stand.
    fn watched(body: Body) -> (Body, Arc<Mutex<Option<BodyEnd>>>) {
        let end = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&end);
        (body.on_end(move |end| *slot.lock().unwrap() = Some(end)), end)
    }

    #[tokio::test]
    async fn a_full_body_says_its_length_and_gives_it_once() {
        let (body, end) = watched(Body::full(Bytes::from_static(b"hello")));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        let whole = BodyEnd { bytes: 5, outcome: BodyOutcome::Whole };
        assert_eq!(*end.lock().unwrap(), Some(whole));
    }

    #[test]
    fn a_body_that_needs_no_poll_ends_whole_when_dropped() {
        for body in [Body::empty(), Body::full(Bytes::new())] {
            let (body, end) = watched(body);
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
            drop(body);
            let whole = BodyEnd { bytes: 0, outcome: BodyOutcome::Whole };
            assert_eq!(*end.lock().unwrap(), Some(whole));
        }
    }

    #[test]
    fn a_body_that_nobody_took_was_dropped() {
        let (body, end) = watched(Body::full(Bytes::from_static(b"hello")));
        drop(body);
        let dropped = BodyEnd { bytes: 0, outcome: BodyOutcome::Dropped };
        assert_eq!(*end.lock().unwrap(), Some(dropped));
    }

    #[test]
    fn a_body_is_small_enough_to_be_moved() {
        assert!(size_of::<Body>() <= 104, "{}", size_of::<Body>());
    }
}
