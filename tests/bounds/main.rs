//! What a warm request costs, counted and not timed, and held against `tests/bounds.toml`: a
//! regression shows on any machine, however busy.
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

mod allocations;
#[allow(dead_code, reason = "each binary has one of its tables")]
mod bound;
mod endless;
mod endless_http2;
#[allow(unused_imports, reason = "much of it is for the other tests")]
#[path = "../gateway/harness/mod.rs"]
mod harness;
mod idle;
mod instructions;
mod wire;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts. What the binary has in its place changes what an allocation costs, not how many.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// While a count runs, no other test of this process does.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
