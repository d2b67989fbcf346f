//! Everything that a run needs to know.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use rustls_pki_types::CertificateDer;

use super::supply::Supply;
use super::target::Target;

/// What to send, where, how fast and for how long. [`Plan::new`] has defaults for all but the
/// first two.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// What is sent in turn as `Authorization`.
    pub credentials: Supply,
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Whose certificates count, over https.
    pub trust: Trust,
    /// The rest of each request.
    pub request: RequestForm,
    /// Connections, over all threads.
    pub connections: NonZeroUsize,
    /// Threads; never more than connections are used.
    pub threads: NonZeroUsize,
    /// When requests begin.
    pub pace: Pace,
    /// When the run ends.
    pub bounds: Bounds,
    /// How long one request may take, from when it is sent; a connection as well.
    pub timeout: Duration,
}

impl Plan {
    /// Ten seconds of `GET` over HTTP/1.1, on 64 connections of one thread, as fast as answers come.
    pub fn new(target: Target, credentials: Supply) -> Self {
        Self {
            target,
            credentials,
            protocol: Protocol::Http1,
            trust: Trust::System,
            request: RequestForm::default(),
            connections: CONNECTIONS,
            threads: NonZeroUsize::MIN,
            pace: Pace::Closed,
            bounds: Bounds::default(),
            timeout: TIMEOUT,
        }
    }
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, one request after the other on each connection.
    Http1,
    /// HTTP/2, by ALPN over TLS and by prior knowledge without, with so many streams at a time on
    /// each connection.
    Http2(NonZeroU32),
}

impl Protocol {
    /// How many requests one connection may have under way.
    pub fn streams(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2(streams) => usize::try_from(streams.get()).unwrap_or(usize::MAX),
        }
    }
}

/// Whose certificates count.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Those that one of these has signed.
    Authorities(Vec<CertificateDer<'static>>),
    /// Anybody's: for measuring alone.
    Anyone,
}

/// Method, header fields and body of each request.
#[derive(Clone, Debug, Default)]
pub struct RequestForm {
    /// The method; `GET` by default.
    pub method: Method,
    /// Further fields. `host`, `content-length` and the credential are set by the generator.
    pub headers: HeaderMap,
    /// The body; none if empty.
    pub body: Bytes,
}

/// When requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: each connection sends its next request when it has the answer to the last.
    Closed,
    /// Open loop: so many requests a second over all threads, whatever the answers do.
    Open(f64),
}

/// When the run ends: when the first of its bounds is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// How long requests are sent before the measurement; nothing of it is counted.
    pub warm_up: Duration,
    /// How long new requests begin, warm-up apart.
    pub duration: Option<Duration>,
    /// How many requests begin, warm-up apart.
    pub requests: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { warm_up: Duration::ZERO, duration: Some(DURATION), requests: None }
    }
}

const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
const DURATION: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(10);
