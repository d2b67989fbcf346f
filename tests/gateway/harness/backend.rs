//! Upstreams inside the test: one that remembers what reached it, and one that sends any bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::tls::Authority;
use super::{eventually, in_time};

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// The target, as on the wire.
    pub target: String,
    /// The fields, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Fields behind the body.
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    /// The value of a field that stands there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.first().copied()
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What the upstream answers.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<Bytes>,
    trailers: Vec<(String, String)>,
    ends: bool,
    gate: Option<Arc<Notify>>,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            ends: true,
            gate: None,
        }
    }

    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a piece of body.
    pub fn body(mut self, piece: impl Into<Bytes>) -> Self {
        self.body.push(piece.into());
        self
    }

    /// Adds a field behind the body, and says so in `Trailer`: else hyper would not send it.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self = self.header("trailer", name);
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Breaks off after the body that was given, without its end.
    pub fn broken_off(mut self) -> Self {
        self.ends = false;
        self
    }

    /// Comes only when the test opens the gate.
    pub fn after(mut self, gate: &Arc<Notify>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }

    fn into_response(self) -> Response<BoxBody<Bytes, std::io::Error>> {
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).unwrap());
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        let mut frames: Vec<_> =
            self.body.into_iter().map(|piece| Ok(Frame::data(piece))).collect();
        if !self.trailers.is_empty() {
            let trailers = self.trailers.iter();
            let map = trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            frames.push(Ok(Frame::trailers(map.collect::<HeaderMap>())));
        }
        if !self.ends {
            frames.push(Err(std::io::Error::other("broken off, as asked")));
        }
        let body = match frames.is_empty() {
            true => Full::new(Bytes::new()).map_err(|never| match never {}).boxed(),
            false => {
                let frames =
                    futures_util::StreamExt::then(futures_util::stream::iter(frames), paced);
                BodyExt::boxed(StreamBody::new(frames))
            }
        };
        response.body(body).unwrap()
    }
}

/// An error comes a moment later: what stands before it would not leave the buffers otherwise.
async fn paced(frame: std::io::Result<Frame<Bytes>>) -> std::io::Result<Frame<Bytes>> {
    if frame.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    frame
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

/// An upstream over HTTP/1.1 and h2c that remembers.
pub struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Backend {
    /// Starts one that answers 200.
    pub async fn start() -> Self {
        Self::answering(|_| Reply::status(200).header("x-upstream", "yes").body("hello")).await
    }

    /// Starts one that answers so.
    pub async fn answering(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(None, answer).await
    }

    /// Starts one over TLS, certified for 127.0.0.1, that answers 404 until it is told otherwise.
    pub async fn over_tls(authority: &Authority, alpn: &[&[u8]]) -> Self {
        let acceptor = authority.certify(&["127.0.0.1"]).server(alpn);
        Self::listening(Some(acceptor), |_| Reply::status(404)).await
    }

    async fn listening(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Mutex<Arc<Answer>>> = Arc::new(Mutex::new(Arc::new(answer)));
        tokio::spawn(serve(listener, tls, Arc::clone(&seen), Arc::clone(&answer)));
        Self { address, seen, answer }
    }

    /// From now on it answers so.
    pub fn answer(&self, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until that many requests reached it.
    pub async fn reached(&self, count: usize) {
        eventually("requests at the upstream", async || (self.count() >= count).then_some(()))
            .await;
    }

    /// How many requests reached it.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The last request that reached it.
    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("a request at the upstream").clone()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Mutex<Arc<Answer>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen, answer) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answer));
        tokio::spawn(async move {
            let Some(tls) = tls else { return connection(stream, seen, answer).await };
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, seen, answer).await;
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Mutex<Arc<Answer>>>,
) {
    let service = service_fn(move |request| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move { Ok::<_, Infallible>(one(request, &seen, &answer).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn one(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    answer: &Mutex<Arc<Answer>>,
) -> Response<BoxBody<Bytes, std::io::Error>> {
    let (parts, body) = request.into_parts();
    let (body, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().map(fields).unwrap_or_default();
            (collected.to_bytes().to_vec(), trailers)
        }
        Err(_) => return Reply::status(400).into_response(), // the gateway broke off
    };
    let target = parts.uri.path_and_query().map_or("*", |target| target.as_str()).to_owned();
    let mut headers = fields(&parts.headers);
    if let Some(authority) = parts.uri.authority() {
        headers.push((":authority".to_owned(), authority.to_string()));
    }
    let (version, method) = (format!("{:?}", parts.version), parts.method.to_string());
    let request = Seen { version, method, target, headers, body, trailers };
    let answer = Arc::clone(&answer.lock().unwrap());
    let reply = answer(&request);
    seen.lock().unwrap().push(request);
    if let Some(gate) = &reply.gate {
        gate.notified().await;
    }
    reply.into_response()
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// What a raw upstream does once a request's head is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// Goes on to the next request.
    Continue,
    /// Closes the connection.
    Close,
    /// Says nothing more and keeps the connection.
    Hang,
}

/// An upstream that sends the same bytes to every request, and keeps what it was sent.
pub struct RawBackend {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<u8>>>,
    connections: Arc<Mutex<usize>>,
}

impl RawBackend {
    /// Starts it.
    pub async fn start(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (kept, count, bytes) = (Arc::clone(&heads), Arc::clone(&connections), bytes.into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                tokio::spawn(raw(stream, bytes.clone(), then, Arc::clone(&kept)));
            }
        });
        Self { address, heads, connections }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every byte that it was sent.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.heads.lock().unwrap()).into_owned()
    }

    /// How many connections it had.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits until it has received a text.
    pub async fn receives(&self, text: &str) {
        eventually(text, async || self.received().contains(text).then_some(())).await;
    }
}

async fn raw(mut stream: TcpStream, bytes: Vec<u8>, then: Then, kept: Arc<Mutex<Vec<u8>>>) {
    let (mut buffer, mut unread) = (vec![0; 65_536], Vec::new());
    loop {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
                unread.extend_from_slice(&buffer[..count]);
            }
            _ => return,
        }
        while let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            unread.drain(..end + 4);
            if !bytes.is_empty() {
                drop(in_time("a raw answer", stream.write_all(&bytes)).await);
            }
            if then == Then::Close {
                return;
            }
        }
    }
}
