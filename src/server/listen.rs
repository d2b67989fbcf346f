//! Sockets that listen: bound once, shared by all workers, kept over a reload.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use super::places::Places;
use crate::base::net::{ListenAddress, TrustedProxies};
use crate::config::tls::{self, TlsError};
use crate::config::{Certificates, Listener, ListenerLimits, ListenerTls};
use crate::headers::CertificateHeader;

/// A bound socket and how its connections are treated at the moment.
#[derive(Debug)]
pub(super) struct BoundListener {
    /// As configured: what a reload compares.
    pub(super) configured: ListenAddress,
    /// As bound: a port 0 has become a real one.
    pub(super) address: ListenAddress,
    socket: Socket,
    /// Swapped by a reload; a connection keeps what it began with.
    pub(super) treatment: ArcSwap<Treatment>,
    /// One for each connection, whichever treatment it began with.
    pub(super) places: Arc<Places>,
    /// Removed when the listener goes.
    unix_path: Option<PathBuf>,
}

/// How connections of a listener are treated.
#[derive(Clone)]
pub(super) struct Treatment {
    /// Absent: plaintext.
    pub(super) tls: Option<Arc<Tls>>,
    /// Whose forwarding headers count, and who may send a PROXY header.
    pub(super) trusted: Arc<TrustedProxies>,
    /// Where those proxies tell which certificate a caller has shown them.
    pub(super) client_certificate_header: Option<Arc<CertificateHeader>>,
    /// Whether each connection begins with a PROXY header.
    pub(super) proxy_protocol: bool,
    /// Bounds.
    pub(super) limits: ListenerLimits,
}

/// TLS of a listener. Sessions are resumed within one value alone.
pub(super) struct Tls {
    pub(super) settings: ListenerTls,
    pub(super) acceptor: TlsAcceptor,
    pub(super) certificates: Arc<Certificates>,
}

impl Tls {
    pub(super) fn new(settings: ListenerTls) -> Result<Self, TlsError> {
        let (config, certificates) = tls::server_config(&settings).map_err(|error| error.error)?;
        Ok(Self { settings, acceptor: TlsAcceptor::from(Arc::new(config)), certificates })
    }
}

impl std::fmt::Debug for Treatment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Treatment").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why a listener cannot listen.
#[derive(Debug)]
pub enum ListenError {
    /// The address cannot be bound.
    Bind(ListenAddress, io::Error),
    /// Certificate and key do not make a TLS server.
    Tls(ListenAddress, TlsError),
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                formatter,
                "cannot listen on {address}: another process has it; end that or write another one"
            ),
            Self::Bind(address, error) => write!(formatter, "cannot listen on {address}: {error}"),
            Self::Tls(address, error) => write!(formatter, "no TLS on {address}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

impl Treatment {
    /// `before` is what it takes the place of: where its TLS settings are equal they go on, and
    /// with them the sessions that callers may resume.
    pub(super) fn new(settings: &Listener, before: Option<&Self>) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Tls(settings.address.clone(), error);
        let before = before.and_then(|before| before.tls.as_ref());
        let tls = match &settings.tls {
            None => None,
            Some(tls) => match before.filter(|before| before.settings == *tls) {
                Some(same) => Some(Arc::clone(same)),
                None => Some(Arc::new(Tls::new(tls.clone()).map_err(failed)?)),
            },
        };
        Ok(Self {
            tls,
            trusted: Arc::new(settings.trusted_proxies.clone()),
            client_certificate_header: settings.client_certificate_header.clone().map(Arc::new),
            proxy_protocol: settings.proxy_protocol,
            limits: settings.limits.clone(),
        })
    }
}

impl BoundListener {
    /// Binds the address and starts to queue connections.
    ///
    /// # Errors
    /// When it cannot be bound, or its TLS settings do not work.
    pub(super) fn bind(settings: &Listener) -> Result<Self, ListenError> {
        let treatment = ArcSwap::from_pointee(Treatment::new(settings, None)?);
        let failed = |error| ListenError::Bind(settings.address.clone(), error);
        let socket = bound_socket(&settings.address).map_err(failed)?;
        let address = bound_address(&socket, &settings.address).map_err(failed)?;
        let unix_path = match &settings.address {
            ListenAddress::Tcp(_) => None,
            ListenAddress::Unix(path) => Some(path.clone()),
        };
        let configured = settings.address.clone();
        let places = Places::new(settings.limits.connections);
        Ok(Self { configured, address, socket, treatment, places, unix_path })
    }

    /// Treats new connections so from now on. Those that are open count on.
    pub(super) fn treat(&self, treatment: Treatment) {
        self.places.resize(treatment.limits.connections);
        self.treatment.store(Arc::new(treatment));
    }

    /// Takes other TLS settings for new connections in place of those that are `expected`; false if
    /// others are at work by now.
    pub(super) fn renew(&self, tls: Tls, expected: impl FnOnce(&ListenerTls) -> bool) -> bool {
        let current = self.treatment.load_full();
        if !current.tls.as_ref().is_some_and(|tls| expected(&tls.settings)) {
            return false;
        }
        let renewed = Treatment { tls: Some(Arc::new(tls)), ..(*current).clone() };
        let found = self.treatment.compare_and_swap(&current, Arc::new(renewed));
        Arc::ptr_eq(&found, &current)
    }

    /// The same socket once more, for one worker. Whoever is free accepts first.
    pub(super) fn socket(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }
}

impl Drop for BoundListener {
    fn drop(&mut self) {
        if let Some(path) = &self.unix_path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Binds an address: non-blocking and listening.
pub(super) fn bound_socket(address: &ListenAddress) -> io::Result<Socket> {
    let socket = match address {
        ListenAddress::Tcp(address) => tcp_socket(*address)?,
        ListenAddress::Unix(path) => unix_socket(path)?,
    };
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // connections of an earlier run may still be closing
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unix_socket(path: &Path) -> io::Result<Socket> {
    // A socket that an earlier run left behind is in the way; anything else is not ours to remove.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    Ok(socket)
}

/// The address that a bound socket really has.
pub(super) fn bound_address(socket: &Socket, asked: &ListenAddress) -> io::Result<ListenAddress> {
    let bound = socket.local_addr()?;
    Ok(bound.as_socket().map_or_else(|| asked.clone(), ListenAddress::Tcp))
}

/// Connections that wait in the kernel; it cuts this down to its own bound.
const BACKLOG: i32 = 4096;
