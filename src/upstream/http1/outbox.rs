//! What is to be written to a connection and was not yet (RFC 9112 §7.1). Pure.

use std::io::IoSlice;

use bytes::{Buf as _, Bytes};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Request};

use super::head::{self, Framing, write_field, write_number};
use crate::body::Body;

/// Bytes in the order in which they go out: short ones gathered, then perhaps a long piece.
#[derive(Default)]
pub(super) struct Outbox {
    gathered: Vec<u8>,
    /// How many of them were sent.
    sent: usize,
    piece: Bytes,
    /// Whether the last chunk lacks the end of its line: it then goes out with what follows.
    is_chunk_open: bool,
    /// Trailers that the head has announced.
    announced: Vec<HeaderName>,
}

impl Outbox {
    /// Begins with a request's head.
    pub(super) fn begin(&mut self, request: &Request<Body>, framing: Framing) {
        self.gathered.clear();
        self.sent = 0;
        head::write(&mut self.gathered, request, framing);
        self.announced = match framing {
            Framing::Chunked => announced(request.headers()),
            Framing::Nothing | Framing::Length(_) => Vec::new(),
        };
    }

    /// Whether more may be put in.
    pub(super) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.gathered.len() < GATHERED_MAX_BYTES
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.len() <= self.sent && self.piece.is_empty()
    }

    /// What is to be sent next: either may be empty.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        let gathered = self.gathered.get(self.sent..).unwrap_or_default();
        [IoSlice::new(gathered), IoSlice::new(&self.piece)]
    }

    /// That many bytes were sent.
    pub(super) fn wrote(&mut self, count: usize) {
        let gathered = count.min(self.gathered.len() - self.sent);
        self.sent += gathered;
        self.piece.advance((count - gathered).min(self.piece.len()));
        if self.is_empty() {
            self.gathered.clear();
            self.sent = 0;
        }
    }

    /// Puts content in.
    pub(super) fn put(&mut self, data: Bytes) {
        if data.len() <= COPIED_MAX_BYTES {
            self.gathered.extend_from_slice(&data);
        } else {
            self.piece = data;
        }
    }

    /// Puts content in as a chunk, if there is any: an empty chunk would be the last one.
    pub(super) fn put_chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.close_chunk();
        write_number(&mut self.gathered, data.len() as u64, 16);
        self.gathered.extend_from_slice(b"\r\n");
        self.put(data);
        self.is_chunk_open = true;
        if self.piece.is_empty() {
            self.close_chunk();
        }
    }

    /// Ends the line of the last chunk, as nothing follows it now.
    pub(super) fn close_chunk(&mut self) {
        if std::mem::take(&mut self.is_chunk_open) {
            self.gathered.extend_from_slice(b"\r\n");
        }
    }

    /// Puts the last chunk in. RFC 9110 §6.5.1: only trailers that were announced, and none that
    /// decide how a message is read, as hyper has it.
    pub(super) fn end_chunks(&mut self, trailers: Option<&HeaderMap>) {
        self.close_chunk();
        self.gathered.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            if self.announced.contains(name) && !NO_TRAILERS.contains(name) {
                write_field(&mut self.gathered, name.as_str(), value.as_bytes());
            }
        }
        self.gathered.extend_from_slice(b"\r\n");
    }

    /// Keeps no more memory than an idle connection should.
    pub(super) fn rest(&mut self) {
        self.gathered.clear();
        self.gathered.shrink_to(KEPT_BYTES);
        self.sent = 0;
    }
}

fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect()
}

const NO_TRAILERS: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TRAILER,
    TRANSFER_ENCODING,
    TE,
];

/// A frame up to this length is copied behind what is there.
pub(super) const COPIED_MAX_BYTES: usize = 8 * 1024;
/// From this length on, what is there is sent before another frame is taken.
const GATHERED_MAX_BYTES: usize = 8 * 1024;
/// What an idle connection keeps: room for most heads.
pub(super) const KEPT_BYTES: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_keeps_little() {
        let mut outbox = Outbox::default();
        outbox.put(vec![b'x'; COPIED_MAX_BYTES].into());
        assert!(!outbox.has_room() && !outbox.is_empty());
        outbox.wrote(COPIED_MAX_BYTES);
        assert!(outbox.has_room() && outbox.is_empty());
        outbox.rest();
        assert!(outbox.gathered.capacity() <= KEPT_BYTES, "{}", outbox.gathered.capacity());
    }

    #[test]
    fn a_chunk_ends_with_what_follows_it() {
        let long = Bytes::from(vec![b'x'; COPIED_MAX_BYTES + 1]);
        let mut outbox = Outbox::default();
        outbox.put_chunk(long.clone());
        assert_eq!(outbox.slices().map(|slice| slice.len()), [6, long.len()]);
        outbox.wrote(6 + long.len());
        assert!(outbox.is_empty());
        outbox.end_chunks(None);
        assert_eq!(&*outbox.slices()[0], b"\r\n0\r\n\r\n");
    }
}
