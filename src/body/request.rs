//! What a caller sends: bounded in bytes and in time, its trailers cleaned.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyError, IdleTimer};
use crate::headers::Sanitizer;

/// The bounds of a request's body.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// The longest wait between two frames.
    pub idle: Duration,
    /// Bytes of content; `None`: no bound but time.
    pub max: Option<u64>,
    /// What cleans the trailers.
    pub sanitizer: Arc<Sanitizer>,
}

/// What was wrong with a request's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestFault {
    /// The caller went away, or reset its stream.
    CallerGone,
    /// Its framing breaks HTTP (400).
    Malformed,
    /// It went over its bound (413).
    TooLarge,
    /// Nothing came for too long (408).
    TooSlow,
}

impl RequestFault {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::CallerGone => "the caller broke off its body",
            Self::Malformed => "the framing of the request's body is malformed",
            Self::TooLarge => "the request's body is over its bound",
            Self::TooSlow => "the caller stopped sending its body",
        }
    }
}

/// How the sending of a request's body goes, seen from outside: says why an upstream request
/// failed when that was the request's own fault.
#[derive(Clone, Debug)]
pub struct RequestWatch(Option<Arc<Sending>>);

/// How far a body has come. Written by whoever sends it, so never contended.
#[derive(Debug)]
struct Sending {
    state: AtomicU8,
    frames: AtomicU32,
}

impl Sending {
    fn enter(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }

    fn count_frame(&self) {
        let frames = self.frames.load(Ordering::Relaxed);
        self.frames.store(frames.wrapping_add(1), Ordering::Relaxed);
    }
}

impl RequestWatch {
    /// Of a request without a body.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// What was wrong with the body, if anything was.
    pub fn fault(&self) -> Option<RequestFault> {
        match self.state() {
            GONE => Some(RequestFault::CallerGone),
            MALFORMED => Some(RequestFault::Malformed),
            TOO_LARGE => Some(RequestFault::TooLarge),
            TOO_SLOW => Some(RequestFault::TooSlow),
            _ => None,
        }
    }

    /// Whether somebody still holds the body and has not seen its end.
    pub fn is_streaming(&self) -> bool {
        self.state() == STREAMING
    }

    /// A number that changes while the body moves: an upload that goes on is no silence.
    pub fn progress(&self) -> u32 {
        self.0.as_ref().map_or(0, |sending| sending.frames.load(Ordering::Relaxed))
    }

    fn state(&self) -> u8 {
        self.0.as_ref().map_or(OVER, |sending| sending.state.load(Ordering::Relaxed))
    }
}

pub(super) struct RequestBody {
    incoming: Incoming,
    idle: IdleTimer,
    /// Bytes that may still come.
    left: Option<u64>,
    sanitizer: Arc<Sanitizer>,
    version: Version,
    sending: Arc<Sending>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limits: RequestLimits) -> Self {
        let RequestLimits { idle, max, sanitizer } = limits;
        let is_over = max.is_some_and(|max| max < incoming.size_hint().lower());
        let state = AtomicU8::new(if is_over { TOO_LARGE } else { STREAMING });
        let sending = Arc::new(Sending { state, frames: AtomicU32::new(0) });
        let version = Version::HTTP_11;
        Self { incoming, idle: IdleTimer::new(idle), left: max, sanitizer, version, sending }
    }

    pub(super) fn watch(&self) -> RequestWatch {
        RequestWatch(Some(Arc::clone(&self.sending)))
    }

    pub(super) const fn framed_by(&mut self, version: Version) {
        self.version = version;
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(fault) = self.watch().fault() {
            return Poll::Ready(Some(Err(BodyError::Request(fault))));
        }
        let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.idle.poll_expired(cx));
            return Poll::Ready(Some(self.fail(TOO_SLOW)));
        };
        self.idle.restart();
        self.sending.count_frame();
        Poll::Ready(match polled {
            Some(Ok(frame)) => Some(self.admit(frame)),
            Some(Err(error)) => Some(self.fail(fault_of(&error))),
            None => self.end(),
        })
    }

    fn admit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                self.sanitizer.request_trailers(&mut trailers);
                self.sending.enter(OVER);
                return Ok(Frame::trailers(trailers));
            }
            Err(data) => data,
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if let Some(left) = &mut self.left {
            match left.checked_sub(bytes) {
                Some(rest) => *left = rest,
                None => return self.fail(TOO_LARGE),
            }
        }
        // Whoever knows the length does not ask for the frame after the last one.
        if self.incoming.size_hint().exact() == Some(0) {
            self.sending.enter(OVER);
        }
        Ok(frame)
    }

    /// RFC 9113 §8.1 lets a server reset a stream with `NO_ERROR` once it has answered, and hyper
    /// takes such a reset for an end on either side. From a caller it is none: the upstream must
    /// not take half a body for a whole one.
    fn end(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if self.version == Version::HTTP_2 && !self.incoming.is_end_stream() {
            return Some(self.fail(GONE));
        }
        self.sending.enter(OVER);
        None
    }

    fn fail(&mut self, state: u8) -> Result<Frame<Bytes>, BodyError> {
        self.sending.enter(state);
        let fault = self.watch().fault().unwrap_or(RequestFault::CallerGone);
        Err(BodyError::Request(fault))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.watch().is_streaming() {
            self.sending.enter(OVER);
        }
    }
}

fn fault_of(error: &hyper::Error) -> u8 {
    let Some(source) = error.source() else { return GONE };
    if let Some(error) = source.downcast_ref::<io::Error>() {
        return match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => MALFORMED,
            _ => GONE,
        };
    }
    match source.downcast_ref::<h2::Error>() {
        Some(error) if error.is_library() => MALFORMED,
        _ => GONE,
    }
}

const STREAMING: u8 = 0;
/// Whole, or dropped by whoever sent it.
const OVER: u8 = 1;
const GONE: u8 = 2;
const MALFORMED: u8 = 3;
const TOO_LARGE: u8 = 4;
const TOO_SLOW: u8 = 5;
