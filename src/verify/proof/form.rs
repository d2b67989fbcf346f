//! A DPoP proof as it reads (RFC 9449 §4.2): its form, its key, its signature.

use serde_json::Value;

use super::super::{base64url, jwk, jwt};
use crate::base::digest::Digest;
use crate::base::time::UnixSeconds;
use crate::oauth::{Algorithm, Claims, SignatureAlgorithm, Thumbprint, TokenDigest};
use crate::reject::InvalidProof;

/// A proof whose signature holds for the key in it. What its claims are good for is yet to be seen.
#[derive(Debug)]
pub(super) struct Proof {
    /// The thumbprint of its key (RFC 7638).
    pub(super) key: Thumbprint,
    /// `iat`.
    pub(super) issued: UnixSeconds,
    /// `jti`, `htm`, `htu` and `ath` in it are texts.
    claims: Claims,
}

impl Proof {
    /// Reads the value of a `DPoP` field: first the form, in the order of RFC 9449 §4.3, and then the
    /// one thing that costs, the signature.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn read(
        text: &str,
        algorithms: &[SignatureAlgorithm],
    ) -> Result<Self, InvalidProof> {
        let malformed = InvalidProof::Malformed;
        if PROOF_MAX_BYTES < text.len() {
            return Err(malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let object = |part| {
            let json = base64url::decode(part).ok_or(malformed)?;
            Claims::parse(&json).map_err(|_| malformed)
        };
        let (header, claims) = (object(header)?, object(payload)?);
        let signature = base64url::decode(signature).ok_or(malformed)?;
        let algorithm = check_header(&header, algorithms)?;
        let issued = check_members(&claims)?;
        let members = header.value("jwk").ok_or(malformed)?;
        let members = members.as_object().ok_or(InvalidProof::Key)?;
        // RFC 9449 §4.3 #7: with a private member it is no key here.
        let key = jwk::key(members).ok_or(InvalidProof::Key)?;
        let thumbprint = jwk::thumbprint(members).ok_or(InvalidProof::Key)?;
        if !key.algorithms.contains(&algorithm) {
            return Err(InvalidProof::Key);
        }
        if !key.public.verify(algorithm, signed.as_bytes(), &signature) {
            return Err(InvalidProof::Signature);
        }
        Ok(Self { key: thumbprint, issued, claims })
    }

    /// `htm`.
    pub(super) fn method(&self) -> &str {
        self.text("htm")
    }

    /// `htu`.
    pub(super) fn target(&self) -> &str {
        self.text("htu")
    }

    /// `nonce`, if it is a text.
    pub(super) fn nonce(&self) -> Option<&str> {
        self.claims.value("nonce").and_then(Value::as_str)
    }

    /// Whether `ath` is the hash of this token.
    pub(super) fn is_for(&self, token: &TokenDigest) -> bool {
        base64url::decode(self.text("ath")).is_some_and(|hash| hash == token.as_bytes())
    }

    /// What tells it from all others: its `jti` among those of its key. Another client cannot use up
    /// this one's.
    pub(super) fn identity(&self) -> Digest {
        Digest::of_parts(&[self.key.as_bytes(), self.text("jti").as_bytes()])
    }

    fn text(&self, name: &'static str) -> &str {
        self.claims.string(name).ok().flatten().unwrap_or_default()
    }
}

/// `typ` and `alg`.
fn check_header(
    header: &Claims,
    algorithms: &[SignatureAlgorithm],
) -> Result<SignatureAlgorithm, InvalidProof> {
    let text = |name| header.string(name).ok().flatten().ok_or(InvalidProof::Malformed);
    if !jwt::media_type(text("typ")?).eq_ignore_ascii_case("dpop+jwt") {
        return Err(InvalidProof::Type);
    }
    // RFC 7515 §4.1.11: we understand no extension.
    if header.value("crit").is_some() {
        return Err(InvalidProof::Malformed);
    }
    match text("alg")?.parse() {
        Ok(Algorithm::Signature(one)) if algorithms.contains(&one) => Ok(one),
        Ok(_) | Err(_) => Err(InvalidProof::Algorithm),
    }
}

/// That all claims are there that each proof has which goes with a token; gives `iat`.
fn check_members(claims: &Claims) -> Result<UnixSeconds, InvalidProof> {
    let malformed = InvalidProof::Malformed;
    for name in ["htm", "htu", "ath"] {
        claims.string(name).ok().flatten().ok_or(malformed)?;
    }
    let jti = claims.string("jti").ok().flatten().ok_or(malformed)?;
    if !(1..=JTI_MAX_BYTES).contains(&jti.len()) {
        return Err(malformed);
    }
    claims.numeric_date("iat").ok().flatten().ok_or(malformed)
}

/// Several times as long as a proof with a key of 4096 bits.
const PROOF_MAX_BYTES: usize = 8 * 1024;
/// It is hashed with each request; a UUID has 36.
const JTI_MAX_BYTES: usize = 256;
