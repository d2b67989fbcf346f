//! The way of a request: its route is found, its credential judged, and it goes on or is answered
//! here. [`decide`] reads from top to bottom as the way a request takes.

use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;

use super::context::Context;
use super::departure::{self, Departure, Rewrite};
use super::doors::Door;
use super::entry::Entry;
use super::metadata;
use super::route::{Admission, Forwarding, Route};
use super::upgrade::{self, Asking};
use crate::body::Body;
use crate::headers::{self, MaxForwards, Preflight};
use crate::policy::Permit;
use crate::reject::{Rejection, UpstreamFailure};
use crate::upstream;

/// The way of a request, from its head to the upstream's answer. `body` is left where nobody reads
/// it.
pub(super) async fn serve(
    context: &mut Context<'_>,
    parts: &mut request::Parts,
    body: &mut Option<Incoming>,
) -> Result<Response<Body>, Rejection> {
    let asking = Asking::read(parts)?;
    let mut departure = match decide(context, parts).await? {
        Decision::Answer(response) => return Ok(response),
        // Boxed: few requests come here, and all futures would be as large.
        Decision::Door(door) => {
            let from = context.connection.client_address(&parts.headers);
            return Box::pin(door.answer(context.snapshot, (parts, from), body)).await;
        }
        Decision::Onward(departure) => departure,
    };
    let wanted = asking.wanted(departure.route, parts, body.as_ref())?;
    if let Forwarding::Exchange(client) = &departure.route.forward {
        // Boxed: all futures would be as large.
        Box::pin(departure.exchange(client, parts, context.now)).await?;
    }
    let sent = {
        let request = departure.request(context, parts, body)?;
        context.sending = Some(request.body().watch());
        let Departure { route, permit, .. } = &departure;
        match wanted {
            None => Either::Left(forward(context, route, permit, request)),
            // Boxed: few requests come here, and all futures would be as large.
            Some(protocol) => {
                let asked = (asking, protocol);
                Either::Right(Box::pin(upgrade::switch(context, (route, permit), request, asked)))
            }
        }
    };
    let response = sent.await?;
    if let Some(token) = &departure.own
        && response.status() == StatusCode::UNAUTHORIZED
    {
        return Err(departure.route.forward.refused_upstream(&departure.permit, token));
    }
    Ok(response)
}

/// What becomes of a request by its head.
pub(super) enum Decision<'a> {
    /// It is answered here.
    Answer(Response<Body>),
    /// It is for one of the addresses at which the gateway answers for an authorization server.
    Door(&'a Door),
    /// It goes on to an upstream.
    Onward(Departure<'a>),
}

/// Decides about a request: the same for one that is served and for one that is only explained.
pub(super) async fn decide<'a>(
    context: &mut Context<'a>,
    parts: &mut request::Parts,
) -> Result<Decision<'a>, Rejection> {
    if is_about_the_server(parts) {
        let (_, host) = Entry::site(parts)?;
        return match context.connection.speaks_for(host.as_str()) {
            true => Ok(Decision::Answer(no_content(OPTIONS_ALLOW))),
            false => Err(Rejection::Misdirected),
        };
    }
    let entry = Entry::read(parts)?;
    if !context.connection.speaks_for(entry.host.as_str()) {
        return Err(Rejection::Misdirected);
    }
    let snapshot = context.snapshot;
    if let Some(preflight) = Preflight::of(parts)
        && let Some((route, cors)) = snapshot.asked_about(&entry, &preflight)
    {
        context.enter(route, &parts.headers);
        context.served_as = "preflight";
        let fields = cors.preflight(&preflight).map_err(Rejection::PreflightRefused)?;
        return Ok(Decision::Answer(permission(fields)));
    }
    if let Some(content) = snapshot.metadata.find(&entry.host, &entry.path) {
        context.served_as = content.served_as();
        return metadata::answer(content, &parts.method).map(Decision::Answer);
    }
    if let Some(door) = snapshot.doors.find(&entry.host, &entry.path) {
        context.served_as = door.served_as();
        return Ok(Decision::Door(door));
    }
    let found = snapshot.find(&entry, &parts.method);
    let route = found.inspect_err(|miss| context.pass_by(miss, &entry, parts))?;
    context.enter(route, &parts.headers);
    route.check_length(&parts.headers)?;
    if context.connection.worker.pseudonym().has_signed(&parts.headers) {
        return Err(Rejection::UpstreamFailed(UpstreamFailure::Loop));
    }

    let Admission { permit, exchanged } = route.authorize(parts, context).await?;
    let rewrite = Rewrite::of(route, &entry, parts)?;
    if headers::spend(&parts.method, &mut parts.headers) == MaxForwards::EndsHere {
        return Ok(Decision::Answer(no_content(OPTIONS_ALLOW)));
    }
    let own = route.forward.own_token(context.now).await?;
    Ok(Decision::Onward(Departure { route, rewrite, permit, exchanged, own }))
}

fn forward(
    context: &Context<'_>,
    route: &Route,
    permit: &Permit,
    request: Request<Body>,
) -> impl Future<Output = Result<Response<Body>, Rejection>> {
    let watch = request.body().watch();
    let worker = context.connection.worker.index();
    let Some((upstream, metrics)) = &route.upstream else {
        return Either::Right(ready(Err(Rejection::UpstreamFailed(UpstreamFailure::Refused))));
    };
    if context.is_overdue() {
        return Either::Right(ready(Err(Rejection::UpstreamFailed(UpstreamFailure::Overdue))));
    }
    let sent = upstream::forward(permit, upstream, worker, request, route.timeouts);
    let sent = match context.limit {
        None => Either::Left(sent),
        // Boxed, so that a request without a limit does not carry a timer's room around.
        Some(limit) => Either::Right(Box::pin(in_time(sent, limit))),
    };
    Either::Left(sent.map(move |answered| {
        let mut response =
            answered.map_err(|failure| departure::failure(watch.fault(), failure))?;
        metrics.answered(response.status());
        departure::arrived(context, route, &mut response);
        Ok(response)
    }))
}

/// Calls a request off whose answer has not begun in time: to drop it closes the connection or
/// resets the stream.
pub(super) async fn in_time<T>(
    sent: impl Future<Output = Result<T, UpstreamFailure>>,
    limit: Instant,
) -> Result<T, UpstreamFailure> {
    let answered = tokio::time::timeout_at(limit.into(), sent).await;
    answered.unwrap_or(Err(UpstreamFailure::Overdue))
}

/// RFC 9110 §9.3.7: `OPTIONS *` asks about the server, not about a resource behind it.
fn is_about_the_server(parts: &request::Parts) -> bool {
    parts.method == Method::OPTIONS && parts.uri.path() == "*"
}

fn no_content(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a preflight. 204, as 200 would announce content.
fn permission(fields: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = fields;
    response
}

const OPTIONS_ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
