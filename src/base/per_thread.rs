//! One of something for each thread: two threads that write the same cache line slow each other
//! down, however seldom either waits.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// A value for each thread that asks for its own, made when it first does.
///
/// Threads get places in the order in which they ask for anything here. Where there are more
/// threads than places some share one, so a value must bear that: an atomic, or a lock that is
/// hardly ever waited for.
///
/// A clone has the same values. Cost of [`own`](Self::own): two loads.
pub struct PerThread<T> {
    places: Arc<[OnceLock<Box<Apart<T>>>]>,
}

/// Alone in its cache lines: processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Default> PerThread<T> {
    /// Room for every thread that the machine can run at once, and nothing in it.
    pub fn new() -> Self {
        Self { places: (0..places()).map(|_| OnceLock::new()).collect() }
    }

    /// The value of the thread that asks.
    pub fn own(&self) -> &T {
        let at = own_number() % self.places.len().max(1);
        #[expect(clippy::indexing_slicing, reason = "a remainder is smaller than the divisor")]
        let place = &self.places[at];
        &place.get_or_init(Box::default).0
    }
}

impl<T> PerThread<T> {
    /// The values that were ever asked for.
    pub fn all(&self) -> impl Iterator<Item = &T> + Clone {
        self.places.iter().filter_map(OnceLock::get).map(|apart| &apart.0)
    }
}

impl<T> Clone for PerThread<T> {
    fn clone(&self) -> Self {
        Self { places: Arc::clone(&self.places) }
    }
}

impl<T: Default> Default for PerThread<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> Default for Apart<T> {
    fn default() -> Self {
        Self(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for PerThread<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.all()).finish()
    }
}

fn own_number() -> usize {
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Relaxed);
            number.set(Some(new));
            new
        })
    })
}

fn places() -> usize {
    static PLACES: OnceLock<usize> = OnceLock::new();
    *PLACES.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        processors + THREADS_BESIDE
    })
}

/// What runs beside the workers and counts, too: the thread that starts, and the control runtime's.
const THREADS_BESIDE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up_whether_they_share_a_place_or_not() {
        let counts: PerThread<AtomicUsize> = PerThread::new();
        let threads = places() * 2;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counts.own().fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.all().map(|count| count.load(Relaxed)).sum::<usize>(), threads * 1000);
        assert!(counts.all().count() <= places());
    }

    #[test]
    fn a_thread_keeps_its_place_and_no_place_shares_a_cache_line() {
        let counts: PerThread<AtomicUsize> = PerThread::new();
        assert!(std::ptr::eq(counts.own(), counts.own()));
        assert_eq!(align_of::<Apart<AtomicUsize>>(), 128);
        assert_eq!(size_of::<Apart<AtomicUsize>>(), 128);
    }
}
