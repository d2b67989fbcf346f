//! `scopegate run`: a configuration file, signals, an exit code.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::{Running, start};
use crate::config::{self, Loaded};
use crate::oauth::Plaintext;
use crate::telemetry::log::{self, LogEnd};

/// Serves the configuration at `path`, a file or a folder, until a signal ends it.
///
/// Exit codes: 0 ended as asked, 2 the configuration or the system does not allow it to start.
pub fn run(path: &Path) -> ExitCode {
    let loaded = match config::load(path, Plaintext::Refused) {
        Ok(loaded) => loaded,
        Err(problems) => return failed(&problems),
    };
    // Dropped last, whichever way this ends: what the workers logged to their end is written out.
    let log = match log::start(&loaded.config.log) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    warn_of(&loaded);
    // Signals are heard before anything listens: none is lost between the two.
    let signals = runtime.block_on(async { Signals::new() });
    match (signals, start(loaded.config)) {
        (Ok(signals), Ok(running)) => {
            runtime.block_on(until_ended(running, signals, path, &log));
            ExitCode::SUCCESS
        }
        (Err(error), _) => failed(&error),
        (_, Err(error)) => failed(&error),
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn ending(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn until_ended(mut running: Running, mut signals: Signals, path: &Path, log: &LogEnd) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => reload(&mut running, path),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    let drain = running.gateway().snapshot().config().drain.clone();
    tracing::info!(delay_s = drain.delay.as_secs(), "draining");
    running.announce_drain();
    let draining = async {
        sleep(drain.delay).await;
        running.shutdown_within(drain.timeout).await;
    };
    let is_drained = tokio::select! {
        () = draining => true,
        () = signals.ending() => false,
    };
    log.flush(); // no worker is left: what says that it ended is the last line
    match is_drained {
        true => tracing::info!("ended"),
        false => tracing::warn!("ended at once by a second signal"),
    }
}

/// Takes up the configuration as it is now on disk; if it does not compile, the old one goes on.
fn reload(running: &mut Running, path: &Path) {
    let outcome = config::load(path, Plaintext::Refused)
        .map_err(|problems| problems.to_string())
        .and_then(|loaded| {
            warn_of(&loaded);
            running.reload(loaded.config).map_err(|error| error.to_string())
        });
    running.gateway().reloaded(&outcome);
    match outcome {
        Ok(()) => tracing::info!("configuration taken up"),
        Err(error) => tracing::error!(%error, "configuration refused, the old one goes on"),
    }
}

fn warn_of(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}
