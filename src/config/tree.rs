//! A TOML document as a tree in which every key and value knows where it stands.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::source::{Source, Span};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) node: Node,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    /// One out of all bounds is kept as the largest there is, which every bound refuses.
    Whole(i128),
    Boolean(bool),
    Array(Vec<Node>),
    /// In the order of the keys.
    Table(BTreeMap<String, Entry>),
    /// What no key takes: its name.
    Other(&'static str),
}

/// A syntax error.
pub(super) struct SyntaxError {
    pub(super) span: Span,
    pub(super) message: String,
}

/// The same key in two files, with two values.
pub(super) struct DefinedTwice {
    pub(super) key: String,
    pub(super) first: Span,
    pub(super) second: Span,
}

impl Kind {
    /// As it is called in a problem.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Whole(_) => "a whole number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// Reads one source as far as it can be read, with every syntax error.
pub(super) fn parse(source: &Source, index: usize) -> (BTreeMap<String, Entry>, Vec<SyntaxError>) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let end = source.text.len();
    let errors = errors.into_iter().map(|error| {
        let range = error.span().unwrap_or(end..end);
        let span = Span { source: index, start: range.start, end: range.end };
        SyntaxError { span, message: error.message().to_owned() }
    });
    (entries(table.into_inner(), index), errors.collect())
}

fn entries(table: DeTable<'_>, source: usize) -> BTreeMap<String, Entry> {
    let spanned =
        |range: std::ops::Range<usize>| Span { source, start: range.start, end: range.end };
    table
        .into_iter()
        .map(|(key, value)| {
            let key_span = spanned(key.span());
            let node = Node { span: spanned(value.span()), kind: kind(value.into_inner(), source) };
            (key.into_inner().into_owned(), Entry { key: key_span, node })
        })
        .collect()
}

fn kind(value: DeValue<'_>, source: usize) -> Kind {
    match value {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Kind::Whole(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(_) => Kind::Other("a number with a point"),
        DeValue::Boolean(yes) => Kind::Boolean(yes),
        DeValue::Datetime(_) => Kind::Other("a date or time"),
        DeValue::Array(items) => Kind::Array(
            items
                .into_iter()
                .map(|item| {
                    let range = item.span();
                    let span = Span { source, start: range.start, end: range.end };
                    Node { span, kind: kind(item.into_inner(), source) }
                })
                .collect(),
        ),
        DeValue::Table(table) => Kind::Table(entries(table, source)),
    }
}

/// Adds one file's keys to those of the files before it: lists of tables add up, tables are merged
/// key by key, and whatever else is there twice is a mistake.
pub(super) fn merge(
    into: &mut BTreeMap<String, Entry>,
    from: BTreeMap<String, Entry>,
    path: &str,
    twice: &mut Vec<DefinedTwice>,
) {
    for (key, entry) in from {
        let Some(held) = into.get_mut(&key) else {
            into.insert(key, entry);
            continue;
        };
        let shown = if path.is_empty() { key } else { format!("{path}.{key}") };
        match (&mut held.node.kind, entry.node.kind) {
            (Kind::Table(held), Kind::Table(more)) => merge(held, more, &shown, twice),
            (Kind::Array(held), Kind::Array(more)) if are_tables(held) && are_tables(&more) => {
                held.extend(more);
            }
            _ => twice.push(DefinedTwice { key: shown, first: held.key, second: entry.key }),
        }
    }
}

fn are_tables(nodes: &[Node]) -> bool {
    !nodes.is_empty() && nodes.iter().all(|node| matches!(node.kind, Kind::Table(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str, index: usize) -> BTreeMap<String, Entry> {
        let source = Source { path: "x".into(), text: text.into() };
        let (entries, errors) = parse(&source, index);
        assert!(errors.is_empty(), "{text}");
        entries
    }

    #[test]
    fn files_add_up_and_a_key_in_two_of_them_is_a_mistake() {
        let mut all = tree("a = 1\n[t.x]\nb = 1\nd = 1\n[[r]]\nc = 1", 0);
        let more = tree("e = 1\n[t.x]\nd = 2\n[t.y]\nb = 1\n[[r]]\nc = 2", 1);
        let mut twice = Vec::new();
        merge(&mut all, more, "", &mut twice);
        assert_eq!(twice.len(), 1);
        assert_eq!(twice[0].key, "t.x.d");
        assert_eq!((twice[0].first.source, twice[0].second.source), (0, 1));
        let Kind::Array(routes) = &all["r"].node.kind else { panic!("a list") };
        assert_eq!(routes.len(), 2);
        assert!(all.contains_key("e"));
    }

    #[test]
    fn a_number_out_of_all_bounds_is_not_taken_for_a_small_one() {
        let all = tree(&format!("a = {}", "9".repeat(60)), 0);
        assert!(matches!(all["a"].node.kind, Kind::Whole(i128::MAX)));
    }
}
