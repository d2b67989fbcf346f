//! What is known of a request while it is worked on, and the answer that it gets in the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version, request,
};

use super::Connection;
use super::entry::Entry;
use super::handover::Handover;
use super::holding::Holding;
use super::route::Route;
use crate::base::net::Peer;
use crate::base::time::{self, Now};
use crate::body::{Body, BodyEnd, RequestWatch};
use crate::headers::{Cors, Preflight, Reader, Trust, grpc_timeout};
use crate::oauth::{RawToken, VerifiedToken};
use crate::reject::{
    AnswerForm, ChallengeContext, DPOP_NONCE, Rejection, RespondContext, Scheme, Unsupported,
};
use crate::telemetry::access_log::{Line, Upgraded};
use crate::verify::Purpose;

/// A request on its way.
pub(super) struct Context<'a> {
    pub(super) snapshot: &'a Holding,
    pub(super) connection: &'a Connection,
    pub(super) now: Now,
    pub(super) request_id: HeaderValue,
    pub(super) method: Method,
    pub(super) form: AnswerForm,
    route: Option<&'a Arc<Route>>,
    /// Which page may read the answer, where the route has CORS.
    reader: Reader,
    /// Who may read a 405, by a route of that path for another method.
    beside: Option<&'a Cors>,
    /// The word of the access log for a request that was not refused.
    pub(super) served_as: &'static str,
    /// The token that was found good, whatever became of the request then.
    pub(super) token: Option<Arc<VerifiedToken>>,
    /// What comes of a proof that counts.
    pub(super) purpose: Purpose,
    /// Whether the answer should bring the nonce for the next proof.
    pub(super) needs_new_nonce: bool,
    /// When the last byte of the answer must have come.
    pub(super) limit: Option<Instant>,
    /// How the sending of the request's body goes, once it has begun.
    pub(super) sending: Option<RequestWatch>,
    /// What only the access log wants to know: the target as received, and who asked.
    logged: Option<(Uri, Option<IpAddr>)>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        snapshot: &'a Holding,
        connection: &'a Connection,
        parts: &request::Parts,
        now: Now,
    ) -> Self {
        Self {
            snapshot,
            connection,
            now,
            request_id: request_id(&parts.headers, connection),
            method: parts.method.clone(),
            form: form(parts),
            route: None,
            reader: Reader::Nobody,
            beside: None,
            served_as: "allowed",
            token: None,
            purpose: Purpose::Serve,
            needs_new_nonce: false,
            limit: None,
            sending: None,
            logged: snapshot
                .config()
                .log
                .access
                .then(|| (parts.uri.clone(), connection.client_address(&parts.headers))),
        }
    }

    /// The route was found.
    pub(super) fn enter(&mut self, route: &'a Arc<Route>, headers: &HeaderMap) {
        self.route = Some(route);
        if let Some(cors) = &route.cors {
            self.reader = cors.reader(headers);
        }
        let caller_waits = match self.form {
            AnswerForm::Grpc => grpc_timeout(headers),
            AnswerForm::Problem => None,
        };
        if let Some(total) = route.timeouts.total.into_iter().chain(caller_waits).min() {
            // What no clock can hold is no limit.
            self.limit = self.now.instant.checked_add(total);
        }
    }

    /// The route that was found.
    pub(super) fn route(&self) -> Option<&'a Arc<Route>> {
        self.route
    }

    /// The request's path is that of routes which do not take its method: pages that may read
    /// their answers may read that. A preflight gets no permission by it.
    pub(super) fn pass_by(&mut self, miss: &Rejection, entry: &Entry<'_>, parts: &request::Parts) {
        if let Rejection::MethodNotAllowed(allow) = miss
            && Preflight::of(parts).is_none()
            && let Some((cors, reader)) =
                self.snapshot.readable_beside(entry, allow, &parts.headers)
        {
            (self.beside, self.reader) = (Some(cors), reader);
        }
    }

    /// Whether the time for the answer is over before there is one.
    pub(super) fn is_overdue(&self) -> bool {
        self.limit.is_some_and(|limit| limit <= time::instant())
    }

    /// Says in an answer which page may read it.
    pub(super) fn admit_reader(&self, route: &Route, headers: &mut HeaderMap) {
        if let Some(cors) = &route.cors {
            cors.apply(self.reader, headers);
        }
    }

    /// Finishes an answer that the upstream gave, or that is ours without being a refusal.
    pub(super) fn finish(self, mut response: Response<Body>) -> Response<Body> {
        let took = self.elapsed();
        if let Some(route) = self.route {
            route.metrics.allowed(took);
        }
        response.headers_mut().insert(REQUEST_ID, self.request_id.clone());
        if self.needs_new_nonce {
            self.renew_nonce(response.headers_mut());
        }
        let status = response.status();
        let served_as = self.served_as;
        if let Some(handover) = response.extensions().get::<Handover>() {
            handover.keep(self.pending(status, served_as, took));
            return response;
        }
        self.logging(response, status, served_as, took)
    }

    /// Brings the nonce for the next proof before the end of the one that was used (RFC 9449 §8.2). So
    /// that nobody gets it who did not ask, such an answer is not stored.
    fn renew_nonce(&self, headers: &mut HeaderMap) {
        let server = self.token.as_ref().and_then(|token| self.route?.server(token.server));
        let nonce = server.and_then(|server| server.new_nonce(self.now.unix));
        if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(&nonce).ok()) {
            headers.insert(DPOP_NONCE, nonce);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }

    /// Makes the answer of a refusal.
    pub(super) fn refuse(self, rejection: &Rejection, credential: &HeaderMap) -> Response<Body> {
        let took = self.elapsed();
        let metrics = match self.route {
            Some(route) => &route.metrics,
            None => &self.snapshot.unrouted,
        };
        metrics.refused(rejection, took);
        self.explain(rejection, credential);
        let challenge = match self.route.filter(|route| !route.is_public()) {
            None => ChallengeContext::outside_routes(&self.snapshot.realm),
            Some(route) => ChallengeContext {
                realm: &self.snapshot.realm,
                accept: route.accept(),
                scopes: route.asked(),
                dpop: route.proving.dpop.as_ref(),
                resource_metadata: route.resource_metadata.as_deref(),
                used: used_scheme(credential),
            },
        };
        let context = RespondContext { challenge, method: &self.method, form: self.form };
        let mut response = rejection.respond(&context).map(Body::full);
        response.headers_mut().insert(REQUEST_ID, self.request_id.clone());
        if let Some(route) = self.route {
            route.edits.response.complete(response.headers_mut());
            self.admit_reader(route, response.headers_mut());
        }
        if let Some(cors) = self.beside {
            cors.apply(self.reader, response.headers_mut());
        }
        if ends_connection(rejection) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.logging(response, rejection.status(), rejection.reason(), took)
    }

    fn elapsed(&self) -> Duration {
        time::instant().saturating_duration_since(self.now.instant)
    }

    /// Says in the log why a request was refused: at the level that the refusal calls for.
    fn explain(&self, rejection: &Rejection, credential: &HeaderMap) {
        let level = rejection.log_level();
        if tracing::level_filters::LevelFilter::current() < level {
            return;
        }
        let request_id = self.request_id.to_str().unwrap_or("-");
        let route = self.route.map_or("-", |route| route.name());
        let reason = rejection.reason();
        let token = sent_token(credential).map(|token| tracing::field::display(token.digest()));
        match level {
            tracing::Level::ERROR => {
                tracing::error!(request_id, route, reason, error = %rejection, "request refused");
            }
            tracing::Level::WARN => {
                tracing::warn!(request_id, route, reason, error = %rejection, "request refused");
            }
            _ => tracing::debug!(request_id, route, reason, token, "request refused"),
        }
    }

    /// Hangs the line of the access log on the end of the answer's body.
    fn logging(
        self,
        response: Response<Body>,
        status: StatusCode,
        reason: &'static str,
        head: Duration,
    ) -> Response<Body> {
        let may_break_off = |route: &&Arc<Route>| {
            self.limit.is_some() || route.revocations().is_some() && response.body().is_under_way()
        };
        let limited = self.route.filter(may_break_off).map(Arc::clone);
        if let Some(pending) = self.pending(status, reason, head) {
            return response.map(|body| body.on_end(move |end| pending.write(end)));
        }
        let Some(route) = limited else { return response };
        response.map(|body| {
            body.on_end(move |end| {
                route.broken_off(end);
            })
        })
    }

    /// The line of the access log that is to be written in the end, if there is to be one.
    fn pending(
        self,
        status: StatusCode,
        reason: &'static str,
        head: Duration,
    ) -> Option<PendingLine> {
        let (target, client) = self.logged?;
        Some(PendingLine {
            request_id: self.request_id,
            peer: self.connection.peer,
            client,
            method: self.method,
            target,
            route: self.route.map(Arc::clone),
            token: self.token,
            status,
            reason,
            started: self.now.instant,
            head,
        })
    }
}

/// A line of the access log whose answer is still being sent.
pub(super) struct PendingLine {
    request_id: HeaderValue,
    peer: Peer,
    client: Option<IpAddr>,
    method: Method,
    target: Uri,
    route: Option<Arc<Route>>,
    token: Option<Arc<VerifiedToken>>,
    status: StatusCode,
    reason: &'static str,
    started: Instant,
    head: Duration,
}

impl PendingLine {
    fn write(&self, end: BodyEnd) {
        let broken_off = self.route.as_deref().and_then(|route| route.broken_off(end));
        self.write_with(broken_off.unwrap_or(self.reason), end.bytes, None);
    }

    /// Writes it for a connection that switched protocols.
    pub(super) fn write_upgraded(&self, sent_bytes: u64, upgraded: Upgraded) {
        self.write_with(self.reason, sent_bytes, Some(upgraded));
    }

    fn write_with(&self, reason: &str, sent_bytes: u64, upgrade: Option<Upgraded>) {
        let route = self.route.as_deref();
        let upstream = route.and_then(|route| route.upstream.as_ref());
        Line {
            request_id: &self.request_id,
            peer: self.peer,
            client: self.client,
            method: &self.method,
            path: self.target.path(),
            route: route.map_or("-", |route| route.name()),
            status: self.status,
            reason,
            token: self.token.as_deref(),
            required: route.filter(|route| !route.is_public()).map(|route| route.asked()),
            upstream: upstream.map_or("-", |(upstream, _)| &upstream.settings().name),
            head: self.head,
            total: time::instant().saturating_duration_since(self.started),
            sent_bytes,
            upgrade,
        }
        .write();
    }
}

/// The caller's request id if a trusted proxy sends it, and one of ours if not.
fn request_id(headers: &HeaderMap, connection: &Connection) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|id| is_request_id(id.as_bytes()) && connection.trust == Trust::Proxy)
        .cloned()
        .unwrap_or_else(|| connection.worker.next_request_id())
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// gRPC is spoken over HTTP/2 alone; whoever claims it over HTTP/1.1 gets the HTTP answer.
fn form(parts: &request::Parts) -> AnswerForm {
    match parts.version {
        Version::HTTP_2 => AnswerForm::of(&parts.headers),
        _ => AnswerForm::Problem,
    }
}

/// Whether nobody can say what comes behind a request, or where: what is malformed may have been
/// read otherwise by whoever stands in front (RFC 9112 §11.2). HTTP/2 has no such field, and ends
/// one stream.
const fn ends_connection(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::TooSlow
            | Rejection::RequestMalformed(_)
            | Rejection::NotSupported(Unsupported::TransferCoding)
    )
}

/// Which scheme the caller used, as far as it matters for a challenge.
fn used_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let is =
        |name: &[u8]| value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if is(b"bearer") {
        Some(Scheme::Bearer)
    } else if is(b"basic") {
        Some(Scheme::Basic)
    } else if is(b"dpop") {
        Some(Scheme::Dpop)
    } else {
        None
    }
}

/// The token that a refused request brought, so that its digest can be logged.
fn sent_token(headers: &HeaderMap) -> Option<RawToken<'_>> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let is = |name| scheme.eq_ignore_ascii_case(name);
    (is("bearer") || is("dpop")).then(|| RawToken::new(token.trim_start()))
}

/// Every answer carries it, and so does the request to the upstream.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer than any scheme for request ids in use.
const REQUEST_ID_MAX_BYTES: usize = 128;
