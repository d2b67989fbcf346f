//! `Max-Forwards` (RFC 9110 §7.6.2): how far an OPTIONS request may still go.

use http::header::MAX_FORWARDS;
use http::{HeaderMap, HeaderValue, Method};

/// Where a request ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaxForwards {
    /// At the upstream, or further.
    GoesOn,
    /// Here: it may not be forwarded.
    EndsHere,
}

/// Takes one hop off. It counts for OPTIONS alone; TRACE never comes this far.
pub fn spend(method: &Method, headers: &mut HeaderMap) -> MaxForwards {
    if method != Method::OPTIONS {
        return MaxForwards::GoesOn;
    }
    let left = headers.get(MAX_FORWARDS).and_then(|left| left.to_str().ok()?.parse::<u32>().ok());
    match left {
        None => MaxForwards::GoesOn,
        Some(0) => MaxForwards::EndsHere,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            MaxForwards::GoesOn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_7_6_2_a_hop_is_taken_off_options_alone() {
        for (method, sent, outcome, left) in [
            (Method::OPTIONS, "5", MaxForwards::GoesOn, "4"),
            (Method::OPTIONS, "0", MaxForwards::EndsHere, "0"),
            (Method::OPTIONS, "many", MaxForwards::GoesOn, "many"),
            (Method::GET, "0", MaxForwards::GoesOn, "0"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(MAX_FORWARDS, HeaderValue::from_static(sent));
            assert_eq!(spend(&method, &mut headers), outcome, "{method} {sent}");
            assert_eq!(headers[MAX_FORWARDS], left, "{method} {sent}");
        }
    }
}
