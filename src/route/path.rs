//! Paths: the one normal form of a request's path.
//!
//! Takes the path as received; gives what routes see and what the upstream gets. They are one
//! text (but for a route's literal [`PrefixRewrite`](super::PrefixRewrite)), so nobody behind us can read another path than the one that was judged (RFC 3986 §6.2.2,
//! RFC 9110 §17.3).
//!
//! # What holds
//! * What has two readings is refused: dot segments in any spelling, an encoded slash, a
//!   backslash, controls, a bad percent, an empty segment inside, a semicolon in either spelling:
//!   servlet containers cut `;x` off a segment before they route, and others do not. So are escapes
//!   that are no UTF-8, overlong ones above all.
//! * Percent-encoded unreserved characters are decoded and other escapes written in upper case,
//!   as RFC 3986 §6.2.2 says that they mean the same; all else stays as received.
//! * A normal form is its own normal form.
//!
//! Cost for a path that is normal already: one pass, no allocation.

use std::borrow::Cow;
use std::fmt;

/// The one normal form of a request's path: what routes see and what the upstream gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NormalPath<'a>(Cow<'a, str>);

/// The path has two readings, or none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmbiguousPath;

impl fmt::Display for AmbiguousPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "the path has dot segments, an empty segment, an encoded slash, a backslash, a semicolon, \
             a control or non-ASCII character, a bad percent-encoding, or one that is no UTF-8",
        )
    }
}

impl std::error::Error for AmbiguousPath {}

impl<'a> NormalPath<'a> {
    /// Reads a path, without its query. Borrowed if already normal, which it nearly always is.
    ///
    /// # Errors
    /// When it has two readings; see the head of this file.
    pub fn parse(path: &'a str) -> Result<Self, AmbiguousPath> {
        let segments = path.strip_prefix('/').ok_or(AmbiguousPath)?;
        let mut form = Form::Normal;
        let mut rest = Some(segments);
        while let Some(here) = rest {
            let (segment, behind) = first_segment(here);
            if segment.is_empty() && behind.is_some() {
                return Err(AmbiguousPath);
            }
            form = form.and(form_of(segment.as_bytes())?);
            rest = behind;
        }
        Ok(Self(match form {
            Form::Normal => path.into(),
            Form::Other => rewritten(path).into(),
        }))
    }

    /// The path, beginning with its slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself.
    pub fn into_text(self) -> Cow<'a, str> {
        self.0
    }

    /// Whether it differs from what was received, so that the upstream's target must be rewritten.
    pub fn is_rewritten(&self) -> bool {
        matches!(self.0, Cow::Owned(_))
    }

    /// Everything behind the first slash.
    pub(super) fn segments(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }
}

/// The text up to the next slash, and what is behind that slash, if there is one.
pub(super) fn first_segment(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((segment, behind)) => (segment, Some(behind)),
        None => (text, None),
    }
}

/// What the escapes of a segment stand for, byte by byte.
///
/// A route's literal is compared in this form: `/%40me` and `/@me` are one resource for nearly
/// every upstream, and the second spelling must not slip past a route for the first. What is sent
/// on keeps its spelling.
pub(super) fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let mut bytes = segment.bytes();
    std::iter::from_fn(move || match bytes.next()? {
        b'%' => Some(hex(bytes.next()?)? << 4 | hex(bytes.next()?)?),
        byte => Some(byte),
    })
}

#[derive(Clone, Copy)]
enum Form {
    Normal,
    Other,
}

impl Form {
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Normal, Self::Normal) => Self::Normal,
            (Self::Other, _) | (_, Self::Other) => Self::Other,
        }
    }
}

/// Judges one segment: what it says of itself, whatever stands around it.
fn form_of(segment: &[u8]) -> Result<Form, AmbiguousPath> {
    let mut form = Form::Normal;
    let mut is_ascii = true;
    let mut bytes = segment.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (bytes.next(), bytes.next());
            form = form.and(form_of_escape(high, low)?);
            is_ascii &= high.is_some_and(|high| high < b'8');
        } else if !is_plain(byte) {
            return Err(AmbiguousPath);
        }
    }
    if is_dot_segment(segment) || !(is_ascii || is_text(segment)) {
        return Err(AmbiguousPath);
    }
    Ok(form)
}

fn form_of_escape(high: Option<u8>, low: Option<u8>) -> Result<Form, AmbiguousPath> {
    let (high, low) = (high.ok_or(AmbiguousPath)?, low.ok_or(AmbiguousPath)?);
    let byte = hex(high).ok_or(AmbiguousPath)? << 4 | hex(low).ok_or(AmbiguousPath)?;
    if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';') {
        return Err(AmbiguousPath);
    }
    let is_lower = high.is_ascii_lowercase() || low.is_ascii_lowercase();
    Ok(if is_lower || is_unreserved(byte) { Form::Other } else { Form::Normal })
}

/// Whether its escapes are UTF-8: a lenient reader takes `%C0%AF` for a slash, and what is no text
/// for anything (RFC 3629 §10).
fn is_text(segment: &[u8]) -> bool {
    let segment = std::str::from_utf8(segment).unwrap_or_default();
    std::str::from_utf8(&decoded(segment).collect::<Vec<_>>()).is_ok()
}

/// One or two dots, in any spelling.
fn is_dot_segment(segment: &[u8]) -> bool {
    let Some(behind) = without_dot(segment) else { return false };
    without_dot(behind).unwrap_or(behind).is_empty()
}

const fn without_dot(segment: &[u8]) -> Option<&[u8]> {
    match segment {
        [b'.', behind @ ..] | [b'%', b'2', b'E' | b'e', behind @ ..] => Some(behind),
        _ => None,
    }
}

/// The normal form of a path that has one.
fn rewritten(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            normal.push(character);
            continue;
        }
        let digits = [characters.next(), characters.next()].map(|digit| digit.unwrap_or_default());
        let value = digits.map(|digit| digit.to_digit(16).unwrap_or_default());
        match char::from_u32(value[0] << 4 | value[1]) {
            Some(plain) if u8::try_from(plain).is_ok_and(is_unreserved) => normal.push(plain),
            _ => {
                normal.push('%');
                normal.extend(digits.map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    normal
}

/// What may stand in a segment unescaped. RFC 3986 §3.3 allows less; the rest is passed on as
/// received, since nobody reads `{` or `|` as anything else. It allows `;` for parameters, and a
/// route for `/{id}` would take `/admin;x`, which a servlet container reads as `/admin`.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'?' | b'/' | b'%' | b';')
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn normal(path: &str) -> Result<String, AmbiguousPath> {
        NormalPath::parse(path).map(|normal| normal.as_str().to_owned())
    }

    /// The table that the tests of the gateway send over the wire, too.
    #[derive(serde::Deserialize)]
    struct Paths {
        none: Vec<String>,
        refused: BTreeMap<String, Vec<String>>,
        rewritten: BTreeMap<String, String>,
        kept: BTreeMap<String, Vec<String>>,
    }

    fn table() -> Paths {
        toml::from_str(include_str!("../../tests/paths.toml")).unwrap()
    }

    #[test]
    fn invariant_7_what_has_two_readings_is_refused() {
        let Paths { none, refused, .. } = table();
        for path in none.iter().chain(refused.values().flatten()) {
            assert_eq!(normal(path), Err(AmbiguousPath), "{path:?}");
        }
    }

    #[test]
    fn rfc3986_6_2_2_equivalent_spellings_have_one_normal_form() {
        for (path, expected) in table().rewritten {
            assert_eq!(normal(&path).as_deref(), Ok(expected.as_str()), "{path}");
            assert_eq!(normal(&expected).as_deref(), Ok(expected.as_str()), "{path}: twice");
        }
    }

    #[test]
    fn rfc9110_7_7_all_else_stays_as_received_and_is_borrowed() {
        for path in table().kept.values().flatten() {
            let parsed = NormalPath::parse(path).unwrap();
            assert_eq!(parsed.as_str(), path);
            assert!(!parsed.is_rewritten(), "{path}");
        }
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form_and_never_has_a_second_reading() {
        // Every text of up to four of these pieces: 12^1 + … + 12^4 paths.
        let pieces = ["/", ".", "a", "%2e", "%2E", "%2f", ";", "%", "%41", "%3b", "\\", "%25"];
        let mut paths = vec![String::new()];
        for _ in 0..4 {
            let longer = |path: &String| pieces.map(|piece| format!("{path}{piece}"));
            paths = paths.iter().flat_map(longer).collect();
            for path in &paths {
                let path = format!("/{path}");
                let Ok(once) = normal(&path) else { continue };
                assert_eq!(normal(&once), Ok(once.clone()), "{path}");
                let read = percent_encoding::percent_decode_str(&once).decode_utf8_lossy();
                let has_dots = read.split('/').any(|one| one == "." || one == "..");
                assert!(!read.contains(';'), "{path} reads as {read}");
                assert!(!has_dots, "{path} reads as {read}");
                assert_eq!(read.matches('/').count(), path.matches('/').count(), "{path}");
            }
        }
    }
}
