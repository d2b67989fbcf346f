//! Tokens from an authorization server's token endpoint: our own for an upstream and those that
//! callers' keys and secrets are worth, by client credentials (RFC 6749 §4.4); and those that callers'
//! tokens are exchanged for (RFC 8693, RFC 7523).
//!
//! # What holds
//! * However many requests need a token, one exchange is under way for it. It runs detached: a
//!   caller that goes away fails nobody.
//! * A scope counts as granted if the answer, the token or introspection says so. Silence is
//!   "as asked" (RFC 6749 §5.1) only where nobody else can be asked, and never "all".
//! * A secret and a token are in no key, log line, metric or status.

mod answer;
mod asker;
mod basic;
mod client;
mod exchange;
mod flight;
mod guesses;
mod issued;
mod own_client;
mod own_token;
mod refusal;
mod request;
mod status;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::time::{self, Now};
use crate::outbound::{Answer, FormRequest, OutboundClient, OutboundFailure};
use crate::reject::OutageCause;
use crate::telemetry::{CallOutcome, Endpoint};
use crate::verify::Server;

use answer::{TokenAnswer, TokenFailure};
use request::{Asked, TokenRequest};

pub use basic::BasicExchange;
pub use client::Client;
pub use exchange::{ExchangeClient, Subject};
pub use guesses::Guesses;
pub use issued::Issued;
pub use own_client::OwnClient;
pub use own_token::OwnToken;
pub use status::ClientStatus;

/// Asks the token endpoint of `server`, and counts the call. `sent` is when the request leaves.
async fn ask(
    server: &Arc<Server>,
    outbound: &OutboundClient,
    request: &TokenRequest<'_>,
    sent: Now,
) -> Result<TokenAnswer, TokenFailure> {
    // Without one the metadata is not here yet, or says that there is none.
    let Some(endpoint) = server.token_endpoint_for(request.client) else {
        return Err(TokenFailure::Outage(OutageCause::Unreachable, None));
    };
    let form = FormRequest {
        endpoint: &endpoint,
        parameters: request.parameters(),
        client: request.client,
        issuer: &server.settings().issuer,
        token_endpoint: Some(&endpoint),
        now: sent.unix,
        tries: request.grant.tries(),
    };
    let called = outbound.post(form).await;
    let took = time::now().instant.saturating_duration_since(sent.instant);
    let (outcome, read) = judge(called, &request.grant);
    server.metrics().call(Endpoint::Token, outcome, took);
    read
}

fn judge(
    called: Result<Answer, OutboundFailure>,
    grant: &Asked<'_>,
) -> (CallOutcome, Result<TokenAnswer, TokenFailure>) {
    let answer = match called {
        Ok(answer) => answer,
        Err(failure) => {
            tracing::debug!(error = %failure, "token endpoint was not reached");
            return (failure.outcome(), Err(TokenFailure::Outage(failure.cause(), None)));
        }
    };
    let is_exchange = matches!(grant, Asked::TokenExchange(..));
    // RFC 8693 §2.2.1: the type is required, and one that opens no API is of no use here.
    let read = answer::read(&answer, grant).and_then(|read| {
        match is_exchange && !read.is_issued_for_apis {
            true => Err(TokenFailure::Unusable),
            false => Ok(read),
        }
    });
    let outcome = match &read {
        Ok(_) => CallOutcome::Answered,
        Err(TokenFailure::Refused(_)) => CallOutcome::Refused,
        Err(TokenFailure::Outage(..)) => CallOutcome::Status,
        Err(TokenFailure::Unusable) => CallOutcome::Unusable,
    };
    (outcome, read)
}

/// The end of a wait, bounded: the sum of an instant and a slip in a configuration could overflow.
fn until(from: Instant, wait: Duration) -> Instant {
    from + wait.min(WAIT_MAX)
}

/// Nothing that is held here is held for longer.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// How long a caller is told to wait where the authorization server named no time.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);
