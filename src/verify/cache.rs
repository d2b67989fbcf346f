//! Verdicts about tokens, kept by digest: never a token, and never what a route made of one.
//!
//! # What holds
//! * Good and bad verdicts live apart, each cache with its own bound, so that a flood of bad
//!   tokens evicts no good verdict: the good ones in [`verdicts`](super::verdicts), made to be
//!   small, the bad ones in moka.
//! * An entry's end is set once, when it is made; no hit moves it.
//! * What the cache says is not yet an answer: whoever asks holds `exp`, `nbf`, the key and the
//!   settings against the verdict on each hit. The expiry in here only gives memory back.
//!
//! Cost of a hit: what [`recent`](super::recent) costs if the thread has used the token of late;
//! else one hash of 40 bytes and one look-up behind it. No allocation.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use serde::Serialize;

use super::jwk::KeyPrint;
use super::recent::{Buckets, Recent};
use super::verdicts::Verdicts;
use crate::base::per_thread::PerThread;
use crate::base::time;
use crate::config;
use crate::oauth::{ServerId, TokenDigest, TokenKind, VerifiedToken};
use crate::reject::InvalidToken;

/// The caches of all authorization servers: one token is one entry, whatever connection, worker
/// or route it came on. `Debug` shows how full they are, and no verdict.
pub struct TokenCaches {
    good: Verdicts,
    /// Digests are spread already: their hash only has to be one that no caller can foresee.
    bad: Cache<CacheKey, BadVerdict, RandomState>,
    /// In front of `good`. A lock is waited for only where two threads share a place.
    recent: PerThread<Mutex<Recent>>,
    buckets: Buckets,
    bad_bound: u64,
    bad_evicted: Arc<AtomicU64>,
}

/// How full the caches are, for `/status`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CachesStatus {
    /// Good verdicts.
    pub tokens: CacheStatus,
    /// Bad tokens.
    pub negative: CacheStatus,
}

/// How full one cache is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheStatus {
    /// How many verdicts it holds, about. Good ones that are past their end are among them until
    /// somebody looks for them or their room is needed.
    pub entries: u64,
    /// How many it may hold.
    pub bound: u64,
    /// How many that still counted it dropped because it was full.
    pub evictions: u64,
}

/// Under which a verdict is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct CacheKey {
    /// SHA-256 of the whole token.
    pub(super) digest: TokenDigest,
    /// Who said what it is.
    pub(super) judge: Judge,
}

/// Who judged a token. One token that two servers are asked about is two entries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Judge {
    /// A JWT: the keys of the server that its `iss` names.
    Keys,
    /// The server, asked about it.
    Asked(ServerId),
    /// The server's own token answer.
    Issued(ServerId),
}

/// A good verdict and what it hangs on.
#[derive(Clone, Debug)]
pub(super) struct GoodVerdict {
    /// The verdict.
    pub(super) token: Arc<VerifiedToken>,
    /// What proved it.
    pub(super) proof: Proof,
    /// Until when it is used without asking anew; `None`: as long as its proof holds.
    pub(super) fresh_until: Option<Instant>,
}

/// What a verdict was proven by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proof {
    /// A key, in the key set of that version.
    Key(KeyPrint, KeysVersion),
    /// The secret that is part of the settings, or the server's own word.
    Settings,
}

/// Counts the changes of a key set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct KeysVersion(pub(super) u32);

/// A bad verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadVerdict {
    /// What is wrong.
    pub(super) why: InvalidToken,
    /// By which server, under which settings.
    pub(super) server: ServerId,
    /// By which key set; another one may say otherwise.
    pub(super) keys: KeysVersion,
    /// Until when it counts.
    pub(super) until: Instant,
    /// The same, as a duration from when it was made.
    pub(super) kept_for: Duration,
}

impl CacheKey {
    /// The key of a good verdict about this token: how it was vouched for says who judged it.
    pub(super) fn of(token: &VerifiedToken) -> Self {
        let judge = match token.kind {
            TokenKind::Jwt => Judge::Keys,
            TokenKind::Opaque => Judge::Asked(token.server),
            TokenKind::Issued => Judge::Issued(token.server),
        };
        Self { digest: token.digest, judge }
    }
}

impl GoodVerdict {
    /// Whether it may be used without asking anew.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }
}

impl TokenCaches {
    /// Makes them, empty.
    pub fn new(bounds: &config::Caches) -> Self {
        let bad_evicted = Arc::default();
        Self {
            good: Verdicts::new(bounds.tokens, time::instant()),
            bad: bad_verdicts(bounds.negative, &bad_evicted),
            recent: PerThread::new(),
            buckets: Buckets::new(),
            bad_bound: bounds.negative,
            bad_evicted,
        }
    }

    /// How full they are. What was kept or dropped since the last look is counted first: moka
    /// leaves that to later calls, and a page would say 0 about a cache that is in use.
    pub fn status(&self) -> CachesStatus {
        self.bad.run_pending_tasks();
        let negative = CacheStatus {
            entries: self.bad.entry_count(),
            bound: self.bad_bound,
            evictions: self.bad_evicted.load(Ordering::Relaxed),
        };
        CachesStatus { tokens: self.good.status(), negative }
    }

    pub(super) fn good(&self, key: &CacheKey, now: Instant) -> Option<GoodVerdict> {
        let edition = self.buckets.edition(key);
        let mut recent = self.recent.own().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = recent.find(key, edition) {
            return Some(verdict.clone());
        }
        let verdict = self.good.find(key, now)?;
        recent.offer(key, edition, &verdict);
        Some(verdict)
    }

    /// Forgets what is known to be good: whoever asks next judges anew. Gives what it was.
    pub(super) fn forget(&self, key: &CacheKey, now: Instant) -> Option<Arc<VerifiedToken>> {
        let known = self.good.find(key, now);
        self.good.remove(key);
        self.buckets.renew(key);
        known.map(|good| good.token)
    }

    pub(super) fn bad(&self, key: &CacheKey) -> Option<BadVerdict> {
        self.bad.get(key)
    }

    /// Keeps a good verdict in place of whatever was known, for that long; zero: not at all.
    pub(super) fn keep_good(&self, verdict: GoodVerdict, kept_for: Duration, now: Instant) {
        let key = CacheKey::of(&verdict.token);
        self.bad.invalidate(&key);
        if kept_for.is_zero() {
            self.good.remove(&key);
        } else {
            self.good.keep(verdict, kept_for.min(KEPT_MAX), now);
        }
        self.buckets.renew(&key);
    }

    /// Keeps a bad verdict in place of whatever was known: a token that was good and is inactive
    /// now must not serve on as stale.
    pub(super) fn keep_bad(&self, key: CacheKey, verdict: BadVerdict) {
        self.good.remove(&key);
        self.buckets.renew(&key);
        if !verdict.kept_for.is_zero() {
            self.bad.insert(key, verdict);
        }
    }
}

impl fmt::Debug for TokenCaches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(formatter)
    }
}

fn bad_verdicts(bound: u64, evicted: &Arc<AtomicU64>) -> Cache<CacheKey, BadVerdict, RandomState> {
    let evicted = Arc::clone(evicted);
    Cache::builder()
        .max_capacity(bound)
        .expire_after(Ends)
        .eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build_with_hasher(RandomState::default())
}

struct Ends;

impl Expiry<CacheKey, BadVerdict> for Ends {
    fn expire_after_create(&self, _: &CacheKey, bad: &BadVerdict, _: Instant) -> Option<Duration> {
        Some(bad.kept_for.min(KEPT_MAX))
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        bad: &BadVerdict,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(bad.kept_for.min(KEPT_MAX))
    }
}

/// A token for the year 10^12 is kept no longer: moka takes at most a thousand years.
const KEPT_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oauth::{
        Audiences, Issuer, KeptClaims, Plaintext, Principal, RawToken, TokenTexts, Validity,
    };

    fn caches(bound: u64) -> TokenCaches {
        TokenCaches::new(&config::Caches {
            tokens: bound,
            negative: bound,
            basic: bound,
            exchanged: bound,
            signed: bound,
        })
    }

    pub(in crate::verify) fn key(token: &str) -> CacheKey {
        CacheKey { digest: RawToken::new(token).digest(), judge: Judge::Keys }
    }

    pub(in crate::verify) fn good(token: &str) -> GoodVerdict {
        let token = VerifiedToken {
            digest: RawToken::new(token).digest(),
            kind: TokenKind::Jwt,
            server: ServerId::new(1),
            issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
            texts: TokenTexts::saying(None, None, ""),
            principal: Principal::Client,
            audiences: Audiences::MeantForUs,
            validity: Validity::new(None, None),
            claims: KeptClaims::default(),
        };
        GoodVerdict { token: Arc::new(token), proof: Proof::Settings, fresh_until: None }
    }

    fn keep(caches: &TokenCaches, verdict: GoodVerdict) {
        caches.keep_good(verdict, LONG, time::now().instant);
    }

    fn find(caches: &TokenCaches, key: &CacheKey) -> Option<GoodVerdict> {
        caches.good(key, time::now().instant)
    }

    fn bad(kept_for: Duration) -> BadVerdict {
        BadVerdict {
            why: InvalidToken::Signature,
            server: ServerId::new(1),
            keys: KeysVersion(0),
            until: time::now().instant + kept_for,
            kept_for,
        }
    }

    pub(in crate::verify) const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn invariant_9_the_caches_are_bounded_and_say_so() {
        let caches = caches(100);
        for number in 0..1000 {
            keep(&caches, good(&number.to_string()));
        }
        let status = caches.status();
        assert!(status.tokens.entries <= 100 && status.tokens.bound == 100, "{status:?}");
        assert_eq!(status.tokens.evictions + status.tokens.entries, 1000);
    }

    #[test]
    fn a_flood_of_bad_tokens_evicts_no_good_verdict() {
        let caches = caches(100);
        keep(&caches, good("good"));
        for number in 0..10_000 {
            caches.keep_bad(key(&number.to_string()), bad(LONG));
        }
        assert!(find(&caches, &key("good")).is_some());
        assert!(caches.status().negative.entries <= 100);
    }

    #[test]
    fn the_newest_verdict_replaces_what_was_known() {
        let caches = caches(100);
        keep(&caches, good("t"));
        caches.keep_bad(key("t"), bad(LONG));
        assert!(find(&caches, &key("t")).is_none() && caches.bad(&key("t")).is_some());
        keep(&caches, good("t"));
        assert!(find(&caches, &key("t")).is_some() && caches.bad(&key("t")).is_none());
        caches.keep_good(good("t"), Duration::ZERO, time::now().instant);
        assert!(find(&caches, &key("t")).is_none(), "a verdict for no time at all is not kept");
    }

    #[test]
    fn one_token_at_two_servers_is_two_entries_and_one_bit_is_another_token() {
        let caches = caches(100);
        let at =
            |token, server| CacheKey { judge: Judge::Asked(ServerId::new(server)), ..key(token) };
        let verdict = good("token");
        let token =
            VerifiedToken { kind: TokenKind::Opaque, ..VerifiedToken::clone(&verdict.token) };
        keep(&caches, GoodVerdict { token: Arc::new(token), ..verdict });
        assert!(find(&caches, &at("token", 1)).is_some());
        for other in [at("token", 2), at("tokem", 1), at("token ", 1), at("toke", 1), key("token")]
        {
            assert!(find(&caches, &other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn invariant_3_a_newer_verdict_counts_at_once_on_every_thread() {
        let caches = caches(100);
        let sees = || find(&caches, &key("t")).map(|found| found.token.scopes().to_string());
        let with = |scopes| {
            let verdict = good("t");
            let texts = TokenTexts::saying(None, None, scopes);
            let token = VerifiedToken { texts, ..VerifiedToken::clone(&verdict.token) };
            GoodVerdict { token: Arc::new(token), ..verdict }
        };
        let elsewhere = |work: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        };
        for scopes in ["a b", "a"] {
            elsewhere(&|| keep(&caches, with(scopes)));
            for _ in 0..3 {
                assert_eq!(sees().as_deref(), Some(scopes));
            }
        }
        elsewhere(&|| caches.keep_bad(key("t"), bad(LONG)));
        assert_eq!(sees(), None);
    }

    #[test]
    fn a_verdict_is_small() {
        assert!(size_of::<CacheKey>() <= 40, "{}", size_of::<CacheKey>());
        assert!(size_of::<GoodVerdict>() <= 48, "{}", size_of::<GoodVerdict>());
    }
}
