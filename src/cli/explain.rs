//! `scopegate explain`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tokio::runtime::{Handle, Runtime};

use super::{FAULT, MISTAKE, NO, complain, say};
use crate::base::net::{Peer, TrustedProxies};
use crate::base::time;
use crate::config::{self, Config, OwnCertificates, tls};
use crate::gateway::{Connection, Explanation, Gateway, Outcome};
use crate::oauth::Plaintext;

#[derive(Args, Debug)]
pub(super) struct ExplainArguments {
    /// The configuration: a file, or a folder whose *.toml are read
    #[arg(long, value_name = "FILE", default_value = "config/scopegate.toml")]
    config: PathBuf,
    /// The method of the request
    method: Method,
    /// Its address, whole or from the path on
    url: Uri,
    /// The access token that it brings
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A header field that it has; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Says what would become of a request, and why.
pub(super) fn explain(arguments: &ExplainArguments) -> ExitCode {
    let loaded = match config::load(&arguments.config, Plaintext::Refused) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return ExitCode::from(MISTAKE);
        }
    };
    let request = match request(arguments) {
        Ok(request) => request,
        Err(what) => {
            complain(&what);
            return ExitCode::from(MISTAKE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("the system gives no runtime: {error}"));
            return ExitCode::from(MISTAKE);
        }
    };
    match explained(&runtime, loaded.config, &arguments.url, request) {
        Ok(explanation) => told(&explanation, arguments.json),
        Err(error) => {
            complain(&error);
            ExitCode::from(MISTAKE)
        }
    }
}

fn explained(
    runtime: &Runtime,
    config: Config,
    url: &Uri,
    request: Request<()>,
) -> Result<Explanation, String> {
    let certificates = certificates(&config, url)?;
    let control: Handle = runtime.handle().clone();
    let gateway = Gateway::new(config, control).map_err(|error| error.to_string())?;
    let peer = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let trusted = Arc::new(TrustedProxies::default());
    let connection = Connection::new(Arc::new(gateway.worker(0)), peer, trusted, certificates);
    Ok(runtime.block_on(async {
        known(&gateway).await;
        gateway.explain(request, &connection).await
    }))
}

/// Waits until keys and endpoints of the authorization servers are known, or for so long that a
/// caller would be refused for their absence too.
async fn known(gateway: &Gateway) {
    let begun = time::instant();
    let mut is_told = false;
    while let Some(server) = gateway.unready_servers().next()
        && begun.elapsed() < KNOWN_WITHIN
    {
        if !is_told && TOLD_AFTER < begun.elapsed() {
            is_told = true;
            complain(&format_args!("waiting for the keys of {server} ..."));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const TOLD_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a caller would be shown that opens a connection to this address: by a listener for its port
/// or else by the first one with TLS.
fn certificates(config: &Config, url: &Uri) -> Result<Option<Arc<OwnCertificates>>, String> {
    if url.scheme_str() != Some("https") {
        return Ok(None);
    }
    let settings = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).next();
    let Some(settings) = settings else { return Ok(None) };
    let (_, certificates) =
        tls::server_config(settings).map_err(|error| error.error.to_string())?;
    let host = url.host().map(str::to_ascii_lowercase);
    Ok(Some(Arc::clone(certificates.shown_for(host.as_deref()))))
}

/// The request as it would come over HTTP/1.1.
fn request(arguments: &ExplainArguments) -> Result<Request<()>, String> {
    let mut request = Request::new(());
    *request.method_mut() = arguments.method.clone();
    let target = arguments.url.path_and_query().cloned();
    *request.uri_mut() = target.unwrap_or(PathAndQuery::from_static("/")).into();
    let host = arguments.url.authority().map_or("localhost", http::uri::Authority::as_str);
    let headers = request.headers_mut();
    for (name, value) in &arguments.headers {
        headers.append(name, value.clone());
    }
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
        headers.insert(HOST, host);
    }
    if let Some(token) = &arguments.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        headers.append(AUTHORIZATION, value.map_err(|_| NO_TOKEN.to_owned())?);
    }
    Ok(request)
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

const NO_TOKEN: &str = "--token has a character that no token has";

pub(super) const EXPLAIN_EXAMPLE: &str = "\
Examples:
  scopegate explain --config gateway.toml GET https://api.example.com/orders/7 --token \"$TOKEN\"
  scopegate explain GET /orders/7 -H 'Host: api.example.com' -H \"Authorization: Basic $PAIR\"

The token is judged as a request's would be: keys are fetched, opaque tokens introspected, and a token
of the gateway's own asked for where the route takes one along. Nothing is sent to the upstream.

Exit codes: 0 allowed, 1 refused, 2 not decided, or a mistake in the configuration or the arguments.";
