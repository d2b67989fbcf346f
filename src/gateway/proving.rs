//! What a request proves besides its token, as the connection knows it.

use http::request;

use super::connection::Connection;
use super::context::Context;
use super::entry::Entry;
use super::route::Terms;
use crate::config::{self, AuthorizationServer, Demand};
use crate::headers::{Called, Trust};
use crate::oauth::VerifiedToken;
use crate::reject::{DpopTerms, InvalidToken, Rejection, Scheme};
use crate::verify::{Proven, Shown};

/// What a route asks of those who send tokens, by its authorization servers.
#[derive(Debug, Default)]
pub(super) struct Proving {
    /// For challenges; absent where none of them has `dpop`.
    pub(super) dpop: Option<DpopTerms>,
    /// Whether any of them takes tokens that are bound to a certificate.
    pub(super) certificate: bool,
    /// Whether any of them binds tokens to anything.
    pub(super) is_on: bool,
}

impl Proving {
    pub(super) fn of(servers: &[&AuthorizationServer], accepts_dpop: bool) -> Self {
        let dpop = servers.iter().filter_map(|server| server.dpop.as_ref());
        let mut algorithms: Vec<&str> = Vec::new();
        for name in dpop.clone().flat_map(|dpop| &dpop.algorithms).map(|one| one.name()) {
            if !algorithms.contains(&name) {
                algorithms.push(name);
            }
        }
        let required = dpop.filter(|dpop| dpop.tokens == Demand::Required).count();
        let terms = DpopTerms {
            algorithms: algorithms.join(" ").into(),
            is_required: !servers.is_empty() && required == servers.len(),
        };
        let certificate = servers.iter().any(|server| server.certificate_bound.is_some());
        let is_on = certificate || servers.iter().any(|server| server.dpop.is_some());
        Self { dpop: accepts_dpop.then_some(terms), certificate, is_on }
    }

    /// Of a route of this configuration.
    pub(super) fn of_route(route: &config::Route, config: &config::Config) -> Self {
        let servers = route.servers.iter().filter_map(|index| config.servers.get(*index));
        Self::of(&servers.collect::<Vec<_>>(), route.accept.dpop)
    }
}

impl Terms {
    /// Checks that a request proves all that its token is bound to. Nothing here waits.
    ///
    /// # Errors
    /// 401 where it does not, 503 where nobody can say whether its proof was used before.
    pub(super) fn prove(
        &self,
        parts: &request::Parts,
        context: &Context<'_>,
        scheme: Scheme,
        token: &VerifiedToken,
    ) -> Result<Proven, Rejection> {
        let server = self.server(token.server);
        let server = server.ok_or(Rejection::TokenInvalid(InvalidToken::Issuer))?;
        let (authority, _) = Entry::site(parts)?;
        let Context { connection, now, purpose, .. } = *context;
        let shown = Shown {
            scheme,
            headers: &parts.headers,
            method: &parts.method,
            url: &connection.called(parts, authority),
            certificate: connection.client_certificate(&parts.headers),
            purpose,
        };
        server.prove(token, &shown, now)
    }
}

impl Connection {
    /// The URL that the caller used, without its query: what a trusted proxy in front says of it, and
    /// else what was received.
    fn called(&self, parts: &request::Parts, authority: &str) -> String {
        let called = match self.trust {
            Trust::Proxy => Called::read(&parts.headers, self.trusted()),
            Trust::Stranger => Called::default(),
        };
        let scheme = called.scheme.as_deref().unwrap_or(self.scheme().name());
        let authority = called.authority.as_deref().unwrap_or(authority);
        let prefix = called.prefix.as_deref().unwrap_or_default().trim_end_matches('/');
        format!("{scheme}://{authority}{prefix}{}", parts.uri.path())
    }
}
