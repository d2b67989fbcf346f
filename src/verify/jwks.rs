//! The signing keys of one authorization server, kept fresh.
//!
//! # What holds
//! * A look-up never waits for the network while usable keys are held: refresh runs beside it.
//! * An unknown `kid` starts at most one fetch per `cooldown`, counted by attempts and not by
//!   successes, however many requests carry it; otherwise a caller would set our request rate at
//!   the issuer. All who wait for a fetch wait for the same one, and for a bounded time.
//! * After a failed refresh the old keys serve until `max_stale`; past it look-ups fail closed.
//! * A refresh replaces the whole set: what is no longer published ends at once, its verdicts too.
//!
//! Cost of a look-up: one atomic load and a walk over a handful of keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use tokio::sync::watch;

use super::cache::KeysVersion;
use super::discovery;
use super::fetch::{self, FetchFailure};
use super::flight::after;
use super::jwk::{Candidates, Key, KeyPrint, KeySet, candidates};
use super::server::Server;
use crate::base::time::{self, Now};
use crate::config::KeySource;
use crate::oauth::SignatureAlgorithm;
use crate::reject::{InvalidToken, OutageCause, Rejection};
use crate::telemetry::Endpoint;

/// A key set as it is held.
#[derive(Debug, Default)]
pub(super) struct HeldKeys {
    keys: Vec<HeldKey>,
    /// Counts the changes of the set.
    pub(super) version: KeysVersion,
    age: Age,
    /// How many keys of the set were left out.
    pub(super) skipped: usize,
}

/// A key, and since when it is in the set.
#[derive(Debug)]
pub(super) struct HeldKey {
    pub(super) key: Arc<Key>,
    pub(super) since: Instant,
}

/// How old a set is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Age {
    /// Nothing was ever fetched. It is not the same as an empty set.
    #[default]
    Unknown,
    /// Fetched then, and good until then.
    Fetched(Instant, Instant),
    /// From a file, or not needed at all.
    Fixed,
}

/// What is known about fetching.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    running: Option<FetchWatch>,
    /// When an unknown `kid` last started one.
    asked: Option<Instant>,
    /// The document that was asked for last: where a fetch that failed failed.
    pub(super) url: Option<Uri>,
    /// How the last one ended.
    pub(super) last: Option<Result<(), FetchFailure>>,
}

/// Tells how a fetch ended, once it has.
type FetchWatch = watch::Receiver<Option<Result<(), FetchFailure>>>;

/// What is fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fetch {
    /// Metadata anew, and keys.
    All,
    /// Keys; metadata only where none are held.
    Keys,
}

impl HeldKeys {
    /// A set that never grows old.
    pub(super) fn fixed(set: KeySet, now: Instant) -> Self {
        Self::default().replaced(set, Age::Fixed, now)
    }

    /// This set, replaced by a fetched one. The version changes only if the keys do, so that a
    /// refresh that brings nothing new costs the cached verdicts nothing.
    fn replaced(&self, set: KeySet, age: Age, now: Instant) -> Self {
        let since = |print| self.keys.iter().find(|held| held.key.print == print);
        let held = |key: Key| HeldKey {
            since: since(key.print).map_or(now, |held| held.since),
            key: Arc::new(key),
        };
        let keys: Vec<_> = set.keys.into_iter().map(held).collect();
        let same = keys.iter().map(HeldKey::print).eq(self.keys.iter().map(HeldKey::print));
        let version = if same { self.version.0 } else { self.version.0.wrapping_add(1) };
        Self { keys, version: KeysVersion(version), age, skipped: set.skipped }
    }

    /// Whether tokens may be judged by it.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        match self.age {
            Age::Unknown => false,
            Age::Fetched(_, until) => now < until,
            Age::Fixed => true,
        }
    }

    /// Whether it was fetched at that moment or later.
    fn is_fetched_since(&self, moment: Option<Instant>) -> bool {
        matches!((self.age, moment), (Age::Fetched(at, _), Some(moment)) if moment <= at)
    }

    /// Whether the key is still in it.
    pub(super) fn holds(&self, print: KeyPrint) -> bool {
        self.keys.iter().any(|held| held.key.print == print)
    }

    /// Those that a token may have been signed with.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Candidates<&Key> {
        candidates(self.keys.iter().map(|held| &*held.key), id, algorithm)
    }

    /// All of them.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, HeldKey> {
        self.keys.iter()
    }

    /// How old it is.
    pub(super) const fn age(&self) -> Age {
        self.age
    }
}

impl HeldKey {
    fn print(&self) -> KeyPrint {
        self.key.print
    }
}

impl Server {
    /// The key set by which a token with this `kid` and `alg` can be judged: it has at least one
    /// candidate.
    ///
    /// # Errors
    /// 401 where the keys are known and none of them fits, 503 where they are not known.
    pub(super) async fn keys_for(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
        now: Now,
    ) -> Result<Arc<HeldKeys>, Rejection> {
        let held = self.keys();
        if !held.is_usable(now.instant) {
            self.wait_for_keys().await?;
        } else {
            match held.candidates(id, algorithm) {
                Candidates::Keys(_) => return Ok(held),
                Candidates::Unfit => return Err(Rejection::TokenInvalid(InvalidToken::Algorithm)),
                Candidates::Unknown => self.ask_for_unknown_key(now.instant).await?,
            }
        }
        // What a wait brought is judged by the clock after it.
        let held = self.keys();
        if !held.is_usable(now.instant) {
            return Err(self.outage(OutageCause::NoKeys, None));
        }
        match held.candidates(id, algorithm) {
            Candidates::Keys(_) => Ok(held),
            Candidates::Unfit => Err(Rejection::TokenInvalid(InvalidToken::Algorithm)),
            Candidates::Unknown => Err(Rejection::TokenInvalid(InvalidToken::KeyUnknown)),
        }
    }

    /// Waits for a fetch that is under way; starts none, since the refresh does that in its time.
    pub(super) async fn wait_for_keys(self: &Arc<Self>) -> Result<(), Rejection> {
        let (running, last) = {
            let fetches = self.fetches();
            (fetches.running(), fetches.last.clone())
        };
        match (running, last) {
            (Some(running), _) => self.outcome_of(running).await,
            // The refresh was told to start, and is about to.
            (None, None) => {
                let running = self.fetch_once(Fetch::All);
                self.outcome_of(running).await
            }
            (None, Some(Err(failure))) => {
                Err(self.outage(OutageCause::NoKeys, failure.retry_after()))
            }
            (None, Some(Ok(()))) => Ok(()),
        }
    }

    async fn ask_for_unknown_key(self: &Arc<Self>, now: Instant) -> Result<(), Rejection> {
        let cooldown = self.settings().jwks.cooldown;
        let running = {
            let mut fetches = self.fetches();
            if !self.fetches_keys() {
                return Ok(());
            } else if let Some(running) = fetches.running() {
                running
            } else if let Some(left) = fetches.asked.and_then(|at| left(at, cooldown, now)) {
                return match &fetches.last {
                    Some(Err(failure)) if !self.keys().is_fetched_since(fetches.asked) => {
                        Err(self.outage(failure.cause(), Some(left)))
                    }
                    Some(_) | None => Ok(()),
                };
            } else {
                fetches.asked = Some(now);
                self.start_fetch(&mut fetches, Fetch::Keys)
            }
        };
        match self.outcome_of(running).await {
            // The keys came, and what failed was the metadata, which names other endpoints.
            Err(_) if self.keys().is_fetched_since(Some(now)) => Ok(()),
            outcome => outcome,
        }
    }

    async fn outcome_of(&self, mut running: FetchWatch) -> Result<(), Rejection> {
        let ended = running.wait_for(Option::is_some);
        let outcome = match tokio::time::timeout(self.settings().outbound.timeout, ended).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(FetchFailure::Untried)),
            Ok(Err(_)) => Err(FetchFailure::Untried),
            Err(_) => return Err(self.outage(OutageCause::TimedOut, None)),
        };
        outcome.map_err(|failure| self.outage(failure.cause(), failure.retry_after()))
    }

    /// The fetch that is under way, or a new one, detached: whoever waits may go away.
    pub(super) fn fetch_once(self: &Arc<Self>, what: Fetch) -> FetchWatch {
        let mut fetches = self.fetches();
        match fetches.running() {
            Some(running) => running,
            None => self.start_fetch(&mut fetches, what),
        }
    }

    fn start_fetch(self: &Arc<Self>, fetches: &mut Fetches, what: Fetch) -> FetchWatch {
        let (ended, running) = watch::channel(None);
        fetches.running = Some(running.clone());
        let server = Arc::clone(self);
        self.runtime().spawn(async move {
            let outcome = server.fetch(what).await;
            {
                let mut fetches = server.fetches();
                fetches.last = Some(outcome.clone());
                fetches.running = None;
            }
            ended.send_replace(Some(outcome));
        });
        running
    }

    async fn fetch(&self, what: Fetch) -> Result<(), FetchFailure> {
        let metadata = self.fetch_metadata(what).await;
        if !self.fetches_keys() {
            return metadata;
        }
        let uri = match &self.settings().keys {
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Discovery | KeySource::File(..) => {
                let Some(held) = self.metadata() else { return metadata };
                match &held.jwks {
                    Some(uri) => uri.clone(),
                    // RFC 8414 §2: optional, for servers whose tokens are all opaque.
                    None if self.settings().introspection.is_some() => {
                        self.take_keys(KeySet::default());
                        return metadata;
                    }
                    None => return Err(FetchFailure::Unusable("metadata without jwks_uri")),
                }
            }
        };
        let read =
            |body: &[u8]| KeySet::parse(body).map_err(|_| FetchFailure::Unusable("not a JWK set"));
        let set = fetch::document(self, Endpoint::Jwks, &uri, read).await?;
        self.take_keys(set);
        metadata
    }

    async fn fetch_metadata(&self, what: Fetch) -> Result<(), FetchFailure> {
        let held = self.metadata();
        let is_for_keys = self.settings().keys == KeySource::Discovery && held.is_none();
        if !self.needs_metadata() || (what == Fetch::Keys && !is_for_keys) {
            return Ok(());
        }
        match discovery::fetch(self).await {
            Ok(metadata) => self.take_metadata(metadata),
            Err(error) if held.is_some() => {
                let (server, url) = (self.name(), self.url_asked());
                tracing::warn!(server, url, %error, "metadata refresh failed, the old one still serves");
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn take_keys(&self, set: KeySet) {
        let now = time::now().instant;
        let age = Age::Fetched(now, after(now, self.settings().jwks.max_stale));
        let held = self.keys().replaced(set, age, now);
        let (server, keys, skipped) = (self.name(), held.keys.len(), held.skipped);
        if held.version != self.keys().version {
            tracing::info!(server, keys, skipped, "keys changed");
        }
        self.metrics().keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.hold_keys(held);
    }
}

impl Fetches {
    /// The one under way. One whose task died is none.
    fn running(&self) -> Option<FetchWatch> {
        self.running.clone().filter(|running| running.has_changed().is_ok())
    }
}

/// What is left of a cool-down.
fn left(from: Instant, cooldown: Duration, now: Instant) -> Option<Duration> {
    cooldown.checked_sub(now.saturating_duration_since(from)).filter(|left| !left.is_zero())
}
