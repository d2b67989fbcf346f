//! `path` of a route.

use std::fmt;
use std::str::FromStr;

use super::path::{decoded, first_segment};
use super::{AmbiguousPath, NormalPath};

/// `path` of a route: literals, `{name}`, `{*rest}`.
///
/// * `{name}` is one segment with something in it.
/// * `{*rest}` is what is left, with something in it: `/files/{*rest}` takes `/files/a`,
///   `/files/a/` and `/files/a/b`, but neither `/files` nor `/files/`.
/// * A slash at the end makes a path of its own: `/orders/` is another path than `/orders`.
/// * A literal is compared without its escapes: `/@me` takes `/%40me` too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    end: End,
}

/// One segment of a pattern before its `{*rest}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Segment {
    /// Exactly these bytes once escapes are decoded; none, for what is behind a slash at the end.
    Literal(Box<[u8]>),
    /// `{name}`: one segment, whatever stands in it.
    Name,
}

/// What stands behind the segments of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Nothing.
    Here,
    /// `{*rest}`.
    Rest,
}

/// Why a text is no path of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidPathPattern {
    /// It does not begin with a slash.
    NoSlash,
    /// Longer, with more segments or with a longer segment than any path we look for.
    TooLong,
    /// There is a query or a fragment.
    QueryOrFragment,
    /// A literal segment that every request is refused for.
    Ambiguous(Box<str>),
    /// A literal segment that is not in normal form, and the one that is.
    NotNormal(Box<str>),
    /// A brace that does not open or close a segment.
    Braces(Box<str>),
    /// A placeholder without a name, or with other characters than letters, digits, `_`, `-`, `.`.
    Name(Box<str>),
    /// Two placeholders of this name.
    NameTwice(Box<str>),
    /// `{*rest}` before the end.
    RestNotLast,
    /// `{**}`, `/*` or `/**`, as others write it.
    Star,
}

impl fmt::Display for InvalidPathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => formatter.write_str("a path begins with /"),
            Self::TooLong => write!(
                formatter,
                "a path has at most {PATTERN_MAX_BYTES} bytes, {SEGMENTS_MAX} segments and \
                 {LITERAL_MAX_BYTES} bytes in one of them; write {{*rest}} for what is behind"
            ),
            Self::QueryOrFragment => formatter
                .write_str("routes see the path alone: leave out ? and # and what is behind them"),
            Self::Ambiguous(segment) => write!(
                formatter,
                "no request can have the segment {segment:?}: write it without dot segments, empty \
                 segments, encoded slashes, backslashes, semicolons and controls, and percent-encode what is \
                 not ASCII (é is %C3%A9) and spaces (%20)"
            ),
            Self::NotNormal(normal) => {
                write!(formatter, "the path is not in its normal form: write {normal:?}")
            }
            Self::Braces(segment) => write!(
                formatter,
                "braces hold a whole segment: write {{name}} between two slashes, not {segment:?}; \
                 a brace that is meant as such is %7B or %7D"
            ),
            Self::Name(name) => write!(
                formatter,
                "{name:?} is no name: write letters, digits, _ - and . between the braces"
            ),
            Self::NameTwice(name) => {
                write!(formatter, "{{{name}}} stands twice: give each placeholder its own name")
            }
            Self::RestNotLast => formatter.write_str("{*rest} can only be the last segment"),
            Self::Star => formatter
                .write_str("write {*rest} for all that is left, and {name} for one segment"),
        }
    }
}

impl std::error::Error for InvalidPathPattern {}

impl FromStr for PathPattern {
    type Err = InvalidPathPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPathPattern> {
        let mut rest = Some(text.strip_prefix('/').ok_or(InvalidPathPattern::NoSlash)?);
        if text.contains(['?', '#']) {
            return Err(InvalidPathPattern::QueryOrFragment);
        }
        if PATTERN_MAX_BYTES < text.len() || SEGMENTS_MAX < text.matches('/').count() {
            return Err(InvalidPathPattern::TooLong);
        }
        let mut names = Vec::new();
        let mut segments = Vec::new();
        let mut end = End::Here;
        while let Some(here) = rest {
            let (segment, behind) = first_segment(here);
            match placeholder(segment, &mut names)? {
                Some(End::Rest) if behind.is_some() => return Err(InvalidPathPattern::RestNotLast),
                Some(End::Rest) => end = End::Rest,
                Some(End::Here) => segments.push(Segment::Name),
                None if segment.is_empty() && behind.is_some() => {
                    return Err(InvalidPathPattern::Ambiguous(segment.into()));
                }
                None => segments.push(Segment::Literal(literal(segment)?)),
            }
            rest = behind;
        }
        Ok(Self { text: text.into(), segments: segments.into(), end })
    }
}

impl PathPattern {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) const fn end(&self) -> End {
        self.end
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What a segment in braces stands for, or `None` for a literal.
fn placeholder<'a>(
    segment: &'a str,
    names: &mut Vec<&'a str>,
) -> Result<Option<End>, InvalidPathPattern> {
    if matches!(segment, "*" | "**" | "{**}") {
        return Err(InvalidPathPattern::Star);
    }
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let inner = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
    let inner = inner.filter(|inner| !inner.contains(['{', '}']));
    let inner = inner.ok_or_else(|| InvalidPathPattern::Braces(segment.into()))?;
    let (name, end) = match inner.strip_prefix('*') {
        Some(name) => (name, End::Rest),
        None => (inner, End::Here),
    };
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err(InvalidPathPattern::Name(name.into()));
    }
    if names.contains(&name) {
        return Err(InvalidPathPattern::NameTwice(name.into()));
    }
    names.push(name);
    Ok(Some(end))
}

fn literal(segment: &str) -> Result<Box<[u8]>, InvalidPathPattern> {
    let mut alone = String::from("/");
    alone.push_str(segment);
    let normal = NormalPath::parse(&alone)
        .map_err(|AmbiguousPath| InvalidPathPattern::Ambiguous(segment.into()))?;
    if normal.is_rewritten() {
        return Err(InvalidPathPattern::NotNormal(normal.segments().into()));
    }
    let literal: Box<[u8]> = decoded(segment).collect();
    if LITERAL_MAX_BYTES < literal.len() {
        return Err(InvalidPathPattern::TooLong);
    }
    Ok(literal)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// A whole pattern; requests may be longer where there is a placeholder.
const PATTERN_MAX_BYTES: usize = 2048;
/// Bounds how deep a lookup can go.
const SEGMENTS_MAX: usize = 64;
/// A segment with escapes is decoded into a buffer of this size to be looked up; a longer one is
/// no literal of any route.
pub(super) const LITERAL_MAX_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_literals_names_and_a_rest() {
        for text in [
            "/",
            "/orders",
            "/orders/",
            "/orders/{id}",
            "/orders/{id}/",
            "/{a}/{b}/{*rest}",
            "/{*rest}",
            "/a%20b/%C3%A9",
            "/{order.id}/{order_id}/{order-id}",
            "/.well-known/x,y=1",
            "/@me",
        ] {
            let pattern: PathPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_mistake_in_a_pattern_says_what_to_write() {
        use InvalidPathPattern as E;
        let long = format!("/{}", "a".repeat(256));
        let deep = "/a".repeat(65);
        #[rustfmt::skip]
        let cases = [
            ("",                 E::NoSlash,                       "begins with /"),
            ("orders",           E::NoSlash,                       "begins with /"),
            ("/a?b",             E::QueryOrFragment,               "leave out ?"),
            ("/a#b",             E::QueryOrFragment,               "leave out ?"),
            ("/%7euser",         E::NotNormal("~user".into()),     "write \"~user\""),
            ("/a/%c3%a9",        E::NotNormal("%C3%A9".into()),    "write \"%C3%A9\""),
            ("/a/../b",          E::Ambiguous("..".into()),        "dot segments"),
            ("/a//b",            E::Ambiguous("".into()),          "empty segments"),
            ("/é",               E::Ambiguous("é".into()),         "%C3%A9"),
            ("/a;x",             E::Ambiguous("a;x".into()),       "semicolons"),
            ("/a%3Bx",           E::Ambiguous("a%3Bx".into()),     "semicolons"),
            ("/a b",             E::Ambiguous("a b".into()),       "%20"),
            ("/a%2fb",           E::Ambiguous("a%2fb".into()),     "encoded slashes"),
            ("/a{id}",           E::Braces("a{id}".into()),        "{name}"),
            ("/{id}.json",       E::Braces("{id}.json".into()),    "{name}"),
            ("/{id",             E::Braces("{id".into()),          "%7B"),
            ("/id}",             E::Braces("id}".into()),          "%7D"),
            ("/{{id}}",          E::Braces("{{id}}".into()),       "{name}"),
            ("/{a}{b}",          E::Braces("{a}{b}".into()),       "{name}"),
            ("/{a/b}",           E::Braces("{a".into()),           "{name}"),
            ("/{}",              E::Name("".into()),               "letters"),
            ("/{*}",             E::Name("".into()),               "letters"),
            ("/{a b}",           E::Name("a b".into()),            "letters"),
            ("/{a}/x/{a}",       E::NameTwice("a".into()),         "{a} stands twice"),
            ("/{a}/{*a}",        E::NameTwice("a".into()),         "{a} stands twice"),
            ("/{*rest}/a",       E::RestNotLast,                   "last"),
            ("/{*rest}/",        E::RestNotLast,                   "last"),
            ("/a/*",             E::Star,                          "{*rest}"),
            ("/a/**",            E::Star,                          "{*rest}"),
            ("/{**}",            E::Star,                          "{*rest}"),
            (&*long,             E::TooLong,                       "at most"),
            (&*deep,             E::TooLong,                       "at most"),
        ];
        for (text, expected, advice) in cases {
            let error = text.parse::<PathPattern>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(error.to_string().contains(advice), "{text}: {error}");
        }
    }
}
