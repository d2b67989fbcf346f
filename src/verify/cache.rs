//! Verdicts about tokens, kept by digest: never a token, and never what a route made of one.
//!
//! # What holds
//! * Good and bad verdicts live apart, each cache with its own bound, so that a flood of bad
//!   tokens evicts no good verdict.
//! * An entry's end is set once, when it is made; no hit moves it.
//! * What the cache says is not yet an answer: whoever asks holds `exp`, `nbf`, the key and the
//!   settings against the verdict on each hit. The expiry in here only gives memory back.
//!
//! Cost of a hit: what [`recent`](super::recent) costs if the thread has used the token of late;
//! else one hash of 40 bytes and one look-up behind it, some 0.15 µs. No allocation.

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
use crate::base::per_thread::PerThread;
use crate::config;
use crate::oauth::{ServerId, TokenDigest, VerifiedToken};
use crate::reject::InvalidToken;

/// The caches of all authorization servers: one token is one entry, whatever connection, worker
/// or route it came on. `Debug` shows how full they are, and no verdict.
pub struct TokenCaches {
    good: Verdicts<GoodVerdict>,
    bad: Verdicts<BadVerdict>,
    /// In front of `good`. A lock is waited for only where two threads share a place.
    recent: PerThread<Mutex<Recent>>,
    buckets: Buckets,
    bounds: [u64; 2],
    evicted: [Arc<AtomicU64>; 2],
}

/// Digests are spread already: their hash only has to be one that no caller can foresee.
type Verdicts<V> = Cache<CacheKey, V, RandomState>;

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
    /// How many verdicts it holds, about.
    pub entries: u64,
    /// How many it may hold.
    pub bound: u64,
    /// How many it dropped because it was full.
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
    /// How long it is kept, from when it was made; zero: not at all.
    pub(super) kept_for: Duration,
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

impl GoodVerdict {
    /// Whether it may be used without asking anew.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }
}

impl TokenCaches {
    /// Makes them, empty.
    pub fn new(bounds: &config::Caches) -> Self {
        let evicted = [Arc::default(), Arc::default()];
        let [good, bad] = &evicted;
        Self {
            good: cache(bounds.tokens, good, |verdict: &GoodVerdict| verdict.kept_for),
            bad: cache(bounds.negative, bad, |verdict: &BadVerdict| verdict.kept_for),
            recent: PerThread::new(),
            buckets: Buckets::new(),
            bounds: [bounds.tokens, bounds.negative],
            evicted,
        }
    }

    /// How full they are. What was kept or dropped since the last look is counted first: moka
    /// leaves that to later calls, and a page would say 0 about a cache that is in use.
    pub fn status(&self) -> CachesStatus {
        self.good.run_pending_tasks();
        self.bad.run_pending_tasks();
        let [tokens, negative] = self.bounds;
        let [good, bad] = &self.evicted;
        let status = |entries, bound, evicted: &AtomicU64| CacheStatus {
            entries,
            bound,
            evictions: evicted.load(Ordering::Relaxed),
        };
        CachesStatus {
            tokens: status(self.good.entry_count(), tokens, good),
            negative: status(self.bad.entry_count(), negative, bad),
        }
    }

    pub(super) fn good(&self, key: &CacheKey) -> Option<GoodVerdict> {
        let edition = self.buckets.edition(key);
        let mut recent = self.recent.own().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = recent.find(key, edition) {
            return Some(verdict.clone());
        }
        let verdict = self.good.get(key)?;
        recent.offer(key, edition, &verdict);
        Some(verdict)
    }

    pub(super) fn bad(&self, key: &CacheKey) -> Option<BadVerdict> {
        self.bad.get(key)
    }

    /// Keeps a good verdict in place of whatever was known.
    pub(super) fn keep_good(&self, key: CacheKey, verdict: GoodVerdict) {
        self.bad.invalidate(&key);
        if verdict.kept_for.is_zero() {
            self.good.invalidate(&key);
        } else {
            self.good.insert(key, verdict);
        }
        self.buckets.renew(&key);
    }

    /// Keeps a bad verdict in place of whatever was known: a token that was good and is inactive
    /// now must not serve on as stale.
    pub(super) fn keep_bad(&self, key: CacheKey, verdict: BadVerdict) {
        self.good.invalidate(&key);
        self.buckets.renew(&key);
        if !verdict.kept_for.is_zero() {
            self.bad.insert(key, verdict);
        }
    }

    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.good.run_pending_tasks();
        self.bad.run_pending_tasks();
    }
}

impl fmt::Debug for TokenCaches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(formatter)
    }
}

fn cache<V: Clone + Send + Sync + 'static>(
    bound: u64,
    evicted: &Arc<AtomicU64>,
    kept_for: fn(&V) -> Duration,
) -> Verdicts<V> {
    let evicted = Arc::clone(evicted);
    Cache::builder()
        .max_capacity(bound)
        .expire_after(Ends(kept_for))
        .eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build_with_hasher(RandomState::default())
}

struct Ends<V>(fn(&V) -> Duration);

impl<V> Expiry<CacheKey, V> for Ends<V> {
    fn expire_after_create(&self, _: &CacheKey, verdict: &V, _: Instant) -> Option<Duration> {
        Some((self.0)(verdict).min(KEPT_MAX))
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        verdict: &V,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some((self.0)(verdict).min(KEPT_MAX))
    }
}

/// A token for the year 10^12 is kept no longer: moka takes at most a thousand years.
const KEPT_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oauth::{
        Audiences, Claims, Issuer, Plaintext, Principal, RawToken, ScopeSet, TokenKind,
    };

    fn caches(bound: u64) -> TokenCaches {
        TokenCaches::new(&config::Caches { tokens: bound, negative: bound, basic: bound })
    }

    pub(in crate::verify) fn key(token: &str) -> CacheKey {
        CacheKey { digest: RawToken::new(token).digest(), judge: Judge::Keys }
    }

    pub(in crate::verify) fn good(token: &str, kept_for: Duration) -> GoodVerdict {
        let token = VerifiedToken {
            digest: RawToken::new(token).digest(),
            kind: TokenKind::Jwt,
            server: ServerId::new(1),
            issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
            subject: None,
            client_id: None,
            principal: Principal::Client,
            scopes: ScopeSet::default(),
            audiences: Audiences::MeantForUs,
            validity: crate::oauth::Validity { from: None, until: None },
            claims: Claims::default(),
        };
        let proof = Proof::Settings;
        GoodVerdict { token: Arc::new(token), proof, fresh_until: None, kept_for }
    }

    fn bad(kept_for: Duration) -> BadVerdict {
        BadVerdict {
            why: InvalidToken::Signature,
            server: ServerId::new(1),
            keys: KeysVersion(0),
            until: crate::base::time::now().instant + kept_for,
            kept_for,
        }
    }

    pub(in crate::verify) const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn invariant_9_the_caches_are_bounded_and_say_so() {
        let caches = caches(100);
        for number in 0..1000 {
            caches.keep_good(key(&number.to_string()), good("t", LONG));
        }
        caches.settle();
        let status = caches.status();
        assert!(status.tokens.entries <= 100 && status.tokens.bound == 100, "{status:?}");
        assert_eq!(status.tokens.evictions + status.tokens.entries, 1000);
    }

    #[test]
    fn a_flood_of_bad_tokens_evicts_no_good_verdict() {
        let caches = caches(100);
        caches.keep_good(key("good"), good("good", LONG));
        for number in 0..10_000 {
            caches.keep_bad(key(&number.to_string()), bad(LONG));
        }
        caches.settle();
        assert!(caches.good(&key("good")).is_some());
        assert!(caches.status().negative.entries <= 100);
    }

    #[test]
    fn the_newest_verdict_replaces_what_was_known() {
        let caches = caches(100);
        caches.keep_good(key("t"), good("t", LONG));
        caches.keep_bad(key("t"), bad(LONG));
        assert!(caches.good(&key("t")).is_none() && caches.bad(&key("t")).is_some());
        caches.keep_good(key("t"), good("t", LONG));
        assert!(caches.good(&key("t")).is_some() && caches.bad(&key("t")).is_none());
        caches.keep_good(key("t"), good("t", Duration::ZERO));
        assert!(caches.good(&key("t")).is_none(), "a verdict for no time at all is not kept");
    }

    #[test]
    fn one_token_at_two_servers_is_two_entries_and_one_bit_is_another_token() {
        let caches = caches(100);
        let at =
            |token, server| CacheKey { judge: Judge::Asked(ServerId::new(server)), ..key(token) };
        caches.keep_good(at("token", 1), good("token", LONG));
        assert!(caches.good(&at("token", 1)).is_some());
        for other in [at("token", 2), at("tokem", 1), at("token ", 1), at("toke", 1), key("token")]
        {
            assert!(caches.good(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn invariant_3_a_newer_verdict_counts_at_once_on_every_thread() {
        let caches = caches(100);
        let sees = || caches.good(&key("t")).map(|found| found.token.scopes.to_string());
        let with = |scopes| {
            let verdict = good("t", LONG);
            let scopes = ScopeSet::from_claim(scopes);
            let token = VerifiedToken { scopes, ..VerifiedToken::clone(&verdict.token) };
            GoodVerdict { token: Arc::new(token), ..verdict }
        };
        let elsewhere = |work: &(dyn Fn() + Sync)| {
            std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        };
        for scopes in ["a b", "a"] {
            elsewhere(&|| caches.keep_good(key("t"), with(scopes)));
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
        assert!(size_of::<GoodVerdict>() <= 72, "{}", size_of::<GoodVerdict>());
    }
}
