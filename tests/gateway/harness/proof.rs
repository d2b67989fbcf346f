//! A caller's own key, and the DPoP proofs that it makes (RFC 9449 §4.2).

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::SigningKey;
use super::issuer::assemble;
use super::keys::{base64url, sha256};
use super::unix_now;

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// The key of a caller.
pub struct ProofKey(SigningKey);

impl ProofKey {
    /// Makes one for `algorithm`.
    pub fn new(algorithm: &'static str) -> Self {
        Self(SigningKey::new(algorithm, "proof"))
    }

    /// `jkt` of tokens that are bound to it (RFC 7638), for EC and Ed25519.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let names = ["crv", "kty", "x", "y"].into_iter().filter(|name| jwk.get(name).is_some());
        let members: Vec<_> = names.map(|name| format!("\"{name}\":{}", jwk[name])).collect();
        base64url(sha256(format!("{{{}}}", members.join(",")).as_bytes()))
    }

    /// What binds a token to it.
    pub fn confirmation(&self) -> Value {
        json!({ "jkt": self.thumbprint() })
    }

    /// A new proof for a request with that token.
    pub fn prove(&self, method: &str, url: &str, token: &str) -> String {
        self.prove_with(method, url, token, |_, _| {})
    }

    /// The same with other members.
    pub fn prove_with(
        &self,
        method: &str,
        url: &str,
        token: &str,
        change: impl FnOnce(&mut Value, &mut Value),
    ) -> String {
        let mut header = json!({ "typ": "dpop+jwt", "alg": self.0.algorithm, "jwk": self.jwk() });
        let mut claims = json!({
            "jti": format!("proof-{}", SERIAL.fetch_add(1, Ordering::Relaxed)),
            "htm": method, "htu": url, "iat": unix_now(),
            "ath": base64url(sha256(token.as_bytes())),
        });
        change(&mut header, &mut claims);
        assemble(&header.to_string(), &claims.to_string(), |input| self.0.sign(input))
    }

    fn jwk(&self) -> Value {
        let mut jwk = self.0.jwk();
        for name in ["kid", "alg", "use"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        jwk
    }
}
