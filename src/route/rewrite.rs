//! `rewrite` of a route: another prefix for the path that goes on.
//!
//! # What holds
//! * Both prefixes are literal and made of whole segments: `/api` is no prefix of `/apis`.
//! * What is behind the prefix goes on byte by byte, from the one normal form that the route was
//!   found by. Nothing is decoded, and nothing is normalised a second time.
//! * The path that is made is read like any path that comes in, and must be its own normal form
//!   (CVE-2026-48020: a path rewritten after the decision was normalised once more, into another).

use std::fmt;

use http::HeaderValue;

use super::path::{decoded, first_segment};
use super::pattern::{End, Segment};
use super::{AmbiguousPath, NormalPath, PathPattern};

/// A prefix that is taken off a path, and what comes in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrefixRewrite {
    /// The segments that are taken off.
    prefix: Box<[Segment]>,
    /// What comes in their place: nothing, or a slash and all behind it but no slash at the end.
    to: Box<str>,
    outer: Option<HeaderValue>,
}

/// Why two texts are no rewrite of a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidRewrite {
    /// There is a placeholder in a prefix.
    NotLiteral,
    /// A slash at the end of a prefix that is longer than `/`.
    SlashAtEnd,
    /// The route's path does not begin with the prefix.
    NotOfThisRoute,
    /// Both are the same.
    Same,
}

impl fmt::Display for InvalidRewrite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotLiteral => "a prefix is literal: no {name} and no {*rest}",
            Self::SlashAtEnd => "a prefix is made of whole segments, without a slash at the end",
            Self::NotOfThisRoute => "the route's path does not begin with this prefix",
            Self::Same => "it comes in its own place, so nothing would be rewritten",
        })
    }
}

impl std::error::Error for InvalidRewrite {}

impl PrefixRewrite {
    /// Takes `prefix` off the paths of a route whose pattern is `path`, and puts `to` there.
    ///
    /// # Errors
    /// When a prefix is not literal, or `path` does not begin with the first one.
    pub fn new(
        path: &PathPattern,
        prefix: &PathPattern,
        to: &PathPattern,
    ) -> Result<Self, InvalidRewrite> {
        let segments = literal(prefix)?;
        literal(to)?;
        if !path.segments().starts_with(segments) {
            return Err(InvalidRewrite::NotOfThisRoute);
        }
        let (from, to) = (without_slash(prefix), without_slash(to));
        if from == to {
            return Err(InvalidRewrite::Same);
        }
        // What the upstream must put before its own paths to get those that callers see. There is
        // such a text only if the two prefixes end alike.
        let outer = from.strip_suffix(to).filter(|outer| !outer.is_empty());
        let outer = outer.and_then(|outer| HeaderValue::from_str(outer).ok());
        Ok(Self { prefix: segments.into(), to: to.into(), outer })
    }

    /// The path that the upstream gets.
    ///
    /// # Errors
    /// When it would have two readings. A path that this route was found by gives none.
    pub fn apply(&self, path: &NormalPath<'_>) -> Result<String, AmbiguousPath> {
        let rest = self.rest(path.as_str())?;
        let mut made = String::with_capacity(self.to.len() + rest.len() + 1);
        made.push_str(&self.to);
        made.push_str(rest);
        if made.is_empty() {
            made.push('/');
        }
        let is_its_own = NormalPath::parse(&made).is_ok_and(|normal| normal.as_str() == made);
        if is_its_own { Ok(made) } else { Err(AmbiguousPath) }
    }

    /// What stands before the upstream's path in the eyes of a caller, for `X-Forwarded-Prefix`:
    /// what was taken off, if nothing else came in its place. `None` if a caller's path is not the
    /// upstream's with something before it.
    pub const fn outer(&self) -> Option<&HeaderValue> {
        self.outer.as_ref()
    }

    /// What is behind the prefix: nothing, or a slash and all behind it.
    fn rest<'p>(&self, path: &'p str) -> Result<&'p str, AmbiguousPath> {
        let mut rest = path;
        for literal in &self.prefix {
            let Segment::Literal(literal) = literal else { return Err(AmbiguousPath) };
            let here = rest.strip_prefix('/').ok_or(AmbiguousPath)?;
            let (segment, _) = first_segment(here);
            if !decoded(segment).eq(literal.iter().copied()) {
                return Err(AmbiguousPath);
            }
            rest = here.strip_prefix(segment).ok_or(AmbiguousPath)?;
        }
        Ok(rest)
    }
}

/// The segments of a prefix; none for `/`.
fn literal(prefix: &PathPattern) -> Result<&[Segment], InvalidRewrite> {
    let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
    if prefix.end() == End::Rest || !prefix.segments().iter().all(is_literal) {
        return Err(InvalidRewrite::NotLiteral);
    }
    match prefix.segments() {
        [Segment::Literal(only)] if only.is_empty() => Ok(&[]),
        [.., Segment::Literal(last)] if last.is_empty() => Err(InvalidRewrite::SlashAtEnd),
        segments => Ok(segments),
    }
}

/// The text of a prefix; nothing for `/`.
fn without_slash(prefix: &PathPattern) -> &str {
    match prefix.as_str() {
        "/" => "",
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(path: &str, prefix: &str, to: &str) -> Result<PrefixRewrite, InvalidRewrite> {
        let pattern = |text: &str| text.parse::<PathPattern>().unwrap();
        PrefixRewrite::new(&pattern(path), &pattern(prefix), &pattern(to))
    }

    fn apply(rewrite: &PrefixRewrite, path: &str) -> Result<String, AmbiguousPath> {
        rewrite.apply(&NormalPath::parse(path).unwrap())
    }

    #[test]
    fn a_prefix_of_whole_segments_is_replaced_and_the_rest_stays() {
        #[rustfmt::skip]
        let cases = [
            // prefix   to         path               sent                outer
            ("/api",    "/",       "/api/orders/7",   "/orders/7",        Some("/api")),
            ("/api",    "/",       "/api/orders/",    "/orders/",         Some("/api")),
            ("/api",    "/",       "/api",            "/",                Some("/api")),
            ("/api",    "/",       "/api/",           "/",                Some("/api")),
            ("/api",    "/v2",     "/api/orders",     "/v2/orders",       None),
            ("/api",    "/v2",     "/api",            "/v2",              None),
            ("/api",    "/v2",     "/api/",           "/v2/",             None),
            ("/a/b",    "/b",      "/a/b/c",          "/b/c",             Some("/a")),
            ("/a/b",    "/",       "/a/b/a/b",        "/a/b",             Some("/a/b")),
            ("/",       "/v2",     "/orders",         "/v2/orders",       None),
            ("/",       "/v2",     "/",               "/v2/",             None),
            ("/api",    "/",       "/api/a%20b/%C3%A9", "/a%20b/%C3%A9",  Some("/api")),
            ("/@me",    "/",       "/%40me/x",        "/x",               Some("/@me")),
            ("/%40me",  "/me",     "/@me/%40me",      "/me/%40me",        None),
            ("/xb",     "/b",      "/xb/c",           "/b/c",             None),
        ];
        for (prefix, to, path, sent, outer) in cases {
            let pattern =
                if prefix == "/" { "/{*rest}".into() } else { format!("{prefix}/{{*r}}") };
            let rewrite = rewrite(&pattern, prefix, to).unwrap();
            assert_eq!(apply(&rewrite, path).as_deref(), Ok(sent), "{prefix} {to} {path}");
            let found = rewrite.outer().map(|outer| outer.to_str().unwrap());
            assert_eq!(found, outer, "{prefix} {to}");
        }
    }

    #[test]
    fn a_path_of_another_route_is_refused() {
        let rewrite = rewrite("/api/{*rest}", "/api", "/").unwrap();
        for path in ["/apis/x", "/ap", "/", "/API/x", "/x/api"] {
            assert_eq!(apply(&rewrite, path), Err(AmbiguousPath), "{path}");
        }
    }

    #[test]
    fn a_mistake_is_told() {
        use InvalidRewrite as E;
        for (path, prefix, to, expected) in [
            ("/api/{*rest}", "/api/{*rest}", "/", E::NotLiteral),
            ("/{tenant}/x", "/{tenant}", "/", E::NotLiteral),
            ("/api/{id}", "/api", "/{id}", E::NotLiteral),
            ("/api/{*rest}", "/api/", "/", E::SlashAtEnd),
            ("/api/{*rest}", "/api", "/v2/", E::SlashAtEnd),
            ("/apis/{*rest}", "/api", "/", E::NotOfThisRoute),
            ("/{*rest}", "/api", "/", E::NotOfThisRoute),
            ("/api", "/api/v2", "/", E::NotOfThisRoute),
            ("/api", "/api", "/api", E::Same),
            ("/api", "/", "/", E::Same),
        ] {
            assert_eq!(rewrite(path, prefix, to).unwrap_err(), expected, "{path} {prefix} {to}");
        }
    }

    #[test]
    fn invariant_7_a_rewritten_path_is_its_own_normal_form_and_leads_back() {
        // Every text of up to four of these pieces behind the prefix.
        let pieces = ["/", ".", "a", "%2e", "%2E", "%2f", ";", "%", "%41", "%3b", "\\", "%25"];
        let prefixes = ["/", "/api", "/a/b", "/@me"];
        let pattern = |text: &str| text.parse::<PathPattern>().unwrap();
        let mut ends = vec![String::new()];
        let mut count = 0;
        for _ in 0..4 {
            let longer = |end: &String| pieces.map(|piece| format!("{end}{piece}"));
            ends = ends.iter().flat_map(longer).collect();
            for (from, to) in prefixes.iter().flat_map(|from| prefixes.map(|to| (*from, to))) {
                let rest = |prefix: &str| format!("{}/{{*r}}", without_slash(&pattern(prefix)));
                let Ok(there) = rewrite(&rest(from), from, to) else { continue };
                let back = rewrite(&rest(to), to, from).unwrap();
                for end in &ends {
                    let path = format!("{}/{end}", without_slash(&pattern(from)));
                    let Ok(path) = NormalPath::parse(&path) else { continue };
                    let sent = there.apply(&path).unwrap();
                    let read = NormalPath::parse(&sent).unwrap();
                    assert!(!read.is_rewritten(), "{from} to {to}: {path:?} is sent as {sent}");
                    let returned = back.apply(&read).unwrap();
                    assert_eq!(returned, path.as_str(), "{from} to {to}: {sent}");
                    count += 1;
                }
            }
        }
        assert!(count > 1_000, "{count}");
    }
}
