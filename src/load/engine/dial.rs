//! A new connection to the target.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::client_config;
use crate::load::LoadError;
use crate::load::failure::Failure;
use crate::load::plan::{Plan, Protocol};

/// Where to connect, and how.
#[derive(Clone)]
pub(super) struct Dialer {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct NoConnection {
    /// What it counts as.
    pub(super) failure: Failure,
    /// What was said.
    pub(super) error: io::Error,
}

impl Dialer {
    /// Finds an address of the target that takes connections and speaks what the plan wants.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn find(plan: &Plan) -> Result<Self, LoadError> {
        let target = &plan.target;
        let tls = if target.is_tls() { Some(tls(plan)?) } else { None };
        let addresses = lookup_host((target.host(), target.port())).await;
        let mut found = Err(LoadError::Unresolved(io::Error::other("it has no address")));
        for address in addresses.map_err(LoadError::Unresolved)? {
            let dialer = Self { address, tls: tls.clone(), timeout: plan.timeout };
            match dialer.open().await {
                Ok(stream) => {
                    let is_agreed = stream.agrees(plan.protocol);
                    return is_agreed.then_some(dialer).ok_or(LoadError::ProtocolNotAgreed);
                }
                Err(NoConnection { failure, error }) => {
                    found = Err(LoadError::Unreachable(failure, error));
                }
            }
        }
        found
    }

    /// Connects, handshakes included, within the timeout of a request.
    pub(super) async fn open(&self) -> Result<Stream, NoConnection> {
        let mut stage = Failure::Connect;
        let opening = async {
            let stream = TcpStream::connect(self.address).await?;
            // Requests are written whole; waiting for more to send would only delay them.
            stream.set_nodelay(true)?;
            let Some((connector, name)) = &self.tls else { return Ok(Stream::Plain(stream)) };
            stage = Failure::Tls;
            let stream = connector.connect(name.clone(), stream).await?;
            Ok(Stream::Tls(Box::new(stream)))
        };
        let opened = timeout(self.timeout, opening).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|error| NoConnection { failure: stage, error })
    }
}

fn tls(plan: &Plan) -> Result<(TlsConnector, ServerName<'static>), LoadError> {
    let config = client_config(&plan.trust, plan.protocol).map_err(LoadError::Trust)?;
    let name = ServerName::try_from(plan.target.host().to_owned());
    let name = name.map_err(|error| LoadError::Unresolved(io::Error::other(error)))?;
    Ok((Arc::new(config).into(), name))
}

/// The bytes of a connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the other side agreed to the version of HTTP; without TLS nobody asks.
    fn agrees(&self, protocol: Protocol) -> bool {
        let Self::Tls(stream) = self else { return true };
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        is_h2 == matches!(protocol, Protocol::Http2(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
