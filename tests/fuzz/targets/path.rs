//! The path of a request, and the same text as the path of a route.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use http::Method;
use percent_encoding::percent_decode_str;

use super::{HostPattern, MethodSet, NormalHost, NormalPath, PathPattern, PrefixRewrite};
use super::{RouteKey, Table};

/// Reads `data` as both, and holds what is accepted against what `route` promises.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = NormalPath::parse(text) {
        check_form(text, &path);
        check_rewrite(&path);
    }
    if let Ok(pattern) = text.parse::<PathPattern>() {
        check_literal(text, &pattern);
    }
}

/// Invariant 7: one reading, and it is that of what was sent.
fn check_form(text: &str, path: &NormalPath<'_>) {
    let normal = path.as_str();
    let again = NormalPath::parse(normal).expect("a normal form has a normal form");
    assert_eq!(again.as_str(), normal, "a normal form is its own");
    assert!(!again.is_rewritten(), "it is borrowed");
    assert_eq!(path.is_rewritten(), normal != text, "only what differs is rewritten");
    assert!(normal.starts_with('/') && normal.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!normal.contains("//"), "an empty segment inside");
    let read = percent_decode_str(normal).decode_utf8().expect("escapes are UTF-8");
    assert_eq!(read, percent_decode_str(text).decode_utf8_lossy(), "the same resource");
    assert!(!read.split('/').any(|segment| segment == "." || segment == ".."), "a dot segment");
    assert_eq!(read.matches('/').count(), text.matches('/').count(), "an encoded slash");
    assert!(!read.contains(['\\', ';']) && !read.bytes().any(|byte| byte.is_ascii_control()));
    for escape in normal.split('%').skip(1) {
        let digits = escape.get(..2).expect("an escape has two digits");
        assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')));
        let byte = u8::from_str_radix(digits, 16).expect("which are hex");
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        assert!(!is_unreserved, "RFC 3986 section 6.2.2.2: %{digits} is written plainly");
    }
}

/// What is behind the prefix goes on as it is.
fn check_rewrite(path: &NormalPath<'_>) {
    let pattern = |text: &str| text.parse::<PathPattern>().expect("a constant");
    for (route, from, to) in [("/{*rest}", "/", "/v2"), ("/a/{*rest}", "/a", "/")] {
        let rewrite = PrefixRewrite::new(&pattern(route), &pattern(from), &pattern(to));
        let Ok(sent) = rewrite.expect("a constant").apply(path) else {
            assert_ne!(from, "/", "every path has this prefix");
            continue;
        };
        let again = NormalPath::parse(&sent).expect("what is sent has one reading");
        assert!(!again.is_rewritten(), "and it is sent in it");
        let tail = path.as_str().get(from.trim_end_matches('/').len()..).unwrap_or_default();
        let is_tail = sent == format!("{}{tail}", to.trim_end_matches('/')) || tail.is_empty();
        // A literal is compared without its escapes, so the prefix may be longer than it.
        assert!(is_tail || path.as_str().contains('%'), "{sent} for {}", path.as_str());
    }
}

/// A route's path without placeholders is a path that requests can have, and finds its route.
fn check_literal(text: &str, pattern: &PathPattern) {
    if text.contains('{') {
        return;
    }
    let path = NormalPath::parse(text).expect("no request could have it");
    assert!(!path.is_rewritten(), "requests are looked up in their normal form");
    let key = RouteKey { host: &HostPattern::Any, path: pattern, methods: &MethodSet::All };
    let table = Table::build(&[key]).expect("one route ties with nothing");
    let host = NormalHost::parse("api.test").expect("a constant");
    assert_eq!(table.find(&host, &path, &Method::GET), Ok(0), "its own route");
}
