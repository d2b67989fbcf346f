//! TLS settings read once more from the files that they came from, since certificates are renewed
//! in place.
//!
//! What a path leads to is read anew each time: Kubernetes swaps a link in the middle of the paths
//! of a secret. Contents are compared, not time stamps, which a swap may turn back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::source::read_bounded;
use super::tls::{TlsError, check_identity};
use super::{CertificatePair, ClientIdentity, ListenerTls, Outbound, UpstreamTls};
use crate::base::digest::Digest;
use crate::base::secret::Secret;

/// What stood in some files, all read at one time, or why it could not be read.
pub struct Look(BTreeMap<PathBuf, Result<Zeroizing<Vec<u8>>, String>>);

/// Why a file does not hold what it held before.
#[derive(Debug)]
pub enum RenewError {
    /// It cannot be read.
    Unreadable(PathBuf, String),
    /// There is no certificate in it, or one that is cut short.
    NoCertificate(PathBuf),
    /// There is no private key in it.
    NoKey(PathBuf),
    /// Certificate and key of a client cannot be used together.
    NoPair(TlsError),
}

impl fmt::Display for RenewError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => {
                write!(formatter, "cannot read {}: {error}", file.display())
            }
            Self::NoCertificate(file) => {
                write!(formatter, "there is no certificate in {}", file.display())
            }
            Self::NoKey(file) => write!(formatter, "there is no private key in {}", file.display()),
            Self::NoPair(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for RenewError {}

impl Look {
    /// Reads files: blocks for as long as that takes.
    pub fn at<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let read = |file: &Path| {
            let content = read_bounded(file).map(Zeroizing::new);
            (file.to_owned(), content.map_err(|error| error.to_string()))
        };
        Self(files.into_iter().map(read).collect())
    }

    /// The same for the same contents.
    pub fn digest(&self) -> Digest {
        let parts = self.0.values().flat_map(|read| match read {
            Ok(content) => [b"read".as_slice(), content.as_slice()],
            Err(error) => [b"unread".as_slice(), error.as_bytes()],
        });
        Digest::of_parts(&parts.collect::<Vec<_>>())
    }

    fn content(&self, file: &Path) -> Result<&[u8], RenewError> {
        match self.0.get(file) {
            Some(Ok(content)) => Ok(content),
            Some(Err(error)) => Err(RenewError::Unreadable(file.to_owned(), error.clone())),
            None => Err(RenewError::Unreadable(file.to_owned(), "it was not looked at".into())),
        }
    }

    fn certificates(&self, file: &Path) -> Result<Vec<CertificateDer<'static>>, RenewError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.content(file)?).collect();
        let all = all.ok().filter(|all| !all.is_empty());
        all.ok_or_else(|| RenewError::NoCertificate(file.to_owned()))
    }

    fn ca(&self, file: Option<&Path>) -> Result<Option<Vec<CertificateDer<'static>>>, RenewError> {
        file.map(|file| self.certificates(file)).transpose()
    }

    fn key(&self, file: &Path) -> Result<Secret, RenewError> {
        let content = self.content(file)?;
        let text = std::str::from_utf8(content).ok();
        let text = text.filter(|_| PrivateKeyDer::from_pem_slice(content).is_ok());
        text.map(Secret::new).ok_or_else(|| RenewError::NoKey(file.to_owned()))
    }
}

impl ListenerTls {
    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.certificate_file, &pair.key_file]);
        pairs.chain(&self.client_ca_file).map(PathBuf::as_path)
    }

    /// The same settings with what stands in their files now.
    ///
    /// # Errors
    /// When one of the files does not hold what it should; whether all of it can be used together
    /// is not looked at.
    pub fn renewed(&self, look: &Look) -> Result<Self, RenewError> {
        let pair = |pair: &CertificatePair| {
            Ok(CertificatePair {
                certificate: look.certificates(&pair.certificate_file)?,
                key: look.key(&pair.key_file)?,
                ..pair.clone()
            })
        };
        Ok(Self {
            pairs: self.pairs.iter().map(pair).collect::<Result<_, _>>()?,
            client_ca: look.ca(self.client_ca_file.as_deref())?,
            client_ca_file: self.client_ca_file.clone(),
            client_certificates: self.client_certificates,
        })
    }
}

impl UpstreamTls {
    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.ca_file.iter();
        let pair = self.identity_files.iter().flat_map(|(certificate, key)| [certificate, key]);
        files.chain(pair).map(PathBuf::as_path)
    }

    /// As [`ListenerTls::renewed`].
    ///
    /// # Errors
    /// As there.
    pub fn renewed(&self, look: &Look) -> Result<Self, RenewError> {
        let ca = look.ca(self.ca_file.as_deref())?;
        let identity = self
            .identity_files
            .as_ref()
            .map(|(certificate, key)| Ok((look.certificates(certificate)?, look.key(key)?)));
        Ok(Self { ca, identity: identity.transpose()?, ..self.clone() })
    }
}

impl ClientIdentity {
    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate_file].into_iter().chain(&self.key_file).map(PathBuf::as_path)
    }

    /// As [`ListenerTls::renewed`]; a pair that does not belong together is a mistake here.
    ///
    /// # Errors
    /// As there, and for such a pair.
    pub fn renewed(&self, look: &Look) -> Result<Self, RenewError> {
        let certificate = look.certificates(&self.certificate_file)?;
        let key = self.key_file.as_deref().map(|file| look.key(file)).transpose()?;
        // As the configuration reads it, so that an equal one is equal.
        let key = key.map_or_else(|| self.key.clone(), |key| Secret::of_file(key.expose()));
        check_identity(&certificate, &key).map_err(RenewError::NoPair)?;
        Ok(Self { certificate, key, ..self.clone() })
    }
}

impl Outbound {
    /// The files that its TLS settings were read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.ca_file.iter().map(PathBuf::as_path)
    }

    /// As [`ListenerTls::renewed`].
    ///
    /// # Errors
    /// As there.
    pub fn renewed(&self, look: &Look) -> Result<Self, RenewError> {
        Ok(Self { ca: look.ca(self.ca_file.as_deref())?, ..self.clone() })
    }
}
