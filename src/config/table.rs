//! Tables whose keys are known: they are taken one by one, and whatever is left is unknown.

use std::collections::BTreeMap;

use super::context::Spot;
use super::problem::Told;
use super::reader::{Value, all, join};
use super::tree::{Entry, Kind, Node};
use super::unknown;

/// A table that is being read.
pub(super) struct Table<'c> {
    spot: Spot<'c>,
    schema: String,
    left: BTreeMap<String, Entry>,
    known: Vec<&'static str>,
    /// What is told at the end, unless something that is left is probably meant to be the key.
    lacking: Vec<Lacking>,
}

/// Keys of which one must be there, and none is.
struct Lacking {
    keys: Vec<&'static str>,
    what: String,
    write: String,
}

impl<'c> Table<'c> {
    pub(super) const fn new(spot: Spot<'c>, schema: String, left: BTreeMap<String, Entry>) -> Self {
        Self { spot, schema, left, known: Vec::new(), lacking: Vec::new() }
    }

    pub(super) const fn spot(&self) -> &Spot<'c> {
        &self.spot
    }

    /// Takes a key that may be absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'c>> {
        self.known.push(key);
        let schema = join(&self.schema, key);
        let entry = self.left.remove(key);
        let mut keys = self.spot.keys();
        keys.asked.insert(schema.clone());
        keys.seen.extend(entry.is_some().then(|| schema.clone()));
        let Entry { node: Node { span, kind }, .. } = entry?;
        Some(Value { spot: self.spot.inner(span, join(&self.spot.path, key)), schema, kind })
    }

    /// Takes and reads a key that may be absent.
    pub(super) fn option<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'c>) -> Result<T, Told>,
    ) -> Result<Option<T>, Told> {
        self.take(key).map(read).transpose()
    }

    /// Takes and reads a key that may be absent, and says where it stands.
    pub(super) fn placed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'c>) -> Result<T, Told>,
    ) -> Result<Option<(T, Spot<'c>)>, Told> {
        self.option(key, |value| {
            let spot = value.spot().clone();
            read(value).map(|read| (read, spot))
        })
    }

    /// Takes and reads a key, or uses its default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'c>) -> Result<T, Told>,
    ) -> Result<T, Told> {
        self.take(key).map_or(Ok(default), read)
    }

    /// Takes and reads a key that must be there; `write` says how.
    pub(super) fn must<T>(
        &mut self,
        key: &'static str,
        write: &str,
        read: impl FnOnce(Value<'c>) -> Result<T, Told>,
    ) -> Result<T, Told> {
        match self.take(key) {
            Some(value) => read(value),
            None => Err(self.lacks(&[key], &format!("`{key}` is missing"), write)),
        }
    }

    /// Tells that one of `keys` must be there; not if one is there and misspelled.
    pub(super) fn lacks(&mut self, keys: &[&'static str], what: &str, write: &str) -> Told {
        let (what, write) = (what.to_owned(), write.to_owned());
        self.lacking.push(Lacking { keys: keys.to_vec(), what, write });
        Told::later()
    }

    /// Reads a table inside, an absent one as an empty one: each of its keys has a default.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'c>) -> Result<T, Told>,
    ) -> Result<T, Told> {
        let absent = Value {
            spot: self.spot.inner(self.spot.span, join(&self.spot.path, key)),
            schema: join(&self.schema, key),
            kind: Kind::Table(BTreeMap::new()),
        };
        self.take(key).unwrap_or(absent).table(read)
    }

    /// Tells what is missing and what is left. Who makes a table ends it.
    pub(super) fn finish(self) -> Result<(), Told> {
        let Self { spot, schema, left, known, lacking } = self;
        let meant: Vec<&str> =
            left.keys().filter_map(|key| unknown::nearest(key, known.iter().copied())).collect();
        let is_lacking = |one: &&Lacking| !one.keys.iter().any(|key| meant.contains(key));
        let missing = lacking
            .iter()
            .filter(is_lacking)
            .map(|one| Err::<(), Told>(spot.missing(&one.what, &one.write)));
        let missing = all(missing);
        let unknown = left.into_iter().map(|(key, Entry { key: span, .. })| {
            let (what, write) = unknown::explain(&schema, &key, &known);
            Err::<(), Told>(spot.inner(span, join(&spot.path, &key)).wrong(what, write))
        });
        all(unknown).and(missing).map(drop)
    }
}
