//! Exchanges over real sockets: what an upstream sees, and what becomes of what it does.

mod caller;
mod http1;
mod http2;
mod members;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{
    Ejection, EndpointAddress, EndpointProtocol, Retries, UpstreamLimits, UpstreamTimeouts,
};

const WORKER: WorkerIndex = WorkerIndex::new(0);

/// Settings with time-outs that no test reaches unless it sets them.
fn settings(endpoints: Vec<config::Endpoint>) -> config::Upstream {
    let long = Duration::from_secs(20);
    config::Upstream {
        name: "test".into(),
        endpoints,
        tls: config::UpstreamTls::default(),
        timeouts: UpstreamTimeouts { connect: long, header: long, idle: long },
        limits: UpstreamLimits { requests: 1000, connections: 1000, idle_connections: 256 },
        resolve: long,
        balance: Balance::default(),
        eject: Ejection::default(),
        health: None,
        slow_start: Duration::ZERO,
        retries: Retries::default(),
    }
}

/// Numbers that nobody reads.
fn events() -> UpstreamEvents {
    crate::telemetry::Metrics::new().upstream_events("test")
}

async fn looked_up(upstream: &Upstream) -> bool {
    upstream.look_up(&|address| async move { connect::resolve(&address).await }).await;
    upstream.addresses_known()
}

fn endpoint(protocol: EndpointProtocol, address: SocketAddr) -> config::Endpoint {
    config::Endpoint { protocol, address: EndpointAddress::Ip(address) }
}

fn upstream(protocol: EndpointProtocol, address: SocketAddr) -> Upstream {
    Upstream::new(settings(vec![endpoint(protocol, address)]), 1, events()).unwrap()
}

fn request(method: Method, target: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(target).header("host", "api.test").body(body).unwrap()
}

/// A time-out of a route for the answer's head.
fn header(timeout: Duration) -> RouteTimeouts {
    RouteTimeouts { header: Some(timeout), ..RouteTimeouts::default() }
}

async fn send(
    upstream: &Upstream,
    request: Request<Body>,
) -> Result<Response<Body>, UpstreamFailure> {
    upstream.exchange(WORKER, request, None, RouteTimeouts::default()).await
}

async fn get(upstream: &Upstream, target: &str) -> Result<Response<Body>, UpstreamFailure> {
    send(upstream, request(Method::GET, target, Body::empty())).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// An upstream made of bytes: for each connection, the script of what it does.
struct Raw {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Raw {
    /// Runs `script` with each connection and its number, counted from one.
    async fn start<F>(script: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::spawn(script(stream, number));
            }
        });
        Self { address, connections }
    }

    /// Answers each request head with these bytes.
    async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut stream, _| async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn http1(&self) -> Upstream {
        upstream(EndpointProtocol::Http1, self.address)
    }
}

/// Reads up to the end of a head, or of the connection.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    read_until(stream, "\r\n\r\n").await
}

/// Reads until `end` has come, or the connection has ended.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.ends_with(end) {
        match stream.read(&mut byte).await {
            Ok(1) => seen.push(char::from(byte[0])),
            _ => break,
        }
    }
    seen
}

/// Waits for a fact that another task brings about.
async fn until(fact: impl Fn() -> bool) {
    let holds = async {
        while !fact() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), holds).await.expect("a fact that comes true");
}
