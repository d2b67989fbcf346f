//! Tokens that are refused before their end: by their server's word, a logout, or the operator.
//!
//! Takes [`Entry`]s, each a [`Mark`] and how far it reaches; says of a verified token whether one of
//! them names it.
//!
//! # What holds
//! * Who looks takes no lock. An empty list costs one load and one branch, and a list without
//!   entries of a kind none of that kind.
//! * It is bounded. A full list refuses what comes, and says so; what has ended leaves.
//! * Nothing that was revoked is let in again by what comes later.
//! * From the moment that it is in, no request passes; where there is a file, nobody is told that
//!   it is in before it is on the disk.
//! * Whoever lasts, a tunnel or a stream, hears of each change ([`RevocationList::revoked`]).

mod entry;
mod journal;
mod seen;
mod table;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

pub use entry::{Entry, Reach, sha256};
pub use journal::JournalError;

use self::entry::Reaches;
use self::journal::Journal;
use self::seen::Seen;
use self::table::{Entries, Table};
use crate::base::time::{self, UnixSeconds};
use crate::config::Revocations;
use crate::oauth::{Mark, MarkKind, VerifiedToken};
use crate::telemetry::{RevocationDoor, RevocationMetrics, RevocationRefusal};

/// The list.
pub struct RevocationList {
    table: Table,
    bound: AtomicUsize,
    writing: Mutex<Option<Keeping>>,
    is_kept: bool,
    changes: watch::Sender<()>,
    seen: Seen,
    metrics: RevocationMetrics,
}

/// The file, and what has to be in it and is not yet.
struct Keeping {
    journal: Journal,
    /// Entries of writes that failed, one for each mark: all are in the list, so that its bound is
    /// theirs.
    unwritten: Vec<(Mark, Reaches)>,
}

/// Why entries were not taken, or not kept.
#[derive(Debug)]
pub enum EnterError {
    /// There is no room for them; the bound.
    Full(usize),
    /// They are in, and would be gone after a restart: the file could not be written.
    Unwritten,
}

impl fmt::Display for EnterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bound) => {
                write!(formatter, "the revocation list is full: revocations.entries is {bound}")
            }
            Self::Unwritten => formatter.write_str(
                "it is revoked until a restart: the file of the revocation list could not be written",
            ),
        }
    }
}

impl std::error::Error for EnterError {}

/// How full the list is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RevocationStatus {
    /// How many entries there are. Those that have ended are among them for a minute.
    pub entries: usize,
    /// How many there may be.
    pub bound: usize,
    /// Whether they outlive the process.
    pub kept_in_file: bool,
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// This process serves by it.
    Serving,
    /// It is only looked at: another process may have its file.
    Looking,
}

impl RevocationList {
    /// Makes it, with what its file holds.
    ///
    /// # Errors
    /// When the file cannot be used, or is damaged.
    pub fn open(
        settings: &Revocations,
        metrics: RevocationMetrics,
        purpose: Use,
    ) -> Result<Arc<Self>, JournalError> {
        let now = time::now().unix;
        let (journal, entries) = match (&settings.file, purpose) {
            (Some(file), Use::Serving) => {
                let (journal, entries) = Journal::open(file, now)?;
                (Some(journal), entries)
            }
            (Some(file), Use::Looking) => (None, Journal::look(file, now)?),
            (None, _) => (None, Entries::default()),
        };
        if settings.entries < entries.len() {
            let (entries, bound) = (entries.len(), settings.entries);
            tracing::warn!(entries, bound, "more revocations are kept than the list may have");
        }
        metrics.begin();
        metrics.entries(entries.len());
        Ok(Arc::new(Self {
            table: Table::new(entries),
            bound: AtomicUsize::new(settings.entries),
            is_kept: journal.is_some(),
            writing: Mutex::new(journal.map(|journal| Keeping { journal, unwritten: Vec::new() })),
            changes: watch::Sender::new(()),
            seen: Seen::default(),
            metrics,
        }))
    }

    /// Sets another bound. What is over it stays until it ends.
    pub fn set_bound(&self, entries: usize) {
        self.bound.store(entries, Ordering::Relaxed);
    }

    /// Whether it is kept in a file.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether a token is revoked. Cost where the list is empty: one load and one branch; else one
    /// look for the token and one for each of its claims of which there are entries.
    pub fn names(&self, token: &VerifiedToken, now: UnixSeconds) -> bool {
        !self.table.is_empty() && self.names_one_of(token, now)
    }

    #[cold]
    fn names_one_of(&self, token: &VerifiedToken, now: UnixSeconds) -> bool {
        let traces = token.claims.traces();
        let issued_at = traces.and_then(|traces| traces.issued_at());
        let names = |mark: Mark| {
            let reaches = self.table.find(&mark);
            reaches.is_some_and(|reaches| reaches.covers(issued_at, now))
        };
        names(Mark::of_token(&token.digest))
            || traces.is_some_and(|traces| traces.marks().any(names))
    }

    /// Ready once a token is revoked: at once, if it is by now.
    ///
    /// Cost of the wait: a place in the queue of those who wait. Each change wakes it for one look;
    /// changes that come fast are looked at together.
    pub async fn revoked(self: Arc<Self>, token: Arc<VerifiedToken>) {
        let mut changes = self.changes.subscribe(); // before the look: nothing is missed between
        while !self.names(&token, time::now().unix) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            // Before the look, and not after it: however fast they come, each is looked at.
            sleep(LOOK_PAUSE).await;
            changes.mark_unchanged();
        }
    }

    /// Takes entries in; when this returns they count, and are on the disk where there is a file.
    ///
    /// # Errors
    /// When there is no room for all of them: none is taken then. When they are in but not on the
    /// disk.
    pub async fn enter(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        door: RevocationDoor,
    ) -> Result<(), EnterError> {
        let now = time::now().unix;
        let outcome = if self.is_kept {
            // The disk may take its time, and others are served on this thread.
            let list = Arc::clone(self);
            let writing = tokio::task::spawn_blocking(move || list.write(&entries, now));
            writing.await.unwrap_or(Err(EnterError::Unwritten))
        } else {
            self.write(&entries, now)
        };
        match &outcome {
            Ok(()) => self.metrics.taken(door),
            Err(error) => {
                let why = match error {
                    EnterError::Full(_) => RevocationRefusal::Full,
                    EnterError::Unwritten => RevocationRefusal::Unwritten,
                };
                self.metrics.refused(door, why);
                tracing::error!(door = door.name(), %error, "a revocation was not taken");
            }
        }
        outcome
    }

    /// Whether it is the first time that a logout token of this `jti` comes; it is good until
    /// `until`.
    pub fn is_first(&self, id: Mark, until: UnixSeconds, now: UnixSeconds) -> bool {
        self.seen.is_first(id, until, now)
    }

    /// What a logout token asked for was not done: it may come again.
    pub fn unsee(&self, id: &Mark) {
        self.seen.forget(id);
    }

    /// Counts a revocation that could not be read or proves nothing.
    pub fn refused(&self, door: RevocationDoor) {
        self.metrics.refused(door, RevocationRefusal::Invalid);
    }

    fn write(&self, entries: &[Entry], now: UnixSeconds) -> Result<(), EnterError> {
        let mut keeping = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let news = self.news(entries, now);
        let is_new = |(mark, _): &&(Mark, Reaches)| self.table.find(mark).is_none();
        let added = news.iter().filter(is_new).count();
        let bound = self.bound.load(Ordering::Relaxed);
        if bound < self.table.len() + added {
            self.table.sweep(now);
            self.metrics.entries(self.table.len());
        }
        if bound < self.table.len() + added {
            return Err(EnterError::Full(bound));
        }
        // In memory first: whatever the disk does, the token is refused from here on.
        news.iter().for_each(|(mark, reaches)| self.table.put(*mark, *reaches));
        self.metrics.entries(self.table.len());
        if !news.is_empty() {
            self.changes.send_replace(());
        }
        match &mut *keeping {
            Some(keeping) => self.write_down(keeping, news, now),
            None => Ok(()),
        }
    }

    fn write_down(
        &self,
        Keeping { journal, unwritten }: &mut Keeping,
        news: Vec<(Mark, Reaches)>,
        now: UnixSeconds,
    ) -> Result<(), EnterError> {
        // With what could not be written before: whoever asks again is told the truth.
        // What comes anew of a mark holds what was known of it.
        let is_newer = |mark| news.iter().any(|(new, _)| *new == mark);
        unwritten.retain(|(mark, reaches)| reaches.is_living(now) && !is_newer(*mark));
        unwritten.extend(news);
        if unwritten.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry> =
            unwritten.iter().flat_map(|(mark, reaches)| reaches.entries(*mark)).collect();
        if let Err(error) = journal.append(&entries) {
            tracing::error!(%error, "the file of the revocation list cannot be written");
            return Err(EnterError::Unwritten);
        }
        unwritten.clear();
        if journal.is_grown(self.table.len()) {
            let living = self.table.entries().into_iter().filter(|one| one.reach.is_living(now));
            if let Err(error) = journal.make_anew(living) {
                tracing::warn!(%error, "the file of the revocation list cannot be made anew");
            }
        }
        Ok(())
    }

    /// What of these entries changes anything: each together with what is known of its mark.
    fn news(&self, entries: &[Entry], now: UnixSeconds) -> Vec<(Mark, Reaches)> {
        let mut news: Vec<(Mark, Reaches)> = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.reach.is_living(now)) {
            let known = self.table.find(&entry.mark).map(|known| known.living(now));
            let reaches = Reaches::from(entry.reach);
            let reaches = known.map_or(reaches, |known| known.and(reaches));
            match news.iter_mut().find(|(mark, _)| *mark == entry.mark) {
                Some((_, other)) => *other = other.and(reaches),
                None if known == Some(reaches) => {}
                None => news.push((entry.mark, reaches)),
            }
        }
        news
    }

    /// How full it is.
    pub fn status(&self) -> RevocationStatus {
        RevocationStatus {
            entries: self.table.len(),
            bound: self.bound.load(Ordering::Relaxed),
            kept_in_file: self.is_kept,
        }
    }

    /// How many entries there are of each kind.
    pub fn counts(&self) -> [(MarkKind, usize); MarkKind::ALL.len()] {
        MarkKind::ALL.map(|kind| (kind, self.table.count(kind)))
    }

    /// The entries that count, those that end first before the others, and at most so many.
    pub fn entries(&self, most: usize) -> Vec<Entry> {
        let now = time::now().unix;
        let mut entries = self.table.entries();
        entries.retain(|entry| entry.reach.is_living(now));
        entries.sort_unstable_by_key(|entry| (entry.reach.until, entry.mark));
        entries.truncate(most);
        entries
    }

    /// Leaves it where somebody writes: the thread that comes here has others to serve than a disk.
    fn sweep(&self) {
        let _writing = match self.writing.try_lock() {
            Ok(writing) => writing,
            Err(TryLockError::Poisoned(writing)) => writing.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.table.sweep(time::now().unix);
        self.metrics.entries(self.table.len());
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(formatter)
    }
}

/// Lets what has ended go, now and then, as long as there is a list.
pub async fn tend(list: Weak<RevocationList>) {
    loop {
        sleep(SWEEP_EVERY).await;
        match list.upgrade() {
            Some(list) => list.sweep(),
            None => return,
        }
    }
}

/// How long a change waits for the next one before a tunnel or stream looks: they end within a
/// second, and a burst of logouts wakes ten thousand of them four times a second at most.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Entries that have ended do no harm and take little room.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
