//! Upstreams, compiled: where requests go.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// A name to be resolved anew for each connection, and a port.
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
            EndpointAddress::Ip(address) => write!(formatter, "{scheme}://{address}"),
            EndpointAddress::Name(name, port) => write!(formatter, "{scheme}://{name}:{port}"),
            EndpointAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
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
    /// Unused connections kept for each endpoint by each worker; default 256.
    pub idle_connections: usize,
}
