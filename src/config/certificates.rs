//! The certificates of a listener, and which of them a caller is shown (RFC 6066 §3).
//!
//! A certificate answers to the names in it, an exact one before a wildcard. The first pair also
//! serves callers that name no host, or one that no certificate has: what they may then ask for is
//! bounded by [`OwnCertificates::speaks_for`], not by the handshake.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};

use super::CertificatePair;
use super::tls::{TlsError, private_key};

/// All certificates of a listener.
#[derive(Debug)]
pub struct Certificates {
    first: Arc<OwnCertificates>,
    exact: BTreeMap<Box<str>, Arc<OwnCertificates>>,
    /// By what stands behind `*.`.
    wildcard: BTreeMap<Box<str>, Arc<OwnCertificates>>,
}

/// The certificates that a caller may be shown for one name: one for each type of key, of which
/// the handshake takes the first that the caller can check.
#[derive(Clone, Debug, Default)]
pub struct OwnCertificates(Vec<Arc<CertifiedKey>>);

/// Why certificates cannot stand side by side: the pair by its index, and what is wrong with it.
#[derive(Debug)]
pub struct PairError {
    /// Which pair, counted from 0.
    pub pair: usize,
    /// What is wrong.
    pub error: TlsError,
}

impl Certificates {
    /// Sorts pairs by the names in their certificates.
    ///
    /// # Errors
    /// When a pair cannot be used, a pair behind the first has no name that a caller could ask for,
    /// or two have the same name and the same type of key.
    pub(super) fn new(
        pairs: &[CertificatePair],
        provider: &CryptoProvider,
    ) -> Result<Self, PairError> {
        let (mut exact, mut wildcard) = (BTreeMap::new(), BTreeMap::new());
        let mut first = None;
        for (pair, settings) in pairs.iter().enumerate() {
            let failed = |error| PairError { pair, error };
            let key = certified(settings, provider).map_err(failed)?;
            let names = names(&key).map_err(failed)?;
            if first.is_none() {
                first = Some(OwnCertificates(vec![Arc::clone(&key)]));
            } else if names.is_empty() {
                return Err(failed(TlsError::NoName));
            }
            for name in names {
                let (names, bare) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, &*name),
                };
                let same: &mut OwnCertificates = names.entry(bare.into()).or_default();
                if same.0.iter().any(|other| other.key.algorithm() == key.key.algorithm()) {
                    return Err(failed(TlsError::NameTwice(name)));
                }
                same.0.push(Arc::clone(&key));
            }
        }
        let Some(first) = first else {
            return Err(PairError { pair: 0, error: TlsError::NoCertificate });
        };
        let shared = |names: BTreeMap<Box<str>, OwnCertificates>| {
            names.into_iter().map(|(name, shown)| (name, Arc::new(shown))).collect()
        };
        Ok(Self { first: Arc::new(first), exact: shared(exact), wildcard: shared(wildcard) })
    }

    /// What a caller is shown that asks for this name: in small letters and without a dot at its
    /// end, as the TLS library gives it.
    pub fn shown_for(&self, name: Option<&str>) -> &Arc<OwnCertificates> {
        let found = name.and_then(|name| {
            let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
            self.exact.get(name).or_else(parent)
        });
        found.unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let OwnCertificates(shown) = &**self.shown_for(hello.server_name());
        let fits =
            |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        shown.iter().find(fits).or(shown.first()).cloned()
    }
}

impl OwnCertificates {
    /// Whether the certificate that the caller saw names this host, given in its normal form
    /// (RFC 9110 §7.4). Where it may have been one of several, each must: the TLS library does not
    /// say which one it was.
    ///
    /// Parses certificates: a connection asks once per host, not once per request.
    pub fn speaks_for(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(name) = ServerName::try_from(bare) else {
            return false;
        };
        let names_it = |key: &Arc<CertifiedKey>| {
            let parsed = own(&key.cert).and_then(|own| ParsedCertificate::try_from(own).ok());
            parsed.is_some_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        };
        !self.0.is_empty() && self.0.iter().all(names_it)
    }
}

fn certified(
    pair: &CertificatePair,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = private_key(&pair.key)?;
    let key = CertifiedKey::from_der(pair.certificate.clone(), key, provider);
    key.map(Arc::new).map_err(TlsError::Unusable)
}

/// The names that a caller can ask for, in small letters, each once.
fn names(key: &CertifiedKey) -> Result<Vec<Box<str>>, TlsError> {
    let own = own(&key.cert).ok_or(TlsError::NoCertificate)?;
    let parsed =
        webpki::EndEntityCert::try_from(own).map_err(|_| TlsError::CertificateUnreadable)?;
    let mut names: Vec<Box<str>> = Vec::new();
    for name in parsed.valid_dns_names() {
        let name = name.trim_end_matches('.').to_ascii_lowercase().into();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn own<'a>(chain: &'a [CertificateDer<'static>]) -> Option<&'a CertificateDer<'static>> {
    chain.first()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

    use super::*;
    use crate::base::secret::Secret;

    fn pair_of(names: &[&str], kind: &'static rcgen::SignatureAlgorithm) -> CertificatePair {
        let key = KeyPair::generate_for(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        CertificatePair {
            certificate: vec![certificate.der().clone()],
            key: Secret::new(key.serialize_pem()),
            certificate_file: "tls.crt".into(),
            key_file: "tls.key".into(),
        }
    }

    fn pair(names: &[&str]) -> CertificatePair {
        pair_of(names, &PKCS_ECDSA_P256_SHA256)
    }

    fn certificates(pairs: &[CertificatePair]) -> Result<Certificates, PairError> {
        Certificates::new(pairs, &rustls::crypto::aws_lc_rs::default_provider())
    }

    #[test]
    fn rfc6066_3_the_certificate_of_the_name_is_shown_and_the_first_one_else() {
        let pairs =
            [pair(&["first.test"]), pair(&["*.wild.test", "B.test"]), pair(&["exact.wild.test"])];
        let all = certificates(&pairs).unwrap();
        #[rustfmt::skip]
        let cases = [
            // asked for                     pair
            (None,                           0),
            (Some("first.test"),             0),
            (Some("unknown.test"),           0),
            (Some("b.test"),                 1),
            (Some("one.wild.test"),          1),
            (Some("exact.wild.test"),        2),
            (Some("two.one.wild.test"),      0),
            (Some("wild.test"),              0),
            (Some("test"),                   0),
        ];
        for (name, expected) in cases {
            let shown = all.shown_for(name);
            assert_eq!(shown.0.len(), 1, "{name:?}");
            assert_eq!(shown.0[0].cert, pairs[expected].certificate, "{name:?}");
        }
    }

    #[test]
    fn a_certificate_speaks_for_the_names_in_it_and_for_no_other() {
        let all = certificates(&[pair(&["api.test", "*.wild.test", "127.0.0.1"])]).unwrap();
        for (host, expected) in [
            ("api.test", true),
            ("one.wild.test", true),
            ("127.0.0.1", true),
            ("two.one.wild.test", false),
            ("evil.test", false),
            ("[::1]", false),
            ("not a host", false),
        ] {
            assert_eq!(all.shown_for(None).speaks_for(host), expected, "{host}");
        }
        assert!(!OwnCertificates::default().speaks_for("api.test"));
    }

    #[test]
    fn where_one_of_two_may_have_been_shown_both_must_name_the_host() {
        let pairs =
            [pair(&["api.test", "one.test"]), pair_of(&["api.test", "two.test"], &PKCS_ED25519)];
        let all = certificates(&pairs).unwrap();
        let shown = all.shown_for(Some("api.test"));
        assert_eq!(shown.0.len(), 2);
        for (host, expected) in [("api.test", true), ("one.test", false), ("two.test", false)] {
            assert_eq!(shown.speaks_for(host), expected, "{host}");
        }
    }

    #[test]
    fn pairs_that_nobody_could_tell_apart_or_ask_for_are_refused() {
        let told = |pairs: &[CertificatePair]| {
            let error = certificates(pairs).unwrap_err();
            (error.pair, error.error.to_string())
        };
        let twice = "another certificate with a key of the same type names api.test too";
        assert_eq!(told(&[pair(&["api.test"]), pair(&["API.test"])]), (1, twice.into()));
        let nameless = "there is no DNS name in it: no caller would be shown it";
        assert_eq!(told(&[pair(&["api.test"]), pair(&["127.0.0.1"])]), (1, nameless.into()));
        assert_eq!(told(&[]), (0, "there is no certificate".into()));
        assert!(certificates(&[pair(&["127.0.0.1"])]).is_ok(), "the first needs no name");
    }
}
