//! What is known of a token that is to be revoked, and how it is forgotten.

use std::sync::Arc;

use super::cache::{CacheKey, Judge};
use super::jwt::Form;
use super::server::Server;
use crate::base::time::Now;
use crate::oauth::{RawToken, TokenDigest, VerifiedToken};
use crate::reject::{InvalidToken, OutageCause, Rejection};

impl Server {
    /// The token as this server's keys prove it: a JWT of its own that is an access token and good
    /// now or later. Nothing is asked about it, kept, or told of it.
    ///
    /// # Errors
    /// When it may be one, and there is no key to tell by: one that is fetched later may prove it.
    pub async fn identify(
        self: &Arc<Self>,
        token: RawToken<'_>,
        now: Now,
    ) -> Result<Option<VerifiedToken>, Rejection> {
        let Form::Jwt(Ok(jwt)) = Form::of(token.expose()) else { return Ok(None) };
        if jwt.issuer() != Ok(self.settings().issuer.as_str()) {
            return Ok(None);
        }
        // One that counts from later on is to be revoked as well.
        let begins = jwt.claims.numeric_date("nbf").ok().flatten();
        let unix = begins.map_or(now.unix, |begins| begins.max(now.unix));
        match self.check(&jwt, token.digest(), Now { unix, ..now }).await {
            Ok((token, _)) => Ok(Some(token)),
            Err(outage @ Rejection::VerifierUnavailable(_)) => Err(outage),
            Err(Rejection::TokenInvalid(InvalidToken::KeyUnknown)) => {
                Err(self.outage(OutageCause::Unusable, None))
            }
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

    /// What answers say of a token that were asked for before now and come after: once it returns
    /// none of them is kept any more. Gives a good one, if there is one.
    ///
    /// # Errors
    /// When one does not come in time: it would be kept then.
    pub async fn answer_under_way(
        &self,
        digest: &TokenDigest,
    ) -> Result<Option<Arc<VerifiedToken>>, Rejection> {
        let mut good = None;
        for flight in self.flights_about(digest) {
            good = self.landing(flight).await?.or(good);
        }
        Ok(good)
    }
}
