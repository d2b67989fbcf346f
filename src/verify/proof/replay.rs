//! Which proofs were used of late (RFC 9449 §11.1).
//!
//! # What holds
//! * A proof is remembered for as long as its `iat` lets it count, and for twice as long at most.
//! * There are never more than the bound. One more is refused, as nobody could tell its replay.
//! * Nothing is set aside for what has not come, and memory goes back when a flood is over: each part
//!   keeps two sets, of which the older one is dropped whole.
//!
//! A proof takes 16 bytes of its hash, and what a hash set adds. Why not a time with each: the two
//! sets say as much, and nothing has to be swept.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use foldhash::fast::RandomState;

use crate::base::digest::Digest;

/// What outlives a reload, whatever it changes: the proofs that were used, by the issuer of their
/// tokens, and what nonces are made with.
#[derive(Debug)]
pub struct ProofMemory {
    replays: Mutex<BTreeMap<Box<str>, Arc<Replays>>>,
    nonce_key: Option<hmac::Key>,
}

impl ProofMemory {
    /// An empty one, with a key of its own.
    pub fn new() -> Self {
        let nonce_key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { replays: Mutex::default(), nonce_key }
    }

    /// The proofs that went with tokens of this issuer. There are as many of them as issuers were
    /// ever configured.
    pub(super) fn of(&self, issuer: &str) -> Arc<Replays> {
        let mut all = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(issuer.into()).or_default())
    }

    pub(super) fn nonce_key(&self) -> Option<hmac::Key> {
        self.nonce_key.clone()
    }
}

impl Default for ProofMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// The proofs that went with tokens of one issuer, in parts, each with a lock that is held for one
/// look.
#[derive(Debug, Default)]
pub(super) struct Replays([Mutex<Part>; PARTS]);

/// Whether a proof is a new one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admitted {
    /// It is.
    New,
    /// It was used before.
    Known,
    /// Nobody can say: there is no room to remember it.
    Full,
}

#[derive(Debug, Default)]
struct Part {
    /// When `current` was begun.
    began: Option<Instant>,
    current: Proofs,
    previous: Proofs,
}

type Proofs = HashSet<[u8; 16], RandomState>;

impl Replays {
    /// Remembers a proof for at least `kept_for`, if it is new and there is room: `bound` in all.
    pub(super) fn admit(
        &self,
        proof: Digest,
        now: Instant,
        kept_for: Duration,
        bound: u64,
    ) -> Admitted {
        let (key, mut part) = self.part(proof);
        let admitted = part.look(&key, now, kept_for, bound);
        if admitted == Admitted::New {
            part.current.insert(key);
        }
        admitted
    }

    /// What [`admit`](Self::admit) would say. Remembers nothing.
    pub(super) fn peek(
        &self,
        proof: Digest,
        now: Instant,
        kept_for: Duration,
        bound: u64,
    ) -> Admitted {
        let (key, mut part) = self.part(proof);
        part.look(&key, now, kept_for, bound)
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> u64 {
        let parts = self.0.iter().map(|part| lock(part).len());
        parts.map(|len| u64::try_from(len).unwrap_or(u64::MAX)).sum()
    }

    /// The first half of a proof's hash, and the part that it belongs to.
    fn part(&self, proof: Digest) -> ([u8; 16], MutexGuard<'_, Part>) {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(proof.as_bytes()) {
            *to = *from;
        }
        let [.., last] = proof.as_bytes();
        #[expect(clippy::indexing_slicing, reason = "a remainder is smaller than the divisor")]
        let part = &self.0[usize::from(*last) % PARTS];
        (key, lock(part))
    }
}

impl Part {
    fn look(&mut self, key: &[u8; 16], now: Instant, kept_for: Duration, bound: u64) -> Admitted {
        self.turn(now, kept_for);
        if self.current.contains(key) || self.previous.contains(key) {
            return Admitted::Known;
        }
        let bound = usize::try_from(bound).unwrap_or(usize::MAX) / PARTS;
        if self.len() < bound { Admitted::New } else { Admitted::Full }
    }

    /// Lets go of what cannot count any more.
    fn turn(&mut self, now: Instant, kept_for: Duration) {
        let age = self.began.map_or(Duration::MAX, |began| now.saturating_duration_since(began));
        if age < kept_for {
            return;
        }
        let current = std::mem::take(&mut self.current);
        let is_recent = age < kept_for.saturating_mul(2);
        self.previous = if is_recent { current } else { Proofs::default() };
        self.began = Some(now);
    }

    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    // Nothing under this lock can leave it half done.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many workers can look at once, and so much smaller is a set that has to grow under its lock.
const PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    const KEPT: Duration = Duration::from_secs(60);
    const BOUND: u64 = 1_000_000;

    fn proof(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn rfc9449_11_1_a_proof_counts_once_for_as_long_as_it_could_count() {
        let (replays, start) = (Replays::default(), time::now().instant);
        let second = Duration::from_secs(1);
        assert_eq!(replays.admit(proof(1), start, KEPT, BOUND), Admitted::New);
        // Begins the second set, so that the first one is still looked at.
        for later in [Duration::ZERO, second, KEPT - second, KEPT, KEPT + second] {
            let admitted = replays.admit(proof(1), start + later, KEPT, BOUND);
            assert_eq!(admitted, Admitted::Known, "{later:?}");
        }
        for late in 0..1000 {
            let (at, number) = (start + KEPT * 2 + second * late, late + 10);
            assert_eq!(replays.admit(proof(number), at, KEPT, BOUND), Admitted::New);
            let again = at + KEPT - Duration::from_nanos(1);
            assert_eq!(replays.peek(proof(number), again, KEPT, BOUND), Admitted::Known);
        }
        assert!(replays.len() <= 120, "{}", replays.len());
    }

    #[test]
    fn invariant_9_the_bound_holds_and_room_comes_back() {
        let (replays, start) = (Replays::default(), time::now().instant);
        let bound = 160;
        let admitted: Vec<_> =
            (0..1000).map(|number| replays.admit(proof(number), start, KEPT, bound)).collect();
        let new = admitted.iter().filter(|one| **one == Admitted::New).count();
        assert_eq!(new, 160, "all parts are full");
        assert_eq!(admitted.iter().filter(|one| **one == Admitted::Full).count(), 840);
        assert_eq!(replays.len(), 160);
        assert_eq!(
            replays.admit(proof(0), start, KEPT, bound),
            Admitted::Known,
            "known while full"
        );
        let later = start + KEPT * 2;
        assert_eq!(replays.admit(proof(5000), later, KEPT, bound), Admitted::New);
    }

    #[test]
    fn to_look_is_not_to_use() {
        let (replays, now) = (Replays::default(), time::now().instant);
        assert_eq!(replays.peek(proof(1), now, KEPT, BOUND), Admitted::New);
        assert_eq!(replays.admit(proof(1), now, KEPT, BOUND), Admitted::New);
        assert_eq!(replays.peek(proof(1), now, KEPT, BOUND), Admitted::Known);
    }

    #[test]
    fn what_an_issuer_has_seen_outlives_its_settings() {
        let (memory, now) = (ProofMemory::new(), time::now().instant);
        assert_eq!(memory.of("https://a").admit(proof(1), now, KEPT, BOUND), Admitted::New);
        assert_eq!(memory.of("https://a").admit(proof(1), now, KEPT, BOUND), Admitted::Known);
        assert_eq!(memory.of("https://b").admit(proof(1), now, KEPT, BOUND), Admitted::New);
    }
}
