//! One question at a time about one thing, however many ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

/// The questions under way. Each runs as a task of its own, so that the caller that brought it up
/// may go away.
///
/// A flight that starts when another of the same key has just landed must look at what that one
/// left before it asks: between a miss and the start here, one can land.
pub(super) struct Flights<K, T> {
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    max: usize,
}

struct UnderWay<K, T>(HashMap<K, watch::Receiver<Option<T>>>);

impl<K, T> Flights<K, T>
where
    K: Copy + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// At most `max` keys at once.
    pub(super) fn new(max: usize) -> Self {
        Self { under_way: Arc::new(Mutex::new(UnderWay(HashMap::new()))), max }
    }

    /// The outcome of the flight of that key, started if there is none. `None`: too many others
    /// are under way, or the flight was lost, as in a shutdown.
    pub(super) async fn join<F>(
        &self,
        key: K,
        runtime: &Handle,
        flight: impl FnOnce() -> F,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landing = self.board(key, runtime, flight)?;
        let outcome = landing.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    /// Starts the flight of that key, if none is under way and there is room; nobody waits for it.
    pub(super) fn start<F>(&self, key: K, runtime: &Handle, flight: impl FnOnce() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        drop(self.board(key, runtime, flight));
    }

    fn board<F>(
        &self,
        key: K,
        runtime: &Handle,
        flight: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Option<T>>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        if let Some(landing) = under_way.0.get(&key) {
            return Some(landing.clone());
        }
        if under_way.0.len() >= self.max {
            return None;
        }
        let (sender, landing) = watch::channel(None);
        let entry = Entry { under_way: Arc::clone(&self.under_way), key };
        let flight = flight();
        under_way.0.insert(key, landing.clone());
        runtime.spawn(async move {
            let outcome = flight.await;
            // Off the list first: who comes from here on must not get an outcome of before.
            drop(entry);
            sender.send_replace(Some(outcome));
        });
        Some(landing)
    }
}

/// Its flight's place on the list, given up also when the flight panics.
struct Entry<K: Eq + Hash, T> {
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Entry<K, T> {
    fn drop(&mut self) {
        lock(&self.under_way).0.remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn two_hundred_callers_share_one_flight_and_the_first_may_go() {
        let flights = Arc::new(Flights::new(1));
        let (started, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let join = || {
            let flights = Arc::clone(&flights);
            let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
            async move {
                let flight = || async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    drop(gate.acquire().await);
                    7
                };
                flights.join((), &Handle::current(), flight).await
            }
        };
        let first = tokio::spawn(join());
        tokio::task::yield_now().await;
        let others: Vec<_> = (0..199).map(|_| tokio::spawn(join())).collect();
        tokio::task::yield_now().await;
        first.abort();
        gate.add_permits(1);
        for other in others {
            assert_eq!(other.await.unwrap(), Some(7));
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert!(lock(&flights.under_way).0.is_empty());
    }

    #[tokio::test]
    async fn flights_are_bounded_and_a_lost_one_leaves_the_list() {
        let flights = Arc::new(Flights::<u8, ()>::new(1));
        let waiting = Arc::clone(&flights);
        let stuck =
            tokio::spawn(
                async move { waiting.join(1, &Handle::current(), std::future::pending).await },
            );
        tokio::task::yield_now().await;
        assert_eq!(flights.join(2, &Handle::current(), || async {}).await, None);
        stuck.abort();
        let flights = Flights::<u8, ()>::new(1);
        let lost = || async { panic!("a test of a flight that is lost") };
        assert_eq!(flights.join(1, &Handle::current(), lost).await, None);
        assert_eq!(flights.join(1, &Handle::current(), || async {}).await, Some(()));
    }
}
