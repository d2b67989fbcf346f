//! An HTTP/2 connection that several lanes share, opened again by whoever finds it ended.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::Mutex;

use super::dial::Stream;
use super::lane::{Lane, PATIENCE_MIN};
use super::turn::Turn;
use crate::load::failure::Failure;

/// The connection.
pub(super) struct Link(Mutex<State>);

struct State {
    sender: Option<SendRequest<Bytes>>,
    generation: u64,
    patience: Duration,
}

/// What a lane holds of it.
pub(super) struct Hold {
    /// Opens streams.
    pub(super) sender: SendRequest<Bytes>,
    /// How many connections there were before this one.
    pub(super) generation: u64,
}

impl Link {
    /// On this stream, if there is one.
    pub(super) async fn new(stream: Option<Stream>) -> Self {
        let sender = match stream {
            Some(stream) => start(stream).await.ok(),
            None => None,
        };
        Self(Mutex::new(State { sender, generation: 0, patience: PATIENCE_MIN }))
    }

    /// The connection as it is, or a new one if it is still the one that has `ended`.
    pub(super) async fn hold(
        &self,
        lane: &Lane,
        turn: &mut Turn,
        ended: Option<u64>,
    ) -> Result<Hold, Failure> {
        let mut state = self.0.lock().await;
        if ended == Some(state.generation) {
            state.sender = None;
        }
        if let Some(sender) = &state.sender {
            return Ok(Hold { sender: sender.clone(), generation: state.generation });
        }
        let stream = lane.reopen(turn, &mut state.patience).await?;
        let sender = start(stream).await?;
        state.generation += 1;
        state.sender = Some(sender.clone());
        Ok(Hold { sender, generation: state.generation })
    }
}

/// Begins to speak HTTP/2. The connection is driven by a task that ends with it.
async fn start(stream: Stream) -> Result<SendRequest<Bytes>, Failure> {
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await;
    let (sender, connection) = handshake.map_err(|_| Failure::Closed)?;
    // How it ends is told to each of its streams.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender)
}

/// So large that an answer seldom waits for more room.
const WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
