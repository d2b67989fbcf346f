//! Why a request was refused, by what was kept of it.

use http::header::HOST;
use http::{HeaderValue, Request, request};

use super::step::{Explanation, Mark, Outcome, Step};
use super::{Gateway, nearest, shown, token};
use crate::base::time::UnixSeconds;
use crate::gateway::Snapshot;
use crate::gateway::refusals::{Brought, Refused};
use crate::gateway::route::facts;
use crate::oauth::Principal;
use crate::policy::Access;
use crate::reject::Rejection;
use crate::route::{NormalHost, NormalPath};

impl Gateway {
    /// Explains why the request with that id was refused, `None` where nothing was kept of it: it
    /// is too long ago, was not refused, or the configuration keeps none.
    pub fn explain_refusal(&self, request_id: &str, now: UnixSeconds) -> Option<Explanation> {
        let refused = self.refusals.find(request_id)?;
        let snapshot = self.snapshot();
        let mut steps = vec![refused.told(now)];
        steps.extend(refused.found(&snapshot));
        steps.extend(refused.credential());
        steps.extend(refused.rules());
        if !steps.iter().any(|step| matches!(step.mark, Mark::No | Mark::Unknown)) {
            let mark = Mark::of(&refused.rejection);
            let (what, detail) = ("refused", refused.rejection.detail().to_owned());
            steps.push(Step { mark, what, detail });
        }
        Some(Explanation { steps, outcome: Outcome::of(&refused.rejection), sent: None })
    }
}

impl Refused {
    fn told(&self, now: UnixSeconds) -> Step {
        let (host, when) = (self.host.as_deref().unwrap_or_default(), token::moment(self.at, now));
        let detail = format!("{} {host}{}, {when}", self.method, self.path);
        Step { mark: Mark::Aside, what: "request", detail }
    }

    /// The route that it was for, and the nearest others, as the configuration at work has them.
    fn found(&self, snapshot: &Snapshot) -> Vec<Step> {
        let routes = &snapshot.config().routes;
        let taken = self.route().and_then(|route| snapshot.index_of(&route));
        let mut steps = Vec::new();
        let mut step = |mark, what, detail| steps.push(Step { mark, what, detail });
        match (&self.route_name, taken.and_then(|index| routes.get(index))) {
            (Some(_), Some(settings)) => {
                let key = (&settings.host, settings.path.as_str(), &settings.methods);
                step(Mark::Yes, "route", format!("{:?}: {}", settings.name, shown(key)));
            }
            (Some(name), None) => {
                let detail = format!("{name:?}, of a configuration that was replaced");
                step(Mark::Yes, "route", detail);
            }
            (None, _) => {
                step(Mark::of(&self.rejection), "route", self.rejection.detail().to_owned());
            }
        }
        let host = self.host.as_deref().and_then(|host| NormalHost::parse(host).ok());
        if let (Some(host), Ok(path)) = (host, NormalPath::parse(&self.path)) {
            steps.extend(nearest(routes, (&host, &path, &self.method), taken));
        }
        steps
    }

    fn credential(&self) -> Vec<Step> {
        if self.route_name.is_none() {
            return Vec::new();
        }
        if self.route().is_some_and(|route| route.is_public()) {
            let detail = "the route is public: no token is looked at".to_owned();
            return vec![Step { mark: Mark::Yes, what: "access", detail }];
        }
        let mut steps = Vec::new();
        let mut step = |mark, what, detail| steps.push(Step { mark, what, detail });
        match &self.brought {
            Brought::Token { bytes, digest } => {
                let detail = format!("a token of {bytes} bytes, digest {digest}");
                step(Mark::Yes, "credential", detail);
            }
            Brought::Key(key) => {
                step(Mark::Yes, "credential", format!("the key {key:?} and a secret"));
            }
            Brought::Nothing => {}
        }
        match &self.token {
            Some(known) => step(Mark::Yes, "token", token::vouched_for(known, self.at)),
            None if self.is_about_the_credential() => {
                let what = match self.brought {
                    Brought::Nothing => "credential",
                    Brought::Token { .. } => "token",
                    Brought::Key(_) => "exchange",
                };
                step(Mark::of(&self.rejection), what, token::cause(&self.rejection).to_owned());
            }
            None => {}
        }
        steps
    }

    /// Whether a request without a verdict on its credential was refused for that.
    fn is_about_the_credential(&self) -> bool {
        matches!(
            self.rejection,
            Rejection::CredentialMissing
                | Rejection::CredentialMalformed(_)
                | Rejection::TokenInvalid(_)
                | Rejection::VerifierUnavailable(_)
                | Rejection::BasicRefused
                | Rejection::GuessedTooOften(_)
                | Rejection::ScopeInsufficient(_)
                | Rejection::OwnClientRefused(_)
        )
    }

    /// What the route asked of the token, held against it again: by the function that decided.
    fn rules(&self) -> Vec<Step> {
        let (Some(route), Some(known)) = (self.route(), &self.token) else { return Vec::new() };
        let Access::Token(requirement) = &route.access else { return Vec::new() };
        let principal = match self.brought {
            Brought::Key(_) => Principal::Client,
            Brought::Token { .. } | Brought::Nothing => known.principal,
        };
        let whose = (principal, route.audiences_of(known));
        let request = self.request();
        token::rules(requirement, known, whose, self.at, request.as_ref().and_then(facts))
    }

    /// Method, host and path, as a rule sees them; `None` where not all of them was kept.
    fn request(&self) -> Option<request::Parts> {
        let host = HeaderValue::from_str(self.host.as_deref()?).ok()?;
        let request = Request::builder().method(&self.method).uri(&*self.path);
        Some(request.header(HOST, host).body(()).ok()?.into_parts().0)
    }
}
