//! What a cached verdict costs in resident memory, with the allocator of the binary, and that a
//! flood of tokens does not take more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::large_futures,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test that meets the unexpected stops there, and only tests read clocks here"
)]

#[allow(dead_code, reason = "each binary has one of its tables")]
mod bound;
#[allow(unused_imports, reason = "much of it is for the other tests")]
#[path = "../gateway/harness/mod.rs"]
mod harness;

use std::ops::Range;
use std::sync::Arc;

use bound::{Bounds, hold};
use harness::issuer::{AUDIENCE, ISSUER, assemble};
use harness::keys::hmac_sha256;
use harness::{Scratch, unix_now};
use mimalloc::MiMalloc;
use scopegate::base::time;
use scopegate::config;
use scopegate::oauth::{Plaintext, RawToken, ServerId};
use scopegate::telemetry::Metrics;
use scopegate::verify::{CacheStatus, Server, Shared, TokenCaches, Verifier};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// One test and not two: both look at the memory of the whole process.
#[test]
fn a_full_cache_takes_memory_within_its_bound_and_a_flood_takes_no_more() {
    // What the process and the allocator have whatever comes is there after another one's verdicts.
    let bound = verdicts();
    let (judge, other) = (Judge::new(bound), Judge::new(bound));
    other.see(0..WARM_UP);
    let before = resident_bytes();
    // The allocator may give back more of the warm-up than has come since.
    let taken = || resident_bytes().saturating_sub(before);
    judge.see(0..bound / 64);
    let early = taken();
    judge.see(bound / 64..bound);
    let status = judge.status();
    let full = taken();
    assert!(status.entries <= bound as u64, "{status:?}");
    assert!(bound as u64 * 95 / 100 <= status.entries, "the cache is full: {status:?}");
    let each = full as f64 / status.entries as f64;
    println!("a cache of {bound} verdicts: {} MiB, of a 64th: {} KiB", full >> 20, early >> 10);
    assert!(early <= full / 8, "no memory is held for what has not come: {early} of {full}");
    hold("resident bytes for a cached verdict", each, Bounds::read().cached_verdict.bytes);

    let flood = bound + bound / 4;
    judge.see(bound..flood);
    let status = judge.status();
    let flooded = taken();
    println!("after a flood of {flood} tokens: {} MiB, {status:?}", flooded >> 20);
    assert!(status.entries <= bound as u64, "the flood is kept out or evicts: {status:?}");
    assert_eq!(status.entries + status.evictions, flood as u64, "{status:?}");
    let each = flooded as f64 / status.entries as f64;
    hold("the same after a flood", each, Bounds::read().cached_verdict.bytes_after_flood);
}

/// A verifier for tokens with a MAC, which are quick to make.
struct Judge {
    verifier: Verifier,
    caches: Arc<TokenCaches>,
    runtime: tokio::runtime::Runtime,
    expires: i64,
}

impl Judge {
    fn new(bound: usize) -> Self {
        let folder = Scratch::new();
        folder.write("secret", SECRET);
        let path = folder.write("gateway.toml", configuration(bound));
        let config = config::load(&path, Plaintext::Refused).unwrap().config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let caches = Arc::new(TokenCaches::new(&config.caches));
        let shared = Shared {
            runtime: runtime.handle().clone(),
            metrics: Arc::new(Metrics::new()),
            caches: Arc::clone(&caches),
            proofs: Arc::default(),
        };
        let server = Server::start(ServerId::new(0), config.servers[0].clone(), &shared).unwrap();
        let verifier = Verifier::new(vec![server], None, Arc::clone(&caches));
        Self { verifier, caches, runtime, expires: unix_now() + 3600 }
    }

    /// Judges the tokens of these numbers, all of them good.
    fn see(&self, serials: Range<usize>) {
        for serial in serials {
            let token = self.token(serial);
            let verdict = self.verifier.verify(RawToken::new(&token), time::now());
            self.runtime.block_on(verdict).unwrap();
        }
    }

    /// With what the tokens of most servers have: a user id, a client, two scopes.
    fn token(&self, serial: usize) -> String {
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"6f9619ff-8b86-d011-b42d-{serial:012x}",
            "client_id":"orders-web","scope":"orders:read orders:write","jti":"{serial}",
            "department":"it","exp":{}}}"#,
            self.expires
        );
        assemble(r#"{"alg":"HS256","typ":"at+jwt"}"#, &claims, |input| hmac_sha256(SECRET, input))
    }

    fn status(&self) -> CacheStatus {
        self.caches.status().tokens
    }
}

/// How many the cache holds, or what the environment says.
fn verdicts() -> usize {
    std::env::var("SCOPEGATE_VERDICTS").map_or(VERDICTS, |text| text.parse().unwrap())
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn configuration(bound: usize) -> String {
    format!(
        r#"
[[listeners]]
address = "127.0.0.1:0"
[authorization_servers.main]
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
algorithms = ["HS256"]
shared_secret = {{ file = "secret" }}
[upstreams.api]
endpoints = ["http://127.0.0.1:9"]
[[routes]]
path = "/"
upstream = "api"
access = {{ scopes = ["orders:read"] }}
identity_headers = {{ "x-subject" = "sub" }}
[caches]
tokens = {bound}
"#
    )
}

const SECRET: &[u8] = b"a secret of the right length for HS256";
/// After so many there is whatever is there once for all.
const WARM_UP: usize = 2_000;
/// An eighth of a million: the cache's tables have powers of two of places, so both fill theirs to
/// the same part. Fewer would do but for the pages of 2 MiB, in which the allocator takes memory.
const VERDICTS: usize = 125_000;
