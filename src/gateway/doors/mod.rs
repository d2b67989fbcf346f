//! Addresses at which the gateway answers for an authorization server: its revocation endpoint
//! (RFC 7009), and where it tells of logouts (OpenID Connect Back-Channel Logout).
//!
//! Anybody can call them. A form is read, bounded in size and time, and so many are worked on at
//! once, each from when it is read; nobody guesses a client's secret as often as it likes; answers say
//! `no-store`, and neither a token nor a secret of a form is ever logged.

mod form;
mod logout;
mod revoke;
mod suspect;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode, request};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::Semaphore;

use self::form::{Form, FormFault};
use super::snapshot::Snapshot;
use crate::body::Body;
use crate::config::OwnEndpoint;
use crate::grant::Guesses;
use crate::oauth::ClientId;
use crate::reject::{Bound, OutageCause, Rejection};
use crate::revocation::RevocationList;
use crate::route::{NormalHost, NormalPath};
use crate::verify::Server;

/// All that a configuration has.
#[derive(Debug, Default)]
pub(super) struct Doors(Box<[Door]>);

/// One of them.
#[derive(Debug)]
pub(super) struct Door {
    at: OwnEndpoint,
    purpose: Purpose,
    server: Arc<Server>,
    list: Arc<RevocationList>,
    places: Semaphore,
    guesses: Guesses,
}

/// What one is for.
#[derive(Debug)]
enum Purpose {
    /// RFC 7009.
    Revocation,
    /// Logout tokens for one of these clients.
    Logout(Box<[ClientId]>),
}

impl Doors {
    /// Those of these servers; none without a list, which no configuration that compiles lacks.
    pub(super) fn of(servers: &[Arc<Server>], list: Option<&Arc<RevocationList>>) -> Self {
        let Some(list) = list else { return Self::default() };
        let door = |at: &OwnEndpoint, purpose, server: &Arc<Server>| Door {
            at: at.clone(),
            purpose,
            server: Arc::clone(server),
            list: Arc::clone(list),
            places: Semaphore::new(PLACES),
            guesses: Guesses::new(),
        };
        let mut doors = Vec::new();
        for server in servers {
            let settings = server.settings();
            if let Some(at) = &settings.revocation {
                doors.push(door(at, Purpose::Revocation, server));
            }
            if let Some(logout) = &settings.logout {
                let clients = logout.client_ids.clone().into();
                doors.push(door(&logout.at, Purpose::Logout(clients), server));
            }
        }
        Self(doors.into())
    }

    /// The one at a host and path, if there is one; at no cost where there are none.
    pub(super) fn find(&self, host: &NormalHost<'_>, path: &NormalPath<'_>) -> Option<&Door> {
        if self.0.is_empty() {
            return None;
        }
        let is_of_host =
            |door: &&Door| door.at.host.as_deref().is_none_or(|at| at == host.as_str());
        let mut there = self.0.iter().filter(|door| *door.at.path == *path.as_str());
        // A host named is more specific than none.
        there
            .clone()
            .find(|door| door.at.host.is_some() && is_of_host(door))
            .or_else(|| there.find(is_of_host))
    }
}

impl Door {
    /// The word of the access log.
    pub(super) const fn served_as(&self) -> &'static str {
        match self.purpose {
            Purpose::Revocation => "revocation",
            Purpose::Logout(_) => "logout",
        }
    }

    /// What it is, for people.
    pub(super) fn what(&self) -> String {
        let server = &self.server.settings().name;
        match self.purpose {
            Purpose::Revocation => format!("the revocation endpoint of {server} (RFC 7009)"),
            Purpose::Logout(_) => format!("where {server} tells of logouts, by a logout token"),
        }
    }

    /// Answers a request, which came `from` there. `body` is left where nobody reads it.
    ///
    /// # Errors
    /// 405, 408, 413, 429 after too many wrong secrets, and 503 where the authorization server cannot
    /// be asked. What the protocols have an error for is an answer.
    pub(super) async fn answer(
        &self,
        snapshot: &Snapshot,
        (parts, from): (&request::Parts, Option<IpAddr>),
        body: &mut Option<Incoming>,
    ) -> Result<Response<Body>, Rejection> {
        if parts.method != Method::POST {
            return Err(Rejection::MethodNotAllowed("POST".into()));
        }
        let form = match form::read(&parts.headers, body).await {
            Ok(form) => form,
            Err(FormFault::TooLarge) => return Err(Rejection::TooLarge(Bound::Body)),
            Err(FormFault::TooSlow) => return Err(Rejection::TooSlow),
            Err(FormFault::Malformed(why)) => return Ok(invalid(why)),
        };
        // Not before the form is read: whoever sends one slowly would keep others out.
        let Ok(_place) = self.places.try_acquire() else {
            return match &self.purpose {
                Purpose::Revocation => Err(self.server.outage(OutageCause::Busy, None)),
                Purpose::Logout(_) => Ok(self.too_many_logouts()),
            };
        };
        let keep = snapshot.config().revocations.as_ref().map(|settings| settings.keep);
        match &self.purpose {
            Purpose::Revocation => {
                let call = revoke::Call { door: self, keep: keep.unwrap_or_default() };
                call.answer((&parts.headers, from), &form).await
            }
            Purpose::Logout(clients) => {
                Ok(logout::answer(self, clients, &form, keep.unwrap_or_default()).await)
            }
        }
    }

    /// The server may well send it again, as the 503 of a token that it could not judge would not say.
    fn too_many_logouts(&self) -> Response<Body> {
        let server = &self.server.settings().name;
        tracing::warn!(%server, "too many logouts at once: one was not taken");
        let why = "too many logouts are worked on at the moment: send it again";
        let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", why);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

/// RFC 6749 §5.2: the request is at fault.
fn invalid(why: &str) -> Response<Body> {
    error(StatusCode::BAD_REQUEST, "invalid_request", why)
}

/// An error as token endpoints have it (RFC 6749 §5.2).
fn error(status: StatusCode, code: &str, description: &str) -> Response<Body> {
    let json = json!({ "error": code, "error_description": description }).to_string();
    answer(
        status,
        Body::full(Bytes::from(json)),
        Some(HeaderValue::from_static("application/json")),
    )
}

fn answer(status: StatusCode, body: Body, kind: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, kind);
    }
    response
}

/// Forms worked on at once, for each door: each can be a call to the authorization server.
const PLACES: usize = 64;
