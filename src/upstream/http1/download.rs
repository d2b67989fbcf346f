//! An answer on its way from the upstream: its head, then its content as it comes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
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
    /// Whether one of them was `100`: the request's body is wanted.
    has_continued: bool,
    /// Whether a byte has come since the last request.
    has_begun: bool,
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
        Self {
            inbox: Inbox::default(),
            content,
            scanned: 0,
            interims: 0,
            has_continued: false,
            has_begun: false,
        }
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
                Answer::Interim(status, bytes) => {
                    self.interims += 1;
                    self.has_continued |= status == StatusCode::CONTINUE;
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
                Err(Malformed) => {
                    self.content = Content::Broken;
                    return Poll::Ready(Some(Err(BodyError::UpstreamGone)));
                }
            }
            let left = self.content.left();
            match ready!(self.inbox.poll_fill(stream, left, cx)) {
                Ok(0) if self.content.ends_with_connection() => return Poll::Ready(None),
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(BodyError::UpstreamGone))),
                Ok(_) => {}
            }
        }
    }

    /// Whether the upstream has said `100 Continue` to this request.
    pub(super) const fn has_continued(&self) -> bool {
        self.has_continued
    }

    /// What is still to come.
    pub(super) const fn content(&self) -> &Content {
        &self.content
    }

    /// Everything that came behind the head: another protocol's bytes.
    pub(super) fn into_rest(mut self) -> Bytes {
        self.inbox.take(usize::MAX)
    }

    /// Whether the answer is over and nothing came behind it.
    pub(super) fn is_over(&self) -> bool {
        self.content.is_over() && self.inbox.is_empty()
    }

    /// Makes ready for the next answer, and holds no buffer until it comes.
    pub(super) fn rest(&mut self) {
        self.inbox.rest();
        (self.scanned, self.interims) = (0, 0);
        (self.has_continued, self.has_begun) = (false, false);
    }
}

/// Interim answers before a final one: nobody needs more, and each costs a read.
const INTERIMS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::pin::Pin;
    use tokio::io::ReadBuf;

    /// A connection on which bytes come in these pieces, and then its end.
    struct Pieces<'a>(VecDeque<&'a [u8]>);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            room: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            while let Some(piece) = self.0.pop_front() {
                if !piece.is_empty() {
                    let (now, later) = piece.split_at(piece.len().min(room.remaining()));
                    room.put_slice(now);
                    self.0.push_front(later);
                    break;
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What came of an answer: status, content, trailers, how it ended, whether the connection is
    /// as it should be for the next one.
    type Came = (u16, String, String, Result<(), BodyError>, bool);

    async fn receive(mut stream: Pieces<'_>) -> Result<Came, NoAnswer> {
        let (mut download, mut fields) = (Download::new(), HeaderMap::new());
        let head =
            poll_fn(|cx| download.poll_head(&mut stream, &Method::GET, &mut fields, cx)).await?;
        let (mut content, mut trailers) = (Vec::new(), String::new());
        let mut end = Ok(());
        match download.begin(&head) {
            Some(whole) => content.extend_from_slice(&whole),
            None => loop {
                match poll_fn(|cx| download.poll_frame(&mut stream, cx)).await {
                    None => break,
                    Some(Err(error)) => {
                        end = Err(error);
                        break;
                    }
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => content.extend_from_slice(&data),
                        Err(frame) => trailers = format!("{:?}", frame.into_trailers().unwrap()),
                    },
                }
            },
        }
        let content = String::from_utf8(content).unwrap();
        Ok((head.status.as_u16(), content, trailers, end, download.is_over()))
    }

    #[tokio::test]
    async fn an_answer_is_the_same_however_it_is_split() {
        const GONE: Result<(), BodyError> = Err(BodyError::UpstreamGone);
        let interims = |count| "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count);
        let many = interims(INTERIMS_MAX) + "HTTP/1.1 204 No Content\r\n\r\n";
        let flood = interims(INTERIMS_MAX + 1) + "HTTP/1.1 204 No Content\r\n\r\n";
        let length = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        #[rustfmt::skip]
        let cases = [
            (format!("{length}ok"), Ok((200, "ok", "", Ok(()), true))),
            (format!("{length}o"), Ok((200, "o", "", GONE, false))),
            (format!("{length}okay"), Ok((200, "ok", "", Ok(()), false))),
            (format!("{length}okHTTP/1.1 200 OK\r\n\r\nevil"), Ok((200, "ok", "", Ok(()), false))),
            (format!("{chunked}2\r\nok\r\n0\r\n\r\n"), Ok((200, "ok", "", Ok(()), true))),
            (format!("{chunked}1\r\no\r\n1;a\r\nk\r\n0\r\n\r\n"), Ok((200, "ok", "", Ok(()), true))),
            (format!("{chunked}0\r\n\r\n"), Ok((200, "", "", Ok(()), true))),
            (format!("{chunked}2\r\nok\r\n0\r\na: b\r\n\r\n"), Ok((200, "ok", "{\"a\": \"b\"}", Ok(()), true))),
            (format!("{chunked}2\r\nok\r\n0\r\n\r\nmore"), Ok((200, "ok", "", Ok(()), false))),
            (format!("{chunked}2\r\nok\r\n"), Ok((200, "ok", "", GONE, false))),
            (format!("{chunked}2\r\nok\r\nzz\r\n"), Ok((200, "ok", "", GONE, false))),
            (format!("{chunked}2\r\nok\r\n0\r\na b\r\n\r\n"), Ok((200, "ok", "", GONE, false))),
            (format!("{chunked}2\r\nokay\r\n"), Ok((200, "ok", "", GONE, false))),
            ("HTTP/1.0 200 OK\r\n\r\nold".to_owned(), Ok((200, "old", "", Ok(()), false))),
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Ok((204, "", "", Ok(()), true))),
            (format!("{}{length}ok", interims(2)), Ok((200, "ok", "", Ok(()), true))),
            (many, Ok((204, "", "", Ok(()), true))),
            (flood, Err(NoAnswer::Malformed)),
            (String::new(), Err(NoAnswer::Unbegun)),
            ("H".to_owned(), Err(NoAnswer::Cut)),
            (interims(1), Err(NoAnswer::Cut)),
            ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), Err(NoAnswer::Malformed)),
        ];
        for (input, expected) in cases {
            let expected = expected.map(|(status, content, trailers, end, is_over)| {
                (status, content.to_owned(), trailers.to_owned(), end, is_over)
            });
            for split in 0..=input.len() {
                let (first, second) = input.as_bytes().split_at(split);
                let came = receive(Pieces([first, second].into())).await;
                let mut expected = expected.clone();
                if let (Ok((.., is_over)), Ok((.., expected))) = (&came, &mut expected)
                    && !second.is_empty()
                {
                    // What lies behind the end may not have been read yet: the next use sees it.
                    *expected |= *is_over;
                }
                assert_eq!(came, expected, "{input:?}, split at {split}");
            }
            let bytes = Pieces(input.as_bytes().chunks(1).collect());
            let came = receive(bytes)
                .await
                .map(|(status, content, trailers, end, _)| (status, content, trailers, end));
            let expected = expected
                .map(|(status, content, trailers, end, _)| (status, content, trailers, end));
            assert_eq!(came, expected, "{input:?}, byte by byte");
        }
    }

    #[tokio::test]
    async fn a_large_answer_is_read_into_large_buffers() {
        let length = 1_000_000;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let content = vec![b'a'; length];
        let mut stream = Pieces([head.as_bytes(), &content].into());
        let (mut download, mut fields) = (Download::new(), HeaderMap::new());
        let head = poll_fn(|cx| download.poll_head(&mut stream, &Method::GET, &mut fields, cx));
        let head = head.await.unwrap();
        assert_eq!(download.begin(&head), None);
        assert_eq!(download.content().size_hint().exact(), Some(length as u64));
        let (mut frames, mut bytes) = (0, 0);
        while let Some(frame) = poll_fn(|cx| download.poll_frame(&mut stream, cx)).await {
            frames += 1;
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(bytes, length);
        assert!(frames < 40, "{frames} frames");
    }
}
