//! The load generator: requests with tokens, as many as a target takes or at a rate, counted and
//! timed honestly.
//!
//! [`drive`] takes a [`Plan`] (what to send where, how fast, for how long, and a [`Supply`] of
//! credentials) and gives a [`Summary`].
//!
//! # What holds
//! * An answer counts only when it was read to its end and is well formed; everything else is a
//!   [`Failure`] and is counted as such. Every request that was begun has one of the two.
//! * With a rate, latency is counted from the moment at which a request was to begin, so a target
//!   that stalls is charged for all that waited (no coordinated omission).
//! * Nothing is shared between threads per request: each counts for itself and hands over its
//!   numbers once a second.

mod engine;
pub mod expect;
pub mod failure;
pub mod latency;
pub mod live;
pub mod plan;
pub mod progress;
pub mod report;
pub mod self_test;
pub mod summary;
pub mod supply;
pub mod target;
pub mod tokens;
pub mod value;

use std::fmt;
use std::io;
use std::ops::ControlFlow;

pub use failure::Failure;
pub use latency::Latency;
pub use plan::{Bounds, Pace, Plan, Protocol, RequestForm, Trust};
pub use progress::{Phase, Progress};
pub use summary::{Ending, KindSummary, Punctuality, Second, Statuses, Summary};
pub use supply::{Credential, InvalidCredential, Supply};
pub use target::{InvalidTarget, Target};

/// Why there is no result at all. What goes wrong once requests flow is in [`Summary::kinds`].
#[derive(Debug)]
pub enum LoadError {
    /// The host of the target has no address.
    Unresolved(io::Error),
    /// The first connection to the target could not be made, for this reason.
    Unreachable(Failure, io::Error),
    /// What trust in the target's certificate rests on cannot be used.
    Trust(rustls::Error),
    /// The target takes HTTP/2 and `--http2` was not given, or the other way around.
    ProtocolNotAgreed,
    /// The system gives no thread.
    Threads(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(formatter, "the target's host is not known: {error}"),
            Self::Unreachable(_, error) => {
                write!(formatter, "the target cannot be reached: {error}")
            }
            Self::Trust(error) => write!(formatter, "TLS cannot be set up: {error}"),
            Self::ProtocolNotAgreed => {
                formatter.write_str("the target does not speak the version of HTTP asked for")
            }
            Self::Threads(error) => write!(formatter, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Drives the target as planned, and returns when the run has come to its end.
///
/// `watch` is called on this thread about ten times a second; [`ControlFlow::Break`] ends the run
/// with its results so far. Blocks: call it outside of a runtime, or in `spawn_blocking`.
///
/// # Errors
/// When the run cannot begin. A target that fails later is not an error but a result.
pub fn drive(
    plan: &Plan,
    watch: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, LoadError> {
    engine::drive(plan, watch)
}
