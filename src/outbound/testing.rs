//! An authorization server that tests script, on loopback, over real TCP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::{Answer, answer};
use crate::config::{ClientAuthentication, ClientAuthenticationMethod, Outbound};
use crate::oauth::ClientId;

/// Settings with short bounds.
pub(crate) fn outbound() -> Outbound {
    Outbound {
        ca: None,
        ca_file: None,
        proxy: None,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        max_response: 65_536,
    }
}

/// A client without fixed parameters.
pub(crate) fn client_of(id: &str, method: ClientAuthenticationMethod) -> ClientAuthentication {
    ClientAuthentication { client_id: ClientId::new(id), method, parameters: Default::default() }
}

/// An answer that came from nowhere.
pub(crate) fn answer_of(status: u16, body: &str) -> Answer {
    let status = http::StatusCode::from_u16(status).unwrap();
    answer::new(status, &HeaderMap::new(), Bytes::from(body.to_owned()))
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The values of a form parameter.
    pub(crate) fn form(&self, name: &str) -> Vec<String> {
        let pairs = form_urlencoded::parse(self.body.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    chunked: bool,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: vec![], body: String::new(), chunked: false }
    }

    /// 200 with that JSON.
    pub(crate) fn json(body: &str) -> Self {
        Self::new(200).body(body)
    }

    pub(crate) fn body(self, body: &str) -> Self {
        let body = body.to_owned();
        Self { body, ..self }.header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Without a length.
    pub(crate) fn chunked(self) -> Self {
        Self { chunked: true, ..self }
    }

    fn response(self) -> Response<ReplyBody> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = Bytes::from(self.body);
        let frames = futures_util::stream::iter([Ok(Frame::data(body.clone()))]);
        let body = if self.chunked {
            Either::Right(StreamBody::new(frames))
        } else {
            Either::Left(Full::new(body))
        };
        response.body(body).unwrap()
    }
}

type ReplyBody = Either<
    Full<Bytes>,
    StreamBody<
        futures_util::stream::Iter<std::array::IntoIter<Result<Frame<Bytes>, Infallible>, 1>>,
    >,
>;

/// The server. It ends with the test's runtime.
pub(crate) struct FakeServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

struct State {
    answer: Box<dyn Fn(&Seen) -> Reply + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    gate: Semaphore,
    breaks: AtomicUsize,
}

/// More than any test asks; a gate with so many permits is open.
const OPEN: usize = 1_000_000;

impl FakeServer {
    /// Starts one that answers by that function.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(answer, None).await
    }

    /// Starts one with a certificate for that name; it is reached as `localhost`.
    pub(crate) async fn start_tls(
        ca: &TestCa,
        name: &str,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(answer, Some(ca.acceptor(name))).await
    }

    async fn listen(
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            answer: Box::new(answer),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            gate: Semaphore::new(OPEN),
            breaks: AtomicUsize::new(0),
        });
        tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Self { address, scheme, state }
    }

    /// A URL there.
    pub(crate) fn url(&self, path: &str) -> Uri {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}{path}", self.scheme, self.address.port()).parse().unwrap()
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Requests are received from now on and not answered.
    pub(crate) fn hold(&self) {
        self.state.gate.forget_permits(OPEN);
    }

    /// All are answered.
    pub(crate) fn release(&self) {
        self.state.gate.add_permits(OPEN);
    }

    /// The next so many requests are received, and their connections closed.
    pub(crate) fn break_next(&self, count: usize) {
        self.state.breaks.store(count, Ordering::SeqCst);
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut seen = self.state.count.subscribe();
        let came = seen.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(10), came).await.unwrap().unwrap();
    }
}

async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| reply(request, Arc::clone(&state)));
    // An error is a client that went away, or a connection that we were told to break.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn reply(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<ReplyBody>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let seen = Seen {
        method: head.method,
        target: match head.version {
            Version::HTTP_2 => head.uri.path_and_query().unwrap().to_string(),
            _ => head.uri.to_string(),
        },
        version: head.version,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    state.seen.lock().unwrap().push(seen.clone());
    state.count.send_modify(|count| *count += 1);
    let left = |left: usize| left.checked_sub(1);
    if state.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
        return Err(std::io::Error::other("told to break"));
    }
    state.gate.acquire().await.unwrap().forget();
    Ok((state.answer)(&seen).response())
}

/// A CA of the test's own.
pub(crate) struct TestCa {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: CertificateDer<'static>,
}

impl TestCa {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: rcgen::Issuer::new(params, key), certificate }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    fn acceptor(&self, name: &str) -> tokio_rustls::TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}
