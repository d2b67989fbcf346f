//! `identity_headers` of a route.

use http::HeaderName;

use crate::config::problem::Told;
use crate::config::reader::{Named, Value, all};

/// Header names with the claims that they carry.
pub(super) fn read(value: Value<'_>) -> Result<Vec<(HeaderName, Box<str>)>, Told> {
    let spot = value.spot().clone();
    let entries = value.entries(WRITE)?;
    if entries.is_empty() {
        return Err(spot.wrong("an empty table", WRITE));
    }
    let mut before: Vec<String> = Vec::new();
    all(entries.into_iter().map(|entry| {
        let name = header_name(&entry);
        let claim = entry.value.text().map(Into::into);
        let (name, claim) = (name?, claim?);
        // Gateways and CGI spell `-` as `_`: two headers that an upstream takes for one.
        let spelling = name.as_str().replace('_', "-");
        if before.contains(&spelling) {
            let what = "upstreams take this for a header that is already here";
            return Err(entry.key.wrong(what, "use another name"));
        }
        before.push(spelling);
        Ok((name, claim))
    }))
}

fn header_name(entry: &Named<'_>) -> Result<HeaderName, Told> {
    free_name(&entry.name).map_err(|what| entry.key.wrong(what, WRITE))
}

/// A name of a header that says who is asking.
///
/// # Errors
/// What is wrong with it.
pub(super) fn free_name(text: &str) -> Result<HeaderName, &'static str> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err("not a header name (RFC 9110 §5.1)");
    };
    let spelling = name.as_str().replace('_', "-");
    let is_taken = TAKEN.contains(&spelling.as_str())
        || TAKEN_PREFIXES.iter().any(|prefix| spelling.starts_with(prefix));
    match is_taken {
        true => Err("this header has a meaning of its own"),
        false => Ok(name),
    }
}

const WRITE: &str = "write identity_headers = { \"x-subject\" = \"sub\" }";

/// Headers that frame or route a message, carry credentials, or are set by the gateway.
const TAKEN: [&str; 27] = [
    "accept-encoding",
    "authorization",
    "client-cert",
    "client-cert-chain",
    "connection",
    "cookie",
    "date",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "priority",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-request-id",
    "x-real-ip",
];

const TAKEN_PREFIXES: [&str; 5] = ["content-", "if-", "proxy-auth", "sec-", "x-forwarded-"];
