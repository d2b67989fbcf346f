//! Requests over one HTTP/2 connection (RFC 9113), several at a time.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Error, Reason, RecvStream};

use super::lane::Lane;
use super::link::{Hold, Link};
use super::message::Head;
use super::tally::Answered;
use super::turn::Turn;
use crate::base::time;
use crate::load::failure::Failure;
use crate::load::supply::Credential;

/// Takes turns until there are none, each as a stream of the connection that `link` shares.
pub(super) async fn run(lane: Lane, head: Arc<Head>, link: Arc<Link>) {
    let (mut now, mut last) = (time::instant(), None);
    let mut streams = Streams { lane, head, link, held: None, ended: None };
    while let Some(mut turn) = streams.lane.turn(last.take(), now).await {
        let result = streams.exchange(&mut turn).await;
        now = time::instant();
        last = streams.lane.outcome(&turn, result);
    }
}

struct Streams {
    lane: Lane,
    head: Arc<Head>,
    link: Arc<Link>,
    held: Option<Hold>,
    /// The generation of the connection that was found to have ended.
    ended: Option<u64>,
}

impl Streams {
    /// One request and its answer. What the server did not begin to process is sent again.
    async fn exchange(&mut self, turn: &mut Turn) -> Result<Answered, Failure> {
        for _ in 0..TRIES {
            if let Some(answered) = self.attempt(turn).await? {
                return Ok(answered);
            }
        }
        Err(Failure::Reset)
    }

    /// One try; none when the server left the request unprocessed.
    async fn attempt(&mut self, turn: &mut Turn) -> Result<Option<Answered>, Failure> {
        let mut hold = match self.held.take() {
            Some(hold) => hold,
            None => self.link.hold(&self.lane, turn, self.ended.take()).await?,
        };
        let credential = self.lane.desk.credential(turn);
        let since = if turn.late { time::instant() } else { turn.start };
        let sending = send(&mut hold.sender, &self.head, credential);
        let outcome = self.lane.watchdog.guard(since, sending).await;
        let outcome = outcome.unwrap_or(Err(Broken::Stream(Failure::TimedOut)));
        match &outcome {
            Err(Broken::Connection(_) | Broken::GoneAway) => self.ended = Some(hold.generation),
            Ok(_) | Err(Broken::Stream(_) | Broken::Refused) => self.held = Some(hold),
        }
        match outcome {
            Ok(answered) => Ok(Some(answered)),
            Err(Broken::Refused | Broken::GoneAway) => Ok(None),
            Err(Broken::Stream(failure) | Broken::Connection(failure)) => Err(failure),
        }
    }
}

/// Why there is no answer.
enum Broken {
    /// The stream failed; the connection goes on.
    Stream(Failure),
    /// The connection failed.
    Connection(Failure),
    /// The server did not begin with this stream (RFC 9113 §8.7).
    Refused,
    /// The server ends the connection and did not begin with this stream (RFC 9113 §6.8).
    GoneAway,
}

async fn send(
    sender: &mut SendRequest<Bytes>,
    head: &Head,
    credential: &Credential,
) -> Result<Answered, Broken> {
    poll_fn(|context| sender.poll_ready(context)).await.map_err(|error| unsent(&error))?;
    let is_alone = head.body.is_empty();
    let sent = sender.send_request(head.with(credential), is_alone);
    let (response, mut body) = sent.map_err(|error| unsent(&error))?;
    if !is_alone {
        // What the window does not let through yet is kept as it is: a reference to the one body.
        body.send_data(head.body.clone(), true).map_err(|error| unanswered(&error))?;
    }
    let response = response.await.map_err(|error| unanswered(&error))?;
    let status = response.status().as_u16();
    let bytes = receive(response.into_body()).await.map_err(|error| truncated(&error))?;
    Ok(Answered { status, bytes })
}

/// Reads a body to its end, trailers included, and says how long it is.
async fn receive(mut body: RecvStream) -> Result<u64, Error> {
    let mut bytes = 0;
    while let Some(piece) = body.data().await {
        let length = piece?.len();
        body.flow_control().release_capacity(length)?;
        bytes += u64::try_from(length).unwrap_or_default();
    }
    body.trailers().await?;
    Ok(bytes)
}

/// A failure before the request was on its way: whatever it was, the server has not begun.
fn unsent(error: &Error) -> Broken {
    if error.is_go_away() { Broken::GoneAway } else { Broken::Connection(Failure::Closed) }
}

fn unanswered(error: &Error) -> Broken {
    match error.reason() {
        Some(Reason::NO_ERROR) if error.is_go_away() => Broken::GoneAway,
        Some(Reason::REFUSED_STREAM) if error.is_reset() => Broken::Refused,
        Some(_) if error.is_reset() => Broken::Stream(Failure::Reset),
        Some(_) => Broken::Connection(Failure::Reset),
        None => Broken::Connection(Failure::Closed),
    }
}

fn truncated(error: &Error) -> Broken {
    match error.is_reset() {
        true => Broken::Stream(Failure::Truncated),
        false => Broken::Connection(Failure::Truncated),
    }
}

/// How often a request is sent that the server leaves unprocessed.
const TRIES: usize = 3;
