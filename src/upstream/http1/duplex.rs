//! An answer that came before its request was sent.
//!
//! Both bodies must go on by themselves, or a caller that reads nothing before it has sent
//! everything would wait forever. So the request becomes a task of its own. It ends with the
//! answer, whole or not, and the connection is closed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{ReadHalf, split};
use tokio::task::JoinHandle;

use super::download::Download;
use super::upload::{BodyBroke, Upload};
use crate::body::{Body, BodyError, IdleTimer, Source};
use crate::upstream::connect::Stream;
use crate::upstream::pool::InFlight;

/// Such an answer.
pub(super) struct Duplex {
    stream: ReadHalf<Stream>,
    download: Download,
    sending: Sending,
    idle: IdleTimer,
    _exchange: Option<InFlight>,
}

/// The rest of the request; not sent on when this is dropped.
struct Sending {
    task: JoinHandle<Result<(), BodyBroke>>,
    is_over: bool,
}

impl Duplex {
    /// Lets the rest of a request go on. `idle` is the longest wait within the answer's body.
    pub(super) fn start(
        stream: Stream,
        mut upload: Upload,
        mut body: Body,
        download: Download,
        exchange: (Option<InFlight>, Duration),
    ) -> Self {
        let (stream, mut sink) = split(stream);
        let task =
            tokio::spawn(
                async move { poll_fn(|cx| upload.poll_send(&mut body, &mut sink, cx)).await },
            );
        let (exchange, idle) = exchange;
        let sending = Sending { task, is_over: false };
        Self { stream, download, sending, idle: IdleTimer::new(idle), _exchange: exchange }
    }
}

impl Sending {
    /// Ready when the request's body has broken off: its answer is then worth nothing.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over {
            self.is_over = true;
            match Pin::new(&mut self.task).poll(cx) {
                Poll::Pending => self.is_over = false,
                Poll::Ready(Ok(Ok(()))) => {}
                Poll::Ready(Ok(Err(BodyBroke)) | Err(_)) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for Duplex {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = self.download.poll_frame(&mut self.stream, cx) {
            self.idle.restart();
            return Poll::Ready(frame);
        }
        if self.sending.poll_broken(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::UpstreamGone)));
        }
        ready!(self.idle.poll_expired(cx));
        Poll::Ready(Some(Err(BodyError::UpstreamSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.download.content().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.download.content().size_hint()
    }

    fn release(self: Box<Self>) {}
}
