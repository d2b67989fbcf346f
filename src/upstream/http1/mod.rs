//! HTTP/1.1 towards an upstream (RFC 9112): a codec of our own, driven by whichever task uses the
//! connection.
//!
//! Why not hyper's client: it is made to be driven by a task of its own and talked to over
//! channels. Without those there is no hand-over, no wake-up of ourselves and no read buffer per
//! answer, and an answer that is here as a whole gives its connection back with its head. A warm
//! request through the gateway, 1 KiB answered, takes 8,300 instructions less (callgrind).
//!
//! # The parts
//! * Pure, over bytes: [`head`] writes a request's head, [`answer`] reads an answer's,
//!   [`Chunked`](crate::body::Chunked) undoes the transfer coding, [`content`] takes frames out of what was read, [`outbox`] holds
//!   what is to be written.
//! * Shells: [`inbox`] reads, [`download`] is an answer on its way and [`upload`] a request,
//!   [`wait`] the time-out, [`link`] the connection and [`duplex`] the one whose answer came before
//!   its request was sent.
//!
//! # What holds
//! * The framing of a request is written from what its body says, never from its fields: what two
//!   fields could contradict is not there.
//! * What is no answer by RFC 9112 §2 to §7 is refused as a whole: folded lines, bare CR, white
//!   space before a colon, two lengths, a length beside a coding, a coding that is not `chunked`.
//! * Every count and length that the upstream chooses has a bound with a name.

mod answer;
mod content;
mod download;
mod duplex;
mod head;
mod inbox;
mod link;
mod outbox;
mod upload;
mod wait;

use crate::body::MalformedChunks;

pub(super) use link::Link;

/// Bytes of an answer's head, and of its trailers.
const RESPONSE_HEAD_MAX: usize = 64 * 1024;
/// Fields of an answer's head, and of its trailers.
const RESPONSE_FIELDS_MAX: usize = 100;

/// An answer breaks HTTP/1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Malformed;

impl From<MalformedChunks> for Malformed {
    fn from(MalformedChunks: MalformedChunks) -> Self {
        Self
    }
}
