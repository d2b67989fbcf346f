//! `[revocations]`, compiled.

use std::path::PathBuf;
use std::time::Duration;

/// `[revocations]`: the list of tokens that are refused before their end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocations {
    /// How many entries it takes; default 100,000. One more is refused.
    pub entries: usize,
    /// Where it is kept, so that it outlives the process; absent: in memory alone.
    pub file: Option<PathBuf>,
    /// How long an entry lives whose token names no end: at least as long as tokens do. Default
    /// 1 day.
    pub keep: Duration,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { entries: ENTRIES, file: None, keep: KEEP }
    }
}

/// Some 10 MB.
const ENTRIES: usize = 100_000;
/// Longer than access tokens live.
const KEEP: Duration = Duration::from_secs(86_400);
