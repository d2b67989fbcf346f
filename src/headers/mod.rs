//! What is taken from a message's header section and what is put into it. Pure.
//!
//! The order is an invariant: hop-by-hop fields go first, then everything that only we may say,
//! and only then is ours put in: identity headers, and last what a route sets by itself. A caller
//! that names one of our fields in `Connection` is refused.

mod called;
mod client_certificate;
mod constant;
mod cors;
mod edit;
mod forwarded;
mod grpc_timeout;
mod hop;
mod max_forwards;
mod quoted;
mod sanitize;
#[cfg(test)]
mod testing;
mod upgrade;
mod websocket;

pub use called::Called;
pub use client_certificate::{CertificateFormat, CertificateHeader};
pub use constant::ConstantEdits;
pub use cors::{Cors, CorsRules, Credentials, Origins, Preflight, Reader};
pub use edit::EditPlan;
pub use forwarded::{Announcement, Caller, Pseudonym, Scheme, announce_prefix, client_address};
pub use grpc_timeout::grpc_timeout;
pub use max_forwards::{MaxForwards, spend};
pub use sanitize::{Sanitizer, Trust, folded, is_spelling_of, response_trailers};
pub use upgrade::{InvalidProtocol, Protocol, may_leave_http, offers_to_leave};
pub use websocket::{ExpectedAccept, begin_handshake};
