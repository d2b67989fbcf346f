//! How often somebody has guessed a key and secret wrong (RFC 6749 §10.10).
//!
//! What is counted are different pairs that the authorization server called wrong: a program that
//! sends the same old secret on and on guesses nothing. Counts are by address, and by address and
//! key, so that nobody can lock out a client from elsewhere by guessing its secret, nor a neighbour
//! at the same address by guessing one's own. A pair that is known to be right is let in whatever
//! the counts say.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::base::digest::Digest;
use crate::oauth::ClientId;

/// The counts of one authorization server. Each ends a [`WINDOW`] after its first wrong pair.
pub struct Guesses {
    counts: Cache<Guesser, Arc<Count>>,
}

/// Who guesses: everybody at an address, or one key there.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Guesser {
    network: IpAddr,
    key: Option<Digest>,
}

struct Count {
    since: Instant,
    wrong: Mutex<Wrong>,
}

#[derive(Default)]
struct Wrong {
    pairs: u32,
    /// Of a key, the pairs counted.
    seen: Vec<Digest>,
}

impl Guesses {
    /// None yet.
    pub fn new() -> Self {
        Self { counts: Cache::builder().max_capacity(GUESSERS_MAX).time_to_live(WINDOW).build() }
    }

    /// For how long nothing new is asked for this key from there, if too much was wrong.
    pub fn wait(&self, from: IpAddr, key: &ClientId, now: Instant) -> Option<Duration> {
        let bounds = [(Guesser::at(from), WRONG_MAX), (Guesser::of(from, key), WRONG_OF_A_KEY_MAX)];
        let waits = bounds.into_iter().filter_map(|(guesser, most)| {
            let count = self.counts.get(&guesser)?;
            let left = (count.since + WINDOW).checked_duration_since(now)?;
            (most <= count.wrong().pairs).then_some(left)
        });
        waits.max()
    }

    /// One was wrong: `pair` is a digest of the key and secret.
    pub fn count(&self, from: IpAddr, key: &ClientId, pair: Digest, now: Instant) {
        let of_key = self.entry(Guesser::of(from, key), now);
        let mut wrong = of_key.wrong();
        if wrong.seen.contains(&pair) {
            return;
        }
        wrong.pairs += 1;
        if wrong.pairs <= WRONG_OF_A_KEY_MAX {
            wrong.seen.push(pair);
        }
        drop(wrong);
        self.entry(Guesser::at(from), now).wrong().pairs += 1;
    }

    fn entry(&self, guesser: Guesser, now: Instant) -> Arc<Count> {
        self.counts.get_with(guesser, || Arc::new(Count { since: now, wrong: Mutex::default() }))
    }
}

impl Default for Guesses {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Guesses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guesses").finish_non_exhaustive()
    }
}

impl Count {
    fn wrong(&self) -> std::sync::MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guesser {
    fn at(address: IpAddr) -> Self {
        Self { network: network(address), key: None }
    }

    fn of(address: IpAddr, key: &ClientId) -> Self {
        let key = Digest::of_parts(&[key.as_str().as_bytes()]);
        Self { key: Some(key), ..Self::at(address) }
    }
}

/// Whoever has one IPv6 address has the 2^64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How long a wrong pair counts at most.
const WINDOW: Duration = Duration::from_secs(60);
/// Wrong pairs from one address in that time: many clients may be behind it.
const WRONG_MAX: u32 = 100;
/// Wrong secrets of one key from there.
const WRONG_OF_A_KEY_MAX: u32 = 10;
/// Counts kept, at most half a KiB each. Those used least go first: a flood from everywhere is no
/// guess from one place.
const GUESSERS_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pair(serial: u32) -> Digest {
        Digest::of_parts(&[&serial.to_be_bytes()])
    }

    #[test]
    fn rfc6749_10_10_a_key_is_guessed_so_often_from_one_place_and_no_other_is_hindered() {
        let (guesses, now) = (Guesses::new(), time::now().instant);
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        let (key, other) = (ClientId::new("key"), ClientId::new("other"));
        for serial in 0..WRONG_OF_A_KEY_MAX {
            for _ in 0..3 {
                assert_eq!(guesses.wait(here, &key, now), None, "the same one is no other guess");
                guesses.count(here, &key, pair(serial.saturating_sub(1)), now);
            }
            guesses.count(here, &key, pair(serial), now);
        }
        assert_eq!(guesses.wait(here, &key, now), Some(WINDOW));
        assert_eq!(guesses.wait(here, &key, now + WINDOW / 2), Some(WINDOW / 2));
        assert_eq!(guesses.wait(here, &other, now), None, "a neighbour");
        assert_eq!(guesses.wait(there, &key, now), None, "the client itself, elsewhere");
    }

    #[test]
    fn rfc6749_10_10_an_address_guesses_so_often_whatever_the_key() {
        let (guesses, now) = (Guesses::new(), time::now().instant);
        let key = |serial: u32| ClientId::new(serial.to_string());
        for serial in 0..WRONG_MAX {
            assert_eq!(guesses.wait(address("2001:db8::1"), &key(serial), now), None);
            guesses.count(address("2001:db8::1"), &key(serial), pair(serial), now);
        }
        for near in ["2001:db8::1", "2001:db8::ffff:0:0:2"] {
            assert_eq!(guesses.wait(address(near), &key(WRONG_MAX), now), Some(WINDOW), "{near}");
        }
        assert_eq!(guesses.wait(address("2001:db8:0:1::1"), &key(0), now), None);
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
