//! A body that nobody reads, because its request was answered already.
//!
//! Over HTTP/1.1 hyper reads what has come and closes. Over HTTP/2 dropping the body resets the
//! stream: with NO_ERROR, as RFC 9113 §8.1 has it, but there are clients, curl 7 among them, that
//! lose the answer when the reset comes while they are sending. So the stream stays open for a
//! moment, in which they read the answer and stop.

use std::time::Duration;

use http::Version;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// Keeps the stream of a request open for a moment, if it has one and its body has not ended.
pub(super) fn keep_open(body: Incoming, version: Version) {
    if version == Version::HTTP_2 && !body.is_end_stream() {
        tokio::spawn(timeout(LINGER, drained(body)));
    }
}

/// Reads a body until its end, its bound or its failure.
async fn drained(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, bytes::Bytes::len);
        if LINGER_MAX_BYTES < read {
            // Nothing more is taken off: the window closes, and the time runs out.
            std::future::pending::<()>().await;
        }
    }
}

/// Long enough for an answer to arrive and be read.
const LINGER: Duration = Duration::from_secs(2);
/// What a caller may go on sending meanwhile.
const LINGER_MAX_BYTES: usize = 64 * 1024;
