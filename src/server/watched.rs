//! An answer's body that says when it is over, for the connection's watchdog.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::pace::Pace;
use super::transport::Activity;
use crate::body::{Body, BodyError, RequestWatch};

/// Lives as long as a request is worked on or its answer is being sent.
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.request_began();
        Self(Arc::clone(activity))
    }

    /// Another one, for what goes on behind the answer.
    pub(super) fn again(&self) -> Self {
        Self::begin(&self.0)
    }

    /// The request's body goes on beside its answer.
    pub(super) fn body_goes_on(&self, watch: RequestWatch) {
        self.0.body_goes_on(watch);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// A body and the sign that its request is not over.
pub(super) struct Watched {
    body: Body,
    busy: Busy,
    /// Over HTTP/2, where callers make room for each answer by itself.
    pace: Option<Arc<Pace>>,
}

impl Watched {
    pub(super) fn new(body: Body, busy: Busy, pace: Option<Arc<Pace>>) -> Self {
        Self { body, busy, pace }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.pace.as_ref().is_some_and(|pace| pace.is_given_up()) {
            self.busy.0.stream_stalled();
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Some(pace) = &self.pace {
            match &polled {
                Poll::Pending => pace.frame_is_due(),
                Poll::Ready(Some(Ok(frame))) => {
                    pace.frame_left(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(_) => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
