//! The connections that one worker has open to one member.

use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::connect::Protocol;
use super::http1::Link;
use crate::body::Body;

/// What is open to one member.
#[derive(Default)]
pub(super) struct Lines {
    #[expect(clippy::vec_box, reason = "a link's box moves between pool, exchange and body")]
    pub(super) idle: Vec<Box<Link>>,
    pub(super) http2: Option<Shared>,
    /// What it spoke last, where that is agreed on anew for each connection.
    pub(super) spoke: Option<Protocol>,
}

/// An HTTP/2 connection that requests share.
pub(super) struct Shared {
    pub(super) sender: SendRequest<Body>,
    pub(super) opened: Instant,
    pub(super) used: Instant,
}

/// An open connection.
pub(super) enum Line {
    Http1(Box<Link>),
    Http2(SendRequest<Body>),
}

impl Lines {
    /// Lets go of what no request needs: what is idle, and what none of them shares.
    pub(super) fn close(&mut self, in_flight: usize) {
        self.idle.clear();
        self.http2.take_if(|_| in_flight == 0);
    }

    /// Takes one that carries nothing.
    pub(super) fn take_idle(&mut self, in_flight: usize) -> Option<Line> {
        if !self.idle.is_empty() {
            return Some(Line::Http1(self.idle.remove(0)));
        }
        let shared = self.http2.take_if(|_| in_flight == 0);
        shared.map(|shared| Line::Http2(shared.sender))
    }
}
