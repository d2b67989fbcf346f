//! Why a client of the gateway's own has no token.

use std::time::{Duration, Instant};

use super::RETRY_DEFAULT;
use super::answer::TokenFailure;
use crate::base::time::Now;
use crate::config::Client;
use crate::reject::{InvalidToken, OutageCause, OwnClientCause, OwnClientFailure, Rejection};
use crate::verify::Server;

/// Why the last exchange gave no token, and until when that is the answer.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) why: Why,
    pub(super) until: Instant,
}

#[derive(Clone)]
pub(super) enum Why {
    Client(OwnClientCause),
    Outage(OutageCause),
    /// It is the caller's token: what the authorization server calls it.
    Subject(&'static str),
    /// The client that acts has no token.
    Actor(Box<Rejection>),
}

impl Refusal {
    /// What a request is told, with what is left of the wait.
    pub(super) fn rejection(&self, client: &Client, server: &Server, now: Now) -> Rejection {
        match &self.why {
            Why::Client(cause) => Rejection::OwnClientRefused(OwnClientFailure {
                client: client.name.clone(),
                cause: cause.clone(),
            }),
            Why::Subject(_) => Rejection::TokenInvalid(InvalidToken::NotExchanged),
            Why::Actor(why) => (**why).clone(),
            Why::Outage(cause) => {
                server.outage(*cause, Some(self.until.saturating_duration_since(now.instant)))
            }
        }
    }
}

impl Why {
    /// Why there is no token, and for how long that stays the answer.
    pub(super) fn of(failure: TokenFailure, negative_cache_ttl: Duration) -> (Self, Duration) {
        match failure {
            TokenFailure::Refused(code) => {
                (Self::Client(OwnClientCause::Refused(code.name())), negative_cache_ttl)
            }
            TokenFailure::Unusable => (Self::Client(OwnClientCause::Unusable), negative_cache_ttl),
            TokenFailure::Outage(cause, wait) => {
                (Self::Outage(cause), wait.unwrap_or(RETRY_DEFAULT))
            }
        }
    }

    /// The stable word: for a refusal its error code.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Client(OwnClientCause::Refused(code)) => code,
            Self::Client(OwnClientCause::PartialScopes(_)) => "partial_scopes",
            Self::Client(OwnClientCause::PartialDetails(_)) => "partial_details",
            Self::Client(OwnClientCause::Unusable) => "unusable",
            Self::Client(OwnClientCause::RefusedUpstream) => "refused_upstream",
            Self::Outage(cause) => cause.reason(),
            Self::Subject(word) => word,
            Self::Actor(_) => "actor",
        }
    }

    /// The label of the metric.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Client(OwnClientCause::Refused(_) | OwnClientCause::RefusedUpstream) => "refused",
            Self::Client(OwnClientCause::PartialScopes(_) | OwnClientCause::PartialDetails(_)) => {
                "partial"
            }
            Self::Client(OwnClientCause::Unusable) => "unusable",
            Self::Outage(_) => "unavailable",
            Self::Subject(_) => "subject_refused",
            Self::Actor(_) => "actor",
        }
    }
}
