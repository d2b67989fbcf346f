//! What a connection, or a stream of one, needs to take its turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::Desk;
use super::dial::{Dialer, Stream};
use super::pacer::Pacer;
use super::tally::{Answered, Outcome};
use super::turn::Turn;
use super::watchdog::Watchdog;
use crate::base::time;
use crate::load::failure::Failure;

/// One request after the other.
pub(super) struct Lane {
    pub(super) desk: Arc<Desk>,
    pub(super) watchdog: Arc<Watchdog>,
    pub(super) pacer: Arc<Pacer>,
    pub(super) dialer: Arc<Dialer>,
}

impl Lane {
    /// Leaves what became of the last turn, and waits for the next one; none when the run is over.
    pub(super) async fn turn(&self, last: Option<Outcome>, now: Instant) -> Option<Turn> {
        let mut turn = self.desk.turn(last, now)?;
        if !self.desk.is_open_loop() {
            return Some(turn);
        }
        let begun = match turn.start > now {
            true => self.pacer.until(turn.start).await,
            false => now,
        };
        turn.begin(begun);
        (turn.start <= begun).then_some(turn)
    }

    /// What became of a turn, if it counts.
    pub(super) fn outcome(
        &self,
        turn: &Turn,
        result: Result<Answered, Failure>,
    ) -> Option<Outcome> {
        let kind = self.desk.credential(turn).kind();
        turn.counts.then_some(Outcome { kind, start: turn.start, late: turn.late, result })
    }

    /// Opens a connection for a turn, in place of one that has ended.
    ///
    /// In a closed loop the turn begins when it is open: nobody waited for it before. When there is
    /// none, `patience` is how long the lane rests, so that a target that is down is not hammered.
    pub(super) async fn reopen(
        &self,
        turn: &mut Turn,
        patience: &mut Duration,
    ) -> Result<Stream, Failure> {
        let opened = self.dialer.open().await;
        let now = time::instant();
        match opened {
            Ok(stream) => {
                *patience = PATIENCE_MIN;
                self.desk.count_reconnect(now);
                if !self.desk.is_open_loop() {
                    turn.start = now;
                }
                Ok(stream)
            }
            Err(no_connection) => {
                if !self.desk.is_open_loop() {
                    tokio::time::sleep(*patience).await;
                    *patience = (*patience * 2).min(PATIENCE_MAX);
                }
                Err(no_connection.failure)
            }
        }
    }
}

/// How long a lane rests after the first failure to connect.
pub(super) const PATIENCE_MIN: Duration = Duration::from_millis(10);
/// How long it rests at most.
const PATIENCE_MAX: Duration = Duration::from_millis(500);
