//! `scopegate explain`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{FAULT, MISTAKE, NO, complain, offline, say};
use crate::base::net::{Peer, TrustedProxies};
use crate::config::{Config, OwnCertificates, tls};
use crate::gateway::{Connection, Explanation, Outcome};
use crate::oauth::Thumbprint;

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
    /// The certificate that the caller shows, PEM
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Says what would become of a request, and why.
pub(super) fn explain(arguments: &ExplainArguments) -> ExitCode {
    match explained(arguments) {
        Ok(explanation) => told(&explanation, arguments.json),
        Err(error) => {
            complain(&error);
            ExitCode::from(MISTAKE)
        }
    }
}

fn explained(arguments: &ExplainArguments) -> Result<Explanation, String> {
    let request = request(arguments)?;
    let config = offline::config(&arguments.config)?;
    let certificates = certificates(&config, &arguments.url)?;
    let shown = arguments.certificate.as_deref().map(shown).transpose()?;
    let (runtime, gateway) = offline::gateway(config)?;
    let peer = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let trusted = Arc::new(TrustedProxies::default());
    let connection = Connection::new(Arc::new(gateway.worker(0)), peer, trusted, certificates);
    let connection = match arguments.url.scheme_str() {
        Some("https") => connection.behind_tls(),
        _ => connection,
    };
    let connection = connection.with_client_certificate(shown, None);
    Ok(runtime.block_on(async {
        offline::known(&gateway).await;
        gateway.explain(request, &connection).await
    }))
}

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

/// The certificate in a file.
fn shown(file: &Path) -> Result<Thumbprint, String> {
    let read = CertificateDer::from_pem_file(file);
    let certificate = read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Thumbprint::of(&certificate))
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
  scopegate explain GET https://api.example.com/orders/7 -H \"Authorization: DPoP $TOKEN\" \\
      -H \"DPoP: $PROOF\"

The token is judged as a request's would be: keys are fetched, opaque tokens introspected, and
where the route takes a token of the gateway's own along, that is asked for. Nothing is sent to
the upstream, and a DPoP proof is not used up.

Exit codes: 0 allowed, 1 refused, 2 not decided, or a mistake in configuration or arguments.";
