//! `[signers.NAME]`, compiled: JWTs of the gateway's own about who is asking.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::oauth::{Audience, Issuer, SignatureAlgorithm, SigningKey};

/// `[signers.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signer {
    /// Its name here, and in metrics.
    pub name: Box<str>,
    /// `iss`: what the gateway is called; never an authorization server's.
    pub issuer: Issuer,
    /// `aud`: what the upstream is called.
    pub audience: Audience,
    /// From `iat` to `exp` at most; default 60 s, at most [`LIFETIME_MAX`](Self::LIFETIME_MAX).
    pub lifetime: Duration,
    /// What it signs with.
    pub keys: SignerKeys,
    /// `typ`; default `JWT`.
    pub token_type: Box<str>,
    /// What of the caller's token goes along: its claims, or `principal`.
    pub claims: Vec<Box<str>>,
    /// Where it stands; absent: `Authorization: Bearer`.
    pub header: Option<HeaderName>,
    /// Where its key set lies.
    pub jwks: JwksPlace,
}

/// What a signer signs with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SignerKeys {
    /// Keys that this process makes for itself and that nobody else has.
    Generated {
        /// What they sign with.
        algorithm: SignatureAlgorithm,
        /// How long one signs.
        rotate: Duration,
    },
    /// Keys from files: all are published, the first one signs. At least one.
    Given(Vec<Arc<SigningKey>>),
}

/// Where a key set is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksPlace {
    /// A host in its normal form; absent: any.
    pub host: Option<Box<str>>,
    /// A path in its normal form.
    pub path: Box<str>,
}

impl Signer {
    /// The longest that one of its JWTs may live: nobody can take one back.
    pub const LIFETIME_MAX: Duration = Duration::from_secs(600);
    /// How long others may keep its key set: `max-age` of the answer.
    pub const KEYS_MAX_AGE: Duration = Duration::from_secs(300);

    /// The word among `claims` that names none: whom the credential speaks for.
    pub const PRINCIPAL: &str = "principal";

    /// Those of `claims` that name a claim of the caller's token.
    pub fn named_claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|claim| &**claim).filter(|claim| *claim != Self::PRINCIPAL)
    }

    /// The header that carries its JWTs.
    pub fn header_name(&self) -> &HeaderName {
        self.header.as_ref().unwrap_or(&AUTHORIZATION)
    }
}
