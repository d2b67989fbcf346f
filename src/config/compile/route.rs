//! `[[routes]]`.

use http::{HeaderName, Method};

use super::constant::{self, Way};
use super::guard::{self, Guard};
use super::{Names, cors, forward, identity, rewrite, timeout, upgrade};
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::size;
use crate::config::{Forward, Route, RouteTimeouts, Upgrade};
use crate::headers::{ConstantEdits, Cors, EditPlan};
use crate::route::{HostPattern, MethodSet, PathPattern, PrefixRewrite};

/// A route that can at least be found, with the place that checks across routes point at.
pub(super) struct Draft<'c> {
    pub(super) host: HostPattern,
    pub(super) path: PathPattern,
    pub(super) methods: MethodSet,
    /// Who gets in, if that can be told.
    pub(super) guard: Result<Guard, Told>,
    /// Its `path`.
    pub(super) at: Spot<'c>,
    rest: Result<Rest<'c>, Told>,
}

/// What no check across routes looks at.
struct Rest<'c> {
    name: Box<str>,
    upstream: usize,
    forward: Forward,
    rewrite: Option<PrefixRewrite>,
    identity: Vec<(HeaderName, Box<str>)>,
    request: Option<(ConstantEdits, Spot<'c>)>,
    response: ConstantEdits,
    cors: Option<Cors>,
    timeouts: RouteTimeouts,
    body_max: Option<u64>,
    resource: Option<usize>,
    upgrade: Option<Upgrade>,
}

impl<'c> Draft<'c> {
    /// Its host where that is one alone, its path, and where that is written.
    pub(super) fn place(&self) -> (Option<&str>, &str, &Spot<'c>) {
        let host = match &self.host {
            HostPattern::Exact(host) => Some(&**host),
            HostPattern::Any | HostPattern::Wildcard(_) => None,
        };
        (host, self.path.as_str(), &self.at)
    }
}

/// Every route; an `Err` inside is one that cannot even be found.
pub(super) fn all<'c>(
    top: &mut Table<'c>,
    names: &Names<'_, 'c>,
) -> Result<Vec<Result<Draft<'c>, Told>>, Told> {
    let write = "write [[routes]] with path, upstream and access";
    let routes = top.must("routes", write, |value| value.items(write))?;
    Ok(routes.into_iter().map(|value| read(value, names)).collect())
}

/// An unknown key or a bad rest must not hide that two routes tie.
fn read<'c>(value: Value<'c>, names: &Names<'_, 'c>) -> Result<Draft<'c>, Told> {
    let (draft, unknown) = value.walk(|table| draft(table, names))?;
    let mut draft = draft?;
    draft.rest = unknown.and(draft.rest);
    Ok(draft)
}

fn draft<'c>(table: &mut Table<'c>, names: &Names<'_, 'c>) -> Result<Draft<'c>, Told> {
    let host = table.option("host", |value| {
        let write = "write host = \"api.example.com\" or \"*.example.com\", without a port";
        Ok((value.parse(write, str::parse::<HostPattern>)?, value.text()?.to_owned()))
    });
    let path = table.must("path", PATH, |value| {
        let pattern = value.parse(PATH, str::parse::<PathPattern>)?;
        Ok((pattern, value.text()?.to_owned(), value.spot().clone()))
    });
    let methods = table.or("methods", MethodSet::All, methods);
    let guard = guard::read(table, names);
    let pattern = path.as_ref().ok().map(|(pattern, ..)| pattern);
    let rest = rest(table, names, &guard, pattern, methods.as_ref().ok());
    let ((path, path_text, at), methods) = (path?, methods?);
    let (host, host_text) = host?.unwrap_or_default();
    let rest = rest.map(|(name, mut rest)| {
        rest.name = name.unwrap_or_else(|| label(&methods, &host_text, &path_text));
        rest
    });
    Ok(Draft { host, path, methods, guard, at, rest })
}

fn rest<'c>(
    table: &mut Table<'c>,
    names: &Names<'_, 'c>,
    guard: &Result<Guard, Told>,
    path: Option<&PathPattern>,
    methods: Option<&MethodSet>,
) -> Result<(Option<Box<str>>, Rest<'c>), Told> {
    let name = table.option("name", name);
    let write = "write upstream = \"NAME\" of an [upstreams.NAME]";
    let upstream = table.must("upstream", write, |value| names.upstreams.find(&value));
    let forward = table.or("forward", Forward::Token, |value| forward::read(value, names, guard));
    let rewrite = table.option("rewrite", |value| rewrite::read(value, path));
    let identity = table.or("identity_headers", Vec::new(), |value| {
        guard::refuse_if_public(guard, value.spot())?;
        identity::read(value)
    });
    let request = table.option("request_headers", |value| {
        let spot = value.spot().clone();
        constant::read(value, Way::Request).map(|edits| (edits, spot))
    });
    let response = table.or("response_headers", ConstantEdits::default(), |value| {
        constant::read(value, Way::Response)
    });
    let cors = table.option("cors", |value| cors::read(value, methods.unwrap_or(&MethodSet::All)));
    let timeouts = table.or("timeout", RouteTimeouts::default(), timeout::read);
    let body_max = table.option("body_max", |value| size(&value));
    let resource = table.option("resource", |value| {
        guard::refuse_if_public(guard, value.spot())?;
        names.resources.find(&value)
    });
    let upgrade = table.option("upgrade", |value| {
        let upstream = upstream.as_ref().ok().and_then(|index| names.upstreams.good(*index));
        upgrade::read(value, guard, upstream)
    });
    let (name, upstream, forward, rewrite) = (name?, upstream?, forward?, rewrite?.flatten());
    let (identity, request, response) = (identity?, request?, response?);
    let (cors, timeouts, body_max) = (cors?, timeouts?, body_max?);
    let (resource, upgrade) = (resource?, upgrade?);
    #[rustfmt::skip]
    let rest = Rest {
        name: Box::default(), upstream, forward, rewrite, identity, request, response, cors,
        timeouts, body_max, resource, upgrade,
    };
    Ok((name, rest))
}

impl<'c> Draft<'c> {
    /// The headers that it sets from the token.
    pub(super) fn identity_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.rest.iter().flat_map(|rest| rest.identity.iter().map(|(name, _)| name))
    }

    /// What it does to requests by itself, and where that stands.
    pub(super) fn request_edits(&self) -> Option<&(ConstantEdits, Spot<'c>)> {
        self.rest.as_ref().ok()?.request.as_ref()
    }

    pub(super) fn into_route(self) -> Result<Route, Told> {
        let Self { host, path, methods, guard, at: _, rest } = self;
        #[rustfmt::skip]
        let Rest {
            name, upstream, forward, rewrite, identity, request, response, cors, timeouts, body_max,
            resource, upgrade,
        } = rest?;
        let Guard { access, servers, opaque_server, basic_server, accept, names_servers: _ } =
            guard?;
        let request = request.map(|(request, _)| request).unwrap_or_default();
        let edits = EditPlan::new(identity).with(request, response);
        #[rustfmt::skip]
        let route = Route {
            name, host, path, methods, upstream, access, servers, opaque_server, basic_server,
            accept, forward, rewrite, edits, cors, timeouts, body_max, resource, upgrade,
        };
        Ok(route)
    }
}

pub(super) fn methods(value: Value<'_>) -> Result<MethodSet, Told> {
    let mut before: Vec<Method> = Vec::new();
    let methods = value.each("write methods = [\"GET\", \"POST\"]", |value| {
        let method = method(&value)?;
        if before.contains(&method) {
            return Err(value.wrong("this method is already in the list", "take one of them out"));
        }
        before.push(method.clone());
        Ok(method)
    })?;
    Ok(MethodSet::These(methods.into()))
}

fn method(value: &Value<'_>) -> Result<Method, Told> {
    let text = value.text()?;
    let upper = text.to_ascii_uppercase();
    if STANDARD.contains(&upper.as_str()) && text != upper {
        let what = format!("methods are case-sensitive (RFC 9110 §9.1): {text:?} is another one");
        return Err(value.wrong(what, format!("write \"{upper}\"")));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => {
            Err(value.wrong("the gateway opens no tunnels (RFC 9110 §9.3.6)", "take it out"))
        }
        Ok(Method::TRACE) => {
            let what = "an answer to TRACE would show the token (RFC 9110 §9.3.8)";
            Err(value.wrong(what, "take it out"))
        }
        Ok(method) => Ok(method),
        Err(_) => Err(value.wrong("not a method (RFC 9110 §9.1)", "write \"GET\" or the like")),
    }
}

fn name(value: Value<'_>) -> Result<Box<str>, Told> {
    let text = value.text()?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if ROUTE_NAME_MAX_BYTES < text.len() || !text.bytes().all(is_plain) {
        let what = "a route's name has at most 100 printable ASCII characters";
        return Err(value.wrong(what, "write a short one: metrics and logs carry it"));
    }
    value.spot().only("route name", text, "give each route a name of its own")?;
    Ok(text.into())
}

/// The name of a route without one: its methods, host and path, as long as a label may be.
fn label(methods: &MethodSet, host: &str, path: &str) -> Box<str> {
    let methods = match methods {
        MethodSet::All => String::new(),
        MethodSet::These(methods) => {
            let mut text = methods.iter().map(Method::as_str).collect::<Vec<_>>().join("|");
            text.push(' ');
            text
        }
    };
    format!("{methods}{host}{path}").chars().take(ROUTE_NAME_MAX_BYTES).collect::<String>().into()
}

const PATH: &str = "write path = \"/orders/{id}\" or \"/files/{*rest}\"";

/// Metrics carry it on each line.
const ROUTE_NAME_MAX_BYTES: usize = 100;

/// Methods that are upper case, so that another spelling is a slip (RFC 9110 §9.3, RFC 5789).
const STANDARD: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_name_is_called_by_what_it_takes() {
        let these = MethodSet::These([Method::GET, Method::PUT].into());
        assert_eq!(&*label(&these, "a.example.com", "/x/{id}"), "GET|PUT a.example.com/x/{id}");
        assert_eq!(&*label(&MethodSet::All, "", "/x"), "/x");
        assert_eq!(label(&MethodSet::All, "", &"/x".repeat(500)).len(), ROUTE_NAME_MAX_BYTES);
    }
}
