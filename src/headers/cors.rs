//! `cors` of a route: which pages of other sites may read its answers (Fetch, CORS protocol).
//!
//! A browser asks with `OPTIONS` before it sends what a form could not send: that question, a
//! preflight, has no token with it, and is answered here. Its other requests are judged like
//! anybody's; CORS says who may read the answer, and never lets a request in.
//!
//! # What holds
//! * An origin is allowed letter by letter: scheme, host and port. `null` never is: every sandboxed
//!   frame of any site has it.
//! * An answer has the CORS fields that stand here or none; an upstream's own are gone. `Vary`
//!   names `Origin` on every answer, also on those without one: a cache would give it to the next.
//! * The fields are made at load. Of a request only its method is repeated, which was parsed, and
//!   only where the route takes any.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, request};

use crate::reject::PreflightRefusal;
use crate::route::MethodSet;

/// Who may read a route's answers, and what a page may send there.
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    origins: Origins,
    credentials: Credentials,
    methods: MethodSet,
    /// The values of fields, made at load.
    allow_methods: Option<HeaderValue>,
    allow_headers: HeaderValue,
    expose_headers: HeaderValue,
    max_age: HeaderValue,
}

/// Which origins are allowed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origins {
    /// `*`: each but `null`.
    Any,
    /// These.
    These(Box<[HeaderValue]>),
}

/// Whether a browser may send what it keeps for the route's own site: cookies, certificates, the
/// password that somebody typed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credentials {
    /// It may not. A token that a page's script sets is none of these.
    Omitted,
    /// It may, and the page can read what comes of it.
    Included,
}

/// What `cors` of a route says, its lists beside what is always in them.
#[derive(Clone, Debug)]
pub struct CorsRules {
    /// Who may read.
    pub origins: Origins,
    /// Whether cookies may be sent along.
    pub credentials: Credentials,
    /// Which of the route's methods; `All`: every one.
    pub methods: MethodSet,
    /// What a page may send, beside `Authorization` and `DPoP`.
    pub headers: Vec<HeaderName>,
    /// What a page may read, beside what our refusals say.
    pub expose: Vec<HeaderName>,
    /// How long a browser may keep the answer to a preflight, in seconds.
    pub max_age_s: u64,
}

/// A browser's question whether it may send a request.
#[derive(Debug)]
pub struct Preflight<'a> {
    /// The method of that request.
    pub method: Method,
    origin: &'a HeaderValue,
}

/// Who a page's answer may be read by, as the request's `Origin` has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// No page, or one that is not allowed.
    Nobody,
    /// The page, by its place among the origins.
    Page(usize),
}

impl<'a> Preflight<'a> {
    /// Reads a request that may be one. `OPTIONS` without these two fields is a request like any
    /// other.
    pub fn of(parts: &'a request::Parts) -> Option<Self> {
        if parts.method != Method::OPTIONS {
            return None;
        }
        let origin = only(&parts.headers, &ORIGIN)?;
        let method = only(&parts.headers, &ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self { method: Method::from_bytes(method.as_bytes()).ok()?, origin })
    }
}

impl Cors {
    /// Makes the fields of all answers. `methods` of the rules must be among those of the route.
    pub fn new(rules: CorsRules, route: &MethodSet) -> Self {
        let CorsRules { origins, credentials, methods, headers, expose, max_age_s } = rules;
        let methods = match methods {
            MethodSet::All => route.clone(),
            these @ MethodSet::These(_) => these,
        };
        let allow_methods = match &methods {
            MethodSet::All => None,
            MethodSet::These(these) => Some(list(these.iter().map(Method::as_str))),
        };
        let names = |own: &[&'static str], more: &[HeaderName]| {
            let more: Vec<&str> = more.iter().map(HeaderName::as_str).collect();
            let more = more.into_iter().filter(|name| !own.contains(name));
            list(own.iter().copied().chain(more))
        };
        Self {
            origins,
            credentials,
            allow_methods,
            methods,
            allow_headers: names(&ALLOWED, &headers),
            expose_headers: names(&EXPOSED, &expose),
            max_age: HeaderValue::from(max_age_s),
        }
    }

    /// The fields of the answer to a preflight.
    ///
    /// Headers that it asks for are not looked at: the browser holds them against the list itself.
    ///
    /// # Errors
    /// When origin or method is not allowed.
    pub fn preflight(&self, preflight: &Preflight<'_>) -> Result<HeaderMap, PreflightRefusal> {
        let reader = self.reader_of(preflight.origin);
        if reader == Reader::Nobody {
            return Err(PreflightRefusal::Origin);
        }
        if !self.methods.contains(&preflight.method) {
            return Err(PreflightRefusal::Method);
        }
        let mut headers = HeaderMap::with_capacity(8);
        self.name_reader(&mut headers, reader);
        let asked = || HeaderValue::from_str(preflight.method.as_str()).ok();
        if let Some(methods) = self.allow_methods.clone().or_else(asked) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        Ok(headers)
    }

    /// Who may read the answer to a request.
    pub fn reader(&self, request: &HeaderMap) -> Reader {
        only(request, &ORIGIN).map_or(Reader::Nobody, |origin| self.reader_of(origin))
    }

    /// Puts our fields into an answer, and takes an upstream's out.
    pub fn apply(&self, reader: Reader, headers: &mut HeaderMap) {
        let is_cors = |name: &&HeaderName| name.as_str().starts_with(ACCESS_CONTROL);
        while let Some(name) = headers.keys().find(is_cors).cloned() {
            headers.remove(name);
        }
        if !headers.get_all(VARY).iter().any(names_origin) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if reader != Reader::Nobody {
            self.name_reader(headers, reader);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.clone());
        }
    }

    fn reader_of(&self, origin: &HeaderValue) -> Reader {
        match &self.origins {
            _ if origin == NULL => Reader::Nobody,
            Origins::Any => Reader::Page(0),
            Origins::These(origins) => {
                let at = origins.iter().position(|one| one == origin);
                at.map_or(Reader::Nobody, Reader::Page)
            }
        }
    }

    fn name_reader(&self, headers: &mut HeaderMap, reader: Reader) {
        let origin = match (&self.origins, reader) {
            (_, Reader::Nobody) => return,
            (Origins::Any, Reader::Page(_)) => HeaderValue::from_static("*"),
            (Origins::These(origins), Reader::Page(at)) => match origins.get(at) {
                Some(origin) => origin.clone(),
                None => return,
            },
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials == Credentials::Included {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// The value of a field that stands there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether a `Vary` says that the answer differs by origin, or by everything.
fn names_origin(vary: &HeaderValue) -> bool {
    let mut names = vary.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> HeaderValue {
    let text = items.collect::<Vec<_>>().join(", ");
    // Names and methods are tokens.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

const ACCESS_CONTROL: &str = "access-control-";
const NULL: &str = "null";

/// What a page must be able to send: its token, and the proof of a bound one (RFC 9449 §7.1). A `*`
/// would not cover `Authorization` (Fetch, CORS-preflight fetch).
const ALLOWED: [&str; 2] = ["authorization", "dpop"];

/// What refusals of ours say in fields.
const EXPOSED: [&str; 4] = ["www-authenticate", "retry-after", "x-request-id", "dpop-nonce"];

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::headers::testing::shown;

    fn rules(origins: &[&'static str]) -> CorsRules {
        let origins = match origins {
            ["*"] => Origins::Any,
            these => Origins::These(these.iter().copied().map(HeaderValue::from_static).collect()),
        };
        CorsRules {
            origins,
            credentials: Credentials::Omitted,
            methods: MethodSet::All,
            headers: vec![HeaderName::from_static("content-type"), HeaderName::from_static("dpop")],
            expose: vec![HeaderName::from_static("x-total")],
            max_age_s: 600,
        }
    }

    fn cors(origins: &[&'static str]) -> Cors {
        Cors::new(rules(origins), &MethodSet::All)
    }

    fn options(lines: &[(&str, &str)]) -> request::Parts {
        let request = lines
            .iter()
            .fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        request.method(Method::OPTIONS).body(()).unwrap().into_parts().0
    }

    fn ask(cors: &Cors, origin: &str, method: &str) -> Result<Vec<String>, PreflightRefusal> {
        let parts = options(&[("origin", origin), ("access-control-request-method", method)]);
        cors.preflight(&Preflight::of(&parts).unwrap()).map(|headers| shown(&headers))
    }

    const APP: &str = "https://app.example.com";

    #[test]
    fn a_preflight_has_an_origin_and_the_method_that_is_asked_about() {
        let (origin, method) = (("origin", APP), ("access-control-request-method", "PUT"));
        let parts = options(&[origin, method]);
        assert_eq!(Preflight::of(&parts).unwrap().method, Method::PUT);
        for lines in [
            &[][..],
            &[origin],
            &[method],
            &[origin, origin, method],
            &[origin, method, method],
            &[origin, ("access-control-request-method", "P T")],
            &[origin, ("access-control-request-method", "")],
        ] {
            assert!(Preflight::of(&options(lines)).is_none(), "{lines:?}");
        }
        let mut get = options(&[origin, method]);
        get.method = Method::GET;
        assert!(Preflight::of(&get).is_none());
    }

    #[test]
    fn fetch_3_3_a_preflight_is_told_what_may_be_sent_and_by_whom() {
        let expected = [
            "access-control-allow-headers: authorization, dpop, content-type",
            "access-control-allow-methods: PUT",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 600",
            "vary: Origin",
        ];
        assert_eq!(ask(&cors(&[APP]), APP, "PUT").unwrap(), expected);
        let any = ask(&cors(&["*"]), "https://b.example", "PUT").unwrap();
        assert!(any.contains(&"access-control-allow-origin: *".to_owned()), "{any:?}");
        let rules = CorsRules { credentials: Credentials::Included, ..rules(&[APP]) };
        let included = ask(&Cors::new(rules, &MethodSet::All), APP, "PUT").unwrap();
        let credentials = "access-control-allow-credentials: true".to_owned();
        assert!(included.contains(&credentials), "{included:?}");
        assert!(!included.iter().any(|line| line.contains('*')), "{included:?}");
    }

    #[test]
    fn the_methods_are_those_of_the_route_or_fewer() {
        let route = MethodSet::parse(["GET", "PUT", "DELETE"]).unwrap();
        let all = Cors::new(rules(&[APP]), &route);
        let line = "access-control-allow-methods: GET, PUT, DELETE".to_owned();
        assert!(ask(&all, APP, "PUT").unwrap().contains(&line));
        let fewer = CorsRules { methods: MethodSet::parse(["PUT"]).unwrap(), ..rules(&[APP]) };
        let fewer = Cors::new(fewer, &route);
        assert!(ask(&fewer, APP, "PUT").is_ok());
        assert_eq!(ask(&fewer, APP, "DELETE"), Err(PreflightRefusal::Method));
    }

    #[test]
    fn an_origin_is_allowed_letter_by_letter_and_null_never() {
        let (some, any) = (cors(&[APP, "http://localhost:3000"]), cors(&["*"]));
        for origin in [
            "null",
            "https://app.example.com.evil.test",
            "https://evil-app.example.com",
            "https://xapp.example.com",
            "https://app.example.co",
            "https://app.example.com:8443",
            "https://app.example.com/",
            "https://APP.example.com",
            "http://app.example.com",
            "app.example.com",
            "https://example.com",
            "http://localhost",
            "http://localhost:30000",
            "*",
            "",
        ] {
            assert_eq!(ask(&some, origin, "GET"), Err(PreflightRefusal::Origin), "{origin}");
        }
        assert!(ask(&some, "http://localhost:3000", "GET").is_ok());
        assert_eq!(ask(&any, "null", "GET"), Err(PreflightRefusal::Origin));
    }

    #[test]
    fn fetch_3_3_an_answer_has_our_fields_alone_and_varies_by_origin() {
        let upstream = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://evil.test"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("access-control-allow-private-network", "true"),
            ("vary", "accept"),
        ];
        let exposed = "access-control-expose-headers: www-authenticate, retry-after, \
                       x-request-id, dpop-nonce, x-total";
        let allowed = [
            "access-control-allow-origin: https://app.example.com",
            exposed,
            "vary: Origin",
            "vary: accept",
        ];
        let refused = ["vary: Origin", "vary: accept"];
        for (origin, expected) in [
            (Some(APP), &allowed[..]),
            (Some("https://evil.test"), &refused),
            (Some("null"), &refused),
            (None, &refused),
        ] {
            let mut request = HeaderMap::new();
            if let Some(origin) = origin {
                request.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            let mut answer = HeaderMap::new();
            for (name, value) in upstream {
                answer.append(name, HeaderValue::from_static(value));
            }
            let cors = cors(&[APP]);
            cors.apply(cors.reader(&request), &mut answer);
            assert_eq!(shown(&answer), expected, "{origin:?}");
        }
    }

    #[test]
    fn a_vary_that_says_so_already_is_left_alone() {
        for vary in ["Origin", "accept, ORIGIN", "*"] {
            let mut answer = HeaderMap::new();
            answer.insert(VARY, HeaderValue::from_static(vary));
            cors(&[APP]).apply(Reader::Nobody, &mut answer);
            assert_eq!(shown(&answer), [format!("vary: {vary}")]);
        }
    }
}
