//! What a connection holds that waits for its caller's next request.

use std::alloc::System;
use std::thread;
use std::time::{Duration, Instant};

use scopegate::base::net::ListenAddress;
use scopegate::server;
use stats_alloc::{Region, Stats};

use super::allocations::configuration;
use super::bound::{Bounds, hold};
use super::wire::{AccessLog, Caller, Warm};

#[test]
fn an_idle_connection_holds_memory_within_its_bound() {
    let _alone = super::alone();
    let warm = Warm::new(AccessLog::Off);
    let running = server::start(configuration(&warm)).unwrap();
    let [ListenAddress::Tcp(address)] = running.addresses() else { panic!("one TCP listener") };
    Caller::open(*address, &warm.token).send(WARM_UP);
    let mut callers = Vec::with_capacity(CONNECTIONS);
    let region = Region::new(super::ALLOCATOR);
    for _ in 0..CONNECTIONS {
        let mut caller = Caller::open(*address, &warm.token);
        caller.send(1);
        callers.push(caller);
    }
    let bound = Bounds::read().idle_connection.bytes;
    let deadline = Instant::now() + PATIENCE;
    let mut held = held_by_each(&region, &callers);
    // It is parked at the next look of its watchdog.
    while bound < held && Instant::now() < deadline {
        thread::yield_now();
        held = held_by_each(&region, &callers);
    }
    hold("bytes that an idle connection holds", held, bound);
    for caller in &mut callers {
        caller.send(1); // and each of them still serves
    }
}

/// Both ends are in this process: what the callers hold is taken off.
fn held_by_each(region: &Region<'_, System>, callers: &[Caller]) -> f64 {
    let Stats { bytes_allocated, bytes_deallocated, .. } = region.change();
    let callers: usize = callers.iter().map(Caller::held_bytes).sum();
    bytes_allocated.saturating_sub(bytes_deallocated + callers) as f64 / CONNECTIONS as f64
}

const CONNECTIONS: usize = 200;
const WARM_UP: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);
