//! What is known of a token that is to be revoked, and how it is forgotten.

use std::sync::Arc;

use super::cache::{CacheKey, Judge};
use super::jwt::Form;
use super::server::Server;
use crate::base::time::Now;
use crate::oauth::{RawToken, TokenDigest, VerifiedToken};
use crate::reject::Rejection;

impl Server {
    /// The token as this server's keys prove it: a JWT of its own that is an access token and good
    /// now. Nothing is asked about it, kept, or told of it.
    ///
    /// # Errors
    /// When it may be one, and there are no keys to tell by.
    pub async fn identify(
        self: &Arc<Self>,
        token: RawToken<'_>,
        now: Now,
    ) -> Result<Option<VerifiedToken>, Rejection> {
        let Form::Jwt(Ok(jwt)) = Form::of(token.expose()) else { return Ok(None) };
        if jwt.issuer() != Ok(self.settings().issuer.as_str()) {
            return Ok(None);
        }
        match self.check(&jwt, token.digest(), now).await {
            Ok((token, _)) => Ok(Some(token)),
            Err(outage @ Rejection::VerifierUnavailable(_)) => Err(outage),
            Err(_) => Ok(None),
        }
    }

    /// Forgets every good verdict of this server about a token: it is judged anew. Gives one of
    /// them.
    pub fn forget(&self, digest: TokenDigest, now: Now) -> Option<Arc<VerifiedToken>> {
        let judges = [Judge::Keys, Judge::Asked(self.id()), Judge::Issued(self.id())];
        let known =
            judges.map(|judge| self.caches().forget(&CacheKey { digest, judge }, now.instant));
        known.into_iter().flatten().find(|token| token.server == self.id())
    }

    /// Whether an answer about a token may come that was asked for before now.
    pub fn is_being_asked(&self, digest: &TokenDigest) -> bool {
        self.is_asked_about(digest)
    }
}
