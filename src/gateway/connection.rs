//! What a connection and its worker know of every request that comes over them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};

use super::holding::Hold;
use crate::base::net::{Peer, TrustedProxies};
use crate::config::OwnCertificates;
use crate::headers::{
    Announcement, Caller, CertificateHeader, Pseudonym, Scheme, Trust, client_address,
};
use crate::oauth::Thumbprint;
use crate::upstream::WorkerIndex;

/// One of the threads that serve requests.
#[derive(Debug)]
pub struct Worker {
    index: WorkerIndex,
    ids: RequestIds,
    pseudonym: Pseudonym,
    hold: Hold,
}

impl Worker {
    pub(super) fn new(index: usize, process: u64) -> Self {
        Self {
            index: WorkerIndex::new(index),
            ids: RequestIds::new(process, index),
            pseudonym: Pseudonym::new(process),
            hold: Hold::default(),
        }
    }

    /// The name of this process in `Via`.
    pub(super) fn pseudonym(&self) -> &Pseudonym {
        &self.pseudonym
    }

    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Which one it is.
    pub fn index(&self) -> WorkerIndex {
        self.index
    }

    /// A request id that no other request of this process has.
    pub fn next_request_id(&self) -> HeaderValue {
        self.ids.next()
    }
}

/// Request ids: 16 hex digits that tell processes apart, 4 for the worker, 12 that count.
#[derive(Debug)]
struct RequestIds {
    prefix: [u8; 20],
    /// How many there were, and room for the next ones. The lock is the worker's own.
    state: Mutex<(u64, BytesMut)>,
}

impl RequestIds {
    fn new(process: u64, worker: usize) -> Self {
        let mut prefix = [0; 20];
        let (of_process, of_worker) = prefix.split_at_mut(16);
        write_hex(process, of_process);
        write_hex(worker as u64, of_worker);
        Self { prefix, state: Mutex::default() }
    }

    /// Many ids share one allocation: each is written once and then owned by request, answer and
    /// log.
    fn next(&self) -> HeaderValue {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, room) = &mut *state;
        if room.capacity() < REQUEST_ID_BYTES {
            *room = BytesMut::with_capacity(REQUEST_ID_BYTES * REQUEST_IDS_AT_ONCE);
        }
        let mut digits = [0; 12];
        write_hex(*count, &mut digits);
        *count = count.wrapping_add(1);
        room.extend_from_slice(&self.prefix);
        room.extend_from_slice(&digits);
        HeaderValue::from_maybe_shared(room.split().freeze())
            .unwrap_or(HeaderValue::from_static("0"))
    }
}

/// Writes the lowest digits of a number, as many as there is room for.
fn write_hex(number: u64, room: &mut [u8]) {
    let mut rest = number;
    for digit in room.iter_mut().rev() {
        *digit = HEX.get((rest & 0xF) as usize).copied().unwrap_or(b'0');
        rest >>= 4;
    }
}

const REQUEST_ID_BYTES: usize = 32;
const REQUEST_IDS_AT_ONCE: usize = 64;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where to learn which certificate a caller has shown.
#[derive(Debug)]
enum ClientCertificate {
    /// It has shown this one in the handshake, and proven that it holds its key.
    Shown(Thumbprint),
    /// A trusted proxy tells with each request.
    Told(Arc<CertificateHeader>),
}

/// One connection of a caller.
#[derive(Debug)]
pub struct Connection {
    /// The thread that serves it.
    pub worker: Arc<Worker>,
    /// Who is at the other end, as the kernel says.
    pub peer: Peer,
    /// What the upstream is told of it.
    caller: Caller,
    /// Whether it is a trusted proxy.
    pub(super) trust: Trust,
    trusted: Arc<TrustedProxies>,
    /// Where to learn which certificate the caller has the key of; mostly it has none.
    client_certificate: Option<Box<ClientCertificate>>,
    certificate: Option<Arc<OwnCertificates>>,
    /// The last host that a request was for, and what such requests are announced with.
    announced: Mutex<Option<Announcement>>,
    /// The last host that the certificate was asked about, and its answer.
    host_asked: Mutex<Option<(Box<str>, bool)>>,
}

impl Connection {
    /// A connection that was accepted; with TLS if there is a certificate.
    pub fn new(
        worker: Arc<Worker>,
        peer: Peer,
        trusted: Arc<TrustedProxies>,
        certificate: Option<Arc<OwnCertificates>>,
    ) -> Self {
        let scheme = if certificate.is_some() { Scheme::Https } else { Scheme::Http };
        let caller = Caller::new(peer, scheme);
        let trust = if trusted.trust(peer) { Trust::Proxy } else { Trust::Stranger };
        let (announced, host_asked) = (Mutex::new(None), Mutex::new(None));
        Self {
            worker,
            peer,
            caller,
            trust,
            trusted,
            client_certificate: None,
            certificate,
            announced,
            host_asked,
        }
    }

    /// The same, but reached over https: TLS ends in front of it.
    #[must_use]
    pub fn behind_tls(self) -> Self {
        Self { caller: Caller::new(self.peer, Scheme::Https), ..self }
    }

    /// The same, and the certificate that its caller has shown. Where trusted proxies tell of one in
    /// `header`, theirs alone counts on a connection of theirs: their own is not the caller's.
    #[must_use]
    pub fn with_client_certificate(
        self,
        shown: Option<Thumbprint>,
        header: Option<&Arc<CertificateHeader>>,
    ) -> Self {
        let client_certificate = match (header, shown) {
            (Some(header), _) if self.trust == Trust::Proxy => {
                Some(ClientCertificate::Told(Arc::clone(header)))
            }
            (_, shown) => shown.map(ClientCertificate::Shown),
        };
        let client_certificate = client_certificate.map(Box::new);
        Self { client_certificate, ..self }
    }

    /// The thumbprint of the certificate that whoever sent a request has the key of.
    pub(super) fn client_certificate(&self, headers: &HeaderMap) -> Option<Thumbprint> {
        match self.client_certificate.as_deref()? {
            ClientCertificate::Shown(thumbprint) => Some(*thumbprint),
            ClientCertificate::Told(header) => header.thumbprint(headers),
        }
    }

    /// By the TLS state of the connection.
    pub(super) fn scheme(&self) -> Scheme {
        self.caller.scheme()
    }

    pub(super) fn trusted(&self) -> &TrustedProxies {
        &self.trusted
    }

    /// Tells the upstream of this connection, in a request for `host`.
    pub(super) fn announce(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let announcement = match &*announced {
            Some(last) if last.host() == host => last,
            _ => announced.insert(self.caller.announcement(host)),
        };
        self.caller.announce(headers, announcement, self.trust);
    }

    /// Where a request on it came from, as far as trusted proxies vouch for it.
    pub(super) fn client_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        client_address(headers, self.peer, &self.trusted)
    }

    /// Whether requests for this host belong on this connection (RFC 9110 §7.4): with TLS only
    /// those that its certificate speaks for, unless a trusted proxy sends them.
    pub fn speaks_for(&self, host: &str) -> bool {
        let Some(certificate) = &self.certificate else {
            return true;
        };
        let mut asked = self.host_asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, answer)) = &*asked
            && **last == *host
        {
            return *answer;
        }
        let answer = self.trust == Trust::Proxy || certificate.speaks_for(host);
        *asked = Some((host.into(), answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_32_hex_digits_and_never_repeat() {
        let worker = Worker::new(1, 0xABCD);
        let first = worker.next_request_id();
        assert_eq!(first, "000000000000abcd0001000000000000");
        assert_eq!(worker.next_request_id(), "000000000000abcd0001000000000001");
        assert_ne!(Worker::new(2, 0xABCD).next_request_id(), first);
    }
}
