//! `scopegate load --self-test`.

use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::LoadArguments;
use super::made::Counter;
use crate::cli::{FAULT, MISTAKE, NO, complain, say};
use crate::load::live::{self, Audience};
use crate::load::self_test::report::Head;
use crate::load::self_test::{self, Event, Options, Report, SelfTestError, TOKENS_MAX};
use crate::oauth::SignatureAlgorithm;

/// What standard output gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Output {
    /// A table for people.
    Table,
    /// One JSON object; the rows as they come go to standard error.
    Json,
}

/// Runs it; the exit code is 1 if a row is not as it must be, or somebody ended it.
pub(super) fn self_test(arguments: &LoadArguments) -> ExitCode {
    let output = if arguments.output.json { Output::Json } else { Output::Table };
    let options = options(arguments);
    if TOKENS_MAX < options.distinct_tokens.get() {
        complain(&format!("--distinct-tokens: at most {TOKENS_MAX} in a self-test"));
        return ExitCode::from(MISTAKE);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the system gives no thread: {error}"));
            return ExitCode::from(MISTAKE);
        }
    };
    let teller = Teller::new(options, output);
    teller.line(&Head(options));
    teller.begin();
    let outcome = ended_or_run(&runtime, options, teller);
    // A load that was ended is still under way on a thread of its own, and nobody waits for it.
    runtime.shutdown_background();
    match outcome {
        Ok(Some(report)) => finish(&report, output),
        Ok(None) => {
            complain(&"ended before all rows were done");
            ExitCode::from(NO)
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(code(&error))
        }
    }
}

fn options(arguments: &LoadArguments) -> Options {
    Options {
        distinct_tokens: arguments.made.distinct_tokens.unwrap_or(TOKENS),
        algorithm: arguments.made.algorithm.unwrap_or(SignatureAlgorithm::Rs256),
        duration: arguments.pace.duration.unwrap_or(DURATION),
        connections: arguments.connection.connections.unwrap_or(CONNECTIONS),
    }
}

/// `None` if a signal came first.
fn ended_or_run(
    runtime: &Runtime,
    options: Options,
    teller: Teller,
) -> Result<Option<Report>, SelfTestError> {
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = ending() => Ok(None),
            report = self_test::run(options, move |event| teller.tell(event)) => report.map(Some),
        }
    })
}

fn finish(report: &Report, output: Output) -> ExitCode {
    match output {
        Output::Table => say(report),
        Output::Json => {
            complain(report);
            say(&report.json());
        }
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(NO) }
}

/// Ctrl-C, or SIGTERM. Where they cannot be heard they end the process as they always do.
async fn ending() {
    let hear = |kind| signal(kind).ok();
    let first = async |signal: Option<Signal>| match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    };
    tokio::select! {
        () = first(hear(SignalKind::interrupt())) => {}
        () = first(hear(SignalKind::terminate())) => {}
    }
}

/// Who says how it goes: one line for each row, and on a terminal one line in between that changes.
struct Teller {
    output: Output,
    is_terminal: bool,
    tokens: usize,
    minted: Counter,
}

impl Teller {
    fn new(options: Options, output: Output) -> Self {
        Self {
            output,
            is_terminal: io::stderr().is_terminal(),
            tokens: options.distinct_tokens.get(),
            minted: Counter::new("JWTs minted"),
        }
    }

    /// Minting takes seconds, which show on a terminal only.
    fn begin(&self) {
        if !self.is_terminal {
            complain(&format!("minting {} JWTs", self.tokens));
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Minted(done) => self.minted.show(*done, self.tokens),
            Event::Preparing(row) => self.passing(&format!("{}: preparing", row.name())),
            Event::Running(row, progress) => {
                let line = live::line(progress, Audience::Terminal);
                self.passing(&format!("{}: {line}", row.name()));
            }
            Event::Done(report) => {
                self.passing("");
                self.line(report);
            }
        }
    }

    fn line(&self, line: &dyn std::fmt::Display) {
        match self.output {
            Output::Table => say(line),
            Output::Json => complain(line),
        }
    }

    /// Replaces the line that stands on a terminal.
    fn passing(&self, text: &str) {
        if self.is_terminal {
            // A line that wraps would not be taken back by the next one.
            let line: String = text.chars().take(WIDTH).collect();
            // Who cannot see it needs no progress.
            let _ = write!(io::stderr(), "{CLEAR}{line}");
        }
    }
}

/// What the machine lacks, or what we made ourselves.
const fn code(error: &SelfTestError) -> u8 {
    match error {
        SelfTestError::AuthorizationServer(_)
        | SelfTestError::Upstream(_)
        | SelfTestError::Gateway(_)
        | SelfTestError::Load(..) => MISTAKE,
        SelfTestError::Key(_)
        | SelfTestError::Opaque(_)
        | SelfTestError::Target(_)
        | SelfTestError::Credential(_)
        | SelfTestError::Panicked => FAULT,
    }
}

const TOKENS: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();
const DURATION: Duration = Duration::from_secs(5);
/// As many as the gateway keeps open to an authorization server: with more, cold opaque tokens would
/// measure handshakes of TCP.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(32).unwrap();
/// What a small terminal shows.
const WIDTH: usize = 79;
/// To the start of the line, and away with what stands there (ECMA-48).
const CLEAR: &str = "\r\x1b[2K";
