//! A server's judgement of one token that no cache knew.

use std::sync::Arc;
use std::time::Duration;

use super::Recall;
use super::access_token;
use super::cache::{BadVerdict, CacheKey, GoodVerdict, Judge, KeysVersion, Proof};
use super::flight::Question;
use super::jwk::Candidates;
use super::jwt::{Form, UnverifiedJwt, is_like_jwt};
use super::server::Server;
use crate::base::secret::Secret;
use crate::base::time::{Now, UnixSeconds};
use crate::config::Introspect;
use crate::oauth::{
    Algorithm, Audiences, Claims, ClientId, HeldScopes, KeptClaims, MacAlgorithm, Principal,
    RawToken, ScopeSet, SignatureAlgorithm, TokenDigest, TokenKind, TokenTexts, Traces, Validity,
    VerifiedToken,
};
use crate::reject::{InvalidToken, Rejection};
use crate::telemetry::CacheKind;

/// What a token answer said of the token that it gave (RFC 6749 §5.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedFacts {
    /// To whom it was given.
    pub client_id: ClientId,
    /// What was granted. `None`: unknown, and never "all".
    pub scopes: Option<ScopeSet>,
    /// When it ends.
    pub expires: UnixSeconds,
}

impl IssuedFacts {
    fn validity(&self) -> Validity {
        Validity::new(None, Some(self.expires))
    }
}

impl Server {
    /// Judges a token that this server's token endpoint gave for a caller's key and secret: a JWT
    /// by its signature and claims, any other by introspection, and where there is none by the
    /// token answer alone.
    ///
    /// # Errors
    /// As [`Verifier::verify`](super::Verifier::verify).
    pub async fn judge_issued(
        self: &Arc<Self>,
        token: RawToken<'_>,
        issued: &IssuedFacts,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let servers = std::slice::from_ref(self);
        let opaque = self.settings().introspection.as_ref().map(|_| self);
        let digest = token.digest();
        match super::recall(servers, opaque, self.caches(), token, digest, now) {
            Recall::Hit(known) => return Ok(known),
            Recall::Refused(rejection) => return Err(rejection),
            Recall::Miss(_) => {}
        }
        if let Form::Jwt(read) = Form::of(token.expose()) {
            let jwt = read.map_err(Rejection::TokenInvalid)?;
            if jwt.issuer() != Ok(self.settings().issuer.as_str()) {
                return Err(Rejection::TokenInvalid(InvalidToken::Issuer));
            }
            return self.judge_jwt(jwt, token, digest, now).await;
        }
        match opaque {
            Some(_) => self.judge_opaque(token, digest, now).await,
            None => self.take_issued(digest, issued, now),
        }
    }

    /// Judges a JWT whose `iss` is this server.
    pub(super) async fn judge_jwt(
        self: &Arc<Self>,
        jwt: UnverifiedJwt<'_>,
        token: RawToken<'_>,
        digest: TokenDigest,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        self.metrics().miss(CacheKind::Jwt);
        // Before the check: a refresh that comes meanwhile may bring the very key, and what the old
        // ones refused must not count under the new version.
        let keys = self.peek_keys().version;
        let (verified, proof) = match self.check(&jwt, digest, now).await {
            Ok(verified) => verified,
            Err(rejection) => {
                self.remember_bad(digest, &rejection, keys, now);
                return Err(rejection);
            }
        };
        if let Some(settings) = &self.settings().introspection
            && settings.introspect == Introspect::All
        {
            let token = Secret::new(token.expose());
            let question = Question { token, digest, jwt: Some((verified, proof)), now };
            return self.ask(settings, question).await;
        }
        let token = Arc::new(verified);
        let kept_for = token.validity.until().and_then(|until| until.since(now.unix));
        let verdict = GoodVerdict { token: Arc::clone(&token), proof, fresh_until: None };
        self.caches().keep_good(verdict, kept_for.unwrap_or_default(), now.instant);
        Ok(token)
    }

    /// Judges an opaque token by asking. One that looks like a JWT may be known already:
    /// [`recall`](super::recall) cannot tell it from one.
    pub(super) async fn judge_opaque(
        self: &Arc<Self>,
        token: RawToken<'_>,
        digest: TokenDigest,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let Some(settings) = &self.settings().introspection else {
            return Err(Rejection::TokenInvalid(InvalidToken::Unjudgeable));
        };
        if is_like_jwt(token.expose()) {
            match super::recall_asked(self, digest, now) {
                Recall::Hit(known) => return Ok(known),
                Recall::Refused(rejection) => return Err(rejection),
                Recall::Miss(_) => {}
            }
        }
        self.metrics().miss(CacheKind::Opaque);
        let token = Secret::new(token.expose());
        self.ask(settings, Question { token, digest, jwt: None, now }).await
    }

    /// The order of RFC 9068 §4: type, algorithm, key, signature, and only then the claims.
    pub(super) async fn check(
        self: &Arc<Self>,
        jwt: &UnverifiedJwt<'_>,
        digest: TokenDigest,
        now: Now,
    ) -> Result<(VerifiedToken, Proof), Rejection> {
        let settings = self.settings();
        jwt.check_type(&settings.token_types).map_err(Rejection::TokenInvalid)?;
        let proof = self.check_integrity(jwt, now).await?;
        let token = access_token::judge(&jwt.claims, digest, (self.id(), settings), now.unix);
        let mut token = token.map_err(Rejection::TokenInvalid)?;
        if let Some(traces) = token.claims.traces_mut() {
            traces.stand_in_for_jti(jwt.signed);
        }
        self.note_issue_time(&jwt.claims, now);
        Ok((token, proof))
    }

    /// Holds algorithm and signature of a JWT against the keys; nothing of its claims.
    pub(super) async fn check_integrity(
        self: &Arc<Self>,
        jwt: &UnverifiedJwt<'_>,
        now: Now,
    ) -> Result<Proof, Rejection> {
        if !self.allows(jwt.algorithm) {
            return Err(Rejection::TokenInvalid(InvalidToken::Algorithm));
        }
        match jwt.algorithm {
            Algorithm::Signature(algorithm) => self.check_signature(jwt, algorithm, now).await,
            Algorithm::Mac(algorithm) => self.check_mac(jwt, algorithm),
        }
    }

    /// Counts a token that is good but for having been issued in the future.
    pub(super) fn note_issue_time(&self, claims: &Claims, now: Now) {
        if access_token::is_from_the_future(claims, self.settings(), now.unix) {
            self.metrics().from_the_future.inc();
        }
    }

    /// Without a list: whatever the keys allow. A MAC must be listed, and needs the shared secret.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        let listed = &self.settings().algorithms;
        match algorithm {
            Algorithm::Signature(_) => listed.is_empty() || listed.contains(&algorithm),
            Algorithm::Mac(_) => listed.contains(&algorithm) && self.secret().is_some(),
        }
    }

    async fn check_signature(
        self: &Arc<Self>,
        jwt: &UnverifiedJwt<'_>,
        algorithm: SignatureAlgorithm,
        now: Now,
    ) -> Result<Proof, Rejection> {
        let id = jwt.key_id();
        let held = self.keys_for(id, algorithm, now).await?;
        let Candidates::Keys(keys) = held.candidates(id, algorithm) else {
            return Err(Rejection::TokenInvalid(InvalidToken::KeyUnknown));
        };
        let proven = keys.into_iter().find(|key| {
            self.metrics().signature_checks.inc();
            key.public.verify(algorithm, jwt.signed.as_bytes(), &jwt.signature)
        });
        match proven {
            Some(key) => Ok(Proof::Key(key.print, held.version)),
            None => Err(Rejection::TokenInvalid(InvalidToken::Signature)),
        }
    }

    fn check_mac(
        &self,
        jwt: &UnverifiedJwt<'_>,
        algorithm: MacAlgorithm,
    ) -> Result<Proof, Rejection> {
        self.metrics().signature_checks.inc();
        let holds = |secret: &super::signature::MacSecret| {
            secret.verify(algorithm, jwt.signed.as_bytes(), &jwt.signature)
        };
        match self.secret().is_some_and(holds) {
            true => Ok(Proof::Settings),
            false => Err(Rejection::TokenInvalid(InvalidToken::Signature)),
        }
    }

    /// So that one bad token sent again is cheap. Never an unknown key, which the next refresh may
    /// bring, and never an outage. `keys` are those that it was checked by, or older ones, which
    /// cost another check.
    pub(super) fn remember_bad(
        &self,
        digest: TokenDigest,
        rejection: &Rejection,
        keys: KeysVersion,
        now: Now,
    ) {
        if let Rejection::TokenInvalid(why @ (InvalidToken::Signature | InvalidToken::Malformed)) =
            rejection
        {
            let verdict = BadVerdict {
                why: *why,
                server: self.id(),
                keys,
                until: now.instant + BAD_JWT_KEPT_FOR,
                kept_for: BAD_JWT_KEPT_FOR,
            };
            self.caches().keep_bad(CacheKey { digest, judge: Judge::Keys }, verdict);
        }
    }

    fn traces_of(&self, issued: &IssuedFacts) -> KeptClaims {
        let settings = self.settings();
        if !settings.traced {
            return KeptClaims::default();
        }
        let traces = Traces::of_client(settings.issuer.as_str(), issued.client_id.as_str());
        KeptClaims::default().with_traces(traces)
    }

    fn take_issued(
        &self,
        digest: TokenDigest,
        issued: &IssuedFacts,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let validity = issued.validity();
        access_token::check_time(&validity, now.unix).map_err(Rejection::TokenInvalid)?;
        let key = CacheKey { digest, judge: Judge::Issued(self.id()) };
        if let Some(known) = self.caches().good(&key, now.instant)
            && is_same(&known.token, issued)
        {
            self.metrics().hit(CacheKind::Opaque);
            return Ok(known.token);
        }
        self.metrics().miss(CacheKind::Opaque);
        let scopes = issued.scopes.clone().unwrap_or_default();
        let texts = TokenTexts::new(None, Some(issued.client_id.as_str()), &scopes)
            .ok_or(Rejection::TokenInvalid(InvalidToken::Malformed))?;
        let token = Arc::new(VerifiedToken {
            digest,
            kind: TokenKind::Issued,
            server: self.id(),
            issuer: self.settings().issuer.clone(),
            texts,
            principal: Principal::Client,
            audiences: Audiences::MeantForUs,
            validity,
            claims: self.traces_of(issued),
        });
        let proof = Proof::Settings;
        let verdict = GoodVerdict { token: Arc::clone(&token), proof, fresh_until: None };
        let kept_for = issued.expires.since(now.unix).unwrap_or_default();
        self.caches().keep_good(verdict, kept_for, now.instant);
        Ok(token)
    }
}

/// A server may give the same token again with another grant.
fn is_same(known: &VerifiedToken, issued: &IssuedFacts) -> bool {
    known.client_id() == Some(issued.client_id.as_str())
        && known.validity == issued.validity()
        && match &issued.scopes {
            Some(scopes) => HeldScopes::from(scopes) == known.scopes(),
            None => known.scopes().is_empty(),
        }
}

/// Long enough to blunt a loop, short enough that nobody waits for it.
const BAD_JWT_KEPT_FOR: Duration = Duration::from_secs(10);
