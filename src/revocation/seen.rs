//! Logout tokens that were received: each counts once (OpenID Connect Back-Channel Logout §2.6).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::base::time::UnixSeconds;
use crate::oauth::Mark;

/// Those of late, until they end by themselves.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<Mark, UnixSeconds>>);

impl Seen {
    /// Whether it is the first time that this one comes. It is good until `until`.
    ///
    /// There is a bound to what is remembered. Past it the oldest are forgotten first: to receive
    /// one of them again is to hear of the same logout again, and changes nothing.
    pub(super) fn is_first(&self, id: Mark, until: UnixSeconds, now: UnixSeconds) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(&id).is_some_and(|until| now < *until) {
            return false;
        }
        if SEEN_MAX <= seen.len() {
            seen.retain(|_, until| now < *until);
        }
        if SEEN_MAX <= seen.len()
            && let Some(first) = seen.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id)
        {
            seen.remove(&first);
        }
        seen.insert(id, until);
        true
    }

    /// What was received came to nothing: it may come again.
    pub(super) fn forget(&self, id: &Mark) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Logouts within the two minutes for which such a token is good, at a large site.
const SEEN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::MarkKind;

    fn id(number: usize) -> Mark {
        Mark::of(MarkKind::Jti, "https://as.test", &number.to_string())
    }

    fn at(second: i64) -> UnixSeconds {
        UnixSeconds::new(second)
    }

    #[test]
    fn bcl_2_6_a_token_counts_once_until_it_ends() {
        let seen = Seen::default();
        assert!(seen.is_first(id(1), at(10), at(0)));
        assert!(!seen.is_first(id(1), at(10), at(9)));
        assert!(seen.is_first(id(2), at(10), at(9)), "another one");
        assert!(
            seen.is_first(id(1), at(20), at(10)),
            "its time is over, which is checked elsewhere"
        );
        seen.forget(&id(1));
        assert!(seen.is_first(id(1), at(20), at(10)));
    }

    #[test]
    fn invariant_9_what_is_remembered_has_a_bound() {
        let seen = Seen::default();
        for number in 0..SEEN_MAX + 10 {
            assert!(seen.is_first(id(number), at(1_000 + number as i64), at(0)));
        }
        assert_eq!(seen.0.lock().unwrap().len(), SEEN_MAX);
        assert!(!seen.is_first(id(SEEN_MAX), at(9_999_999), at(0)), "the last are remembered");
    }
}
