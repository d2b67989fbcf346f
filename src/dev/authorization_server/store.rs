//! What the server must remember: opaque tokens, and which JWTs were revoked.

use std::collections::HashMap;

use super::answer::OAuthError;
use super::mint::TokenFacts;
use crate::base::time::UnixSeconds;
use crate::oauth::{RawToken, TokenDigest};

/// Opaque tokens by digest, and the `jti` of revoked JWTs; both bounded. Nothing that is still
/// alive is ever dropped to make room: a revocation that is forgotten would open a door again.
#[derive(Debug, Default)]
pub(super) struct Store {
    opaque: HashMap<TokenDigest, TokenFacts>,
    revoked: HashMap<String, UnixSeconds>,
}

impl Store {
    /// Remembers an opaque token.
    pub(super) fn keep(
        &mut self,
        token: RawToken<'_>,
        facts: TokenFacts,
        now: UnixSeconds,
    ) -> Result<(), OAuthError> {
        if self.opaque.len() >= ENTRIES {
            self.opaque.retain(|_, facts| now < facts.expires);
        }
        if self.opaque.len() >= ENTRIES {
            return Err(OAuthError::Full);
        }
        self.opaque.insert(token.digest(), facts);
        Ok(())
    }

    /// What an opaque token says, if there is such a token.
    pub(super) fn find(&self, token: RawToken<'_>) -> Option<&TokenFacts> {
        self.opaque.get(&token.digest())
    }

    /// Forgets an opaque token.
    pub(super) fn remove(&mut self, token: RawToken<'_>) {
        self.opaque.remove(&token.digest());
    }

    /// Remembers until `expires` that the JWT of this `jti` counts no longer.
    pub(super) fn revoke(
        &mut self,
        jti: String,
        expires: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<(), OAuthError> {
        if self.revoked.len() >= ENTRIES {
            self.revoked.retain(|_, expires| now < *expires);
        }
        if self.revoked.len() >= ENTRIES {
            return Err(OAuthError::Full);
        }
        self.revoked.insert(jti, expires);
        Ok(())
    }

    /// Whether the JWT of this `jti` was revoked.
    pub(super) fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.contains_key(jti)
    }
}

/// Entries of each kind: some tens of megabytes at most.
const ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_drops_what_has_expired_and_else_says_no() {
        let mut store = Store::default();
        let late = UnixSeconds::new(100);
        for number in 0..ENTRIES {
            store.revoke(number.to_string(), late, UnixSeconds::new(0)).unwrap();
        }
        let one_more = |store: &mut Store, now| store.revoke("more".into(), late, now);
        assert_eq!(one_more(&mut store, UnixSeconds::new(99)), Err(OAuthError::Full));
        assert!(store.is_revoked("0"), "a revocation that still counts is not forgotten");
        assert_eq!(one_more(&mut store, late), Ok(()));
    }
}
