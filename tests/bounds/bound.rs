//! `tests/bounds.toml`, and how a count is held against it.

use std::path::Path;

use serde::Deserialize;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// One request whose token was seen before.
    pub warm_request: WarmRequest,
    /// One request whose token is new.
    pub cold_request: ColdRequest,
    /// A connection that waits for its caller.
    pub idle_connection: IdleConnection,
    /// One verdict of a full cache.
    pub cached_verdict: CachedVerdict,
}

/// `[warm_request]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmRequest {
    /// Calls of the allocator that give memory, growing included.
    pub allocations: f64,
    /// What they give.
    pub allocated_bytes: f64,
    /// Without access log.
    pub instructions: f64,
    /// With it.
    pub instructions_with_access_log: f64,
}

/// `[cold_request]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdRequest {
    /// Without access log.
    pub instructions: f64,
}

/// `[idle_connection]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleConnection {
    /// What it has on the heap.
    pub bytes: f64,
}

/// `[cached_verdict]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedVerdict {
    /// Resident memory.
    pub bytes: f64,
    /// The same, when as many tokens again as a quarter of them have been displaced.
    pub bytes_after_flood: f64,
}

impl Bounds {
    /// Reads it.
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bounds.toml");
        toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}

/// Prints a count and fails where it is over its bound.
pub fn hold(what: &str, measured: f64, bound: f64) {
    println!("{what}: {measured:.1} (bound {bound})");
    assert!(
        measured <= bound,
        "{what}: {measured:.1}, and the bound is {bound}. If that is what it must cost, write it \
         into tests/bounds.toml, which says how."
    );
    if measured < bound * LOOSE {
        println!("{what}: the bound is loose; tests/bounds.toml says how to renew it");
    }
}

/// Further below its bound a count has room to grow unseen.
const LOOSE: f64 = 0.9;
