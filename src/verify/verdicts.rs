//! The good verdicts, a million of them in little memory.
//!
//! # What holds
//! * Never more than the bound. What comes once is displaced before what is looked at again, so a
//!   flood of new tokens washes out nothing that is in use.
//! * An entry has its end in it, set once. A look past the end finds nothing and gives the memory
//!   back; so does whatever displaces it, and where that hits the living, all that are past their
//!   end go first. Why not a timer for each: that is what a look-up needs least and costs most.
//! * Evictions are those of living verdicts for want of room: neither a newer verdict in place of
//!   an older one, nor one that is past its end.
//! * Tables grow with what they hold: nothing is set aside for what has not come. From a quarter of
//!   the bound on they are laid out for all of it, and no longer than that: doubled tables would be
//!   up to twice as long, and the allocator's pages are so large that the rest is held as well.
//!
//! Why not moka, which keeps the bad verdicts and all else: by its structures an entry with an end
//! of its own takes some 400 bytes beside the verdict (key and entry in an allocation each, nodes of
//! two queues and of a timer wheel). Here an entry is 72 bytes, and a quarter as many again remember
//! which tokens were displaced of late; the key is the token itself. In resident memory, all
//! included, a verdict went from 822 bytes to 339 (tests/bounds), part of it by a smaller token.
//!
//! Cost of a hit: one hash of 40 bytes, one shared lock of one table in [`SHARDS`], no allocation.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, UnitWeighter};

use super::cache::{CacheKey, CacheStatus, GoodVerdict, Proof};
use super::flight::after;
use crate::oauth::VerifiedToken;

/// All good verdicts.
pub(super) struct Verdicts {
    table: Cache<Key, Kept, UnitWeighter, RandomState, Displacing>,
    /// From which on the moments in the table are counted.
    epoch: Instant,
    laid_out: Once,
    bound: u64,
    evicted: AtomicU64,
    /// How many came since those past their end were last looked for.
    since_sweep: AtomicU64,
}

/// A verdict's token as its key: what [`CacheKey::of`] says of it.
struct Key(Arc<VerifiedToken>);

#[derive(Clone)]
struct Kept {
    token: Arc<VerifiedToken>,
    proof: Proof,
    fresh_until: Option<Moment>,
    ends: Moment,
}

/// Nanoseconds since the epoch: half of what an [`Instant`] takes.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Moment(NonZeroU64);

impl Verdicts {
    /// Makes it, empty.
    pub(super) fn new(bound: u64, epoch: Instant) -> Self {
        // Each table has the same part of the bound, and all together must not pass it.
        let shards = if SHARDS * SHARD_MIN <= bound { SHARDS } else { 1 };
        let capacity = bound - bound % shards;
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .weight_capacity(capacity)
            .estimated_items_capacity(usize::try_from(capacity).unwrap_or(usize::MAX))
            .ghost_allocation(DISPLACED_PART)
            .build();
        #[expect(clippy::expect_used, reason = "it asks for these two numbers and nothing else")]
        let options = options.expect("both capacities are set");
        let hasher = RandomState::default();
        Self {
            table: Cache::with_options(options, UnitWeighter, hasher, Displacing),
            epoch,
            laid_out: Once::new(),
            bound,
            evicted: AtomicU64::new(0),
            since_sweep: AtomicU64::new(0),
        }
    }

    /// The verdict of that key, if it has not ended.
    pub(super) fn find(&self, key: &CacheKey, now: Instant) -> Option<GoodVerdict> {
        let now = self.moment(now);
        let kept = self.table.get(key)?;
        if kept.ends <= now {
            // By now there may be a newer one.
            self.table.remove_if(key, |kept| kept.ends <= now);
            return None;
        }
        let fresh_until = kept.fresh_until.map(|moment| self.instant(moment));
        Some(GoodVerdict { token: kept.token, proof: kept.proof, fresh_until })
    }

    /// Keeps a verdict in place of whatever was known, for that long.
    pub(super) fn keep(&self, verdict: GoodVerdict, kept_for: Duration, now: Instant) {
        let kept = Kept {
            token: Arc::clone(&verdict.token),
            proof: verdict.proof,
            fresh_until: verdict.fresh_until.map(|until| self.moment(until)),
            ends: self.moment(after(now, kept_for)),
        };
        let mut displaced = Displaced { now: Some(self.moment(now)), ..Displaced::default() };
        self.table.insert_with_lifecycle(Key(verdict.token), kept, &mut displaced);
        let came = self.since_sweep.fetch_add(1, Ordering::Relaxed) + 1;
        if displaced.living > 0 {
            self.evicted.fetch_add(displaced.living, Ordering::Relaxed);
            self.sweep(came, now);
        }
        if came.is_multiple_of(self.bound.div_ceil(64)) && !self.laid_out.is_completed() {
            self.lay_out();
        }
    }

    /// Forgets what is known.
    pub(super) fn remove(&self, key: &CacheKey) {
        self.table.remove(key);
    }

    /// How full it is. Those past their end are counted until they are gone.
    pub(super) fn status(&self) -> CacheStatus {
        CacheStatus {
            entries: u64::try_from(self.table.len()).unwrap_or(u64::MAX),
            bound: self.bound,
            evictions: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// Makes room by dropping all that are past their end, unless that was done a moment ago. It
    /// looks at every entry, some 20 ns each, so an eighth of the bound must have come since: the
    /// signatures of those took a hundred times as long.
    fn sweep(&self, came: u64, now: Instant) {
        let enough = self.bound.div_ceil(8);
        if came >= enough && self.since_sweep.swap(0, Ordering::Relaxed) >= enough {
            let now = self.moment(now);
            self.table.retain(|_, kept| now < kept.ends);
        }
    }

    /// Makes room for the bound once enough are held for that.
    fn lay_out(&self) {
        let capacity = usize::try_from(self.table.capacity()).unwrap_or(usize::MAX);
        let held = self.table.len();
        if capacity / 4 <= held {
            self.laid_out.call_once(|| self.table.reserve(capacity.saturating_sub(held)));
        }
    }

    fn moment(&self, instant: Instant) -> Moment {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Moment(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN))
    }

    fn instant(&self, moment: Moment) -> Instant {
        after(self.epoch, Duration::from_nanos(moment.0.get()))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CacheKey::of(&self.0).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        CacheKey::of(&self.0) == CacheKey::of(&other.0)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for CacheKey {
    fn equivalent(&self, key: &Key) -> bool {
        *self == Self::of(&key.0)
    }
}

/// Tells what is displaced for want of room from what is replaced.
#[derive(Clone)]
struct Displacing;

/// What one insertion displaced.
#[derive(Default)]
struct Displaced {
    now: Option<Moment>,
    /// Those that had not ended.
    living: u64,
    /// Freed when the table's lock is open again.
    last: Option<(Key, Kept)>,
}

impl Lifecycle<Key, Kept> for Displacing {
    type RequestState = Displaced;

    // Why not in `on_evict`: that is called for what a newer verdict replaces, too.
    fn before_evict(&self, displaced: &mut Displaced, _: &Key, kept: &mut Kept) {
        displaced.living += u64::from(displaced.now.is_none_or(|now| now < kept.ends));
    }

    fn on_evict(&self, displaced: &mut Displaced, key: Key, kept: Kept) {
        displaced.last = Some((key, kept));
    }
}

/// More than there are threads in most places, so that they seldom meet at one.
const SHARDS: u64 = 64;
/// Digests spread unevenly: smaller tables would be full while others are not.
const SHARD_MIN: u64 = 256;
/// How many displaced tokens are remembered, as a part of the bound: one that comes again while it
/// is stays longer than one that comes for the first time.
const DISPLACED_PART: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::super::cache::tests::{LONG, good, key};
    use super::*;
    use crate::base::time;

    const BOUND: u64 = 100;

    fn many(from: u32, to: u32) -> impl Iterator<Item = String> {
        (from..to).map(|number| number.to_string())
    }

    #[test]
    fn an_entry_is_small_and_a_token_fills_its_allocation() {
        assert_eq!(size_of::<Kept>(), 48);
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<VerifiedToken>() + counts <= 160, "the allocator's next step is 192");
    }

    #[test]
    fn a_look_past_the_end_finds_nothing_and_gives_the_memory_back() {
        let now = time::now().instant;
        let verdicts = Verdicts::new(BOUND, now);
        verdicts.keep(good("t"), LONG, now);
        let end = now + LONG;
        assert!(verdicts.find(&key("t"), end - Duration::from_nanos(1)).is_some());
        assert_eq!(verdicts.status().entries, 1);
        assert!(verdicts.find(&key("t"), end).is_none());
        assert_eq!((verdicts.status().entries, verdicts.status().evictions), (0, 0));
    }

    #[test]
    fn evictions_are_neither_replacements_nor_removals_nor_verdicts_past_their_end() {
        let now = time::now().instant;
        let verdicts = Verdicts::new(BOUND, now);
        for token in many(0, 100).chain(many(0, 100)) {
            verdicts.keep(good(&token), LONG, now);
        }
        assert_eq!((verdicts.status().entries, verdicts.status().evictions), (BOUND, 0));
        verdicts.remove(&key("0"));
        verdicts.keep(good("0"), LONG, now);
        assert_eq!((verdicts.status().entries, verdicts.status().evictions), (BOUND, 0));

        let later = now + LONG;
        for token in many(100, 200) {
            verdicts.keep(good(&token), LONG, later);
        }
        let status = verdicts.status();
        assert!(status.evictions <= 1, "the first one that lived brought the sweep: {status:?}");
        let found = many(100, 200).filter(|token| verdicts.find(&key(token), later).is_some());
        assert!(found.count() >= 99);
    }

    #[test]
    fn a_flood_of_tokens_seen_once_washes_out_nothing_that_is_in_use() {
        let now = time::now().instant;
        let verdicts = Verdicts::new(BOUND, now);
        for token in many(0, 50) {
            verdicts.keep(good(&token), LONG, now);
        }
        for (at, token) in many(1000, 11_000).enumerate() {
            verdicts.keep(good(&token), LONG, now);
            let used = key(&(at % 50).to_string());
            assert!(verdicts.find(&used, now).is_some(), "token {} after {at}", at % 50);
        }
        let status = verdicts.status();
        assert!(status.entries <= BOUND, "{status:?}");
        assert_eq!(status.entries + status.evictions, 10_050);
    }

    #[test]
    fn the_bound_holds_whatever_it_is() {
        let now = time::now().instant;
        for bound in [1, 31, 101, 255, 16_384, 20_001] {
            let verdicts = Verdicts::new(bound, now);
            assert!(verdicts.table.capacity() <= bound, "{bound}");
            assert!(bound - verdicts.table.capacity() < SHARDS, "{bound}");
        }
        let one = Verdicts::new(1, now);
        one.keep(good("a"), LONG, now);
        one.keep(good("b"), LONG, now);
        assert_eq!((one.status().entries, one.status().evictions), (1, 1));
    }

    #[test]
    fn when_a_verdict_is_fresh_comes_out_as_it_went_in() {
        let now = time::now().instant;
        let verdicts = Verdicts::new(BOUND, now);
        for fresh_until in [None, Some(now + LONG), Some(now + Duration::from_nanos(7))] {
            verdicts.keep(GoodVerdict { fresh_until, ..good("t") }, LONG, now);
            let found = verdicts.find(&key("t"), now).unwrap();
            assert_eq!(found.fresh_until, fresh_until);
        }
    }
}
