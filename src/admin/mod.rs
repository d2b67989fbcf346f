//! What the admin listener answers: `/metrics`, `/livez`, `/readyz`, `/status`, `/revocations`, `/explain`.
//!
//! It shows names from the configuration, numbers and key ids; never a secret or a token, and claims to
//! nobody but who asks [`explain`] about a token.
//! What changes anything, a `POST`, is [`guard`]ed: nobody else's page may make a browser send it.

mod body;
mod explain;
mod guard;
mod problem;
mod revocations;
mod status;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus::{Encoder, TextEncoder};

use crate::gateway::Gateway;

/// Whom a listener can be reached by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// This machine alone.
    Local,
    /// Others.
    Network,
}

/// Answers one request at a listener of that reach.
pub async fn answer(
    gateway: &Gateway,
    request: Request<Incoming>,
    reach: Reach,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    match *request.method() {
        Method::POST if path == EXPLAIN => explain::post(gateway, request, reach).await,
        Method::POST if path == REVOCATIONS => revocations::post(gateway, request, reach).await,
        Method::GET | Method::HEAD if path != EXPLAIN => read(gateway, path),
        _ => {
            let allow = match path {
                EXPLAIN => "POST",
                REVOCATIONS => "GET, HEAD, POST",
                _ => "GET, HEAD",
            };
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{allow} only\n"));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        }
    }
}

fn read(gateway: &Gateway, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => readiness(gateway),
        "/metrics" => metrics(gateway),
        "/status" => status(gateway),
        REVOCATIONS => revocations::get(gateway),
        _ => text(
            StatusCode::NOT_FOUND,
            "/livez /readyz /metrics /status /revocations /explain\n".into(),
        ),
    }
}

fn readiness(gateway: &Gateway) -> Response<Full<Bytes>> {
    if gateway.is_draining() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
    }
    let waiting = gateway.unready();
    if waiting.is_empty() {
        return text(StatusCode::OK, "ok\n".into());
    }
    let waiting = format!("waiting for {}\n", waiting.join(", "));
    text(StatusCode::SERVICE_UNAVAILABLE, waiting)
}

fn metrics(gateway: &Gateway) -> Response<Full<Bytes>> {
    read_caches(gateway);
    read_members(gateway);
    read_certificates(gateway);
    gateway.metrics().count_tasks();
    let mut page = Vec::new();
    let families = gateway.metrics().registry().gather();
    match TextEncoder::new().encode(&families, &mut page) {
        Ok(()) => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn read_caches(gateway: &Gateway) {
    let snapshot = gateway.snapshot();
    let caches = snapshot.caches().status();
    let (issued, refused) = snapshot.basic_entries();
    let metrics = gateway.metrics();
    metrics.cache_entries("tokens", caches.tokens.entries);
    metrics.cache_entries("negative", caches.negative.entries);
    metrics.cache_entries("basic", issued);
    metrics.cache_entries("basic_negative", refused);
    let (exchanged, refused) = snapshot.exchanged_entries();
    metrics.cache_entries("exchanged", exchanged);
    metrics.cache_entries("exchanged_negative", refused);
    let signed = snapshot.signers().iter().map(|signer| signer.entries()).sum();
    metrics.cache_entries("signed", signed);
}

fn read_members(gateway: &Gateway) {
    let metrics = gateway.metrics();
    metrics.forget_upstream_members();
    for upstream in gateway.snapshot().upstreams() {
        let name = &upstream.settings().name;
        for (state, count) in upstream.member_counts() {
            metrics.upstream_members(name, state.name(), count);
        }
        let connections = upstream.connections();
        metrics.upstream_connections(name, connections.open, connections.waiting);
    }
}

fn read_certificates(gateway: &Gateway) {
    let certificates = gateway.certificates();
    let ends = certificates.iter().filter_map(|one| Some((&*one.used_by, one.first_end()?.get())));
    gateway.metrics().certificates().ends(ends);
}

fn status(gateway: &Gateway) -> Response<Full<Bytes>> {
    match serde_json::to_vec_pretty(&status::Status::of(gateway)) {
        Ok(page) => respond(StatusCode::OK, "application/json", page),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.into_bytes())
}

fn respond(status: StatusCode, kind: &'static str, page: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const REVOCATIONS: &str = "/revocations";
const EXPLAIN: &str = "/explain";
