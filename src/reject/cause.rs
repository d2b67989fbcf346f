//! The causes inside a [`Rejection`](super::Rejection): each a bounded list, so that each can be a
//! word of a metric.

use std::time::Duration;

use crate::oauth::{Issuer, ScopeSet};

/// What is wrong with a request before any credential is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MalformedRequest {
    /// Dot segments, an encoded slash, a backslash, a control character, a bad percent, an empty
    /// segment: the path has two readings.
    Path,
    /// No host, more than one, a bad one, or one that differs from `:authority`.
    Host,
    /// `Connection` names a field that must travel end to end (RFC 9110 §7.6.1).
    Connection,
    /// The target is in no form that we serve (RFC 9112 §3.2).
    Target,
    /// A framing that must not be passed on (RFC 9112 §6).
    Framing,
    /// A value that begins or ends with a blank, over HTTP/2 (RFC 9113 §8.2.1).
    Field,
    /// A body beside a switch of protocols: where one ends and the other begins has two readings.
    Upgrade,
}

/// Why a page of another site may not send a request (Fetch, CORS-preflight fetch).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PreflightRefusal {
    /// The page's origin is not one of the route's.
    Origin,
    /// The route takes the method, but not from pages.
    Method,
}

/// What this gateway does not do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsupported {
    /// `CONNECT`: we are no tunnel (501).
    Connect,
    /// An expectation other than `100-continue` (417).
    Expectation,
    /// A transfer coding other than `chunked` (501).
    TransferCoding,
    /// A protocol that a stream of HTTP/2 cannot become here (501).
    Protocol,
}

/// A bound that a request went over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// The body (413).
    Body,
    /// The target (414).
    Target,
    /// The header section (431).
    Header,
}

/// How a credential breaks its grammar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MalformedCredential {
    /// Two `Authorization` fields, or two credentials in one.
    Several,
    /// A token in the query (RFC 9700 §4.3.2).
    InQuery,
    /// `Bearer` without one `b64token` (RFC 6750 §2.1).
    Bearer,
    /// `Basic` that is not base64 of UTF-8 with a colon and without controls (RFC 7617 §2).
    Basic,
    /// `DPoP` without one `b64token` (RFC 9449 §7.1).
    Dpop,
    /// A token longer than any that we look at.
    TooLong,
}

/// Why a token is bad. The caller gets the code `invalid_token` for each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum InvalidToken {
    /// It breaks the form of a JWT, or its claims have wrong types.
    Malformed,
    /// `alg` is absent, unknown, not allowed, or does not fit the key.
    Algorithm,
    /// `typ` is not that of an access token (RFC 9068 §4).
    Type,
    /// `typ` is `JWT` or absent, as older servers have it, and the configuration does not allow
    /// that.
    TypeNotConfigured,
    /// `crit` names what we do not know (RFC 7515 §4.1.11).
    Critical,
    /// An ID token, a refresh token or another token that is no access token.
    NotAccessToken,
    /// `iss` is no authorization server that this route trusts.
    Issuer,
    /// No key of the issuer fits.
    KeyUnknown,
    /// The signature does not hold.
    Signature,
    /// Past `exp`.
    Expired,
    /// Before `nbf`.
    NotYetValid,
    /// `aud` does not name us.
    Audience,
    /// The authorization server says that it is not active (RFC 7662 §2.2).
    Inactive,
    /// It was revoked: by its server's word, a logout, or the operator (RFC 7009 §2).
    Revoked,
    /// It is bound to a key or certificate that was not proven.
    Bound,
    /// It is bound to no key or certificate, and was sent as one that is, or must be one.
    Unbound,
    /// Nobody on this route can judge such a token.
    Unjudgeable,
    /// The authorization server gives nothing for it (RFC 8693 §2.2.2, RFC 7523 §3.1), or it is of
    /// a kind that cannot be asked for.
    NotExchanged,
}

/// How a user must have logged in for a request (RFC 9470 §3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StepUp {
    /// `acr_values`, in the order of preference, a blank between two. Empty: whichever.
    pub acr_values: Box<str>,
    /// `max_age`, in seconds.
    pub max_age_s: Option<u64>,
    /// The scopes that are needed, if the token lacks one of those as well.
    pub scopes: Option<ScopeSet>,
}

/// An authorization server that could not be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outage {
    /// Which one; for the log, never for the caller.
    pub issuer: Issuer,
    /// What went wrong, from a bounded list; for the log and the metric.
    pub cause: OutageCause,
    /// When to come back.
    pub retry_after: RetryAfter,
}

/// Why an authorization server could not be asked, or gave no answer that counts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OutageCause {
    /// No connection, or TLS failed.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// 5xx or 429.
    Status,
    /// An answer that says neither yes nor no.
    Unusable,
    /// Our own client was refused there: the operator's fault, not the caller's.
    OurClientRefused,
    /// No keys are known yet, or none that are young enough.
    NoKeys,
    /// Too many questions are under way at once.
    Busy,
}

/// Seconds for `Retry-After` (RFC 9110 §10.2.3), at least one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryAfter(u64);

impl RetryAfter {
    /// One second.
    pub const SHORTEST: Self = Self(1);

    /// Rounds up to whole seconds, and to at least one.
    pub fn new(wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self(whole.max(1))
    }

    /// The number of seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

/// What the gateway's own client lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnClientFailure {
    /// The name of its table, `clients.NAME`; for log and metric.
    pub client: Box<str>,
    /// What happened.
    pub cause: OwnClientCause,
}

/// Why the gateway's own client has no token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OwnClientCause {
    /// The authorization server refused it: the error code (RFC 6749 §5.2), cut to a known one.
    Refused(&'static str),
    /// Fewer scopes were granted than asked for: the missing ones.
    PartialScopes(ScopeSet),
    /// Fewer `authorization_details` were granted than asked for (RFC 9396 §7): the types of the
    /// missing ones.
    PartialDetails(Box<[Box<str>]>),
    /// The answer cannot be used.
    Unusable,
    /// The upstream does not accept the token it was given.
    RefusedUpstream,
}

/// Why the upstream gave no usable answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum UpstreamFailure {
    /// No connection to any endpoint (502).
    Refused,
    /// TLS with it failed (502).
    Tls,
    /// The connection broke before the answer's head was whole (502).
    Reset,
    /// The answer breaks HTTP (502).
    Malformed,
    /// No answer in time (504).
    TimedOut,
    /// All of the exchange took longer than the route allows, or than a gRPC caller waits for it
    /// (504).
    Overdue,
    /// Our own name stands in `Via` (RFC 9110 §7.6): the request goes in circles (502).
    Loop,
    /// Too many requests wait for this upstream (503).
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(RetryAfter::new(Duration::from_millis(millis)).seconds(), seconds);
        }
    }
}
