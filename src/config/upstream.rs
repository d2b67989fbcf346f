//! Upstreams, compiled: where requests go.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use rustls_pki_types::CertificateDer;

use crate::base::secret::Secret;

/// `[upstreams.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// NAME: the label in metrics and logs.
    pub name: Box<str>,
    /// Where it is; at least one.
    pub endpoints: Vec<Endpoint>,
    /// For https: endpoints.
    pub tls: UpstreamTls,
    /// Bounds in time.
    pub timeouts: UpstreamTimeouts,
    /// Bounds in number.
    pub limits: UpstreamLimits,
    /// How often names are looked up again; default 30 s.
    pub resolve: Duration,
    /// Which member a request goes to.
    pub balance: Balance,
    /// When a member that fails is left alone.
    pub eject: Ejection,
    /// How members are asked whether they are well; absent: they are not.
    pub health: Option<Health>,
    /// How long the share of a member grows that is new or has come back; zero (the default): it
    /// has its full share at once.
    pub slow_start: Duration,
    /// What may be sent again.
    pub retries: Retries,
}

/// `upstreams.NAME.balance`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// `"p2c"`: the less busy one of two picked at random.
    #[default]
    P2c,
    /// `"round_robin"`: one after the other.
    RoundRobin,
    /// `{ hash = … }`: equal keys go to the same member; a request without a key goes by `p2c`.
    Hash(HashKey),
}

/// What is hashed. Of a token only what was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HashKey {
    /// `"client_id"`: of the token's client.
    ClientId,
    /// `"subject"`: the token's `sub`.
    Subject,
    /// `{ header = "…" }`: a header as the upstream gets it.
    Header(HeaderName),
}

/// `upstreams.NAME.eject`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ejection {
    /// After so many failures in a row; default 5, 0: never.
    pub failures: u32,
    /// `for`: so long at first, twice as long each time after; default 10 s.
    pub time: Duration,
    /// Whether an answer of 500 to 599 is a failure, too; default no, as a caller may bring it on.
    pub server_errors: bool,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(10), server_errors: false }
    }
}

/// `upstreams.NAME.health`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// What is asked for by GET: path and query. An answer of 200 to 299 is good.
    pub path: Box<str>,
    /// Between two checks; default 5 s.
    pub interval: Duration,
    /// How long one may take, connecting included; default 2 s.
    pub timeout: Duration,
    /// Bad ones in a row until a member gets no more requests; default 3.
    pub unhealthy_after: u32,
    /// Good ones in a row until it gets them again; default 2.
    pub healthy_after: u32,
}

/// `upstreams.NAME.retries`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retries {
    /// How often one request is sent again, where that is safe; default 1, 0: never, and no other
    /// member is tried either where a connection cannot be opened.
    pub attempts: u32,
    /// Retries for a hundred requests; default 20.
    pub budget_percent: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 1, budget_percent: 20 }
    }
}

/// One address of an upstream: `http://host:port`, `h2c://host:port` (HTTP/2 with prior
/// knowledge), `https://host:port` (HTTP/2 or HTTP/1.1 by ALPN), `unix:/path`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: EndpointProtocol,
    /// Where it is.
    pub address: EndpointAddress,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EndpointProtocol {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    H2c,
    /// TLS, and the protocol by ALPN.
    Tls,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum EndpointAddress {
    /// A literal address.
    Ip(SocketAddr),
    /// A name to be looked up now and then, and a port.
    Name(Box<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            EndpointProtocol::Http1 => "http",
            EndpointProtocol::H2c => "h2c",
            EndpointProtocol::Tls => "https",
        };
        match &self.address {
            EndpointAddress::Unix(_) => self.address.fmt(formatter),
            address => write!(formatter, "{scheme}://{address}"),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(formatter),
            Self::Name(name, port) => write!(formatter, "{name}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// `upstreams.NAME.tls`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UpstreamTls {
    /// The only CA that counts; absent: the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Our certificate and key (PEM), if it asks for one.
    pub identity: Option<(Vec<CertificateDer<'static>>, Secret)>,
    /// The name in its certificate; default: the endpoint's host.
    pub server_name: Option<Box<str>>,
    /// Where `ca` was read.
    pub ca_file: Option<PathBuf>,
    /// Where our certificate and key were read.
    pub identity_files: Option<(PathBuf, PathBuf)>,
}

/// `upstreams.NAME.timeouts`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamTimeouts {
    /// Connecting, TLS included; default 2 s.
    pub connect: Duration,
    /// From the request's head to the answer's head, and anew while its body moves; default 60 s.
    pub header: Duration,
    /// Between two pieces of a body, either way, and how long an unused connection is kept;
    /// default 60 s.
    pub idle: Duration,
}

/// `upstreams.NAME.limits`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamLimits {
    /// Requests under way at once, all workers together; over it: 503. Default 10,000.
    pub requests: usize,
    /// Connections open at once, all workers and endpoints together; over it a request waits for
    /// one, for `timeouts.connect` at most: 503. Default: as many as `requests`.
    pub connections: usize,
    /// Unused connections kept for each endpoint by each worker; default 1024.
    pub idle_connections: usize,
}
