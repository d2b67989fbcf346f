//! The commands, their arguments and their exit codes.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | the answer is no |
//! | 2 | usage or configuration error |
//! | 70 | internal fault |

mod admin;
mod check;
mod dev;
mod explain;
mod load;
mod offline;
mod online;
mod online_client;
mod probe;
mod token;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::explain::{EXPLAIN_EXAMPLE, ExplainArguments};
use self::load::{LOAD_EXAMPLE, LoadArguments};
use self::token::{TOKEN_EXAMPLE, TokenArguments};
use crate::server;

/// An OAuth 2.0 gateway: it lets a request through to an API only if its access token allows it.
#[derive(Debug, Parser)]
#[command(name = "scopegate", version, after_help = START_HERE)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a configuration
    #[command(after_help = RUN_EXAMPLE)]
    Run(RunArguments),
    /// Try it on this machine, with nothing installed
    ///
    /// Starts a development authorization server, a sample API and the gateway in front of it, all
    /// on loopback; prints curl lines that work as printed; and tells each decision as it happens.
    #[command(after_help = DEV_EXAMPLE)]
    Dev(DevArguments),
    /// Check a configuration: every mistake at once, and what to write instead
    #[command(after_help = CHECK_EXAMPLE)]
    Check(CheckArguments),
    /// Tell step by step why a request is let in or refused
    #[command(after_help = EXPLAIN_EXAMPLE)]
    Explain(ExplainArguments),
    /// Get a token for one of the gateway's own clients, and tell which scopes are missing
    #[command(after_help = TOKEN_EXAMPLE)]
    Token(TokenArguments),
    /// Drive a gateway with tokens, and tell how fast and how reliably it answers
    #[command(after_help = LOAD_EXAMPLE)]
    Load(Box<LoadArguments>),
}

#[derive(Args, Debug)]
struct RunArguments {
    /// The configuration: a file, or a folder whose *.toml are read
    #[arg(long, value_name = "FILE", default_value = "config/scopegate.toml")]
    config: PathBuf,
}

#[derive(Args, Debug)]
struct DevArguments {
    /// Where the gateway listens [default: 8080, or else one that is free]
    #[arg(long)]
    port: Option<u16>,
    /// Print the configuration of the gateway too: a start for your own
    #[arg(long)]
    show_config: bool,
}

#[derive(Args, Debug)]
struct CheckArguments {
    /// Also reach the authorization servers and upstreams that it names
    #[arg(long)]
    online: bool,
    /// The configuration: a file, or a folder whose *.toml are read
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Does what the command line says.
///
/// A panic on this thread ends with its own code, so that a supervisor can tell a fault of ours
/// from a mistake in the configuration.
pub fn main() -> ExitCode {
    tell_of_faults();
    catch_unwind(AssertUnwindSafe(|| match Arguments::try_parse() {
        Ok(arguments) => dispatch(arguments.command),
        Err(error) => usage(&error),
    }))
    .unwrap_or(ExitCode::from(FAULT))
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Run(RunArguments { config }) => server::run(&config),
        Command::Dev(DevArguments { port, show_config }) => dev::dev(port, show_config),
        Command::Check(CheckArguments { online, file }) => check::check(&file, online),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Token(arguments) => token::token(&arguments),
        Command::Load(arguments) => load::load(&arguments),
    }
}

/// Help and version are errors to clap as well, of code 0 and for standard output.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(MISTAKE) } else { ExitCode::SUCCESS }
}

/// Says of a panic whose fault it is; where it happened is for the report.
fn tell_of_faults() {
    std::panic::set_hook(Box::new(|panic| {
        complain(&format!(
            "internal fault: {panic}\nThis is a mistake in scopegate. Please report it with these \
             lines and the version, {}.",
            env!("CARGO_PKG_VERSION")
        ));
    }));
}

/// Writes a line for whoever reads the results. That nobody reads any more is no fault.
fn say(line: &dyn Display) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Writes a line for whoever must act.
fn complain(line: &dyn Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The answer is no.
const NO: u8 = 1;
/// Usage or configuration error.
const MISTAKE: u8 = 2;
/// `EX_SOFTWARE` of sysexits.h.
const FAULT: u8 = 70;

const START_HERE: &str = "\
Start here:
  scopegate dev                        try it, nothing else needed
  scopegate check gateway.toml         find the mistakes in a configuration
  scopegate run --config gateway.toml  serve it";
const RUN_EXAMPLE: &str = "\
Example:
  scopegate run --config /etc/scopegate/scopegate.toml

SIGHUP takes up a changed configuration. SIGTERM and Ctrl-C end it when requests in flight are
done; a second one ends it at once.

Exit codes: 0 ended, 2 a mistake in the configuration or an address that is taken.";
const DEV_EXAMPLE: &str = "\
Example:
  scopegate dev --port 8080 --show-config";
const CHECK_EXAMPLE: &str = "\
Examples:
  scopegate check config/scopegate.toml
  scopegate check --online config/scopegate.toml

Exit codes: 0 good, 1 something cannot be reached, 2 a mistake in the configuration.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_each_command_has_an_example() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let name = format!("scopegate {}", command.get_name());
            assert!(help.contains("Example") && help.contains(&name), "{name}: {help}");
        }
    }

    #[test]
    fn arguments_are_what_the_contract_says() {
        for good in [
            &["scopegate", "run"][..],
            &["scopegate", "run", "--config", "a"],
            &["scopegate", "dev"],
            &["scopegate", "check", "a"],
            &["scopegate", "check", "--online", "a"],
            &["scopegate", "explain", "GET", "/a"],
            &["scopegate", "explain", "--config", "f", "GET", "https://a/b?c", "--token", "t"],
            &["scopegate", "explain", "GET", "/a", "-H", "K: V", "-H", "L: W", "--json"],
            &["scopegate", "token", "--client", "a"],
            &[
                "scopegate",
                "token",
                "--config",
                "f",
                "--client",
                "a",
                "--scope",
                "b",
                "--scope",
                "c",
            ],
            &["scopegate", "load", "--url", "http://a/", "--token", "t", "--connections", "1"],
            &["scopegate", "load", "--url", "http://a/", "--tokens", "f", "--rate", "5", "--json"],
        ] {
            assert!(Arguments::try_parse_from(good).is_ok(), "{good:?}");
        }
        for wrong in [
            &["scopegate"][..],
            &["scopegate", "fly"],
            &["scopegate", "check"],
            &["scopegate", "explain", "GET"],
        ] {
            let error = Arguments::try_parse_from(wrong).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(MISTAKE), "{wrong:?}");
        }
    }
}
