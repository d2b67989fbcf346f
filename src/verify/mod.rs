//! Tokens in, verdicts out: JWTs (RFC 9068) by the keys of their issuer, opaque tokens by asking
//! (RFC 7662).
//!
//! What needs no clock and no network is pure and lies in [`jwt`] (form), [`access_token`]
//! (claims), [`jwk`] and [`signature`] (keys), and the judging half of [`introspection`]
//! and [`signed_answer`]. Around
//! it: [`server`] is one authorization server with its [`refresh`] and its questions under way
//! ([`flight`]), [`judge`] what it makes of a token, [`cache`] what is remembered, and [`proof`] what
//! whoever sends a bound token must show besides.
//!
//! # What holds
//! * `iss` picks the server before any key is touched, and no claim is acted on before the
//!   signature holds.
//! * A JWT is never introspected in place of its signature, nor an opaque token guessed at:
//!   neither kind falls back to the other.
//! * A cached verdict is held against `exp`, `nbf`, its key and its server's settings on each hit.
//! * An authorization server that cannot be asked is 503: never a verdict, and never cached.
//! * A verdict is about the token alone. What a route asks of it is `policy`'s, each time anew.

mod access_token;
mod base64url;
mod cache;
mod discovery;
mod fetch;
mod flight;
mod identify;
mod introspection;
mod judge;
mod jwk;
mod jwks;
mod jwt;
mod logout;
mod proof;
mod reading;
mod recent;
mod refresh;
mod server;
mod signature;
mod signed_answer;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verdicts;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/jwt.rs"]
pub mod fuzz_jwt;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/claims.rs"]
pub mod fuzz_claims;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/introspection.rs"]
pub mod fuzz_introspection;

use std::sync::Arc;

use crate::base::time::Now;
use crate::oauth::{RawToken, ServerId, TokenDigest, VerifiedToken};
use crate::reject::{InvalidToken, Rejection};
use crate::telemetry::CacheKind;

use cache::{CacheKey, GoodVerdict, Judge, Proof};
use jwt::{Form, UnverifiedJwt};

pub use cache::{CacheStatus, CachesStatus, TokenCaches};
pub use discovery::metadata_addresses;
pub use judge::IssuedFacts;
pub use logout::{Logout, LogoutFault};
pub use proof::{ProofMemory, Proven, Purpose, Shown};
pub use reading::{Check, JwtReading, Reading, read};
pub use server::{Server, Shared};
pub use signed_answer::ACCEPT as SIGNED_ANSWER;
pub use status::{KeyStatus, ServerStatus};

/// Who judges the tokens of one route. Made with the snapshot; the servers outlive it.
#[derive(Debug)]
pub struct Verifier {
    servers: Box<[Arc<Server>]>,
    opaque: Option<Arc<Server>>,
    caches: Arc<TokenCaches>,
}

/// What the caches know of a token.
#[derive(Clone, Debug)]
pub enum Recall {
    /// It is good.
    Hit(Arc<VerifiedToken>),
    /// It is bad.
    Refused(Rejection),
    /// Nothing that counts now. Its digest, for whoever judges it next.
    Miss(TokenDigest),
}

impl Verifier {
    /// Trusts these servers for JWTs, each for its own issuer, and asks `opaque` about all else.
    pub fn new(
        servers: Vec<Arc<Server>>,
        opaque: Option<Arc<Server>>,
        caches: Arc<TokenCaches>,
    ) -> Self {
        Self { servers: servers.into(), opaque, caches }
    }

    /// What is known of a token already. On the hot path: one SHA-256, one cache look-up, one
    /// atomic load; no lock and no allocation.
    pub fn recall(&self, token: RawToken<'_>, now: Now) -> Recall {
        self.recall_digest(token, token.digest(), now)
    }

    /// Judges a token: by the caches, else by keys or by asking.
    ///
    /// # Errors
    /// 401 where the token is bad, 503 where nobody could say.
    pub async fn verify(
        &self,
        token: RawToken<'_>,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        match self.recall(token, now) {
            Recall::Hit(known) => Ok(known),
            Recall::Refused(rejection) => Err(rejection),
            Recall::Miss(digest) => self.judge(token, digest, now).await,
        }
    }

    /// Judges a token that [`recall`](Self::recall) knew nothing of: by keys or by asking.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn judge(
        &self,
        token: RawToken<'_>,
        digest: TokenDigest,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        if let Form::Jwt(read) = Form::of(token.expose()) {
            let jwt = read.map_err(Rejection::TokenInvalid)?;
            let server = self.issuer_of(&jwt).map_err(Rejection::TokenInvalid)?;
            return server.judge_jwt(jwt, token, digest, now).await;
        }
        match &self.opaque {
            Some(server) => server.judge_opaque(token, digest, now).await,
            None => Err(Rejection::TokenInvalid(InvalidToken::Unjudgeable)),
        }
    }

    /// The server of that number, if this route trusts it.
    pub fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.id() == id)
    }

    fn recall_digest(&self, token: RawToken<'_>, digest: TokenDigest, now: Now) -> Recall {
        recall(&self.servers, self.opaque.as_ref(), &self.caches, token, digest, now)
    }

    /// RFC 8725 §3.8: exact text, and before any key is touched.
    fn issuer_of(&self, jwt: &UnverifiedJwt<'_>) -> Result<&Arc<Server>, InvalidToken> {
        let issuer = jwt.issuer()?;
        let is_it = |server: &&Arc<Server>| server.settings().issuer.as_str() == issuer;
        self.servers.iter().find(is_it).ok_or(InvalidToken::Issuer)
    }
}

/// What the caches know of a token, for whoever trusts these servers.
fn recall(
    servers: &[Arc<Server>],
    opaque: Option<&Arc<Server>>,
    caches: &TokenCaches,
    token: RawToken<'_>,
    digest: TokenDigest,
    now: Now,
) -> Recall {
    let find = |id: ServerId| servers.iter().find(|server| server.id() == id);
    if jwt::is_like_jwt(token.expose()) {
        let key = CacheKey { digest, judge: Judge::Keys };
        if let Some(good) = caches.good(&key, now.instant)
            && let Some(server) = find(good.token.server)
        {
            return hit(server, good, CacheKind::Jwt, now);
        }
        if let Some(bad) = caches.bad(&key)
            && let Some(server) = find(bad.server)
            && now.instant < bad.until
            && bad.keys == server.peek_keys().version
        {
            server.metrics().hit(CacheKind::Negative);
            return Recall::Refused(Rejection::TokenInvalid(bad.why));
        }
        // What only looks like one is looked up by `judge_opaque`, once its form has been read:
        // two looks in vain for each new JWT cost more than one reading of such a token.
        return Recall::Miss(digest);
    }
    opaque.map_or(Recall::Miss(digest), |server| recall_asked(server, digest, now))
}

/// What the cache knows of a token that this server was asked about.
fn recall_asked(server: &Server, digest: TokenDigest, now: Now) -> Recall {
    let caches = server.caches();
    let key = CacheKey { digest, judge: Judge::Asked(server.id()) };
    if let Some(good) = caches.good(&key, now.instant) {
        return hit(server, good, CacheKind::Opaque, now);
    }
    match caches.bad(&key).filter(|bad| now.instant < bad.until) {
        Some(bad) => {
            server.metrics().hit(CacheKind::Negative);
            Recall::Refused(Rejection::TokenInvalid(bad.why))
        }
        None => Recall::Miss(digest),
    }
}

/// Holds a remembered verdict against all that may have changed since.
fn hit(server: &Server, good: GoodVerdict, kind: CacheKind, now: Now) -> Recall {
    let is_proven = match good.proof {
        Proof::Settings => true,
        Proof::Key(print, version) => {
            let keys = server.peek_keys();
            keys.is_usable(now.instant) && (keys.version == version || keys.holds(print))
        }
    };
    if !is_proven || !good.is_fresh(now.instant) {
        return Recall::Miss(good.token.digest);
    }
    server.metrics().hit(kind);
    match access_token::check_time(&good.token.validity, now.unix) {
        Ok(()) => Recall::Hit(good.token),
        Err(why) => Recall::Refused(Rejection::TokenInvalid(why)),
    }
}
