//! Questions to a server that are under way: one for all who ask the same at the same time.
//!
//! A question runs as a task of its own, so a caller that goes away fails nobody else, and its
//! answer is kept before the next caller can ask anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cache::{BadVerdict, CacheKey, GoodVerdict, Judge, Proof};
use super::introspection::{self, NoVerdict};
use super::server::Server;
use crate::base::secret::Secret;
use crate::base::time::Now;
use crate::config::{Introspection, OnUnavailable};
use crate::oauth::{TokenDigest, VerifiedToken};
use crate::reject::{OutageCause, Rejection};

/// A question about a token.
pub(super) struct Question {
    /// The token: a question outlives the request that asked it.
    pub(super) token: Secret,
    /// Its digest.
    pub(super) digest: TokenDigest,
    /// What its signature and claims have proven already, for a JWT.
    pub(super) jwt: Option<(VerifiedToken, Proof)>,
    /// When it was asked; the answer is judged by this clock.
    pub(super) now: Now,
}

/// The questions under way at one server.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    questions: HashMap<FlightId, Flight>,
    last: u64,
}

type Verdict = Result<Arc<VerifiedToken>, Rejection>;

/// What whoever waits for an answer holds.
pub(super) type Flight = watch::Receiver<Option<Verdict>>;

/// What is asked; the number is zero where an answer may serve several.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct FlightId(CacheKey, u64);

impl Question {
    fn key(&self, server: &Server) -> CacheKey {
        let judge = if self.jwt.is_some() { Judge::Keys } else { Judge::Asked(server.id()) };
        CacheKey { digest: self.digest, judge }
    }
}

impl Server {
    /// Asks about a token, together with everybody who asks the same.
    ///
    /// # Errors
    /// 401 where the server says no, 503 where it cannot be asked and no old verdict may serve.
    pub(super) async fn ask(
        self: &Arc<Self>,
        settings: &Introspection,
        question: Question,
    ) -> Verdict {
        let (key, now) = (question.key(self), question.now);
        let outcome = match self.board(settings, question) {
            Ok(flight) => self.outcome_of_flight(flight).await,
            Err(verdict) => verdict,
        };
        match outcome {
            Err(Rejection::VerifierUnavailable(outage)) => self
                .stale(settings, &key, outage.cause, now)
                .ok_or(Rejection::VerifierUnavailable(outage)),
            outcome => outcome,
        }
    }

    /// The questions about this token that are under way.
    pub(super) fn flights_about(&self, digest: &TokenDigest) -> Vec<Flight> {
        let under_way = self.flights.lock();
        let about = under_way.questions.iter().filter(|(id, _)| id.0.digest == *digest);
        about.map(|(_, flight)| flight.clone()).collect()
    }

    /// The token that a question finds good, once its answer is kept.
    ///
    /// # Errors
    /// When it takes longer than a question may.
    pub(super) async fn landing(
        &self,
        mut flight: Flight,
    ) -> Result<Option<Arc<VerifiedToken>>, Rejection> {
        match tokio::time::timeout(self.flight_bound(), flight.wait_for(Option::is_some)).await {
            Ok(Ok(verdict)) => Ok(verdict.clone().and_then(Result::ok)),
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(self.outage(OutageCause::TimedOut, None)),
        }
    }

    /// Twice: the endpoint may have to be discovered first.
    fn flight_bound(&self) -> Duration {
        self.settings().outbound.timeout.saturating_mul(2)
    }

    /// The flight to wait for: one under way, or a new one. An answer that came since the caller
    /// looked is used in its place; without that a thousand callers could ask twice.
    fn board(
        self: &Arc<Self>,
        settings: &Introspection,
        question: Question,
    ) -> Result<Flight, Verdict> {
        let key = question.key(self);
        let mut under_way = self.flights.lock();
        let is_shared = !settings.cache_ttl.is_zero();
        if is_shared {
            if let Some(flight) = under_way.questions.get(&FlightId(key, 0)) {
                return Ok(flight.clone());
            }
            if let Some(known) = self.known(&key, question.now.instant) {
                return Err(known);
            }
        }
        if under_way.questions.len() >= FLIGHTS_MAX {
            return Err(Err(self.outage(OutageCause::Busy, None)));
        }
        // With no cache an answer that was asked for before must not serve: it may be older than
        // a revocation that this caller knows of.
        under_way.last += 1;
        let id = FlightId(key, if is_shared { 0 } else { under_way.last });
        let (landed, flight) = watch::channel(None);
        under_way.questions.insert(id, flight.clone());
        let landing = Landing { server: Arc::clone(self), id };
        self.runtime().spawn(async move {
            let verdict = landing.server.fly(question).await;
            landed.send_replace(Some(verdict));
            drop(landing);
        });
        Ok(flight)
    }

    fn known(&self, key: &CacheKey, now: Instant) -> Option<Verdict> {
        let is_ours = |good: &GoodVerdict| good.token.server == self.id() && good.is_fresh(now);
        if let Some(good) = self.caches().good(key, now).filter(is_ours) {
            return Some(Ok(good.token));
        }
        let keys = self.peek_keys().version;
        let is_ours =
            |bad: &BadVerdict| bad.server == self.id() && bad.keys == keys && now < bad.until;
        let bad = self.caches().bad(key).filter(is_ours);
        bad.map(|bad| Err(Rejection::TokenInvalid(bad.why)))
    }

    async fn outcome_of_flight(&self, mut flight: Flight) -> Verdict {
        match tokio::time::timeout(self.flight_bound(), flight.wait_for(Option::is_some)).await {
            Ok(Ok(verdict)) => {
                verdict.clone().unwrap_or_else(|| Err(self.outage(OutageCause::Unusable, None)))
            }
            Ok(Err(_)) => Err(self.outage(OutageCause::Unusable, None)),
            Err(_) => Err(self.outage(OutageCause::TimedOut, None)),
        }
    }

    async fn fly(self: &Arc<Self>, question: Question) -> Verdict {
        let Some(settings) = &self.settings().introspection else {
            return Err(self.outage(OutageCause::Unusable, None));
        };
        let key = question.key(self);
        let now = question.now;
        match self.answer(settings, question).await {
            Ok((token, proof)) => Ok(self.keep(settings, token, proof, now)),
            Err(NoVerdict::Bad(why)) => {
                let kept_for = settings.negative_cache_ttl;
                let keys = self.peek_keys().version;
                let until = after(now.instant, kept_for);
                let verdict = BadVerdict { why, server: self.id(), keys, until, kept_for };
                self.caches().keep_bad(key, verdict);
                Err(Rejection::TokenInvalid(why))
            }
            Err(NoVerdict::Outage(cause, retry_after)) => Err(self.outage(cause, retry_after)),
        }
    }

    async fn answer(
        self: &Arc<Self>,
        settings: &Introspection,
        question: Question,
    ) -> Result<(VerifiedToken, Proof), NoVerdict> {
        let Question { token, digest, jwt, now } = question;
        let lacks_endpoint = self.introspection_endpoint().is_none() || self.lacks_audience();
        if lacks_endpoint && self.needs_metadata() {
            // Whatever it brings is seen by the next line.
            let _ = self.wait_for_keys().await;
        }
        let unknown = NoVerdict::Outage(OutageCause::Unusable, None);
        let endpoint = self.introspection_endpoint().ok_or(unknown)?;
        let claims = introspection::ask(self, settings, &endpoint, &token, now.unix).await?;
        let server = self.settings();
        match jwt {
            Some((jwt, proof)) => {
                Ok((introspection::confirm(jwt, &claims, server, now.unix)?, proof))
            }
            None => {
                let us = (self.id(), server);
                let token = introspection::judge(&claims, digest, us, settings, now.unix)?;
                self.note_issue_time(&claims, now);
                Ok((token, Proof::Settings))
            }
        }
    }

    fn keep(
        &self,
        settings: &Introspection,
        token: VerifiedToken,
        proof: Proof,
        now: Now,
    ) -> Arc<VerifiedToken> {
        let token = Arc::new(token);
        let exp = token.validity.until().map(|until| until.minus(self.settings().clock_skew));
        let fresh_for = introspection::fresh_for(exp, now.unix, settings.cache_ttl);
        let left = exp.map(|exp| exp.since(now.unix).unwrap_or_default());
        let kept_for =
            fresh_for.saturating_add(max_stale(settings)).min(left.unwrap_or(Duration::MAX));
        let fresh_until = Some(after(now.instant, fresh_for));
        let verdict = GoodVerdict { token: Arc::clone(&token), proof, fresh_until };
        self.caches().keep_good(verdict, kept_for, now.instant);
        token
    }

    /// The old verdict that may serve while the server cannot be asked: past its `cache_ttl`, and
    /// within the token's `exp` and `max_stale`. Not where the server refuses our client: that is
    /// an answer, if none about the token.
    fn stale(
        &self,
        settings: &Introspection,
        key: &CacheKey,
        cause: OutageCause,
        now: Now,
    ) -> Option<Arc<VerifiedToken>> {
        if cause == OutageCause::OurClientRefused {
            return None;
        }
        let OnUnavailable::ServeStale { max_stale } = settings.on_unavailable else { return None };
        let good = self.caches().good(key, now.instant)?;
        let until = after(good.fresh_until?, max_stale);
        let exp = good.token.validity.until().map(|until| until.minus(self.settings().clock_skew));
        let is_over = exp.is_some_and(|exp| exp <= now.unix);
        if good.token.server != self.id() || until <= now.instant || is_over {
            return None;
        }
        tracing::debug!(token = %good.token.digest, reason = cause.reason(), "stale verdict served");
        Some(good.token)
    }
}

/// A moment beyond the clock's end is none: what would last until then ends at once.
pub(super) fn after(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait).unwrap_or(moment)
}

fn max_stale(settings: &Introspection) -> Duration {
    match settings.on_unavailable {
        OnUnavailable::Refuse => Duration::ZERO,
        OnUnavailable::ServeStale { max_stale } => max_stale,
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        // Nothing under this lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list however it ends, a panic included.
struct Landing {
    server: Arc<Server>,
    id: FlightId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.server.flights.lock().questions.remove(&self.id);
    }
}

/// Questions under way at one server. Each holds a connection and a token; more would only queue
/// up at the server.
const FLIGHTS_MAX: usize = 1024;
