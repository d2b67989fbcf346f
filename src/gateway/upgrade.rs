//! A request for another protocol on its way: what it asks for, and what came of it.
//!
//! Such a request is decided as any other, before its upstream hears of it. Over HTTP/1.1 the
//! `Upgrade` field asks; over HTTP/2 it is a CONNECT with a `:protocol` (RFC 8441), which counts as
//! a GET for its path: nothing is ever opened to its `:authority`.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body as _, Incoming};
use hyper::ext;
use hyper::upgrade::OnUpgrade;

use super::context::Context;
use super::departure;
use super::handover::{Handover, Opening};
use super::pipeline::in_time;
use super::route::Route;
use crate::base::random;
use crate::body::Body;
use crate::headers::{self, Protocol};
use crate::policy::Permit;
use crate::reject::{MalformedRequest, Rejection, Unsupported, UpstreamFailure};
use crate::tunnel::Language;
use crate::upstream::{self, Switched, Switching};

/// How a request asks for another protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asking {
    /// It does not.
    Nothing,
    /// By `Upgrade`.
    Http1,
    /// By extended CONNECT.
    Http2,
}

impl Asking {
    /// Reads it off a request, and makes an extended CONNECT the GET that it stands for
    /// (RFC 8441 §4).
    ///
    /// Cost for a request that asks for nothing: hyper notes what it has found, so one load.
    ///
    /// # Errors
    /// A `:protocol` other than `websocket`.
    pub(super) fn read(parts: &mut request::Parts) -> Result<Self, Rejection> {
        if parts.extensions.is_empty() {
            return Ok(Self::Nothing);
        }
        if parts.version == Version::HTTP_2 && parts.method == Method::CONNECT {
            return match parts.extensions.get::<ext::Protocol>() {
                None => Ok(Self::Nothing),
                Some(protocol) if protocol.as_str() == WEBSOCKET => {
                    parts.method = Method::GET;
                    Ok(Self::Http2)
                }
                Some(_) => Err(Rejection::NotSupported(Unsupported::Protocol)),
            };
        }
        let can_switch = parts.extensions.get::<OnUpgrade>().is_some();
        Ok(if can_switch { Self::Http1 } else { Self::Nothing })
    }

    /// The protocol that a request may become on a route; `None`: it is an ordinary request.
    ///
    /// # Errors
    /// A body beside `Upgrade`. Over HTTP/2, what the route does not allow: an ordinary answer
    /// would read as a tunnel there.
    pub(super) fn wanted<'r>(
        self,
        route: &'r Route,
        parts: &request::Parts,
        body: Option<&Incoming>,
    ) -> Result<Option<&'r Protocol>, Rejection> {
        let allowed = || route.upgrade.iter().flat_map(|upgrade| &upgrade.protocols);
        match self {
            Self::Nothing => Ok(None),
            Self::Http2 => {
                let websocket = allowed().find(|protocol| protocol.is_websocket());
                websocket.map(Some).ok_or(Rejection::NotSupported(Unsupported::Protocol))
            }
            Self::Http1 => {
                // RFC 6455 §4.1: only a GET opens a WebSocket.
                let fits = |protocol: &&Protocol| {
                    protocol.is_asked_for(&parts.headers)
                        && (!protocol.is_websocket() || parts.method == Method::GET)
                };
                let wanted = allowed().find(fits);
                if wanted.is_some() && body.is_some_and(|body| !body.is_end_stream()) {
                    return Err(Rejection::RequestMalformed(MalformedRequest::Upgrade));
                }
                Ok(wanted)
            }
        }
    }
}

/// Whether the connection must close if the request is answered in HTTP: whoever sent it, or
/// stands between, may have gone on in the other protocol already, and what it sent would be read
/// as a request. Below, nobody looks at that any more.
///
/// HTTP/1.0 has no `Upgrade` (RFC 9110 §7.8), but who stands between may not know.
pub(super) fn must_close(parts: &request::Parts) -> bool {
    let may_ask = match parts.version {
        Version::HTTP_11 => !parts.extensions.is_empty(), // hyper notes what it has found
        Version::HTTP_10 => true,
        _ => false,
    };
    may_ask && (parts.method == Method::CONNECT || headers::may_leave_http(&parts.headers))
}

/// Asks the upstream for a protocol. An answer that switches to it has a [`Handover`] with it.
///
/// # Errors
/// When the upstream gives no answer, or one that means something else to the caller.
pub(super) async fn switch(
    context: &Context<'_>,
    (route, permit): (&Route, &Permit),
    mut request: Request<Body>,
    (asking, protocol): (Asking, &Protocol),
) -> Result<Response<Body>, Rejection> {
    let failed = Rejection::UpstreamFailed;
    let Some((upstream, metrics)) = &route.upstream else {
        return Err(failed(UpstreamFailure::Refused));
    };
    if context.is_overdue() {
        return Err(failed(UpstreamFailure::Overdue));
    }
    protocol.put(request.headers_mut());
    if asking == Asking::Http2 {
        let nonce = random::nonce().ok_or(failed(UpstreamFailure::Refused))?;
        headers::begin_handshake(request.headers_mut(), nonce);
    }
    let to = (&**upstream, context.connection.worker.index());
    let switching = upstream::switch(permit, to, request, protocol, route.timeouts);
    let switching = match context.limit {
        Some(limit) => in_time(switching, limit).await,
        None => switching.await,
    };
    match switching.map_err(failed)? {
        Switching::Declined(mut response) => {
            metrics.answered(response.status());
            // RFC 8441 §4: to the caller any 2xx would say that the tunnel is open.
            if asking == Asking::Http2 && response.status().is_success() {
                return Err(failed(UpstreamFailure::Malformed));
            }
            departure::arrived(context, route, &mut response);
            Ok(response)
        }
        Switching::Agreed(fields, switched) => {
            metrics.answered(StatusCode::SWITCHING_PROTOCOLS);
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = fields;
            departure::arrived(context, route, &mut response);
            agree(&mut response, asking, protocol);
            if let Some(handover) = handover(context, (route, permit), protocol, switched) {
                response.extensions_mut().insert(handover);
            }
            Ok(response)
        }
    }
}

/// Says yes in the caller's version of HTTP.
fn agree(response: &mut Response<Body>, asking: Asking, protocol: &Protocol) {
    response.headers_mut().remove(CONTENT_LENGTH);
    if asking == Asking::Http2 {
        response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        protocol.put(response.headers_mut());
    }
}

fn handover(
    context: &Context<'_>,
    (route, permit): (&Route, &Permit),
    protocol: &Protocol,
    switched: Switched,
) -> Option<Handover> {
    let upgrade = route.upgrade.as_ref()?;
    let token_end = match upgrade.ends_with_token {
        true => permit.token().and_then(|token| route.end_of(token)),
        false => None,
    };
    let revocations = route.revocations().zip(context.token.as_ref());
    let language = if protocol.is_websocket() { Language::WebSocket } else { Language::Other };
    Some(Handover::new(Opening {
        switched,
        language,
        idle_timeout: upgrade.idle_timeout,
        token_end,
        revocable: revocations.map(|(list, token)| (Arc::clone(list), Arc::clone(token))),
        drain_timeout: context.snapshot.config().drain.timeout,
        metrics: context.snapshot.metrics().upgrades(route.name()),
    }))
}

const WEBSOCKET: &str = "websocket";
