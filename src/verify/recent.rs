//! The verdicts that one thread used last: a look here writes nothing that another thread reads.
//!
//! The cache behind it is shared by all threads and orders its entries by use, so that each look
//! writes there. A token that comes again and again is found here instead.
//!
//! # What holds
//! * A verdict is taken in when it is found behind for the second time in a row at its place: what
//!   comes once, or a set of tokens too large for this, costs nothing here.
//! * The count of its [`Bucket`](Buckets) must still be what it was before the verdict was read
//!   behind. Whoever puts a verdict behind, good or bad, counts up afterwards. So a newer verdict
//!   is seen by every thread with its next look.
//! * What is found is not yet an answer: whoever asks holds it against time, key and settings.
//!
//! Cost of a hit: two loads and a comparison of 40 bytes, some 10 ns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::{CacheKey, GoodVerdict};
use crate::oauth::VerifiedToken;

/// How often verdicts about tokens of each bucket were put into the cache behind.
#[derive(Debug)]
pub(super) struct Buckets(Box<[AtomicU64]>);

/// A count at the time of a look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edition(u64);

impl Buckets {
    pub(super) fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }

    /// The edition of a token's verdict; to be read before the verdict itself.
    pub(super) fn edition(&self, key: &CacheKey) -> Edition {
        Edition(self.of(key).map_or(0, |count| count.load(Ordering::Acquire)))
    }

    /// From now on no thread goes by what it has of this token; to be called after the cache
    /// behind was changed.
    pub(super) fn renew(&self, key: &CacheKey) {
        if let Some(count) = self.of(key) {
            count.fetch_add(1, Ordering::Release);
        }
    }

    fn of(&self, key: &CacheKey) -> Option<&AtomicU64> {
        let [_, _, a, b, ..] = key.digest.as_bytes();
        self.0.get(usize::from(u16::from_be_bytes([*a, *b])) % BUCKETS)
    }
}

/// One thread's part.
#[derive(Default)]
pub(super) struct Recent {
    /// Made when the first verdict is offered: most threads never see one.
    slots: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    /// Which token was found behind last.
    candidate: u64,
    held: Option<Held>,
}

struct Held {
    key: CacheKey,
    edition: Edition,
    verdict: GoodVerdict,
}

impl Recent {
    /// What this thread has of a token, if it is of that edition.
    pub(super) fn find(&self, key: &CacheKey, edition: Edition) -> Option<&GoodVerdict> {
        let held = self.slots.get(place(key))?.held.as_ref()?;
        (held.edition == edition && held.key == *key).then_some(&held.verdict)
    }

    /// Takes a verdict in that was found behind, if it was the last one at this place, too.
    pub(super) fn offer(&mut self, key: &CacheKey, edition: Edition, verdict: &GoodVerdict) {
        if self.slots.is_empty() {
            self.slots = (0..SLOTS).map(|_| Slot::default()).collect();
        }
        let Some(slot) = self.slots.get_mut(place(key)) else { return };
        let candidate = mark(key);
        if slot.candidate != candidate {
            slot.candidate = candidate;
            return;
        }
        // A token of this thread's own: its owners are counted where nobody else counts.
        let token = Arc::new(VerifiedToken::clone(&verdict.token));
        let verdict = GoodVerdict { token, ..verdict.clone() };
        slot.held = Some(Held { key: *key, edition, verdict });
    }
}

fn place(key: &CacheKey) -> usize {
    let [a, b, ..] = key.digest.as_bytes();
    usize::from(u16::from_be_bytes([*a, *b])) % SLOTS
}

fn mark(key: &CacheKey) -> u64 {
    let [_, _, _, _, a, b, c, d, e, f, g, h, ..] = *key.digest.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Verdicts that one thread keeps: some 300 KiB of slots, and their tokens.
const SLOTS: usize = 2048;
/// More than there are slots, so that a flood of new tokens renews few of those in use.
const BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::cache::tests::{good, key};
    use super::*;

    #[test]
    fn a_verdict_is_taken_in_the_second_time_and_found_until_a_newer_one() {
        let (buckets, mut recent) = (Buckets::new(), Recent::default());
        let (one, verdict) = (key("one"), good("one"));
        let edition = buckets.edition(&one);
        recent.offer(&one, edition, &verdict);
        assert!(recent.find(&one, edition).is_none(), "seen once");
        recent.offer(&one, edition, &verdict);
        assert!(recent.find(&one, edition).is_some(), "seen twice");
        assert!(recent.find(&key("other"), edition).is_none());
        buckets.renew(&one);
        assert!(recent.find(&one, buckets.edition(&one)).is_none(), "there is a newer one");
    }

    #[test]
    fn tokens_in_turn_at_one_place_leave_what_is_there() {
        let (buckets, mut recent) = (Buckets::new(), Recent::default());
        let (one, at) = (key("one"), place(&key("one")));
        let other = (0..).map(|number: u32| key(&number.to_string()));
        let other = other.into_iter().find(|other| place(other) == at).unwrap();
        let offer = |recent: &mut Recent, key: &CacheKey| {
            recent.offer(key, buckets.edition(key), &good("t"));
        };
        offer(&mut recent, &one);
        offer(&mut recent, &one);
        for _ in 0..3 {
            offer(&mut recent, &other);
            offer(&mut recent, &one);
        }
        assert!(recent.find(&one, buckets.edition(&one)).is_some());
        assert!(recent.find(&other, buckets.edition(&other)).is_none());
    }

    #[test]
    fn a_thread_has_a_token_of_its_own() {
        let (buckets, mut recent) = (Buckets::new(), Recent::default());
        let (one, verdict) = (key("one"), good("one"));
        for _ in 0..2 {
            recent.offer(&one, buckets.edition(&one), &verdict);
        }
        let found = recent.find(&one, buckets.edition(&one)).unwrap();
        assert_eq!(found.token, verdict.token);
        assert!(!Arc::ptr_eq(&found.token, &verdict.token));
    }
}
