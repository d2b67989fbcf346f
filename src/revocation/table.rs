//! The entries as requests look them up: without a lock, whoever writes meanwhile.
//!
//! In parts by their mark; a write makes one part anew, so that it copies some hundred entries of a
//! hundred thousand. There is one writer at a time, which the list sees to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::entry::{Entry, Reaches};
use crate::base::time::UnixSeconds;
use crate::oauth::{Mark, MarkKind};

/// How far the entries of each mark reach.
pub(super) type Entries = HashMap<Mark, Reaches, RandomState>;

#[derive(Debug)]
pub(super) struct Table {
    parts: Box<[ArcSwap<Entries>]>,
    /// How many there are of each kind: of most kinds mostly none.
    counts: [AtomicUsize; MarkKind::ALL.len()],
    all: AtomicUsize,
}

impl Table {
    pub(super) fn new(entries: Entries) -> Self {
        let counts: [AtomicUsize; MarkKind::ALL.len()] = Default::default();
        let all = AtomicUsize::new(entries.len());
        let mut parts = vec![Entries::default(); PARTS];
        for (mark, reach) in entries {
            count(&counts, mark).fetch_add(1, Ordering::Relaxed);
            if let Some(part) = parts.get_mut(place(&mark)) {
                part.insert(mark, reach);
            }
        }
        Self { parts: parts.into_iter().map(ArcSwap::from_pointee).collect(), counts, all }
    }

    /// Whether there are none at all. Cost: one load of what is seldom written.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, kind: MarkKind) -> usize {
        self.counts.get(kind as usize).map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// What there is of a mark, ended or not.
    pub(super) fn find(&self, mark: &Mark) -> Option<Reaches> {
        if self.count(mark.kind()) == 0 {
            return None;
        }
        self.parts.get(place(mark))?.load().get(mark).copied()
    }

    /// Puts it in, in place of what there was of this mark.
    pub(super) fn put(&self, mark: Mark, reaches: Reaches) {
        let Some(part) = self.parts.get(place(&mark)) else { return };
        let mut entries = Entries::clone(&part.load());
        let is_new = entries.insert(mark, reaches).is_none();
        part.store(entries.into());
        if is_new {
            count(&self.counts, mark).fetch_add(1, Ordering::Release);
            self.all.fetch_add(1, Ordering::Release);
        }
    }

    /// Lets those go that have ended.
    pub(super) fn sweep(&self, now: UnixSeconds) {
        for part in &self.parts {
            let before = part.load_full();
            if before.values().all(|reach| reach.is_living(now)) {
                continue;
            }
            let (living, ended): (Entries, Entries) =
                before.iter().partition(|(_, reach)| reach.is_living(now));
            part.store(living.into());
            for mark in ended.keys() {
                count(&self.counts, *mark).fetch_sub(1, Ordering::Release);
            }
            self.all.fetch_sub(ended.len(), Ordering::Release);
        }
    }

    /// All of them.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let parts = self.parts.iter().map(ArcSwap::load_full);
        let of_part = |part: std::sync::Arc<Entries>| -> Vec<Entry> {
            part.iter().flat_map(|(mark, reaches)| reaches.entries(*mark)).collect()
        };
        parts.flat_map(of_part).collect()
    }
}

fn count(counts: &[AtomicUsize; MarkKind::ALL.len()], mark: Mark) -> &AtomicUsize {
    let [token, jti, sid, subject, client] = counts;
    match mark.kind() {
        MarkKind::Token => token,
        MarkKind::Jti => jti,
        MarkKind::Sid => sid,
        MarkKind::Subject => subject,
        MarkKind::Client => client,
    }
}

fn place(mark: &Mark) -> usize {
    let [first, ..] = *mark.bytes();
    usize::from(first)
}

/// As many as a byte of a mark tells apart.
const PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::entry::Reach;
    use super::*;

    fn entry(number: i64) -> Entry {
        let kind = MarkKind::ALL[usize::try_from(number).unwrap() % 5];
        let mark = Mark::of(kind, "https://as.test", &number.to_string());
        Entry { mark, reach: Reach { until: UnixSeconds::new(number), issued_before: None } }
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_swept() {
        let table = Table::new(Entries::default());
        assert!(table.is_empty());
        let all: Vec<Entry> = (0..2000).map(entry).collect();
        for entry in &all {
            table.put(entry.mark, entry.reach.into());
            table.put(entry.mark, entry.reach.into());
        }
        assert_eq!((table.len(), table.count(MarkKind::Sid)), (2000, 400));
        assert!(all.iter().all(|entry| table.find(&entry.mark) == Some(entry.reach.into())));
        table.sweep(UnixSeconds::new(1499));
        assert_eq!((table.len(), table.count(MarkKind::Sid)), (500, 100));
        let (ended, living) = all.split_at(1500);
        assert!(ended.iter().all(|entry| table.find(&entry.mark).is_none()));
        assert!(living.iter().all(|entry| table.find(&entry.mark).is_some()));
        assert_eq!(table.entries().len(), 500);
    }

    #[test]
    fn a_table_of_many_is_the_same_as_one_that_grew() {
        let all = (0..100).map(entry);
        let table = Table::new(all.clone().map(|entry| (entry.mark, entry.reach.into())).collect());
        assert_eq!(table.len(), 100);
        assert!(all.into_iter().all(|entry| table.find(&entry.mark) == Some(entry.reach.into())));
    }
}
