//! Fields that belong to one connection and go no further (RFC 9110 §7.6.1).

use http::header::{CONNECTION, TE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::reject::{MalformedRequest, Rejection};

/// Takes the fields of one connection out of a request. `TE: trailers` is made anew if the caller
/// had it, since trailers do get through.
///
/// # Errors
/// When `Connection` names a field that must travel end to end: it would be stripped, and with it
/// what another server had set or relied on. `is_ours` says which fields those are beside the
/// fixed ones.
pub(super) fn strip_request(
    headers: &mut HeaderMap,
    is_ours: impl Fn(&str) -> bool,
) -> Result<(), Rejection> {
    if !has_any(headers) {
        return Ok(());
    }
    let takes_trailers = headers.get_all(TE).iter().any(names_trailers);
    let is_end_to_end = |name: &str| END_TO_END.contains(&name) || is_ours(name);
    for name in named(headers) {
        let name = name.map_err(|_| MALFORMED)?;
        if is_end_to_end(name.as_str()) {
            return Err(MALFORMED);
        }
        headers.remove(name);
    }
    strip_fixed(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(())
}

/// Takes them out of a response, or out of trailers: what `Connection` names badly is of no
/// interest to whoever gets the rest.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    if !has_any(headers) {
        return;
    }
    for name in named(headers).into_iter().flatten() {
        headers.remove(name);
    }
    strip_fixed(headers);
}

/// One walk over what is there: most messages have none of these fields.
fn has_any(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| is_hop_by_hop(name.as_str()))
}

fn strip_fixed(headers: &mut HeaderMap) {
    // As many walks as there are such fields, and one more; seldom more than two.
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name.as_str())) {
        let name = name.clone();
        headers.remove(name);
    }
}

pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The names that `Connection` lists; without the field there is nothing to allocate.
fn named(headers: &HeaderMap) -> Vec<Result<HeaderName, ()>> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !is_option(name))
        .map(|name| HeaderName::from_bytes(name).map_err(|_| ()))
        .collect()
}

/// The options that are no field's name.
fn is_option(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive")
}

fn names_trailers(value: &HeaderValue) -> bool {
    let mut codings = value.as_bytes().split(|byte| *byte == b',');
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

const MALFORMED: Rejection = Rejection::RequestMalformed(MalformedRequest::Connection);

/// Fields that decide something behind us.
pub(super) const END_TO_END: [&str; 17] = [
    "authorization",
    "cache-control",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "max-forwards",
    "origin",
    "range",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn names(headers: &HeaderMap) -> String {
        headers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rfc9110_7_6_1_the_fields_of_a_connection_go_no_further() {
        let mut sent = headers(&[
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, Trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("trailer", "x-sum"),
            ("accept", "*/*"),
        ]);
        strip_request(&mut sent, |_| false).unwrap();
        assert_eq!(names(&sent), "trailer accept te");
        assert_eq!(sent["te"], "trailers");
        strip_response(&mut sent);
        assert_eq!(names(&sent), "trailer accept");
    }

    #[test]
    fn rfc9110_7_6_1_an_end_to_end_field_must_not_be_listed() {
        let is_ours = |name: &str| name == "x-subject";
        for value in [
            "Authorization",
            "close, HOST",
            "cookie",
            "DPoP",
            "Content-Length",
            "X-Subject",
            "x-forwarded-for",
            "via",
            "a b",
            "close; x",
        ] {
            let mut sent = headers(&[("connection", value)]);
            assert_eq!(strip_request(&mut sent, is_ours), Err(MALFORMED), "{value}");
        }
        for value in ["", "close", "Keep-Alive", ",, close ,", "x-mine"] {
            let mut sent = headers(&[("connection", value)]);
            assert_eq!(strip_request(&mut sent, is_ours), Ok(()), "{value}");
        }
    }
}
