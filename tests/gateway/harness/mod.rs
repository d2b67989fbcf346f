//! What a test needs around the gateway, each thing started by the test and ended with it.
//!
//! [`World`] is the common case: an issuer, an upstream that remembers what reached it, and the
//! gateway between a caller and that upstream. Everything is on loopback and on port 0. Nothing
//! here sleeps to be sure: a wait is for a fact, and has [`DEADLINE`].
#![allow(dead_code, reason = "some of it is for one module only")]

pub mod authserver;
pub mod backend;
pub mod client;
pub mod frames;
pub mod gateway;
pub mod http1;
pub mod http2;
pub mod issuer;
pub mod keys;
pub mod mortal;
pub mod program;
pub mod proof;
pub mod raw_table;
pub mod recorder;
pub mod scratch;
pub mod tls;
pub mod world;

use std::time::{Duration, Instant};

pub use authserver::AuthServer;
pub use backend::{Backend, RawBackend, Reply};
pub use client::Response;
pub use gateway::Gateway;
pub use issuer::TestIssuer;
pub use keys::SigningKey;
pub use proof::ProofKey;
pub use scratch::Scratch;
pub use world::{Setup, World};

/// How long a test waits for a fact before it fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `fact` gives something.
pub async fn eventually<T>(what: &str, mut fact: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Gives a future [`DEADLINE`] to end.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not done in time: {what}"),
    }
}

/// Seconds since the epoch.
pub fn unix_now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_secs()).unwrap()
}
