//! One document of an authorization server: fetched, counted, and judged by its status first.

use std::fmt;
use std::time::Duration;

use http::{StatusCode, Uri};

use super::server::Server;
use crate::base::time;
use crate::outbound::OutboundFailure;
use crate::reject::OutageCause;
use crate::telemetry::{CallOutcome, Endpoint};

/// Why a document could not be had. What is held stays as it is.
#[derive(Clone, Debug)]
pub(super) enum FetchFailure {
    /// No answer.
    Call(OutboundFailure),
    /// A status other than 200, redirects too, and when to come back.
    Status(StatusCode, Option<Duration>),
    /// An answer that is not what it should be: in which way.
    Unusable(&'static str),
    /// There is no metadata at any of the addresses.
    Absent,
    /// It was never tried, or the one who tried is gone.
    Untried,
}

impl FetchFailure {
    /// What a refusal says of it.
    pub(super) fn cause(&self) -> OutageCause {
        match self {
            Self::Call(failure) => failure.cause(),
            Self::Status(..) => OutageCause::Status,
            Self::Unusable(_) => OutageCause::Unusable,
            Self::Absent | Self::Untried => OutageCause::NoKeys,
        }
    }

    /// How long the server wants to be left alone.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(_, retry_after) => *retry_after,
            Self::Call(_) | Self::Unusable(_) | Self::Absent | Self::Untried => None,
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(failure) => failure.fmt(formatter),
            Self::Status(status, _) => write!(formatter, "status {}", status.as_u16()),
            Self::Unusable(what) => formatter.write_str(what),
            Self::Absent => formatter.write_str("no metadata at any well-known address"),
            Self::Untried => formatter.write_str("not fetched yet"),
        }
    }
}

/// Fetches a document and reads it.
///
/// # Errors
/// When there is no answer, its status is not 200, or `read` finds it unusable.
pub(super) async fn document<T>(
    server: &Server,
    endpoint: Endpoint,
    uri: &Uri,
    read: impl FnOnce(&[u8]) -> Result<T, FetchFailure>,
) -> Result<T, FetchFailure> {
    server.fetches().url = Some(uri.clone());
    let from = time::now().instant;
    let outcome = match server.outbound().get(uri).await {
        Err(failure) => Err(FetchFailure::Call(failure)),
        Ok(answer) if answer.status == StatusCode::OK => read(&answer.body),
        Ok(answer) => Err(FetchFailure::Status(answer.status, answer.retry_after)),
    };
    let counted = match &outcome {
        Ok(_) => CallOutcome::Answered,
        Err(FetchFailure::Call(failure)) => failure.outcome(),
        Err(FetchFailure::Status(..)) => CallOutcome::Status,
        Err(FetchFailure::Unusable(_) | FetchFailure::Absent | FetchFailure::Untried) => {
            CallOutcome::Unusable
        }
    };
    server.metrics().call(endpoint, counted, time::now().instant - from);
    outcome
}
