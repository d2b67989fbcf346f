//! What an upstream answers, and the connection it comes over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::headers::response_trailers;

/// The hold on a connection while not all of an answer has come over it.
///
/// Dropped without [`release`](Self::release), the connection or the stream is closed: the answer
/// was not read to its end, so nobody knows what stands where.
pub trait Lease: Send {
    /// Lets the connection work and takes the next frame.
    fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Whether everything of this answer has left the connection, though perhaps not yet
    /// `incoming`.
    fn is_over(&self) -> bool;

    /// Gives the connection back.
    fn release(self: Box<Self>);
}

pub(super) struct ResponseBody {
    incoming: Incoming,
    lease: Option<Box<dyn Lease>>,
    /// What the body broke off with, until it is told.
    broken: Option<BodyError>,
}

impl ResponseBody {
    pub(super) const fn new(incoming: Incoming, lease: Option<Box<dyn Lease>>) -> Self {
        Self { incoming, lease, broken: None }
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
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match &mut self.lease {
            Some(lease) => ready!(lease.poll_frame(&mut self.incoming, cx)),
            None => ready!(Pin::new(&mut self.incoming).poll_frame(cx))
                .map(|frame| frame.map_err(|_| BodyError::UpstreamGone)),
        };
        self.settle(frame.as_ref());
        if let Some(Err(error)) = frame {
            return self.tell_later(error, cx);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_trailers() => Some(Ok(clean(frame))),
            other => other,
        })
    }

    /// hyper drops what it has not written yet when a body breaks off, perhaps the answer's head
    /// with it. One more turn lets it write: the caller then sees how far the answer came.
    fn tell_later<T>(&mut self, error: BodyError, cx: &mut Context<'_>) -> Poll<T> {
        self.broken = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn settle(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        let is_over = match frame {
            Some(Err(_)) => return self.lease = None,
            None => true,
            Some(Ok(_)) => self.lease.as_ref().is_some_and(|lease| lease.is_over()),
        };
        if is_over && let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            response_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
