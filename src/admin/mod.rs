//! What the admin listener answers: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! It shows names from the configuration, numbers and key ids; never a secret, a token or a claim.

mod status;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use prometheus::{Encoder, TextEncoder};

use crate::gateway::Gateway;

/// Answers one request. Everything is read-only, so that a web page which makes a browser call us
/// changes nothing.
pub fn answer(gateway: &Gateway, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => readiness(gateway),
        "/metrics" => metrics(gateway),
        "/status" => status(gateway),
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /metrics /status\n".into()),
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
