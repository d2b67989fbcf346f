//! Which pieces of a file are never shown: secrets that somebody wrote into it.
//!
//! A problem shows its line, and lines of problems end up in logs. The configuration takes secrets
//! only as `{ env = "…" }` and `{ file = "…" }`, so whatever else stands where a secret belongs is
//! taken for one.

use std::collections::BTreeMap;

use super::source::{Source, Span};
use super::tree::{Entry, Kind, Node};

/// Finds them in what could be read.
pub(super) fn in_tree(entries: &BTreeMap<String, Entry>, source: &Source) -> Vec<Span> {
    let mut spans = Vec::new();
    walk(entries, source, false, &mut spans);
    spans
}

fn walk(
    entries: &BTreeMap<String, Entry>,
    source: &Source,
    is_secret: bool,
    spans: &mut Vec<Span>,
) {
    for (key, entry) in entries {
        let is_name = is_secret && (key == "env" || key == "file");
        let is_secret = (is_secret && !is_name) || names_a_secret(key);
        node(&entry.node, source, is_secret, spans);
    }
}

fn node(node_: &Node, source: &Source, is_secret: bool, spans: &mut Vec<Span>) {
    match &node_.kind {
        Kind::Table(entries) => walk(entries, source, is_secret, spans),
        Kind::Array(items) => {
            items.iter().for_each(|item| node(item, source, is_secret, spans));
        }
        _ if is_secret => spans.push(node_.span),
        Kind::Text(_) => spans.extend(userinfo(node_.span, source)),
        _ => {}
    }
}

/// A secret's key, a misspelled one too.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let is_near = |name| strsim::osa_distance(&key, name) <= 2;
    WORDS.iter().any(|word| key.contains(word))
        || ["client_secret", "shared_secret"].into_iter().any(is_near)
        || strsim::osa_distance(&key, "client_key") <= 1
}

/// `user:password` of a URL.
fn userinfo(span: Span, source: &Source) -> Option<Span> {
    let text = source.text.get(span.start..span.end)?;
    let scheme = text.find("://")? + 3;
    let authority = text.get(scheme..)?.split(['/', '?', '#']).next()?;
    let end = authority.rfind('@')?;
    Some(Span { start: span.start + scheme, end: span.start + scheme + end, ..span })
}

/// Finds them in a file with syntax errors, whose tree cannot be relied on: what stands behind a
/// secret's key, to the end of the line.
pub(super) fn in_text(source: &Source, index: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let word = WORDS.iter().chain(&["client_key"]).filter_map(|word| lower.find(word)).min();
        if let Some(word) = word
            && let Some(equals) = lower.get(word..).and_then(|rest| rest.find('='))
        {
            spans.push(Span {
                source: index,
                start: start + word + equals + 1,
                end: start + line.len(),
            });
        }
        start += line.len();
    }
    spans
}

const WORDS: [&str; 3] = ["secret", "passw", "passphrase"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    fn hidden(text: &str) -> Vec<String> {
        let source = Source { path: "x".into(), text: text.to_owned() };
        let (entries, errors) = tree::parse(&source, 0);
        let spans = match errors.is_empty() {
            true => in_tree(&entries, &source),
            false => in_text(&source, 0),
        };
        let shown = |span: &Span| text.get(span.start..span.end).unwrap().trim().to_owned();
        spans.iter().map(shown).collect()
    }

    #[test]
    fn a_secret_in_the_file_is_hidden_and_where_one_is_read_from_is_not() {
        #[rustfmt::skip]
        let cases = [
            ("client_secret = \"a\"",                     "\"a\""),
            ("client_secrt = \"a\"",                      "\"a\""),
            ("x = { shared_secret = \"a\" }",             "\"a\""),
            ("client_secret = { value = \"a\" }",         "\"a\""),
            ("password = 1234",                           "1234"),
            ("client_key = '''\na'''",                    "'''\na'''"),
            ("proxy = \"http://u:p@h/x@y\"",              "u:p"),
            ("client_secret = a b",                       "a b"),
            ("x = { client_secret = a",                   "a"),
        ];
        for (text, expected) in cases {
            assert_eq!(hidden(text), [expected], "{text}");
        }
        for text in [
            "client_secret = { env = \"A\" }",
            "client_secret = { file = \"a\" }",
            "client_id = \"a\"",
            "client_key_id = \"a\"",
            "issuer = \"https://a/@b\"",
        ] {
            assert!(hidden(text).is_empty(), "{text}");
        }
    }
}
