//! The files of a configuration, and places in them.
//!
//! A place is shown with its line, so this is also where a secret that somebody wrote into the
//! file by mistake is kept off the screen: its bytes are hidden before anything is shown.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::{Excerpt, Place, Problem};

/// One file of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Its path: shown in problems, and its folder is where relative paths in it start.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// A piece of one source: offsets in bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Span {
    /// Which of the sources.
    pub(super) source: usize,
    /// Its first byte.
    pub(super) start: usize,
    /// The byte behind its last.
    pub(super) end: usize,
}

/// All files of one configuration.
pub(super) struct Sources {
    files: Vec<Source>,
    hidden: Vec<Span>,
}

impl Sources {
    pub(super) const fn new(files: Vec<Source>) -> Self {
        Self { files, hidden: Vec::new() }
    }

    pub(super) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Keeps these pieces off every excerpt.
    pub(super) fn hide(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.hidden.extend(spans);
    }

    /// The folder in which relative paths of a source start.
    pub(super) fn folder(&self, span: Span) -> &Path {
        let path = self.files.get(span.source).map(|file| file.path.as_path());
        path.and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// What stands there.
    pub(super) fn written(&self, span: Span) -> Option<&str> {
        self.files.get(span.source)?.text.get(span.start..span.end)
    }

    /// Where a span is, with its first line.
    pub(super) fn place(&self, span: Span) -> Place {
        let Some(file) = self.files.get(span.source) else {
            return Place { path: PathBuf::new(), excerpt: None };
        };
        let line = Line::around(&file.text, span.start);
        let hidden = |at: usize| {
            let hits =
                |one: &&Span| one.source == span.source && (one.start..one.end).contains(&at);
            self.hidden.iter().any(|one| hits(&one))
        };
        Place { path: file.path.clone(), excerpt: Some(line.excerpt(span, hidden)) }
    }
}

/// One line of a text.
struct Line<'a> {
    /// Counted from 1.
    number: usize,
    /// Offset of its first byte in the whole text.
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn around(text: &'a str, at: usize) -> Self {
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = text.split_at(at);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(text.len(), |newline| at + newline);
        let number = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Self { number, start, text: text.get(start..end).unwrap_or_default() }
    }

    fn excerpt(&self, span: Span, hidden: impl Fn(usize) -> bool) -> Excerpt {
        let mut shown: Vec<char> = Vec::new();
        let mut caret: Option<Range<usize>> = None;
        let mut column = 1;
        let mut is_hiding = false;
        for (offset, character) in self.text.char_indices() {
            let at = self.start + offset;
            let hides = hidden(at);
            if !(hides && is_hiding) {
                shown.push(if hides { '…' } else { printable(character) });
            }
            is_hiding = hides;
            if at < span.start {
                column += 1;
            } else if at < span.end.max(span.start + 1) {
                let last = shown.len();
                caret = Some(caret.map_or(last - 1..last, |caret| caret.start..last));
            }
        }
        let end = shown.iter().rposition(|one| !one.is_whitespace()).map_or(0, |last| last + 1);
        let caret = caret.unwrap_or(shown.len()..shown.len() + 1);
        shown.truncate(end.max(caret.start));
        let caret = caret.start..caret.end.min(shown.len()).max(caret.start + 1);
        cut(self.number, column, &shown, caret)
    }
}

/// Nothing of a file may steer the terminal that shows it.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

/// Keeps a long line short, around what is pointed at.
fn cut(line: usize, column: usize, shown: &[char], caret: Range<usize>) -> Excerpt {
    let from = caret.start.saturating_sub(LINE_MAX_CHARS / 2);
    let from = if shown.len() <= LINE_MAX_CHARS { 0 } else { from };
    let text: String = shown.iter().skip(from).take(LINE_MAX_CHARS).collect();
    let width = text.chars().count();
    let start = caret.start - from;
    let end = (caret.end - from).min(width).max(start + 1);
    Excerpt { line, column, text, caret: start..end }
}

/// Reads a file, or every `*.toml` of a folder in the order of their names.
pub(super) fn read(path: &Path) -> Result<Vec<Source>, Vec<Problem>> {
    let files = files(path).map_err(|error| vec![unreadable(path, &error)])?;
    if files.is_empty() {
        return Err(vec![Problem::of_file(path, "no *.toml in this folder", "add one to it")]);
    }
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for path in files {
        match read_text(&path) {
            Ok(text) => sources.push(Source { path, text }),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        // Kubernetes mounts have links in them, so what a name leads to is what counts.
        if file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
            files.push(file);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_bounded(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Reads a file that has to have an end: a device or a pipe without one is an error.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;

    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("cannot be read: {error}");
    Problem::of_file(path, &what, "name a readable file or folder")
}

/// Longer than any file of routes or bundle of certificates seen in use.
const FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What fits on a wide screen.
const LINE_MAX_CHARS: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, start: usize, end: usize, hidden: Option<Range<usize>>) -> Excerpt {
        let mut sources = Sources::new(vec![Source { path: "a.toml".into(), text: text.into() }]);
        sources.hide(hidden.map(|range| Span { source: 0, start: range.start, end: range.end }));
        sources.place(Span { source: 0, start, end }).excerpt.unwrap()
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        #[rustfmt::skip]
        let cases = [
            // text                start  end   line  column  shown       caret
            ("a = 1",              4,     5,    1,    5,      "a = 1",    4..5),
            ("\r\na = 1\r\n",      2,     3,    2,    1,      "a = 1",    0..1),
            ("é = \"ü\" # x",      5,     9,    1,    5,      "é = \"ü\" # x", 4..7),
            ("a = ",               4,     4,    1,    5,      "a = ",     4..5),
            ("",                   0,     0,    1,    1,      "",         0..1),
            ("a = [\n1\n]\n",      4,     9,    1,    5,      "a = [",    4..5),
            ("\ta = 1",            1,     2,    1,    2,      " a = 1",   1..2),
        ];
        for (text, start, end, line, column, shown, caret) in cases {
            let expected = Excerpt { line, column, text: shown.to_owned(), caret };
            assert_eq!(place(text, start, end, None), expected, "{text:?}");
        }
    }

    #[test]
    fn a_hidden_piece_is_never_shown() {
        let excerpt = place("s = \"hunter2\" # x", 4, 13, Some(4..13));
        assert_eq!((excerpt.text.as_str(), excerpt.caret), ("s = … # x", 4..5));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("a = \"{}\"", "x".repeat(5_000));
        let excerpt = place(&text, 4_000, 4_001, None);
        assert_eq!(excerpt.text.chars().count(), LINE_MAX_CHARS);
        assert_eq!((excerpt.column, excerpt.caret), (4_001, 80..81));
    }
}
