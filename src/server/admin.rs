//! The admin listener: a small HTTP/1.1 server on the control runtime.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::impatient::Impatient;
use super::listen::{ListenError, bound_address, bound_socket};
use crate::admin::{self, Reach};
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
pub(super) async fn serve(gateway: Arc<Gateway>, socket: Socket, address: ListenAddress) {
    let reach = if address.is_local() { Reach::Local } else { Reach::Network };
    if let Err(error) = accept_all(gateway, socket, reach).await {
        tracing::error!(%error, "admin listener lost");
    }
}

async fn accept_all(gateway: Arc<Gateway>, socket: Socket, reach: Reach) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    let is_tcp = socket.local_addr()?.is_ipv4() || socket.local_addr()?.is_ipv6();
    if is_tcp {
        let listener = TcpListener::from_std(socket.into())?;
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    drop(tokio::spawn(one(Arc::clone(&gateway), stream, reach, place)))
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    let listener = UnixListener::from_std(socket.into())?;
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(one(Arc::clone(&gateway), stream, reach, place))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn one<I, P>(gateway: Arc<Gateway>, stream: I, reach: Reach, place: P)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let gateway = &*gateway;
    answer_all(stream, |request| admin::answer(gateway, request, reach)).await;
    drop(place);
}

/// Answers one request after the other, until the other end goes away or stands still.
async fn answer_all<I, F>(stream: I, answer: impl Fn(Request<Incoming>) -> F)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_IDLE);
    let stream = TokioIo::new(Impatient::new(stream, ADMIN_ANSWER));
    // How it ends is the other end's affair.
    let _ = builder.serve_connection(stream, service).await;
}

/// Probes and scrapers, not callers.
const ADMIN_CONNECTIONS: usize = 64;
/// Longer than the pause between two scrapes.
const ADMIN_IDLE: Duration = Duration::from_secs(90);
/// For a page of numbers over a slow line. Without it a reader that never reads holds its place,
/// and 64 of them shut probes and scrapers out.
const ADMIN_ANSWER: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    const PAGE_BYTES: usize = 4096;
    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Whether a connection has ended, and after how many seconds, whose other end does this.
    async fn ends_after<F: Future<Output = ()>>(
        read: impl FnOnce(DuplexStream) -> F,
    ) -> Option<u64> {
        let (mut caller, stream) = duplex(256);
        caller.write_all(REQUEST).await.unwrap();
        let from = Instant::now();
        let served =
            answer_all(stream, async |_| Response::new(Full::from(vec![b'x'; PAGE_BYTES])));
        tokio::select! {
            () = served => Some((Instant::now() - from).as_secs()),
            () = read(caller) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_9_a_reader_that_never_reads_does_not_keep_its_connection() {
        let never = ends_after(async |_caller: DuplexStream| std::future::pending().await);
        assert_eq!(never.await, Some(ADMIN_ANSWER.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn invariant_9_a_byte_now_and_then_gains_no_time() {
        let trickle = ends_after(async |mut caller: DuplexStream| {
            while caller.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
            std::future::pending().await
        });
        assert_eq!(trickle.await, Some(ADMIN_ANSWER.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_page_after_page() {
        let from = Instant::now();
        let slow = ends_after(async |mut caller: DuplexStream| {
            for _ in 0..3 {
                let mut left = PAGE_BYTES;
                while left > 0 {
                    sleep(Duration::from_secs(1)).await;
                    let mut piece = [0; 256];
                    let count = caller.read(&mut piece).await.unwrap();
                    left -= piece.iter().take(count).filter(|byte| **byte == b'x').count();
                }
                caller.write_all(REQUEST).await.unwrap();
            }
        });
        assert_eq!(slow.await, None, "the time of one answer does not run on into the next");
        assert!(Instant::now() - from > ADMIN_ANSWER);
    }
}
