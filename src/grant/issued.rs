//! What is remembered of a caller's key and secret: a token, or why there is none.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use moka::Expiry;

use super::answer::{BearerToken, ErrorCode};
use super::own_token::OwnToken;
use super::refusal;
use crate::base::digest::Digest;
use crate::base::time::Now;
use crate::oauth::{RawToken, ScopeSet, TokenDigest};
use crate::reject::{OutageCause, OwnClientCause, OwnClientFailure, Rejection};
use crate::verify::{IssuedFacts, Server};

/// A token that the authorization server issued for a caller's key and secret.
pub struct Issued {
    bearer: BearerToken,
    facts: IssuedFacts,
    good_until: Instant,
}

impl Issued {
    pub(super) fn new(bearer: BearerToken, facts: IssuedFacts, good_until: Instant) -> Self {
        Self { bearer, facts, good_until }
    }

    /// The token, for the verifier.
    pub fn token(&self) -> RawToken<'_> {
        self.bearer.raw()
    }

    /// The field that carries it to the upstream, marked sensitive.
    pub fn authorization(&self) -> &HeaderValue {
        self.bearer.authorization()
    }

    /// What the token answer says about it.
    pub fn facts(&self) -> &IssuedFacts {
        &self.facts
    }

    /// Whether it may be used without asking again.
    pub(super) fn is_good(&self, now: Now) -> bool {
        now.instant < self.good_until && now.unix <= self.facts.expires
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Issued").field("client_id", &self.facts.client_id).finish()
    }
}

/// Why there is no token, and until when that is known. What the caller is told also depends on
/// the route that it came to, so it is made anew each time.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) why: Why,
    pub(super) until: Instant,
}

#[derive(Clone, Copy)]
pub(super) enum Why {
    /// Key or secret are wrong.
    Credential,
    /// Who it is was proven; what it asked for was not granted.
    Scope,
    /// The request was refused, and no fault of the caller's.
    Request(&'static str),
    /// The answer cannot be used.
    Unusable,
    /// There was none.
    Outage(OutageCause),
}

impl Why {
    /// RFC 6749 §5.2, by whose fault it is.
    pub(super) const fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidClient => Self::Credential,
            ErrorCode::InvalidScope | ErrorCode::UnauthorizedClient | ErrorCode::AccessDenied => {
                Self::Scope
            }
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidGrant
            | ErrorCode::InvalidToken
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidTarget
            | ErrorCode::InvalidAuthorizationDetails
            | ErrorCode::Unknown => Self::Request(code.name()),
        }
    }
}

impl Refusal {
    /// What a caller is told on a route with those scopes.
    pub(super) fn rejection(
        &self,
        server: &Server,
        route_scopes: &ScopeSet,
        now: Now,
    ) -> Rejection {
        let ours = |cause| {
            let client = server.settings().name.clone();
            Rejection::OwnClientRefused(OwnClientFailure { client, cause })
        };
        match self.why {
            Why::Credential => Rejection::BasicRefused,
            // An empty `scope` in a challenge breaks its grammar (RFC 6749 §3.3).
            Why::Scope if route_scopes.is_empty() => Rejection::ClaimsInsufficient,
            Why::Scope => Rejection::ScopeInsufficient(route_scopes.clone()),
            Why::Request(code) => ours(OwnClientCause::Refused(code)),
            Why::Unusable => ours(OwnClientCause::Unusable),
            Why::Outage(cause) => {
                server.outage(cause, Some(self.until.saturating_duration_since(now.instant)))
            }
        }
    }
}

/// Entries leave the cache when what they say ends.
pub(super) struct Remaining;

impl Expiry<Digest, Arc<Issued>> for Remaining {
    fn expire_after_create(&self, _: &Digest, kept: &Arc<Issued>, at: Instant) -> Option<Duration> {
        Some(kept.good_until.saturating_duration_since(at))
    }

    fn expire_after_update(
        &self,
        key: &Digest,
        kept: &Arc<Issued>,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, at)
    }
}

impl Expiry<Digest, Refusal> for Remaining {
    fn expire_after_create(&self, _: &Digest, kept: &Refusal, at: Instant) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(at))
    }

    fn expire_after_update(
        &self,
        key: &Digest,
        kept: &Refusal,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, at)
    }
}

impl Expiry<TokenDigest, Arc<OwnToken>> for Remaining {
    fn expire_after_create(
        &self,
        _: &TokenDigest,
        kept: &Arc<OwnToken>,
        at: Instant,
    ) -> Option<Duration> {
        Some(kept.good_until().saturating_duration_since(at))
    }

    fn expire_after_update(
        &self,
        key: &TokenDigest,
        kept: &Arc<OwnToken>,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, at)
    }
}

impl Expiry<TokenDigest, refusal::Refusal> for Remaining {
    fn expire_after_create(
        &self,
        _: &TokenDigest,
        kept: &refusal::Refusal,
        at: Instant,
    ) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(at))
    }

    fn expire_after_update(
        &self,
        key: &TokenDigest,
        kept: &refusal::Refusal,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, at)
    }
}
