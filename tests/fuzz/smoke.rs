//! The fuzz targets without a fuzzer: each over its seeds and some thousands of mutations of them,
//! the same in every run.

use std::fs;
use std::path::{Path, PathBuf};

/// A target's name, its body, and how many mutations it gets.
type Target = (&'static str, fn(&[u8]), usize);

const TARGETS: [Target; 8] = [
    ("path", crate::route::fuzz_path::run, 10_000),
    ("credential", crate::credential::fuzz_credential::run, 20_000),
    ("challenge", crate::reject::fuzz_challenge::run, 200),
    ("jwt", crate::verify::fuzz_jwt::run, 10_000),
    ("claims", crate::verify::fuzz_claims::run, 20_000),
    ("introspection", crate::verify::fuzz_introspection::run, 10_000),
    ("configuration", crate::config::fuzz_configuration::run, 500),
    ("proxy_protocol", crate::server::fuzz_proxy_protocol::run, 4_000),
];

#[test]
fn path() {
    smoke("path");
}

#[test]
fn credential() {
    smoke("credential");
}

#[test]
fn challenge() {
    smoke("challenge");
}

#[test]
fn jwt() {
    smoke("jwt");
}

#[test]
fn claims() {
    smoke("claims");
}

#[test]
fn introspection() {
    smoke("introspection");
}

#[test]
fn configuration() {
    smoke("configuration");
}

#[test]
fn proxy_protocol() {
    smoke("proxy_protocol");
}

#[test]
fn each_target_is_here_in_cargo_fuzz_and_has_seeds() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for (name, _, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let main = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(main.contains(&format!("::fuzz_{name}::run")), "{name}");
        assert!(!seeds(name).is_empty(), "{name}");
    }
    assert_eq!(fs::read_dir(folder().join("seeds")).unwrap().count(), TARGETS.len());
}

fn smoke(name: &str) {
    let (_, run, count) = TARGETS.into_iter().find(|(target, ..)| *target == name).unwrap();
    let seeds = seeds(name);
    for seed in &seeds {
        told(run, seed);
    }
    // Of a long one nearly all changes would be in its comments, and each run would take long.
    let short: Vec<_> = seeds.into_iter().filter(|seed| seed.len() <= MUTATED_MAX_BYTES).collect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..count {
        told(run, &mutated(&short, &mut random));
    }
}

/// Runs it; an input that it stops at is shown.
fn told(run: fn(&[u8]), input: &[u8]) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input: b\"{}\"", self.0.escape_ascii());
            }
        }
    }
    let _shown = Shown(input);
    run(input);
}

fn folder() -> PathBuf {
    package().join("tests/fuzz")
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// In the order of their names, so that a run can be repeated.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut paths = files(&folder().join("seeds").join(name));
    if name == "configuration" {
        // What users are given to begin with.
        paths.extend(files(&package().join("config")));
        paths.extend(files(&package().join("config/providers")));
    }
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// A seed with some changes, or the beginning of one and the end of another.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..=random.below(4) {
        let (from, to) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        match random.below(7) {
            0 if from < bytes.len() => bytes[from] = random.byte(),
            1 if from < bytes.len() => bytes[from] ^= 1 << random.below(8),
            2 => bytes.insert(from, random.byte()),
            3 => drop(bytes.drain(from..to.min(from + 8))),
            4 => drop(bytes.splice(from..from, random.pick(PIECES).bytes())),
            5 => {
                let piece = bytes[from..to.min(from + 32)].to_vec();
                drop(bytes.splice(to..to, piece));
            }
            _ => {
                let other = random.pick(seeds);
                bytes.truncate(from);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    bytes
}

/// A linear congruential generator: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    /// Mostly printable, as most of what is read is text.
    fn byte(&mut self) -> u8 {
        let (first, count) = if self.below(4) == 0 { (0, 256) } else { (0x20, 0x5F) };
        (first + self.below(count)) as u8
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The longest seed that is mutated.
const MUTATED_MAX_BYTES: usize = 8 * 1024;

/// What one reader or another makes something of.
const PIECES: &[&str] = &[
    "%2e",
    "%2F",
    "%5c",
    "%00",
    "%C0%AF",
    "%252e",
    "..",
    "./",
    "//",
    "\\",
    ";",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    " ",
    "  ",
    ",",
    ", ",
    "=",
    "==",
    "\"",
    "\\\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    "#",
    ":",
    "null",
    "true",
    "false",
    "1e999",
    "-1",
    "0",
    "99999999999999999999",
    "\\u0000",
    "\\ud800",
    "é",
    "\u{202e}",
    "Bearer ",
    "Basic ",
    "access_token=",
    "PROXY ",
    "UNKNOWN",
    "TCP6 ",
    "65536",
    "::1",
    "{*rest}",
    "{id}",
    "\"active\":true,",
    "\"cnf\":{},",
    "\"alg\":\"none\",",
];
