//! scopegate: an OAuth 2.0 gateway. It lets a request through to an API only if its access token
//! allows it.
//!
//! # The map
//! The folders are the way a request takes:
//! ```text
//!             server/            route/     credential/  verify/             policy/     headers/         upstream/
//!  TCP ─► accept ─► tls ─► connection ─► find ─► extract ─► jwt│introspection ─► decide ─► sanitize+edit ─► forward ─► response
//!         limits    SNI        h1/h2      pure    pure       async shell           pure      pure             async shell
//!         PROXY     ALPN     read along
//!                  any stage: Err(Rejection) ─────► reject/: status + WWW-Authenticate + problem body
//!  one pipeline: gateway::Route::authorize(parts, context) -> Result<Admission, Rejection>, the Permit in it
//!  the way from find to forward is gateway/pipeline; what `scopegate explain` tells comes of the same function
//!  a token that is revoked ends there too: revocation/ is asked about each, cached or new
//!  what goes to the upstream in the token's place comes of grant/ (a client's own, or exchanged) or signer/
//!  what no route has: metadata and key sets (gateway/metadata), revocation and logout (gateway/doors)
//!  after a switch of protocols: tunnel/ moves bytes until a side, the token or the process ends
//! ```
//!
//! # Invariants
//! Each has a test of its number in `tests/gateway/invariants.rs`.
//! 1. No upstream call without a [`policy::Permit`], and only `policy` makes one.
//! 2. A raw token lives from `credential` to `verify`, in the forwarded header, and in `grant` while
//!    it is exchanged for another; everywhere else there is only its digest.
//! 3. A cached verdict never outlives `exp`, its key, its verifier's settings, a revocation, or the
//!    operator's cap.
//! 4. A verdict is about the token alone: what a route requires is decided for every request.
//! 5. Unknown means refuse: an authorization server that cannot be asked is 503, never 200 or 401.
//! 6. One unseen token in many concurrent requests is one introspection call; one unknown `kid` is
//!    at most one fetch per cool-down.
//! 7. The path that the route table saw is the path that the upstream gets, or what its route's
//!    literal rewrite makes of it.
//! 8. Identity headers that a caller sent are gone before ours are set, in every spelling.
//! 9. Every buffer, cache, queue, header, retry and wait has a bound with a name.
//! 10. Time is an argument of every decision; only an outermost shell reads a clock.
//! 11. Nothing that came from the network is a metric label.
//!
//! # Floors
//! The modules stand below from the ground up, and each imports only from those above it in this
//! list: `tests/architecture.rs` reads this file and every `use crate::`.

// Floor 0: nouns.
pub mod base;
pub mod oauth;
// Floor 1: the deciding core: pure, no clock, no I/O, no logging.
pub mod reject;
pub mod route;
pub mod credential;
pub mod policy;
pub mod headers;
// Floor 2: what the shells share.
pub mod config;
pub mod telemetry;
pub mod body;
pub mod tunnel;
pub mod outbound;
// Floor 3: async shells around pure cores.
pub mod revocation;
pub mod verify;
pub mod grant;
pub mod signer;
pub mod upstream;
// Floor 4: the pipeline.
pub mod gateway;
pub mod admin;
// Floor 5: listeners.
pub mod server;
// Floor 6: what is started from a command line.
pub mod dev;
pub mod load;
pub mod cli;

// Not a floor: all that reads what a peer sends, over seeds and mutations of them.
#[cfg(test)]
#[path = "../tests/fuzz/smoke.rs"]
mod smoke;
