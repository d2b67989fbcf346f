//! TLS settings from what the configuration read: made once at load, so that a bad pair of
//! certificate and key is a mistake in the configuration and not in the first handshake.
//!
//! aws-lc-rs is named wherever a provider is needed: the process-wide default, which any library
//! may set, is never asked.

use std::fmt;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ResolvesServerCert, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::any_client::AnyClient;
use super::certificates::{Certificates, PairError};
use super::{ClientCertificates, ClientIdentity, EndpointAddress, ListenerTls, UpstreamTls};
use crate::base::secret::Secret;

/// Why there are no TLS settings.
#[derive(Debug)]
pub enum TlsError {
    /// The key is no PEM that can be read.
    KeyUnreadable,
    /// The certificate or the key cannot be used, or they do not belong together.
    Unusable(rustls::Error),
    /// A certificate is none that others can be checked against.
    CaInvalid(rustls::Error),
    /// The CA certificates cannot be used.
    CaUnusable(VerifierBuilderError),
    /// There is no certificate in the CA.
    CaEmpty,
    /// This machine has no CA certificates.
    NoSystemCa,
    /// No certificate can have this name.
    ServerName(Box<str>),
    /// There is no certificate where one must be.
    NoCertificate,
    /// The server's own certificate cannot be parsed.
    CertificateUnreadable,
    /// A certificate besides the first one that has no name to ask for.
    NoName,
    /// Two certificates with the same type of key have this name.
    NameTwice(Box<str>),
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyUnreadable => formatter.write_str("the private key cannot be read"),
            Self::Unusable(rustls::Error::InconsistentKeys(_)) => {
                formatter.write_str("certificate and key do not belong together")
            }
            Self::Unusable(error) => write!(formatter, "certificate or key is not usable: {error}"),
            Self::CaInvalid(error) => write!(formatter, "the CA is not usable: {error}"),
            Self::CaUnusable(error) => write!(formatter, "the CA is not usable: {error}"),
            Self::CaEmpty => formatter.write_str("the CA is empty"),
            Self::NoSystemCa => formatter.write_str("this machine has no CA certificates"),
            Self::ServerName(name) => write!(formatter, "{name:?} is no name for a certificate"),
            Self::NoCertificate => formatter.write_str("there is no certificate"),
            Self::CertificateUnreadable => formatter.write_str("the certificate cannot be parsed"),
            Self::NoName => {
                formatter.write_str("there is no DNS name in it: no caller would be shown it")
            }
            Self::NameTwice(name) => write!(
                formatter,
                "another certificate with a key of the same type names {name} too"
            ),
        }
    }
}

impl std::error::Error for TlsError {}

/// Settings of a TLS listener: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, no early data (RFC
/// 8470: a replayed request would be answered twice). With a `client_ca` every caller must present
/// a certificate of it; without one none is asked for, unless `client_certificates` says so.
///
/// Callers may resume a session, by ticket or by id. Keys of tickets and sessions are of these
/// settings alone: a resumed session carries the client certificate that was checked when it began,
/// and it was checked against this `client_ca` and no other.
///
/// # Errors
/// When a certificate, a key or the CA cannot be used; `pair` tells which pair it is about.
pub fn server_config(
    tls: &ListenerTls,
) -> Result<(ServerConfig, Arc<Certificates>), ListenerTlsError> {
    let provider = provider();
    let certificates = Arc::new(Certificates::new(&tls.pairs, &provider)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let builder = match (&tls.client_ca, tls.client_certificates) {
        (None, ClientCertificates::ByCa) => builder.with_no_client_auth(),
        (None, ClientCertificates::Request) => {
            builder.with_client_cert_verifier(Arc::new(AnyClient::new(&provider)))
        }
        (Some(ca), demand) => {
            let roots = Arc::new(roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match demand {
                ClientCertificates::ByCa => verifier,
                ClientCertificates::Request => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(TlsError::CaUnusable)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = alpn();
    config.max_early_data_size = 0;
    // Its keys are made anew every six hours, and the last ones are still taken for as long.
    config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok((config, certificates))
}

/// What is wrong with the settings of a TLS listener.
#[derive(Debug)]
pub struct ListenerTlsError {
    /// Which pair of certificate and key it is about, counted from 0; absent: the CA, or all.
    pub pair: Option<usize>,
    /// What it is.
    pub error: TlsError,
}

impl From<TlsError> for ListenerTlsError {
    fn from(error: TlsError) -> Self {
        Self { pair: None, error }
    }
}

impl From<PairError> for ListenerTlsError {
    fn from(PairError { pair, error }: PairError) -> Self {
        Self { pair: Some(pair), error }
    }
}

impl fmt::Display for ListenerTlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl std::error::Error for ListenerTlsError {}

/// Settings for the `https:` endpoints of an upstream: its certificate is always verified, against
/// its own CA where one is configured, else against the system's.
///
/// # Errors
/// When certificate, key or CA cannot be used, or there is no CA at all.
pub fn client_config(tls: &UpstreamTls) -> Result<ClientConfig, TlsError> {
    let roots = match &tls.ca {
        Some(ca) => roots(ca)?,
        None => system_roots(),
    };
    if roots.is_empty() {
        return Err(TlsError::NoSystemCa);
    }
    let builder = trusting(roots)?;
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => with_identity(builder, certificate, key)?,
    };
    config.alpn_protocols = alpn();
    Ok(config)
}

/// Settings towards an authorization server: its own CA where one is configured and then no other,
/// else the system's; and the certificate of a client of ours that authenticates by it (RFC 8705 §2).
///
/// A system without CA certificates is no error here: no https server is trusted then, which is
/// the safe reading, and one on loopback needs none.
///
/// # Errors
/// When the CA cannot be used, or certificate and key of the client cannot.
pub fn authorization_server_config(
    ca: Option<&[CertificateDer<'static>]>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let roots = match ca {
        Some(ca) => roots(ca)?,
        None => system_roots(),
    };
    if roots.is_empty() {
        tracing::warn!("no CA certificates found on this system, https servers are not trusted");
    }
    let builder = trusting(roots)?;
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => with_identity(builder, &identity.certificate, &identity.key)?,
    };
    config.alpn_protocols = alpn();
    Ok(config)
}

/// Whether certificate and key of a client of ours can be used, and belong together.
pub(super) fn check_identity(
    certificate: &[CertificateDer<'static>],
    key: &Secret,
) -> Result<(), TlsError> {
    with_identity(trusting(RootCertStore::empty())?, certificate, key).map(drop)
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &[CertificateDer<'static>],
    key: &Secret,
) -> Result<ClientConfig, TlsError> {
    let key = private_key(key)?;
    builder.with_client_auth_cert(certificate.to_vec(), key).map_err(TlsError::Unusable)
}

/// The name that an endpoint's certificate must have: the one configured, else that of its host.
///
/// # Errors
/// When no certificate can have it.
pub fn server_name(
    tls: &UpstreamTls,
    address: &EndpointAddress,
) -> Result<ServerName<'static>, TlsError> {
    let name: Box<str> = match (&tls.server_name, address) {
        (Some(name), _) | (None, EndpointAddress::Name(name, _)) => name.clone(),
        (None, EndpointAddress::Ip(address)) => return Ok(ServerName::from(address.ip())),
        (None, EndpointAddress::Unix(path)) => path.to_string_lossy().into(),
    };
    ServerName::try_from(String::from(&*name)).map_err(|_| TlsError::ServerName(name))
}

/// What every client of ours begins with: chain and name of the server are always checked.
fn trusting(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots))
}

/// The CA certificates in a configured bundle: one that cannot be used makes all of it unusable,
/// and a bundle of none is no bundle.
fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(TlsError::CaInvalid)?;
    }
    if roots.is_empty() { Err(TlsError::CaEmpty) } else { Ok(roots) }
}

/// Whether these can be trusted as CA certificates at all.
pub(super) fn check_ca(certificates: &[CertificateDer<'static>]) -> Result<(), TlsError> {
    roots(certificates).map(drop)
}

/// What the system trusts, perhaps nobody; systems carry a few certificates that cannot be parsed,
/// and these trust nobody.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

pub(super) fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| TlsError::KeyUnreadable)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// Sessions of TLS 1.2 kept for callers that take no tickets, about 200 bytes each.
const SESSIONS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CertificatePair;
    use crate::config::tests::pair;

    fn listener(certificate: &str, key: &str) -> ListenerTls {
        let certificate = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let (certificate_file, key_file) = ("tls.crt".into(), "tls.key".into());
        let key = Secret::new(key);
        let pair = CertificatePair { certificate, key, certificate_file, key_file };
        ListenerTls { pairs: vec![pair], ..ListenerTls::default() }
    }

    #[test]
    fn rfc8470_a_listener_offers_both_protocols_and_takes_no_early_data() {
        let (certificate, key) = pair();
        let mut tls = listener(&certificate, &key);
        tls.client_ca = Some(tls.pairs[0].certificate.clone());
        let (config, _) = server_config(&tls).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(config.max_early_data_size, 0);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let ((certificate, _), (_, key)) = (pair(), pair());
        let outcome = server_config(&listener(&certificate, &key));
        let error = outcome.unwrap_err().to_string();
        assert_eq!(error, "certificate and key do not belong together");
        let (certificate, _) = pair();
        let outcome = server_config(&listener(&certificate, "no PEM"));
        let error = outcome.unwrap_err();
        assert!(matches!(error.error, TlsError::KeyUnreadable), "{error}");
        assert_eq!(error.pair, Some(0));
    }

    #[test]
    fn an_upstream_is_checked_against_its_own_ca_where_there_is_one() {
        let (certificate, key) = pair();
        let CertificatePair { certificate, key, .. } = listener(&certificate, &key).pairs.remove(0);
        let ca = Some(certificate.clone());
        let identity = Some((certificate, key));
        let tls = UpstreamTls { ca, identity, ..UpstreamTls::default() };
        assert_eq!(client_config(&tls).unwrap().alpn_protocols.len(), 2);
        let tls = UpstreamTls { ca: Some(vec![b"junk".to_vec().into()]), ..tls };
        assert!(client_config(&tls).is_err());
    }
}
