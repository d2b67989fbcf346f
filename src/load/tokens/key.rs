//! The private key that tokens are minted with: from a PEM file, or made new.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::oauth::SignatureAlgorithm;

/// A key that signs with one algorithm. Its `Debug` shows nothing of it.
pub struct MintKey {
    algorithm: SignatureAlgorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Why there is no key to mint with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyError {
    /// The text has no private key in PEM.
    NoPem,
    /// It has one, and of a kind that tokens are not signed with.
    Unknown,
    /// The key is none for the algorithm that was asked for.
    Unfit(SignatureAlgorithm),
    /// The library refuses to make a key or to sign.
    Refused,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPem => formatter.write_str(
                "there is no private key in PEM in it; make one with `openssl genpkey -algorithm \
                 RSA -out key.pem`",
            ),
            Self::Unknown => formatter.write_str(
                "tokens are not signed with this kind of key; take RSA of 2048 bits or more, P-256, \
                 P-384, P-521 or Ed25519, unencrypted",
            ),
            Self::Unfit(algorithm) => write!(
                formatter,
                "the key is none for {}; leave --algorithm out, or name one that fits the key",
                algorithm.name()
            ),
            Self::Refused => formatter.write_str("the cryptographic library refuses this key"),
        }
    }
}

impl std::error::Error for KeyError {}

impl fmt::Debug for MintKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MintKey({})", self.algorithm.name())
    }
}

impl MintKey {
    /// Reads PKCS#8, PKCS#1 or SEC1 in PEM. Without `algorithm` the key's type says it: RS256,
    /// ES256, ES384, ES512 or EdDSA.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8], algorithm: Option<SignatureAlgorithm>) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoPem)?;
        let fits = |one: &SignatureAlgorithm| read(&der, *one).map(|pair| (*one, pair));
        let usual = USUAL.iter().find_map(fits).ok_or(KeyError::Unknown)?;
        let (algorithm, pair) = match algorithm {
            None => usual,
            Some(one) => (one, read(&der, one).ok_or(KeyError::Unfit(one))?),
        };
        Ok(Self { algorithm, pair })
    }

    /// Makes a new key; RSA of 2048 bits.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<Self, KeyError> {
        let pair = match Form::of(algorithm) {
            Form::Rsa(encoding) => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| Pair::Rsa(pair, encoding))
            }
            Form::Ec(curve, _) => EcdsaKeyPair::generate(curve).map(Pair::Ec),
            Form::Ed => Ed25519KeyPair::generate().map(Pair::Ed),
        };
        pair.map(|pair| Self { algorithm, pair }).map_err(|_| KeyError::Refused)
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Signs. RSA costs some hundred microseconds, the others some tens.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(*encoding, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| KeyError::Refused)
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Refused)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// The public half as an issuer publishes it (RFC 7517 §4).
    pub fn jwk(&self, id: &str) -> Value {
        let material = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                let (modulus, exponent) = (public.modulus(), public.exponent());
                let n = base64url(modulus.big_endian_without_leading_zero());
                let e = base64url(exponent.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e })
            }
            Pair::Ec(pair) => {
                // SEC1 §2.3.3: 4, then both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = self.curve().unwrap_or_default();
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed(pair) => {
                let x = base64url(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        let mut jwk = json!({ "kid": id, "alg": self.algorithm.name(), "use": "sig" });
        if let (Value::Object(jwk), Value::Object(material)) = (&mut jwk, material) {
            jwk.extend(material);
        }
        jwk
    }

    fn curve(&self) -> Option<&'static str> {
        match Form::of(self.algorithm) {
            Form::Ec(_, name) => Some(name),
            Form::Rsa(_) | Form::Ed => None,
        }
    }
}

/// What a key of an algorithm is (RFC 7518 §3.1).
enum Form {
    Rsa(&'static dyn RsaEncoding),
    Ec(&'static EcdsaSigningAlgorithm, &'static str),
    Ed,
}

impl Form {
    fn of(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::Rs256 => Self::Rsa(&signature::RSA_PKCS1_SHA256),
            SignatureAlgorithm::Rs384 => Self::Rsa(&signature::RSA_PKCS1_SHA384),
            SignatureAlgorithm::Rs512 => Self::Rsa(&signature::RSA_PKCS1_SHA512),
            SignatureAlgorithm::Ps256 => Self::Rsa(&signature::RSA_PSS_SHA256),
            SignatureAlgorithm::Ps384 => Self::Rsa(&signature::RSA_PSS_SHA384),
            SignatureAlgorithm::Ps512 => Self::Rsa(&signature::RSA_PSS_SHA512),
            SignatureAlgorithm::Es256 => {
                Self::Ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
            }
            SignatureAlgorithm::Es384 => {
                Self::Ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
            }
            SignatureAlgorithm::Es512 => {
                Self::Ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")
            }
            SignatureAlgorithm::EdDsa => Self::Ed,
        }
    }
}

/// The key if it is one for `algorithm`.
fn read(der: &PrivateKeyDer<'_>, algorithm: SignatureAlgorithm) -> Option<Pair> {
    match (Form::of(algorithm), der) {
        (Form::Rsa(encoding), PrivateKeyDer::Pkcs8(der)) => {
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
                .ok()
                .map(|pair| Pair::Rsa(pair, encoding))
        }
        (Form::Rsa(encoding), PrivateKeyDer::Pkcs1(der)) => {
            RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(|pair| Pair::Rsa(pair, encoding))
        }
        (Form::Ec(curve, _), PrivateKeyDer::Pkcs8(der)) => {
            EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der()).ok().map(Pair::Ec)
        }
        (Form::Ec(curve, _), PrivateKeyDer::Sec1(der)) => {
            EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()).ok().map(Pair::Ec)
        }
        // Version 1 of PKCS#8, which openssl writes, has no public half to hold it against.
        (Form::Ed, PrivateKeyDer::Pkcs8(der)) => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
            pair.ok().map(Pair::Ed)
        }
        _ => None,
    }
}

fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What a key of each type signs with if nobody says.
const USUAL: [SignatureAlgorithm; 5] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::Es512,
    SignatureAlgorithm::EdDsa,
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn pem(key: &MintKey) -> String {
        let der = match &key.pair {
            Pair::Rsa(pair, _) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
                der.as_ref().to_vec()
            }
            Pair::Ec(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        };
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    #[test]
    fn a_key_says_by_its_type_what_it_signs_with() {
        for usual in USUAL {
            let key = MintKey::generate(usual).unwrap();
            let read = MintKey::from_pem(pem(&key).as_bytes(), None).unwrap();
            assert_eq!(read.algorithm(), usual);
            assert_eq!(read.jwk("a"), key.jwk("a"), "{usual:?}");
        }
    }

    #[test]
    fn an_algorithm_that_the_key_is_none_for_is_an_error() {
        let key = pem(&MintKey::generate(SignatureAlgorithm::Es256).unwrap());
        let read = |algorithm| MintKey::from_pem(key.as_bytes(), Some(algorithm)).map(drop);
        assert_eq!(read(SignatureAlgorithm::Es256), Ok(()));
        for other in [SignatureAlgorithm::Es384, SignatureAlgorithm::Rs256] {
            assert_eq!(read(other), Err(KeyError::Unfit(other)));
        }
        assert_eq!(MintKey::from_pem(b"key", None).map(drop), Err(KeyError::NoPem));
    }

    #[test]
    fn every_algorithm_signs_and_its_jwk_has_no_private_member() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = MintKey::generate(algorithm).unwrap();
            assert!(key.sign(b"a").is_ok(), "{algorithm:?}");
            let jwk = key.jwk("a");
            assert_eq!(jwk["alg"], algorithm.name());
            assert!(jwk.get("d").is_none() && jwk.get("kty").is_some(), "{jwk}");
        }
    }
}
