//! The admin listener: a small HTTP/1.1 server on the control runtime.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::listen::{ListenError, bound_address, bound_socket};
use crate::admin;
use crate::base::net::ListenAddress;
use crate::gateway::Gateway;

/// Binds the admin address.
///
/// # Errors
/// When it cannot be bound.
pub(super) fn bind(address: &ListenAddress) -> Result<(Socket, ListenAddress), ListenError> {
    let failed = |error| ListenError::Bind(address.clone(), error);
    let socket = bound_socket(address).map_err(failed)?;
    let bound = bound_address(&socket, address).map_err(failed)?;
    Ok((socket, bound))
}

/// Serves until the runtime ends.
pub(super) async fn serve(gateway: Arc<Gateway>, socket: Socket) {
    if let Err(error) = accept_all(gateway, socket).await {
        tracing::error!(%error, "admin listener lost");
    }
}

async fn accept_all(gateway: Arc<Gateway>, socket: Socket) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    let is_tcp = socket.local_addr()?.is_ipv4() || socket.local_addr()?.is_ipv6();
    if is_tcp {
        let listener = TcpListener::from_std(socket.into())?;
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(one(Arc::clone(&gateway), stream, place))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    let listener = UnixListener::from_std(socket.into())?;
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(one(Arc::clone(&gateway), stream, place))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn one<I, P>(gateway: Arc<Gateway>, stream: I, place: P)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = admin::answer(&gateway, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_IDLE);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    drop(place);
}

/// Probes and scrapers, not callers.
const ADMIN_CONNECTIONS: usize = 64;
/// Longer than the pause between two scrapes.
const ADMIN_IDLE: Duration = Duration::from_secs(90);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
