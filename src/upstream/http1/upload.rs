//! A request on its way to the upstream: its head, then its body as it comes.
//!
//! Head and short frames are gathered into one buffer and sent in one piece; a long frame is sent
//! from where it stands. No frame is asked for before the last one has left, so an upstream that
//! does not read holds its caller back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::head::Framing;
use super::outbox::Outbox;
use crate::body::Body;

/// The sending side of a connection.
#[derive(Default)]
pub(super) struct Upload {
    outbox: Outbox,
    stage: Stage,
    /// Whether a frame of the body was taken, so that the request is not whole any more.
    is_body_taken: bool,
    has_sent: bool,
    needs_flush: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// The head says `Expect: 100-continue`: the body is left where it is until it is wanted.
    Asking(Framing),
    /// The body has not been asked for yet: its first frame may travel with the head.
    Fresh(Framing),
    Body(Framing),
    /// Everything stands in the buffers.
    Whole,
    /// The upstream takes no more of it.
    Broken,
    #[default]
    Idle,
}

/// The request's own body broke off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BodyBroke;

impl Upload {
    /// Writes the head of a request, which is sent with the first poll.
    pub(super) fn begin(&mut self, request: &Request<Body>) {
        let framing = Framing::of(request.body());
        self.outbox.begin(request, framing);
        self.stage = match framing {
            Framing::Nothing => Stage::Whole,
            framing if request.headers().contains_key(EXPECT) => Stage::Asking(framing),
            framing => Stage::Fresh(framing),
        };
        (self.is_body_taken, self.has_sent) = (false, false);
    }

    /// Whether everything was sent.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Whole && self.outbox.is_empty() && !self.needs_flush
    }

    /// Whether more of it is to be sent.
    pub(super) fn goes_on(&self) -> bool {
        !matches!(self.stage, Stage::Broken | Stage::Idle) && !self.is_over()
    }

    /// Whether the upstream is being asked for its `100 Continue` (RFC 9110 §10.1.1).
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking(_))
    }

    /// The body is wanted, or nobody says so: it goes on.
    pub(super) const fn stop_asking(&mut self) {
        if let Stage::Asking(framing) = self.stage {
            self.stage = Stage::Body(framing);
        }
    }

    /// The body is not wanted.
    pub(super) const fn give_up(&mut self) {
        self.stage = Stage::Broken;
    }

    /// Whether the request is as it was: nothing of its body was taken.
    pub(super) const fn has_left_the_body(&self) -> bool {
        !self.is_body_taken
    }

    /// Whether the upstream may have seen any of it.
    pub(super) const fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Keeps no more memory than an idle connection should.
    pub(super) fn rest(&mut self) {
        self.outbox.rest();
        self.stage = Stage::Idle;
    }

    /// Sends what can be sent now. Ready once that is everything, or the upstream takes no more:
    /// an answer may have come all the same. While the upstream is being asked, that is the head.
    ///
    /// # Errors
    /// When the body breaks off.
    pub(super) fn poll_send(
        &mut self,
        body: &mut Body,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BodyBroke>> {
        while self.goes_on() {
            let is_waiting = self.poll_gather(body, cx)?.is_pending();
            if is_waiting && let Stage::Fresh(framing) = self.stage {
                // The caller's connection hands the body over once this task has waited: one more
                // turn, and the first frame travels with the head.
                self.stage = Stage::Body(framing);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if is_waiting {
                self.outbox.close_chunk();
            }
            if ready!(self.poll_write(stream, cx)).is_err() {
                self.stage = Stage::Broken;
            } else if is_waiting || self.is_asking() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes frames as long as they are there and there is room. Pending: the body was asked for
    /// one and has none now.
    fn poll_gather(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, BodyBroke> {
        while let Stage::Fresh(framing) | Stage::Body(framing) = self.stage
            && self.outbox.has_room()
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Ok(Poll::Pending);
            };
            self.is_body_taken = true;
            let frame = frame.transpose().map_err(|_| BodyBroke)?;
            self.stage = self.put(framing, frame)?;
        }
        Ok(Poll::Ready(()))
    }

    /// Puts a frame, or the body's end, behind what is there.
    fn put(&mut self, framing: Framing, frame: Option<Frame<Bytes>>) -> Result<Stage, BodyBroke> {
        match (framing, frame.map(Frame::into_data)) {
            (Framing::Length(left), Some(Ok(data))) => {
                let left = left.checked_sub(data.len() as u64).ok_or(BodyBroke)?;
                self.outbox.put(data);
                Ok(if left == 0 { Stage::Whole } else { Stage::Body(Framing::Length(left)) })
            }
            // RFC 9112 §8: less than it said is no end.
            (Framing::Length(left), _) if left > 0 => Err(BodyBroke),
            (Framing::Chunked, Some(Ok(data))) => {
                self.outbox.put_chunk(data);
                Ok(Stage::Body(framing))
            }
            (Framing::Chunked, end) => {
                let last = end.and_then(Result::err);
                let trailers = last.and_then(|frame| frame.into_trailers().ok());
                self.outbox.end_chunks(trailers.as_ref());
                Ok(Stage::Whole)
            }
            (Framing::Nothing | Framing::Length(_), _) => Ok(Stage::Whole),
        }
    }

    fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let [gathered, piece] = &self.outbox.slices();
            let count = ready!(match (gathered.is_empty(), piece.is_empty()) {
                (false, true) => Pin::new(&mut *stream).poll_write(cx, gathered),
                (true, false) => Pin::new(&mut *stream).poll_write(cx, piece),
                _ => Pin::new(&mut *stream).poll_write_vectored(cx, &self.outbox.slices()),
            })?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.has_sent, self.needs_flush) = (true, true);
            self.outbox.wrote(count);
        }
        if self.needs_flush {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{BodyError, Source};
    use crate::upstream::http1::outbox::COPIED_MAX_BYTES;
    use http::header::TRAILER;
    use http::{HeaderMap, HeaderValue, Method};
    use http_body::SizeHint;
    use std::collections::VecDeque;
    use std::future::poll_fn;

    /// A body of these frames; of known length if they have one.
    struct Frames(VecDeque<Frame<Bytes>>, Option<u64>);

    impl Source for Frames {
        fn poll_frame(
            &mut self,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }

        fn release(self: Box<Self>) {}
    }

    /// A connection that takes so many bytes at once, and waits before each time.
    struct Narrow {
        width: usize,
        is_ready: bool,
        taken: Vec<u8>,
        writes: usize,
    }

    impl Narrow {
        const fn new(width: usize) -> Self {
            Self { width, is_ready: false, taken: Vec::new(), writes: 0 }
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_ready = !self.is_ready;
            if self.is_ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..count]);
            self.writes += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn data(length: usize) -> Frame<Bytes> {
        Frame::data(vec![b'x'; length].into())
    }

    fn trailers() -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        for name in ["x-sum", "x-other", "content-type"] {
            trailers.insert(name, HeaderValue::from_static("7"));
        }
        Frame::trailers(trailers)
    }

    async fn sent(
        frames: Vec<Frame<Bytes>>,
        length: Option<u64>,
        stream: &mut Narrow,
    ) -> Result<Upload, BodyBroke> {
        let body = Body::response(Box::new(Frames(frames.into(), length)));
        let request = Request::builder().method(Method::PUT).uri("/");
        let mut request = request.header(TRAILER, "X-Sum, content-type").body(body).unwrap();
        let mut upload = Upload::default();
        upload.begin(&request);
        assert!(upload.has_left_the_body() && !upload.has_sent() && upload.goes_on());
        poll_fn(|cx| upload.poll_send(request.body_mut(), stream, cx)).await?;
        Ok(upload)
    }

    #[tokio::test]
    async fn rfc9112_7_1_a_body_of_unknown_length_goes_out_in_chunks_through_any_connection() {
        let long = COPIED_MAX_BYTES + 1;
        let x = |length| "x".repeat(length);
        #[rustfmt::skip]
        let cases = [
            (vec![data(3), trailers()], "3\r\nxxx\r\n0\r\nx-sum: 7\r\n\r\n".to_owned()),
            (vec![data(3), data(0), data(1)], "3\r\nxxx\r\n1\r\nx\r\n0\r\n\r\n".to_owned()),
            (vec![data(long)], format!("2001\r\n{}\r\n0\r\n\r\n", x(long))),
            (vec![data(1), data(long), data(long), data(2)], format!("1\r\nx\r\n2001\r\n{0}\r\n2001\r\n{0}\r\n2\r\nxx\r\n0\r\n\r\n", x(long))),
            (vec![data(8000), data(8000), data(8000)], format!("{0}{0}{0}0\r\n\r\n", format!("1f40\r\n{}\r\n", x(8000)))),
        ];
        for (frames, expected) in cases {
            for width in [1, 2, 7, 1000, usize::MAX] {
                let again = frames.iter().map(|frame| match frame.data_ref() {
                    Some(data) => Frame::data(data.clone()),
                    None => trailers(),
                });
                let mut stream = Narrow::new(width);
                let upload = sent(again.collect(), None, &mut stream).await.unwrap();
                assert!(upload.is_over() && upload.has_sent() && !upload.has_left_the_body());
                let taken = String::from_utf8(stream.taken).unwrap();
                let (head, body) = taken.split_once("\r\n\r\n").unwrap();
                assert!(head.ends_with("transfer-encoding: chunked"), "{head}");
                assert!(body == expected, "width {width}: {} bytes", body.len());
            }
        }
    }

    #[tokio::test]
    async fn rfc9112_8_a_body_is_never_shorter_or_longer_than_said() {
        for (frames, is_sent) in [
            (vec![data(10)], true),
            (vec![data(4), data(6)], true),
            (vec![data(9)], false),
            (vec![data(9), trailers()], false),
            (vec![data(11)], false),
        ] {
            let mut stream = Narrow::new(usize::MAX);
            let upload = sent(frames, Some(10), &mut stream).await;
            assert_eq!(upload.is_ok_and(|upload| upload.is_over()), is_sent);
            assert!(is_sent || !stream.taken.ends_with(b"xxxxxxxxxx"));
        }
    }

    #[tokio::test]
    async fn a_short_body_travels_with_its_head() {
        let mut stream = Narrow::new(usize::MAX);
        sent(vec![data(3000), data(4000)], None, &mut stream).await.unwrap();
        assert_eq!(stream.writes, 1);
    }
}
