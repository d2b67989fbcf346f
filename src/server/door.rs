//! What every request of a connection needs, and the way out of HTTP: of a whole connection over
//! HTTP/1.1 (RFC 9110 §7.8), of one stream over HTTP/2 (RFC 8441).

use std::sync::{Arc, Mutex, PoisonError};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::phase::PhaseReceiver;
use super::watched::Busy;
use crate::gateway::{Connection, Gateway, Upgrade};

/// The gateway has owners on all workers, this one has its own on one: a request counts here.
pub(super) struct Door {
    pub(super) gateway: Arc<Gateway>,
    pub(super) connection: Connection,
    /// Over HTTP/2, for streams that leave it.
    streams_phase: Option<PhaseReceiver>,
    /// Over HTTP/1.1, what the connection becomes as soon as its last answer is written.
    upgrade: Mutex<Option<Box<Upgrade>>>,
}

impl Door {
    /// `streams_phase`: over HTTP/2, where each stream leaves by itself.
    pub(super) fn new(
        gateway: Arc<Gateway>,
        connection: Connection,
        streams_phase: Option<PhaseReceiver>,
    ) -> Self {
        Self { gateway, connection, streams_phase, upgrade: Mutex::default() }
    }

    /// Hands over what a request was sent on: the connection, or the one stream.
    pub(super) fn leave_http(&self, upgrade: Box<Upgrade>, stream: Option<OnUpgrade>, busy: &Busy) {
        let (Some(stream), Some(phase)) = (stream, &self.streams_phase) else {
            *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
            return;
        };
        let (mut phase, busy) = (phase.clone(), busy.again());
        tokio::spawn(async move {
            if let Ok(stream) = stream.await {
                Box::pin(upgrade.run(TokioIo::new(stream), &[], phase.draining())).await;
            }
            drop(busy);
        });
    }

    /// What the connection is to become.
    pub(super) fn take_upgrade(&self) -> Option<Box<Upgrade>> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
