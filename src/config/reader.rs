//! The values of a configuration, read as what they should be.
//!
//! Nothing stops at the first mistake: each one is told as it is met, and its value is then
//! `Err(Told)`. Who needs several values takes all of them before the first `?`.

use std::fmt;
use std::ops::RangeInclusive;

use super::context::Spot;
use super::problem::Told;
use super::table::Table;
use super::tree::{Entry, Kind, Node};
use super::unknown;

/// A value, its place, and what it is called.
pub(super) struct Value<'c> {
    pub(super) spot: Spot<'c>,
    pub(super) schema: String,
    pub(super) kind: Kind,
}

/// What a value may be, where it may be one of several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Text,
    List,
    Table,
}

impl<'c> Value<'c> {
    pub(super) const fn spot(&self) -> &Spot<'c> {
        &self.spot
    }

    /// As [`Spot::wrong`].
    pub(super) fn wrong(&self, what: impl fmt::Display, write: impl fmt::Display) -> Told {
        self.spot.wrong(what, write)
    }

    /// Gives its keys one name wherever it stands, since they mean the same everywhere.
    pub(super) fn known_as(self, schema: &str) -> Self {
        Self { schema: schema.to_owned(), ..self }
    }

    /// Which of these it is; `None` if it is none of them, which reading it as any of them tells.
    pub(super) fn form(&self, forms: &[Form]) -> Option<Form> {
        let is = match self.kind {
            Kind::Text(_) => Some(Form::Text),
            Kind::Array(_) => Some(Form::List),
            Kind::Table(_) => Some(Form::Table),
            _ => None,
        };
        let mut keys = self.spot.keys();
        keys.asked.extend(forms.iter().map(|form| format!("{} as {form:?}", self.schema)));
        let is = is.filter(|is| forms.contains(is));
        keys.seen.extend(is.map(|is| format!("{} as {is:?}", self.schema)));
        is
    }

    /// A string with something in it and no control character.
    pub(super) fn text(&self) -> Result<&str, Told> {
        match &self.kind {
            Kind::Text(text) if text.is_empty() => {
                Err(self.wrong("an empty string", "write a value, or take the key out"))
            }
            Kind::Text(text) if text.contains(char::is_control) => {
                Err(self.wrong("a control character is not allowed", "write one line of text"))
            }
            Kind::Text(text) => Ok(text),
            other => {
                let what = format!("expected a string, found {}", other.name());
                Err(self.wrong(what, "write it between quotes: \"…\""))
            }
        }
    }

    /// A string with something in it, on as many lines as it takes.
    pub(super) fn lines(&self) -> Result<&str, Told> {
        let is_layout = |one: char| matches!(one, '\n' | '\r' | '\t');
        match &self.kind {
            Kind::Text(text)
                if !text.trim().is_empty()
                    && !text.contains(|one: char| one.is_control() && !is_layout(one)) =>
            {
                Ok(text)
            }
            _ => self.text(),
        }
    }

    /// A string that follows a grammar; `write` shows it.
    pub(super) fn parse<T, E: fmt::Display>(
        &self,
        write: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Told> {
        parse(self.text()?).map_err(|error| self.wrong(error, write))
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, Told> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        self.spot.keys().words.extend(words.iter().map(|(name, _)| *name));
        let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        let text = match &self.kind {
            Kind::Text(text) => text,
            other => {
                let what = format!("expected a string, found {}", other.name());
                return Err(self.wrong(what, format!("write {list}")));
            }
        };
        let found = words.iter().find(|(name, _)| name == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let what = format!("{text:?} is not one of the words known here");
            match unknown::nearest(text, names) {
                Some(near) => self.wrong(what, format!("did you mean \"{near}\"? Write {list}")),
                None => self.wrong(what, format!("write {list}")),
            }
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, Told> {
        match self.kind {
            Kind::Boolean(yes) => Ok(yes),
            ref other => {
                let what = format!("expected true or false, found {}", other.name());
                Err(self.wrong(what, "write true or false, without quotes"))
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, bounds: RangeInclusive<u32>) -> Result<u32, Told> {
        let (first, last) = (bounds.start(), bounds.end());
        let write = format!("write a whole number from {first} to {last}, without quotes");
        match self.kind {
            Kind::Whole(number) => u32::try_from(number)
                .ok()
                .filter(|number| bounds.contains(number))
                .ok_or_else(|| self.wrong("out of bounds", write)),
            ref other => {
                Err(self.wrong(format!("expected a whole number, found {}", other.name()), write))
            }
        }
    }

    /// Whether it is the number 0, which needs no unit.
    pub(super) const fn is_zero(&self) -> bool {
        matches!(self.kind, Kind::Whole(0))
    }

    /// A JSON scalar: what a claim's value can be compared with.
    pub(super) fn scalar(&self) -> Result<serde_json::Value, Told> {
        match &self.kind {
            Kind::Text(text) => Ok(text.as_str().into()),
            Kind::Boolean(yes) => Ok((*yes).into()),
            Kind::Whole(number) if i64::try_from(*number).is_ok() => {
                Ok(i64::try_from(*number).unwrap_or_default().into())
            }
            other => {
                let what = format!("{} cannot be compared with a claim", other.name());
                Err(self.wrong(what, "write strings, whole numbers, true or false"))
            }
        }
    }

    /// The items of a list with at least one.
    pub(super) fn items(self, write: &str) -> Result<Vec<Self>, Told> {
        let Self { spot, schema, kind } = self;
        match kind {
            Kind::Array(items) if items.is_empty() => {
                Err(spot.wrong("an empty list", format!("{write}, or take the key out")))
            }
            Kind::Array(items) => {
                let values = items.into_iter().enumerate().map(|(index, Node { span, kind })| {
                    let spot = spot.inner(span, format!("{}[{index}]", spot.path));
                    Self { spot, schema: format!("{schema}[]"), kind }
                });
                Ok(values.collect())
            }
            other => Err(spot.wrong(format!("expected a list, found {}", other.name()), write)),
        }
    }

    /// Every item of a list, read; all of them are tried.
    pub(super) fn each<T>(
        self,
        write: &str,
        read: impl FnMut(Self) -> Result<T, Told>,
    ) -> Result<Vec<T>, Told> {
        all(self.items(write)?.into_iter().map(read))
    }

    /// The keys of a table whose keys are free.
    pub(super) fn entries(self, write: &str) -> Result<Vec<Named<'c>>, Told> {
        let Self { spot, schema, kind } = self;
        let Kind::Table(entries) = kind else {
            return Err(spot.wrong(format!("expected a table, found {}", kind.name()), write));
        };
        let values = entries.into_iter().map(|(name, Entry { key, node: Node { span, kind } })| {
            let path = join(&spot.path, &name);
            let key = spot.inner(key, path.clone());
            let value = Value { spot: spot.inner(span, path), schema: join(&schema, "*"), kind };
            Named { name, key, value }
        });
        Ok(values.collect())
    }

    /// A table whose keys are known. What `read` leaves is unknown.
    pub(super) fn table<T>(
        self,
        read: impl FnOnce(&mut Table<'c>) -> Result<T, Told>,
    ) -> Result<T, Told> {
        let (value, unknown) = self.walk(read)?;
        unknown.and(value)
    }

    /// As [`table`](Self::table), and an unknown key does not take away what was read.
    pub(super) fn walk<T>(
        self,
        read: impl FnOnce(&mut Table<'c>) -> T,
    ) -> Result<(T, Result<(), Told>), Told> {
        let Self { spot, schema, kind } = self;
        let Kind::Table(left) = kind else {
            let what = format!("expected a table, found {}", kind.name());
            return Err(spot.wrong(what, "write { key = value } or a [table] of its own"));
        };
        let mut table = Table::new(spot, schema, left);
        let value = read(&mut table);
        Ok((value, table.finish()))
    }
}

/// A key that somebody chose, and its value.
pub(super) struct Named<'c> {
    pub(super) name: String,
    pub(super) key: Spot<'c>,
    pub(super) value: Value<'c>,
}

/// Reads on after a mistake: all values, or that something was told.
pub(super) fn all<T>(values: impl Iterator<Item = Result<T, Told>>) -> Result<Vec<T>, Told> {
    let values: Vec<Result<T, Told>> = values.collect();
    values.into_iter().collect()
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
