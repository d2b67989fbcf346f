//! A new connection to an endpoint: name, socket, TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::places::Place;
use crate::base::gather::Gathering;
use crate::config::{EndpointAddress, EndpointProtocol};
use crate::reject::UpstreamFailure;

/// An endpoint, ready to be connected to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: EndpointAddress,
    pub(super) security: Security,
}

/// What is spoken on a new connection, and how that is agreed.
#[derive(Clone)]
pub(super) enum Security {
    /// Plaintext, and the protocol known beforehand.
    Plain(Protocol),
    /// TLS, the name its certificate must have, and the protocol by ALPN.
    Tls(TlsConnector, ServerName<'static>),
}

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Security {
    /// The protocol, where it does not depend on what the other side says.
    pub(super) const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Plain(protocol) => Some(*protocol),
            Self::Tls(..) => None,
        }
    }

    /// What a URL of it begins with.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::HTTP,
            Self::Tls(..) => Scheme::HTTPS,
        }
    }
}

impl Protocol {
    /// What an endpoint without TLS speaks.
    pub(super) const fn without_tls(protocol: EndpointProtocol) -> Option<Self> {
        match protocol {
            EndpointProtocol::Http1 => Some(Self::Http1),
            EndpointProtocol::H2c => Some(Self::Http2),
            EndpointProtocol::Tls => None,
        }
    }
}

/// What a new connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Requests, in whichever version the other side prefers.
    Requests,
    /// A switch of protocols, which HTTP/2 does not have (RFC 9113 §8.6).
    Switch,
}

/// Connects, handshakes included, until `deadline`; `place` is the connection's. Nothing of a
/// request has been sent when this fails.
pub(super) async fn connect(
    target: &Target,
    purpose: Purpose,
    place: Place,
    deadline: Instant,
) -> Result<(Stream, Protocol), UpstreamFailure> {
    let plain = open(&target.address, deadline).await?;
    match &target.security {
        Security::Plain(protocol) => Ok((Stream::Plain(plain, place), *protocol)),
        Security::Tls(connector, name) => {
            let handshake = match purpose {
                Purpose::Requests => connector.connect(name.clone(), plain),
                Purpose::Switch => {
                    connector.with_alpn(vec![b"http/1.1".to_vec()]).connect(name.clone(), plain)
                }
            };
            let stream = match timeout_at(deadline, handshake).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS with the upstream failed");
                    return Err(UpstreamFailure::Tls);
                }
                Err(_) => return Err(UpstreamFailure::TimedOut),
            };
            let protocol = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            Ok((Stream::Tls(Box::new(stream), place), protocol))
        }
    }
}

/// The addresses of an endpoint: one, or what its name resolves to now.
pub(super) async fn resolve(address: &EndpointAddress) -> io::Result<Vec<SocketAddr>> {
    match address {
        EndpointAddress::Ip(address) => Ok(vec![*address]),
        EndpointAddress::Name(name, port) => Ok(lookup_host((&**name, *port)).await?.collect()),
        EndpointAddress::Unix(_) => Ok(Vec::new()),
    }
}

async fn open(address: &EndpointAddress, deadline: Instant) -> Result<Plain, UpstreamFailure> {
    if let EndpointAddress::Unix(path) = address {
        return open_unix(path, deadline).await;
    }
    let addresses = match timeout_at(deadline, resolve(address)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the upstream's name was not resolved");
            return Err(UpstreamFailure::Refused);
        }
        Err(_) => return Err(UpstreamFailure::TimedOut),
    };
    let mut failure = UpstreamFailure::Refused;
    for (at, address) in addresses.iter().enumerate() {
        let share = share_until(deadline, addresses.len() - at);
        match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A proxy writes whole messages; waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                return Ok(Plain::Tcp(Gathering::new(stream)));
            }
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "the upstream was not reached");
                failure = UpstreamFailure::Refused;
            }
            Err(_) => failure = UpstreamFailure::TimedOut,
        }
    }
    Err(failure)
}

async fn open_unix(path: &PathBuf, deadline: Instant) -> Result<Plain, UpstreamFailure> {
    match timeout_at(deadline, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(Plain::Unix(Gathering::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the upstream's socket was not reached");
            Err(UpstreamFailure::Refused)
        }
        Err(_) => Err(UpstreamFailure::TimedOut),
    }
}

/// How long the next of `left` addresses may take, so that one that swallows packets does not keep
/// the others from being tried.
fn share_until(deadline: Instant, left: usize) -> Instant {
    let now = Instant::now();
    let rest = deadline.checked_duration_since(now).unwrap_or(Duration::ZERO);
    now + rest / u32::try_from(left).unwrap_or(u32::MAX).max(1)
}

/// A connection's bytes, and its place, which it gives back when it is closed.
pub(super) enum Stream {
    Plain(Plain, #[expect(dead_code, reason = "given back when it is dropped")] Place),
    Tls(
        Box<TlsStream<Plain>>,
        #[expect(dead_code, reason = "given back when it is dropped")] Place,
    ),
}

/// A socket.
pub(super) enum Plain {
    Tcp(Gathering<TcpStream>),
    Unix(Gathering<UnixStream>),
}

/// Passes `AsyncRead` and `AsyncWrite` on to whichever variant it is.
macro_rules! pass_on {
    ($stream:ident, $($variant:ident),+) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream, ..) => Pin::new(stream).poll_read(cx, buffer),)+
                }
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream, ..) => Pin::new(stream).poll_write(cx, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream, ..) => Pin::new(stream).poll_write_vectored(cx, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(stream, ..) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream, ..) => Pin::new(stream).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream, ..) => Pin::new(stream).poll_shutdown(cx),)+
                }
            }
        }
    };
}

pass_on!(Stream, Plain, Tls);
pass_on!(Plain, Tcp, Unix);
