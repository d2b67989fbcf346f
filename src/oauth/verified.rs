//! What is known of a token once somebody has vouched for it.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Audience, Confirmation, HeldScopes, Issuer, KeptClaims, Principal, TokenDigest, TokenTexts,
};
use crate::base::time::UnixSeconds;

/// One authorization server under one set of settings. Changed settings make another id, so that
/// what was learnt under the old ones is never used under the new.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ServerId(u32);

impl ServerId {
    /// Numbers are given out by whoever keeps the servers, and never twice in a process.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// How a token was vouched for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TokenKind {
    /// A JWT (RFC 9068) whose signature and claims were checked here.
    Jwt,
    /// A token that its authorization server calls active (RFC 7662).
    Opaque,
    /// A token that the authorization server issued for a caller's key and secret and that nobody
    /// but the token answer itself describes (RFC 6749 §5.1).
    Issued,
}

/// The time in which a token may be used, the clock skew already in it.
///
/// Two numbers, for there may be a million of them: the first and the last second there are stand
/// for "no such bound", and a bound that lies there is one second nearer, some 10^11 years off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    from: UnixSeconds,
    until: UnixSeconds,
}

impl Validity {
    /// `from`: the first second at which it is good: `nbf` less the skew. `until`: the first
    /// second at which it is bad: `exp` plus the skew.
    pub fn new(from: Option<UnixSeconds>, until: Option<UnixSeconds>) -> Self {
        let second = Duration::from_secs(1);
        Self {
            from: from.map_or(ALWAYS, |from| from.max(ALWAYS.plus(second))),
            until: until.map_or(NEVER, |until| until.min(NEVER.minus(second))),
        }
    }

    /// The first second at which it is good.
    pub fn from(&self) -> Option<UnixSeconds> {
        (self.from != ALWAYS).then_some(self.from)
    }

    /// The first second at which it is bad.
    pub fn until(&self) -> Option<UnixSeconds> {
        (self.until != NEVER).then_some(self.until)
    }

    /// The time in which both say that it may be used.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Whether the token is past its time.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.until().is_some_and(|until| until <= now)
    }

    /// Whether the token's time is still to come.
    pub fn is_ahead(&self, now: UnixSeconds) -> bool {
        self.from().is_some_and(|from| now < from)
    }
}

/// Whom a token is meant for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Audiences {
    /// Those that its audience claim names; with an empty list, nobody. The list is that of the
    /// configuration where both are equal.
    Named(Arc<[Audience]>),
    /// Us: its authorization server named nobody, and the configuration says that its answers to
    /// us speak of tokens for us (`require_audience = false`), or it gave us the token itself.
    MeantForUs,
}

/// A verdict about a token alone: what it is and says, never what a route makes of it.
///
/// It is what caches keep, so it holds only those claims that some route asks for, and takes as
/// little room as it can: 112 bytes, and one allocation for its texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedToken {
    /// The token's only name in logs and caches.
    pub digest: TokenDigest,
    /// How it was vouched for.
    pub kind: TokenKind,
    /// By which authorization server, under which settings.
    pub server: ServerId,
    /// That server's issuer identifier.
    pub issuer: Issuer,
    /// `sub`: the user, or for client credentials often the client itself. `client_id`, or what
    /// stands for it (`azp`). And the scopes that the token carries, which can be less than what
    /// was asked for.
    pub texts: TokenTexts,
    /// Whom the token speaks for by what it says itself. A client that sent its secret is one
    /// whatever that is.
    pub principal: Principal,
    /// Whom it is meant for.
    pub audiences: Audiences,
    /// When it may be used.
    pub validity: Validity,
    /// Those of its other claims that a route's rules or headers name, and what it is bound to.
    pub claims: KeptClaims,
}

impl VerifiedToken {
    /// Its `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.texts.subject()
    }

    /// Its `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.texts.client_id()
    }

    /// The key and certificate that whoever sends it must prove to have; absent: none.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.claims.confirmation()
    }

    /// Its scopes.
    pub fn scopes(&self) -> HeldScopes<'_> {
        self.texts.scopes()
    }
}

const ALWAYS: UnixSeconds = UnixSeconds::new(i64::MIN);
const NEVER: UnixSeconds = UnixSeconds::new(i64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7519_4_1_4_a_token_is_over_at_the_second_it_expires() {
        let at = |second| Some(UnixSeconds::new(second));
        let validity = Validity::new(at(10), at(20));
        for (now, ahead, over) in
            [(9, true, false), (10, false, false), (19, false, false), (20, false, true)]
        {
            let now = UnixSeconds::new(now);
            assert_eq!((validity.is_ahead(now), validity.is_over(now)), (ahead, over), "{now}");
        }
    }

    #[test]
    fn a_bound_is_there_or_not_wherever_it_lies() {
        let at = |second| Some(UnixSeconds::new(second));
        for bound in [None, at(-1), at(0), at(7)] {
            let validity = Validity::new(bound, bound);
            assert_eq!((validity.from(), validity.until()), (bound, bound));
        }
        for end in [i64::MIN, i64::MAX] {
            let validity = Validity::new(at(end), at(end));
            assert!(validity.from().is_some() && validity.until().is_some(), "{end}");
        }
        let now = UnixSeconds::new(i64::MAX);
        assert!(!Validity::new(None, None).is_over(now));
        assert!(!Validity::new(None, None).is_ahead(UnixSeconds::new(i64::MIN)));
    }

    #[test]
    fn the_time_of_two_is_what_both_allow() {
        let at = |second| Some(UnixSeconds::new(second));
        #[rustfmt::skip]
        let cases = [
            (None,   None,   None,   None,   None,   None),
            (at(1),  at(9),  None,   None,   at(1),  at(9)),
            (None,   None,   at(1),  at(9),  at(1),  at(9)),
            (at(1),  at(9),  at(2),  at(8),  at(2),  at(8)),
            (at(2),  at(8),  at(1),  at(9),  at(2),  at(8)),
        ];
        for (from, until, other_from, other_until, first, last) in cases {
            let both = Validity::new(from, until).and(Validity::new(other_from, other_until));
            assert_eq!(both, Validity::new(first, last));
        }
    }
}
