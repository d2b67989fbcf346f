//! The route table: finds the most specific route of a request.
//!
//! Takes the routes' hosts, paths and methods; gives an index. Exact host over wildcard (the
//! longer one first) over none; then segment by segment literal over `{name}` over `{*rest}`;
//! then methods named over not named. Where the more specific candidate does not fit as a whole,
//! the next one is tried.
//!
//! # What holds
//! * The order of the routes means nothing: two that tie are a [`Conflict`], and no table is built.
//! * A lookup costs one hash for each host and segment looked at, whatever the number of routes,
//!   and allocates nothing on a hit.

use std::collections::HashMap;

use http::Method;

use super::method::is_never_served;
use super::path::{decoded, first_segment};
use super::pattern::{End, LITERAL_MAX_BYTES, Segment};
use super::{HostPattern, MethodSet, NormalHost, NormalPath, PathPattern};

/// What a route is found by.
#[derive(Clone, Copy, Debug)]
pub struct RouteKey<'a> {
    /// For which host.
    pub host: &'a HostPattern,
    /// For which path.
    pub path: &'a PathPattern,
    /// For which methods.
    pub methods: &'a MethodSet,
}

/// Two routes that tie: same host, paths of one shape, and a method that both name, or none named
/// by either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// Index of the route that came first.
    pub first: usize,
    /// Index of the other one.
    pub second: usize,
}

/// No route takes the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Miss {
    /// No route has this host and path (404).
    Unknown,
    /// Routes have this host and path for other methods (405): the value of `Allow`.
    OtherMethods(Box<str>),
}

/// The route table.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Box<str>, Node>,
    wildcard: HashMap<Box<str>, Node>,
    any: Node,
    /// No part of a host that is longer needs to be looked up in `wildcard`.
    longest_wildcard: usize,
}

impl Table {
    /// Builds it; indexes are positions in `routes`.
    ///
    /// # Errors
    /// All ties at once, each with the first route that the later one ties with.
    pub fn build(routes: &[RouteKey<'_>]) -> Result<Self, Vec<Conflict>> {
        let mut table = Self::default();
        let mut conflicts = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let ways = table.tree_mut(route.host).ways_mut(route.path);
            for first in ways.add(route.methods, index) {
                conflicts.push(Conflict { first, second: index });
            }
        }
        if conflicts.is_empty() { Ok(table) } else { Err(conflicts) }
    }

    /// Finds the most specific route: its index.
    ///
    /// Cost: 98 ns ±5 %, with 1 route as with 10,000 (benches/hot_path).
    ///
    /// # Errors
    /// [`Miss`]: 404, or 405 with `Allow` over all routes of that host and path, whichever way
    /// they name the host.
    pub fn find(
        &self,
        host: &NormalHost<'_>,
        path: &NormalPath<'_>,
        method: &Method,
    ) -> Result<usize, Miss> {
        self.trees(host.as_str())
            .find_map(|tree| tree.walk(path.segments(), &mut |ways| ways.find(method)))
            .ok_or_else(|| self.miss(host, path))
    }

    fn tree_mut(&mut self, host: &HostPattern) -> &mut Node {
        match host {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostPattern::Wildcard(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcard.entry(suffix.clone()).or_default()
            }
        }
    }

    /// The trees of all hosts that fit, the most specific first.
    fn trees<'t>(&'t self, host: &'t str) -> impl Iterator<Item = &'t Node> {
        let exact = self.exact.get(host);
        // From the second byte on: something must stand before the suffix.
        let from = host.len().saturating_sub(self.longest_wildcard).max(1);
        let dots = host.bytes().enumerate().skip(from).filter(|(_, byte)| *byte == b'.');
        let wildcards = dots.filter_map(|(at, _)| self.wildcard.get(host.get(at..)?));
        exact.into_iter().chain(wildcards).chain([&self.any])
    }

    /// The second walk of a request that nobody takes: which methods would have been taken.
    fn miss(&self, host: &NormalHost<'_>, path: &NormalPath<'_>) -> Miss {
        let mut allowed: Vec<&str> = Vec::new();
        for tree in self.trees(host.as_str()) {
            tree.walk(path.segments(), &mut |ways| {
                allowed.extend(ways.allowed());
                None
            });
        }
        if allowed.is_empty() {
            return Miss::Unknown;
        }
        allowed.sort_unstable();
        allowed.dedup();
        Miss::OtherMethods(allowed.join(", ").into())
    }
}

/// One place in a tree of paths: what may come next, and what ends here.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<[u8]>, Node>,
    name: Option<Box<Node>>,
    /// Of patterns that end here.
    here: Ways,
    /// Of patterns that go on with `{*rest}`.
    rest: Ways,
}

impl Node {
    fn ways_mut(&mut self, path: &PathPattern) -> &mut Ways {
        let mut node = self;
        for segment in path.segments() {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Name => node.name.get_or_insert_default(),
            };
        }
        match path.end() {
            End::Here => &mut node.here,
            End::Rest => &mut node.rest,
        }
    }

    /// Visits what fits `path`, the most specific first, until a visit gives something. The depth
    /// is that of the longest pattern, which is bounded at load.
    fn walk<'t>(
        &'t self,
        path: &str,
        visit: &mut impl FnMut(&'t Ways) -> Option<usize>,
    ) -> Option<usize> {
        let (segment, behind) = first_segment(path);
        if let Some(next) = self.literal(segment)
            && let Some(found) = next.step(behind, visit)
        {
            return Some(found);
        }
        if let Some(next) = self.name.as_deref().filter(|_| !segment.is_empty())
            && let Some(found) = next.step(behind, visit)
        {
            return Some(found);
        }
        if path.is_empty() { None } else { visit(&self.rest) }
    }

    fn step<'t>(
        &'t self,
        behind: Option<&str>,
        visit: &mut impl FnMut(&'t Ways) -> Option<usize>,
    ) -> Option<usize> {
        match behind {
            Some(path) => self.walk(path, visit),
            None => visit(&self.here),
        }
    }

    fn literal(&self, segment: &str) -> Option<&Self> {
        if self.literals.is_empty() {
            return None;
        }
        if !segment.contains('%') {
            return self.literals.get(segment.as_bytes());
        }
        let mut buffer = [0; LITERAL_MAX_BYTES];
        let mut length = 0;
        for byte in decoded(segment) {
            *buffer.get_mut(length)? = byte;
            length += 1;
        }
        self.literals.get(buffer.get(..length)?)
    }
}

/// The routes of one host and one shape of path.
#[derive(Debug, Default)]
struct Ways {
    named: Vec<(Method, usize)>,
    /// The route that names no methods.
    all: Option<usize>,
}

impl Ways {
    /// Adds a route and says which earlier ones it ties with.
    fn add(&mut self, methods: &MethodSet, index: usize) -> Vec<usize> {
        let mut ties = Vec::new();
        match methods {
            MethodSet::All => match self.all {
                Some(first) => ties.push(first),
                None => self.all = Some(index),
            },
            MethodSet::These(methods) => {
                for method in methods {
                    match self.named(method) {
                        Some(first) if first != index && !ties.contains(&first) => ties.push(first),
                        Some(_) => {}
                        None => self.named.push((method.clone(), index)),
                    }
                }
            }
        }
        ties
    }

    /// The method itself before HEAD by way of GET, and both before a route for all.
    fn find(&self, method: &Method) -> Option<usize> {
        if is_never_served(method) {
            return None;
        }
        let by_get = || self.named(&Method::GET).filter(|_| method == Method::HEAD);
        self.named(method).or_else(by_get).or(self.all)
    }

    fn named(&self, method: &Method) -> Option<usize> {
        self.named.iter().find(|(named, _)| named == method).map(|(_, index)| *index)
    }

    fn allowed(&self) -> impl Iterator<Item = &'_ str> + use<'_> {
        let all = self.all.map_or(&[][..], |_| &USUAL_METHODS);
        let head = self.named(&Method::GET).map(|_| "HEAD");
        let named = self.named.iter().map(|(method, _)| method);
        let named = named.filter(|method| !is_never_served(method)).map(Method::as_str);
        all.iter().copied().chain(head).chain(named)
    }
}

/// What `Allow` says for a route that takes all methods but was asked for TRACE.
const USUAL_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy};
    use proptest::sample::select;

    use super::*;
    use crate::base::property::for_all;

    struct Written(HostPattern, PathPattern, MethodSet);

    /// `"host path METHOD,METHOD"`; `-` for no host and for no methods.
    fn written(route: &str) -> Written {
        let [host, path, methods] = route.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{route}")
        };
        let host = if host == "-" { HostPattern::Any } else { host.parse().unwrap() };
        let methods = match methods {
            "-" => MethodSet::All,
            names => MethodSet::parse(names.split(',')).unwrap(),
        };
        Written(host, path.parse().unwrap(), methods)
    }

    fn build(routes: &[&str]) -> Result<Table, Vec<(usize, usize)>> {
        let written: Vec<Written> = routes.iter().map(|route| written(route)).collect();
        let keys: Vec<RouteKey<'_>> = written
            .iter()
            .map(|Written(host, path, methods)| RouteKey { host, path, methods })
            .collect();
        Table::build(&keys)
            .map_err(|ties| ties.into_iter().map(|tie| (tie.first, tie.second)).collect())
    }

    fn find(table: &Table, host: &str, path: &str, method: &str) -> Result<usize, Miss> {
        let host = NormalHost::parse(host).unwrap();
        let path = NormalPath::parse(path).unwrap();
        table.find(&host, &path, &Method::from_bytes(method.as_bytes()).unwrap())
    }

    fn other_methods(allow: &str) -> Result<usize, Miss> {
        Err(Miss::OtherMethods(allow.into()))
    }

    #[test]
    fn the_most_specific_route_wins_and_the_next_one_is_tried() {
        let routes = [
            "- /{*rest} -",                    // 0
            "- /orders -",                     // 1
            "- /orders/ -",                    // 2
            "- /orders/{id} -",                // 3
            "- /orders/{id} GET",              // 4
            "- /orders/new POST",              // 5
            "- /orders/{id}/items/{item} GET", // 6
            "- /orders/new/{*rest} GET",       // 7
            "- /{any}/new/items -",            // 8
            "*.example.com /orders -",         // 9
            "*.a.example.com /orders GET",     // 10
            "api.a.example.com /orders PUT",   // 11
            "- /@me/a%20b -",                  // 12
            "- / -",                           // 13
        ];
        let table = build(&routes).unwrap();
        #[rustfmt::skip]
        let cases = [
            // claim                                   host                 path                     method   route
            ("a literal over a name",                  "x",                 "/orders/new",           "POST",  5),
            ("back to the name when the method fails", "x",                 "/orders/new",           "GET",   4),
            ("methods named over not named",           "x",                 "/orders/7",             "GET",   4),
            ("methods not named take the others",      "x",                 "/orders/7",             "PUT",   3),
            ("HEAD rides on GET",                      "x",                 "/orders/7",             "HEAD",  4),
            ("a name over a rest",                     "x",                 "/orders/7",             "BREW",  3),
            ("the first segment decides",              "x",                 "/orders/new/items",     "GET",   7),
            ("back two segments",                      "x",                 "/orders/new/items",     "PUT",   8),
            ("back to the root",                       "x",                 "/orders/7/items",       "GET",   0),
            ("a name in the middle",                   "x",                 "/orders/7/items/8",     "GET",   6),
            ("back from the middle",                   "x",                 "/orders/7/items/8",     "PUT",   0),
            ("a literal that was left is found again", "x",                 "/orders/new/items/8",   "GET",   7),
            ("a slash at the end is another path",     "x",                 "/orders/",              "GET",   2),
            ("and does not match a name",              "x",                 "/orders/7/",            "GET",   0),
            ("a rest may end in a slash",              "x",                 "/orders/new/a/",        "GET",   7),
            ("a rest is not empty",                    "x",                 "/orders/new/",          "GET",   0),
            ("the root",                               "x",                 "/",                     "GET",   13),
            ("one label before a suffix",              "b.example.com",     "/orders",               "GET",   9),
            ("several labels before a suffix",         "c.b.example.com",   "/orders",               "GET",   9),
            ("no label before a suffix",               "example.com",       "/orders",               "GET",   1),
            ("a suffix is made of whole labels",       "evilexample.com",   "/orders",               "GET",   1),
            ("the longer suffix wins",                 "b.a.example.com",   "/orders",               "GET",   10),
            ("back to the shorter suffix",             "b.a.example.com",   "/orders",               "PUT",   9),
            ("the exact host wins",                    "api.a.example.com", "/orders",               "PUT",   11),
            ("back to the longer suffix",              "api.a.example.com", "/orders",               "GET",   10),
            ("back to the shorter suffix",             "api.a.example.com", "/orders",               "POST",  9),
            ("back to no host",                        "api.a.example.com", "/orders/7",             "GET",   4),
            ("host case and port mean nothing",        "API.A.example.com:1", "/orders",             "PUT",   11),
            ("a literal without its escapes",          "x",                 "/%40me/a%20b",          "GET",   12),
            ("decoded unreserved characters",          "x",                 "/%6frders/%6eew",       "POST",  5),
            ("path case counts",                       "x",                 "/Orders",               "GET",   0),
        ];
        for (claim, host, path, method, expected) in cases {
            assert_eq!(find(&table, host, path, method), Ok(expected), "{claim}: {path}");
        }
    }

    #[test]
    fn no_route_is_unknown_and_another_method_is_told() {
        let table = build(&[
            "- /orders GET",
            "- /{name} DELETE,PURGE",
            "a.test /orders PATCH",
            "*.test /orders POST",
            "- /all -",
            "a.test /hosted GET",
        ])
        .unwrap();
        #[rustfmt::skip]
        let cases = [
            ("x",      "/orders",   "PUT",   other_methods("DELETE, GET, HEAD, PURGE")),
            ("a.test", "/orders",   "PUT",   other_methods("DELETE, GET, HEAD, PATCH, POST, PURGE")),
            ("x",      "/orders",   "get",   other_methods("DELETE, GET, HEAD, PURGE")),
            ("x",      "/orders",   "TRACE", other_methods("DELETE, GET, HEAD, PURGE")),
            ("x",      "/all",      "PUT",   Ok(4)),
            ("x",      "/all",      "TRACE", other_methods("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PURGE, PUT")),
            ("x",      "/all",      "CONNECT", other_methods("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PURGE, PUT")),
            ("x",      "/orders/",  "GET",   Err(Miss::Unknown)),
            ("x",      "/",         "GET",   Err(Miss::Unknown)),
            ("x",      "/a/b",      "GET",   Err(Miss::Unknown)),
            ("b.test", "/hosted",   "GET",   other_methods("DELETE, PURGE")),
            ("a.test", "/hosted",   "GET",   Ok(5)),
        ];
        for (host, path, method, expected) in cases {
            assert_eq!(find(&table, host, path, method), expected, "{host} {path} {method}");
        }
        let empty = build(&[]).unwrap();
        assert_eq!(find(&empty, "x", "/", "GET"), Err(Miss::Unknown));
    }

    #[test]
    fn every_tie_is_reported() {
        #[rustfmt::skip]
        let cases = [
            ("names of placeholders mean nothing", "- /{a} - | - /{b} -",                       vec![(0, 1)]),
            ("nor those of rests",                 "- /a/{*r} - | - /a/{*s} -",                 vec![(0, 1)]),
            ("a name is no rest",                  "- /a/{r} - | - /a/{*s} -",                  vec![]),
            ("methods that overlap",               "- /a GET,PUT | - /a PUT,POST",              vec![(0, 1)]),
            ("methods apart",                      "- /a GET | - /a PUT",                       vec![]),
            ("named and not named",                "- /a GET | - /a -",                         vec![]),
            ("HEAD named beside GET",              "- /a GET | - /a HEAD",                      vec![]),
            ("two earlier ones",                   "- /a GET | - /a PUT | - /a GET,PUT",       vec![(0, 2), (1, 2)]),
            ("all at once",                        "- /a - | - /b - | - /a - | - /b - | - /a -", vec![(0, 2), (1, 3), (0, 4)]),
            ("hosts apart",                        "a /a - | *.a /a - | - /a -",               vec![]),
            ("spellings of one host",              "A.test /a - | a.test. /a -",                vec![(0, 1)]),
            ("spellings of one literal",           "- /@me - | - /%40me -",                     vec![(0, 1)]),
            ("a slash at the end",                 "- /a - | - /a/ -",                          vec![]),
        ];
        for (claim, routes, ties) in cases {
            let routes: Vec<&str> = routes.split(" | ").collect();
            assert_eq!(build(&routes).err().unwrap_or_default(), ties, "{claim}");
        }
    }

    #[test]
    fn head_that_is_named_wins_over_head_by_way_of_get() {
        for routes in [["- /a GET", "- /a HEAD"], ["- /a HEAD", "- /a GET"]] {
            let table = build(&routes).unwrap();
            let head = routes.iter().position(|route| route.ends_with("HEAD")).unwrap();
            assert_eq!(find(&table, "x", "/a", "HEAD"), Ok(head), "{routes:?}");
        }
    }

    #[test]
    fn a_long_escaped_segment_is_no_literal_and_no_panic() {
        let table = build(&["- /a -", "- /{name}/b -"]).unwrap();
        let long = format!("/{}/b", "%20".repeat(10_000));
        assert_eq!(find(&table, "x", &long, "GET"), Ok(1));
        let deep = "/a".repeat(30_000);
        assert_eq!(find(&table, "x", &deep, "GET"), Err(Miss::Unknown));
    }

    #[test]
    fn the_order_of_the_routes_means_nothing_and_a_plain_search_agrees() {
        let host = select(&["x", "a.test", "b.a.test"][..]);
        let path = (vec(select(&["/a", "/b", "/c"][..]), 1..=3), select(&["", "", "", "/"][..]));
        let path = path.prop_map(|(segments, end)| segments.concat() + end);
        let request = (host, path, select(&["GET", "HEAD", "PUT"][..]));
        let routes = vec(a_route(), 1..12).prop_map(|routes| {
            without_ties(&routes).into_iter().map(str::to_owned).collect::<Vec<_>>()
        });
        let orders =
            routes.prop_flat_map(|routes| (Just(routes.clone()), Just(routes).prop_shuffle()));
        for_all(&(orders, vec(request, 8)), |((routes, shuffled), requests)| {
            let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
            let shuffled: Vec<&str> = shuffled.iter().map(String::as_str).collect();
            let (table, other) = (build(&routes).unwrap(), build(&shuffled).unwrap());
            for (host, path, method) in requests {
                let found = find(&table, host, &path, method).map(|at| routes[at]);
                let again = find(&other, host, &path, method).map(|at| shuffled[at]);
                assert_eq!(found, again, "{host} {path} {method}");
                let plain = plain_search(&routes, host, &path, method);
                assert_eq!(found.ok(), plain, "{host} {path} {method}");
            }
        });
    }

    #[test]
    fn routes_that_tie_do_so_in_every_order() {
        let routes = vec(a_route(), 1..6);
        let orders =
            routes.prop_flat_map(|routes| (Just(routes.clone()), Just(routes).prop_shuffle()));
        for_all(&orders, |(routes, shuffled)| {
            let ties = |routes: &[String]| {
                build(&routes.iter().map(String::as_str).collect::<Vec<_>>()).is_err()
            };
            assert_eq!(ties(&routes), ties(&shuffled));
        });
    }

    fn a_route() -> impl Strategy<Value = String> {
        let host = select(&["-", "-", "a.test", "*.test", "*.a.test"][..]);
        let path = vec(select(&["/{}", "/a", "/b"][..]), 1..=3);
        let end = select(&["", "", "/", "/{*rest}"][..]);
        let methods = select(&["-", "GET", "PUT", "GET,PUT", "HEAD"][..]);
        (host, path, end, methods).prop_map(|(host, path, end, methods)| {
            let named =
                |(at, segment): (usize, &&str)| segment.replace("{}", &format!("{{n{at}}}"));
            let path: String = path.iter().enumerate().map(named).collect();
            format!("{host} {path}{end} {methods}")
        })
    }

    fn without_ties(routes: &[String]) -> Vec<&str> {
        let mut kept: Vec<&str> = Vec::new();
        for route in routes {
            kept.push(route);
            if build(&kept).is_err() {
                kept.pop();
            }
        }
        kept
    }

    /// The contract's rule word by word: of all routes that match, the one with the least rank.
    fn plain_search<'r>(
        routes: &[&'r str],
        host: &str,
        path: &str,
        method: &str,
    ) -> Option<&'r str> {
        let ranked = routes.iter().filter_map(|route| {
            let parts: Vec<&str> = route.split(' ').collect();
            let host_rank = match parts[0] {
                "-" => usize::MAX,
                wildcard if wildcard.starts_with('*') => {
                    let suffix = wildcard.trim_start_matches('*');
                    let fits = host.ends_with(suffix) && suffix.len() < host.len();
                    fits.then_some(1000 - suffix.len())?
                }
                exact => (exact == host).then_some(0)?,
            };
            let path_rank = plain_path_rank(parts[1], path)?;
            let method_rank = match parts[2] {
                "-" => 2,
                named if named.split(',').any(|one| one == method) => 0,
                named => (method == "HEAD" && named.contains("GET")).then_some(1)?,
            };
            Some(((host_rank, path_rank, method_rank), *route))
        });
        ranked.min().map(|(_, route)| route)
    }

    fn plain_path_rank(pattern: &str, path: &str) -> Option<Vec<u8>> {
        let mut path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let mut ranks = Vec::new();
        for segment in pattern.strip_prefix('/')?.split('/') {
            if segment == "{*rest}" {
                ranks.push(2);
                return (!path.is_empty() && path != [""]).then_some(ranks);
            }
            if path.is_empty() {
                return None;
            }
            let here = path.remove(0);
            match segment.starts_with('{') {
                true if here.is_empty() => return None,
                true => ranks.push(1),
                false if here == segment => ranks.push(0),
                false => return None,
            }
        }
        path.is_empty().then_some(ranks)
    }
}
