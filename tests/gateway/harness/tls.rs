//! Certificates for listeners, upstreams and callers, by one authority made for the test.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::in_time;
use super::keys::{base64url, sha256};

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key.
pub struct Identity {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for self-signed whose issuer is named as it is itself.
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Certifies these names; an IP address is one, too.
    pub fn certify(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// Connects over TLS as a caller that trusts this authority.
    pub async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        alpn: &[&[u8]],
        identity: Option<&Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.caller(rustls::ALL_VERSIONS, alpn, identity).connect(to, name).await
    }

    /// A caller that shows what `resolver` has.
    pub fn caller_with(
        &self,
        version: &'static SupportedProtocolVersion,
        resolver: Arc<dyn ResolvesClientCert>,
    ) -> Caller {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(resolver);
        Caller(Arc::new(config))
    }

    /// A caller that trusts this authority.
    pub fn caller(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
        identity: Option<&Identity>,
    ) -> Caller {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain(), identity.private_key()).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Caller(Arc::new(config))
    }
}

/// A caller that remembers its TLS sessions.
pub struct Caller(Arc<ClientConfig>);

impl Caller {
    /// Connects; a session for that name is resumed where there is one.
    pub async fn connect(
        &self,
        to: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(to).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        in_time("a TLS handshake", connector.connect(name, stream)).await
    }
}

impl Identity {
    /// What a token is bound to that is this one's: base64url of the SHA-256 of its DER.
    pub fn thumbprint(&self) -> String {
        base64url(sha256(&self.der))
    }

    /// The same as lower-case hex.
    pub fn hex_thumbprint(&self) -> String {
        sha256(&self.der).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// This certificate with the key of another one: what somebody has who copied it.
    pub fn stolen_by(&self, thief: &Self) -> Arc<dyn ResolvesClientCert> {
        let key = provider().key_provider.load_private_key(thief.private_key()).unwrap();
        Arc::new(Stolen(Arc::new(CertifiedKey::new(self.chain(), key))))
    }

    /// A server with this identity.
    pub fn server(&self, alpn: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.private_key())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config).into()
    }

    /// Whether a caller was shown this one.
    pub fn is_shown_on(&self, stream: &TlsStream<TcpStream>) -> bool {
        let shown = stream.get_ref().1.peer_certificates();
        shown.and_then(<[_]>::first) == Some(&self.der)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key_der.clone()).unwrap()
    }
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
