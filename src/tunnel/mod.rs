//! A connection that has become another protocol's: bytes go both ways and nobody reads them.
//!
//! [`Tunnel::run`] moves them until both sides have ended, one of them breaks, nothing has moved for
//! too long, or somebody else says that it is over.
//!
//! # What holds
//! * What one side does not take is not read from the other: at most one buffer waits in each
//!   direction, and none while nothing does.
//! * One side's end is passed on, and the other direction goes on by itself; so does what an
//!   upstream has still said that takes nothing more.
//! * Where the protocol is WebSocket, an end that is ours is told in a Close frame (RFC 6455 §5.5.1)
//!   if one can stand where the last byte was sent; nothing else is ever added to what the two say.

mod direction;
mod frames;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep, timeout};

use self::direction::{Direction, Fault};
use self::frames::Frames;
use crate::telemetry::UpgradeEnd;

/// Bytes that went through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// From the caller to the upstream.
    pub received: u64,
    /// From the upstream to the caller.
    pub sent: u64,
}

/// What travels in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// Frames of RFC 6455.
    WebSocket,
    /// Something that we do not know.
    Other,
}

/// Two connections that are one now.
pub struct Tunnel<C, U> {
    caller: C,
    upstream: U,
    upwards: Direction,
    downwards: Direction,
    frames: Option<Frames>,
    /// The upstream takes nothing more, and nobody has said that it is over.
    is_refused: bool,
    idle: Idle,
}

impl<C, U> Tunnel<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Joins two connections. `read_ahead` was read from the caller already; `idle_timeout` is how
    /// long nothing may move.
    pub fn new(
        (caller, read_ahead): (C, &[u8]),
        upstream: U,
        language: Language,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            caller,
            upstream,
            upwards: Direction::after(read_ahead),
            downwards: Direction::default(),
            frames: (language == Language::WebSocket).then(Frames::default),
            is_refused: false,
            idle: Idle::new(idle_timeout),
        }
    }

    /// Moves bytes until the end, and counts them in `moved` as they go. `until` is any other end.
    /// Gives the caller's connection back, to be closed.
    pub async fn run(
        mut self,
        moved: &mut Moved,
        until: impl Future<Output = UpgradeEnd>,
    ) -> (UpgradeEnd, C) {
        let mut until = pin!(until);
        let end = poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll_moving(moved, cx) {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = until.as_mut().poll(cx) {
                return Poll::Ready(end);
            }
            self.idle.poll_over(*moved, cx).map(|()| UpgradeEnd::Idle)
        });
        let end = end.await;
        if let Some((code, reason)) = last_word(end) {
            let _ = timeout(FAREWELL, self.take_leave(code, reason)).await;
        }
        (end, self.caller)
    }

    fn poll_moving(&mut self, moved: &mut Moved, cx: &mut Context<'_>) -> Poll<UpgradeEnd> {
        let Self { caller, upstream, upwards, downwards, frames, is_refused, .. } = self;
        let mut received = |bytes: &[u8]| moved.received += bytes.len() as u64;
        match upwards.poll(caller, upstream, &mut received, cx) {
            Poll::Ready(Err(Fault::Reading)) => return Poll::Ready(UpgradeEnd::CallerGone),
            Poll::Ready(Err(Fault::Writing)) => {
                // It may have said why before it closed: that comes first.
                upwards.give_up();
                *is_refused = true;
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let mut sent = |bytes: &[u8]| {
            moved.sent += bytes.len() as u64;
            if let Some(frames) = frames {
                frames.follow(bytes);
            }
        };
        match downwards.poll(upstream, caller, &mut sent, cx) {
            Poll::Ready(Err(Fault::Reading)) => Poll::Ready(UpgradeEnd::UpstreamGone),
            Poll::Ready(Err(Fault::Writing)) => Poll::Ready(UpgradeEnd::CallerGone),
            Poll::Ready(Ok(())) if *is_refused => Poll::Ready(UpgradeEnd::UpstreamGone),
            Poll::Ready(Ok(())) if upwards.is_over() => Poll::Ready(UpgradeEnd::Closed),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Tells both sides that it is over.
    async fn take_leave(&mut self, code: u16, reason: &str) {
        let may_speak = self.frames.as_ref().is_some_and(Frames::is_between);
        if may_speak && !self.downwards.is_over() {
            let _ = self.caller.write_all(&frames::close(code, reason)).await;
        }
        let _ = tokio::join!(self.caller.shutdown(), self.upstream.shutdown());
    }
}

/// The code of RFC 6455 §7.4.1 for an end that is ours, and why.
const fn last_word(end: UpgradeEnd) -> Option<(u16, &'static str)> {
    match end {
        UpgradeEnd::TokenRevoked => Some((1008, "the token was revoked")),
        UpgradeEnd::TokenEnded => Some((1008, "the token has ended")),
        UpgradeEnd::Idle => Some((1001, "nothing was said for too long")),
        UpgradeEnd::Drained => Some((1001, "the gateway is going away")),
        UpgradeEnd::Closed
        | UpgradeEnd::CallerGone
        | UpgradeEnd::UpstreamGone
        | UpgradeEnd::Cut => None,
    }
}

/// How long nothing has moved.
struct Idle {
    after: Duration,
    timer: Pin<Box<Sleep>>,
    seen: Moved,
    since: Instant,
}

impl Idle {
    fn new(after: Duration) -> Self {
        let after = after.min(A_YEAR);
        let timer = Box::pin(sleep(after));
        Self { after, timer, seen: Moved::default(), since: Instant::now() }
    }

    /// Ready once that is too long. The timer is set anew only when it fires.
    fn poll_over(&mut self, moved: Moved, cx: &mut Context<'_>) -> Poll<()> {
        if moved != self.seen {
            (self.seen, self.since) = (moved, Instant::now());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let end = self.since + self.after;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// How long a last word may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// A duration beyond any sense is cut, as adding it to a clock could overflow.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A tunnel between two pipes of that size: its ends, and its own end to come.
    fn tunnel(
        size: usize,
        language: Language,
        until: impl Future<Output = UpgradeEnd> + Send + 'static,
    ) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<(UpgradeEnd, Moved)>) {
        let ((caller, near), (far, upstream)) = (duplex(size), duplex(size));
        let tunnel = Tunnel::new((near, b"early "), far, language, HOUR);
        let running = tokio::spawn(async move {
            let mut moved = Moved::default();
            let (end, _caller) = tunnel.run(&mut moved, until).await;
            (end, moved)
        });
        (caller, upstream, running)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_end_is_passed_on_by_itself() {
        let (mut caller, mut upstream, running) =
            tunnel(7, Language::Other, std::future::pending());
        let text = "0123456789".repeat(10_000);
        let upwards = async {
            caller.write_all(text.as_bytes()).await.unwrap();
            caller.shutdown().await.unwrap();
            let mut answer = String::new();
            caller.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let downwards = async {
            let mut came = String::new();
            upstream.read_to_string(&mut came).await.unwrap();
            upstream.write_all(b"after the other's end").await.unwrap();
            upstream.shutdown().await.unwrap();
            came
        };
        let (answer, came) = tokio::join!(upwards, downwards);
        assert_eq!(came, format!("early {text}"));
        assert_eq!(answer, "after the other's end");
        let moved = Moved { received: 100_006, sent: 21 };
        assert_eq!(running.await.unwrap(), (UpgradeEnd::Closed, moved));
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_side_does_not_take_is_not_read_from_the_other() {
        let (mut caller, upstream, running) = tunnel(1024, Language::Other, std::future::pending());
        let mut sent = 0;
        while timeout(Duration::from_secs(1), caller.write_all(&[0; 1024])).await.is_ok() {
            sent += 1024;
            assert!(sent <= 64 * 1024, "it reads on and on");
        }
        drop(upstream);
        assert_eq!(running.await.unwrap().0, UpgradeEnd::UpstreamGone);
    }

    #[tokio::test]
    async fn what_an_upstream_has_said_that_takes_nothing_more_arrives() {
        let ((mut caller, near), (far, _)) = (duplex(64), duplex(64));
        let upstream = tokio::io::join(&b"too much"[..], far);
        let tunnel = Tunnel::new((near, b"early "), upstream, Language::Other, HOUR);
        let mut moved = Moved::default();
        let (end, near) = tunnel.run(&mut moved, std::future::pending()).await;
        drop(near);
        let mut said = String::new();
        caller.read_to_string(&mut said).await.unwrap();
        assert_eq!((end, said.as_str()), (UpgradeEnd::UpstreamGone, "too much"));
        assert_eq!(moved, Moved { received: 0, sent: 8 });
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nothing_has_moved_for_too_long() {
        let (mut caller, mut upstream, running) =
            tunnel(64, Language::WebSocket, std::future::pending());
        let start = Instant::now();
        let mut room = [0; 64];
        for _ in 0..3 {
            sleep(HOUR - Duration::from_secs(1)).await;
            upstream.write_all(&[0x81, 1, b'a']).await.unwrap();
            caller.read_exact(&mut room[..3]).await.unwrap();
        }
        assert_eq!(running.await.unwrap().0, UpgradeEnd::Idle);
        assert_eq!((Instant::now() - start).as_secs(), 4 * 3600 - 3);
        let mut rest = Vec::new();
        caller.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest[..4], [0x88, 31, 0x03, 0xE9], "1001");
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_word_stands_between_two_frames_or_nowhere() {
        for (language, said, has_word) in [
            (Language::WebSocket, &[0x81, 1, b'a'][..], true),
            (Language::WebSocket, &[], true),
            (Language::WebSocket, &[0x81, 2, b'a'], false),
            (Language::WebSocket, &[0x88, 0], false),
            (Language::Other, &[0x81, 1, b'a'], false),
        ] {
            let until = async {
                sleep(HOUR / 2).await;
                UpgradeEnd::TokenEnded
            };
            let (mut caller, mut upstream, running) = tunnel(64, language, until);
            upstream.write_all(said).await.unwrap();
            let mut all = Vec::new();
            caller.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.get(..said.len()), Some(said));
            let word = all.get(said.len()..).unwrap_or_default();
            assert_eq!(word.starts_with(&[0x88, 21, 0x03, 0xF0]), has_word, "{said:?}");
            assert_eq!(word.is_empty(), !has_word, "{said:?}");
            assert_eq!(running.await.unwrap().0, UpgradeEnd::TokenEnded);
        }
    }
}
