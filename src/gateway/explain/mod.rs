//! Why a request is let in or refused, step by step (`scopegate explain`).
//!
//! The outcome is that of [`decide`], the function that requests go through; the
//! steps around it only tell what that saw. Nothing is sent to the upstream, nothing counted and
//! nothing logged; tokens are judged, and our own fetched where the route takes one along, as for a
//! request. No caller's token is exchanged: that happens behind the decision.

mod question;
mod refused;
mod step;
mod token;

use std::sync::Arc;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, request};

use super::context::Context;
use super::entry::Entry;
use super::pipeline::{Decision, decide};
use super::route::{Forwarding, facts};
use super::snapshot::Snapshot;
use super::{Connection, Gateway, Route};
use crate::base::time;
use crate::body::Body;
use crate::config;
use crate::credential::{self, Credential};
use crate::oauth::{Principal, RawToken, VerifiedToken};
use crate::policy::Access;
use crate::reject::{InvalidToken, Rejection, Scheme};
use crate::route::{self, HostPattern, MethodSet, Misfit, NormalHost, NormalPath, RouteKey};
use crate::verify::Purpose;

pub use question::Question;
pub use step::{Explanation, Mark, Outcome, Sent, Step};

impl Gateway {
    /// Explains what becomes of a request that comes over `connection`. A body is not looked at.
    pub async fn explain(&self, request: Request<()>, connection: &Connection) -> Explanation {
        let (mut parts, ()) = request.into_parts();
        let asked = parts.clone();
        let snapshot = connection.worker.hold().current(&self.snapshot);
        let mut context = Context::new(&snapshot, connection, &parts, time::now());
        context.purpose = Purpose::Explain;
        let decided = match decide(&mut context, &mut parts).await {
            Ok(Decision::Onward(departure)) => {
                let request = departure.request(&context, &mut parts, &mut None);
                request.map(|request| Decided::Onward(Box::new(request)))
            }
            Ok(Decision::Answer(response)) => Ok(Decided::Answer(response.status())),
            Ok(Decision::Door(door)) => Ok(Decided::Door(door.what())),
            Err(rejection) => Err(rejection),
        };
        Story { context: &context, asked: &asked, decided, steps: Vec::new() }.told()
    }
}

/// What the data path made of the request.
enum Decided {
    Answer(StatusCode),
    /// What stands there.
    Door(String),
    Onward(Box<Request<Body>>),
}

/// An explanation that is being put together.
struct Story<'a> {
    context: &'a Context<'a>,
    /// The request as it came.
    asked: &'a request::Parts,
    decided: Result<Decided, Rejection>,
    steps: Vec<Step>,
}

impl Story<'_> {
    fn told(mut self) -> Explanation {
        self.steps();
        let sent = match &self.decided {
            Ok(Decided::Onward(request)) => Some(self.sent(request)),
            Ok(Decided::Answer(_) | Decided::Door(_)) | Err(_) => None,
        };
        let outcome = match &self.decided {
            Ok(Decided::Onward(_)) => Outcome::Allowed,
            Ok(Decided::Answer(status)) => Outcome::Answered { status: status.as_u16() },
            Ok(Decided::Door(_)) => Outcome::Answered { status: StatusCode::OK.as_u16() },
            Err(rejection) => Outcome::of(rejection),
        };
        Explanation { steps: self.steps, outcome, sent }
    }

    /// Goes the request's way, up to where the decision fell.
    fn steps(&mut self) {
        if self.request().is_none() {
            return;
        }
        let Some(route) = self.context.route() else { return };
        let route = &**route;
        if matches!(self.decided, Ok(Decided::Answer(_))) && self.context.token.is_none() {
            return self.step(Mark::Yes, "answer", "it is answered here, without a token");
        }
        if let Err(Rejection::PreflightRefused(_) | Rejection::TooLarge(_)) = &self.decided {
            return self.refused_here("request");
        }
        match &route.access {
            Access::Public => {
                self.step(Mark::Yes, "access", "the route is public: no token is looked at");
            }
            Access::Token(requirement) => {
                let Some((token, principal)) = self.credential(route) else { return };
                let (audiences, now) = (route.audiences_of(&token), self.context.now.unix);
                let (whose, request) = ((principal, audiences), facts(self.asked));
                self.steps.extend(token::rules(requirement, &token, whose, now, request));
            }
        }
        if let (Ok(Decided::Onward(_)), Some(exchanged)) = (&self.decided, exchanged_by(route)) {
            self.step(Mark::Yes, "exchange", exchanged);
        }
        match &self.decided {
            Err(Rejection::OwnClientRefused(_)) => self.refused_here("own token"),
            Err(Rejection::VerifierUnavailable(_)) if self.was_admitted() => {
                self.refused_here("own token");
            }
            Err(Rejection::RequestMalformed(_)) => self.refused_here("request"),
            _ => {}
        }
    }

    /// Whether the refusal came after the route's own rules.
    fn was_admitted(&self) -> bool {
        self.context.token.is_some()
            || self.context.route().is_some_and(|route| matches!(route.access, Access::Public))
    }

    /// The request's form, and the route. `None` where it ends there.
    fn request(&mut self) -> Option<()> {
        let entry = match Entry::read(self.asked) {
            Ok(entry) => entry,
            Err(_) if matches!(self.decided, Ok(Decided::Answer(_))) => {
                self.step(Mark::Yes, "request", "it asks about the server, not about a resource");
                return None;
            }
            Err(_) => {
                self.refused_here("request");
                return None;
            }
        };
        let (host, path) = (entry.host, entry.path);
        let form = format!("{} {}{}", self.asked.method, host.as_str(), path.as_str());
        self.step(Mark::Yes, "request", form);
        if matches!(self.decided, Err(Rejection::Misdirected)) {
            self.refused_here("host");
            return None;
        }
        if let Ok(Decided::Door(what)) = &self.decided {
            let what = what.clone();
            self.step(Mark::Yes, "answer", what);
            return None;
        }
        let snapshot: &Snapshot = self.context.snapshot;
        let taken = self.context.route().and_then(|route| snapshot.index_of(route));
        match taken.and_then(|index| snapshot.config().routes.get(index)) {
            Some(settings) => {
                let key = (&settings.host, settings.path.as_str(), &settings.methods);
                self.step(Mark::Yes, "route", format!("{:?}: {}", settings.name, shown(key)));
            }
            None if matches!(self.decided, Ok(Decided::Answer(_))) => {
                let what = match self.context.served_as {
                    "key_set" => "the key set of a signer, to anybody",
                    _ => "the metadata of a resource (RFC 9728), to anybody",
                };
                self.step(Mark::Yes, "answer", what);
                return None;
            }
            None => self.refused_here("route"),
        }
        self.steps.extend(nearest(
            &snapshot.config().routes,
            (&host, &path, &self.asked.method),
            taken,
        ));
        taken.map(|_| ())
    }

    /// The credential and what is read of it: the token, and whom it speaks for. `None` where the
    /// request ends there.
    fn credential(&mut self, route: &Route) -> Option<(Arc<VerifiedToken>, Principal)> {
        let found =
            credential::extract(route.accept(), &self.asked.headers, self.asked.uri.query());
        match found {
            Err(_) => {
                self.refused_here("credential");
                None
            }
            Ok(found @ (Credential::Bearer(token) | Credential::Dpop(token))) => {
                let (length, digest) = (token.expose().len(), token.digest());
                let kind = if found.scheme() == Scheme::Dpop { "DPoP" } else { "bearer" };
                let detail = format!("a {kind} token of {length} bytes, digest {digest}");
                self.step(Mark::Yes, "credential", detail);
                let (verified, now) = (self.context.token.clone(), self.context.now.unix);
                let refusal = self.decided.as_ref().err();
                self.steps.extend(token::checks(token, verified.as_deref(), refusal, now));
                let token = verified?;
                self.proof(route, &token, found.scheme())?;
                Some((Arc::clone(&token), token.principal))
            }
            Ok(Credential::Basic(basic)) => {
                let detail = format!("the key {:?} and a secret", basic.client_id.as_str());
                self.step(Mark::Yes, "credential", detail);
                let Some(token) = self.context.token.clone() else {
                    self.refused_here("exchange");
                    return None;
                };
                self.step(Mark::Yes, "exchange", "the authorization server gives a token for them");
                Some((token, Principal::Client))
            }
        }
    }

    /// Whether the request proved what its token is bound to. `None` where it ends there.
    fn proof(&mut self, route: &Route, token: &VerifiedToken, scheme: Scheme) -> Option<()> {
        let is_about_it = match &self.decided {
            Err(Rejection::TokenInvalid(why)) => {
                matches!(why, InvalidToken::Bound | InvalidToken::Unbound)
            }
            Err(other) => other.is_about_proof(),
            Ok(_) => false,
        };
        if is_about_it {
            self.refused_here("proof");
            return None;
        }
        let bound = token.confirmation();
        if scheme == Scheme::Dpop
            && let Some(key) = bound.and_then(|bound| bound.key)
        {
            self.step(Mark::Yes, "proof", format!("a DPoP proof by the key {key} of cnf.jkt"));
        }
        if let Some(certificate) = bound.and_then(|bound| bound.certificate) {
            let detail = format!("the certificate {certificate} of cnf.x5t#S256 was shown");
            self.step(Mark::Yes, "proof", detail);
        }
        if bound.is_none() && route.proving.is_on {
            self.step(Mark::Yes, "proof", "none is needed: the token is bound to nothing");
        }
        Some(())
    }

    /// A step at which the request is refused, with the words of the refusal.
    fn refused_here(&mut self, what: &'static str) {
        if let Err(rejection) = &self.decided {
            let step = Step { mark: Mark::of(rejection), what, detail: rejection.detail().into() };
            self.steps.push(step);
        }
    }

    fn step(&mut self, mark: Mark, what: &'static str, detail: impl Into<String>) {
        self.steps.push(Step { mark, what, detail: detail.into() });
    }

    /// What the upstream would get.
    fn sent(&self, request: &Request<Body>) -> Sent {
        let route = self.context.route().map(|route| &***route);
        let upstream = route.and_then(|terms| Some(terms.upstream.as_ref()?.0.settings()));
        let headers = request.headers().iter();
        let forward = route.map(|terms| &terms.forward);
        let signer = match forward {
            Some(Forwarding::Signed(signer)) => Some(signer),
            _ => None,
        };
        let tell = |name: &HeaderName, value: &HeaderValue| {
            let signed = signer.and_then(|signer| signer.told(name, value));
            (name.to_string(), signed.unwrap_or_else(|| told(name, value)))
        };
        let mut headers: Vec<_> = headers.map(|(name, value)| tell(name, value)).collect();
        if let Some(Forwarding::Exchange(client)) = forward {
            let told = format!("Bearer (what clients.{} is given for it)", client.settings().name);
            headers.push((AUTHORIZATION.to_string(), told));
        }
        Sent {
            upstream: upstream.map(|settings| settings.name.to_string()).unwrap_or_default(),
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers,
        }
    }
}

/// That a request takes along another token than the caller's, which nobody asks for here.
fn exchanged_by(route: &Route) -> Option<String> {
    let Forwarding::Exchange(client) = &route.forward else { return None };
    let settings = client.settings();
    let (name, grant) = (&settings.name, settings.grant.name());
    let server = &client.server().settings().issuer;
    Some(format!(
        "clients.{name} would ask {server} for another token ({grant}); it is not asked now, and \
         may say no"
    ))
}

/// Which other routes come near, and why they do not take the request.
fn nearest(
    routes: &[config::Route],
    asked: (&NormalHost<'_>, &NormalPath<'_>, &Method),
    taken: Option<usize>,
) -> Vec<Step> {
    let keys: Vec<RouteKey<'_>> = routes.iter().map(config::Route::key).collect();
    let near = route::nearest(&keys, asked, taken, NEAREST_MAX).into_iter();
    near.filter_map(|(index, misfit)| {
        let other = routes.get(index)?;
        let why = match misfit {
            Misfit::LessSpecific => "it would take this, but is less specific",
            Misfit::Method => "it is for other methods",
            Misfit::Host => "it is for another host",
            Misfit::Path(_) => "its path differs",
        };
        let key = shown((&other.host, other.path.as_str(), &other.methods));
        let detail = format!("{:?}: {key}: {why}", other.name);
        Some(Step { mark: Mark::Aside, what: "not", detail })
    })
    .collect()
}

/// A credential is told by its scheme and the digest of what stands behind it.
fn told(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if name == "dpop" {
        return format!("(a proof of {} bytes)", text.len());
    }
    if name != AUTHORIZATION && name != PROXY_AUTHORIZATION {
        return text.into_owned();
    }
    match text.split_once(' ') {
        Some((scheme, credential)) => {
            format!("{scheme} (digest {})", RawToken::new(credential).digest())
        }
        None => "(hidden)".to_owned(),
    }
}

fn shown((host, path, methods): (&HostPattern, &str, &MethodSet)) -> String {
    let host = match host {
        HostPattern::Any => String::new(),
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    };
    match methods {
        MethodSet::All => format!("{host}{path}"),
        MethodSet::These(methods) => {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            format!("{} {host}{path}", names.join(","))
        }
    }
}

/// So many routes that do not take the request are told of.
const NEAREST_MAX: usize = 3;
