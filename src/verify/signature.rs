//! Signatures, and the keys that they are checked with.
//!
//! A public key and a shared secret are two types: [`PublicKey`] takes a [`SignatureAlgorithm`]
//! and [`MacSecret`] a [`MacAlgorithm`], so that a public key used as a MAC secret (RFC 8725
//! §2.1) is not a mistake that a check prevents but a program that does not compile.
//!
//! Why not jsonwebtoken, which signs our assertions: it takes a key apart anew for every check, and
//! lacks ES512. aws-lc-rs, which lies below it, keeps a key parsed. A signature of another length
//! than the algorithm's, in DER, or with r or s zero is refused there, and the tests here hold it
//! to that.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};

use crate::base::secret::Secret;
use crate::oauth::{MacAlgorithm, SignatureAlgorithm};

/// A curve of RFC 7518 §6.2.1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// A public key that is good enough to be used, parsed for each algorithm that it serves.
pub(super) struct PublicKey {
    kind: Kind,
    parsed: Box<[(SignatureAlgorithm, ParsedPublicKey)]>,
}

/// A type of key. What it can serve (RFC 7518 §3.1) follows from it alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// 2048 to 8192 bits.
    Rsa,
    /// A point on that curve.
    Ec(Curve),
    /// 32 bytes.
    Ed25519,
}

impl Kind {
    const fn algorithms(self) -> &'static [SignatureAlgorithm] {
        use SignatureAlgorithm as A;
        match self {
            Self::Rsa => &[A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512],
            Self::Ec(Curve::P256) => &[A::Es256],
            Self::Ec(Curve::P384) => &[A::Es384],
            Self::Ec(Curve::P521) => &[A::Es512],
            Self::Ed25519 => &[A::EdDsa],
        }
    }

    fn key(self, bytes: &[u8]) -> Option<PublicKey> {
        let parse = |algorithm: &SignatureAlgorithm| {
            let parsed = ParsedPublicKey::new(checker(*algorithm), bytes).ok()?;
            Some((*algorithm, parsed))
        };
        let parsed = self.algorithms().iter().map(parse).collect::<Option<_>>()?;
        Some(PublicKey { kind: self, parsed })
    }
}

/// ECDSA signatures are r and s of fixed length, as JOSE has them (RFC 7518 §3.4).
fn checker(algorithm: SignatureAlgorithm) -> &'static dyn VerificationAlgorithm {
    use SignatureAlgorithm as A;
    match algorithm {
        A::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        A::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        A::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        A::Ps256 => &RSA_PSS_2048_8192_SHA256,
        A::Ps384 => &RSA_PSS_2048_8192_SHA384,
        A::Ps512 => &RSA_PSS_2048_8192_SHA512,
        A::Es256 => &ECDSA_P256_SHA256_FIXED,
        A::Es384 => &ECDSA_P384_SHA384_FIXED,
        A::Es512 => &ECDSA_P521_SHA512_FIXED,
        A::EdDsa => &ED25519,
    }
}

impl PublicKey {
    /// An RSA key of modulus and exponent, both big-endian. Keys under 2048 bits are too weak
    /// (RFC 7518 §3.3), and ones over 8192 bits cost more than any caller may make us spend.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, exponent) = (significant(modulus), significant(exponent));
        let bits = modulus.len() * 8 - leading_zeros(modulus);
        let is_odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        let is_fit = is_odd && exponent != [1] && exponent.len() <= RSA_EXPONENT_MAX_BYTES;
        let fits = is_fit && (RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits);
        fits.then(|| Kind::Rsa.key(&rsa_public_key(modulus, exponent)))?
    }

    /// A point of whole coordinates (RFC 7518 §6.2.1.2) that lies on the curve.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let length = match curve {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        };
        if x.len() != length || y.len() != length {
            return None;
        }
        // SEC 1 §2.3.3: the uncompressed form.
        Kind::Ec(curve).key(&[&[4], x, y].concat())
    }

    /// An Ed25519 key (RFC 8037 §2). What is longer the library would read as DER.
    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        (x.len() == ED25519_BYTES).then(|| Kind::Ed25519.key(x))?
    }

    /// What a key of this type can serve.
    pub(super) const fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        self.kind.algorithms()
    }

    /// Whether the signature over `message` is good. False, whatever the signature, where the
    /// algorithm is not one of this type of key. About 25 µs for RSA, 70 µs for P-256.
    pub(super) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let found = self.parsed.iter().find(|(served, _)| *served == algorithm);
        found.is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({:?})", self.kind)
    }
}

/// `RSAPublicKey` of RFC 8017 appendix A.1.1 in DER.
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    const INTEGER: u8 = 2;
    const SEQUENCE: u8 = 0x30;
    // A first bit that is set would make the number negative.
    let positive = |number: &[u8]| match number.first() {
        Some(first) if *first < 0x80 => number.to_vec(),
        _ => [&[0], number].concat(),
    };
    let numbers = [modulus, exponent].map(|number| der(INTEGER, &positive(number)));
    der(SEQUENCE, &numbers.concat())
}

/// A tag, the length of what follows, and that (X.690 §8.1). At most 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, ..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// A secret that an authorization server shares with us. It never meets a public key.
pub(super) struct MacSecret([hmac::Key; 3]);

impl MacSecret {
    /// Takes the secret from the configuration, which has seen to its length (RFC 7518 §3.2).
    pub(super) fn new(secret: &Secret) -> Self {
        let algorithms = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512];
        let secret = secret.expose().as_bytes();
        Self(algorithms.map(|algorithm| hmac::Key::new(algorithm, secret)))
    }

    /// Whether the code over `message` is good; compared in constant time.
    pub(super) fn verify(&self, algorithm: MacAlgorithm, message: &[u8], code: &[u8]) -> bool {
        let [hs256, hs384, hs512] = &self.0;
        let key = match algorithm {
            MacAlgorithm::Hs256 => hs256,
            MacAlgorithm::Hs384 => hs384,
            MacAlgorithm::Hs512 => hs512,
        };
        hmac::verify(key, message, code).is_ok()
    }
}

impl fmt::Debug for MacSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MacSecret(…)")
    }
}

fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn leading_zeros(bytes: &[u8]) -> usize {
    bytes.first().map_or(0, |byte| byte.leading_zeros() as usize)
}

/// RFC 8032 §5.1.5.
const ED25519_BYTES: usize = 32;
/// RFC 7518 §3.3.
const RSA_MIN_BITS: usize = 2048;
/// Four times the time of a 4096-bit key; nobody publishes larger ones.
const RSA_MAX_BITS: usize = 8192;
/// What the library takes; 65537 needs three.
const RSA_EXPONENT_MAX_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};

    use super::super::testing::{SigningKey, ec_point};
    use super::*;
    use SignatureAlgorithm as A;

    #[test]
    fn each_algorithm_verifies_with_its_own_type_of_key_and_no_other() {
        let keys = SigningKey::one_of_each();
        for signer in &keys {
            let signature = signer.sign(b"message");
            for verifier in &keys {
                for algorithm in A::ALL {
                    let same = signer.algorithm() == algorithm && signer.id() == verifier.id();
                    let good = verifier.public().verify(algorithm, b"message", &signature);
                    assert_eq!(good, same, "{:?} {:?} {algorithm:?}", signer, verifier);
                }
            }
            assert!(!signer.public().verify(signer.algorithm(), b"massage", &signature));
        }
    }

    #[test]
    fn rfc7518_3_4_an_ecdsa_signature_is_r_and_s_of_full_length_and_not_zero() {
        for signer in [A::Es256, A::Es384, A::Es512].map(SigningKey::generate) {
            let algorithm = signer.algorithm();
            let good = signer.sign(b"m");
            let half = good.len() / 2;
            let key = signer.public();
            assert_eq!(
                half,
                match algorithm {
                    A::Es256 => 32,
                    A::Es384 => 48,
                    _ => 66,
                }
            );
            assert!(key.verify(algorithm, b"m", &good));
            let zero = vec![0; half];
            #[rustfmt::skip]
            let cases = [
                ("r is zero",      [zero.as_slice(), &good[half..]].concat()),
                ("s is zero",      [&good[..half], zero.as_slice()].concat()),
                ("both are zero",  [zero.as_slice(), zero.as_slice()].concat()),
                ("one short",      good[..good.len() - 1].to_vec()),
                ("one long",       [good.as_slice(), &[0]].concat()),
                ("empty",          vec![]),
                ("DER",            signer.sign_der(b"m")),
            ];
            for (claim, signature) in cases {
                assert!(!key.verify(algorithm, b"m", &signature), "{claim}");
            }
        }
    }

    #[test]
    fn rfc7518_3_3_an_rsa_key_has_2048_to_8192_bits() {
        let exponent = [1, 0, 1];
        for (bytes, first, taken) in [
            (256, 0x80, true),
            (256, 0x7f, false),
            (257, 0x00, false),
            (128, 0x80, false),
            (1024, 0xff, true),
            (1025, 0x01, false),
            (0, 0, false),
        ] {
            let mut modulus = vec![0x01; bytes];
            if let Some(byte) = modulus.first_mut() {
                *byte = first;
            }
            assert_eq!(PublicKey::rsa(&modulus, &exponent).is_some(), taken, "{bytes} {first}");
        }
        let modulus = vec![0xff; 256];
        assert!(PublicKey::rsa(&[&[0], modulus.as_slice()].concat(), &[0, 1, 0, 1]).is_some());
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 1]] {
            assert!(PublicKey::rsa(&modulus, exponent).is_none(), "{exponent:?}");
        }
    }

    #[test]
    fn a_point_has_whole_coordinates_and_lies_on_its_curve() {
        let (x, y) = ec_point(&SigningKey::generate(A::Es256));
        assert!(PublicKey::ec(Curve::P256, &x, &y).is_some());
        assert!(PublicKey::ec(Curve::P384, &x, &y).is_none());
        assert!(PublicKey::ec(Curve::P256, &x[1..], &y).is_none());
        assert!(PublicKey::ec(Curve::P256, &y, &x).is_none());
        assert!(PublicKey::ec(Curve::P256, &[0; 32], &[0; 32]).is_none());
        assert!(PublicKey::ed25519(&[1; 31]).is_none());
        let spki = KeyPair::generate_for(&PKCS_ED25519).unwrap().subject_public_key_info();
        let (_, x) = spki.split_at(spki.len() - 32);
        assert!(PublicKey::ed25519(x).is_some());
        assert!(PublicKey::ed25519(&spki).is_none(), "the library would take this form, too");
    }

    #[test]
    fn a_mac_is_checked_with_the_secret_alone() {
        let text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let secret = MacSecret::new(&Secret::new(text));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, text.as_bytes());
        let code = aws_lc_rs::hmac::sign(&key, b"m");
        assert!(secret.verify(MacAlgorithm::Hs256, b"m", code.as_ref()));
        assert!(!secret.verify(MacAlgorithm::Hs512, b"m", code.as_ref()));
        assert!(!secret.verify(MacAlgorithm::Hs256, b"m", &code.as_ref()[..31]));
        assert!(!secret.verify(MacAlgorithm::Hs256, b"m", b""));
        assert!(!secret.verify(MacAlgorithm::Hs256, b"n", code.as_ref()));
        assert_eq!(format!("{secret:?}"), "MacSecret(…)");
    }
}
