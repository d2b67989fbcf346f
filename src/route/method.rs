//! Which methods a route takes.

use std::fmt;

use http::Method;

/// `methods` of a route. Case counts (RFC 9110 §9.1): `get` is another method than `GET`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum MethodSet {
    /// Absent: all but TRACE and CONNECT.
    #[default]
    All,
    /// These, and HEAD wherever GET is.
    These(Box<[Method]>),
}

/// Why a text is no method that a route may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidMethod {
    /// The list is empty: the route would take nothing.
    NoMethod,
    /// Not a token (RFC 9110 §9.1).
    NotAToken,
    /// A standard method in the wrong case: it would never match.
    Case,
    /// TRACE would echo credentials, and CONNECT asks for a tunnel (RFC 9110 §9.3.6, §9.3.8).
    NeverServed,
}

impl fmt::Display for InvalidMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoMethod => "name at least one method, or leave `methods` out for all of them",
            Self::NotAToken => "a method is one word, such as \"GET\"",
            Self::Case => "methods are compared letter by letter: write it in upper case",
            Self::NeverServed => "TRACE and CONNECT are never served: leave them out",
        })
    }
}

impl std::error::Error for InvalidMethod {}

impl MethodSet {
    /// The methods of these names; a repeated one counts once.
    ///
    /// # Errors
    /// For the first name that no route may have.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidMethod> {
        let mut methods = Vec::new();
        for name in names {
            let method = parse_one(name)?;
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        if methods.is_empty() {
            return Err(InvalidMethod::NoMethod);
        }
        Ok(Self::These(methods.into()))
    }

    /// Whether a request with `method` may take the route. HEAD rides on GET (RFC 9110 §9.1).
    pub fn contains(&self, method: &Method) -> bool {
        match self {
            _ if is_never_served(method) => false,
            Self::All => true,
            Self::These(methods) => {
                methods.contains(method)
                    || (method == Method::HEAD && methods.contains(&Method::GET))
            }
        }
    }
}

/// Whether no route may take it: TRACE would echo credentials, and we are no tunnel.
pub(super) fn is_never_served(method: &Method) -> bool {
    method == Method::TRACE || method == Method::CONNECT
}

fn parse_one(name: &str) -> Result<Method, InvalidMethod> {
    let method = Method::from_bytes(name.as_bytes()).map_err(|_| InvalidMethod::NotAToken)?;
    if STANDARD.iter().any(|one| one.as_str() != name && one.as_str().eq_ignore_ascii_case(name)) {
        return Err(InvalidMethod::Case);
    }
    if is_never_served(&method) { Err(InvalidMethod::NeverServed) } else { Ok(method) }
}

/// RFC 9110 §9.3 and RFC 5789.
const STANDARD: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn rfc9110_9_1_case_counts_and_head_rides_on_get() {
        let reads = MethodSet::parse(["GET", "PURGE", "GET"]).unwrap();
        let writes = MethodSet::parse(["POST"]).unwrap();
        #[rustfmt::skip]
        let cases = [
            // method    all    GET+PURGE  POST
            ("GET",      true,  true,      false),
            ("HEAD",     true,  true,      false),
            ("POST",     true,  false,     true),
            ("PURGE",    true,  true,      false),
            ("get",      true,  false,     false),
            ("BREW",     true,  false,     false),
            ("TRACE",    false, false,     false),
            ("CONNECT",  false, false,     false),
        ];
        for (name, in_all, in_reads, in_writes) in cases {
            let method = method(name);
            assert_eq!(MethodSet::All.contains(&method), in_all, "{name}");
            assert_eq!(reads.contains(&method), in_reads, "{name}");
            assert_eq!(writes.contains(&method), in_writes, "{name}");
        }
    }

    #[test]
    fn trace_is_not_taken_even_where_it_is_named() {
        assert!(!MethodSet::These([Method::TRACE].into()).contains(&Method::TRACE));
    }

    #[test]
    fn a_configured_method_is_a_token_in_the_case_it_is_sent_in() {
        for (names, expected) in [
            (&[][..], InvalidMethod::NoMethod),
            (&["GET", ""][..], InvalidMethod::NotAToken),
            (&["GET POST"][..], InvalidMethod::NotAToken),
            (&["GET,POST"][..], InvalidMethod::NotAToken),
            (&["Get"][..], InvalidMethod::Case),
            (&["trace"][..], InvalidMethod::Case),
            (&["TRACE"][..], InvalidMethod::NeverServed),
            (&["CONNECT"][..], InvalidMethod::NeverServed),
        ] {
            assert_eq!(MethodSet::parse(names.iter().copied()), Err(expected), "{names:?}");
        }
        assert!(MethodSet::parse(["M-SEARCH", "purge"]).is_ok());
    }
}
