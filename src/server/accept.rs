//! Connections come in: one loop per listener and worker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::connection::{Protocol, Served, Stream};
use super::listen::{BoundListener, Tls, Treatment};
use super::phase::PhaseReceiver;
use super::places::Place;
use super::proxy_protocol::{self, Origin};
use crate::base::gather::Gathering;
use crate::base::net::{ListenAddress, Peer, TrustedProxies};
use crate::config::OwnCertificates;
use crate::gateway::{Connection, Gateway, Worker};
use crate::oauth::Thumbprint;
use crate::telemetry::ConnectionEnd;

/// Accepts connections until the listener goes or the process drains.
pub(super) struct Acceptor {
    pub(super) gateway: Arc<Gateway>,
    pub(super) worker: Arc<Worker>,
    pub(super) listener: Arc<BoundListener>,
    pub(super) phase: PhaseReceiver,
}

/// A listening socket in a worker's runtime.
enum Socketed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

impl Acceptor {
    pub(super) async fn run(self) {
        let socket = match self.listener.socket().and_then(|socket| self.socketed(socket)) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(address = %self.listener.address, %error, "listener lost");
                return;
            }
        };
        let mut phase = self.phase.clone();
        tokio::select! {
            () = phase.draining() => {}
            () = self.accept_all(&socket) => {}
        }
    }

    async fn accept_all(&self, socket: &Socketed) {
        loop {
            let Some(place) = self.place().await else { return };
            match socket.accept().await {
                Ok(accepted) => self.spawn(accepted, place),
                Err(error) if is_about_the_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: accepting must survive it (RUSTSEC-2024-0376).
                    tracing::warn!(address = %self.listener.address, %error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place for the next connection, which waits in the kernel's queue until there is one.
    async fn place(&self) -> Option<Place> {
        let places = &self.listener.places;
        if let Some(place) = places.try_take() {
            return Some(place);
        }
        self.gateway.metrics().connections().at_limit();
        places.take().await
    }

    fn spawn(&self, accepted: Accepted, place: Place) {
        // Read anew: a reload may have come while we waited for this connection.
        let treatment = self.listener.treatment.load_full();
        let gateway = Arc::clone(&self.gateway);
        let worker = Arc::clone(&self.worker);
        let phase = self.phase.clone();
        let connections = gateway.metrics().connections().open().clone();
        tokio::spawn(async move {
            connections.inc();
            // Where everything ends at once, the worker's runtime ends with this task in it.
            let arrival = |peer| {
                let trusted = Arc::clone(&treatment.trusted);
                Arrival { gateway, worker, peer, trusted, phase }
            };
            match accepted {
                Accepted::Tcp(stream, peer) => arrival(peer).serve(stream, &treatment).await,
                Accepted::Unix(stream) => arrival(Peer::Unix).serve(stream, &treatment).await,
            }
            connections.dec();
            drop(place);
        });
    }

    fn socketed(&self, socket: Socket) -> io::Result<Socketed> {
        Ok(match self.listener.configured {
            ListenAddress::Tcp(_) => Socketed::Tcp(TcpListener::from_std(socket.into())?),
            ListenAddress::Unix(_) => Socketed::Unix(UnixListener::from_std(socket.into())?),
        })
    }
}

impl Socketed {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, Peer::Ip(address)))
            }
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// A connection that was accepted, and what it takes to serve it.
struct Arrival {
    gateway: Arc<Gateway>,
    worker: Arc<Worker>,
    peer: Peer,
    /// Whose forwarding headers count.
    trusted: Arc<TrustedProxies>,
    phase: PhaseReceiver,
}

impl Arrival {
    /// `certificates` are those of which the caller was shown one, `shown` is what it showed itself.
    fn served(
        self,
        by: &Treatment,
        certificates: Option<Arc<OwnCertificates>>,
        shown: Option<Thumbprint>,
    ) -> Served {
        let Self { gateway, worker, peer, trusted, phase } = self;
        let connection = Connection::new(worker, peer, trusted, certificates)
            .with_client_certificate(shown, by.client_certificate_header.as_ref());
        Served { gateway, connection, limits: by.limits.clone(), phase }
    }

    fn ended(&self, end: ConnectionEnd) {
        self.gateway.metrics().connections().ended(end);
    }

    async fn serve<I: Stream>(mut self, mut stream: I, treatment: &Treatment) {
        if treatment.proxy_protocol {
            // Boxed: given back when the header is read.
            let introduced = Box::pin(self.introduced(&mut stream, treatment)).await;
            if let Err(end) = introduced {
                return self.ended(end);
            }
        }
        match &treatment.tls {
            // Each boxed: an idle connection without TLS would hold room for a handshake otherwise.
            None => Box::pin(self.served(treatment, None, None).plaintext(stream)).await,
            Some(tls) => Box::pin(self.with_tls(stream, tls, treatment)).await,
        }
    }

    /// Takes the caller's address from the PROXY header, which a trusted proxy alone may send.
    ///
    /// Where it names nobody the proxy's own address stands. Its forwarding headers do not count
    /// then: they are the caller's, as the proxy passes bytes on and writes none.
    async fn introduced<I: Stream>(
        &mut self,
        stream: &mut I,
        treatment: &Treatment,
    ) -> Result<(), ConnectionEnd> {
        if !self.trusted.trust(self.peer) {
            return Err(ConnectionEnd::ProxyUntrusted);
        }
        match timeout(treatment.limits.header_timeout, proxy_protocol::read(stream)).await {
            Ok(Ok(Origin::Caller(caller))) => self.peer = Peer::Ip(caller),
            Ok(Ok(Origin::Unnamed)) => self.trusted = Arc::default(),
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "PROXY header refused");
                return Err(ConnectionEnd::ProxyMalformed);
            }
            Err(_) => return Err(ConnectionEnd::ProxyTooSlow),
        }
        Ok(())
    }

    async fn with_tls<I: Stream>(self, stream: I, tls: &Tls, treatment: &Treatment) {
        let handshake = tls.acceptor.accept(Gathering::new(stream));
        // Boxed: given back when the handshake is over.
        let handshake = Box::pin(timeout(treatment.limits.header_timeout, handshake));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "TLS with a caller failed");
                return self.ended(ConnectionEnd::HandshakeFailed);
            }
            Err(_) => return self.ended(ConnectionEnd::HandshakeTooSlow),
        };
        let (_, session) = stream.get_ref();
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let certificates = Arc::clone(tls.certificates.shown_for(session.server_name()));
        // Hashed here: once for a connection. A session that is resumed has it from its beginning.
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let shown = shown.map(|certificate| Thumbprint::of(certificate));
        self.served(treatment, Some(certificates), shown).negotiated(stream, protocol).await;
    }
}

/// Whether an error of `accept` says something of one connection and nothing of the listener.
fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput // set_nodelay on a connection that has gone already
    )
}

/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
