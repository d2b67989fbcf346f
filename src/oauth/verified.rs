//! What is known of a token once somebody has vouched for it.

use super::{Audience, Claims, ClientId, Issuer, Principal, ScopeSet, TokenDigest};
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first second at which it is good: `nbf` less the skew.
    pub from: Option<UnixSeconds>,
    /// The first second at which it is bad: `exp` plus the skew.
    pub until: Option<UnixSeconds>,
}

impl Validity {
    /// Whether the token is past its time.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether the token's time is still to come.
    pub fn is_ahead(&self, now: UnixSeconds) -> bool {
        self.from.is_some_and(|from| now < from)
    }
}

/// Whom a token is meant for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Audiences {
    /// Those that its audience claim names; with an empty list, nobody.
    Named(Box<[Audience]>),
    /// Us: its authorization server named nobody, and the configuration says that its answers to
    /// us speak of tokens for us (`require_audience = false`), or it gave us the token itself.
    MeantForUs,
}

/// A verdict about a token alone: what it is and says, never what a route makes of it.
///
/// It is what caches keep, so it holds only those claims that some route asks for.
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
    /// `sub`: the user, or for client credentials often the client itself.
    pub subject: Option<Box<str>>,
    /// `client_id`, or what stands for it (`azp`).
    pub client_id: Option<ClientId>,
    /// Whom the token speaks for by what it says itself. A client that sent its secret is one
    /// whatever that is.
    pub principal: Principal,
    /// What the token carries, which can be less than what was asked for.
    pub scopes: ScopeSet,
    /// Whom it is meant for.
    pub audiences: Audiences,
    /// When it may be used.
    pub validity: Validity,
    /// Those of its other claims that a route's rules or headers name.
    pub claims: Claims,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7519_4_1_4_a_token_is_over_at_the_second_it_expires() {
        let at = |second| Some(UnixSeconds::new(second));
        let validity = Validity { from: at(10), until: at(20) };
        for (now, ahead, over) in
            [(9, true, false), (10, false, false), (19, false, false), (20, false, true)]
        {
            let now = UnixSeconds::new(now);
            assert_eq!((validity.is_ahead(now), validity.is_over(now)), (ahead, over), "{now}");
        }
    }
}
