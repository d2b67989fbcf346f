//! scopegate as its users meet it: the real binary, driven over sockets.
//!
//! One module per RFC or feature. [`harness`] starts what a test needs and ends it with the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::large_futures,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test that meets the unexpected stops there, and only tests read clocks here"
)]

#[path = "../architecture.rs"]
mod architecture;
#[path = "../checklist.rs"]
mod checklist;
mod harness;

mod admin;
mod answers;
mod applications;
mod attacks;
mod authorization_details;
mod basic;
mod certificate_bound;
mod challenges;
mod check;
mod claim_rules;
mod client_credentials;
mod clients;
mod connections;
mod cors;
mod credentials;
mod dev;
mod dpop;
mod explain;
mod faults;
mod floods;
mod framing_h1;
mod headers;
mod http2;
mod introspection;
mod introspection_jwt;
mod invariants;
mod jwt;
mod keys;
mod life;
mod listeners;
mod load;
mod load_tokens;
mod members;
mod methods;
mod misbehaving;
mod mutual_tls_clients;
mod principals;
mod providers;
mod proxy_protocol;
mod raw;
mod raw_peers;
mod refresh_tokens;
mod renewal;
mod resource_metadata;
mod revocation;
mod revocation_doors;
mod route_headers;
mod scopes_and_claims;
mod shipped;
mod signed_identity;
mod step_up;
mod streams;
mod timeouts;
mod token_command;
mod token_exchange;
mod tools;
mod upgrades;
mod upstreams;
mod websockets;
