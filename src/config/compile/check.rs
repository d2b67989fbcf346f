//! What can only be seen with all tables side by side.

use std::collections::BTreeSet;

use http::HeaderName;

use super::client::Client;
use super::route::Draft;
use super::server::Server;
use super::{Tables, key_use};
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::all;
use crate::config::{AuthorizationServer, ClientCertificates, Forward, Listener, Route, Signer};
use crate::headers::is_spelling_of;
use crate::policy::Access;
use crate::route::{RouteKey, Table};

/// Routes that tie, tokens that nobody checks or that are meant for nobody, plaintext.
pub(super) fn together(
    servers: &Tables<Server<'_>>,
    clients: &Tables<Client<'_>>,
    routes: &Result<Vec<Result<Draft<'_>, Told>>, Told>,
    listeners: &Result<Vec<(Listener, Spot<'_>)>, Told>,
) -> Result<(), Told> {
    let routes: Vec<&Draft<'_>> = routes.iter().flatten().flatten().collect();
    let listeners: Vec<_> = listeners.iter().flatten().collect();
    warn_of_plaintext(&routes, &listeners);
    warn_of_unseen_certificates(servers, &listeners);
    let outcomes = [
        conflicts(&routes),
        servers_exist(servers, &routes),
        audiences(servers, &routes),
        identity_is_told_once(&routes),
        key_use::check(servers, clients),
    ];
    all(outcomes.into_iter()).map(drop)
}

fn conflicts(routes: &[&Draft<'_>]) -> Result<(), Told> {
    let keys: Vec<RouteKey<'_>> = routes
        .iter()
        .map(|route| RouteKey { host: &route.host, path: &route.path, methods: &route.methods })
        .collect();
    let Err(conflicts) = Table::build(&keys) else { return Ok(()) };
    let told = conflicts.into_iter().filter_map(|conflict| {
        let (first, second) = (routes.get(conflict.first)?, routes.get(conflict.second)?);
        let what = format!("takes the same requests as the route at {}", first.at.shown());
        let write = "name a host, a more specific path or other methods in one of the two";
        Some(second.at.wrong(what, write))
    });
    all(told.map(Err::<(), Told>)).map(drop)
}

/// Told once, however many routes there are.
fn servers_exist(servers: &Tables<Server<'_>>, routes: &[&Draft<'_>]) -> Result<(), Told> {
    let guarded = routes.iter().find(|route| is_guarded(route));
    match guarded {
        Some(route) if servers.is_empty() => Err(route.at.missing(
            "there is no authorization server whose tokens it could take",
            "add [authorization_servers.NAME] with issuer and audiences",
        )),
        _ => Ok(()),
    }
}

fn audiences(servers: &Tables<Server<'_>>, routes: &[&Draft<'_>]) -> Result<(), Told> {
    let told = servers.good_ones().filter_map(|(index, server)| {
        let needs = |route: &&&Draft<'_>| {
            route.guard.as_ref().is_ok_and(|guard| guard.audience_from().contains(&index))
        };
        let route = routes.iter().find(needs).filter(|_| server.settings.audiences.is_empty())?;
        let what = format!(
            "`audiences` is missing, and the route at {} names none: a token for any other API \
             would pass (RFC 9068 §4)",
            route.at.shown()
        );
        Some(server.spot.missing(what, "write audiences = [\"https://api.example.com\"]"))
    });
    all(told.map(Err::<(), Told>)).map(drop)
}

/// A header that says on one route who is asking, and on another what the operator wrote: an upstream
/// would take the one for the other.
fn identity_is_told_once(routes: &[&Draft<'_>]) -> Result<(), Told> {
    let told = routes.iter().filter_map(|route| {
        let (edits, spot) = route.request_edits()?;
        let (name, other) = routes.iter().find_map(|other| {
            let is_edited = |name: &&HeaderName| {
                edits.names().any(|one| is_spelling_of(name.as_str(), one.as_str()))
            };
            other.identity_names().find(is_edited).map(|name| (name, other))
        })?;
        let what = format!("the route at {} sets {name} from the token", other.at.shown());
        Some(spot.wrong(what, "use another name in one of the two"))
    });
    all(told.map(Err::<(), Told>)).map(drop)
}

fn is_guarded(route: &Draft<'_>) -> bool {
    route.guard.as_ref().is_ok_and(|guard| !guard.is_public())
}

/// RFC 6750 §5.3: whoever reads a bearer token can use it.
fn warn_of_plaintext(routes: &[&Draft<'_>], listeners: &[&(Listener, Spot<'_>)]) {
    if !routes.iter().any(|route| is_guarded(route)) {
        return;
    }
    for (listener, spot) in listeners {
        if listener.tls.is_none() && !listener.address.is_local() {
            spot.warn(
                "tokens come in here in plaintext (RFC 6750 §5.3)",
                "add [listeners.tls], or make sure that TLS ends right in front of it",
            );
        }
    }
}

/// RFC 8705 §3: whom no listener asks for a certificate has none to show.
fn warn_of_unseen_certificates(servers: &Tables<Server<'_>>, listeners: &[&(Listener, Spot<'_>)]) {
    let sees = |listener: &Listener| {
        let asks = listener.tls.as_ref().is_some_and(|tls| {
            tls.client_ca.is_some() || tls.client_certificates == ClientCertificates::Request
        });
        asks || listener.client_certificate_header.is_some()
    };
    if listeners.iter().any(|(listener, _)| sees(listener)) {
        return;
    }
    for (_, server) in servers.good_ones() {
        if server.settings.certificate_bound.is_some() {
            server.spot.warn(
                "no listener learns of certificates: tokens that are bound to one are refused",
                "write client_certificates = \"request\" into [listeners.tls]",
            );
        }
    }
}

/// Each server with the claims that rules and headers of its routes name: what a verdict must hold
/// beside the fields that it always has.
pub(super) fn with_kept_claims(
    servers: impl Iterator<Item = AuthorizationServer>,
    routes: &[Route],
    signers: &[Signer],
    traced: bool,
) -> Vec<AuthorizationServer> {
    let kept = |index: usize| {
        let routes = routes.iter().filter(move |route| route.servers.contains(&index));
        let claims: BTreeSet<&str> = routes
            .flat_map(|route| claims(route, signers))
            .filter(|one| !HELD.contains(one))
            .collect();
        claims.into_iter().map(Into::into).collect()
    };
    servers
        .enumerate()
        .map(|(index, server)| AuthorizationServer { kept_claims: kept(index), traced, ..server })
        .collect()
}

fn claims<'a>(route: &'a Route, signers: &'a [Signer]) -> impl Iterator<Item = &'a str> {
    let rules = match &route.access {
        Access::Token(requirement) => Some(requirement.claim_names()),
        Access::Public => None,
    };
    let signed = match route.forward {
        Forward::Signed(index) => signers.get(index),
        Forward::Token | Forward::None | Forward::Client(_) | Forward::Exchange(_) => None,
    };
    let signed = signed.into_iter().flat_map(Signer::named_claims);
    rules.into_iter().flatten().chain(route.edits.identity_claims()).chain(signed)
}

/// What a verdict holds in fields of its own.
const HELD: [&str; 5] = ["aud", "client_id", "iss", "scope", "sub"];
