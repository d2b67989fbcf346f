//! The answer to what is no request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, DATE};
use http::{HeaderMap, HeaderValue, Method, Response};

use super::Connection;
use super::context::REQUEST_ID;
use super::snapshot::Snapshot;
use crate::base::time;
use crate::reject::{AnswerForm, ChallengeContext, Rejection, RespondContext};
use crate::telemetry::access_log::Line;

/// The answer to a request that hyper could not parse: HTTP/1.1, and the connection closes.
pub(super) fn unparsed(
    snapshot: &Arc<Snapshot>,
    rejection: &Rejection,
    connection: &Connection,
) -> Vec<u8> {
    snapshot.unrouted.refused(rejection, Duration::ZERO);
    let request_id = connection.worker.next_request_id();
    if snapshot.config().log.access {
        log_unparsed(rejection, connection, &request_id);
    }
    let context = RespondContext {
        challenge: ChallengeContext::outside_routes(&snapshot.realm),
        method: &Method::GET,
        form: AnswerForm::Problem,
    };
    let mut response = rejection.respond(&context);
    response.headers_mut().insert(REQUEST_ID, request_id);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(date) = HeaderValue::from_str(&time::now().unix.http_date()) {
        response.headers_mut().insert(DATE, date);
    }
    http1_bytes(&response)
}

/// The access log's line for it: there is no method and no path that could be told.
fn log_unparsed(rejection: &Rejection, connection: &Connection, request_id: &HeaderValue) {
    let Ok(method) = Method::from_bytes(b"-") else { return };
    Line {
        request_id,
        peer: connection.peer,
        client: connection.client_address(&HeaderMap::new()),
        method: &method,
        path: "-",
        route: "-",
        status: rejection.status(),
        reason: rejection.reason(),
        token: None,
        required: None,
        upstream: "-",
        head: Duration::ZERO,
        total: Duration::ZERO,
        sent_bytes: 0,
        upgrade: None,
    }
    .write();
}

/// A whole answer as HTTP/1.1 writes it (RFC 9112 §4).
fn http1_bytes(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}
