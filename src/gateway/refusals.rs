//! The last refused requests, kept so that an operator can ask by a request's id why it was refused.
//!
//! What is kept is what the decision was made of: route, verdict on the token, refusal. Of a
//! credential there is only its digest or its key. Off unless `admin.refusals` says how many.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::header::HOST;
use http::{Method, request};

use super::context::Context;
use super::route::Route;
use crate::base::per_thread::PerThread;
use crate::base::time::UnixSeconds;
use crate::credential::{self, Credential};
use crate::oauth::{TokenDigest, VerifiedToken};
use crate::reject::Rejection;

/// The refused requests of each thread, the latest last.
#[derive(Default)]
pub(super) struct Refusals(PerThread<Mutex<VecDeque<Arc<Refused>>>>);

/// A request that was refused.
pub(super) struct Refused {
    request_id: Box<str>,
    pub(super) at: UnixSeconds,
    pub(super) method: Method,
    /// As the caller wrote it; none where it was not there to be read.
    pub(super) host: Option<Box<str>>,
    /// As the caller wrote it, up to [`TEXT_MAX_BYTES`]; a query could hold a token.
    pub(super) path: Box<str>,
    pub(super) route_name: Option<Box<str>>,
    /// As long as its configuration is at work, which must not stay so for this.
    route: Weak<Route>,
    pub(super) brought: Brought,
    pub(super) token: Option<Arc<VerifiedToken>>,
    pub(super) rejection: Rejection,
}

/// What stood in `Authorization`.
pub(super) enum Brought {
    /// An access token.
    Token { bytes: usize, digest: TokenDigest },
    /// A key and a secret.
    Key(Box<str>),
    /// None, or none that counts.
    Nothing,
}

impl Refusals {
    /// Keeps a refusal, and lets go of the oldest where there are too many.
    pub(super) fn keep(&self, context: &Context<'_>, parts: &request::Parts, why: &Rejection) {
        let config = context.snapshot.config();
        let max = config.admin.as_ref().map_or(0, |admin| admin.refusals);
        if max == 0 {
            return;
        }
        let of_thread = max.div_ceil(config.workers.max(1));
        let refused = Arc::new(Refused::of(context, parts, why));
        let mut kept = self.0.own().lock().unwrap_or_else(PoisonError::into_inner);
        while of_thread <= kept.len() {
            kept.pop_front();
        }
        kept.push_back(refused);
    }

    /// The refusal of the request with that id.
    pub(super) fn find(&self, request_id: &str) -> Option<Arc<Refused>> {
        self.0.all().find_map(|kept| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().rev().find(|refused| &*refused.request_id == request_id).cloned()
        })
    }
}

impl Refused {
    /// The route that it was for; `None` as well once its configuration was replaced.
    pub(super) fn route(&self) -> Option<Arc<Route>> {
        self.route.upgrade()
    }

    fn of(context: &Context<'_>, parts: &request::Parts, why: &Rejection) -> Self {
        let route = context.route();
        let brought = match route.map(|route| route.accept()) {
            Some(accept) => match credential::extract(accept, &parts.headers, None) {
                Ok(Credential::Bearer(token) | Credential::Dpop(token)) => {
                    Brought::Token { bytes: token.expose().len(), digest: token.digest() }
                }
                Ok(Credential::Basic(basic)) => Brought::Key(shortened(basic.client_id.as_str())),
                Err(_) => Brought::Nothing,
            },
            None => Brought::Nothing,
        };
        Self {
            request_id: shortened(context.request_id.to_str().unwrap_or_default()),
            at: context.now.unix,
            method: context.method.clone(),
            host: host(parts),
            path: shortened(parts.uri.path()),
            route_name: route.map(|route| route.name().into()),
            route: route.map(Arc::downgrade).unwrap_or_default(),
            brought,
            token: context.token.clone(),
            rejection: why.clone(),
        }
    }
}

fn host(parts: &request::Parts) -> Option<Box<str>> {
    let field = || parts.headers.get(HOST)?.to_str().ok();
    parts.uri.authority().map(http::uri::Authority::as_str).or_else(field).map(shortened)
}

/// A copy: the request's own texts lie in its connection's buffer.
fn shortened(text: &str) -> Box<str> {
    let end = (0..=TEXT_MAX_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().into()
}

impl fmt::Debug for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Refusals")
    }
}

/// So much is kept of a path, a host, a key.
const TEXT_MAX_BYTES: usize = 1024;
