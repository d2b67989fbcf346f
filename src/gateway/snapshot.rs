//! A configuration put to work: immutable, shared by all workers, replaced whole by a reload.
//!
//! What outlives a reload moves along: a server, client or upstream whose settings are equal is
//! the same one in the next snapshot, with its keys, verdicts, tokens and connections; one whose
//! settings changed is a new one, and nothing learnt under the old settings is used again.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, Method};
use tokio::runtime::Handle;

use super::doors::Doors;
use super::entry::Entry;
use super::metadata::Metadata;
use super::route::{Route, Terms};
use crate::config::{self, Config};
use crate::grant::{BasicExchange, Client, ExchangeClient};
use crate::headers::{Cors, Preflight, Reader, Sanitizer};
use crate::oauth::{ServerId, TokenDigest};
use crate::outbound::OutboundError;
use crate::reject::{Realm, Rejection};
use crate::revocation::{self, JournalError, RevocationList, Use};
use crate::route::{Miss, RouteKey, Table};
use crate::signer::Signer;
use crate::telemetry::{Metrics, RouteMetrics, UpstreamMetrics};
use crate::upstream::{self, Upstream, UpstreamError};
use crate::verify::{ProofMemory, Server, Shared, TokenCaches};

/// A configuration at work.
pub struct Snapshot {
    config: Config,
    shared: Shared,
    revocations: Option<Arc<RevocationList>>,
    table: Table,
    routes: Box<[Arc<Route>]>,
    pub(super) sanitizer: Sanitizer,
    pub(super) realm: Realm,
    pub(super) metadata: Metadata,
    pub(super) doors: Doors,
    /// Counts requests for which there is no route.
    pub(super) unrouted: RouteMetrics,
    servers: Vec<Arc<Server>>,
    exchanges: Vec<Arc<BasicExchange>>,
    clients: Vec<Client>,
    signers: Vec<Arc<Signer>>,
    upstreams: Vec<CountedUpstream>,
}

/// An upstream and its numbers.
pub(super) type CountedUpstream = (Arc<Upstream>, Arc<UpstreamMetrics>);

/// Why a configuration cannot be put to work although it compiles.
#[derive(Debug)]
pub enum BuildError {
    /// The client for an authorization server cannot be made.
    Outbound(Box<str>, OutboundError),
    /// That of a client of ours, which shows a certificate, cannot be made.
    Client(Box<str>, OutboundError),
    /// An upstream's TLS settings do not work.
    Upstream(Box<str>, UpstreamError),
    /// The revocation list cannot be had from its file.
    Revocations(JournalError),
    /// No key can be made for a signer.
    Signer(Box<str>),
    /// Two routes tie, by their indexes in the configuration.
    Conflict(usize, usize),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outbound(server, error) => {
                write!(formatter, "authorization_servers.{server}: {error}")
            }
            Self::Client(client, error) => write!(formatter, "clients.{client}: {error}"),
            Self::Upstream(upstream, error) => write!(formatter, "upstreams.{upstream}: {error}"),
            Self::Revocations(error) => write!(formatter, "revocations.file: {error}"),
            Self::Signer(signer) => write!(formatter, "signers.{signer}: no key can be made"),
            Self::Conflict(first, second) => write!(formatter, "routes {first} and {second} tie"),
        }
    }
}

impl std::error::Error for BuildError {}

/// What all snapshots of a process have in common.
pub(super) struct Ground {
    pub(super) metrics: Arc<Metrics>,
    /// Held here, so that no reload forgets which proofs were used.
    proofs: Arc<ProofMemory>,
    control: Handle,
    next_server: AtomicU32,
    purpose: Use,
    /// The one list of the process, from the first configuration on that has one. Its file stays
    /// that of the beginning.
    revocations: Mutex<Option<Arc<RevocationList>>>,
}

impl Ground {
    pub(super) fn new(control: Handle, purpose: Use) -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            proofs: Arc::default(),
            control,
            next_server: AtomicU32::new(0),
            purpose,
            revocations: Mutex::default(),
        }
    }

    /// The list, if the configuration has one. A reload keeps what is in it.
    fn revocations(&self, config: &Config) -> Result<Option<Arc<RevocationList>>, BuildError> {
        let Some(settings) = &config.revocations else { return Ok(None) };
        let mut held = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = &*held {
            list.set_bound(settings.entries);
            return Ok(Some(Arc::clone(list)));
        }
        let metrics = self.metrics.revocations().clone();
        let list = RevocationList::open(settings, metrics, self.purpose);
        let list = list.map_err(BuildError::Revocations)?;
        self.control.spawn(revocation::tend(Arc::downgrade(&list)));
        Ok(Some(Arc::clone(held.insert(list))))
    }

    fn server_id(&self) -> ServerId {
        ServerId::new(self.next_server.fetch_add(1, Relaxed))
    }
}

impl Snapshot {
    /// Puts a configuration to work, taking over from `before` what is equal.
    ///
    /// # Errors
    /// When it cannot; `before` is then untouched.
    pub(super) fn build(
        ground: &Ground,
        config: Config,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        // Its keys have to outlive whatever else changes: others hold their public halves.
        let signers = signers(ground, &config, before)?;
        // Other bounds are other caches, and servers keep the caches that they began with.
        let before = before.filter(|before| before.config.caches == config.caches);
        let shared = before.map_or_else(
            || Shared {
                runtime: ground.control.clone(),
                metrics: Arc::clone(&ground.metrics),
                caches: Arc::new(TokenCaches::new(&config.caches)),
                proofs: Arc::clone(&ground.proofs),
            },
            |before| before.shared.clone(),
        );
        let mut building = Building { ground, config: &config, before, shared: &shared };
        let (servers, exchanges) = building.servers()?;
        let clients = building.clients(&servers)?;
        let upstreams = building.upstreams()?;
        let realm = config.realm.clone();
        let table = table(&config.routes)?;
        let revocations = ground.revocations(&config)?; // last: nothing that follows can fail
        let mut snapshot = Self {
            table,
            routes: Box::default(),
            sanitizer: Sanitizer::new(own_header_names(&config)),
            realm,
            metadata: Metadata::of(&config, &signers),
            doors: Doors::of(&servers, revocations.as_ref()),
            unrouted: ground.metrics.route(UNROUTED),
            servers,
            exchanges,
            clients,
            signers,
            upstreams,
            shared,
            revocations,
            config,
        };
        snapshot.routes = snapshot.compiled_routes();
        Ok(snapshot)
    }

    fn compiled_routes(&self) -> Box<[Arc<Route>]> {
        let mut distinct: Vec<(&config::Route, Arc<Terms>)> = Vec::new();
        let mut routes = Vec::with_capacity(self.config.routes.len());
        for settings in &self.config.routes {
            let mut latest = distinct.iter().rev().take(TERMS_COMPARED);
            let terms = match latest.find(|(known, _)| known.has_terms_of(settings)) {
                Some((_, terms)) => Arc::clone(terms),
                None => {
                    let terms = Arc::new(Terms::new(settings, self));
                    distinct.push((settings, Arc::clone(&terms)));
                    terms
                }
            };
            routes.push(Arc::new(Route::new(&settings.name, terms, self)));
        }
        routes.into()
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its authorization servers, in the order of the configuration.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The gateway's own clients, in the order of the configuration.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Its signers, in the order of the configuration.
    pub fn signers(&self) -> &[Arc<Signer>] {
        &self.signers
    }

    /// Its upstreams, in the order of the configuration.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.iter().map(|(upstream, _)| upstream)
    }

    /// Whether any of its routes lets a connection become a WebSocket.
    pub fn allows_websocket(&self) -> bool {
        let upgrades = self.config.routes.iter().filter_map(|route| route.upgrade.as_ref());
        upgrades.into_iter().any(config::Upgrade::allows_websocket)
    }

    /// The caches of verdicts.
    pub fn caches(&self) -> &TokenCaches {
        &self.shared.caches
    }

    /// How many tokens are held for callers' keys and secrets, and how many pairs are known to be
    /// bad; all authorization servers together.
    pub fn basic_entries(&self) -> (u64, u64) {
        self.exchanges
            .iter()
            .map(|exchange| exchange.entries())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Which tokens are refused before their end; `None`: nothing can revoke any.
    pub fn revocations(&self) -> Option<Arc<RevocationList>> {
        self.revocations.clone()
    }

    /// How many tokens are held for callers' tokens, and how many of those are known to give none;
    /// all clients together.
    pub fn exchanged_entries(&self) -> (u64, u64) {
        let entries = self.exchanging().map(|client| client.entries());
        entries.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Forgets what was given for a caller's token that is not to be used any more.
    pub fn forget_exchanged(&self, digest: &TokenDigest) {
        self.exchanging().for_each(|client| client.forget(digest));
    }

    fn exchanging(&self) -> impl Iterator<Item = &Arc<ExchangeClient>> {
        self.clients.iter().filter_map(|client| match client {
            Client::Exchange(client) => Some(client),
            Client::Own(_) => None,
        })
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(super) fn token_caches(&self) -> Arc<TokenCaches> {
        Arc::clone(&self.shared.caches)
    }

    pub(super) fn server(&self, index: usize) -> Option<Arc<Server>> {
        self.servers.get(index).map(Arc::clone)
    }

    pub(super) fn exchange(&self, index: usize) -> Option<Arc<BasicExchange>> {
        self.exchanges.get(index).map(Arc::clone)
    }

    pub(super) fn client(&self, index: usize) -> Option<Client> {
        self.clients.get(index).cloned()
    }

    pub(super) fn signer(&self, index: usize) -> Option<Arc<Signer>> {
        self.signers.get(index).map(Arc::clone)
    }

    pub(super) fn upstream(&self, index: usize) -> Option<CountedUpstream> {
        self.upstreams.get(index).cloned()
    }

    /// Where a route stands in the configuration.
    pub(super) fn index_of(&self, route: &Arc<Route>) -> Option<usize> {
        self.routes.iter().position(|one| Arc::ptr_eq(one, route))
    }

    /// The route of a request.
    ///
    /// # Errors
    /// 404, or 405 with the methods that there are: both before any token is looked at.
    pub(super) fn find(
        &self,
        entry: &Entry<'_>,
        method: &Method,
    ) -> Result<&Arc<Route>, Rejection> {
        match self.table.find(&entry.host, &entry.path, method) {
            Ok(index) => self.routes.get(index).ok_or(Rejection::RouteUnknown),
            Err(Miss::Unknown) => Err(Rejection::RouteUnknown),
            Err(Miss::OtherMethods(allow)) => Err(Rejection::MethodNotAllowed(allow)),
        }
    }

    /// Who may read that none of the routes of a host and path takes the method: whoever may read
    /// the answers of one of them, by `Allow`.
    pub(super) fn readable_beside(
        &self,
        entry: &Entry<'_>,
        allow: &str,
        request: &HeaderMap,
    ) -> Option<(&Cors, Reader)> {
        let methods = allow.split(", ").filter_map(|name| name.parse().ok());
        let beside = methods.filter_map(|method: Method| {
            let cors = self.find(entry, &method).ok()?.cors.as_ref()?;
            Some((cors, cors.reader(request)))
        });
        // Where it is nobody, the answer still differs by origin, and says so.
        beside.max_by_key(|(_, reader)| *reader != Reader::Nobody)
    }

    /// The route that a preflight asks about, if pages of other sites may use that at all. If not,
    /// it is a request like any other.
    pub(super) fn asked_about(
        &self,
        entry: &Entry<'_>,
        preflight: &Preflight<'_>,
    ) -> Option<(&Arc<Route>, &Cors)> {
        let route = self.find(entry, &preflight.method).ok()?;
        Some((route, route.cors.as_ref()?))
    }
}

/// What building a snapshot looks at.
pub(super) struct Building<'a> {
    ground: &'a Ground,
    pub(super) config: &'a Config,
    pub(super) before: Option<&'a Snapshot>,
    pub(super) shared: &'a Shared,
}

type Servers = (Vec<Arc<Server>>, Vec<Arc<BasicExchange>>);

impl Building<'_> {
    fn servers(&mut self) -> Result<Servers, BuildError> {
        let mut servers = Vec::new();
        let mut exchanges = Vec::new();
        for settings in &self.config.servers {
            let (server, exchange) = match self.kept_server(settings) {
                Some(kept) => kept,
                None => self.new_server(settings)?,
            };
            servers.push(server);
            exchanges.push(exchange);
        }
        Ok((servers, exchanges))
    }

    fn kept_server(
        &self,
        settings: &config::AuthorizationServer,
    ) -> Option<(Arc<Server>, Arc<BasicExchange>)> {
        let before = self.before?;
        let index = before.servers.iter().position(|server| server.settings() == settings)?;
        Some((before.server(index)?, before.exchange(index)?))
    }

    fn new_server(
        &self,
        settings: &config::AuthorizationServer,
    ) -> Result<(Arc<Server>, Arc<BasicExchange>), BuildError> {
        let id = self.ground.server_id();
        let server = Server::start(id, settings.clone(), self.shared)
            .map_err(|error| BuildError::Outbound(settings.name.clone(), error))?;
        let bound = self.config.caches.basic;
        let exchange = BasicExchange::new(Arc::clone(&server), bound, self.shared);
        Ok((server, Arc::new(exchange)))
    }

    fn upstreams(&self) -> Result<Vec<CountedUpstream>, BuildError> {
        let workers = self.config.workers;
        let upstream = |settings: &config::Upstream| {
            let kept = self.before.and_then(|before| {
                before.upstreams.iter().find(|(upstream, _)| upstream.settings() == settings)
            });
            if let Some(kept) = kept {
                return Ok(kept.clone());
            }
            let events = self.ground.metrics.upstream_events(&settings.name);
            let upstream = Upstream::new(settings.clone(), workers, events)
                .map_err(|error| BuildError::Upstream(settings.name.clone(), error))?;
            let upstream = Arc::new(upstream);
            self.ground.control.spawn(upstream::tend(Arc::downgrade(&upstream)));
            Ok((upstream, Arc::new(self.ground.metrics.upstream(&settings.name))))
        };
        self.config.upstreams.iter().map(upstream).collect()
    }
}

fn table(routes: &[config::Route]) -> Result<Table, BuildError> {
    let keys: Vec<RouteKey<'_>> = routes.iter().map(config::Route::key).collect();
    Table::build(&keys).map_err(|conflicts| {
        let (first, second) = conflicts.first().map_or((0, 0), |one| (one.first, one.second));
        BuildError::Conflict(first, second)
    })
}

/// The header names that any route sets from claims, those that carry JWTs of ours, and those that
/// proxies tell of certificates in: taken from callers on every route.
fn own_header_names(config: &Config) -> Vec<HeaderName> {
    let routes = config.routes.iter().flat_map(|route| route.edits.identity_names());
    let signed = config.signers.iter().filter_map(|signer| signer.header.as_ref());
    let listeners = config.listeners.iter();
    let certificates =
        listeners.filter_map(|one| Some(&one.client_certificate_header.as_ref()?.name));
    routes.chain(signed).chain(certificates).cloned().collect()
}

fn signers(
    ground: &Ground,
    config: &Config,
    before: Option<&Snapshot>,
) -> Result<Vec<Arc<Signer>>, BuildError> {
    let bound = config.caches.signed;
    let signer = |settings: &config::Signer| {
        let named = |signer: &&Arc<Signer>| signer.settings().name == settings.name;
        let before = before.and_then(|before| before.signers.iter().find(named));
        if let Some(same) = before.filter(|before| before.is_of(settings, bound)) {
            return Ok(Arc::clone(same));
        }
        let ground = (&*ground.metrics, &ground.control);
        Signer::start(settings.clone(), bound, before.map(|before| &**before), ground)
            .ok_or_else(|| BuildError::Signer(settings.name.clone()))
    };
    config.signers.iter().map(signer).collect()
}

/// With so many of the terms before them a route's are compared: enough for those that are written
/// in turn, and few enough that ten thousand which all differ are compiled at once.
const TERMS_COMPARED: usize = 64;

/// The route label of requests for which there is no route.
const UNROUTED: &str = "-";
