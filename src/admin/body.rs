//! The body of a request to the admin listener, bounded.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::problem::Problem;

/// Reads it.
///
/// # Errors
/// 413 where it is too long or broke off, 408 where it takes too long.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Problem> {
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is over 64 KiB, or broke off",
        )),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// A token, and a little beside it.
const BODY_MAX_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
