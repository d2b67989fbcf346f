//! Which member a request goes to. Pure.
//!
//! * `p2c`: the less busy one of two picked at random. Why two: comparing all of them sends every
//!   worker to the same one at once; one alone knows nothing of a slow member.
//! * `round_robin`: one after the other, each worker by itself.
//! * `hash`: rendezvous hashing. Each key ranks all members, and the first one is taken: when a
//!   member goes, its keys alone move, each to its own second choice.
//!
//! A member that is starting slowly takes part with a chance that grows up to [`FULL`]; by hash,
//! with a share of its keys that grows.

/// A member that requests may go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    /// Its slot in the worker's pool.
    pub(super) slot: usize,
    /// What hashing knows it by: the same in every worker, process and run.
    pub(super) id: u64,
    /// Its chance to take part, up to [`FULL`].
    pub(super) weight: u8,
}

/// The weight of a member that takes part always.
pub(super) const FULL: u8 = u8::MAX;

/// The less busy of two; `None` if there is none at all.
pub(super) fn p2c(
    ring: &[Candidate],
    in_flight: impl Fn(usize) -> usize,
    random: u64,
) -> Option<usize> {
    let count = ring.len() as u64;
    if count < 2 {
        return ring.first().map(|one| one.slot);
    }
    let first = random % count;
    // Any but the first.
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let (first, second) = (ring.get(first as usize)?, ring.get(second as usize)?);
    let [.., for_first, for_second] = mixed(random).to_be_bytes();
    match (takes_part(first, for_first), takes_part(second, for_second)) {
        (true, false) => Some(first.slot),
        (false, true) => Some(second.slot),
        _ if in_flight(second.slot) < in_flight(first.slot) => Some(second.slot),
        _ => Some(first.slot),
    }
}

/// The next one in turn. One that starts slowly is skipped, but never all of them.
pub(super) fn round_robin(ring: &[Candidate], turn: &mut usize, random: u64) -> Option<usize> {
    let bytes = random.to_be_bytes();
    for byte in bytes.iter().cycle().take(ring.len()) {
        let candidate = next(ring, turn)?;
        if takes_part(candidate, *byte) {
            return Some(candidate.slot);
        }
    }
    next(ring, turn).map(|candidate| candidate.slot)
}

fn next<'a>(ring: &'a [Candidate], turn: &mut usize) -> Option<&'a Candidate> {
    let at = turn.checked_rem(ring.len())?;
    *turn = at + 1;
    ring.get(at)
}

/// The member that a key ranks first, apart from those whose slot was `tried`.
pub(super) fn hash(ring: &[Candidate], key: u64, tried: &[usize]) -> Option<usize> {
    let rank = |candidate: &&Candidate| {
        let score = mixed(key ^ candidate.id);
        let [share, ..] = mixed(score).to_be_bytes();
        (takes_part(candidate, share), score)
    };
    let left = ring.iter().filter(|one| !tried.contains(&one.slot));
    left.max_by_key(rank).map(|one| one.slot)
}

const fn takes_part(candidate: &Candidate, chance: u8) -> bool {
    candidate.weight == FULL || chance < candidate.weight
}

/// A number for a name or a key: FNV-1a, spread over all bits. Not secret: who chooses keys can
/// choose them equal, too.
pub(super) fn number_of(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    mixed(bytes.iter().fold(0xCBF2_9CE4_8422_2325, fold))
}

/// The next step of a sequence that visits everything (splitmix64).
///
/// Why not `aws_lc_rs::rand`: nobody gains anything by guessing which of our members comes next,
/// and this costs a nanosecond per request.
pub(super) const fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed(*state)
}

const fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(weights: &[u8]) -> Vec<Candidate> {
        let candidate = |(slot, &weight): (usize, &u8)| Candidate {
            slot,
            id: number_of(&[b'm', slot as u8]),
            weight,
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    /// How often each of `count` was taken in 4000 turns.
    fn shares(count: usize, mut take: impl FnMut(u64) -> Option<usize>) -> Vec<usize> {
        let (mut state, mut seen) = (7, vec![0; count]);
        for _ in 0..4000 {
            seen[take(dice(&mut state)).unwrap()] += 1;
        }
        seen
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let mut state = 1;
        let busy = |loads: &'static [usize]| move |slot: usize| loads[slot];
        for _ in 0..100 {
            assert_eq!(p2c(&ring(&[FULL]), busy(&[3]), dice(&mut state)), Some(0));
            assert_eq!(p2c(&ring(&[FULL; 2]), busy(&[3, 2]), dice(&mut state)), Some(1));
            assert_ne!(p2c(&ring(&[FULL; 3]), busy(&[9, 1, 1]), dice(&mut state)), Some(0));
        }
        assert_eq!(p2c(&[], |_| 0, 5), None);
    }

    #[test]
    fn equal_members_get_equal_shares_and_one_that_starts_a_smaller_one() {
        let even = |seen: &[usize]| seen.iter().all(|count| (800..1200).contains(count));
        let four = ring(&[FULL; 4]);
        let seen = shares(4, |random| p2c(&four, |_| 0, random));
        assert!(even(&seen), "{seen:?}");
        let mut turn = 0;
        let seen = shares(4, |random| round_robin(&four, &mut turn, random));
        assert_eq!(seen, [1000; 4]);
        let seen = shares(4, |random| hash(&four, random, &[]));
        assert!(even(&seen), "{seen:?}");

        let starting = ring(&[FULL, FULL, FULL, FULL / 4]);
        let small = |seen: &[usize]| (150..400).contains(&seen[3]);
        let seen = shares(4, |random| p2c(&starting, |_| 0, random));
        assert!(small(&seen), "{seen:?}");
        let seen = shares(4, |random| round_robin(&starting, &mut turn, random));
        assert!(small(&seen), "{seen:?}");
        let seen = shares(4, |random| hash(&starting, random, &[]));
        assert!(small(&seen), "{seen:?}");
        let both = ring(&[0, 0]);
        let seen = shares(2, |random| p2c(&both, |_| 0, random));
        assert!(seen.iter().all(|count| 1500 < *count), "where all start, all serve: {seen:?}");
        assert!(round_robin(&both, &mut turn, 3).is_some() && hash(&both, 3, &[]).is_some());
    }

    #[test]
    fn a_member_that_goes_moves_its_own_keys_and_no_others() {
        let all = ring(&[FULL; 5]);
        let left: Vec<_> = all.iter().filter(|one| one.slot != 2).copied().collect();
        let mut moved = [0; 5];
        for key in 0..1000_u64 {
            let key = number_of(&key.to_be_bytes());
            let before = hash(&all, key, &[]).unwrap();
            let after = hash(&left, key, &[]).unwrap();
            assert!(before == after || before == 2, "{key}: {before} to {after}");
            assert_eq!(hash(&all, key, &[before]), hash(&all, key, &[before]));
            if before == 2 {
                moved[after] += 1;
                assert_eq!(hash(&all, key, &[2]), Some(after), "the second choice is the same");
            }
        }
        assert!(moved.iter().filter(|count| 10 < **count).count() == 4, "spread: {moved:?}");
    }

    #[test]
    fn numbers_are_the_same_in_every_run() {
        assert_eq!(number_of(b"127.0.0.1:9000"), number_of(b"127.0.0.1:9000"));
        assert_eq!(number_of(b""), mixed(0xCBF2_9CE4_8422_2325));
        assert_ne!(number_of(b"a"), number_of(b"b"));
    }
}
