//! Which route a request takes: pure, and the same for every door.
//!
//! A request's host and path are brought into their normal forms first ([`NormalHost`],
//! [`NormalPath`]), or the request is refused; [`Table::find`] sees nothing else, and the upstream
//! gets the very path that it saw, or what the route's [`PrefixRewrite`] makes of it.

mod host;
mod method;
mod near;
mod path;
mod pattern;
mod rewrite;
mod table;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/path.rs"]
pub mod fuzz_path;

pub use host::{HostPattern, InvalidHost, NormalHost};
pub use method::{InvalidMethod, MethodSet};
pub use near::{Misfit, nearest};
pub use path::{AmbiguousPath, NormalPath};
pub use pattern::{InvalidPathPattern, PathPattern};
pub use rewrite::{InvalidRewrite, PrefixRewrite};
pub use table::{Conflict, Miss, RouteKey, Table};
