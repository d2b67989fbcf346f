//! Tokens from an authorization server's token endpoint, by client credentials (RFC 6749 §4.4):
//! our own for an upstream, and those that callers' keys and secrets are worth.
//!
//! # What holds
//! * However many requests need a token, one exchange is under way for it. It runs detached: a
//!   caller that goes away fails nobody.
//! * A scope counts as granted if the answer, the token or introspection says so. Silence is
//!   "as asked" (RFC 6749 §5.1) only where nobody else can be asked, and never "all".
//! * A secret and a token are in no key, log line, metric or status.

mod answer;
mod basic;
mod client_credentials;
mod flight;
mod guesses;
mod issued;
mod own_token;
mod refusal;
mod status;
#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::time::{self, Now};
use crate::config::ClientAuthentication;
use crate::oauth::ScopeSet;
use crate::outbound::{Answer, FormRequest, OutboundClient, OutboundFailure};
use crate::reject::OutageCause;
use crate::telemetry::{CallOutcome, Endpoint};
use crate::verify::Server;

use answer::{TokenAnswer, TokenFailure};

pub use basic::BasicExchange;
pub use client_credentials::OwnClient;
pub use issued::Issued;
pub use own_token::OwnToken;
pub use status::ClientStatus;

/// What is asked of the token endpoint, and by whom.
struct TokenRequest<'a> {
    client: &'a ClientAuthentication,
    scopes: &'a ScopeSet,
    resources: &'a [Box<str>],
}

impl TokenRequest<'_> {
    /// The parameters of RFC 6749 §4.4.2 and RFC 8707 §2. Without scopes there is no `scope`: an
    /// empty one breaks its grammar.
    fn parameters(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut parameters = vec![("grant_type".into(), "client_credentials".into())];
        if !self.scopes.is_empty() {
            parameters.push(("scope".into(), self.scopes.to_string().into()));
        }
        for resource in self.resources {
            parameters.push(("resource".into(), Cow::Borrowed(&**resource)));
        }
        parameters
    }
}

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
    };
    let called = outbound.post(form).await;
    let took = time::now().instant.saturating_duration_since(sent.instant);
    let (outcome, read) = judge(called);
    server.metrics().call(Endpoint::Token, outcome, took);
    read
}

fn judge(
    called: Result<Answer, OutboundFailure>,
) -> (CallOutcome, Result<TokenAnswer, TokenFailure>) {
    let answer = match called {
        Ok(answer) => answer,
        Err(failure) => {
            tracing::debug!(error = %failure, "token endpoint was not reached");
            return (failure.outcome(), Err(TokenFailure::Outage(failure.cause(), None)));
        }
    };
    let read = answer::read(&answer);
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
