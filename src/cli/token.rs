//! `scopegate token`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{MISTAKE, NO, complain, offline, say};
use crate::config::{self, Grant, PartialScopes};
use crate::grant::{Client, OwnClient, OwnToken};
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
    /// Spend the refresh token that comes with it, and print the new token below the first one
    #[arg(long)]
    refresh: bool,
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
    if settings.grant != Grant::ClientCredentials {
        return Err(format!(
            "the client {:?} has no token of its own: its grant is {}, and it exchanges callers'",
            arguments.client,
            settings.grant.name()
        ));
    }
    settings.refresh_tokens |= arguments.refresh;
    // What is missing is told here; a token is shown all the same.
    let partial = std::mem::replace(&mut settings.partial_scopes, PartialScopes::Allow);
    let wanted = settings.clone();
    let (runtime, gateway) = offline::gateway(config)?;
    let outcome = runtime.block_on(async {
        offline::known(&gateway).await;
        let snapshot = gateway.snapshot();
        let mut clients = snapshot.clients().iter();
        match clients.find(|client| client.settings() == &wanted) {
            Some(Client::Own(client)) => {
                let token = client.token().await?;
                say(&token.expose());
                let first = told(&wanted, &token, partial);
                match arguments.refresh {
                    true => Ok(first.and(refreshed(client, &token, (&wanted, partial)).await?)),
                    false => Ok(first),
                }
            }
            Some(Client::Exchange(_)) | None => Err(Rejection::RouteUnknown),
        }
    });
    Ok(match outcome {
        Ok(answer) => answer.code(),
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

/// Spends the refresh token, and prints what it gave.
async fn refreshed(
    client: &Arc<OwnClient>,
    token: &Arc<OwnToken>,
    (settings, partial): (&config::Client, PartialScopes),
) -> Result<Answer, Rejection> {
    match client.refreshed(token).await? {
        Some(token) => {
            complain(&"refreshed (RFC 6749 section 6)");
            say(&token.expose());
            Ok(told(settings, &token, partial))
        }
        None => {
            complain(&"not refreshed: the authorization server gave no refresh token");
            Ok(Answer::No)
        }
    }
}

/// What the user asked, answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Yes,
    No,
}

impl Answer {
    fn and(self, other: Self) -> Self {
        if self == Self::Yes { other } else { self }
    }

    fn code(self) -> ExitCode {
        match self {
            Self::Yes => ExitCode::SUCCESS,
            Self::No => ExitCode::from(NO),
        }
    }
}

/// Says what was granted, beside the token.
fn told(client: &config::Client, token: &OwnToken, partial: PartialScopes) -> Answer {
    let listed = |scopes: &ScopeSet| match scopes.is_empty() {
        true => "none".to_owned(),
        false => scopes.to_string(),
    };
    let granted = token.granted();
    let missing = client.scopes.missing_from(granted);
    complain(&format_args!("asked for: {}", listed(&client.scopes)));
    complain(&format_args!("granted:   {}", listed(granted)));
    complain(&format_args!("missing:   {}", listed(&missing)));
    let details = token.missing_details();
    if !client.authorization_details.is_empty() {
        let types = if details.is_empty() { "none".to_owned() } else { details.join(" ") };
        complain(&format_args!("missing authorization_details, by type: {types}"));
    }
    if (missing.is_empty() && details.is_empty()) || partial == PartialScopes::Allow {
        return Answer::Yes;
    }
    let rule = if missing.is_empty() { "9396 section 7" } else { "6749 section 3.3" };
    complain(&format_args!(
        "The gateway refuses such a token: partial_scopes = \"refuse\" (RFC {rule})."
    ));
    Answer::No
}

fn refused(cause: &OwnClientCause) -> String {
    match cause {
        OwnClientCause::Refused(code) => format!("the authorization server says {code}"),
        OwnClientCause::Unusable => {
            "the answer of the authorization server cannot be used".to_owned()
        }
        OwnClientCause::PartialScopes(missing) => format!("scopes are missing: {missing}"),
        OwnClientCause::PartialDetails(missing) => {
            format!("authorization_details are missing: {}", missing.join(" "))
        }
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
  scopegate token --config gateway.toml --client reports --refresh
  curl https://api.example.com/ -H \"Authorization: Bearer $(scopegate token --client reports)\"

The token goes to standard output, alone; the scopes asked for, granted and missing, and the types
of the authorization_details that are missing, go to standard error. With --refresh the token that
came of the refresh token goes below it.

Exit codes: 0 a token, 1 refused, no refresh token for --refresh, or scopes or details are missing and
partial_scopes = \"refuse\", 2 the authorization server cannot be asked, or a mistake in configuration or arguments.";
