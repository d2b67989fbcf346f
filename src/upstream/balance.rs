//! Which endpoint a request goes to: the less busy one of two picked at random.
//!
//! Why two: comparing all of them sends every worker to the same one at once; one alone knows
//! nothing of a slow endpoint.

use tokio::time::Instant;

/// What is known about an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Requests under way there.
    pub(super) in_flight: usize,
    /// It refused a connection, and is left alone until then.
    pub(super) down_until: Option<Instant>,
}

impl Load {
    fn is_down(&self, now: Instant) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }
}

/// Picks one of `loads`, with `random` as the dice. Where all are down, one of them is tried all
/// the same: a refusal a moment ago is no reason to refuse now.
pub(super) fn choose(loads: &[Load], random: u64, now: Instant) -> usize {
    let count = loads.len() as u64;
    if count < 2 {
        return 0;
    }
    let first = random % count;
    // Any but the first.
    let second = (first + 1 + (random >> 32) % (count - 1)) % count;
    let (first, second) = (first as usize, second as usize);
    match (usable(loads, first, now), usable(loads, second, now)) {
        (Some(one), Some(other)) if other < one => second,
        (Some(_), _) => first,
        (None, Some(_)) => second,
        (None, None) => next(loads, &[], now).unwrap_or(first),
    }
}

/// The first endpoint that is not down and was not `tried`.
pub(super) fn next(loads: &[Load], tried: &[usize], now: Instant) -> Option<usize> {
    (0..loads.len()).find(|at| !tried.contains(at) && usable(loads, *at, now).is_some())
}

/// The next step of a sequence that visits everything (splitmix64).
///
/// Why not `aws_lc_rs::rand`: nobody gains anything by guessing which of our endpoints comes next,
/// and this costs a nanosecond per request.
pub(super) const fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn usable(loads: &[Load], at: usize, now: Instant) -> Option<usize> {
    loads.get(at).filter(|load| !load.is_down(now)).map(|load| load.in_flight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn loads(in_flight: &[usize]) -> Vec<Load> {
        in_flight.iter().map(|&in_flight| Load { in_flight, down_until: None }).collect()
    }

    #[tokio::test]
    async fn the_less_busy_of_two_is_taken_and_one_that_is_down_is_not() {
        let now = Instant::now();
        let mut state = 1;
        for _ in 0..100 {
            assert_eq!(choose(&loads(&[3]), dice(&mut state), now), 0);
            assert_eq!(choose(&loads(&[3, 2]), dice(&mut state), now), 1);
            let mut three = loads(&[9, 9, 9]);
            three[0].down_until = Some(now + Duration::from_secs(1));
            three[2].down_until = Some(now + Duration::from_secs(1));
            assert_eq!(choose(&three, dice(&mut state), now), 1);
            assert_ne!(choose(&three, dice(&mut state), now + Duration::from_secs(2)), 3);
            three[1].down_until = three[0].down_until;
            assert!(choose(&three, dice(&mut state), now) < 3, "all down: one is tried");
        }
        assert_eq!(next(&loads(&[1, 1]), &[0], now), Some(1));
        assert_eq!(next(&loads(&[1, 1]), &[0, 1], now), None);
    }

    #[tokio::test]
    async fn equal_endpoints_get_equal_shares() {
        let mut state = 7;
        let mut seen = [0; 4];
        for _ in 0..4000 {
            seen[choose(&loads(&[0; 4]), dice(&mut state), Instant::now())] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
