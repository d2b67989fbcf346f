//! `upgrade` of a route, compiled.

use std::time::Duration;

use crate::headers::Protocol;

/// What a route's connections may become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgrade {
    /// The protocols that may be asked for; at least one.
    pub protocols: Box<[Protocol]>,
    /// Whether the connection ends when the token does that opened it. Default yes; nothing on a
    /// public route.
    pub ends_with_token: bool,
    /// How long it may stand still in both directions. Default 5 min.
    pub idle_timeout: Duration,
}

impl Upgrade {
    /// Whether WebSocket is among its protocols: the one that HTTP/2 can open too (RFC 8441).
    pub fn allows_websocket(&self) -> bool {
        self.protocols.iter().any(Protocol::is_websocket)
    }
}
