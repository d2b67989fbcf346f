//! Keys that sign tokens, and what their JWKs look like.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key that signs with one algorithm.
pub struct SigningKey {
    /// `alg` of what it signs.
    pub algorithm: &'static str,
    /// Its `kid`.
    pub id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes one for `algorithm`.
    pub fn new(algorithm: &'static str, id: &str) -> Self {
        let pair = match algorithm {
            "RS256" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PKCS1_SHA256),
            "RS384" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PKCS1_SHA384),
            "RS512" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PKCS1_SHA512),
            "PS256" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PSS_SHA256),
            "PS384" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PSS_SHA384),
            "PS512" => Pair::Rsa(rsa(KeySize::Rsa2048), &signature::RSA_PSS_SHA512),
            "ES256" => Pair::Ec(ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)),
            "ES384" => Pair::Ec(ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)),
            "ES512" => Pair::Ec(ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING)),
            "EdDSA" | "Ed25519" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            other => panic!("no key for {other}"),
        };
        Self { algorithm, id: id.to_owned(), pair }
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as an issuer publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": base64url(modulus), "e": base64url(exponent) })
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match point.len() {
                    64 => "P-256",
                    96 => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }

    /// What everybody can read of the key, in each form in which somebody might feed it to an HMAC.
    pub fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (Pair::Rsa(pair, _), jwk) = (&self.pair, self.jwk()) else { panic!("RSA only") };
        let pkcs1 = pair.public_key().as_ref().to_vec();
        let spki = pair.public_key().as_der().unwrap().as_ref().to_vec();
        let pem = pem("PUBLIC KEY", &spki);
        vec![
            ("the modulus", rsa_numbers(&pkcs1).0.to_vec()),
            ("the modulus in base64url", jwk["n"].as_str().unwrap().as_bytes().to_vec()),
            ("PKCS#1 DER", pkcs1.clone()),
            ("PKCS#1 PEM", pem_bytes("RSA PUBLIC KEY", &pkcs1)),
            ("SPKI DER", spki),
            ("SPKI PEM", pem.clone().into_bytes()),
            ("SPKI PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
            ("the JWK", jwk.to_string().into_bytes()),
        ]
    }

    /// PKCS#8 in PEM, for a client that signs assertions.
    pub fn pkcs8_pem(&self) -> String {
        let der = match &self.pair {
            Pair::Ec(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Pair::Rsa(pair, _) => AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair)
                .unwrap()
                .as_ref()
                .to_vec(),
        };
        pem("PRIVATE KEY", &der)
    }
}

/// Base64url without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// An HMAC with SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

fn rsa(size: KeySize) -> RsaKeyPair {
    RsaKeyPair::generate(size).unwrap()
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn pem_bytes(label: &str, der: &[u8]) -> Vec<u8> {
    pem(label, der).into_bytes()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = der_value(der);
    let (modulus, rest) = der_value(sequence);
    let (exponent, _) = der_value(rest);
    let unsigned = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    (&modulus[unsigned(modulus)..], &exponent[unsigned(exponent)..])
}

/// The content of the first DER value, and what stands behind it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            let length =
                der[2..2 + bytes].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, 2 + bytes)
        }
    };
    der[start..].split_at(length)
}
