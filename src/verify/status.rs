//! What `/status` shows of an authorization server: never a secret, never a token.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::jwks::{Age, HeldKey};
use super::server::Server;

/// One authorization server, as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Its issuer identifier.
    pub issuer: Box<str>,
    /// Whether its tokens can be judged.
    pub ready: bool,
    /// Its usable keys.
    pub keys: Vec<KeyStatus>,
    /// How many published keys are left out.
    pub keys_skipped: usize,
    /// Since when the key set has been held; absent where it was never fetched, or cannot grow old.
    pub keys_age_s: Option<u64>,
    /// Where tokens are introspected.
    pub introspection_endpoint: Option<String>,
    /// Where tokens are given.
    pub token_endpoint: Option<String>,
    /// How many DPoP proofs are remembered; absent where none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_proofs: Option<u64>,
    /// How the last fetch failed, if it did.
    pub last_error: Option<String>,
    /// Looks into the caches for it, by what they were about.
    pub lookups: BTreeMap<&'static str, LookupStatus>,
}

/// What looks into a cache found since the start: their share of hits is the hit rate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LookupStatus {
    /// Something.
    pub hits: u64,
    /// Nothing.
    pub misses: u64,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyStatus {
    /// `kid`.
    pub id: Option<Box<str>>,
    /// What it serves.
    pub algorithms: Vec<&'static str>,
    /// Since when it is in the set.
    pub age_s: u64,
}

impl ServerStatus {
    pub(super) fn of(server: &Server, now: Instant) -> Self {
        let keys = server.keys();
        let settings = server.settings();
        let failure = match &server.fetches().last {
            Some(Err(failure)) => Some(failure.to_string()),
            Some(Ok(())) | None => None,
        };
        let token = settings.endpoints.token.clone();
        let token = token.or_else(|| server.metadata()?.token.clone());
        Self {
            name: settings.name.clone(),
            issuer: settings.issuer.as_str().into(),
            ready: server.is_ready(),
            keys: keys.iter().map(|held| KeyStatus::of(held, now)).collect(),
            keys_skipped: keys.skipped,
            keys_age_s: match keys.age() {
                Age::Fetched(at, _) => Some(now.saturating_duration_since(at).as_secs()),
                Age::Unknown | Age::Fixed => None,
            },
            introspection_endpoint: server.introspection_endpoint().map(|uri| uri.to_string()),
            token_endpoint: token.map(|uri| uri.to_string()),
            dpop_proofs: server.proofs().map(|proofs| proofs.remembered()),
            last_error: failure,
            lookups: server
                .metrics()
                .lookups()
                .map(|(cache, hits, misses)| (cache.name(), LookupStatus { hits, misses }))
                .into(),
        }
    }
}

impl KeyStatus {
    fn of(held: &HeldKey, now: Instant) -> Self {
        Self {
            id: held.key.id.clone(),
            algorithms: held.key.algorithms.iter().map(|one| one.name()).collect(),
            age_s: now.saturating_duration_since(held.since).as_secs(),
        }
    }
}
