//! JWS algorithms (RFC 7518 §3.1, RFC 8037, RFC 9864), with public keys and shared secrets as
//! two types: a public key cannot be used as a MAC secret, since no function takes it as one.

use std::fmt;
use std::str::FromStr;

/// An algorithm that a token may be protected with. `none` is not one of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// Checked with a public key.
    Signature(SignatureAlgorithm),
    /// Checked with a secret that the issuer shares with us.
    Mac(MacAlgorithm),
}

/// Digital signatures.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 §3.1")]
pub enum SignatureAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    /// `EdDSA` (RFC 8037) with an Ed25519 key, and `Ed25519`, its newer name (RFC 9864).
    EdDsa,
}

/// Message authentication codes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 §3.1")]
pub enum MacAlgorithm {
    Hs256,
    Hs384,
    Hs512,
}

/// The name is none of those we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "not an algorithm that tokens are checked with: write RS256, RS384, RS512, PS256, \
             PS384, PS512, ES256, ES384, ES512, EdDSA, or with a shared secret HS256, HS384, HS512",
        )
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl SignatureAlgorithm {
    /// All of them, in the order of RFC 7518.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name in a JWS header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl MacAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The name in a JWS header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The shortest secret allowed, in bytes: as long as the hash (RFC 7518 §3.2).
    pub const fn secret_min_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

impl Algorithm {
    /// The name in a JWS header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature(algorithm) => algorithm.name(),
            Self::Mac(algorithm) => algorithm.name(),
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Exactly the registered names: case counts, so `nOnE` and `rs256` are unknown.
    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        if text == "Ed25519" {
            return Ok(Self::Signature(SignatureAlgorithm::EdDsa));
        }
        let signature = SignatureAlgorithm::ALL.into_iter().find(|one| one.name() == text);
        let mac = || MacAlgorithm::ALL.into_iter().find(|one| one.name() == text);
        signature.map(Self::Signature).or_else(|| mac().map(Self::Mac)).ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        for one in SignatureAlgorithm::ALL {
            assert_eq!(one.name().parse(), Ok(Algorithm::Signature(one)));
        }
        for one in MacAlgorithm::ALL {
            assert_eq!(one.name().parse(), Ok(Algorithm::Mac(one)));
        }
        assert_eq!("Ed25519".parse(), Ok(Algorithm::Signature(SignatureAlgorithm::EdDsa)));
    }

    #[test]
    fn rfc8725_3_2_none_in_any_case_is_no_algorithm() {
        for name in ["none", "None", "nOnE", "NONE", "", " RS256", "rs256", "A128KW"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name:?}");
        }
    }
}
