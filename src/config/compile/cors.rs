//! `cors` of a route.

use std::net::Ipv6Addr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::route::methods;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::headers::{Cors, CorsRules, Credentials, Origins};
use crate::route::MethodSet;

/// `route` are the methods that the route takes.
pub(super) fn read(value: Value<'_>, route: &MethodSet) -> Result<Cors, Told> {
    value.table(|table| rules(table, route)).map(|rules| Cors::new(rules, route))
}

fn rules(table: &mut Table<'_>, route: &MethodSet) -> Result<CorsRules, Told> {
    let origins = table.must("origins", ORIGINS, |value| {
        let spot = value.spot().clone();
        Ok((origins(value)?, spot))
    });
    let credentials = table.or("credentials", false, |value| value.boolean());
    let methods = table.or("methods", MethodSet::All, |value| {
        let spot = value.spot().clone();
        let methods = methods(value)?;
        match &methods {
            MethodSet::These(these) if !these.iter().all(|method| route.contains(method)) => {
                let write = "name methods of this route, or take the key out";
                Err(spot.wrong("the route does not take all of these", write))
            }
            _ => Ok(methods),
        }
    });
    let headers = table.or("headers", vec![http::header::CONTENT_TYPE], names);
    let expose = table.or("expose", Vec::new(), names);
    let max_age = table.or("max_age", MAX_AGE, |value| duration(&value, Zero::Allowed));
    let ((origins, at), credentials) = (origins?, credentials?);
    let (methods, headers, expose, max_age) = (methods?, headers?, expose?, max_age?);
    if credentials && origins == Origins::Any {
        let what = "with credentials every site could read what its visitors may see here";
        return Err(at.wrong(what, "name the origins, or take credentials out"));
    }
    let credentials = if credentials { Credentials::Included } else { Credentials::Omitted };
    let max_age_s = max_age.as_secs();
    Ok(CorsRules { origins, credentials, methods, headers, expose, max_age_s })
}

fn origins(value: Value<'_>) -> Result<Origins, Told> {
    let mut before: Vec<HeaderValue> = Vec::new();
    let mut any = None;
    let origins = value.each(ORIGINS, |value| {
        if value.text()? == "*" {
            any = Some(value.spot().clone());
            return Ok(HeaderValue::from_static("*"));
        }
        let origin = value.parse(ORIGINS, origin)?;
        if before.contains(&origin) {
            return Err(value.wrong("this origin is already in the list", "take one of them out"));
        }
        before.push(origin.clone());
        Ok(origin)
    })?;
    match any {
        None => Ok(Origins::These(origins.into())),
        Some(_) if origins.len() == 1 => Ok(Origins::Any),
        Some(spot) => Err(spot.wrong("`*` allows every origin", "take it or the others out")),
    }
}

/// A serialized origin (RFC 6454 §6.2), as browsers write it: lower case, without a default port.
fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    if text == "null" {
        return Err("every sandboxed frame of any site has the origin `null`");
    }
    let (scheme, rest) = text.split_once("://").ok_or("an origin has a scheme and a host")?;
    let is_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase())
        || !scheme.bytes().all(|byte| is_scheme(byte) || b"+-.".contains(&byte))
    {
        return Err("not the scheme of an origin: browsers write it in small letters");
    }
    if rest.contains('*') {
        return Err("an origin is allowed by its whole name, without `*`");
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err("an origin is a scheme, a host and a port: no path, no slash at the end");
    }
    let (host, port) = match rest.rfind(':').filter(|at| !rest.ends_with(']') && 0 < *at) {
        Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    let is_name = |byte: u8| is_scheme(byte) || b"-._".contains(&byte);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_string() == address),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_host {
        return Err("not the host of an origin: browsers write it in small letters, and as xn--…");
    }
    match (scheme, port.strip_prefix(':')) {
        (_, None) => {}
        ("https", Some("443")) | ("http", Some("80")) => {
            return Err("browsers leave the scheme's own port out");
        }
        (_, Some(digits)) => {
            let port: u16 = digits.parse().map_err(|_| "not a port")?;
            if port == 0 || port.to_string() != digits {
                return Err("not a port");
            }
        }
    }
    HeaderValue::from_str(text).map_err(|_| "not an origin")
}

fn names(value: Value<'_>) -> Result<Vec<HeaderName>, Told> {
    let mut before: Vec<HeaderName> = Vec::new();
    value.each(NAMES, |value| {
        if value.text()? == "*" {
            let what = "`*` does not cover Authorization, nor anything with credentials";
            return Err(value.wrong(what, NAMES));
        }
        let name = value.parse(NAMES, |text| HeaderName::from_bytes(text.as_bytes()))?;
        if before.contains(&name) {
            return Err(value.wrong("this header is already in the list", "take one of them out"));
        }
        before.push(name.clone());
        Ok(name)
    })
}

const ORIGINS: &str =
    "write origins = [\"https://app.example.com\"], or [\"*\"] without credentials";
const NAMES: &str = "write the names of headers, such as [\"content-type\"]";

/// How long a change may go unnoticed. Browsers cap it, at two hours or a day.
const MAX_AGE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for text in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://xn--bcher-kva.example",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
            "chrome-extension://abcdefghijklmnop",
            "capacitor://localhost",
            "http://app.example.com:443",
        ] {
            assert_eq!(origin(text).as_ref().map(HeaderValue::as_bytes), Ok(text.as_bytes()));
        }
        for (text, says) in [
            ("null", "sandboxed"),
            ("app.example.com", "scheme"),
            ("https://app.example.com/", "no path"),
            ("https://app.example.com/x", "no path"),
            ("https://u@app.example.com", "no path"),
            ("https://*.example.com", "`*`"),
            ("https://App.example.com", "small letters"),
            ("HTTPS://app.example.com", "small letters"),
            ("https://bücher.example", "xn--"),
            ("https://app.example.com:443", "own port"),
            ("http://app.example.com:80", "own port"),
            ("https://app.example.com:", "not a port"),
            ("https://app.example.com:0", "not a port"),
            ("https://app.example.com:08443", "not a port"),
            ("https://app.example.com:99999", "not a port"),
            ("https://", "not the host"),
            ("https://:8080", "not the host"),
            ("https://[::1", "not the host"),
            ("https://[0::1]", "not the host"),
            ("https://a b", "not the host"),
        ] {
            let told = origin(text).unwrap_err();
            assert!(told.contains(says), "{text}: {told}");
        }
    }
}
