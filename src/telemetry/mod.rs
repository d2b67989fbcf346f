//! What operators see: numbers and log lines.

pub mod access_log;
mod families;
pub mod log;
pub mod metrics;
mod process;
pub mod requests;

pub use metrics::{CacheKind, CallOutcome, Endpoint, Metrics, ServerMetrics};
pub use requests::{Outcome, RouteMetrics, UpstreamMetrics};
