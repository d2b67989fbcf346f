//! What an upstream answers, and the connection it comes over.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::BodyError;
use crate::headers::response_trailers;

/// Where the frames of an answer come from: a connection or a stream, held while not all of the
/// answer has come over it.
///
/// Dropped without [`release`](Self::release), the connection or the stream is closed: the answer
/// was not read to its end, so nobody knows what stands where.
pub trait Source: Send {
    /// Lets the connection work and takes the next frame.
    fn poll_frame(&mut self, cx: &mut Context<'_>)
    -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Whether the last frame was taken.
    fn is_end_stream(&self) -> bool;

    /// The bytes of content still to come.
    fn size_hint(&self) -> SizeHint;

    /// Gives the connection back, after the last frame.
    fn release(self: Box<Self>);
}

pub(super) struct ResponseBody {
    /// `None` once the last frame was taken, or the body broke off.
    source: Option<Box<dyn Source>>,
    /// What the body broke off with, until it is told.
    broken: Option<BodyError>,
    /// When all of it must have come.
    limit: Option<Limit>,
    /// What else may end it early.
    ending: Option<Box<Ending>>,
}

/// Something that ends a body early, once it is ready.
pub type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Ending {
    call: Call,
    error: BodyError,
    /// As those of a [`Limit`].
    trailers: Option<HeaderMap>,
    is_over: bool,
}

/// The end of a body's time.
struct Limit {
    clock: Pin<Box<Sleep>>,
    /// What then says so to the caller; without it the body breaks off.
    trailers: Option<Box<HeaderMap>>,
    is_over: bool,
}

impl ResponseBody {
    pub(super) fn new(source: Box<dyn Source>) -> Self {
        Self { source: Some(source), broken: None, limit: None, ending: None }
    }

    pub(super) fn end_by(&mut self, limit: Instant, trailers: Option<HeaderMap>) {
        self.limit = Some(Limit {
            clock: Box::pin(sleep_until(limit)),
            trailers: trailers.map(Box::new),
            is_over: false,
        });
    }

    pub(super) fn end_on(&mut self, call: Call, error: BodyError, trailers: Option<HeaderMap>) {
        self.ending = Some(Box::new(Ending { call, error, trailers, is_over: false }));
    }

    /// What ended it early, if anything did.
    pub(super) fn ended_by(&self) -> Option<BodyError> {
        let ending = self.ending.as_ref().filter(|ending| ending.is_over);
        let limit = self.limit.as_ref().filter(|limit| limit.is_over);
        ending.map(|ending| ending.error).or(limit.map(|_| BodyError::Overdue))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.source.as_ref().is_none_or(|source| source.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Some(source) => source.size_hint(),
            None if self.broken.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        // Before the source: one that always has something would never be stopped.
        if let Some(limit) = &mut self.limit
            && limit.clock.as_mut().poll(cx).is_ready()
        {
            limit.is_over = true;
            let trailers = limit.trailers.take().map(|trailers| *trailers);
            return self.break_off(BodyError::Overdue, trailers, cx);
        }
        if let Some(ending) = &mut self.ending
            && ending.call.as_mut().poll(cx).is_ready()
        {
            ending.is_over = true;
            let (error, trailers) = (ending.error, ending.trailers.take());
            return self.break_off(error, trailers, cx);
        }
        let frame = ready!(source.poll_frame(cx));
        self.settle(frame.as_ref());
        if let Some(Err(error)) = frame {
            return self.tell_later(error, cx);
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_trailers() => Some(Ok(clean(frame))),
            other => other,
        })
    }

    fn break_off(
        &mut self,
        error: BodyError,
        trailers: Option<HeaderMap>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A length was announced: less than that is no whole answer, whatever stands behind.
        let is_open = self.size_hint().exact().is_none();
        self.source = None;
        match trailers.filter(|_| is_open) {
            Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => self.tell_later(error, cx),
        }
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
            Some(Err(_)) => return self.source = None,
            None => true,
            Some(Ok(_)) => self.source.as_ref().is_some_and(|source| source.is_end_stream()),
        };
        if is_over && let Some(source) = self.source.take() {
            source.release();
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    /// An upstream that always has one more piece.
    struct Endless;

    impl Source for Endless {
        fn poll_frame(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }

        fn is_end_stream(&self) -> bool {
            false
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }

        fn release(self: Box<Self>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_pauses_is_broken_off_as_well() {
        let mut body = ResponseBody::new(Box::new(Endless));
        body.end_by(Instant::now() + Duration::from_secs(1), None);
        for _ in 0..100 {
            assert!(poll_fn(|cx| body.poll_frame(cx)).await.unwrap().is_ok());
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        let broken = poll_fn(|cx| body.poll_frame(cx)).await.unwrap();
        assert_eq!(broken.unwrap_err(), BodyError::Overdue);
        assert!(body.source.is_none(), "the upstream is let go");
    }

    #[tokio::test]
    async fn a_call_ends_an_answer_that_never_pauses() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut body = ResponseBody::new(Box::new(Endless));
        let call = Box::pin(async { drop(receiver.await) });
        body.end_on(call, BodyError::Revoked, Some(HeaderMap::new()));
        assert!(poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap().is_data());
        assert_eq!(body.ended_by(), None);
        sender.send(()).unwrap();
        let last = poll_fn(|cx| body.poll_frame(cx)).await.unwrap().unwrap();
        assert!(last.is_trailers());
        assert_eq!(body.ended_by(), Some(BodyError::Revoked));
        assert!(poll_fn(|cx| body.poll_frame(cx)).await.is_none(), "it is at its end");
    }
}
