//! A client of the gateway's own, and its token for an upstream (RFC 6749 §4.4).
//!
//! Where it may keep refresh tokens and is given one, renewal spends that one (RFC 6749 §6), and asks
//! anew at once where it is refused: callers see nothing of it.
//!
//! # What holds
//! * A held and good token costs one atomic load. It is renewed beside its use, ahead of its end,
//!   and nobody waits for that.
//! * A token past its time is never sent: there is a new one, or the request fails.
//! * After a refusal the server is left alone for `negative_cache_ttl`, after an outage for the
//!   time that it named.
//! * An upstream that says 401 makes one new exchange per `negative_cache_ttl`, not one per request,
//!   and stops nobody else: it says so of what callers send, too, and the next one may be let in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::task::AbortHandle;

use super::asker::{Answered, Asker, Failed, Weighed};
use super::flight::Flights;
use super::own_token::{Granted, OwnToken, RENEW_MIN};
use super::refusal::{Refusal, Why};
use super::request::Asked;
use super::status::ClientStatus;
use super::{RETRY_DEFAULT, until};
use crate::base::random;
use crate::base::time::{self, Now};
use crate::config;
use crate::outbound::OutboundError;
use crate::reject::{OutageCause, OwnClientCause, Rejection};
use crate::verify::{Server, Shared};

/// One `[clients.NAME]` with a token of its own, live.
pub struct OwnClient {
    asker: Asker,
    current: ArcSwapOption<OwnToken>,
    last: Mutex<Last>,
    flights: Flights<(), Outcome>,
}

type Outcome = Result<Arc<OwnToken>, Rejection>;

/// What the last exchanges left. Locked for a few instructions, and not on the hot path.
#[derive(Default)]
struct Last {
    granted: Option<Granted>,
    refusal: Option<Refusal>,
    dropped: Option<Dropped>,
    renewal: Option<AbortHandle>,
}

/// A token that was refused where it was shown.
struct Dropped {
    at: Instant,
    /// It takes its place again where there is no other. Its renewal keeps it until then.
    token: Weak<OwnToken>,
}

impl Last {
    /// There is one renewal at most, and it keeps its token in memory: so it ends with that.
    fn renew_by(&mut self, renewal: Option<AbortHandle>) {
        if let Some(old) = std::mem::replace(&mut self.renewal, renewal) {
            old.abort();
        }
    }
}

impl Drop for OwnClient {
    fn drop(&mut self) {
        self.last().renew_by(None);
    }
}

impl OwnClient {
    /// Brings a client up; it asks for nothing before it is used.
    ///
    /// # Errors
    /// When its certificate cannot be used.
    pub fn start(
        settings: config::Client,
        server: Arc<Server>,
        shared: &Shared,
    ) -> Result<Arc<Self>, OutboundError> {
        Ok(Arc::new(Self {
            asker: Asker::new(settings, server, shared)?,
            current: ArcSwapOption::empty(),
            last: Mutex::default(),
            flights: Flights::new(1),
        }))
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Client {
        &self.asker.settings
    }

    /// The authorization server that it asks.
    pub fn server(&self) -> &Arc<Server> {
        &self.asker.server
    }

    /// A good token: the one that is held, or else that of one exchange, however many wait.
    ///
    /// # Errors
    /// 502 when the authorization server or the configuration refuses, 503 when it cannot be
    /// asked.
    pub async fn token(self: &Arc<Self>) -> Result<Arc<OwnToken>, Rejection> {
        self.token_at(time::now()).await
    }

    async fn token_at(self: &Arc<Self>, now: Now) -> Outcome {
        if let Some(token) = self.held(now) {
            return Ok(token);
        }
        if let Some(refusal) = self.refusal(now) {
            return Err(refusal);
        }
        self.fetch(now, None).await
    }

    /// The upstream said 401 to this token, so it leaves the cache if it is still the current
    /// one, and the next request asks for another. That happens once per `negative_cache_ttl`, and
    /// not while nothing is asked: an upstream says 401 of a wrong password as well, and whoever can
    /// bring that on must not take the token of all others away.
    pub fn refused_upstream(&self, token: &Arc<OwnToken>) {
        self.drop_at(token, time::now());
    }

    /// Another token than this one, which somebody else than an upstream may have refused: the one
    /// that is held meanwhile, or a new one, once per pause. `None`: there was one in this pause.
    ///
    /// # Errors
    /// As [`token`](Self::token), where no other can be had.
    pub(super) async fn other_than(
        self: &Arc<Self>,
        token: &Arc<OwnToken>,
    ) -> Result<Option<Arc<OwnToken>>, Rejection> {
        let now = time::now();
        let is_other = |one: &Arc<OwnToken>| !Arc::ptr_eq(one, token);
        self.drop_at(token, now);
        let found = match self.held(now) {
            Some(held) => held,
            None => self.fetch(now, None).await?,
        };
        match self.refusal(time::now()) {
            _ if is_other(&found) => Ok(Some(found)),
            Some(refusal) => Err(refusal),
            None => Ok(None),
        }
    }

    fn drop_at(&self, token: &Arc<OwnToken>, now: Now) {
        let name = &self.settings().name;
        let pause = self.settings().negative_cache_ttl.max(RETRY_DEFAULT);
        let mut last = self.last();
        let is_paused =
            last.dropped.as_ref().is_some_and(|before| now.instant < until(before.at, pause));
        if is_paused || last.refusal.as_ref().is_some_and(|refusal| now.instant < refusal.until) {
            return;
        }
        let held = self.current.compare_and_swap(&Some(Arc::clone(token)), None);
        if held.as_ref().is_none_or(|held| !Arc::ptr_eq(held, token)) {
            return;
        }
        last.dropped = Some(Dropped { at: now.instant, token: Arc::downgrade(token) });
        drop(last);
        tracing::warn!(client = %name, "client's token was refused where it was shown, another is asked for");
    }

    /// Spends the refresh token that came with `token`, at once, for whoever asked for it by hand.
    /// `None`: there is none.
    ///
    /// # Errors
    /// As [`token`](Self::token). Where the refresh token is refused, that is told; nothing else is
    /// asked for.
    pub async fn refreshed(
        self: &Arc<Self>,
        token: &Arc<OwnToken>,
    ) -> Result<Option<Arc<OwnToken>>, Rejection> {
        let Some(refresh) = token.take_refresh() else { return Ok(None) };
        let failed = |(why, wait): Failed| {
            let now = time::now();
            let refusal = Refusal { why, until: until(now.instant, wait) };
            refusal.rejection(self.settings(), self.server(), now)
        };
        let pause = self.settings().negative_cache_ttl;
        let answered = self.asker.ask(Asked::Refresh(&refresh)).await;
        let answered = answered.map_err(|failure| failed(Why::of(failure, pause)))?;
        let weighed =
            self.asker.weigh(answered.in_place_of(token), |_| {}).await.map_err(failed)?;
        Ok(Some(Arc::new(weighed.token)))
    }

    /// What `/status` shows.
    pub fn status(&self) -> ClientStatus {
        let left = self.current.load().as_ref().and_then(|token| token.left(time::now()));
        let last = self.last();
        let error = last.refusal.as_ref().map(|refusal| refusal.why.word());
        ClientStatus::new(self.settings(), &self.server().settings().name, last.granted.as_ref())
            .left(left)
            .error(error)
    }

    /// The token that is held, if it is good. Cost: one atomic load.
    pub fn held(&self, now: Now) -> Option<Arc<OwnToken>> {
        self.current.load().as_ref().filter(|token| token.is_good(now)).cloned()
    }

    fn refusal(&self, now: Now) -> Option<Rejection> {
        let refusal = self.last().refusal.clone()?;
        (now.instant < refusal.until)
            .then(|| refusal.rejection(self.settings(), self.server(), now))
    }

    /// One exchange for all that ask meanwhile; `replacing` is a good token that is renewed.
    async fn fetch(self: &Arc<Self>, now: Now, replacing: Option<Arc<OwnToken>>) -> Outcome {
        let client = Arc::clone(self);
        let flight = || async move { client.fly(now, replacing).await };
        let outcome = self.flights.join((), &self.asker.runtime, flight).await;
        outcome.unwrap_or_else(|| Err(self.server().outage(OutageCause::Busy, Some(RETRY_DEFAULT))))
    }

    async fn fly(self: Arc<Self>, now: Now, replacing: Option<Arc<OwnToken>>) -> Outcome {
        let replaced = |held: &Arc<OwnToken>| {
            replacing.as_ref().is_some_and(|replacing| Arc::ptr_eq(held, replacing))
        };
        if let Some(token) = self.held(now).filter(|held| !replaced(held)) {
            return Ok(token);
        }
        if let Some(refusal) = self.refusal(now) {
            return Err(refusal);
        }
        let outcome = match self.ask(replacing).await {
            Ok(answered) => {
                let note = |granted: &Granted| self.last().granted = Some(granted.clone());
                self.asker.weigh(answered, note).await
            }
            Err(failed) => Err(failed),
        };
        self.settle(outcome)
    }

    async fn ask(&self, replacing: Option<Arc<OwnToken>>) -> Result<Answered, Failed> {
        let refreshed = match &replacing {
            Some(token) => self.asker.refresh(token).await,
            None => None,
        };
        let answered = match refreshed {
            Some(answered) => answered,
            None => self.asker.ask(Asked::ClientCredentials).await,
        };
        answered.map_err(|failure| Why::of(failure, self.settings().negative_cache_ttl))
    }

    /// Writes down how the exchange ended.
    fn settle(self: &Arc<Self>, outcome: Result<Weighed, Failed>) -> Outcome {
        let name = &self.settings().name;
        match outcome {
            Ok(weighed) => {
                self.asker.metrics.own_client(name, weighed.word()).inc();
                let Weighed { token, missing } = weighed;
                if !missing.is_empty() {
                    tracing::warn!(client = %name, %missing, "client was granted fewer scopes");
                }
                tell_missing_details(name, token.missing_details());
                let token = Arc::new(token);
                self.current.store(Some(Arc::clone(&token)));
                let renewal = renew(Arc::downgrade(self), Arc::clone(&token));
                let renewal = self.asker.runtime.spawn(renewal).abort_handle();
                let mut last = self.last();
                last.refusal = None;
                if let Some(dropped) = &mut last.dropped {
                    dropped.token = Weak::new();
                }
                last.renew_by(Some(renewal));
                tracing::debug!(client = %name, granted = %token.granted(), "client was given a token");
                Ok(token)
            }
            Err((why, wait)) => {
                self.asker.metrics.own_client(name, why.label()).inc();
                match &why {
                    Why::Client(OwnClientCause::PartialScopes(missing)) => {
                        tracing::warn!(client = %name, %missing, "client was granted fewer scopes");
                    }
                    Why::Client(OwnClientCause::PartialDetails(missing)) => {
                        tell_missing_details(name, missing);
                    }
                    _ => {}
                }
                tracing::warn!(client = %name, error = why.word(), "client was given no token");
                let now = time::now();
                let refusal = Refusal { why, until: until(now.instant, wait) };
                let rejection = refusal.rejection(self.settings(), self.server(), now);
                let mut last = self.last();
                last.refusal = Some(refusal);
                let dropped = last.dropped.as_mut();
                let dropped =
                    dropped.and_then(|dropped| std::mem::take(&mut dropped.token).upgrade());
                drop(last);
                // One that somebody refused is better than none: others may take it.
                let token = dropped.filter(|token| token.is_good(now)).ok_or(rejection)?;
                self.current.store(Some(Arc::clone(&token)));
                Ok(token)
            }
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_missing_details(client: &str, missing: &[Box<str>]) {
    if !missing.is_empty() {
        let missing = missing.join(" ");
        tracing::warn!(client, missing, "client was granted fewer authorization details");
    }
}

/// Asks for the successor of `token` ahead of its end, and again until that. It ends with the
/// client, or when another token has taken the place and has a task of its own; the request
/// itself runs elsewhere and goes on then. Where the machine slept past the end it asks once all
/// the same: the next request then finds a token.
async fn renew(client: Weak<OwnClient>, token: Arc<OwnToken>) {
    let mut wait = token.renew_after(random::byte());
    let mut has_failed = false;
    loop {
        tokio::time::sleep(wait).await;
        let Some(client) = client.upgrade() else { return };
        let now = time::now();
        let is_held = client.current.load().as_ref().is_some_and(|held| Arc::ptr_eq(held, &token));
        if !is_held || (has_failed && !token.is_good(now)) {
            return;
        }
        if client.fetch(now, Some(Arc::clone(&token))).await.is_ok() {
            return;
        }
        has_failed = true;
        let until = client.last().refusal.as_ref().map(|refusal| refusal.until);
        let left = until.map(|until| until.saturating_duration_since(time::now().instant));
        wait = left.unwrap_or(RETRY_DEFAULT).max(RENEW_MIN);
    }
}

#[cfg(test)]
mod tests;
