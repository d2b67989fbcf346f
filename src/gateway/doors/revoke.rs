//! The revocation endpoint (RFC 7009): the form goes to the authorization server as it is, with its
//! caller's own credential; what is known of the token here is forgotten, whatever comes back.
//!
//! Where the server says that it is done, the token goes on the list as well: a JWT lives on by its
//! signature, whatever its server has done with it. Only what was good here does. Of anything else
//! a server says 200 too (§2.2), and made-up tokens would fill the list.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::suspect::{Suspect, is_wrong};
use super::{Door, Form, answer, invalid};
use crate::base::time::{self, Now};
use crate::body::Body;
use crate::oauth::{RawToken, VerifiedToken};
use crate::outbound::{Answer, OutboundFailure};
use crate::reject::{OutageCause, Rejection, RetryAfter};
use crate::revocation::Entry;
use crate::telemetry::{CallOutcome, Endpoint, RevocationDoor};

/// A call of it.
pub(super) struct Call<'a> {
    pub(super) door: &'a Door,
    /// How long an entry lives whose token names no end.
    pub(super) keep: Duration,
}

impl Call<'_> {
    /// Answers it; it came `from` there.
    ///
    /// # Errors
    /// 429 where too many wrong secrets came from there; 503 where the server cannot be asked, and
    /// where it has revoked a token that could not be put on the list: RFC 7009 §2.2.1 has the caller
    /// take it as living still, and come back.
    pub(super) async fn answer(
        &self,
        (headers, from): (&HeaderMap, Option<IpAddr>),
        form: &Form,
    ) -> Result<Response<Body>, Rejection> {
        let Some(token) = form.only("token") else {
            return Ok(invalid("token is missing, or there more than once"));
        };
        let suspect = match Suspect::read(headers, form) {
            Ok(suspect) => from.zip(suspect),
            Err(why) => return Ok(invalid(why)),
        };
        let (server, guesses) = (&self.door.server, &self.door.guesses);
        let Some(endpoint) = server.revocation_endpoint() else {
            return Err(server.outage(OutageCause::Unusable, None));
        };
        let before = time::now();
        if let Some((from, suspect)) = &suspect
            && let Some(wait) = guesses.wait(*from, &suspect.client_id, before.instant)
        {
            return Err(Rejection::GuessedTooOften(RetryAfter::new(wait)));
        }
        let token = RawToken::new(&token);
        let digest = token.digest();
        let was_good = server.forget(digest, before);
        let credential = headers.get(AUTHORIZATION);
        let called = server.outbound().relay(&endpoint, credential, form.text()).await;
        let now = time::now();
        server.metrics().call(Endpoint::Revocation, outcome(&called), now.instant - before.instant);
        // Anew: a request may have brought it back meanwhile.
        let was_good = server.forget(digest, now).or(was_good);
        let said = called.map_err(|failure| server.outage(failure.cause(), None))?;
        if let Some((from, suspect)) = &suspect
            && is_wrong(&said)
        {
            guesses.count(*from, &suspect.client_id, suspect.pair, now.instant);
        }
        if said.status == StatusCode::OK {
            let entries = self.entries_of(token, was_good, now).await?;
            if !entries.is_empty() {
                let entered = self.door.list.enter(entries, RevocationDoor::Endpoint).await;
                entered.map_err(|_| server.outage(OutageCause::Busy, None))?;
            }
        }
        relayed(&said).ok_or_else(|| server.outage(OutageCause::Unusable, said.retry_after))
    }

    /// What goes on the list of a token; none of one that was never good here.
    async fn entries_of(
        &self,
        token: RawToken<'_>,
        was_good: Option<Arc<VerifiedToken>>,
        now: Now,
    ) -> Result<Vec<Entry>, Rejection> {
        let server = &self.door.server;
        let mut known = was_good;
        if known.is_none() {
            // Such an answer may be older than the revocation, and is kept by when it is here.
            let answer = server.answer_under_way(&token.digest()).await;
            known = server.forget(token.digest(), time::now());
            known = known.or(answer?);
        }
        let known = match known {
            Some(known) => Some(known),
            None => server.identify(token, now).await?.map(Arc::new),
        };
        Ok(known.map(|known| Entry::of_token(&known, self.keep, now.unix)).unwrap_or_default())
    }
}

fn outcome(called: &Result<Answer, OutboundFailure>) -> CallOutcome {
    match called {
        Err(failure) => failure.outcome(),
        Ok(answer) if answer.status == StatusCode::OK => CallOutcome::Answered,
        Ok(answer) if answer.is_outage() => CallOutcome::Status,
        Ok(answer) if answer.status.is_client_error() => CallOutcome::Refused,
        Ok(_) => CallOutcome::Unusable,
    }
}

/// The server's answer, if it is one of those that RFC 7009 §2.2 and RFC 6749 §5.2 have: a redirect
/// would have the caller send its secret elsewhere.
fn relayed(said: &Answer) -> Option<Response<Body>> {
    let is_one = said.status == StatusCode::OK || said.status.is_client_error() || said.is_outage();
    if !is_one {
        return None;
    }
    let kind = said.media_type().and_then(|kind| HeaderValue::from_str(kind).ok());
    let mut response = answer(said.status, Body::full(said.body.clone()), kind);
    let headers = response.headers_mut();
    if let Some(wait) = said.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    if let Some(challenge) = &said.challenge {
        headers.insert(WWW_AUTHENTICATE, challenge.clone());
    }
    Some(response)
}
