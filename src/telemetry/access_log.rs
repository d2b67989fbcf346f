//! One line per request, when its answer has been sent or given up.
//!
//! A token stands in it as eight hex digits of its digest; the query stands nowhere, since that is
//! where tokens are put by mistake.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};

use super::UpgradeEnd;
use crate::base::net::{Peer, ShownIp};
use crate::oauth::{ScopeSet, VerifiedToken};

/// The target of the events: `level = "info,scopegate::access=off"` silences them alone.
pub const TARGET: &str = "scopegate::access";

/// What a line says.
#[derive(Debug)]
pub struct Line<'a> {
    /// The `x-request-id` of the answer.
    pub request_id: &'a HeaderValue,
    /// Who is at the other end.
    pub peer: Peer,
    /// Where the request came from, as far as trusted proxies vouch for it.
    pub client: Option<IpAddr>,
    /// The request's method.
    pub method: &'a Method,
    /// Its path, without the query.
    pub path: &'a str,
    /// The route that was found, or `-`.
    pub route: &'a str,
    /// What was answered.
    pub status: StatusCode,
    /// Why it was refused, or `allowed`.
    pub reason: &'a str,
    /// Whom the credential speaks for.
    pub token: Option<&'a VerifiedToken>,
    /// What the route asks for.
    pub required: Option<&'a ScopeSet>,
    /// Where it went, or `-`.
    pub upstream: &'a str,
    /// From the request's head to the answer's head.
    pub head: Duration,
    /// From the request's head to the answer's last byte.
    pub total: Duration,
    /// Bytes of the answer's body, or of what followed a switch of protocols.
    pub sent_bytes: u64,
    /// What became of a connection that switched protocols.
    pub upgrade: Option<Upgraded>,
}

/// What a line says of a connection that switched protocols.
#[derive(Clone, Copy, Debug)]
pub struct Upgraded {
    /// Bytes that came from the caller in the other protocol.
    pub received_bytes: u64,
    /// How it ended.
    pub end: UpgradeEnd,
}

impl Line<'_> {
    /// Makes the event. [`super::access_format`] writes strings, numbers without sign and displayed
    /// values as tracing-subscriber would; a field of another kind must be taught there first.
    pub fn write(&self) {
        let token = self.token;
        let subject = token.and_then(|token| token.client_id());
        tracing::info!(
            target: TARGET,
            request_id = self.request_id.to_str().unwrap_or("-"),
            peer = %self.peer,
            client = self.client.map(|client| tracing::field::display(ShownIp(client))),
            method = %self.method,
            path = self.path,
            route = self.route,
            status = self.status.as_u16(),
            reason = self.reason,
            issuer = token.map(|token| token.issuer.as_str()),
            client_id = subject,
            token = token.map(|token| tracing::field::display(token.digest)),
            scopes_required = self.required.map(tracing::field::display),
            scopes_held = token.map(|token| tracing::field::display(token.scopes())),
            upstream = self.upstream,
            head_us = micros(self.head),
            total_us = micros(self.total),
            sent_bytes = self.sent_bytes,
            received_bytes = self.upgrade.map(|upgraded| upgraded.received_bytes),
            ended = self.upgrade.map(|upgraded| upgraded.end.name()),
            "request"
        );
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
