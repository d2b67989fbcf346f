//! Signed identity: JWTs of the gateway's own that tell an upstream who is asking, and the keys
//! that it checks them by.
//!
//! Takes the verdict about a caller's token; gives the header that goes to the upstream in the
//! token's place. The upstream trusts the gateway's issuer alone, and never sees the token itself.
//!
//! # What holds
//! * A JWT says what the verdict says that is at work now: it is used again only for the very same
//!   verdict, so that scopes which a later answer took away are gone with the next request.
//! * It lives for `lifetime` at most, and never past the `exp` of the caller's token.
//! * The key that signed it is published before its first JWT and after its last one ([`ring`]).
//! * Its `sub` alone names nobody where several authorization servers may vouch: `sub_id` (RFC 9493)
//!   says with it whose user that is.
//!
//! Why `typ` is `JWT` unless the operator says otherwise: what keeps it apart from access tokens is
//! its issuer, which cannot be an authorization server's, and its audience. A type of its own would
//! tell it apart once more (RFC 8725 §3.11), and be refused by libraries that take `JWT` alone.
//!
//! Cost of one that was signed before: a look into a cache; else a signature.

mod claims;
mod keys;
mod ring;
mod status;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use prometheus::IntCounter;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;

use crate::base::time::{Now, UnixSeconds};
use crate::config;
use crate::oauth::{Principal, TokenDigest, VerifiedToken};
use crate::reject::{InvalidToken, OwnClientCause, OwnClientFailure, Rejection};
use crate::telemetry::Metrics;

use keys::Keys;

pub use status::SignerStatus;

/// A signer, live.
pub struct Signer {
    settings: config::Signer,
    bound: u64,
    keys: Arc<Keys>,
    signed: Cache<(TokenDigest, Principal), Arc<Signed>>,
    signatures: IntCounter,
}

/// A JWT that was signed.
struct Signed {
    /// The verdict that it speaks of.
    token: Arc<VerifiedToken>,
    field: HeaderValue,
    /// When another one is signed in its place; `None`: another one would live no longer.
    renewed: Option<UnixSeconds>,
}

/// Whom a JWT is about.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The verdict about the token.
    pub token: &'a Arc<VerifiedToken>,
    /// Whom the credential speaks for.
    pub principal: Principal,
    /// The `exp` of the token.
    pub ends: Option<UnixSeconds>,
}

impl Signer {
    /// Makes a signer that keeps `bound` JWTs for use again. It has the keys of `before`, if the
    /// process made those and these settings would have it make such.
    ///
    /// `None` where the library makes no key.
    pub fn start(
        settings: config::Signer,
        bound: u64,
        before: Option<&Self>,
        (metrics, runtime): (&Metrics, &Handle),
    ) -> Option<Arc<Self>> {
        let is_generated = |one: &&Self| {
            matches!(one.settings.keys, config::SignerKeys::Generated { .. })
                && one.settings.name == settings.name
        };
        let ring = before.filter(is_generated).map(|before| Arc::clone(&before.keys.ring()));
        let keys = Keys::start(&settings.keys, &settings.name, ring, runtime)?;
        let signatures = metrics.signatures(&settings.name);
        let signed = Cache::new(usize::try_from(bound).unwrap_or(usize::MAX));
        Some(Arc::new(Self { settings, bound, keys, signed, signatures }))
    }

    /// Whether it is what these settings would make.
    pub fn is_of(&self, settings: &config::Signer, bound: u64) -> bool {
        self.settings == *settings && self.bound == bound
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Signer {
        &self.settings
    }

    /// Its key set (RFC 7517 §5).
    pub fn key_set(&self) -> Bytes {
        self.keys.ring().json.clone()
    }

    /// How many JWTs it keeps.
    pub fn entries(&self) -> u64 {
        self.signed.len() as u64
    }

    /// The header that tells the upstream who is asking.
    ///
    /// # Errors
    /// 403 where a JWT lacks a `sub` or `client_id` that is to go along, which its issuer owes
    /// (RFC 9068 §2.2); 401 where the token's own `exp` is over, which verdicts allow for the clocks'
    /// skew, since ours would be over as it is signed, and where what goes along is too long for a header; 502 where the library
    /// cannot sign.
    pub fn field(&self, holder: Holder<'_>, now: Now) -> Result<HeaderValue, Rejection> {
        if holder.ends.is_some_and(|end| end <= now.unix) {
            return Err(Rejection::TokenInvalid(InvalidToken::Expired));
        }
        let key = (holder.token.digest, holder.principal);
        if let Some(signed) = self.signed.get(&key)
            && signed.is_about(holder.token)
            && signed.renewed.is_none_or(|renewed| now.unix < renewed)
        {
            return Ok(signed.field.clone());
        }
        let signed = self.sign(holder, now)?;
        let field = signed.field.clone();
        self.signed.insert(key, Arc::new(signed));
        Ok(field)
    }

    fn sign(&self, holder: Holder<'_>, now: Now) -> Result<Signed, Rejection> {
        let lifetime = self.settings.lifetime;
        let ends = now.unix.plus(lifetime);
        let capped = holder.ends.filter(|end| *end <= ends);
        let claims = claims::of(&self.settings, holder, capped.unwrap_or(ends), now.unix)?;
        let ring = self.keys.ring();
        let key = ring.signing(now.instant).ok_or_else(|| self.failed())?;
        let jwt = key.sign(&self.settings.token_type, &claims).ok_or_else(|| self.failed())?;
        self.signatures.inc();
        let text = match self.settings.header {
            None => format!("Bearer {jwt}"),
            Some(_) => jwt,
        };
        if FIELD_MAX_BYTES < text.len() {
            return Err(Rejection::TokenInvalid(InvalidToken::Malformed));
        }
        let field = HeaderValue::from_maybe_shared(Bytes::from(text));
        let mut field = field.map_err(|_| self.failed())?;
        field.set_sensitive(true);
        let renewed = capped.is_none().then(|| now.unix.plus(used_for(lifetime)));
        Ok(Signed { token: Arc::clone(holder.token), field, renewed })
    }

    fn failed(&self) -> Rejection {
        Rejection::OwnClientRefused(OwnClientFailure {
            client: self.settings.name.clone(),
            cause: OwnClientCause::Unusable,
        })
    }

    /// What people are told of one of its JWTs: its claims, and nothing that an upstream would take.
    pub fn told(&self, name: &HeaderName, field: &HeaderValue) -> Option<String> {
        if name != self.settings.header_name() {
            return None;
        }
        let payload = field.to_str().ok()?.split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims = String::from_utf8(claims).ok()?;
        let scheme = if self.settings.header.is_none() { "Bearer " } else { "" };
        Some(format!("{scheme}(a JWT of [signers.{}] that says {claims})", self.settings.name))
    }
}

impl Signed {
    /// Another verdict about the same token may say less.
    fn is_about(&self, token: &Arc<VerifiedToken>) -> bool {
        Arc::ptr_eq(&self.token, token) || self.token == *token
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

/// For how long a JWT is used again: a quarter of its life is left for the upstream, its clock and
/// whom it asks in turn.
fn used_for(lifetime: Duration) -> Duration {
    lifetime.mul_f64(0.75)
}

/// What servers commonly take as one header line.
const FIELD_MAX_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests;
