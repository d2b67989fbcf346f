//! `scopegate token`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{MISTAKE, NO, complain, offline, say};
use crate::config::{self, PartialScopes};
use crate::oauth::{Scope, ScopeSet};
use crate::reject::{OwnClientCause, Rejection};

#[derive(Args, Debug)]
pub(super) struct TokenArguments {
    /// The configuration: a file, or a folder whose *.toml are read
    #[arg(long, value_name = "FILE", default_value = "config/scopegate.toml")]
    config: PathBuf,
    /// Which [clients.NAME]
    #[arg(long, value_name = "NAME")]
    client: String,
    /// A scope to ask for, in place of those of the configuration; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
}

/// Gets a token as the gateway would, and prints it.
pub(super) fn token(arguments: &TokenArguments) -> ExitCode {
    match asked(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::from(MISTAKE)
        }
    }
}

fn asked(arguments: &TokenArguments) -> Result<ExitCode, String> {
    let mut config = offline::config(&arguments.config)?;
    let known: Vec<String> = config.clients.iter().map(|one| one.name.to_string()).collect();
    let settings = config.clients.iter_mut().find(|client| *client.name == *arguments.client);
    let settings = settings.ok_or_else(|| unknown(&arguments.client, &known))?;
    if !arguments.scopes.is_empty() {
        settings.scopes = arguments.scopes.iter().collect();
    }
    // What is missing is told here; a token is shown all the same.
    let partial = std::mem::replace(&mut settings.partial_scopes, PartialScopes::Allow);
    let wanted = settings.clone();
    let (runtime, gateway) = offline::gateway(config)?;
    let outcome = runtime.block_on(async {
        offline::known(&gateway).await;
        let snapshot = gateway.snapshot();
        match snapshot.clients().iter().find(|client| client.settings() == &wanted) {
            Some(client) => client.token().await,
            None => Err(Rejection::RouteUnknown),
        }
    });
    Ok(match outcome {
        Ok(token) => {
            say(&token.expose());
            told(&wanted, token.granted(), partial)
        }
        Err(Rejection::OwnClientRefused(failure)) => {
            complain(&format_args!("no token: {}", refused(&failure.cause)));
            ExitCode::from(NO)
        }
        Err(Rejection::VerifierUnavailable(outage)) => {
            complain(&format_args!(
                "no token: {} cannot be asked: {:?}",
                outage.issuer, outage.cause
            ));
            ExitCode::from(MISTAKE)
        }
        Err(other) => return Err(other.detail().to_owned()),
    })
}

/// Says what was granted, beside the token.
fn told(client: &config::Client, granted: &ScopeSet, partial: PartialScopes) -> ExitCode {
    let listed = |scopes: &ScopeSet| match scopes.is_empty() {
        true => "none".to_owned(),
        false => scopes.to_string(),
    };
    let missing = client.scopes.missing_from(granted);
    complain(&format_args!("asked for: {}", listed(&client.scopes)));
    complain(&format_args!("granted:   {}", listed(granted)));
    complain(&format_args!("missing:   {}", listed(&missing)));
    if missing.is_empty() || partial == PartialScopes::Allow {
        return ExitCode::SUCCESS;
    }
    complain(
        &"The gateway refuses such a token: partial_scopes = \"refuse\" (RFC 6749 section 3.3).",
    );
    ExitCode::from(NO)
}

fn refused(cause: &OwnClientCause) -> String {
    match cause {
        OwnClientCause::Refused(code) => format!("the authorization server says {code}"),
        OwnClientCause::Unusable => {
            "the answer of the authorization server cannot be used".to_owned()
        }
        OwnClientCause::PartialScopes(missing) => format!("scopes are missing: {missing}"),
        OwnClientCause::RefusedUpstream => "the upstream refuses it".to_owned(),
    }
}

fn unknown(name: &str, known: &[String]) -> String {
    match known {
        [] => "the configuration has no [clients.NAME]".to_owned(),
        names => format!("there is no client {name:?}; there are: {}", names.join(", ")),
    }
}

pub(super) const TOKEN_EXAMPLE: &str = "\
Examples:
  scopegate token --config gateway.toml --client reports
  curl https://api.example.com/ -H \"Authorization: Bearer $(scopegate token --client reports)\"

The token goes to standard output, alone; the scopes asked for, granted and missing go to
standard error.

Exit codes: 0 a token, 1 refused, or scopes are missing and partial_scopes = \"refuse\", 2 the
authorization server cannot be asked, or a mistake in configuration or arguments.";
