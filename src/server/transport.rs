//! The byte stream below a connection, and what its watchdog needs to know of it.
//!
//! hyper answers a request that it cannot parse by itself, with an empty body and without a
//! request id. [`Transport`] holds such an answer back and remembers its status, so that the
//! connection can send the one that every other refusal looks like.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use prometheus::IntCounter;

use super::connection::Protocol;
use crate::base::gather::gathered;
use crate::body::RequestWatch;

/// What happens on a connection, in counters: nothing here reads a clock.
///
/// All of it is written by one thread; the atomics are for sharing, never for contention.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: AtomicU32,
    requests: AtomicU64,
    read_since_request: AtomicBool,
    written: AtomicU64,
    write_blocked: AtomicBool,
    answer_under_way: AtomicBool,
    /// Over HTTP/1.1, a request's body that went on when its answer came.
    body: Mutex<Option<RequestWatch>>,
    /// Where streams count that are given up.
    streams_stalled: Option<IntCounter>,
}

impl Activity {
    /// That of a connection whose streams count there when they are given up.
    pub(super) fn counting(streams_stalled: &IntCounter) -> Self {
        Self { streams_stalled: Some(streams_stalled.clone()), ..Self::default() }
    }

    /// A stream's answer was given up, since its caller did not read it.
    #[cold]
    pub(super) fn stream_stalled(&self) {
        if let Some(counter) = &self.streams_stalled {
            counter.inc();
        }
    }

    /// A request's head is complete.
    pub(super) fn request_began(&self) {
        self.in_flight.store(self.in_flight.load(Relaxed) + 1, Relaxed);
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
        self.read_since_request.store(false, Relaxed);
        self.answer_under_way.store(true, Relaxed);
    }

    /// Bytes came from the caller.
    pub(super) fn bytes_came(&self) {
        self.read_since_request.store(true, Relaxed);
    }

    /// A write had to wait for the caller to read.
    pub(super) fn write_was_blocked(&self) {
        self.write_blocked.store(true, Relaxed);
    }

    /// A write went through.
    fn wrote(&self) {
        self.write_blocked.store(false, Relaxed);
        self.written.store(self.written.load(Relaxed) + 1, Relaxed);
    }

    /// All that was handed over has been written.
    pub(super) fn flushed(&self) {
        if !self.is_busy() {
            self.answer_under_way.store(false, Relaxed);
        }
    }

    /// Whether what is written now may be a part of a request's answer.
    pub(super) fn is_answering(&self) -> bool {
        self.answer_under_way.load(Relaxed)
    }

    /// Its answer has been handed over.
    pub(super) fn request_ended(&self) {
        self.in_flight.store(self.in_flight.load(Relaxed).saturating_sub(1), Relaxed);
        // What was read meanwhile was its body.
        self.read_since_request.store(false, Relaxed);
    }

    /// A request's body goes on beside its answer, and perhaps behind it.
    pub(super) fn body_goes_on(&self, watch: RequestWatch) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// Whether what the caller sends is a part of such a body. Once it is over, what was read of
    /// it counts for no head.
    pub(super) fn is_inside_a_body(&self) -> bool {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let is_streaming = body.as_ref().is_some_and(RequestWatch::is_streaming);
        if !is_streaming && body.take().is_some() {
            self.read_since_request.store(false, Relaxed);
        }
        is_streaming
    }

    /// Whether a request is being worked on.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Whether bytes came of a head that is not complete. What comes before the last answer is
    /// written waits its turn, and so does an answer to it.
    pub(super) fn is_inside_a_head(&self) -> bool {
        let has_read = || self.read_since_request.load(Relaxed);
        let is_quiet = !self.is_busy() && !self.is_answering();
        is_quiet && has_read() && !self.is_inside_a_body() && has_read()
    }

    /// Whether the caller has stopped reading.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.write_blocked.load(Relaxed)
    }

    /// How many requests there were, and how many writes: while both stand still, nothing happens.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.requests.load(Relaxed), self.written.load(Relaxed))
    }
}

/// A caller's byte stream.
#[derive(Debug)]
pub(super) struct Transport<I> {
    io: I,
    /// Bytes read while the protocol was being found out.
    prefix: Bytes,
    protocol: Protocol,
    activity: Arc<Activity>,
    held_back: Option<StatusCode>,
}

impl<I> Transport<I> {
    pub(super) fn new(io: I, prefix: Bytes, protocol: Protocol, activity: Arc<Activity>) -> Self {
        activity.read_since_request.store(!prefix.is_empty(), Relaxed);
        Self { io, prefix, protocol, activity, held_back: None }
    }

    /// The status of the automatic answer that was held back, if there was one.
    pub(super) fn held_back(&self) -> Option<StatusCode> {
        self.held_back
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> I {
        self.io
    }

    /// The same, and what was read of it and not handed on.
    pub(super) fn into_parts(self) -> (I, Bytes) {
        (self.io, self.prefix)
    }

    /// The status, if these bytes are an answer that hyper made by itself.
    ///
    /// Such an answer comes while no other is under way, and is no frame of HTTP/2. Only what it
    /// looks like would not do: a body can look like one, and what follows on the connection would
    /// then be taken for the rest of that body.
    fn automatic_answer(&self, bytes: &[u8]) -> Option<StatusCode> {
        if self.protocol == Protocol::Http2 || self.activity.is_answering() {
            return None;
        }
        automatic_answer(bytes)
    }

    fn record(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Pending => self.activity.write_was_blocked(),
            Poll::Ready(_) => self.activity.wrote(),
        }
    }
}

impl<I: Read + Unpin> Read for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.io).poll_read(context, buffer);
        if outcome.is_ready() {
            self.activity.bytes_came();
        }
        outcome
    }
}

impl<I: Write + Unpin> Write for Transport<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(status) = self.automatic_answer(bytes) {
            self.held_back = Some(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.record(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(bytes) = gathered(slices, &mut [0; _]) {
            return self.poll_write(context, bytes);
        }
        if let Some(status) = slices.first().and_then(|first| self.automatic_answer(first)) {
            self.held_back = Some(status);
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.record(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes once its own buffer is empty, and takes the next head only then. What TLS holds
    /// on to is not written yet, and nobody would flush it where the connection is parked.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        if outcome.is_ready() {
            self.activity.flushed();
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held_back.is_some() {
            return Poll::Ready(Ok(())); // our own answer is still to come
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The status, if these bytes are an answer that hyper made by itself: a 4xx without the
/// `x-request-id` that each of ours carries.
fn automatic_answer(bytes: &[u8]) -> Option<StatusCode> {
    let digits = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    if digits.first() != Some(&b'4') {
        return None;
    }
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let head = bytes.get(..end)?;
    if memchr::memmem::find(head, b"\r\nx-request-id: ").is_some() {
        return None;
    }
    StatusCode::from_bytes(digits.chunk().get(..3)?).ok()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn only_an_answer_without_a_request_id_is_automatic() {
        let automatic =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(automatic_answer(automatic).map(|status| status.as_u16()), Some(431));
        for ours in [
            &b"HTTP/1.1 401 Unauthorized\r\nx-request-id: 1\r\n\r\n{}"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\n",
            b"400 bytes of a body",
            b"",
        ] {
            assert_eq!(automatic_answer(ours), None, "{}", ours.escape_ascii());
        }
    }

    #[test]
    fn an_answer_is_under_way_until_all_of_it_is_written() {
        let activity = Activity::default();
        assert!(!activity.is_answering());
        activity.request_began();
        activity.flushed(); // its head, while the body is still to come
        assert!(activity.is_answering());
        activity.request_ended();
        assert!(activity.is_answering(), "the end of the body is not written yet");
        activity.flushed();
        assert!(!activity.is_answering());
    }

    struct Stuck;

    impl Write for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn an_answer_that_tls_holds_on_to_is_under_way() {
        let activity = Arc::new(Activity::default());
        let stream = Transport::new(Stuck, Bytes::new(), Protocol::Http1, Arc::clone(&activity));
        activity.request_began();
        activity.request_ended();
        let mut stream = pin!(stream);
        let mut context = Context::from_waker(Waker::noop());
        assert!(stream.as_mut().poll_write(&mut context, b"answer").is_ready());
        assert!(stream.as_mut().poll_flush(&mut context).is_pending());
        assert!(activity.is_answering());
    }

    #[test]
    fn a_head_is_under_way_only_between_its_first_byte_and_its_request() {
        let activity = Activity::default();
        assert!(!activity.is_inside_a_head());
        activity.bytes_came();
        assert!(activity.is_inside_a_head());
        activity.request_began();
        assert!(activity.is_busy() && !activity.is_inside_a_head());
        activity.bytes_came(); // of the body
        activity.request_ended();
        assert!(!activity.is_busy() && !activity.is_inside_a_head());
    }
}
