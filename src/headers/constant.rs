//! `request_headers` and `response_headers` of a route: fields that it sets, adds and removes.
//!
//! Names and values are read and made at load. A value is literal: nothing of a request or an
//! answer is ever looked for in it (CVE-2026-30852: a value of a request was expanded as a
//! template). Which names they may have is the configuration's business: none that frames or
//! routes a message, carries a credential, or is the gateway's own.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::sanitize::is_spelling_of;

/// Fields that are removed, set and added, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConstantEdits {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
}

impl ConstantEdits {
    /// Removes these, sets these in place of what was there, and puts these beside it.
    pub fn new(
        remove: impl IntoIterator<Item = HeaderName>,
        set: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        add: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        Self {
            remove: remove.into_iter().collect(),
            set: set.into_iter().collect(),
            add: add.into_iter().collect(),
        }
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let pairs = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(pairs)
    }

    /// Applies them to a request, whose caller could spell a name in a way that a reader like CGI
    /// takes for the same: what is removed or set goes in every spelling.
    pub fn apply_to_request(&self, headers: &mut HeaderMap) {
        if !self.remove.is_empty() || !self.set.is_empty() {
            let goes = |name: &HeaderName| {
                let set = self.set.iter().map(|(name, _)| name);
                let mut ours = self.remove.iter().chain(set);
                ours.any(|ours| is_spelling_of(ours.as_str(), name.as_str()))
            };
            let gone: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
            for name in gone {
                headers.remove(name);
            }
        }
        self.put(headers);
    }

    /// Applies them to an upstream's answer.
    pub fn apply_to_response(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        self.put(headers);
    }

    /// Puts into an answer of our own what is set or added and not said there already: a refusal
    /// keeps its own words.
    pub fn complete(&self, headers: &mut HeaderMap) {
        for (name, value) in self.set.iter().chain(&self.add) {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }

    fn put(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::testing::shown;

    fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    fn edits() -> ConstantEdits {
        let remove = [HeaderName::from_static("x-debug")];
        ConstantEdits::new(remove, [pair("x-set", "{sub} $1 %{x}")], [pair("x-add", "ours")])
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_field_is_removed_set_or_added_and_a_value_is_literal() {
        let sent = [("x-debug", "1"), ("x-set", "a"), ("x-set", "b"), ("x-add", "c"), ("x", "1")];
        let expected = ["x-add: c", "x-add: ours", "x-set: {sub} $1 %{x}", "x: 1"];
        let (mut request, mut response) = (headers(&sent), headers(&sent));
        edits().apply_to_request(&mut request);
        assert_eq!(shown(&request), expected);
        edits().apply_to_response(&mut response);
        assert_eq!(shown(&response), expected);
    }

    #[test]
    fn what_a_caller_spells_otherwise_goes_as_well() {
        let mut request = headers(&[
            ("x_debug", "1"),
            ("x.debug", "1"),
            ("x_set", "1"),
            ("x_add", "kept"),
            ("x-debugger", "kept"),
        ]);
        edits().apply_to_request(&mut request);
        let expected = ["x-add: ours", "x-debugger: kept", "x-set: {sub} $1 %{x}", "x_add: kept"];
        assert_eq!(shown(&request), expected);
    }

    #[test]
    fn an_answer_of_ours_is_completed_and_never_changed() {
        let mut answer = headers(&[("x-set", "said"), ("x-debug", "said")]);
        edits().complete(&mut answer);
        assert_eq!(shown(&answer), ["x-add: ours", "x-debug: said", "x-set: said"]);
    }

    #[test]
    fn nothing_is_changed_by_no_edits() {
        let mut request = headers(&[("x", "1")]);
        ConstantEdits::default().apply_to_request(&mut request);
        assert_eq!(shown(&request), ["x: 1"]);
    }
}
