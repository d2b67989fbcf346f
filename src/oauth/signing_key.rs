//! Keys of the gateway's own that sign JWTs, and what is published of them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use super::SignatureAlgorithm;
use crate::base::secret::Secret;

/// A private key with the one algorithm that it signs with. `Debug` shows its id alone.
///
/// Two keys are equal when their public halves are.
pub struct SigningKey {
    pair: Pair,
    algorithm: SignatureAlgorithm,
    /// What is published of it, without `kid` (RFC 7517 §4, RFC 7518 §6).
    members: BTreeMap<&'static str, String>,
    id: Box<str>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Reads a key from PKCS#8 in PEM. Its type says what it signs with: P-256 ES256, P-384 ES384,
    /// Ed25519 EdDSA, RSA of 2048 to 8192 bits RS256. `None` for anything else.
    pub fn from_pem(pem: &Secret) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).ok()?;
        let der = der.secret_pkcs8_der();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        if let Ok(pair) = p256 {
            return Some(Self::new(Pair::Ec(pair), SignatureAlgorithm::Es256));
        }
        let p384 = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der);
        if let Ok(pair) = p384 {
            return Some(Self::new(Pair::Ec(pair), SignatureAlgorithm::Es384));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Some(Self::new(Pair::Ed(pair), SignatureAlgorithm::EdDsa));
        }
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        Some(Self::new(Pair::Rsa(pair), SignatureAlgorithm::Rs256))
    }

    /// Makes a key; `None` for an algorithm that no key is made for, or where the system has no
    /// chance to give. An RSA key takes a tenth of a second and more.
    pub fn generate(algorithm: SignatureAlgorithm) -> Option<Self> {
        let pair = match algorithm {
            SignatureAlgorithm::Es256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?)
            }
            SignatureAlgorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate().ok()?),
            SignatureAlgorithm::Rs256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).ok()?),
            _ => return None,
        };
        Some(Self::new(pair, algorithm))
    }

    fn new(pair: Pair, algorithm: SignatureAlgorithm) -> Self {
        let members = members(&pair, algorithm);
        let id = thumbprint(&members).into();
        Self { pair, algorithm, members, id }
    }

    /// `kid`: its thumbprint (RFC 7638), so that every copy of the key has the same.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `alg`.
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The public half, as a key set has it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk: Map<String, Value> =
            self.members.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        jwk.insert("kid".into(), json!(self.id));
        jwk.insert("alg".into(), json!(self.algorithm.name()));
        jwk.insert("use".into(), json!("sig"));
        Value::Object(jwk)
    }

    /// A JWS in compact form (RFC 7515 §7.1) with this `typ`. `None` where the library cannot sign.
    /// Costs 20 µs for ES256 and EdDSA, half a millisecond for RS256.
    pub fn sign(&self, token_type: &str, claims: &[u8]) -> Option<String> {
        let header = json!({ "alg": self.algorithm.name(), "kid": self.id, "typ": token_type });
        let mut jwt = String::new();
        BASE64_URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut jwt);
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut jwt);
        let signature = self.signature(jwt.as_bytes())?;
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Some(jwt)
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Pair::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.id)
    }
}

/// Exactly those members that a thumbprint is made of (RFC 7638 §3.2, RFC 8037 §2).
fn members(pair: &Pair, algorithm: SignatureAlgorithm) -> BTreeMap<&'static str, String> {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    match pair {
        Pair::Ec(pair) => {
            // SEC 1 §2.3.3: a byte for the form, then both coordinates.
            let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            let curve = if algorithm == SignatureAlgorithm::Es384 { "P-384" } else { "P-256" };
            let kind = ("kty", "EC".to_owned());
            [kind, ("crv", curve.to_owned()), ("x", text(x)), ("y", text(y))].into()
        }
        Pair::Ed(pair) => {
            let x = text(pair.public_key().as_ref());
            [("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", x)].into()
        }
        Pair::Rsa(pair) => {
            let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
            let (n, e) = (text(&public.n), text(&public.e));
            [("kty", "RSA".to_owned()), ("n", n), ("e", e)].into()
        }
    }
}

/// RFC 7638 §3: SHA-256 over the members in the order of their names, without any blank.
fn thumbprint(members: &BTreeMap<&'static str, String>) -> String {
    // Names and values are plain ASCII, which always serializes.
    let text = serde_json::to_vec(members).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7638_3_1_and_rfc8037_a_3_the_examples_have_these_thumbprints() {
        let rsa = [
            ("kty", "RSA"),
            (
                "n",
                "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            ),
            ("e", "AQAB"),
        ];
        let okp = [
            ("kty", "OKP"),
            ("crv", "Ed25519"),
            ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
        ];
        for (members, expected) in [
            (rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (okp, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ] {
            let members = members.map(|(name, value)| (name, value.to_owned())).into();
            assert_eq!(thumbprint(&members), expected);
        }
    }

    #[test]
    fn a_key_signs_by_its_type_and_is_the_same_after_reading() {
        use SignatureAlgorithm::{EdDsa, Es256, Es384};
        for (kind, expected) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Es256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Es384),
            (&rcgen::PKCS_ED25519, EdDsa),
        ] {
            let pem = Secret::new(rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem());
            let key = SigningKey::from_pem(&pem).unwrap();
            assert_eq!(key.algorithm(), expected);
            assert_eq!(key, SigningKey::from_pem(&pem).unwrap());
            assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.id()));
            let jwk = key.jwk();
            assert!(jwk.get("d").is_none(), "the private half is not published");
            let public: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
            let public = jsonwebtoken::DecodingKey::from_jwk(&public).unwrap();
            let jwt = key.sign("JWT", b"{\"sub\":\"a\"}").unwrap();
            let (signed, signature) = jwt.rsplit_once('.').unwrap();
            let algorithm = expected.name().parse().unwrap();
            let verified =
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &public, algorithm);
            assert!(verified.unwrap(), "{expected:?}");
        }
        assert!(SigningKey::from_pem(&Secret::new("no PEM")).is_none());
    }

    #[test]
    fn a_key_is_made_for_each_algorithm_that_can_be_asked_for() {
        use SignatureAlgorithm::{EdDsa, Es256, Es512, Rs256};
        for algorithm in [Es256, EdDsa, Rs256] {
            let key = SigningKey::generate(algorithm).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_ne!(key, SigningKey::generate(algorithm).unwrap());
        }
        assert!(SigningKey::generate(Es512).is_none());
    }
}
