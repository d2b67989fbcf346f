//! What one walk through a configuration shares: the files, the problems met so far, and places to
//! tell more of them.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem, Severity, Told};
use super::reader::Value;
use super::source::{Sources, Span};
use super::tree::{Entry, Kind};
use crate::oauth::Plaintext;

/// What one walk shares: the files, and the problems met so far.
pub(super) struct Context {
    sources: Sources,
    /// Whether http: issuers pass.
    pub(super) plaintext: Plaintext,
    problems: RefCell<Vec<(Span, Problem)>>,
    /// Lines with a syntax error: what else is wrong there follows from it.
    broken: RefCell<Vec<Place>>,
    taken: RefCell<BTreeMap<(&'static str, String), Span>>,
    /// What the walk can read, and what it has read.
    pub(super) keys: RefCell<Keys>,
}

/// Every key that was asked for, and those that were there. `authorization_servers.*.issuer` stands
/// for the key of every authorization server, `routes[].path` for that of every route.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) asked: BTreeSet<String>,
    pub(super) seen: BTreeSet<String>,
    pub(super) words: BTreeSet<&'static str>,
}

/// A place to say something about.
#[derive(Clone)]
pub(super) struct Spot<'c> {
    context: &'c Context,
    pub(super) span: Span,
    pub(super) path: String,
}

impl Context {
    pub(super) fn new(sources: Sources, plaintext: Plaintext) -> Self {
        Self {
            sources,
            plaintext,
            problems: RefCell::default(),
            broken: RefCell::default(),
            taken: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// Tells of a syntax error. One a line: the first one usually brings on the others.
    pub(super) fn syntax(&self, span: Span, what: &str) {
        let spot = Spot { context: self, span, path: String::new() };
        let write = "this is not TOML (https://toml.io): correct the syntax";
        spot.tell(Severity::Error, what, write);
        self.broken.borrow_mut().push(self.sources.place(span));
    }

    fn is_broken(&self, place: &Place) -> bool {
        let line = |place: &Place| place.excerpt.as_ref().map(|excerpt| excerpt.line);
        let is_same = |one: &Place| one.path == place.path && line(one) == line(place);
        self.broken.borrow().iter().any(is_same)
    }

    /// The same key in two files.
    pub(super) fn twice(&self, key: &str, first: Span, second: Span) {
        let spot = Spot { context: self, span: second, path: key.to_owned() };
        let first = self.sources.place(first);
        spot.wrong(format!("already defined at {first}"), "keep one of the two");
    }

    /// The whole document as a value.
    pub(super) fn root(&self, entries: BTreeMap<String, Entry>) -> Value<'_> {
        let spot = Spot { context: self, span: ROOT, path: String::new() };
        Value { spot, schema: String::new(), kind: Kind::Table(entries) }
    }

    /// All problems, in the order of the files.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(span, _)| *span);
        problems.dedup_by(|a, b| a.1 == b.1);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }
}

impl<'c> Spot<'c> {
    /// Tells what is wrong here and what to write.
    pub(super) fn wrong(&self, what: impl fmt::Display, write: impl fmt::Display) -> Told {
        self.tell(Severity::Error, &what.to_string(), &write.to_string())
    }

    /// Tells that something is missing, which in a file with syntax errors is no news.
    pub(super) fn missing(&self, what: impl fmt::Display, write: impl fmt::Display) -> Told {
        let (what, write) = (what.to_string(), write.to_string());
        match self.context.broken.borrow().is_empty() {
            true => self.tell(Severity::Error, &what, &write),
            false => self.problem(Severity::Error, &what, &write).1,
        }
    }

    /// Tells what works but should not be so.
    pub(super) fn warn(&self, what: impl fmt::Display, write: impl fmt::Display) {
        self.tell(Severity::Warning, &what.to_string(), &write.to_string());
    }

    /// Makes sure that there is only one `what` of this value.
    pub(super) fn only(&self, what: &'static str, value: &str, write: &str) -> Result<(), Told> {
        let first = {
            let mut taken = self.context.taken.borrow_mut();
            let key = (what, value.to_owned());
            let first = taken.get(&key).copied();
            taken.entry(key).or_insert(self.span);
            first
        };
        let Some(first) = first else { return Ok(()) };
        let first = self.context.sources.place(first);
        Err(self.wrong(format!("this {what} is already at {first}"), write))
    }

    /// Its file, line and column.
    pub(super) fn shown(&self) -> String {
        self.context.sources.place(self.span).to_string()
    }

    /// The place of a character of `text`, which is what the string here means; the whole string
    /// where it is not written as it is meant.
    pub(super) fn inside(&self, text: &str, at: usize) -> Self {
        let written = self.context.sources.written(self.span);
        let start = written.and_then(|written| written.find(text));
        let span = start.map_or(self.span, |start| {
            let start = self.span.start + start + at;
            let next = text.get(at..).and_then(|rest| rest.chars().next());
            Span { start, end: start + next.map_or(1, char::len_utf8), ..self.span }
        });
        self.inner(span, self.path.clone())
    }

    /// The file that a path written here means.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    pub(super) fn folder(&self) -> &'c Path {
        self.context.sources.folder(self.span)
    }

    pub(super) const fn plaintext(&self) -> Plaintext {
        self.context.plaintext
    }

    fn problem(&self, severity: Severity, what: &str, write: &str) -> (Problem, Told) {
        let mut place = self.context.sources.place(self.span);
        if self.span == ROOT {
            place.excerpt = None;
        }
        Problem::new(severity, place, &self.path, what, write)
    }

    fn tell(&self, severity: Severity, what: &str, write: &str) -> Told {
        let (problem, told) = self.problem(severity, what, write);
        if !self.context.is_broken(problem.place()) {
            self.context.problems.borrow_mut().push((self.span, problem));
        }
        told
    }

    /// What the walk has asked for so far.
    pub(super) fn keys(&self) -> RefMut<'c, Keys> {
        self.context.keys.borrow_mut()
    }

    pub(super) fn inner(&self, span: Span, path: String) -> Self {
        Spot { context: self.context, span, path }
    }
}

/// The document itself stands nowhere in particular.
const ROOT: Span = Span { source: 0, start: 0, end: 0 };
