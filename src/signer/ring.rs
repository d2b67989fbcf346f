//! Which keys of a signer are published, and which of them signs. Pure: `now` is an argument.
//!
//! A key that the process makes itself goes through three times: it is published for [`LEAD`]
//! before it signs, so that whoever keeps the key set has it by then; it signs for `rotate`; and it
//! stays published until the last of its JWTs has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use crate::config::Signer;
use crate::oauth::SigningKey;

/// The keys of a signer, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    held: Vec<Held>,
    /// The key set as it is published (RFC 7517 §5).
    pub(super) json: Bytes,
}

#[derive(Clone, Debug)]
struct Held {
    key: Arc<SigningKey>,
    /// `None`: it is published and does not sign.
    signs_from: Option<Instant>,
}

impl Ring {
    /// Keys that somebody gave: the first one signs.
    pub(super) fn given(keys: &[Arc<SigningKey>], now: Instant) -> Self {
        let held = keys.iter().enumerate().map(|(index, key)| Held {
            key: Arc::clone(key),
            signs_from: (index == 0).then_some(now),
        });
        Self::new(held.collect())
    }

    /// The very first key: nobody has a key set yet that lacks it, so that it signs at once.
    pub(super) fn first(key: SigningKey, now: Instant) -> Self {
        Self::new(vec![Held { key: Arc::new(key), signs_from: Some(now) }])
    }

    fn new(held: Vec<Held>) -> Self {
        let keys: Vec<_> = held.iter().map(|held| held.key.jwk()).collect();
        let json = serde_json::to_vec(&json!({ "keys": keys })).unwrap_or_default().into();
        Self { held, json }
    }

    /// The key that signs now: the last one whose time has come.
    pub(super) fn signing(&self, now: Instant) -> Option<&Arc<SigningKey>> {
        let begun = |held: &&Held| held.signs_from.is_some_and(|from| from <= now);
        self.held.iter().rfind(begun).or(self.held.first()).map(|held| &held.key)
    }

    /// All that are published.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.held.iter().map(|held| &held.key)
    }

    /// When [`turned`](Self::turned) has something to do; `None` for keys that somebody gave.
    pub(super) fn due(&self, rotate: Duration) -> Option<Instant> {
        let next = self.next_from(rotate)?.checked_sub(LEAD)?;
        Some(self.first_end().map_or(next, |end| end.min(next)))
    }

    /// Whether a new key has to be published now.
    pub(super) fn wants_key(&self, rotate: Duration, now: Instant) -> bool {
        let next = self.next_from(rotate).and_then(|from| from.checked_sub(LEAD));
        next.is_some_and(|next| next <= now)
    }

    /// The keys as they are to be now: without those that are over, and with a new one. One that
    /// comes late is published as long before it signs.
    pub(super) fn turned(&self, key: Option<SigningKey>, rotate: Duration, now: Instant) -> Self {
        let mut held = self.held.clone();
        while held.get(1).is_some_and(|successor| is_over(successor, now)) {
            held.remove(0);
        }
        if let Some(key) = key {
            let ready = now + LEAD;
            let from = self.next_from(rotate).map_or(ready, |from| from.max(ready));
            held.push(Held { key: Arc::new(key), signs_from: Some(from) });
        }
        Self::new(held)
    }

    /// When the next key is to sign.
    fn next_from(&self, rotate: Duration) -> Option<Instant> {
        self.held.last()?.signs_from?.checked_add(rotate)
    }

    /// When the last JWT of the oldest key has ended.
    fn first_end(&self) -> Option<Instant> {
        self.held.get(1)?.signs_from?.checked_add(TAIL)
    }
}

/// Whether the key before this one has no JWTs any more.
fn is_over(successor: &Held, now: Instant) -> bool {
    successor.signs_from.and_then(|from| from.checked_add(TAIL)).is_some_and(|end| end <= now)
}

/// Twice `max-age`: libraries keep a key set for longer than they are told to, up to ten minutes.
const LEAD: Duration = Signer::KEYS_MAX_AGE.saturating_mul(2);
/// Whatever `lifetime` was when a JWT was signed, and some time for clocks that differ.
const TAIL: Duration = Signer::LIFETIME_MAX.saturating_add(Duration::from_secs(300));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;
    use crate::oauth::SignatureAlgorithm;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn key() -> SigningKey {
        SigningKey::generate(SignatureAlgorithm::EdDsa).unwrap()
    }

    fn ids(ring: &Ring) -> Vec<String> {
        let json: serde_json::Value = serde_json::from_slice(&ring.json).unwrap();
        let keys = json["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_jwt_has_ended() {
        let start = time::instant();
        let ring = Ring::first(key(), start);
        let first = ids(&ring)[0].clone();
        assert_eq!(ring.signing(start).unwrap().id(), first, "the first one signs at once");
        assert_eq!(ring.due(HOUR), Some(start + 50 * MINUTE));
        assert!(!ring.wants_key(HOUR, start + 49 * MINUTE));
        assert!(ring.wants_key(HOUR, start + 50 * MINUTE));

        let ring = ring.turned(Some(key()), HOUR, start + 50 * MINUTE);
        let second = ids(&ring)[1].clone();
        assert_eq!(ids(&ring)[0], first);
        let signs = |minutes: u32| ring.signing(start + minutes * MINUTE).unwrap().id().to_owned();
        assert_eq!((signs(50), signs(59)), (first.clone(), first.clone()));
        assert_eq!((signs(60), signs(70)), (second.clone(), second.clone()));
        assert_eq!(ring.due(HOUR), Some(start + 75 * MINUTE), "10 minutes and some for clocks");
        let early = ring.turned(None, HOUR, start + 74 * MINUTE);
        assert_eq!(ids(&early), [first, second.clone()]);
        let ring = ring.turned(None, HOUR, start + 75 * MINUTE);
        assert_eq!(ids(&ring), [second]);
        assert_eq!(ring.due(HOUR), Some(start + 110 * MINUTE));
    }

    #[test]
    fn a_key_that_comes_late_is_published_as_long_before_it_signs() {
        let start = time::instant();
        let late = start + 100 * MINUTE;
        let ring = Ring::first(key(), start).turned(Some(key()), HOUR, late);
        let [first, second] = ids(&ring).try_into().unwrap();
        let signs = |now: Instant| ring.signing(now).unwrap().id().to_owned();
        assert_eq!(signs(late + 9 * MINUTE), first);
        assert_eq!(signs(late + 10 * MINUTE), second);
    }

    #[test]
    fn of_keys_that_were_given_the_first_one_signs_and_nothing_is_due() {
        let start = time::instant();
        let keys = [Arc::new(key()), Arc::new(key())];
        let ring = Ring::given(&keys, start);
        assert_eq!(ids(&ring), keys.each_ref().map(|key| key.id()));
        assert_eq!(ring.signing(start + HOUR).unwrap().id(), keys[0].id());
        assert_eq!((ring.due(HOUR), ring.wants_key(HOUR, start + 9 * HOUR)), (None, false));
    }
}
