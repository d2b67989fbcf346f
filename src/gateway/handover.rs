//! A connection that leaves HTTP: handed from the pipeline, which has decided it, to the server,
//! which has the caller's side of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::context::PendingLine;
use crate::base::time::{self, UnixSeconds};
use crate::oauth::VerifiedToken;
use crate::revocation::RevocationList;
use crate::telemetry::access_log::Upgraded;
use crate::telemetry::{UpgradeEnd, UpgradeMetrics};
use crate::tunnel::{Language, Moved, Tunnel};
use crate::upstream::Switched;

/// Stands beside the answer that switches protocols; whoever sends that takes what is in it.
#[derive(Clone)]
pub struct Handover(Arc<Mutex<Option<Box<Upgrade>>>>);

/// The upstream's side of a connection that leaves HTTP, and until when it may last.
pub struct Upgrade {
    opening: Opening,
    record: Record,
}

/// A token, and the list that may come to name it.
pub(super) type Revocable = (Arc<RevocationList>, Arc<VerifiedToken>);

/// What a tunnel begins with.
pub(super) struct Opening {
    pub(super) switched: Switched,
    pub(super) language: Language,
    pub(super) idle_timeout: Duration,
    /// When the token ends that opened it, if that counts.
    pub(super) token_end: Option<UnixSeconds>,
    /// The token that opened it, and who says that it is revoked; if anybody can.
    pub(super) revocable: Option<Revocable>,
    /// How long it may go on once the process drains.
    pub(super) drain_timeout: Duration,
    pub(super) metrics: UpgradeMetrics,
}

impl Handover {
    pub(super) fn new(opening: Opening) -> Self {
        opening.metrics.began();
        let metrics = opening.metrics.clone();
        let (end, moved) = (UpgradeEnd::Cut, Moved::default());
        let record = Record { metrics, line: None, end, moved };
        Self(Arc::new(Mutex::new(Some(Box::new(Upgrade { opening, record })))))
    }

    /// What is handed over, the first time.
    pub fn take(&self) -> Option<Box<Upgrade>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has the request's line of the access log written at the tunnel's end.
    pub(super) fn keep(&self, line: Option<PendingLine>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upgrade) = &mut *inside {
            upgrade.record.line = line;
        }
    }
}

impl Upgrade {
    /// Lets bytes through until the end: see [`Tunnel::run`]. `read_ahead` was read from the caller
    /// behind its request; `draining` is ready when the process begins to drain. Gives the caller's
    /// connection back, to be closed.
    pub async fn run<C>(self, caller: C, read_ahead: &[u8], draining: impl Future<Output = ()>) -> C
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { opening, mut record } = self;
        let Opening { switched, language, idle_timeout, token_end, revocable, .. } = opening;
        let drain_timeout = opening.drain_timeout;
        let tunnel = Tunnel::new((caller, read_ahead), switched, language, idle_timeout);
        let until = async {
            tokio::select! {
                () = token_ended(token_end) => UpgradeEnd::TokenEnded,
                () = token_revoked(revocable) => UpgradeEnd::TokenRevoked,
                () = drained(draining, drain_timeout) => UpgradeEnd::Drained,
            }
        };
        let (end, caller) = Box::pin(tunnel.run(&mut record.moved, until)).await;
        record.end = end;
        caller
    }
}

/// Waits for the end of the token that opened a tunnel: its `exp`, without the skew that a new
/// request is allowed.
///
/// The wall clock is read anew now and then: a machine that sleeps stops the other one.
async fn token_ended(end: Option<UnixSeconds>) {
    let Some(end) = end else { return std::future::pending().await };
    let end = Duration::from_secs(u64::try_from(end.get()).unwrap_or(0));
    while let Some(left) = end.checked_sub(time::since_epoch()).filter(|left| !left.is_zero()) {
        sleep(left.min(LOOK_EVERY)).await;
    }
}

/// Waits until the token that opened a tunnel is revoked, which ends it whatever `ends_with_token`
/// says: somebody wants it out.
async fn token_revoked(revocable: Option<Revocable>) {
    match revocable {
        Some((list, token)) => list.revoked(token).await,
        None => std::future::pending().await,
    }
}

/// Waits until a drain has taken nearly all the time there is: what is left is for a last word.
async fn drained(draining: impl Future<Output = ()>, timeout: Duration) {
    draining.await;
    sleep(timeout.saturating_sub(LAST_WORDS.min(timeout / 4))).await;
}

/// Counts a tunnel and writes its line, however it ends: dropped with its runtime, too.
struct Record {
    metrics: UpgradeMetrics,
    line: Option<PendingLine>,
    end: UpgradeEnd,
    moved: Moved,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.ended(self.end);
        if let Some(line) = &self.line {
            let upgraded = Upgraded { received_bytes: self.moved.received, end: self.end };
            line.write_upgraded(self.moved.sent, upgraded);
        }
    }
}

/// How often the wall clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// What of the drain's time is kept for a last word.
const LAST_WORDS: Duration = Duration::from_secs(1);
