//! `request_headers` and `response_headers` of a route.

use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use crate::config::problem::Told;
use crate::config::reader::{Named, Value, all};
use crate::config::table::Table;
use crate::headers::{ConstantEdits, folded, is_spelling_of};
use crate::route::NormalHost;

/// On which way a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// To the upstream.
    Request,
    /// To the caller.
    Response,
}

/// What is done with a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Set,
    Add,
    Remove,
}

pub(super) fn read(value: Value<'_>, way: Way) -> Result<ConstantEdits, Told> {
    value.table(|table| {
        let mut before: Vec<HeaderName> = Vec::new();
        let set = pairs(table, "set", way, Verb::Set, &mut before);
        let add = pairs(table, "add", way, Verb::Add, &mut before);
        let remove = table.or("remove", Vec::new(), |value| {
            value.each(REMOVE, |value| {
                let name = value.parse(REMOVE, |text| HeaderName::from_bytes(text.as_bytes()))?;
                let allowed = check_name(&name, way, Verb::Remove, &mut before);
                allowed.map_err(|(what, write)| value.wrong(what, write))?;
                Ok(name)
            })
        });
        let (set, add, remove) = (set?, add?, remove?);
        if before.is_empty() {
            return Err(table.spot().wrong("an empty table", WRITE));
        }
        Ok(ConstantEdits::new(remove, set, add))
    })
}

fn pairs(
    table: &mut Table<'_>,
    key: &'static str,
    way: Way,
    verb: Verb,
    before: &mut Vec<HeaderName>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Told> {
    table.or(key, Vec::new(), |value| {
        all(value.entries(WRITE)?.into_iter().map(|entry| pair(&entry, way, verb, before)))
    })
}

fn pair(
    entry: &Named<'_>,
    way: Way,
    verb: Verb,
    before: &mut Vec<HeaderName>,
) -> Result<(HeaderName, HeaderValue), Told> {
    let name = HeaderName::from_bytes(entry.name.as_bytes());
    let name = name.map_err(|_| entry.key.wrong("not a header name (RFC 9110 §5.1)", WRITE));
    let name = name.and_then(|name| {
        let allowed = check_name(&name, way, verb, before);
        allowed.map(|()| name).map_err(|(what, write)| entry.key.wrong(what, write))
    });
    let write = "write one line of printable ASCII, without a blank at either end";
    let value = entry.value.parse(write, field_value);
    let (name, value) = (name?, value?);
    if name == http::header::HOST {
        check_host(&value)
            .map_err(|what| entry.value.wrong(what, "write \"api.internal:8080\""))?;
    }
    Ok((name, value))
}

/// RFC 9110 §5.5, without what readers disagree about: bytes that are not ASCII, and blanks at the
/// ends, which HTTP/1.1 takes off and HTTP/2 refuses.
fn field_value(text: &str) -> Result<HeaderValue, &'static str> {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable || text.trim() != text {
        return Err("not a value that every reader takes alike (RFC 9110 §5.5)");
    }
    if VALUE_MAX_BYTES < text.len() {
        return Err("a value has at most 8 KiB");
    }
    HeaderValue::from_str(text).map_err(|_| "not a value (RFC 9110 §5.5)")
}

/// It becomes `:authority` towards an upstream that speaks HTTP/2.
fn check_host(value: &HeaderValue) -> Result<(), &'static str> {
    let text = value.to_str().unwrap_or_default();
    match NormalHost::parse(text).is_ok() && Authority::try_from(text).is_ok() {
        true => Ok(()),
        false => Err("not a host (RFC 9110 §7.2)"),
    }
}

/// Whether a route may touch a field of that name, and has not done so before.
fn check_name(
    name: &HeaderName,
    way: Way,
    verb: Verb,
    before: &mut Vec<HeaderName>,
) -> Result<(), (&'static str, &'static str)> {
    // A reader like CGI takes one spelling for the other.
    let folded = folded(name.as_str());
    let folded = folded.as_str();
    let taken = match way {
        Way::Request => taken_in_request(folded, verb),
        Way::Response => taken_in_response(folded),
    };
    if FRAMING.contains(&folded) || folded.starts_with("sec-websocket-") {
        return Err(("this header belongs to one connection or frames a message", TAKE_OUT));
    }
    if let Some(taken) = taken {
        return Err(taken);
    }
    if before.iter().any(|other| is_spelling_of(other.as_str(), folded)) {
        return Err(("this header is already in this table", "set, add or remove it once"));
    }
    before.push(name.clone());
    Ok(())
}

fn taken_in_request(name: &str, verb: Verb) -> Option<(&'static str, &'static str)> {
    match name {
        "authorization" | "dpop" | "proxy-authorization" => Some((
            "this header carries a credential",
            "write forward = \"token\", \"none\" or { client = \"NAME\" }",
        )),
        "host" if verb != Verb::Set => {
            Some(("every request has one host", "write request_headers.set.host, or take it out"))
        }
        "x-request-id" | "via" | "expect" | "max-forwards" => {
            Some(("the gateway sets this header by itself", TAKE_OUT))
        }
        "forwarded" | "x-real-ip" => Some(FORWARDING),
        name if name.starts_with("x-forwarded-") => Some(FORWARDING),
        name if name.contains("client-cert") => {
            Some(("this header says who is at the other end of the connection", TAKE_OUT))
        }
        _ => None,
    }
}

fn taken_in_response(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "x-request-id" => Some(("the gateway sets this header by itself", TAKE_OUT)),
        "www-authenticate" | "proxy-authenticate" | "authentication-info" => {
            Some(("no proxy may change a challenge (RFC 9110 §11.6.1)", TAKE_OUT))
        }
        name if name.starts_with("access-control-") => Some((
            "a browser would heed this one without a preflight",
            "write cors = { origins = […] }",
        )),
        _ => None,
    }
}

const WRITE: &str = "write { set = { \"x-a\" = \"b\" }, add = { … }, remove = [\"x-c\"] }";
const REMOVE: &str = "write remove = [\"x-a\"]";
const TAKE_OUT: &str = "take it out";
const FORWARDING: (&str, &str) = (
    "this header says where a request comes from",
    "take it out; whom to believe is told by trusted_proxies of the listener",
);

/// What belongs to a connection (RFC 9110 §7.6.1) or to the framing of a message.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What servers commonly take as one header line.
const VALUE_MAX_BYTES: usize = 8 * 1024;
