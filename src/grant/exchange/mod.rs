//! Callers' tokens, exchanged for those that an upstream takes (RFC 8693, RFC 7523 §2.1).
//!
//! The caller's token was found good before it comes here, each time anew: what is kept here says
//! nothing about it.
//!
//! # What holds
//! * A token is kept under the digest of the one that it was given for. Client, audience, resource
//!   and scopes are the settings of one client, and each client keeps its own: nobody gets what was
//!   given for another's token, or for another API.
//! * It is used until its own end, that of the caller's token or the cap, whichever is first.
//! * One exchange is under way for a caller's token, however many requests wait for it.
//! * Where there is none, the request fails: the caller's own token never goes in its place.
//! * What the authorization server says of one caller's token is remembered for that one alone;
//!   what it says of our client, for all. An outage stops all for `negative_cache_ttl` at most: it
//!   may be one caller's, and any longer time that the server named holds for that one alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::answer::{ErrorCode, TokenFailure};
use super::asker::{Answered, Asker, Failed, Weighed};
use super::flight::Flights;
use super::issued::Remaining;
use super::own_client::OwnClient;
use super::own_token::{Granted, OwnToken};
use super::refusal::{Refusal, Why};
use super::request::Asked;
use super::status::ClientStatus;
use super::{WAIT_MAX, until};
use crate::base::secret::Secret;
use crate::base::time::{self, Now, UnixSeconds};
use crate::config::{self, ExchangeGrant, Grant};
use crate::oauth::{RawToken, TokenDigest};
use crate::outbound::OutboundError;
use crate::reject::{InvalidToken, OutageCause, OwnClientCause, Rejection};
use crate::telemetry::CacheKind;
use crate::verify::{Server, Shared};

/// One `[clients.NAME]` that exchanges callers' tokens, live.
pub struct ExchangeClient {
    asker: Asker,
    grant: config::Exchange,
    actor: Option<Arc<OwnClient>>,
    good: Cache<TokenDigest, Arc<OwnToken>>,
    bad: Cache<TokenDigest, Refusal>,
    /// When an upstream last refused what was given for a token.
    dropped: Cache<TokenDigest, Instant>,
    last: Mutex<Last>,
    flights: Flights<TokenDigest, Outcome>,
}

type Outcome = Result<Arc<OwnToken>, Refusal>;

/// What the last exchanges left. Locked for a few instructions, and not where a token is held.
#[derive(Default)]
struct Last {
    granted: Option<Granted>,
    /// What went wrong last, if nothing went well since.
    error: Option<&'static str>,
    /// What stands against every exchange.
    refusal: Option<Refusal>,
}

/// A caller's token that was found good.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The token.
    pub token: RawToken<'a>,
    /// Its digest.
    pub digest: TokenDigest,
    /// Its `exp`.
    pub until: Option<UnixSeconds>,
}

/// One exchange: what it needs of the request that asked for it.
struct Flight {
    token: Secret,
    digest: TokenDigest,
    until: Option<UnixSeconds>,
    now: Now,
    /// A good token that is renewed.
    replacing: Option<Arc<OwnToken>>,
}

impl ExchangeClient {
    /// Brings a client up that keeps at most `bound` good and as many bad outcomes. `None` for one
    /// that exchanges nothing.
    ///
    /// # Errors
    /// When the client's certificate cannot be used.
    pub fn start(
        settings: config::Client,
        server: Arc<Server>,
        actor: Option<Arc<OwnClient>>,
        (bound, shared): (u64, &Shared),
    ) -> Result<Option<Arc<Self>>, OutboundError> {
        let Grant::Exchange(grant) = settings.grant.clone() else { return Ok(None) };
        let pause = settings.negative_cache_ttl.min(WAIT_MAX);
        Ok(Some(Arc::new(Self {
            asker: Asker::new(settings, server, shared)?,
            grant,
            actor,
            good: Cache::builder().max_capacity(bound).expire_after(Remaining).build(),
            bad: Cache::builder().max_capacity(bound).expire_after(Remaining).build(),
            dropped: Cache::builder().max_capacity(bound).time_to_live(pause).build(),
            last: Mutex::default(),
            flights: Flights::new(FLIGHTS_MAX),
        })))
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Client {
        &self.asker.settings
    }

    /// The authorization server that it asks.
    pub fn server(&self) -> &Arc<Server> {
        &self.asker.server
    }

    /// The client whose token says who acts.
    pub fn actor(&self) -> Option<&Arc<OwnClient>> {
        self.actor.as_ref()
    }

    /// How many tokens are held, and how many callers' tokens are known to give none.
    pub fn entries(&self) -> (u64, u64) {
        (self.good.entry_count(), self.bad.entry_count())
    }

    /// What is held for a caller's token, if it is good. Where its end is near and there is a
    /// refresh token, that is spent beside this call, and nobody waits.
    pub fn held(self: &Arc<Self>, subject: &Subject<'_>, now: Now) -> Option<Arc<OwnToken>> {
        let token = self.good.get(&subject.digest).filter(|token| token.is_good(now))?;
        self.server().metrics().hit(CacheKind::Exchanged);
        if self.settings().refresh_tokens && token.is_due(now) {
            let (client, flight) = (Arc::clone(self), Flight::of(subject, now, Some(&token)));
            let flight = || async move { client.fly(flight).await };
            self.flights.start(subject.digest, &self.asker.runtime, flight);
        }
        Some(token)
    }

    /// A token for a caller's: that of one exchange, however many wait.
    ///
    /// Nothing is asked for a token past its own `exp`, which verdicts allow to be used for the
    /// clocks' skew more: what came of it could not be kept, and each request would ask anew.
    ///
    /// # Errors
    /// 401 where that is over, or the authorization server gives nothing for the caller's token;
    /// 502 where it or the configuration refuses our client; 503 where it cannot be asked.
    pub async fn exchanged(
        self: &Arc<Self>,
        subject: Subject<'_>,
        now: Now,
    ) -> Result<Arc<OwnToken>, Rejection> {
        if subject.until.is_some_and(|end| end <= now.unix) {
            return Err(Rejection::TokenInvalid(InvalidToken::Expired));
        }
        self.server().metrics().miss(CacheKind::Exchanged);
        let (client, flight) = (Arc::clone(self), Flight::of(&subject, now, None));
        let flight = || async move { client.fly(flight).await };
        let busy = Refusal { why: Why::Outage(OutageCause::Busy), until: now.instant };
        let outcome = match self.refusal(&subject.digest, now) {
            Some(refusal) => Err(refusal),
            None => {
                let outcome = self.flights.join(subject.digest, &self.asker.runtime, flight).await;
                outcome.unwrap_or(Err(busy))
            }
        };
        outcome.map_err(|refusal| refusal.rejection(self.settings(), self.server(), now))
    }

    /// The upstream said 401 to what was given for a caller's token: it leaves the cache, and the
    /// next request asks for another. If that is refused too, there is none for a while: another
    /// exchange would not help, and each request would make one.
    pub fn refused_upstream(&self, digest: &TokenDigest, token: &Arc<OwnToken>) {
        self.refused_upstream_at(digest, token, time::now());
    }

    fn refused_upstream_at(&self, digest: &TokenDigest, token: &Arc<OwnToken>, now: Now) {
        if self.good.get(digest).is_some_and(|held| !Arc::ptr_eq(&held, token)) {
            return;
        }
        self.good.invalidate(digest);
        let pause = self.settings().negative_cache_ttl;
        let before = self.dropped.get(digest);
        let again = before.is_some_and(|at| now.instant < until(at, pause));
        self.dropped.insert(*digest, now.instant);
        if again {
            let why = Why::Client(OwnClientCause::RefusedUpstream);
            self.bad.insert(*digest, Refusal { why, until: until(now.instant, pause) });
        }
        tracing::warn!(client = %self.settings().name, again, "upstream refused an exchanged token");
    }

    /// Forgets what was given for a caller's token that is not to be used any more.
    pub fn forget(&self, digest: &TokenDigest) {
        self.good.invalidate(digest);
        self.bad.invalidate(digest);
    }

    /// What `/status` shows.
    pub fn status(&self) -> ClientStatus {
        let last = self.last();
        let server = &self.server().settings().name;
        ClientStatus::new(self.settings(), server, last.granted.as_ref()).error(last.error)
    }

    fn refusal(&self, digest: &TokenDigest, now: Now) -> Option<Refusal> {
        let stands = |refusal: &Refusal| now.instant < refusal.until;
        let of_all = || self.last().refusal.clone();
        self.bad.get(digest).filter(stands).or_else(|| of_all().filter(stands))
    }

    async fn fly(self: Arc<Self>, flight: Flight) -> Outcome {
        let Flight { digest, now, .. } = flight;
        // Whoever missed while the last flight landed finds here what it left.
        let is_replaced = |held: &Arc<OwnToken>| {
            flight.replacing.as_ref().is_some_and(|replacing| Arc::ptr_eq(held, replacing))
        };
        let held = self.good.get(&digest).filter(|held| held.is_good(now));
        if let Some(held) = held.filter(|held| !is_replaced(held)) {
            return Ok(held);
        }
        if let Some(refusal) = self.refusal(&digest, now) {
            return Err(refusal);
        }
        let outcome = match self.ask(&flight).await {
            Ok(answered) => {
                let note = |granted: &Granted| self.last().granted = Some(granted.clone());
                self.asker.weigh(answered, note).await
            }
            Err(failed) => Err(failed),
        };
        match outcome {
            Ok(weighed) => Ok(self.keep(&flight, weighed)),
            Err(failed) => Err(self.refuse(digest, failed)),
        }
    }

    async fn ask(&self, flight: &Flight) -> Result<Answered, Failed> {
        let refreshed = match &flight.replacing {
            Some(token) => self.asker.refresh(token).await,
            None => None,
        };
        if let Some(answered) = refreshed {
            return answered.map_err(|failure| self.failed(failure));
        }
        let token = &flight.token;
        let answered = match &self.grant.by {
            // Only a JWT can be an assertion (RFC 7523 §2.1).
            ExchangeGrant::JwtBearer if token.expose().split('.').count() != JWT_PARTS => {
                let why = Why::Subject(NOT_A_JWT);
                return Err((why, self.settings().negative_cache_ttl));
            }
            ExchangeGrant::JwtBearer => self.asker.ask(Asked::JwtBearer(token)).await,
            ExchangeGrant::TokenExchange(settings) => match &self.actor {
                None => self.asker.ask(Asked::TokenExchange(settings, token, None)).await,
                Some(actor) => self.ask_acting(settings, token, actor).await?,
            },
        };
        answered.map_err(|failure| self.failed(failure))
    }

    /// Asks with the actor's token. One word says that it is bad or that the caller's is (RFC 8693
    /// §2.2.2): so it is asked once more with another token of the actor's, where one can be had.
    async fn ask_acting(
        &self,
        settings: &config::TokenExchange,
        token: &Secret,
        actor: &Arc<OwnClient>,
    ) -> Result<Result<Answered, TokenFailure>, Failed> {
        let own = actor.token().await;
        let own = own.map_err(|why| (Why::Actor(Box::new(why)), Duration::ZERO))?;
        let ask = |own: Arc<OwnToken>| async move {
            self.asker.ask(Asked::TokenExchange(settings, token, Some(own.secret()))).await
        };
        let answered = ask(Arc::clone(&own)).await;
        if !matches!(&answered, Err(TokenFailure::Refused(code)) if code.is_about_a_token()) {
            return Ok(answered);
        }
        // Kept for the pause: each request would ask the same again.
        let pause = self.settings().negative_cache_ttl;
        let other = actor.other_than(&own).await;
        match other.map_err(|why| (Why::Actor(Box::new(why)), pause))? {
            Some(other) => Ok(ask(other).await),
            None => Ok(answered),
        }
    }

    fn failed(&self, failure: TokenFailure) -> Failed {
        let pause = self.settings().negative_cache_ttl;
        match failure {
            TokenFailure::Refused(code) if self.is_about_subject(code) => {
                (Why::Subject(code.name()), pause)
            }
            // Not kept without a time: another caller's exchange may go through.
            TokenFailure::Outage(cause, wait) => (Why::Outage(cause), wait.unwrap_or_default()),
            failure @ (TokenFailure::Refused(_) | TokenFailure::Unusable) => {
                Why::of(failure, pause)
            }
        }
    }

    /// Whether a refusal is about the caller's token. RFC 7523 §3.1 says `invalid_grant` of an
    /// assertion, and some servers say the word of RFC 6750. RFC 8693 §2.2.2 says `invalid_request`
    /// of a subject token that is "invalid for any reason, or unacceptable based on policy"; but so
    /// does RFC 6749 §5.2 of a request of ours that is wrong, whoever's token is in it: so that is
    /// the caller's fault only where an exchange has gone well before. All else is about our client
    /// and its settings, and a new token of the caller's would not help.
    fn is_about_subject(&self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::InvalidGrant | ErrorCode::InvalidToken => true,
            ErrorCode::InvalidRequest => self.last().granted.is_some(),
            ErrorCode::InvalidClient
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::InvalidAuthorizationDetails
            | ErrorCode::AccessDenied
            | ErrorCode::Unknown => false,
        }
    }

    fn keep(&self, flight: &Flight, weighed: Weighed) -> Arc<OwnToken> {
        let client = &self.settings().name;
        self.asker.metrics.own_client(client, weighed.word()).inc();
        let Weighed { token, missing } = weighed;
        let now = time::now();
        let token = Arc::new(token.within(self.grant.cap, flight.until, now));
        if token.is_good(now) {
            self.bad.invalidate(&flight.digest);
            self.good.insert(flight.digest, Arc::clone(&token));
        }
        let mut last = self.last();
        (last.error, last.refusal) = (None, None);
        drop(last);
        let subject = flight.digest;
        let missing_details = token.missing_details().join(" ");
        tracing::debug!(%client, %subject, granted = %token.granted(), %missing, missing_details, "token exchanged");
        token
    }

    fn refuse(&self, digest: TokenDigest, (why, wait): Failed) -> Refusal {
        let (client, error) = (&self.settings().name, why.word());
        self.asker.metrics.own_client(client, why.label()).inc();
        let now = time::now().instant;
        let refusal = Refusal { why, until: until(now, wait) };
        let mut last = self.last();
        last.error = Some(error);
        match &refusal.why {
            _ if wait.is_zero() => {}
            Why::Client(OwnClientCause::Refused(code)) if is_about_client(code) => {
                last.refusal = Some(refusal.clone());
            }
            Why::Outage(_) => {
                let of_all = until(now, wait.min(self.settings().negative_cache_ttl));
                last.refusal = Some(Refusal { until: of_all, ..refusal.clone() });
                self.bad.insert(digest, refusal.clone());
            }
            Why::Client(_) | Why::Subject(_) | Why::Actor(_) => {
                self.bad.insert(digest, refusal.clone());
            }
        }
        // What a caller alone can bring on fills no log; but where nothing has ever been exchanged,
        // it is more likely that somebody has to act.
        let is_callers = matches!(refusal.why, Why::Subject(_)) && last.granted.is_some();
        drop(last);
        if is_callers {
            tracing::debug!(%client, subject = %digest, error, "token was not exchanged");
        } else {
            tracing::warn!(%client, subject = %digest, error, "token was not exchanged");
        }
        refusal
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn of(subject: &Subject<'_>, now: Now, replacing: Option<&Arc<OwnToken>>) -> Self {
        let Subject { token, digest, until } = *subject;
        let token = Secret::new(token.expose());
        Self { token, digest, until, now, replacing: replacing.map(Arc::clone) }
    }
}

/// Whether a refusal is the same whoever's token it is. Not `unauthorized_client`: some servers say
/// it of a client that may not exchange this one token.
fn is_about_client(code: &str) -> bool {
    [ErrorCode::InvalidClient, ErrorCode::UnsupportedGrantType].iter().any(|one| one.name() == code)
}

/// Exchanges under way at once at one client; over it: 503. Each holds a connection at the
/// authorization server.
const FLIGHTS_MAX: usize = 1_000;
/// Header, claims and signature (RFC 7515 §3.1).
const JWT_PARTS: usize = 3;
/// The word of a token that no assertion can be.
const NOT_A_JWT: &str = "not_a_jwt";

#[cfg(test)]
mod tests;
