//! What a connection over HTTP/2 ended for, where that was its caller's doing.

use std::error::Error;
use std::io;

use super::trailers::IDLE_FLOOD;
use crate::telemetry::ConnectionEnd;

/// Tells a caller that broke the protocol or flooded the connection from one that went, which is no
/// misconduct.
pub(super) fn misconduct(error: &hyper::Error) -> Option<ConnectionEnd> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return of_library(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // The library keeps the kind of an error and nothing else.
            return (error.kind() == IDLE_FLOOD).then_some(ConnectionEnd::Http2Flood);
        }
        cause = error.source();
    }
    None
}

fn of_library(error: &h2::Error) -> Option<ConnectionEnd> {
    let is_ours = error.is_library() && error.is_go_away();
    is_ours.then(|| match error.reason() {
        Some(h2::Reason::ENHANCE_YOUR_CALM) => ConnectionEnd::Http2Flood,
        _ => ConnectionEnd::Http2Error,
    })
}
