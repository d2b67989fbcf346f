//! Asks the admin listener of a gateway that runs.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::base::net::ListenAddress;
use crate::base::secret::Secret;

/// Posts JSON, and gives the status and the text of the answer.
///
/// # Errors
/// What went wrong, for the user: nobody there, no answer in time, no HTTP.
pub(super) fn post(
    address: &ListenAddress,
    token: Option<&Secret>,
    target: &str,
    json: String,
    accept: &'static str,
) -> Result<(StatusCode, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the system gives no runtime: {error}"))?;
    let mut request = Request::post(target)
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accept)
        .body(Full::new(Bytes::from(json)))
        .map_err(|error| error.to_string())?;
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| "the admin token is no header value".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let asked = async {
        match address {
            ListenAddress::Tcp(address) => sent(TcpStream::connect(address).await?, request).await,
            ListenAddress::Unix(path) => sent(UnixStream::connect(path).await?, request).await,
        }
    };
    let asked = runtime.block_on(async { timeout(WITHIN, asked).await });
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("the admin listener at {address}: {error}")),
        Err(_) => Err(format!("the admin listener at {address} did not answer in {WITHIN:?}")),
    }
}

async fn sent(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    drop(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await?.to_bytes();
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}

/// An explanation may wait for the authorization server.
const WITHIN: Duration = Duration::from_secs(20);
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
