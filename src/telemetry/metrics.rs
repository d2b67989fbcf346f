//! The numbers that `/metrics` shows. Every label value comes from the configuration or from an
//! enum here: nothing that came from the network is ever one.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tokio::runtime::Handle;

use super::certificates::CertificateMetrics;
use super::connections::ConnectionMetrics;
use super::families::{BOUNDS, Counters, Family, Members};
use super::process::ProcessFamilies;
use super::requests::{RequestFamilies, RouteMetrics, UpstreamMetrics};
use super::revocations::RevocationMetrics;
use super::signatures::SignatureFamilies;
use super::upgrades::{UpgradeFamilies, UpgradeMetrics};
use super::upstreams::{UpstreamEvents, UpstreamFamilies};
use crate::base::per_thread::PerThread;

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    lookups: Members<Counters<{ 2 * CacheKind::ALL.len() }>>,
    keys: IntGaugeVec,
    own_client: IntCounterVec,
    missing_scopes: IntGaugeVec,
    signatures: SignatureFamilies,
    from_the_future: IntCounterVec,
    requests: RequestFamilies,
    connections: ConnectionMetrics,
    upstreams: UpstreamFamilies,
    upgrades: UpgradeFamilies,
    certificates: CertificateMetrics,
    revocations: RevocationMetrics,
    process: ProcessFamilies,
}

/// An endpoint of an authorization server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum Endpoint {
    Metadata,
    Jwks,
    Introspection,
    Token,
    Revocation,
}

/// How a call to an authorization server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallOutcome {
    /// An answer that counts.
    Answered,
    /// A refusal of what was asked: inactive, `invalid_client`.
    Refused,
    /// No connection, or TLS failed.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// A status that is no answer.
    Status,
    /// An answer that cannot be used.
    Unusable,
}

/// A cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheKind {
    /// Verdicts about JWTs.
    Jwt,
    /// Verdicts about opaque tokens.
    Opaque,
    /// Bad tokens.
    Negative,
    /// Tokens obtained for callers' keys and secrets.
    Basic,
    /// Tokens obtained for callers' tokens.
    Exchanged,
}

impl Endpoint {
    const ALL: [Self; 5] =
        [Self::Metadata, Self::Jwks, Self::Introspection, Self::Token, Self::Revocation];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Jwks => "jwks",
            Self::Introspection => "introspection",
            Self::Token => "token",
            Self::Revocation => "revocation",
        }
    }
}

impl CallOutcome {
    const ALL: [Self; 6] = [
        Self::Answered,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Status,
        Self::Unusable,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Status => "status",
            Self::Unusable => "unusable",
        }
    }
}

impl CacheKind {
    const ALL: [Self; 5] = [Self::Jwt, Self::Opaque, Self::Negative, Self::Basic, Self::Exchanged];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::Negative => "negative",
            Self::Basic => "basic",
            Self::Exchanged => "exchanged",
        }
    }
}

/// The numbers about one authorization server, their labels resolved.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    calls: [[IntCounter; CallOutcome::ALL.len()]; Endpoint::ALL.len()],
    call_seconds: [prometheus::Histogram; Endpoint::ALL.len()],
    lookups: PerThread<Counters<{ 2 * CacheKind::ALL.len() }>>,
    /// How many usable keys it has.
    pub keys: IntGauge,
    /// Signature checks done: a cached verdict does none.
    pub signature_checks: IntCounter,
    /// Tokens taken as good whose `iat` is ahead of our clock by more than the skew: one of the two
    /// clocks is wrong.
    pub from_the_future: IntCounter,
}

impl ServerMetrics {
    /// Counts a call to the server and the time it took.
    pub fn call(&self, endpoint: Endpoint, outcome: CallOutcome, took: Duration) {
        if let Some(counter) =
            self.calls.get(endpoint as usize).and_then(|outcomes| outcomes.get(outcome as usize))
        {
            counter.inc();
        }
        if let Some(histogram) = self.call_seconds.get(endpoint as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Counts a look into a cache that found something.
    pub fn hit(&self, cache: CacheKind) {
        self.lookups.own().count(2 * cache as usize);
    }

    /// Counts a look into a cache that found nothing.
    pub fn miss(&self, cache: CacheKind) {
        self.lookups.own().count(2 * cache as usize + 1);
    }

    /// How many looks into each cache found something, and how many found nothing.
    pub fn lookups(&self) -> [(CacheKind, u64, u64); CacheKind::ALL.len()] {
        let sums = Counters::sums(self.lookups.all());
        let sum = |at: usize| sums.get(at).copied().unwrap_or_default();
        CacheKind::ALL.map(|cache| (cache, sum(2 * cache as usize), sum(2 * cache as usize + 1)))
    }
}

impl Metrics {
    /// Makes them, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let calls = counters(
            &registry,
            "scopegate_authorization_server_calls_total",
            "Calls to an authorization server's endpoints, by how they ended.",
            &["server", "endpoint", "outcome"],
        );
        let call_seconds = histograms(
            &registry,
            "scopegate_authorization_server_call_seconds",
            "How long calls to an authorization server took.",
            &["server", "endpoint"],
        );
        let kinds = |cache: CacheKind| [vec![cache.name(), "hit"], vec![cache.name(), "miss"]];
        let lookups = Members::default();
        Family::register(
            &registry,
            (
                "scopegate_cache_lookups_total",
                "Looks into a cache of verdicts, by what they found.",
            ),
            (&["server", "cache", "result"], CacheKind::ALL.into_iter().flat_map(kinds).collect()),
            &lookups,
            |numbers| numbers,
        );
        let keys = gauges(
            &registry,
            "scopegate_keys",
            "Usable keys of an authorization server.",
            &["server"],
        );
        let own_client = counters(
            &registry,
            "scopegate_client_tokens_total",
            "Token requests of the gateway's own clients, by how they ended.",
            &["client", "outcome"],
        );
        let missing_scopes = gauges(
            &registry,
            "scopegate_client_missing_scopes",
            "Scopes that a client of the gateway's own asked for and was not granted.",
            &["client"],
        );
        let from_the_future = counters(
            &registry,
            "scopegate_tokens_from_the_future_total",
            "Good tokens that say they were issued later than now: a clock is wrong.",
            &["server"],
        );
        let signatures = SignatureFamilies::new(&registry);
        Self {
            calls,
            call_seconds,
            lookups,
            keys,
            own_client,
            missing_scopes,
            signatures,
            from_the_future,
            requests: RequestFamilies::new(&registry),
            connections: ConnectionMetrics::new(&registry),
            upstreams: UpstreamFamilies::new(&registry),
            upgrades: UpgradeFamilies::new(&registry),
            certificates: CertificateMetrics::new(&registry),
            revocations: RevocationMetrics::new(&registry),
            process: ProcessFamilies::new(&registry),
            registry,
        }
    }

    /// The registry, for the admin listener and for whoever adds metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The numbers about the authorization server of that name.
    pub fn server(&self, name: &str) -> ServerMetrics {
        ServerMetrics {
            calls: Endpoint::ALL.map(|endpoint| {
                CallOutcome::ALL.map(|outcome| {
                    self.calls.with_label_values(&[name, endpoint.name(), outcome.name()])
                })
            }),
            call_seconds: Endpoint::ALL
                .map(|endpoint| self.call_seconds.with_label_values(&[name, endpoint.name()])),
            lookups: self.lookups.of(name),
            keys: self.keys.with_label_values(&[name]),
            signature_checks: self.signatures.checks(name),
            from_the_future: self.from_the_future.with_label_values(&[name]),
        }
    }

    /// Counts what the signer of that name signs.
    pub fn signatures(&self, signer: &str) -> IntCounter {
        self.signatures.made(signer)
    }

    /// The numbers about the route of that name.
    pub fn route(&self, name: &str) -> RouteMetrics {
        self.requests.route(name)
    }

    /// The numbers about what the connections of the route of that name become.
    pub fn upgrades(&self, route: &str) -> UpgradeMetrics {
        self.upgrades.route(route)
    }

    /// The numbers about the upstream of that name.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        self.requests.upstream(name)
    }

    /// What happens to the members of the upstream of that name.
    pub fn upstream_events(&self, name: &str) -> UpstreamEvents {
        self.upstreams.events(name)
    }

    /// Forgets what [`upstream_members`](Self::upstream_members) and
    /// [`upstream_connections`](Self::upstream_connections) have set: upstreams may be gone.
    pub fn forget_upstream_members(&self) {
        self.upstreams.forget_members();
    }

    /// Sets how many members of an upstream are in a state; read when the page is made.
    pub fn upstream_members(&self, upstream: &str, state: &'static str, count: usize) {
        self.upstreams.members(upstream, state, count);
    }

    /// Sets how many connections to an upstream are open, and how many requests wait for one; read
    /// when the page is made.
    pub fn upstream_connections(&self, upstream: &str, open: usize, waiting: usize) {
        self.upstreams.connections(upstream, open, waiting);
    }

    /// The numbers of certificates.
    pub fn certificates(&self) -> &CertificateMetrics {
        &self.certificates
    }

    /// The numbers of the revocation list.
    pub fn revocations(&self) -> &RevocationMetrics {
        &self.revocations
    }

    /// The numbers of callers' connections.
    pub fn connections(&self) -> &ConnectionMetrics {
        &self.connections
    }

    /// Counts that runtime's tasks, too.
    pub fn runs_on(&self, runtime: &Handle) {
        self.process.runs_on(runtime);
    }

    /// Sets how many tasks live; read when the page is made.
    pub fn count_tasks(&self) {
        self.process.count_tasks();
    }

    /// Sets how many entries the cache of that name has; read when the page is made, since
    /// counting along would be a write for every entry.
    pub fn cache_entries(&self, cache: &'static str, entries: u64) {
        self.process.cache_entries(cache, entries);
    }

    /// Counts a configuration that was taken up or refused.
    pub fn reloaded(&self, accepted: bool) {
        self.process.reloaded(accepted);
    }

    /// The counter of a client's token requests that ended so: `granted`, `partial`, `refused`,
    /// `unavailable`, `unusable`, `refreshed`, `refresh_refused`, `subject_refused`, `actor`.
    pub fn own_client(&self, client: &str, outcome: &'static str) -> IntCounter {
        self.own_client.with_label_values(&[client, outcome])
    }

    /// How many of the scopes that a client asked for were not granted last time.
    pub fn missing_scopes(&self, client: &str) -> IntGauge {
        self.missing_scopes.with_label_values(&[client])
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers a family of counters.
pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Registers a family of gauges.
pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// Registers a family of histograms over seconds, from 0.5 ms to 10 s.
pub fn histograms(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options =
        HistogramOpts::new(name, help).buckets(BOUNDS.map(|bound| bound.as_secs_f64()).into());
    registered(registry, HistogramVec::new(options, labels))
}

#[expect(clippy::expect_used, reason = "names and labels are constants; a test makes them all")]
fn registered<C>(registry: &Registry, collector: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = collector.expect("the metric's name and labels are valid");
    registry.register(Box::new(collector.clone())).expect("the metric's name is used once");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_counts_under_its_own_labels() {
        let metrics = Metrics::new();
        let server = metrics.server("main");
        server.call(Endpoint::Token, CallOutcome::Refused, Duration::from_millis(3));
        server.hit(CacheKind::Basic);
        let labels = ["main", "token", "refused"];
        assert_eq!(metrics.calls.with_label_values(&labels).get(), 1);
        assert_eq!(server.lookups()[CacheKind::Basic as usize], (CacheKind::Basic, 1, 0));
        assert_eq!(server.lookups()[CacheKind::Jwt as usize], (CacheKind::Jwt, 0, 0));
    }
}
