//! Access tokens as JWTs (RFC 9068), under a key that lives as long as the process.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value, json};

use crate::base::time::UnixSeconds;
use crate::oauth::{Audience, ClientId, ScopeSet};

/// What a token says, whatever it looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenFacts {
    /// Who it was issued to; with client credentials that is the subject too (RFC 9068 §2.2).
    pub client_id: ClientId,
    /// What it allows.
    pub scopes: ScopeSet,
    /// Whom it is meant for.
    pub audiences: Vec<Audience>,
    /// `iat`.
    pub issued: UnixSeconds,
    /// `exp`.
    pub expires: UnixSeconds,
}

impl TokenFacts {
    /// The claims, those of a JWT and of an introspection answer alike (RFC 9068 §2.2,
    /// RFC 7662 §2.2).
    pub(super) fn claims(&self, issuer: &str) -> Map<String, Value> {
        let aud = match self.audiences.as_slice() {
            [one] => json!(one.as_str()),
            several => several.iter().map(Audience::as_str).collect(),
        };
        let claims = json!({
            "iss": issuer,
            "aud": aud,
            "sub": self.client_id.as_str(),
            "client_id": self.client_id.as_str(),
            "scope": self.scopes.to_string(),
            "iat": self.issued.get(),
            "exp": self.expires.get(),
        });
        match claims {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

/// No key or no token could be made: there is no randomness, or the library refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MintError;

impl fmt::Display for MintError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no token could be made: the cryptographic library refuses")
    }
}

impl std::error::Error for MintError {}

/// The key that tokens are signed with: ES256.
pub(super) struct SigningKey {
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
    key_id: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.key_id)
    }
}

impl SigningKey {
    /// Makes a new one; its id is its thumbprint (RFC 7638).
    pub(super) fn generate() -> Result<Self, MintError> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| MintError)?;
        let document = pair.to_pkcs8v1().map_err(|_| MintError)?;
        Self::from_pkcs8(document.as_ref()).map_err(|_| MintError)
    }

    fn from_pkcs8(document: &[u8]) -> Result<Self, jsonwebtoken::errors::Error> {
        let private = EncodingKey::from_ec_der(document);
        let mut jwk = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.key_algorithm = Some(KeyAlgorithm::ES256);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { private, public: DecodingKey::from_jwk(&jwk)?, jwk, key_id })
    }

    /// The JWK Set (RFC 7517 §5), with the public half alone, and the keys of `others` behind it.
    pub(super) fn key_set(&self, others: &[Value]) -> Value {
        let keys = std::iter::once(json!(self.jwk)).chain(others.iter().cloned());
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    /// Signs a token that says `facts`.
    pub(super) fn sign(&self, issuer: &str, facts: &TokenFacts) -> Result<String, MintError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        let mut claims = facts.claims(issuer);
        claims.insert("jti".to_owned(), random_text::<16>()?.into());
        jsonwebtoken::encode(&header, &claims, &self.private).map_err(|_| MintError)
    }

    /// The claims of a token that this key signed, whether it has expired or not.
    pub(super) fn claims_of(&self, token: &str) -> Option<Map<String, Value>> {
        let mut validation = Validation::new(Algorithm::ES256);
        // Time is judged by the caller, who knows it; `aud` is not ours to judge.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.public, &validation).ok().map(|token| token.claims)
    }
}

/// The same token with one more scope written into it by somebody who has no key: its signature
/// holds no longer. `None` if it is no JWT.
pub fn tampered(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let mut claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    let scopes = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
    claims.insert("scope".to_owned(), format!("{scopes} admin").into());
    let payload = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
    Some(format!("{header}.{payload}.{signature}"))
}

/// `BYTES` random bytes as base64url.
pub(super) fn random_text<const BYTES: usize>() -> Result<String, MintError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| MintError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> TokenFacts {
        TokenFacts {
            client_id: ClientId::new("shop"),
            scopes: ScopeSet::from_claim("orders:read"),
            audiences: vec![Audience::new("https://orders.example")],
            issued: UnixSeconds::new(1_700_000_000),
            expires: UnixSeconds::new(1_700_000_600),
        }
    }

    #[test]
    fn rfc9068_2_a_token_has_the_type_and_every_required_claim() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign("http://127.0.0.1:1", &facts()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(header.kid.as_deref(), Some(&*key.key_id));
        let claims = key.claims_of(&token).unwrap();
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
            assert!(claims.contains_key(name), "{name}");
        }
        assert_eq!(claims.get("aud"), Some(&json!("https://orders.example")));
    }

    #[test]
    fn the_key_set_shows_the_public_half_alone() {
        let set = SigningKey::generate().unwrap().key_set(&[]);
        let key = set["keys"][0].as_object().unwrap();
        let mut names: Vec<&str> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn a_tampered_token_says_more_and_its_signature_fails() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign("http://127.0.0.1:1", &facts()).unwrap();
        let tampered = tampered(&token).unwrap();
        assert_ne!(tampered, token);
        assert_eq!(key.claims_of(&tampered), None);
        assert_eq!(super::tampered("opaque"), None);
    }

    #[test]
    fn a_token_of_another_key_is_not_ours() {
        let token = SigningKey::generate().unwrap().sign("http://127.0.0.1:1", &facts()).unwrap();
        assert_eq!(SigningKey::generate().unwrap().claims_of(&token), None);
    }
}
