//! `scopegate load --self-test`: what token validation costs on this machine, nothing installed.
//!
//! [`run`] starts an authorization server and an upstream in this process and the gateway as a
//! process of its own, all on loopback; drives one [`Row`] after the other; and holds each against
//! the statuses and the calls to the authorization server that it must have.
//!
//! # What holds
//! * The gateway is the one of `scopegate run`, with one worker: same configuration, same code.
//! * A cold row sends each token once. No cache is switched off for it, so it ends early where
//!   tokens run out before the time does.
//! * Nothing is left behind: the gateway and its folder end with the future of [`run`].

mod configuration;
mod gateway;
mod processor;
pub mod report;
mod row;
mod setting;
mod upstream;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub use gateway::GatewayError;
pub use report::{Report, RowReport};
pub use row::{Allowed, Fault, Row, RowTokens, Warmth};

use self::setting::Setting;
use super::plan::{Bounds, Plan};
use super::supply::InvalidCredential;
use super::target::InvalidTarget;
use super::tokens::KeyError;
use super::{LoadError, Progress, Summary, drive};
use crate::dev::authorization_server::{self, MintError};
use crate::oauth::SignatureAlgorithm;

/// What can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many JWTs and how many opaque tokens there are; at most [`TOKENS_MAX`].
    pub distinct_tokens: NonZeroUsize,
    /// What JWTs are signed with.
    pub algorithm: SignatureAlgorithm,
    /// How long a row takes at most.
    pub duration: Duration,
    /// Connections of the load.
    pub connections: NonZeroUsize,
}

/// What is going on.
#[derive(Clone, Debug)]
pub enum Event {
    /// So many JWTs are minted.
    Minted(usize),
    /// The row is being prepared.
    Preparing(Row),
    /// The row stands like this.
    Running(Row, Progress),
    /// The row is over.
    Done(RowReport),
}

/// Who hears of it, on any thread.
pub trait Listener: Fn(&Event) + Send + Sync + 'static {}

impl<F: Fn(&Event) + Send + Sync + 'static> Listener for F {}

/// Why there is no result.
#[derive(Debug)]
pub enum SelfTestError {
    /// No key, or it does not sign.
    Key(KeyError),
    /// The authorization server does not start.
    AuthorizationServer(authorization_server::StartError),
    /// It has no room for the opaque tokens, or there is no randomness.
    Opaque(MintError),
    /// The upstream has no port.
    Upstream(io::Error),
    /// The gateway does not start.
    Gateway(GatewayError),
    /// The load cannot begin.
    Load(Row, LoadError),
    /// The gateway's address makes no target: a mistake of ours.
    Target(InvalidTarget),
    /// A token of ours cannot be sent: a mistake of ours.
    Credential(InvalidCredential),
    /// A thread of ours panicked: a mistake of ours.
    Panicked,
}

impl fmt::Display for SelfTestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(formatter),
            Self::AuthorizationServer(error) => {
                write!(formatter, "the authorization server does not start: {error}")
            }
            Self::Opaque(error) => error.fmt(formatter),
            Self::Upstream(error) => write!(formatter, "the upstream does not start: {error}"),
            Self::Gateway(error) => error.fmt(formatter),
            Self::Load(row, error) => write!(formatter, "{}: {error}", row.name()),
            Self::Target(error) => error.fmt(formatter),
            Self::Credential(error) => error.fmt(formatter),
            Self::Panicked => formatter.write_str("a thread of the self-test panicked"),
        }
    }
}

impl std::error::Error for SelfTestError {}

/// Runs all rows and says what they came to. Dropping the future ends it all.
///
/// # Errors
/// When something does not start. A row that goes wrong is no error but a [`Fault`] in the report.
pub async fn run(options: Options, listener: impl Listener) -> Result<Report, SelfTestError> {
    let listener = Arc::new(listener);
    let mut setting = Setting::start(options, &listener).await?;
    settle(&setting).await?;
    let mut rows = Vec::new();
    for row in Row::ALL {
        listener(&Event::Preparing(row));
        let report = one(&mut setting, row, options, &listener).await?;
        listener(&Event::Done(report.clone()));
        rows.push(report);
    }
    Ok(Report { options, rows })
}

/// Lets the gateway come to what it will be: memory, branches, connections to the upstream.
async fn settle(setting: &Setting) -> Result<(), SelfTestError> {
    let bounds = Bounds { duration: Some(SETTLING), ..Bounds::default() };
    let plan = setting.plan(Row::PassThrough, bounds)?;
    driven(plan, Row::PassThrough, |_| ()).await.map(drop)
}

async fn one(
    setting: &mut Setting,
    row: Row,
    options: Options,
    listener: &Arc<impl Listener>,
) -> Result<RowReport, SelfTestError> {
    let first = setting.calls_before(row);
    if row.warmth() == Warmth::Warm {
        prime(setting, row).await?;
    }
    let (calls_before, time_before) = (setting.calls(), setting.processor_time());
    let plan = setting.plan(row, bounds(row, setting.count(row), options.duration))?;
    let heard = Arc::clone(listener);
    let summary =
        driven(plan, row, move |progress| heard(&Event::Running(row, progress.clone()))).await?;
    let used = setting.processor_time().zip(time_before);
    let used = used.map(|(after, before)| after.saturating_sub(before));
    let calls = setting.calls();
    let mut faults = row::faults(row, &summary, calls.since(first), setting.count(row));
    if setting.gateway_has_ended() {
        faults.push(Fault::Ended);
    }
    Ok(RowReport { row, summary, used, calls: calls.since(calls_before), faults })
}

/// Sends every token once, uncounted: what a row is to find warm is then warm.
async fn prime(setting: &Setting, row: Row) -> Result<(), SelfTestError> {
    let bounds = Bounds { duration: None, requests: Some(setting.count(row)), ..Bounds::default() };
    driven(setting.plan(row, bounds)?, row, |_| ()).await.map(drop)
}

/// When a row ends: after its time, and a cold one at the latest when each token was sent once.
fn bounds(row: Row, tokens: u64, duration: Duration) -> Bounds {
    let requests = (row.warmth() == Warmth::Cold).then_some(tokens);
    Bounds { duration: Some(duration), requests, ..Bounds::default() }
}

async fn driven(
    plan: Plan,
    row: Row,
    mut watch: impl FnMut(&Progress) + Send + 'static,
) -> Result<Summary, SelfTestError> {
    let watching = move |progress: &Progress| {
        watch(progress);
        ControlFlow::Continue(())
    };
    let driving = tokio::task::spawn_blocking(move || drive(&plan, watching)).await;
    driving.map_err(|_| SelfTestError::Panicked)?.map_err(|error| SelfTestError::Load(row, error))
}

/// How many tokens of each sort a self-test can have: what the authorization server remembers.
pub const TOKENS_MAX: usize = 100_000;
const SETTLING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cold_row_ends_when_its_tokens_do() {
        let second = Duration::from_secs(1);
        assert_eq!(bounds(Row::ColdJwt, 7, second).requests, Some(7));
        assert_eq!(bounds(Row::ColdOpaque, 7, second).requests, Some(7));
        for row in [Row::PassThrough, Row::WarmJwt, Row::WarmOpaque, Row::Refused] {
            assert_eq!(bounds(row, 7, second).requests, None);
        }
        assert!(Row::ALL.into_iter().all(|row| bounds(row, 7, second).duration == Some(second)));
    }
}
