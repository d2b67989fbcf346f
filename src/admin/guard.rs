//! Who may change anything by the admin listener. Pure.
//!
//! A page that a browser has open can send requests to this machine, loopback included, and by a
//! name of its own that it lets point here. It can send no JSON without asking first, no `Host` but
//! that name, and its `Origin` goes along: each of these alone stops it.

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::net::IpAddr;

use super::Reach;
use super::problem::Problem;
use crate::base::secret::Secret;

/// Judges the head of a request that would change something.
///
/// # Errors
/// 400, 401, 403 or 415: the first thing that is wrong.
pub(super) fn check(
    headers: &HeaderMap,
    token: Option<&Secret>,
    reach: Reach,
) -> Result<(), Problem> {
    check_host(headers)?;
    check_origin(headers)?;
    match token {
        Some(token) => check_token(headers, token)?,
        None if reach == Reach::Network => {
            let why = "this listener is not this machine's alone: set admin.authorization.token";
            return Err(Problem::new(StatusCode::FORBIDDEN, why));
        }
        None => {}
    }
    let kind = text(headers, &CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let why = "the body must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    Ok(())
}

/// An address or `localhost`: any other name is one that somebody can have pointed here.
fn check_host(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        let why = "write an IP address or localhost as the host: other names are not taken here";
        Problem::new(StatusCode::FORBIDDEN, why)
    };
    let host: Authority =
        text(headers, &HOST).and_then(|host| host.parse().ok()).ok_or_else(refused)?;
    let name = host.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_ours = bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok();
    if is_ours && !host.as_str().contains('@') { Ok(()) } else { Err(refused()) }
}

fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || Problem::new(StatusCode::FORBIDDEN, "a page of another site sent this");
    let is_same = |value: &HeaderValue| {
        let origin = value.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some() && origin == text(headers, &HOST)
    };
    if !headers.get_all(ORIGIN).iter().all(is_same) {
        return Err(refused());
    }
    let is_own = |value: &HeaderValue| value == "same-origin" || value == "none";
    if !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
        return Err(refused());
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Problem> {
    let sent = text(headers, &AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim_start()))
    });
    match sent {
        Some(sent) if sent == *token => Ok(()),
        _ => {
            let why = "send the token of admin.authorization as Authorization: Bearer";
            Err(Problem::new(StatusCode::UNAUTHORIZED, why))
        }
    }
}

/// The one field of a name, as text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    type Field = (&'static str, &'static str);
    type Case = (&'static str, &'static [Field], u16);
    type TokenCase = (&'static str, Vec<Field>, Option<&'static str>, Reach, u16);

    fn judged(fields: &[Field], token: Option<&str>, reach: Reach) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let token = token.map(Secret::new);
        check(&headers, token.as_ref(), reach).map_or_else(|problem| problem.status(), |()| 200)
    }

    const JSON: Field = ("content-type", "application/json");
    const HERE: Field = ("host", "127.0.0.1:9901");

    #[test]
    fn cve_2026_27589_no_page_of_another_site_changes_anything() {
        #[rustfmt::skip]
        let cases: [Case; 19] = [
            ("as curl sends it",            &[HERE, JSON],                                             200),
            ("with a charset",              &[HERE, ("content-type", "application/json; charset=utf-8")], 200),
            ("localhost",                   &[("host", "LocalHost:9901"), JSON],                       200),
            ("IPv6",                        &[("host", "[::1]:9901"), JSON],                           200),
            ("our own page",                &[HERE, JSON, ("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")], 200),
            ("a form",                      &[HERE, ("content-type", "application/x-www-form-urlencoded")], 415),
            ("a form of text",              &[HERE, ("content-type", "text/plain")],                   415),
            ("several parts",               &[HERE, ("content-type", "multipart/form-data; boundary=a")], 415),
            ("no type",                     &[HERE],                                                   415),
            ("two types",                   &[HERE, JSON, ("content-type", "text/plain")],             415),
            ("another origin",              &[HERE, JSON, ("origin", "https://evil.test")],            403),
            ("another port",                &[HERE, JSON, ("origin", "http://127.0.0.1:80")],          403),
            ("an opaque origin",            &[HERE, JSON, ("origin", "null")],                         403),
            ("a page, and no origin",       &[HERE, JSON, ("sec-fetch-site", "cross-site")],           403),
            ("a page of a sister site",     &[HERE, JSON, ("sec-fetch-site", "same-site")],            403),
            ("a name that points here",     &[("host", "rebind.evil.test:9901"), JSON],                403),
            ("a name that looks like ours", &[("host", "localhost.evil.test"), JSON],                  403),
            ("two hosts",                   &[HERE, ("host", "evil.test"), JSON],                      403),
            ("no host",                     &[JSON],                                                   403),
        ];
        for (claim, fields, status) in cases {
            assert_eq!(judged(fields, None, Reach::Local), status, "{claim}");
        }
    }

    #[test]
    fn the_network_needs_the_token_and_the_token_counts_everywhere() {
        let bearer = |value| [HERE, JSON, ("authorization", value)];
        #[rustfmt::skip]
        let cases: [TokenCase; 8] = [
            ("no token is set",   vec![HERE, JSON],                None, Reach::Network, 403),
            ("none is sent",      vec![HERE, JSON],                Some("t"), Reach::Network, 401),
            ("nor here",          vec![HERE, JSON],                Some("t"), Reach::Local,   401),
            ("another",           bearer("Bearer u").to_vec(),     Some("t"), Reach::Network, 401),
            ("as Basic",          bearer("Basic t").to_vec(),      Some("t"), Reach::Network, 401),
            ("the token",         bearer("Bearer t").to_vec(),     Some("t"), Reach::Network, 200),
            ("in another case",   bearer("bearer t").to_vec(),     Some("t"), Reach::Local,   200),
            ("beside a page",     [bearer("Bearer t").to_vec(), vec![("origin", "https://evil.test")]].concat(), Some("t"), Reach::Local, 403),
        ];
        for (claim, fields, token, reach, status) in cases {
            assert_eq!(judged(&fields, token, reach), status, "{claim}");
        }
    }
}
