//! How many instructions a warm request takes, in all of the real binary.
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
    count("instructions for a warm request", AccessLog::Off, bounds.instructions);
}

#[test]
fn a_warm_request_with_access_log_takes_instructions_within_its_bound() {
    let what = "instructions for a warm request with access log";
    count(what, AccessLog::On, Bounds::read().warm_request.instructions_with_access_log);
}

fn count(what: &str, log: AccessLog, bound: f64) {
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
    let few = instructions(&binary, &warm, WARM_UP);
    let many = instructions(&binary, &warm, WARM_UP + REQUESTS);
    hold(what, (many - few) / REQUESTS as f64, bound);
}

/// All instructions of a gateway that serves so many warm requests and ends.
fn instructions(binary: &OsString, warm: &Warm, requests: usize) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(binary)
        .args(["run", "--config"])
        .arg(warm.configuration())
        .env("NO_COLOR", "1");
    let mut program = Program::start(&mut valgrind);
    let address = eventually("the gateway to listen", || address(&program.errors().all()));
    Caller::open(address, &warm.token).send(requests);
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
