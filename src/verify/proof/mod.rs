//! Whether whoever sends a bound token has what it is bound to: a key, shown by a DPoP proof
//! (RFC 9449), or a certificate (RFC 8705 §3).
//!
//! [`form`] reads a proof and checks its signature, [`target`] compares addresses, [`nonce`] makes
//! and checks nonces, all pure; [`replay`] remembers which proofs were used.
//!
//! # What holds
//! * A bound token opens nothing without its proof: every member of its `cnf` that is known must hold,
//!   for each request anew, also where the verdict about the token is remembered.
//! * A token that is bound to no key is none for the scheme `DPoP`, nor one that is for `Bearer`.
//! * A proof counts once. What cannot be remembered is refused.
//! * The key in a proof proves nothing but that its holder made the proof: `cnf` says whose it is.

mod form;
mod nonce;
mod replay;
mod target;

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};

use super::server::Server;
use crate::base::time::{Now, UnixSeconds};
use crate::config::{AuthorizationServer, Demand, Dpop};
use crate::oauth::{Thumbprint, TokenDigest, VerifiedToken};
use crate::reject::{InvalidProof, InvalidToken, Rejection, RetryAfter, Scheme};

use form::Proof;
use nonce::{Nonces, Staleness};
use replay::{Admitted, Replays};
use target::Target;

pub use replay::ProofMemory;

/// What a request shows besides its token.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The scheme that the token came in.
    pub scheme: Scheme,
    /// Where the `DPoP` field is.
    pub headers: &'a HeaderMap,
    /// Its method.
    pub method: &'a Method,
    /// The URL that the caller used; a query means nothing.
    pub url: &'a str,
    /// That of the certificate whose key the caller has.
    pub certificate: Option<Thumbprint>,
    /// What comes of a good proof.
    pub purpose: Purpose,
}

/// What comes of a proof that counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Purpose {
    /// It is used up.
    #[default]
    Serve,
    /// Nothing: the request is only explained.
    Explain,
}

/// What a request proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proven {
    /// Whether the nonce of its proof is past half of its life, so that the answer should bring the
    /// next one (RFC 9449 §8.2).
    pub needs_new_nonce: bool,
}

/// What a server with `dpop` needs at work.
#[derive(Debug)]
pub(super) struct Proofs {
    replays: std::sync::Arc<Replays>,
    nonces: Option<Nonces>,
}

impl Proofs {
    pub(super) fn new(server: &AuthorizationServer, memory: &ProofMemory) -> Option<Self> {
        let dpop = server.dpop.as_ref()?;
        let replays = memory.of(server.issuer.as_str());
        let nonces = dpop.nonce.map(|life| match &dpop.nonce_secret {
            Some(secret) => Nonces::by_secret(secret, life),
            None => Nonces::by_key(memory.nonce_key(), life),
        });
        Some(Self { replays, nonces })
    }

    /// How many proofs are remembered.
    pub(super) fn remembered(&self) -> u64 {
        self.replays.len()
    }
}

impl Server {
    /// Checks that a request proves all that its token, one of this server's, is bound to.
    ///
    /// Cost of a DPoP proof: one reading of a JWT with its key, one signature check, one locked look
    /// at a hash set.
    ///
    /// # Errors
    /// 401 where it does not, 503 where nobody can say whether its proof was used before.
    pub fn prove(
        &self,
        token: &VerifiedToken,
        shown: &Shown<'_>,
        now: Now,
    ) -> Result<Proven, Rejection> {
        let settings = self.settings();
        let bound = token.confirmation();
        let certificate = bound.and_then(|bound| bound.certificate);
        check_certificate(settings, certificate, shown.certificate)
            .map_err(Rejection::TokenInvalid)?;
        let key = bound.and_then(|bound| bound.key);
        match (key, shown.scheme, &settings.dpop, self.proofs()) {
            (Some(key), Scheme::Dpop, Some(dpop), Some(proofs)) => {
                let expected = Expected { settings, dpop, key, token: &token.digest };
                expected.check(proofs, shown, now)
            }
            // RFC 9449 §7.2: nor may a bound token be used as one that is not.
            (Some(_), ..) => Err(Rejection::TokenInvalid(InvalidToken::Bound)),
            (None, Scheme::Dpop, ..) => Err(Rejection::TokenInvalid(InvalidToken::Unbound)),
            (None, _, Some(dpop), _) if dpop.tokens == Demand::Required => {
                Err(Rejection::TokenInvalid(InvalidToken::Unbound))
            }
            (None, ..) => Ok(Proven { needs_new_nonce: false }),
        }
    }

    /// A nonce for the next proof, where proofs need one.
    pub fn new_nonce(&self, now: UnixSeconds) -> Option<Box<str>> {
        self.proofs()?.nonces.as_ref().map(|nonces| nonces.make(now))
    }
}

fn check_certificate(
    settings: &AuthorizationServer,
    bound: Option<Thumbprint>,
    shown: Option<Thumbprint>,
) -> Result<(), InvalidToken> {
    match (bound, settings.certificate_bound) {
        (Some(bound), Some(_)) if shown == Some(bound) => Ok(()),
        (Some(_), _) => Err(InvalidToken::Bound),
        (None, Some(Demand::Required)) => Err(InvalidToken::Unbound),
        (None, _) => Ok(()),
    }
}

/// What a proof must be for.
struct Expected<'a> {
    settings: &'a AuthorizationServer,
    dpop: &'a Dpop,
    key: Thumbprint,
    token: &'a TokenDigest,
}

impl Expected<'_> {
    /// RFC 9449 §4.3. What nobody but the gateway knows, nonces and proofs of before, comes last.
    fn check(&self, proofs: &Proofs, shown: &Shown<'_>, now: Now) -> Result<Proven, Rejection> {
        let proof = Proof::read(only(shown.headers)?, &self.dpop.algorithms)?;
        if proof.key != self.key {
            return Err(Rejection::TokenInvalid(InvalidToken::Bound));
        }
        self.check_claims(&proof, shown, now.unix)?;
        let needs_new_nonce = match &proofs.nonces {
            None => false,
            Some(nonces) => match nonces.staleness(proof.nonce(), now.unix) {
                Some(Staleness::Young) => false,
                Some(Staleness::Aging) => true,
                None => return Err(Rejection::NonceNeeded(nonces.make(now.unix))),
            },
        };
        let kept_for = self.kept_for();
        let bound = self.dpop.replay_entries;
        let identity = proof.identity();
        let admitted = match shown.purpose {
            Purpose::Serve => proofs.replays.admit(identity, now.instant, kept_for, bound),
            Purpose::Explain => proofs.replays.peek(identity, now.instant, kept_for, bound),
        };
        match admitted {
            Admitted::New => Ok(Proven { needs_new_nonce }),
            Admitted::Known => Err(InvalidProof::Replayed.into()),
            Admitted::Full => Err(Rejection::ProofsTooMany(RetryAfter::new(kept_for))),
        }
    }

    /// For as long as its `iat` may lie in the future and in the past, both to the whole second: a
    /// proof counts from the begin of the first to the end of the last.
    fn kept_for(&self) -> Duration {
        let both = self.dpop.window.saturating_add(self.settings.clock_skew);
        both.saturating_add(PARTS_OF_SECONDS)
    }

    fn check_claims(
        &self,
        proof: &Proof,
        shown: &Shown<'_>,
        now: UnixSeconds,
    ) -> Result<(), InvalidProof> {
        if proof.method() != shown.method.as_str() {
            return Err(InvalidProof::Method);
        }
        // A request whose own address cannot be read would have been refused before.
        let target = Target::parse(shown.url);
        if target.is_none() || Target::parse(proof.target()) != target {
            return Err(InvalidProof::Target);
        }
        let (first, last) = (now.minus(self.dpop.window), now.plus(self.settings.clock_skew));
        if !(first..=last).contains(&proof.issued) {
            return Err(InvalidProof::Time);
        }
        match proof.is_for(self.token) {
            true => Ok(()),
            false => Err(InvalidProof::TokenHash),
        }
    }
}

/// The proof in the one `DPoP` field.
fn only(headers: &HeaderMap) -> Result<&str, InvalidProof> {
    let mut fields = headers.get_all(DPOP).iter();
    let field = fields.next().ok_or(InvalidProof::Missing)?;
    if fields.next().is_some() {
        return Err(InvalidProof::Several);
    }
    field.to_str().map_err(|_| InvalidProof::Malformed)
}

impl From<InvalidProof> for Rejection {
    fn from(why: InvalidProof) -> Self {
        Self::ProofInvalid(why)
    }
}

/// What seconds cut off hide: one at the end, and one as the clock of days may run beside the other.
const PARTS_OF_SECONDS: Duration = Duration::from_secs(2);
const DPOP: HeaderName = HeaderName::from_static("dpop");

#[cfg(test)]
mod tests;
