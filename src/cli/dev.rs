//! `scopegate dev`.

use std::process::ExitCode;

use super::{FAULT, MISTAKE, complain};
use crate::dev::{self, DevError, Options, ShowConfig};

/// Runs it until Ctrl-C.
pub(super) fn dev(port: Option<u16>, show_config: bool) -> ExitCode {
    let show_config = if show_config { ShowConfig::Yes } else { ShowConfig::No };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the system gives no thread: {error}"));
            return ExitCode::from(MISTAKE);
        }
    };
    match runtime.block_on(dev::run(Options { port, show_config })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            if let (DevError::Gateway(_), Some(port)) = (&error, port) {
                complain(&format!("  = end what listens on port {port}, or name another --port"));
            }
            ExitCode::from(code(&error))
        }
    }
}

/// What the user wrote or has running, or what we made ourselves.
const fn code(error: &DevError) -> u8 {
    match error {
        DevError::Gateway(_)
        | DevError::AuthorizationServer(_)
        | DevError::SampleApi(_)
        | DevError::Folder(_)
        | DevError::Signals(_) => MISTAKE,
        DevError::Configuration(_) | DevError::Token(_) => FAULT,
    }
}
