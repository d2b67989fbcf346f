//! One authorization server, live: its settings, keys, metadata, and what is under way there.
//!
//! It outlives a reload as long as its settings stay equal; other settings make another server
//! with another id, so that nothing learnt under the old ones is used under the new.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Uri;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tracing::field::DisplayValue;

use super::cache::TokenCaches;
use super::discovery::Metadata;
use super::fetch::FetchFailure;
use super::flight::Flights;
use super::jwk::KeySet;
use super::jwks::{Age, Fetches, HeldKeys};
use super::proof::{ProofMemory, Proofs};
use super::refresh;
use super::signature::MacSecret;
use super::status::ServerStatus;
use crate::base::time;
use crate::config::{
    AuthorizationServer, ClientAuthentication, Introspection, IntrospectionAnswer, KeySource,
};
use crate::oauth::{Algorithm, ServerId};
use crate::outbound::{OutboundClient, OutboundError};
use crate::reject::{Outage, OutageCause, Rejection, RetryAfter};
use crate::telemetry::{Metrics, ServerMetrics};

/// What all authorization servers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The control runtime: refreshes and questions run there, detached, so that a caller that
    /// goes away fails nobody.
    pub runtime: Handle,
    /// All numbers.
    pub metrics: Arc<Metrics>,
    /// The verdicts.
    pub caches: Arc<TokenCaches>,
    /// The proofs that were used.
    pub proofs: Arc<ProofMemory>,
}

/// One authorization server, live.
pub struct Server {
    id: ServerId,
    settings: AuthorizationServer,
    metrics: ServerMetrics,
    outbound: OutboundClient,
    /// For introspection, where our client there shows a certificate.
    showing: Option<OutboundClient>,
    runtime: Handle,
    caches: Arc<TokenCaches>,
    secret: Option<MacSecret>,
    proofs: Option<Proofs>,
    keys: ArcSwap<HeldKeys>,
    metadata: ArcSwapOption<Metadata>,
    fetches: Mutex<Fetches>,
    pub(super) flights: Flights,
    poke: Arc<Notify>,
    /// Whether somebody asked for an endpoint that only metadata can name.
    wants_metadata: AtomicBool,
    /// Its end ends the refresh.
    _alive: watch::Sender<()>,
}

impl Server {
    /// Makes a server and starts to fetch what it needs. The refresh ends with the last `Arc`.
    ///
    /// # Errors
    /// When the client for its endpoints cannot be made.
    pub fn start(
        id: ServerId,
        settings: AuthorizationServer,
        shared: &Shared,
    ) -> Result<Arc<Self>, OutboundError> {
        let (alive, watched) = watch::channel(());
        let server = Arc::new(Self {
            id,
            metrics: shared.metrics.server(&settings.name),
            outbound: OutboundClient::new(&settings.outbound)?,
            showing: settings
                .introspection
                .as_ref()
                .and_then(|introspection| introspection.client.identity())
                .map(|identity| OutboundClient::showing(&settings.outbound, identity))
                .transpose()?,
            runtime: shared.runtime.clone(),
            caches: Arc::clone(&shared.caches),
            secret: settings.shared_secret.as_ref().map(MacSecret::new),
            proofs: Proofs::new(&settings, &shared.proofs),
            keys: ArcSwap::default(),
            metadata: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            flights: Flights::default(),
            poke: Arc::default(),
            wants_metadata: AtomicBool::new(false),
            _alive: alive,
            settings,
        });
        server.hold_fixed_keys();
        shared.runtime.spawn(refresh::keep_fresh(Arc::downgrade(&server), watched));
        Ok(server)
    }

    /// Its number.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Its settings.
    pub fn settings(&self) -> &AuthorizationServer {
        &self.settings
    }

    /// Its numbers.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// The client for its endpoints.
    pub fn outbound(&self) -> &OutboundClient {
        &self.outbound
    }

    /// The client for calls by which a client of ours proves who it is.
    ///
    /// # Errors
    /// When its certificate cannot be used.
    pub fn outbound_for(
        &self,
        client: &ClientAuthentication,
    ) -> Result<OutboundClient, OutboundError> {
        match client.identity() {
            None => Ok(self.outbound.clone()),
            Some(identity) => OutboundClient::showing(&self.settings.outbound, identity),
        }
    }

    /// Where it gives tokens: configured, or else discovered. While it is not known, the metadata
    /// is fetched beside this call.
    pub fn token_endpoint(&self) -> Option<Uri> {
        if let Some(configured) = &self.settings.endpoints.token {
            return Some(configured.clone());
        }
        self.wanted_metadata()?.token.clone()
    }

    /// Where it gives tokens to this client: one that shows a certificate goes where the metadata
    /// says that one is asked for, if it says so (RFC 8705 §5).
    pub fn token_endpoint_for(&self, client: &ClientAuthentication) -> Option<Uri> {
        if self.settings.endpoints.token.is_none() && client.identity().is_some() {
            let metadata = self.wanted_metadata()?;
            return metadata.mtls.token.clone().or_else(|| metadata.token.clone());
        }
        self.token_endpoint()
    }

    fn wanted_metadata(&self) -> Option<Arc<Metadata>> {
        let metadata = self.metadata();
        if metadata.is_none() && !self.needs_metadata() {
            self.wants_metadata.store(true, Ordering::Release);
            self.poke.notify_one();
        }
        metadata
    }

    /// Whether tokens can be judged: the first key set is there and so are the introspection
    /// endpoint and the audience of our own client's assertions, each where it is needed.
    pub fn is_ready(&self) -> bool {
        let has_keys = self.keys().is_usable(time::now().instant) || self.has_no_keys();
        let has_endpoint =
            self.settings.introspection.is_none() || self.introspection_endpoint().is_some();
        has_keys && has_endpoint && !self.lacks_audience()
    }

    /// What `/status` shows.
    pub fn status(&self) -> ServerStatus {
        ServerStatus::of(self, time::now().instant)
    }

    pub(super) fn introspection_endpoint(&self) -> Option<Uri> {
        if let Some(configured) = &self.settings.endpoints.introspection {
            return Some(configured.clone());
        }
        let metadata = self.metadata()?;
        let alias = self.showing.as_ref().and_then(|_| metadata.mtls.introspection.clone());
        alias.or_else(|| metadata.introspection.clone())
    }

    /// The client that asks about tokens.
    pub(super) fn introspecting(&self) -> &OutboundClient {
        self.showing.as_ref().unwrap_or(&self.outbound)
    }

    /// Where it revokes tokens (RFC 7009): configured, or else discovered.
    pub fn revocation_endpoint(&self) -> Option<Uri> {
        let configured = self.settings.endpoints.revocation.clone();
        configured.or_else(|| self.metadata()?.revocation.clone())
    }

    /// Whether our client's assertions for introspection are for a token endpoint that is not known.
    pub(super) fn lacks_audience(&self) -> bool {
        self.asserts_for_token_endpoint() && self.token_endpoint().is_none()
    }

    fn asserts_for_token_endpoint(&self) -> bool {
        let introspection = self.settings.introspection.as_ref();
        introspection.is_some_and(|settings| settings.client.is_for_token_endpoint())
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn caches(&self) -> &TokenCaches {
        &self.caches
    }

    pub(super) fn secret(&self) -> Option<&MacSecret> {
        self.secret.as_ref()
    }

    pub(super) fn proofs(&self) -> Option<&Proofs> {
        self.proofs.as_ref()
    }

    pub(super) fn keys(&self) -> Arc<HeldKeys> {
        self.keys.load_full()
    }

    pub(super) fn hold_keys(&self, keys: HeldKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// The key set for a look that ends at once: one atomic load, nothing counted.
    pub(super) fn peek_keys(&self) -> arc_swap::Guard<Arc<HeldKeys>> {
        self.keys.load()
    }

    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.load_full()
    }

    pub(super) fn take_metadata(&self, metadata: Metadata) {
        self.metadata.store(Some(Arc::new(metadata)));
    }

    pub(super) fn fetches(&self) -> MutexGuard<'_, Fetches> {
        // Nothing under this lock can leave it half done.
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poked(&self) -> Arc<Notify> {
        Arc::clone(&self.poke)
    }

    /// Whether there is anything to fetch.
    pub(super) fn is_fetching(&self) -> bool {
        self.fetches_keys() || self.needs_metadata()
    }

    /// Whether keys come over the network.
    pub(super) fn fetches_keys(&self) -> bool {
        !matches!(self.settings.keys, KeySource::File(..)) && !self.is_mac_only()
    }

    /// Whether something is needed that only metadata can name.
    pub(super) fn needs_metadata(&self) -> bool {
        let for_keys = self.fetches_keys() && self.settings.keys == KeySource::Discovery;
        let for_introspection = self.settings.introspection.is_some()
            && self.settings.endpoints.introspection.is_none();
        let for_audience =
            self.asserts_for_token_endpoint() && self.settings.endpoints.token.is_none();
        let for_revocation =
            self.settings.revocation.is_some() && self.settings.endpoints.revocation.is_none();
        for_keys
            || for_introspection
            || for_audience
            || for_revocation
            || self.wants_metadata.load(Ordering::Acquire)
    }

    /// The refusal for a server that could not be asked: 503, and when to come back.
    pub fn outage(&self, cause: OutageCause, retry_after: Option<Duration>) -> Rejection {
        Rejection::VerifierUnavailable(Outage {
            issuer: self.settings.issuer.clone(),
            cause,
            retry_after: RetryAfter::new(retry_after.unwrap_or(RETRY_AFTER)),
        })
    }

    /// Says how a refresh ended, once for each change and each failure.
    pub(super) fn report(&self, outcome: &Result<(), FetchFailure>) {
        let Err(error) = outcome else { return };
        let (server, now, url) = (self.name(), time::now().instant, self.url_asked());
        match self.keys().age() {
            Age::Fetched(at, until) if now < until => {
                let age_s = (now - at).as_secs();
                tracing::warn!(server, url, age_s, %error, "key refresh failed, old keys still serve");
            }
            Age::Fetched(..) | Age::Unknown if self.fetches_keys() && !self.has_no_keys() => {
                tracing::error!(server, url, %error, "key refresh failed, no keys serve");
            }
            Age::Fetched(..) | Age::Unknown | Age::Fixed => {
                tracing::warn!(server, url, %error, "metadata could not be fetched");
            }
        }
    }

    /// Which document was asked for last, for the log.
    pub(super) fn url_asked(&self) -> Option<DisplayValue<Uri>> {
        self.fetches().url.clone().map(tracing::field::display)
    }

    /// Whether all is set by hand and the server publishes no metadata: it has opaque tokens only,
    /// and no key will ever come.
    fn has_no_keys(&self) -> bool {
        let signs_answers = |settings: &Introspection| settings.answer == IntrospectionAnswer::Jwt;
        !self.settings.introspection.as_ref().is_some_and(signs_answers)
            && self.settings.endpoints.introspection.is_some()
            && self.settings.introspection.is_some()
            && matches!(self.fetches().last, Some(Err(FetchFailure::Absent)))
    }

    fn is_mac_only(&self) -> bool {
        let algorithms = &self.settings.algorithms;
        !algorithms.is_empty() && algorithms.iter().all(|one| matches!(one, Algorithm::Mac(_)))
    }

    fn hold_fixed_keys(&self) {
        let set = match &self.settings.keys {
            // Loading has seen that it parses; a set that does not is empty, and opens nothing.
            KeySource::File(_, json) => KeySet::parse(json).unwrap_or_default(),
            _ if self.is_mac_only() => KeySet::default(),
            KeySource::Discovery | KeySource::Uri(_) => return,
        };
        let keys = HeldKeys::fixed(set, time::now().instant);
        self.metrics.keys.set(i64::try_from(keys.iter().len()).unwrap_or(i64::MAX));
        self.hold_keys(keys);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("id", &self.id).field("name", &self.name()).finish()
    }
}

/// Where the server named no time: soon, since most outages are short.
const RETRY_AFTER: Duration = Duration::from_secs(2);
