//! A token of the gateway's own, and its time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::answer::BearerToken;
use super::until;
use crate::base::secret::Secret;
use crate::base::time::{Now, UnixSeconds};
use crate::oauth::ScopeSet;

/// What an answer gave, as far as anybody could tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Granted {
    pub(super) scopes: ScopeSet,
    /// The types of those `authorization_details` that were asked for and not granted.
    pub(super) missing_details: Box<[Box<str>]>,
}

/// A token that a client of the gateway's own was given, for one upstream's eyes: its own, or one for
/// a caller's.
#[derive(Debug)]
pub struct OwnToken {
    since: Instant,
    /// What renews it, until it is spent: never kept for longer than the token itself.
    refresh: Mutex<Option<Secret>>,
    bearer: BearerToken,
    granted: Granted,
    life: Duration,
    good_until: Instant,
    expires: UnixSeconds,
}

impl OwnToken {
    /// A token that was asked for at `sent` and lives for `life` from then: the answer says how
    /// long, and nothing says that it travelled fast.
    pub(super) fn new(bearer: BearerToken, granted: Granted, life: Duration, sent: Now) -> Self {
        let (since, good_until) = (sent.instant, until(sent.instant, good_for(life)));
        let refresh = Mutex::default();
        Self { since, refresh, bearer, granted, life, good_until, expires: sent.unix.plus(life) }
    }

    /// With what renews it.
    pub(super) fn with_refresh(self, refresh: Option<Secret>) -> Self {
        Self { refresh: Mutex::new(refresh), ..self }
    }

    /// Used from `now` for `cap` at most, and not past the end of the token that it was given for.
    pub(super) fn within(self, cap: Duration, end: Option<UnixSeconds>, now: Now) -> Self {
        let left = end.map_or(cap, |end| end.since(now.unix).unwrap_or_default().min(cap));
        let good_until = self.good_until.min(until(now.instant, left));
        let expires = end.map_or(self.expires, |end| end.min(self.expires));
        Self { good_until, expires, ..self }
    }

    /// The refresh token, which is spent by that: whoever calls this first has it, and nobody else.
    pub(super) fn take_refresh(&self) -> Option<Secret> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it has a refresh token and three quarters of its use are over.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let use_for = self.good_until.saturating_duration_since(self.since);
        let is_late = use_for * 3 / 4 <= now.instant.saturating_duration_since(self.since);
        is_late && self.refresh.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// When it leaves the cache.
    pub(super) fn good_until(&self) -> Instant {
        self.good_until
    }

    /// The token, for a request that has it as a parameter.
    pub(super) fn secret(&self) -> &Secret {
        self.bearer.secret()
    }

    /// The field that carries it, marked sensitive.
    pub fn authorization(&self) -> &HeaderValue {
        self.bearer.authorization()
    }

    /// The token itself, for whoever asked for it by hand.
    pub fn expose(&self) -> &str {
        self.bearer.raw().expose()
    }

    /// The scopes that it was granted, as far as anybody could tell.
    pub fn granted(&self) -> &ScopeSet {
        &self.granted.scopes
    }

    /// The types of the `authorization_details` that were asked for and not granted (RFC 9396 §7).
    pub fn missing_details(&self) -> &[Box<str>] {
        &self.granted.missing_details
    }

    /// Whether it may be sent. Both clocks must agree: the monotonic one stands still while a
    /// machine is suspended, and the other can be set back.
    pub(super) fn is_good(&self, now: Now) -> bool {
        now.instant < self.good_until && now.unix <= self.expires
    }

    /// The time it has left.
    pub(super) fn left(&self, now: Now) -> Option<Duration> {
        self.is_good(now).then(|| self.expires.since(now.unix)).flatten()
    }

    /// How long after it came its successor is asked for. `random` spreads instances that
    /// started together.
    pub(super) fn renew_after(&self, random: u8) -> Duration {
        let share = 70 + u32::from(random) * 10 / 255;
        (self.life * share / 100).max(RENEW_MIN)
    }
}

/// For how long a token of that life is used: a request that carries it takes its time too.
pub(super) fn good_for(life: Duration) -> Duration {
    life.saturating_sub(MARGIN.min(life / 10))
}

/// A request is at the upstream within this time, or its token may be refused there.
const MARGIN: Duration = Duration::from_secs(2);
/// A server whose tokens live shorter than this is not asked without pause.
pub(super) const RENEW_MIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::super::testing::bearer;
    use super::*;
    use crate::base::time;

    #[test]
    fn a_token_is_good_until_shortly_before_its_end_by_both_clocks() {
        let sent = time::now();
        let life = Duration::from_secs(60);
        let token = OwnToken::new(bearer("t"), Granted::default(), life, sent);
        let at = |instant_s, unix_s| {
            let [instant, unix] = [instant_s, unix_s].map(Duration::from_secs);
            token.is_good(Now { instant: sent.instant + instant, unix: sent.unix.plus(unix) })
        };
        assert!(at(57, 57));
        assert!(!at(58, 58));
        assert!(!at(1, 61), "the machine slept");
        assert!(at(1, 0));
        assert_eq!(token.left(sent), Some(life));
    }

    #[test]
    fn a_short_life_keeps_most_of_itself() {
        assert_eq!(good_for(Duration::from_secs(1)), Duration::from_millis(900));
        assert_eq!(good_for(Duration::from_secs(3600)), Duration::from_secs(3598));
    }

    #[test]
    fn renewal_precedes_the_end_and_is_spread() {
        let renew = |seconds, random| {
            let life = Duration::from_secs(seconds);
            let token = OwnToken::new(bearer("t"), Granted::default(), life, time::now());
            token.renew_after(random).as_millis()
        };
        assert_eq!((renew(100, 0), renew(100, 255)), (70_000, 80_000));
        assert_eq!(renew(86_400, 0), 60_480_000);
        assert_eq!(renew(1, 0), 700);
    }
}
