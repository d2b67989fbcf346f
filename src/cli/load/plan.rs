//! From arguments to a plan: what they name is read, and what they say together is checked.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

use super::arguments::{
    ConnectionArguments, LoadArguments, PaceArguments, RequestArguments, TokenArguments,
};
use super::made::{MadeTokenArguments, MakingError};
use crate::load::supply::{InvalidCredential, Supply};
use crate::load::{Bounds, Pace, Plan, Protocol, RequestForm, Trust};

/// Why arguments make no plan.
#[derive(Debug)]
pub(super) enum Mistake {
    /// A file cannot be read, or is not text where it must be.
    Unreadable(PathBuf, io::Error),
    /// A file has no certificates.
    Certificates(PathBuf, pem::Error),
    /// A token cannot be sent.
    Token(InvalidCredential),
    /// Tokens cannot be minted, fetched or mixed.
    Making(MakingError),
    /// There is no URL; clap sees to it that there is.
    NoTarget,
    /// A credential is given both as a token and as a field.
    TwoCredentials,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(formatter, "cannot read {}: {error}", path.display())
            }
            Self::Certificates(path, error) => {
                write!(formatter, "no PEM certificate in {}: {error:?}", path.display())
            }
            Self::Token(error) => {
                write!(
                    formatter,
                    "{error}\n  = give --token TOKEN, or --tokens FILE with one a line"
                )
            }
            Self::Making(error) => error.fmt(formatter),
            Self::NoTarget => formatter.write_str("no target\n  = give --url URL, or --self-test"),
            Self::TwoCredentials => formatter.write_str(
                "two credentials for one request\n  = leave out -H 'authorization: …' or the token",
            ),
        }
    }
}

/// The plan that the arguments make.
pub(super) fn plan(arguments: &LoadArguments) -> Result<Plan, Mistake> {
    let LoadArguments { url, self_test: _, tokens, made, request, connection, pace, output: _ } =
        arguments;
    let credentials = supply(tokens, made)?;
    let request_form = form(request)?;
    let is_credential = request_form.headers.contains_key(header::AUTHORIZATION);
    let is_token = tokens.token.is_some() || tokens.tokens.is_some() || made.decide();
    if is_credential && is_token {
        return Err(Mistake::TwoCredentials);
    }
    let url = url.clone().ok_or(Mistake::NoTarget)?;
    let mut plan = Plan::new(url, credentials);
    plan.request = request_form;
    plan.timeout = request.timeout;
    plan.protocol = protocol(connection);
    plan.trust = trust(connection)?;
    plan.connections = connection.connections.unwrap_or(plan.connections);
    plan.threads = connection.threads;
    plan.pace = pace.rate.map_or(Pace::Closed, Pace::Open);
    plan.bounds = bounds(pace);
    Ok(plan)
}

fn supply(tokens: &TokenArguments, made: &MadeTokenArguments) -> Result<Supply, Mistake> {
    let text = match (&tokens.token, &tokens.tokens) {
        (Some(token), _) => token.trim().to_owned(),
        (None, Some(path)) => text(path)?,
        (None, None) if made.decide() => String::new(),
        (None, None) => return Ok(Supply::absent()),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if made.decide() {
        return made.supply(&lines.map(str::to_owned).collect::<Vec<_>>()).map_err(Mistake::Making);
    }
    Supply::bearer(lines, "token").map_err(Mistake::Token)
}

fn form(request: &RequestArguments) -> Result<RequestForm, Mistake> {
    let body = match (&request.body, request.body_size) {
        (Some(path), _) => Bytes::from(bytes(path)?),
        (None, Some(size)) => Bytes::from(vec![b'x'; size]),
        (None, None) => Bytes::new(),
    };
    let usual = if body.is_empty() { Method::GET } else { Method::POST };
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(name, value.clone());
    }
    Ok(RequestForm { method: request.method.clone().unwrap_or(usual), headers, body })
}

const fn protocol(connection: &ConnectionArguments) -> Protocol {
    if connection.http2 { Protocol::Http2(connection.streams) } else { Protocol::Http1 }
}

fn trust(connection: &ConnectionArguments) -> Result<Trust, Mistake> {
    let Some(path) = &connection.ca else {
        return Ok(if connection.insecure { Trust::Anyone } else { Trust::System });
    };
    let content = bytes(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match found {
        Ok(authorities) if !authorities.is_empty() => Ok(Trust::Authorities(authorities)),
        Ok(_) => Err(Mistake::Certificates(path.clone(), pem::Error::NoItemsFound)),
        Err(error) => Err(Mistake::Certificates(path.clone(), error)),
    }
}

fn bounds(pace: &PaceArguments) -> Bounds {
    let requests = pace.requests.map(std::num::NonZeroU64::get);
    let usual = Bounds::default();
    let duration =
        if requests.is_some() { pace.duration } else { pace.duration.or(usual.duration) };
    Bounds { warm_up: pace.warm_up, duration, requests }
}

fn text(path: &Path) -> Result<String, Mistake> {
    String::from_utf8(bytes(path)?)
        .map_err(|error| Mistake::Unreadable(path.to_owned(), io::Error::other(error)))
}

/// A file, or standard input for `-`.
fn bytes(path: &Path) -> Result<Vec<u8>, Mistake> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut content = Vec::new();
            io::stdin().lock().read_to_end(&mut content).map(|_| content)
        }
        false => fs::read(path),
    };
    read.map_err(|error| Mistake::Unreadable(path.to_owned(), error))
}
