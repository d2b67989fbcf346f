//! `scopegate explain`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{FAULT, MISTAKE, NO, admin, complain, offline, say};
use crate::base::net::ListenAddress;
use crate::gateway::{Explanation, Outcome, Question};
use crate::oauth::Thumbprint;

#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// The configuration: a file, or a folder whose *.toml are read
    #[arg(long, value_name = "FILE", default_value = "config/scopegate.toml")]
    config: PathBuf,
    /// The method of the request
    #[arg(required_unless_present = "request_id")]
    method: Option<Method>,
    /// Its address, whole or from the path on
    #[arg(required_unless_present = "request_id")]
    url: Option<Uri>,
    /// A request that the running gateway refused, by its x-request-id: asks the admin listener,
    /// which needs `refusals` in [admin]
    #[arg(long, value_name = "ID", conflicts_with_all = ["method", "url", "token", "headers"])]
    request_id: Option<String>,
    /// Where the admin listener is, if not where the configuration says
    #[arg(long, value_name = "ADDRESS", requires = "request_id")]
    admin: Option<ListenAddress>,
    /// The access token that it brings
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A header field that it has; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The certificate that the caller shows, PEM
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Says what would become of a request, and why.
pub(super) fn explain(arguments: &ExplainArguments) -> ExitCode {
    let outcome = match &arguments.request_id {
        Some(id) => refused(arguments, id),
        None => explained(arguments).map(|explanation| told(&explanation, arguments.json)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::from(MISTAKE)
        }
    }
}

fn explained(arguments: &ExplainArguments) -> Result<Explanation, String> {
    let (Some(method), Some(url)) = (&arguments.method, &arguments.url) else {
        return Err("METHOD and URL are missing".to_owned());
    };
    let (method, url) = (method.clone(), url.clone());
    let (headers, token) = (arguments.headers.clone(), arguments.token.clone());
    let certificate = arguments.certificate.as_deref().map(shown).transpose()?;
    let question = Question { method, url, headers, token, certificate };
    let config = offline::config(&arguments.config)?;
    let (runtime, gateway) = offline::gateway(config)?;
    runtime.block_on(async {
        offline::known(&gateway).await;
        gateway.explain_question(&question).await
    })
}

/// Asks the gateway that runs why it refused a request.
fn refused(arguments: &ExplainArguments, request_id: &str) -> Result<ExitCode, String> {
    let config = offline::config(&arguments.config)?;
    let settings = config.admin.as_ref().ok_or("the configuration has no [admin] to ask")?;
    let address = arguments.admin.as_ref().unwrap_or(&settings.address);
    let accept = if arguments.json { "application/json" } else { "text/plain" };
    let question = json!({ "request_id": request_id }).to_string();
    let token = settings.token.as_ref();
    let (status, text) = admin::post(address, token, "/explain", question, accept)?;
    if status != StatusCode::OK {
        let problem: Option<Value> = serde_json::from_str(&text).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        return Err(
            detail.map_or_else(|| format!("the admin listener says {status}"), str::to_owned)
        );
    }
    say(&text.trim_end());
    Ok(ExitCode::from(NO))
}

/// The certificate in a file.
fn shown(file: &Path) -> Result<Thumbprint, String> {
    let read = CertificateDer::from_pem_file(file);
    let certificate = read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Thumbprint::of(&certificate))
}

fn told(explanation: &Explanation, as_json: bool) -> ExitCode {
    if as_json {
        match serde_json::to_string_pretty(explanation) {
            Ok(json) => say(&json),
            Err(error) => {
                complain(&error);
                return ExitCode::from(FAULT);
            }
        }
    } else {
        say(explanation);
    }
    match explanation.outcome {
        Outcome::Allowed | Outcome::Answered { .. } => ExitCode::SUCCESS,
        Outcome::Refused { .. } => ExitCode::from(NO),
        Outcome::Undecided { .. } => ExitCode::from(MISTAKE),
    }
}

/// A field as curl takes it.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

pub(super) const EXPLAIN_EXAMPLE: &str = "\
Examples:
  scopegate explain --config gateway.toml GET https://api.example.com/orders/7 --token \"$TOKEN\"
  scopegate explain GET /orders/7 -H 'Host: api.example.com' -H \"Authorization: Basic $PAIR\"
  scopegate explain GET https://api.example.com/orders/7 -H \"Authorization: DPoP $TOKEN\" \\
      -H \"DPoP: $PROOF\"
  scopegate explain --config gateway.toml --request-id 8c1fd0e2b6a94e37000000000000002a

The token is judged as a request's would be: keys are fetched, opaque tokens introspected, and
where the route takes a token of the gateway's own along, that is asked for. Nothing is sent to
the upstream, and a DPoP proof is not used up.

Exit codes: 0 allowed, 1 refused, 2 not decided, or a mistake in configuration or arguments.";
