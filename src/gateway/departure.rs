//! The request as the upstream gets it, and its answer as the caller gets it.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, request};
use hyper::body::Incoming;

use super::context::{Context, REQUEST_ID};
use super::entry::Entry;
use super::route::{Forwarding, Route, Terms};
use crate::base::time::Now;
use crate::body::{Body, BodyError, RequestFault, RequestLimits};
use crate::credential::{self, Credential};
use crate::grant::{ExchangeClient, OwnToken, Subject};
use crate::headers;
use crate::oauth::{RawToken, ScopeSet, VerifiedToken};
use crate::policy::Permit;
use crate::reject::{
    AnswerForm, Bound, InvalidToken, MalformedRequest, Rejection, UpstreamFailure,
};
use crate::route::{NormalPath, PrefixRewrite};
use crate::signer::Holder;

/// What of a request changes before it goes on.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// The `Host` that the upstream sees: always the authority that the route was found by.
    host: HeaderValue,
    /// The target in origin form, its path in the normal form that the route was found by, or what
    /// the route's rewrite makes of that.
    target: Uri,
}

impl Rewrite {
    /// Works out target and host for the upstream.
    ///
    /// # Errors
    /// None that a request can cause that was read: what cannot be written is malformed.
    pub(super) fn of(
        route: &Route,
        entry: &Entry<'_>,
        parts: &request::Parts,
    ) -> Result<Self, Rejection> {
        let host = match parts.headers.get(HOST) {
            Some(host) if host.as_bytes() == entry.authority.as_bytes() => host.clone(),
            _ => HeaderValue::from_str(entry.authority)
                .map_err(|_| Rejection::RequestMalformed(MalformedRequest::Host))?,
        };
        let target = target(&parts.uri, &entry.path, route.rewrite.as_ref())?;
        Ok(Self { host, target: Uri::from(target) })
    }
}

/// The target for the upstream: that of `sent`, with the path that the route was found by or what
/// the route makes of that.
fn target(
    sent: &Uri,
    path: &NormalPath<'_>,
    rewrite: Option<&PrefixRewrite>,
) -> Result<PathAndQuery, Rejection> {
    let malformed = |_| Rejection::RequestMalformed(MalformedRequest::Target);
    match (rewrite, sent.path_and_query()) {
        (Some(rewrite), _) => {
            let path = rewrite.apply(path);
            let path = path.map_err(|_| Rejection::RequestMalformed(MalformedRequest::Path))?;
            rewritten(&path, sent.query()).map_err(malformed)
        }
        (None, Some(target)) if !path.is_rewritten() => Ok(target.clone()),
        _ => rewritten(path.as_str(), sent.query()).map_err(malformed),
    }
}

fn rewritten(path: &str, query: Option<&str>) -> Result<PathAndQuery, http::uri::InvalidUri> {
    match query {
        None => PathAndQuery::try_from(path),
        Some(query) => {
            let mut target = String::with_capacity(path.len() + 1 + query.len());
            target.push_str(path);
            target.push('?');
            target.push_str(query);
            PathAndQuery::try_from(target)
        }
    }
}

/// A permitted request on its way to the upstream.
pub(super) struct Departure<'a> {
    pub(super) route: &'a Arc<Route>,
    pub(super) rewrite: Rewrite,
    pub(super) permit: Permit,
    /// In place of the caller's `Authorization`: what its key and secret were exchanged for.
    pub(super) exchanged: Option<HeaderValue>,
    /// The token of a client of ours that takes its place; whose it is, the route says.
    pub(super) own: Option<Arc<OwnToken>>,
}

impl Departure<'_> {
    /// Gets what this request takes along in place of the caller's token, where the route
    /// exchanges that. Not a part of the decision: who has it explained exchanges nothing.
    ///
    /// # Errors
    /// Where there is none: 401, 502 or 503. Nothing else goes in its place.
    pub(super) async fn exchange(
        &mut self,
        client: &Arc<ExchangeClient>,
        parts: &request::Parts,
        now: Now,
    ) -> Result<(), Rejection> {
        let subject = self.subject(parts).ok_or(Rejection::CredentialMissing)?;
        let token = match client.held(&subject, now) {
            Some(token) => token,
            None => client.exchanged(subject, now).await?,
        };
        self.own = Some(token);
        Ok(())
    }

    /// The caller's token: as it was sent, or what its key and secret were exchanged for.
    fn subject<'s>(&'s self, parts: &'s request::Parts) -> Option<Subject<'s>> {
        let verified = self.permit.token()?;
        let token = match &self.exchanged {
            Some(field) => RawToken::new(field.to_str().ok()?.strip_prefix("Bearer ")?),
            None => {
                let (accept, query) = (self.route.accept(), parts.uri.query());
                match credential::extract(accept, &parts.headers, query).ok()? {
                    Credential::Bearer(token) | Credential::Dpop(token) => token,
                    Credential::Basic(_) => return None,
                }
            }
        };
        Some(Subject { token, digest: verified.digest, until: self.route.end_of(verified) })
    }

    /// Makes the request for the upstream: what the caller must not send is taken away first, and
    /// then ours is put in.
    ///
    /// # Errors
    /// When the header section has two readings, the body is too large, or a claim cannot stand in
    /// a header.
    pub(super) fn request(
        &self,
        context: &Context<'_>,
        parts: &mut request::Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Request<Body>, Rejection> {
        let snapshot = context.snapshot;
        let connection = context.connection;
        let mut headers = std::mem::take(&mut parts.headers);
        snapshot.sanitizer.request(&mut headers, connection.trust)?;
        connection.announce(&mut headers, &self.rewrite.host);
        if let Some(prefix) = self.route.rewrite.as_ref().and_then(PrefixRewrite::outer) {
            headers::announce_prefix(&mut headers, prefix);
        }
        connection.worker.pseudonym().sign(&mut headers, parts.version);
        headers.insert(REQUEST_ID, context.request_id.clone());
        self.authorization(&mut headers, context.now)?;
        if let Some((token, principal)) = self.permit.holder() {
            let edits = &self.route.edits;
            let missing = match edits.tells_missing_scopes() {
                true => self.missing_scopes(token),
                false => ScopeSet::default(),
            };
            edits.apply_identity(&mut headers, token, principal, &missing)?;
        }
        headers.insert(HOST, self.rewrite.host.clone());
        self.route.edits.request.apply_to_request(&mut headers);

        let body = body.take().map_or_else(Body::empty, |body| self.route.body(context, body));
        let mut request = Request::new(body);
        *request.version_mut() = parts.version;
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = self.rewrite.target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What was asked for the token that goes along and not granted (RFC 6749 §3.3): by a client of
    /// ours, or for a caller's key and secret. What a caller asked for its own token nobody knows.
    fn missing_scopes(&self, token: &VerifiedToken) -> ScopeSet {
        match (&self.own, &self.exchanged) {
            (Some(own), _) => {
                let asked = self.route.forward.asked_scopes();
                asked.map(|asked| asked.missing_from(own.granted())).unwrap_or_default()
            }
            (None, Some(_)) => self.route.missing_from_exchanged(token.scopes()),
            (None, None) => ScopeSet::default(),
        }
    }

    fn authorization(&self, headers: &mut HeaderMap, now: Now) -> Result<(), Rejection> {
        match &self.route.forward {
            Forwarding::Token => {
                if let Some(exchanged) = &self.exchanged {
                    headers.insert(AUTHORIZATION, exchanged.clone());
                }
            }
            Forwarding::Nothing | Forwarding::Client(_) | Forwarding::Exchange(_) => {
                headers.remove(AUTHORIZATION);
                headers.remove(DPOP);
                if let Some(own) = &self.own {
                    headers.insert(AUTHORIZATION, own.authorization().clone());
                }
            }
            Forwarding::Signed(signer) => {
                headers.remove(AUTHORIZATION);
                headers.remove(DPOP);
                if let Some((token, principal)) = self.permit.holder() {
                    let ends = self.route.end_of(token);
                    let field = signer.field(Holder { token, principal, ends }, now)?;
                    headers.insert(signer.settings().header_name(), field);
                }
            }
        }
        Ok(())
    }
}

impl Terms {
    /// Refuses a body that says by itself that it is too large.
    pub(super) fn check_length(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let Some(max) = self.body_max else { return Ok(()) };
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| max < length) {
            return Err(Rejection::TooLarge(Bound::Body));
        }
        Ok(())
    }

    fn body(&self, context: &Context<'_>, body: Incoming) -> Body {
        let of_upstream = || Some(self.upstream.as_ref()?.0.settings().timeouts.idle);
        let idle = self.timeouts.idle.or_else(of_upstream);
        let limits = RequestLimits {
            idle: idle.unwrap_or_default(),
            max: self.body_max,
            sanitizer: Arc::clone(&context.snapshot.sanitizer),
        };
        Body::request(body, limits)
    }
}

/// Why an upstream request failed: the caller's body is at fault before the upstream is.
pub(super) fn failure(fault: Option<RequestFault>, failure: UpstreamFailure) -> Rejection {
    match fault {
        Some(RequestFault::TooLarge) => Rejection::TooLarge(Bound::Body),
        Some(RequestFault::TooSlow) => Rejection::TooSlow,
        Some(RequestFault::Malformed | RequestFault::CallerGone) => {
            Rejection::RequestMalformed(MalformedRequest::Framing)
        }
        None => Rejection::UpstreamFailed(failure),
    }
}

/// Makes the upstream's answer fit for the caller: hop-by-hop fields go, the route's own edits are
/// made, a page is named that may read it, and what a cache between the caller and us could take
/// for anybody's is marked as the caller's own.
pub(super) fn arrived(context: &Context<'_>, route: &Route, response: &mut Response<Body>) {
    if let Some(limit) = context.limit {
        let overdue = Rejection::UpstreamFailed(UpstreamFailure::Overdue);
        let trailers = (context.form == AnswerForm::Grpc).then(|| overdue.grpc_trailers());
        response.body_mut().end_by(limit.into(), trailers);
    }
    if let Some(list) = route.revocations()
        && let Some(token) = &context.token
        && response.body().is_under_way()
    {
        let revoked = Rejection::TokenInvalid(InvalidToken::Revoked);
        let trailers = (context.form == AnswerForm::Grpc).then(|| revoked.grpc_trailers());
        let call = Box::pin(Arc::clone(list).revoked(Arc::clone(token)));
        response.body_mut().end_on(call, BodyError::Revoked, trailers);
    }
    let headers = response.headers_mut();
    context.snapshot.sanitizer.response(headers);
    route.edits.response.apply_to_response(headers);
    context.admit_reader(route, headers);
    if !route.is_public() && !matches!(route.forward, Forwarding::Token) {
        keep_private(headers);
    }
}

/// RFC 9111 §3.5: a cache stores an answer to a request with `Authorization` only if it is told
/// to. The upstream saw none of the caller's, so what it tells was not meant for this.
fn keep_private(headers: &mut HeaderMap) {
    let is_private = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').map(str::trim).any(|directive| {
                directive.eq_ignore_ascii_case("no-store")
                    || directive.eq_ignore_ascii_case("private")
            })
        })
    };
    if !headers.get_all(CACHE_CONTROL).iter().any(is_private) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

const DPOP: HeaderName = HeaderName::from_static("dpop");

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use http::Method;
    use proptest::collection::vec;
    use proptest::sample::select;

    use super::*;
    use crate::base::property::for_all;
    use crate::route::{HostPattern, MethodSet, NormalHost, PathPattern, RouteKey, Table};

    /// Routes by path: how many segments are taken off, and what comes in their place.
    const ROUTES: [(&str, usize, &str); 4] = [
        ("/", 0, "/"),
        ("/{*rest}", 0, "/"),
        ("/api/{*rest}", 1, "/v2"),
        ("/api/@me/{*rest}", 2, "/"),
    ];

    #[test]
    fn invariant_7_the_path_that_matched_is_the_path_that_is_sent() {
        let pattern = |text: &str| text.parse::<PathPattern>().unwrap();
        let rewrites = ROUTES.map(|(path, taken, to)| {
            let from = path.strip_suffix("/{*rest}").filter(|_| 0 < taken)?;
            Some(PrefixRewrite::new(&pattern(path), &pattern(from), &pattern(to)).unwrap())
        });
        let paths = ROUTES.map(|(path, ..)| pattern(path));
        let keys = paths.each_ref().map(|path| RouteKey {
            host: &HostPattern::Any,
            path,
            methods: &MethodSet::All,
        });
        let table = Table::build(&keys).unwrap();
        let counts = ROUTES.map(|_| Cell::new(0));
        let start = select(&["", "", "/api", "/%61pi", "/api/@me", "/api/%40me"][..]);
        let pieces =
            select(&["/", "a", "api", "..", "...", "%2e", "%41", "%20", "%c3%a9", "@me"][..]);
        let query = select(&["", "?", "?a=/../b;c", "?%41=%2e&%"][..]);
        for_all(&(start, vec(pieces, 0..6), query), |(start, pieces, query)| {
            let sent: Uri = format!("{start}/{}{query}", pieces.concat()).parse().unwrap();
            let Ok(path) = NormalPath::parse(sent.path()) else { return };
            let found = table.find(&NormalHost::parse("x").unwrap(), &path, &Method::GET).unwrap();
            let target = target(&sent, &path, rewrites[found].as_ref()).unwrap();
            let (_, taken, to) = ROUTES[found];
            let tail = path.as_str().match_indices('/').nth(taken);
            let tail = tail.map_or("", |(at, _)| path.as_str().split_at(at).1);
            assert_eq!(target.path(), format!("{}{tail}", to.trim_end_matches('/')));
            assert_eq!(target.query(), sent.query());
            counts[found].set(counts[found].get() + 1);
        });
        assert!(counts.iter().all(|count| 20 < count.get()), "{counts:?}");
    }

    #[test]
    fn an_answer_that_the_upstream_gave_without_the_callers_credential_is_private() {
        for (given, expected) in [
            (None, "private"),
            (Some("public, max-age=60"), "private"),
            (Some("s-maxage=60"), "private"),
            (Some("Private, max-age=60"), "Private, max-age=60"),
            (Some("no-store"), "no-store"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(given));
            }
            keep_private(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected);
        }
    }

    #[test]
    fn a_fault_of_the_callers_body_outranks_the_upstreams_failure() {
        for (fault, status) in [
            (Some(RequestFault::TooLarge), 413),
            (Some(RequestFault::TooSlow), 408),
            (Some(RequestFault::Malformed), 400),
            (None, 502),
        ] {
            assert_eq!(failure(fault, UpstreamFailure::Reset).status().as_u16(), status);
        }
    }
}
