//! Requests over one HTTP/1.1 connection, one after the other.
//!
//! Per request: one write of bytes made beforehand, one read into a buffer that stays, one reading
//! of the clock, one visit to the desk. The end of one request is the start of the next.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answer::{Asked, Head, Reading, Step};
use super::dial::Stream;
use super::lane::{Lane, PATIENCE_MIN};
use super::message::Template;
use super::tally::Answered;
use super::turn::Turn;
use crate::base::time;
use crate::load::failure::Failure;
use crate::load::supply::Credential;

/// Takes turns until there are none, on `stream` first.
pub(super) async fn run(lane: Lane, template: Arc<Template>, stream: Option<Stream>) {
    let (mut patience, mut now, mut last) = (PATIENCE_MIN, time::instant(), None);
    let mut connection = Connection::new(stream, template.asked());
    while let Some(mut turn) = lane.turn(last.take(), now).await {
        let opened = match connection.stream {
            Some(_) => Ok(()),
            None => lane.reopen(&mut turn, &mut patience).await.map(|new| connection.take(new)),
        };
        let result = match opened {
            Ok(()) => exchange(&lane, &mut connection, &template, &turn).await,
            Err(failure) => Err(failure),
        };
        now = time::instant();
        last = lane.outcome(&turn, result);
    }
}

/// One request and its answer, within the timeout. A connection that cannot be used again is gone
/// afterwards.
async fn exchange(
    lane: &Lane,
    connection: &mut Connection,
    template: &Template,
    turn: &Turn,
) -> Result<Answered, Failure> {
    connection.prepare(template, turn.credential, lane.desk.credential(turn));
    let since = if turn.late { time::instant() } else { turn.start };
    let outcome = lane.watchdog.guard(since, connection.exchange()).await;
    let outcome = outcome.unwrap_or(Err(Failure::TimedOut));
    if !matches!(outcome, Ok((Head { keep_alive: true, .. }, _))) {
        connection.stream = None;
    }
    outcome.map(|(head, bytes)| Answered { status: head.status, bytes })
}

/// A connection with the buffers that outlive it.
struct Connection {
    stream: Option<Stream>,
    asked: Asked,
    output: Vec<u8>,
    /// The credential in `output`.
    prepared: Option<usize>,
    input: Box<[u8]>,
}

impl Connection {
    fn new(stream: Option<Stream>, asked: Asked) -> Self {
        let input = vec![0; INPUT_BYTES].into();
        Self { stream, asked, output: Vec::new(), prepared: None, input }
    }

    fn take(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    fn prepare(&mut self, template: &Template, number: usize, credential: &Credential) {
        if self.prepared.replace(number) != Some(number) {
            template.fill(&mut self.output, credential);
        }
    }

    /// Writes the request and reads the answer; says how many bytes it had.
    async fn exchange(&mut self) -> Result<(Head, u64), Failure> {
        let stream = self.stream.as_mut().ok_or(Failure::Connect)?;
        let sent = send(stream, &self.output).await;
        let read = receive(stream, self.asked, &mut self.input).await;
        match (sent, read) {
            (Ok(()), read) => read,
            // It may be answered before it was read to its end: too large, for one.
            (Err(_), Ok((head, bytes))) => Ok((Head { keep_alive: false, ..head }, bytes)),
            (Err(_), Err(_)) => Err(Failure::Send),
        }
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn receive(
    stream: &mut Stream,
    asked: Asked,
    input: &mut [u8],
) -> Result<(Head, u64), Failure> {
    let (mut reading, mut filled, mut bytes) = (Reading::new(asked), 0, 0);
    loop {
        let room = input.get_mut(filled..).filter(|room| !room.is_empty());
        let room = room.ok_or(Failure::Malformed)?; // a head larger than the buffer
        let count = match stream.read(room).await {
            Ok(0) => return reading.close(filled).map(|head| (head, bytes)),
            Ok(count) => count,
            Err(_) => return Err(broken(bytes)),
        };
        filled += count;
        bytes += u64::try_from(count).unwrap_or_default();
        match reading.advance(input.get(..filled).unwrap_or_default())? {
            Step::Done(used, head) if used == filled => return Ok((head, bytes)),
            // Nobody asked for more: what follows would be taken for the next answer.
            Step::Done(..) => return Err(Failure::Malformed),
            Step::More(used) => {
                input.copy_within(used..filled, 0);
                filled -= used;
            }
        }
    }
}

/// The connection ended with an error, which is not how an answer ends.
const fn broken(bytes: u64) -> Failure {
    if bytes == 0 { Failure::Closed } else { Failure::Truncated }
}

/// Larger than most answers: a read that does not fill it tells the runtime that there is no more,
/// so that no second one asks. Also the most that a head may have.
const INPUT_BYTES: usize = 64 * 1024;
