//! What `/status` shows of a signer.

use serde::Serialize;

use super::Signer;
use crate::base::time;

/// A signer as `/status` shows it: its public side.
#[derive(Clone, Debug, Serialize)]
pub struct SignerStatus {
    name: String,
    issuer: String,
    audience: String,
    header: String,
    jwks_path: String,
    keys: Vec<KeyStatus>,
    kept: u64,
}

#[derive(Clone, Debug, Serialize)]
struct KeyStatus {
    kid: String,
    alg: &'static str,
    /// Whether new JWTs are signed with it.
    signs: bool,
}

impl Signer {
    /// What `/status` shows.
    pub fn status(&self) -> SignerStatus {
        let settings = &self.settings;
        let ring = self.keys.ring();
        let signing = ring.signing(time::instant()).map(|key| key.id().to_owned());
        let keys = ring.keys().map(|key| KeyStatus {
            kid: key.id().to_owned(),
            alg: key.algorithm().name(),
            signs: signing.as_deref() == Some(key.id()),
        });
        SignerStatus {
            name: settings.name.to_string(),
            issuer: settings.issuer.to_string(),
            audience: settings.audience.as_str().to_owned(),
            header: settings.header_name().to_string(),
            jwks_path: settings.jwks.path.to_string(),
            keys: keys.collect(),
            kept: self.entries(),
        }
    }
}
