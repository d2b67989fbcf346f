//! How many instructions a request takes, in all of the real binary: a warm one, whose token was
//! seen before, and a cold one, whose token is new.
//!
//! The binary runs under valgrind twice, once with [`REQUESTS`] more requests than the other time;
//! the difference, divided by their number, is one request: reading, parsing, deciding, upstream,
//! writing. The kernel's part is not seen. Start and end of the process cancel out.
//!
//! Why not gungraun: it counts a function that a harness calls, and the whole path is no function;
//! it is a worker's thread with connections on both sides.

use std::ffi::OsString;
use std::process::Command;

use super::bound::{Bounds, hold};
use super::harness::program::Program;
use super::wire::{AccessLog, Caller, Warm, address, eventually};

#[test]
fn a_warm_request_takes_instructions_within_its_bound() {
    let bounds = Bounds::read().warm_request;
    count("instructions for a warm request", AccessLog::Off, Tokens::Seen, bounds.instructions);
}

#[test]
fn a_warm_request_with_access_log_takes_instructions_within_its_bound() {
    let what = "instructions for a warm request with access log";
    let bound = Bounds::read().warm_request.instructions_with_access_log;
    count(what, AccessLog::On, Tokens::Seen, bound);
}

#[test]
fn a_cold_request_takes_instructions_within_its_bound() {
    let bound = Bounds::read().cold_request.instructions;
    count("instructions for a cold request", AccessLog::Off, Tokens::New, bound);
}

/// What the requests that are counted carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tokens {
    /// All the same one.
    Seen,
    /// Each one of its own.
    New,
}

fn count(what: &str, log: AccessLog, tokens: Tokens, bound: f64) {
    let Some(binary) = std::env::var_os(BINARY) else {
        eprintln!("SKIPPED: {what}: {BINARY} names no release build");
        return;
    };
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: {what}: valgrind is not installed");
        return;
    }
    let _alone = super::alone();
    let warm = Warm::new(log);
    let few = instructions(&binary, &warm, tokens, WARM_UP);
    let many = instructions(&binary, &warm, tokens, WARM_UP + REQUESTS);
    hold(what, (many - few) / REQUESTS as f64, bound);
}

/// All instructions of a gateway that serves so many requests and ends.
fn instructions(binary: &OsString, warm: &Warm, tokens: Tokens, requests: usize) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(binary)
        .args(["run", "--config"])
        .arg(warm.configuration())
        .env("NO_COLOR", "1");
    let mut program = Program::start(&mut valgrind);
    let address = eventually("the gateway to listen", || address(&program.errors().all()));
    let mut caller = Caller::open(address, &warm.token);
    match tokens {
        Tokens::Seen => caller.send(requests),
        Tokens::New => caller.send_each(&warm.new_tokens(requests)),
    }
    drop(caller);
    program.signal("TERM");
    eventually("the gateway to end", || program.ended());
    eventually("valgrind's count", || counted(&program.errors().all()))
}

/// From `==1234== I   refs:      12,345,678`.
fn counted(log: &[String]) -> Option<f64> {
    let line = log.iter().find(|line| line.starts_with("==") && line.contains("refs:"))?;
    line.split_once("refs:")?.1.trim().replace(',', "").parse().ok()
}

/// The environment variable that names the binary: a debug build says nothing about what is shipped.
const BINARY: &str = "SCOPEGATE_RELEASE";
const WARM_UP: usize = 100;
const REQUESTS: usize = 1000;
