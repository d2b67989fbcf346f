//! What operators see: numbers and log lines.

mod access_format;
mod access_lines;
pub mod access_log;
pub mod certificates;
pub mod connections;
mod families;
pub mod log;
pub mod metrics;
mod process;
pub mod requests;
pub mod revocations;
mod signatures;
mod stamp;
#[cfg(test)]
mod testing;
mod upstreams;
pub mod upgrades;

pub use connections::{ConnectionEnd, ConnectionMetrics};
pub use metrics::{CacheKind, CallOutcome, Endpoint, Metrics, ServerMetrics};
pub use requests::{Outcome, RouteMetrics, UpstreamMetrics};
pub use revocations::{RevocationDoor, RevocationMetrics, RevocationRefusal};
pub use upgrades::{UpgradeEnd, UpgradeMetrics};
pub use upstreams::{RetryOutcome, RetryReason, UpstreamEvents};
