//! Nonces for proofs (RFC 9449 §8, §9): they say when a proof was made, whatever its clock.
//!
//! A nonce is a moment and a code over it, so that nothing is kept: whoever has the key can tell its
//! own nonces, and how old one is.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::base64url;
use crate::base::secret::Secret;
use crate::base::time::UnixSeconds;

/// Makes nonces, and knows its own.
pub(super) struct Nonces {
    /// Absent where the system has no randomness: then no nonce is ever taken.
    key: Option<hmac::Key>,
    life: Duration,
}

/// How a nonce stands that still counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Staleness {
    /// In the first half of its life.
    Young,
    /// In the second half.
    Aging,
}

impl Nonces {
    pub(super) fn by_secret(secret: &Secret, life: Duration) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { key: Some(key), life }
    }

    pub(super) const fn by_key(key: Option<hmac::Key>, life: Duration) -> Self {
        Self { key, life }
    }

    /// One of this moment: 32 characters.
    pub(super) fn make(&self, now: UnixSeconds) -> Box<str> {
        let moment = now.get().to_be_bytes();
        let code = self.key.as_ref().map(|key| code(key, &moment)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&moment[..], &code].concat()).into()
    }

    /// How old a nonce is; `None` for one that is over, foreign or absent.
    pub(super) fn staleness(&self, nonce: Option<&str>, now: UnixSeconds) -> Option<Staleness> {
        let nonce = nonce.filter(|nonce| nonce.len() == NONCE_CHARACTERS)?;
        let bytes = base64url::decode(nonce)?;
        let (moment, sent) = bytes.split_first_chunk::<8>()?;
        let code = code(self.key.as_ref()?, moment);
        // In constant time: it is what makes a nonce ours.
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&code[..], sent)) {
            return None;
        }
        let made = UnixSeconds::new(i64::from_be_bytes(*moment));
        let age = now.since(made).unwrap_or_default();
        let is_ahead = made.since(now).is_some_and(|ahead| AHEAD_MAX < ahead);
        if is_ahead || self.life < age {
            return None;
        }
        Some(if self.life / 2 < age { Staleness::Aging } else { Staleness::Young })
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Nonces").field("life", &self.life).finish_non_exhaustive()
    }
}

fn code(key: &hmac::Key, moment: &[u8]) -> [u8; CODE_BYTES] {
    let mut context = hmac::Context::with_key(key);
    context.update(PURPOSE);
    context.update(moment);
    let mut code = [0; CODE_BYTES];
    for (to, from) in code.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    code
}

/// So that a secret which serves for something else as well makes no nonces there.
const PURPOSE: &[u8] = b"scopegate DPoP nonce\0";
/// RFC 2104 §5: half of the hash, and nobody guesses 128 bits.
const CODE_BYTES: usize = 16;
const NONCE_CHARACTERS: usize = (8 + CODE_BYTES) / 3 * 4;
/// The clock of another gateway with the same secret may be ahead of ours.
const AHEAD_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn nonces(secret: &str) -> Nonces {
        Nonces::by_secret(&Secret::new(secret), Duration::from_secs(60))
    }

    #[test]
    fn rfc9449_8_a_nonce_counts_for_its_life_and_is_renewed_before_its_end() {
        let (ours, at) = (nonces("ours"), |seconds| UnixSeconds::new(NOW + seconds));
        let nonce = ours.make(at(0));
        assert_eq!(nonce.len(), NONCE_CHARACTERS);
        let young = Some(Staleness::Young);
        let aging = Some(Staleness::Aging);
        for (seconds, expected) in
            [(-6, None), (-5, young), (0, young), (30, young), (31, aging), (60, aging), (61, None)]
        {
            assert_eq!(ours.staleness(Some(&nonce), at(seconds)), expected, "{seconds}");
        }
        assert_eq!(nonces("ours").staleness(Some(&nonce), at(0)), young, "another gateway");
    }

    #[test]
    fn a_nonce_of_somebody_else_is_none() {
        let (ours, now) = (nonces("ours"), UnixSeconds::new(NOW));
        let nonce = ours.make(now);
        assert_eq!(nonces("theirs").staleness(Some(&nonce), now), None);
        let later = ours.make(now.plus(Duration::from_secs(1)));
        let mixed = format!("{}{}", later.get(..11).unwrap(), nonce.get(11..).unwrap());
        let long = format!("{nonce}A");
        let short = nonce.get(1..).unwrap();
        for text in ["", "x", short, &long, &mixed, &"A".repeat(32), &"é".repeat(16)] {
            assert_eq!(ours.staleness(Some(text), now), None, "{text}");
        }
        assert_eq!(ours.staleness(None, now), None);
        let keyless = Nonces::by_key(None, Duration::from_secs(60));
        assert_eq!(keyless.staleness(Some(&keyless.make(now)), now), None);
    }
}
