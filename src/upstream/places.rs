//! The connections that may be open to an upstream at once, all workers and members together.
//!
//! Whoever opens one takes a [`Place`], which ends with the connection's socket. Where none is
//! free, requests wait in line: one that comes to an end goes to the first of them. A connection
//! that comes free whole is passed on whole, if somebody of its worker waits for that member; else
//! it is closed for the first in line. Nobody is passed over [so often](PASSES_MAX) that those who
//! can use what is there keep the others out.
//!
//! Health checks take no place: they tell how a member does where requests have all of them.
//!
//! Cost: one short lock when a connection is opened and when it is closed; one load when a request
//! is over.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::http1::Link;

/// All places of an upstream.
pub(super) struct Places {
    most: usize,
    line: Mutex<Line>,
    /// As many as stand in line.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Line {
    taken: usize,
    /// By their numbers, which only grow. Each is a request under way: `limits.requests` bounds it.
    waiting: VecDeque<Waiting>,
    next: u64,
    /// How often the first in line was passed over.
    passes: usize,
}

struct Waiting {
    number: u64,
    at: Spot,
    tell: oneshot::Sender<Turn>,
}

/// Where a connection belongs: a worker, by its number, and a slot of its pool.
pub(super) type Spot = (usize, usize);

/// The right to have one connection open; given back when it is dropped.
pub(super) struct Place(Option<Arc<Places>>);

/// What comes to whoever waits in line.
pub(super) enum Turn {
    /// A connection may be opened.
    Open(Place),
    /// Here is one.
    Take(Box<Link>),
}

/// What comes of asking for a place.
pub(super) enum Asked {
    Given(Place),
    Queued(InLine),
}

/// A stand in the line; left when this is dropped.
pub(super) struct InLine {
    places: Arc<Places>,
    number: u64,
    turn: oneshot::Receiver<Turn>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, line: Mutex::default(), waiting: AtomicUsize::new(0) })
    }

    /// How many may be open at once.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// How many connections are open, or are being opened.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken
    }

    /// How many requests wait for one.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes a place for a connection at that spot, or a stand in the line. Nobody goes before
    /// those who wait already.
    pub(super) fn ask(self: &Arc<Self>, at: Spot) -> Asked {
        let mut line = self.lock();
        if line.taken < self.most {
            line.taken += 1;
            return Asked::Given(Place(Some(Arc::clone(self))));
        }
        let (tell, turn) = oneshot::channel();
        let number = line.next;
        line.next += 1;
        line.waiting.push_back(Waiting { number, at, tell });
        self.count(&line);
        Asked::Queued(InLine { places: Arc::clone(self), number, turn })
    }

    /// Passes a connection on that is free; closes it if nobody can use it as it is.
    pub(super) fn pass_on(&self, at: Spot, mut link: Box<Link>) {
        while let Some(tell) = self.next_at(at) {
            match tell.send(Turn::Take(link)) {
                Ok(()) => return,
                Err(Turn::Take(back)) => link = back,
                Err(Turn::Open(_)) => return,
            }
        }
    }

    /// Who is next to get a connection at that spot. Where it is somebody else's turn, nobody is.
    fn next_at(&self, at: Spot) -> Option<oneshot::Sender<Turn>> {
        let mut line = self.lock();
        let found = line.waiting.iter().position(|one| one.at == at)?;
        if found == 0 {
            line.passes = 0;
        } else if line.passes < PASSES_MAX {
            line.passes += 1;
        } else {
            return None;
        }
        let next = line.waiting.remove(found);
        self.count(&line);
        next.map(|next| next.tell)
    }

    /// A connection is closed: its place goes to the first in line.
    fn give(self: &Arc<Self>) {
        loop {
            let mut line = self.lock();
            let Some(first) = line.waiting.pop_front() else {
                line.taken -= 1;
                return;
            };
            line.passes = 0;
            self.count(&line);
            drop(line);
            match first.tell.send(Turn::Open(Place(Some(Arc::clone(self))))) {
                Ok(()) => return,
                Err(Turn::Open(mut place)) => place.0 = None, // it has gone: the next one
                Err(Turn::Take(_)) => {}
            }
        }
    }

    fn leave(&self, number: u64) {
        let mut line = self.lock();
        if let Ok(at) = line.waiting.binary_search_by_key(&number, |one| one.number) {
            line.waiting.remove(at);
            self.count(&line);
        }
    }

    fn count(&self, line: &Line) {
        self.waiting.store(line.waiting.len(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// That of a connection which counts for nothing.
    pub(super) const fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.0.take() {
            places.give();
        }
    }
}

impl InLine {
    /// Waits for its turn; `None` only if that can never come.
    pub(super) async fn turn(mut self) -> Option<Turn> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.places.leave(self.number);
    }
}

/// How often somebody may be passed over who stands first in line: connections are opened anew for
/// one request in seventeen at worst, and the first waits for as many requests of others at most.
const PASSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(asked: Asked) -> InLine {
        match asked {
            Asked::Queued(stand) => stand,
            Asked::Given(_) => panic!("there was a place"),
        }
    }

    fn given(asked: Asked) -> Place {
        match asked {
            Asked::Given(place) => place,
            Asked::Queued(_) => panic!("there was no place"),
        }
    }

    #[tokio::test]
    async fn a_place_goes_to_the_first_in_line_that_still_stands_there() {
        let places = Places::new(1);
        let place = given(places.ask((0, 0)));
        let (gone, first) = (queued(places.ask((0, 0))), queued(places.ask((1, 0))));
        let second = queued(places.ask((0, 0)));
        assert_eq!((places.taken(), places.waiting()), (1, 3));
        drop(gone);
        drop(place);
        let Some(Turn::Open(place)) = first.turn().await else { panic!("a place") };
        assert_eq!((places.taken(), places.waiting()), (1, 1));
        // It is told, and goes away without having looked.
        drop(place);
        drop(second);
        assert_eq!((places.taken(), places.waiting()), (0, 0));
        drop(given(places.ask((0, 0))));
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn whoever_can_use_what_is_there_goes_first_but_not_for_ever() {
        let places = Places::new(1);
        let _place = given(places.ask((0, 0)));
        let _other = queued(places.ask((1, 0)));
        let own: Vec<_> = (0..=PASSES_MAX).map(|_| queued(places.ask((0, 0)))).collect();
        for _ in 0..PASSES_MAX {
            assert!(places.next_at((0, 0)).is_some());
        }
        assert!(places.next_at((0, 0)).is_none(), "the first has been passed over often enough");
        assert!(places.next_at((1, 0)).is_some());
        assert!(places.next_at((0, 0)).is_some());
        drop(own);
        assert_eq!(places.waiting(), 0);
    }
}
