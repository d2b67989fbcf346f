//! Why a request takes one route and not another: for people who look for the difference. Never on
//! a request's way; the [`Table`](super::Table) alone decides.

use std::cmp::Reverse;

use http::Method;

use super::path::{decoded, first_segment};
use super::pattern::{End, Segment};
use super::{HostPattern, NormalHost, NormalPath, PathPattern, RouteKey};

/// Why a route does not take a request, the nearest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Misfit {
    /// It would, if a more specific one did not.
    LessSpecific,
    /// It is for other methods.
    Method,
    /// It is for another host.
    Host,
    /// Its path differs; so many segments are alike from the start.
    Path(Reverse<usize>),
}

impl RouteKey<'_> {
    /// What keeps this route from taking such a request.
    ///
    /// Where several things do, the path is told before the host, and the host before the method.
    pub fn misfit(&self, host: &NormalHost<'_>, path: &NormalPath<'_>, method: &Method) -> Misfit {
        if let Err(alike) = fit(self.path, path.segments()) {
            Misfit::Path(Reverse(alike))
        } else if !is_for(self.host, host.as_str()) {
            Misfit::Host
        } else if !self.methods.contains(method) {
            Misfit::Method
        } else {
            Misfit::LessSpecific
        }
    }
}

/// The routes that come nearest to a request without taking it, the nearest first: at most `most`,
/// and of those with another path only such as begin alike. `taken` is the route that takes it.
pub fn nearest(
    routes: &[RouteKey<'_>],
    (host, path, method): (&NormalHost<'_>, &NormalPath<'_>, &Method),
    taken: Option<usize>,
    most: usize,
) -> Vec<(usize, Misfit)> {
    let others = routes.iter().enumerate().filter(|(index, _)| Some(*index) != taken);
    let mut near: Vec<(usize, Misfit)> = others
        .map(|(index, route)| (index, route.misfit(host, path, method)))
        .filter(|(_, misfit)| *misfit != Misfit::Path(Reverse(0)))
        .collect();
    near.sort_by_key(|(_, misfit)| *misfit);
    near.truncate(most);
    near
}

fn is_for(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(exact) => **exact == *host,
        HostPattern::Wildcard(suffix) => suffix.len() < host.len() && host.ends_with(&**suffix),
    }
}

/// Whether a pattern takes a path, given without its first slash; if not, how many segments are
/// alike from the start.
fn fit(pattern: &PathPattern, path: &str) -> Result<(), usize> {
    let mut rest = Some(path);
    for (index, expected) in pattern.segments().iter().enumerate() {
        let (segment, behind) = first_segment(rest.ok_or(index)?);
        let is_alike = match expected {
            Segment::Literal(literal) => decoded(segment).eq(literal.iter().copied()),
            Segment::Name => !segment.is_empty(),
        };
        if !is_alike {
            return Err(index);
        }
        rest = behind;
    }
    let is_fit = match pattern.end() {
        End::Here => rest.is_none(),
        End::Rest => rest.is_some_and(|rest| !rest.is_empty()),
    };
    if is_fit { Ok(()) } else { Err(pattern.segments().len()) }
}

#[cfg(test)]
mod tests {
    use super::super::{MethodSet, Table};
    use super::*;

    struct Written(HostPattern, PathPattern, MethodSet);

    fn written((host, path, methods): (&str, &str, &[&str])) -> Written {
        let host = if host.is_empty() { HostPattern::Any } else { host.parse().unwrap() };
        let methods = match methods {
            [] => MethodSet::All,
            names => MethodSet::parse(names.iter().copied()).unwrap(),
        };
        Written(host, path.parse().unwrap(), methods)
    }

    const ROUTES: [(&str, &str, &[&str]); 9] = [
        ("", "/{*rest}", &[]),                         // 0
        ("", "/orders", &["GET"]),                     // 1
        ("", "/orders/", &[]),                         // 2
        ("", "/orders/{id}", &["GET"]),                // 3
        ("", "/orders/{id}", &["PUT"]),                // 4
        ("", "/orders/{id}/items", &[]),               // 5
        ("api.example.com", "/orders/{id}", &["GET"]), // 6
        ("*.example.com", "/orders/{*rest}", &[]),     // 7
        ("", "/@me", &[]),                             // 8
    ];

    fn request(text: &str) -> (NormalHost<'_>, NormalPath<'_>, Method) {
        let [method, host, path] = text.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        (NormalHost::parse(host).unwrap(), NormalPath::parse(path).unwrap(), method)
    }

    #[test]
    fn the_nearest_come_first_and_say_what_is_between() {
        let written = ROUTES.map(written);
        let keys =
            written.each_ref().map(|Written(host, path, methods)| RouteKey { host, path, methods });
        let table = Table::build(&keys).unwrap();
        let path = |alike| Misfit::Path(Reverse(alike));
        #[rustfmt::skip]
        let cases = [
            ("GET x /orders/7", Some(3), vec![
                (0, Misfit::LessSpecific), (4, Misfit::Method), (6, Misfit::Host), (7, Misfit::Host),
            ]),
            ("GET api.example.com /orders/7", Some(6), vec![
                (0, Misfit::LessSpecific), (3, Misfit::LessSpecific), (7, Misfit::LessSpecific),
                (4, Misfit::Method),
            ]),
            ("GET x /orders/7/lines", Some(0), vec![
                (7, Misfit::Host), (3, path(2)), (4, path(2)), (5, path(2)),
            ]),
            ("GET x /%40me", Some(8), vec![(0, Misfit::LessSpecific)]),
            ("GET example.com /orders/", Some(2), vec![
                (0, Misfit::LessSpecific), (1, path(1)), (3, path(1)), (4, path(1)),
            ]),
        ];
        for (text, taken, near) in cases {
            let (host, path, method) = request(text);
            assert_eq!(table.find(&host, &path, &method).ok(), taken, "{text}");
            assert_eq!(nearest(&keys, (&host, &path, &method), taken, 4), near, "{text}");
        }
    }

    #[test]
    fn it_never_contradicts_the_table() {
        let written = ROUTES.map(written);
        for Written(host, path, methods) in &written {
            let key = [RouteKey { host, path, methods }];
            let table = Table::build(&key).unwrap();
            for method in ["GET", "HEAD", "PUT", "TRACE"] {
                for to in ["x", "example.com", "api.example.com", "a.b.example.com"] {
                    for at in ["/", "/orders", "/orders/", "/orders/7", "/orders/7/items", "/%40me"]
                    {
                        let text = format!("{method} {to} {at}");
                        let (host, path, method) = request(&text);
                        let is_taken = table.find(&host, &path, &method).is_ok();
                        let misfit = key[0].misfit(&host, &path, &method);
                        assert_eq!(misfit == Misfit::LessSpecific, is_taken, "{text} {misfit:?}");
                    }
                }
            }
        }
    }
}
