//! A small HTTP server on loopback, for the stand-ins of `scopegate dev`.
//!
//! Takes a plain function from a whole request to a whole response, and the time; so what answers
//! is pure and tested without a network. HTTP/1.1, and HTTP/2 with prior knowledge.
//!
//! # What holds
//! * It listens on 127.0.0.1 only: nothing in here is fit for another network.
//! * Connections, heads and bodies have bounds, so that a stray client cannot hang the story.
//! * Dropping it ends it, open connections included.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::base::time::{self, UnixSeconds};

/// A port that is ours, before anybody answers there: what answers may need to know the address.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes a port on 127.0.0.1 that the system picks.
    pub(super) async fn take() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `answer` answer every request from now on.
    pub(super) fn serve<A: Answer>(self, answer: A) -> Loopback {
        Loopback { task: tokio::spawn(accept(self.listener, Arc::new(answer))) }
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Loopback {
    task: JoinHandle<()>,
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // The connections are in a set that the task owns, so they end with it.
        self.task.abort();
    }
}

/// What answers: a function from a whole request and the time to a whole response.
pub(super) trait Answer:
    Fn(&Request<Bytes>, UnixSeconds) -> Response<Full<Bytes>> + Send + Sync + 'static
{
}

impl<F> Answer for F where
    F: Fn(&Request<Bytes>, UnixSeconds) -> Response<Full<Bytes>> + Send + Sync + 'static
{
}

async fn accept<A: Answer>(listener: TcpListener, answer: Arc<A>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&answer)));
                }
                // Out of descriptors, for one: trying again at once would spin.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection<A: Answer>(stream: TcpStream, answer: Arc<A>) {
    // Nagle's algorithm would hold back small answers; without this they are only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(request, Arc::clone(&answer)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    // A peer that breaks off or breaks HTTP is no news in a development server.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn respond<A: Answer>(
    request: Request<Incoming>,
    answer: Arc<A>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    // Known from Content-Length: no reason to wait for what will be refused.
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Ok(bare(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX_BYTES).collect());
    Ok(match body.await {
        Ok(Ok(body)) => answer(&Request::from_parts(head, body.to_bytes()), time::now().unix),
        Ok(Err(error)) if error.is::<LengthLimitError>() => bare(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => bare(StatusCode::BAD_REQUEST),
        Err(_) => bare(StatusCode::REQUEST_TIMEOUT),
    })
}

/// A response without a body.
pub(super) fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Far more than a newcomer's shell opens; the gateway keeps a pool of its own.
const CONNECTIONS: usize = 1024;
const STREAMS: u32 = 256;
const BODY_MAX_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// hyper counts the wait for the next request too, so this is longer than the 60 s for which the
/// gateway keeps an unused connection: it must not meet one that closes just now.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Sends `request` as it is on a new connection, and gives all that comes back.
    pub(in crate::dev) async fn raw(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn head(length: usize) -> String {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn a_body_over_the_bound_gets_413_and_one_at_the_bound_is_whole() {
        let port = Port::take().await.unwrap();
        let address = port.address();
        let _server = port.serve(|request: &Request<Bytes>, _| {
            Response::new(Full::from(request.body().len().to_string()))
        });
        let mut at = head(BODY_MAX_BYTES).into_bytes();
        at.resize(at.len() + BODY_MAX_BYTES, b'x');
        assert!(raw(address, &at).await.ends_with("\r\n\r\n65536"));
        let over = raw(address, head(BODY_MAX_BYTES + 1).as_bytes()).await;
        assert!(over.starts_with("HTTP/1.1 413 "), "{over}");
    }

    #[tokio::test]
    async fn a_dropped_server_takes_no_connection_and_cuts_open_ones() {
        let port = Port::take().await.unwrap();
        let address = port.address();
        let server = port.serve(|_: &Request<Bytes>, _| bare(StatusCode::OK));
        let mut open = TcpStream::connect(address).await.unwrap();
        open.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(open.read_u8().await.is_ok());
        drop(server);
        let mut rest = Vec::new();
        // An end or a reset, whichever the kernel makes of it; what counts is that it comes.
        let _ = open.read_to_end(&mut rest).await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
