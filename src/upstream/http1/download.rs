//! An answer on its way from the upstream: its head, then its content as it comes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;
use tokio::io::AsyncRead;

use super::answer::{self, Answer, Framing, Head};
use super::content::Content;
use super::inbox::Inbox;
use super::{Malformed, RESPONSE_HEAD_MAX};
use crate::body::BodyError;

/// The receiving side of a connection.
pub(super) struct Download {
    inbox: Inbox,
    content: Content,
    /// How much of the inbox is known to hold no whole head.
    scanned: usize,
    interims: usize,
    /// Whether a byte has come since the last request.
    has_begun: bool,
}

/// Why no answer came.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum NoAnswer {
    /// The connection ended before a byte of one had come.
    Unbegun,
    /// The connection ended inside its head.
    Cut,
    Malformed,
}

impl Download {
    pub(super) fn new() -> Self {
        let content = Content::new(Framing::Length(0));
        Self { inbox: Inbox::default(), content, scanned: 0, interims: 0, has_begun: false }
    }

    /// Reads the head of the answer to a request of that method; its fields take the place of what
    /// is in `fields`.
    ///
    /// Why heads are only read where a line has ended: one that comes byte by byte would be read
    /// from its start for each of them.
    pub(super) fn poll_head(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        method: &Method,
        fields: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, NoAnswer>> {
        loop {
            if let Some(head) =
                self.head(method, fields).map_err(|Malformed| NoAnswer::Malformed)?
            {
                return Poll::Ready(Ok(head));
            }
            match ready!(self.inbox.poll_fill(stream, 0, cx)) {
                Ok(0) | Err(_) if self.has_begun => return Poll::Ready(Err(NoAnswer::Cut)),
                Ok(0) | Err(_) => return Poll::Ready(Err(NoAnswer::Unbegun)),
                Ok(_) => self.has_begun = true,
            }
        }
    }

    fn head(&mut self, method: &Method, fields: &mut HeaderMap) -> Result<Option<Head>, Malformed> {
        while self.may_hold_head() {
            match answer::read(self.inbox.bytes(), method, fields)? {
                Answer::Partial => self.scanned = self.inbox.bytes().len(),
                Answer::Interim(bytes) => {
                    self.interims += 1;
                    if INTERIMS_MAX < self.interims {
                        return Err(Malformed);
                    }
                    self.consume_head(bytes);
                }
                Answer::Final(head) => {
                    self.consume_head(head.bytes);
                    return Ok(Some(head));
                }
            }
        }
        Ok(None)
    }

    fn may_hold_head(&self) -> bool {
        let bytes = self.inbox.bytes();
        let fresh = bytes.get(self.scanned..).unwrap_or_default();
        memchr::memchr(b'\n', fresh).is_some()
            || (RESPONSE_HEAD_MAX <= bytes.len() && !fresh.is_empty())
    }

    fn consume_head(&mut self, bytes: usize) {
        self.inbox.consume(bytes);
        self.scanned = 0;
    }

    /// Begins with the content that follows that head; gives it if all of it is here.
    pub(super) fn begin(&mut self, head: &Head) -> Option<Bytes> {
        self.content = Content::new(head.framing);
        let copy = head.copy.get(head.bytes..).map(|rest| head.copy.slice_ref(rest));
        self.content.take_whole(&mut self.inbox, &copy.unwrap_or_default())
    }

    /// The next frame of the content.
    pub(super) fn poll_frame(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.content.take(&mut self.inbox) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.content.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(Malformed) => return Poll::Ready(Some(Err(BodyError::UpstreamGone))),
            }
            let left = self.content.left();
            match ready!(self.inbox.poll_fill(stream, left, cx)) {
                Ok(0) if self.content.ends_with_connection() => return Poll::Ready(None),
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(BodyError::UpstreamGone))),
                Ok(_) => {}
            }
        }
    }

    /// What is still to come.
    pub(super) const fn content(&self) -> &Content {
        &self.content
    }

    /// Whether the answer is over and nothing came behind it.
    pub(super) fn is_over(&self) -> bool {
        self.content.is_over() && self.inbox.is_empty()
    }

    /// Makes ready for the next answer, and holds no buffer until it comes.
    pub(super) fn rest(&mut self) {
        self.inbox.rest();
        (self.scanned, self.interims, self.has_begun) = (0, 0, false);
    }
}

/// Interim answers before a final one: nobody needs more, and each costs a read.
const INTERIMS_MAX: usize = 32;
