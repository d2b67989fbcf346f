//! What a configuration names and other files hold: secrets, certificates, keys.
//!
//! What cannot be read is a mistake: an unreadable CA or secret never means that a check is off.

use std::path::PathBuf;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::problem::Told;
use super::reader::{Form, Value};
use super::source::read_bounded;
use super::tls::check_ca;
use crate::base::secret::{Secret, SecretSource};

/// `{ env = "NAME" }` or `{ file = "path" }`, read.
pub(super) fn secret(value: Value<'_>) -> Result<Secret, Told> {
    secret_and_file(value).map(|(secret, _)| secret)
}

/// As [`secret`], with the file that it was read from, if it was one.
pub(super) fn secret_and_file(value: Value<'_>) -> Result<(Secret, Option<PathBuf>), Told> {
    let spot = value.spot().clone();
    let value = value.known_as("SECRET");
    if value.form(&[Form::Table]).is_none() {
        return Err(spot.wrong("a secret is never written in the file", SECRET));
    }
    let (env, file) = value.table(|table| {
        let env = table.option("env", |name| name.text().map(str::to_owned));
        let file = table.option("file", |path| path.text().map(str::to_owned));
        Ok((env?, file?))
    })?;
    let source = match (env, file) {
        (Some(name), None) => SecretSource::Env(name),
        (None, Some(path)) => SecretSource::File(path.into()),
        _ => return Err(spot.wrong("a secret is read from one place", SECRET)),
    };
    let secret = source.read(spot.folder()).map_err(|error| {
        spot.wrong(error, "set the variable, or name a file that can be read and is not empty")
    })?;
    let file = match &source {
        SecretSource::Env(_) => None,
        SecretSource::File(path) => Some(spot.folder().join(path)),
    };
    Ok((secret, file))
}

/// The content of a file that the configuration names.
pub(super) fn content(value: &Value<'_>) -> Result<Vec<u8>, Told> {
    let path = value.spot().file(value.text()?);
    read_bounded(&path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        value.wrong(what, "name a readable file; a relative path starts at this file's folder")
    })
}

/// What is read from a file, and its path.
pub(super) fn with_path<T>(
    value: &Value<'_>,
    read: impl FnOnce(&Value<'_>) -> Result<T, Told>,
) -> Result<(T, PathBuf), Told> {
    Ok((read(value)?, value.spot().file(value.text()?)))
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(value: &Value<'_>) -> Result<Vec<CertificateDer<'static>>, Told> {
    let pem = content(value)?;
    let write = "name a PEM file with -----BEGIN CERTIFICATE-----";
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(value.wrong("there is no certificate in this file", write))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(value.wrong(format!("not a PEM file of certificates: {error}"), write)),
    }
}

/// As [`certificates`], of authorities that others are checked against.
pub(super) fn authorities(value: &Value<'_>) -> Result<Vec<CertificateDer<'static>>, Told> {
    let certificates = certificates(value)?;
    match check_ca(&certificates) {
        Ok(()) => Ok(certificates),
        Err(error) => Err(value.wrong(error, "name a PEM file of CA certificates")),
    }
}

/// The private key of a PEM file: PKCS#8, PKCS#1 or SEC1, not encrypted.
pub(super) fn private_key(value: &Value<'_>) -> Result<Secret, Told> {
    let write = "name a PEM file with an unencrypted -----BEGIN PRIVATE KEY-----";
    let no_key = || value.wrong("there is no private key in this file", write);
    let pem = zeroize::Zeroizing::new(content(value)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?;
    std::str::from_utf8(&pem).map(Secret::new).map_err(|_| no_key())
}

const SECRET: &str = "write { env = \"NAME\" } or { file = \"path\" }";
