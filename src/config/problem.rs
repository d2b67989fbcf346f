//! What is wrong with a configuration: where, what, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Whether a configuration can be used in spite of a problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and somebody should look at it.
    Warning,
}

/// A place in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Where in it; absent for the file as a whole.
    pub excerpt: Option<Excerpt>,
}

/// A line of a file, and which part of it is meant. Secrets written into it are hidden.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Excerpt {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The line, or of a long one what is around the place.
    pub text: String,
    /// Which characters of `text` are meant; never empty.
    pub caret: Range<usize>,
}

/// One mistake, or something that works but should not be so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    severity: Severity,
    place: Place,
    key: String,
    what: String,
    write: String,
}

/// All problems of a configuration that cannot be used, in the order of the files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(Vec<Problem>);

/// A problem has been told, so there is no value. Only telling one makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Told(());

impl Told {
    /// For what is told when the table it stands in has been read.
    pub(super) const fn later() -> Self {
        Self(())
    }
}

impl Problem {
    pub(super) fn new(
        severity: Severity,
        place: Place,
        key: &str,
        what: &str,
        write: &str,
    ) -> (Self, Told) {
        let problem =
            Self { severity, place, key: plain(key), what: plain(what), write: plain(write) };
        (problem, Told(()))
    }

    /// About a file as a whole.
    pub(super) fn of_file(path: &Path, what: &str, write: &str) -> Self {
        let place = Place { path: path.to_owned(), excerpt: None };
        Self::new(Severity::Error, place, "", what, write).0
    }

    /// Whether the configuration can be used in spite of it.
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// Where it is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The key it is about, such as `routes[2].access.scopes[0]`; empty for a file as a whole.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to write instead.
    pub fn write(&self) -> &str {
        &self.write
    }
}

impl Problems {
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// Each of them, warnings too.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        match &self.excerpt {
            Some(excerpt) => write!(formatter, ":{}:{}", excerpt.line, excerpt.column),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: ", self.place, self.severity)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.what)?;
        let mut margin = 1;
        if let Some(Excerpt { line, text, caret, .. }) = &self.place.excerpt {
            margin = line.to_string().len() + 1;
            write!(formatter, "\n {line} | {text}")?;
            write!(formatter, "\n{:margin$} | {:before$}", "", "", before = caret.start)?;
            write!(formatter, "{:^<width$}", "", width = caret.len())?;
        }
        write!(formatter, "\n{:margin$} = {}", "", self.write)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Keys and values are quoted in what is said of them, and must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_a_whole_file_has_no_line() {
        let problem = Problem::of_file(Path::new("x.toml"), "cannot be read", "name another");
        assert_eq!(problem.to_string(), "x.toml: error: cannot be read\n  = name another");
    }
}
