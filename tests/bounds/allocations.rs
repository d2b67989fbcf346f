//! How often a warm request asks the allocator for memory.
//!
//! The gateway runs in this process, as `scopegate run` starts it, and every allocation of the
//! process is counted. What AWS-LC allocates by itself is not seen: it is C.

use scopegate::base::net::ListenAddress;
use scopegate::config::{self, Config};
use scopegate::oauth::Plaintext;
use scopegate::server;
use stats_alloc::{Region, Stats};

use super::bound::{Bounds, hold};
use super::wire::{AccessLog, Caller, Warm};

#[test]
fn a_warm_request_allocates_within_its_bound() {
    let _alone = super::alone();
    let warm = Warm::new(AccessLog::Off);
    let running = server::start(configuration(&warm)).unwrap();
    let [ListenAddress::Tcp(address)] = running.addresses() else { panic!("one TCP listener") };
    let mut caller = Caller::open(*address, &warm.token);
    caller.send(WARM_UP);
    let region = Region::new(super::ALLOCATOR);
    caller.send(REQUESTS);
    let Stats { allocations, reallocations, bytes_allocated, bytes_reallocated, .. } =
        region.change();
    let each = |sum: usize| sum as f64 / REQUESTS as f64;
    let bounds = Bounds::read().warm_request;
    // What the process does beside the requests is a fraction of one for each.
    hold("allocations for a warm request", each(allocations + reallocations), bounds.allocations);
    let bytes = bytes_allocated.saturating_add_signed(bytes_reallocated);
    hold("bytes allocated for a warm request", each(bytes), bounds.allocated_bytes);
}

pub fn configuration(warm: &Warm) -> Config {
    config::load(&warm.configuration(), Plaintext::Refused).unwrap().config
}

const WARM_UP: usize = 100;
const REQUESTS: usize = 1000;
