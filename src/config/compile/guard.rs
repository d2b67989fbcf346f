//! Who gets in by a route, and which authorization servers are asked about it.

use super::server::audiences;
use super::{Names, access};
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::{Value, all};
use crate::config::table::Table;
use crate::config::{AuthorizationServer, Demand};
use crate::credential::Accept;
use crate::oauth::Principal;
use crate::policy::Access;

/// `access`, `audiences`, `principal`, `authorization_servers` and `accept`, resolved.
pub(super) struct Guard {
    pub(super) access: Access,
    pub(super) servers: Vec<usize>,
    pub(super) opaque_server: Option<usize>,
    pub(super) basic_server: Option<usize>,
    pub(super) accept: Accept,
    /// Whether the route names its authorization servers, and not just all are meant.
    pub(super) names_servers: bool,
}

pub(super) fn read(table: &mut Table<'_>, names: &Names<'_, '_>) -> Result<Guard, Told> {
    let spot = table.spot().clone();
    let access = table.must("access", access::ACCESS, access::read);
    let audiences = table.placed("audiences", audiences);
    let principal = table.placed("principal", principal);
    let servers = table.placed("authorization_servers", |value| servers(value, names));
    let accept = table.placed("accept", accept);
    let (access, audiences, principal) = (access?, audiences?, principal?);
    let (servers, accept) = (servers?, accept?);
    let mut requirement = match access {
        Access::Token(requirement) => requirement,
        Access::Public => {
            let (rules, sources) =
                ([spot_of(&audiences), spot_of(&principal)], [spot_of(&servers), spot_of(&accept)]);
            return public(rules.into_iter().chain(sources).flatten());
        }
    };
    requirement.audiences = audiences.map(|(audiences, _)| audiences).unwrap_or_default();
    requirement.principal = principal.and_then(|(principal, _)| principal);
    let names_servers = servers.is_some();
    let at = spot_of(&servers).unwrap_or(&spot).clone();
    let basic_at = spot_of(&accept).unwrap_or(&spot).clone();
    let servers =
        servers.map_or_else(|| (0..names.servers.len()).collect(), |(servers, _)| servers);
    let accept = accept.map_or(BEARER, |(accept, _)| accept);
    let dpop = |index: &usize| Some(names.servers.good(*index)?.settings.dpop.is_some());
    let dpop = accept.bearer && servers.iter().filter_map(dpop).any(|is_on| is_on);
    let accept = Accept { dpop, ..accept };
    let opaque_server = opaque_server(names, &servers, accept, &at);
    let basic_server = basic_server(names, &servers, accept, &basic_at);
    let (opaque_server, basic_server) = (opaque_server?, basic_server?);
    let access = Access::Token(requirement);
    Ok(Guard { access, servers, opaque_server, basic_server, accept, names_servers })
}

impl Guard {
    pub(super) const fn is_public(&self) -> bool {
        matches!(self.access, Access::Public)
    }

    /// The servers whose own audiences count, since the route names none.
    pub(super) fn audience_from(&self) -> &[usize] {
        match &self.access {
            Access::Token(requirement) if requirement.audiences.is_empty() => &self.servers,
            _ => &[],
        }
    }
}

/// A key that only makes sense where a token is checked. Whoever wrote it may think that it is.
pub(super) fn refuse_if_public(guard: &Result<Guard, Told>, spot: &Spot<'_>) -> Result<(), Told> {
    match guard {
        Ok(guard) if guard.is_public() => public([spot].into_iter()).map(drop),
        _ => Ok(()),
    }
}

fn public<'a, 'c: 'a>(spots: impl Iterator<Item = &'a Spot<'c>>) -> Result<Guard, Told> {
    let told = spots.map(|spot| {
        let write = "take it out, or write access = { scopes = […] }";
        Err::<(), Told>(spot.wrong("a public route checks no token, so this means nothing", write))
    });
    all(told)?;
    Ok(Guard {
        access: Access::Public,
        servers: Vec::new(),
        opaque_server: None,
        basic_server: None,
        accept: BEARER,
        names_servers: false,
    })
}

fn spot_of<'a, 'c, T>(placed: &'a Option<(T, Spot<'c>)>) -> Option<&'a Spot<'c>> {
    placed.as_ref().map(|(_, spot)| spot)
}

/// Whom a route is for.
fn principal(value: Value<'_>) -> Result<Option<Principal>, Told> {
    value.word(&[
        ("any", None),
        (Principal::User.as_str(), Some(Principal::User)),
        (Principal::Client.as_str(), Some(Principal::Client)),
    ])
}

fn servers(value: Value<'_>, names: &Names<'_, '_>) -> Result<Vec<usize>, Told> {
    let mut before: Vec<usize> = Vec::new();
    value.each("write authorization_servers = [\"NAME\"]", |value| {
        let index = names.servers.find(&value)?;
        if before.contains(&index) {
            return Err(value.wrong("this server is already in the list", "take one of them out"));
        }
        before.push(index);
        Ok(index)
    })
}

fn accept(value: Value<'_>) -> Result<Accept, Told> {
    let kinds = value.each("write accept = [\"bearer\"], [\"basic\"] or both", |value| {
        value.word(&[("bearer", BEARER), ("basic", BASIC)])
    })?;
    let bearer = kinds.iter().any(|kind| kind.bearer);
    Ok(Accept { bearer, basic: kinds.iter().any(|kind| kind.basic), dpop: false })
}

/// Nothing in an opaque token says who issued it, so at most one server can be asked: to show it
/// to all in turn would hand every token to every server.
fn opaque_server(
    names: &Names<'_, '_>,
    servers: &[usize],
    accept: Accept,
    at: &Spot<'_>,
) -> Result<Option<usize>, Told> {
    if !accept.bearer {
        return Ok(None);
    }
    let mut asked = Vec::new();
    for index in servers {
        if let Some(server) = names.servers.good(*index)
            && server.settings.introspection.is_some()
        {
            asked.push((*index, &*server.settings.name));
        }
    }
    match asked.as_slice() {
        [] => Ok(None),
        [(index, _)] => Ok(Some(*index)),
        [(_, first), (_, second), ..] => Err(at.wrong(
            format!("an opaque token could go to {first} or to {second}, and must have one place"),
            format!("write authorization_servers = [\"{first}\"], with one that has introspection"),
        )),
    }
}

/// A key and secret go to one authorization server, never to several in turn.
fn basic_server(
    names: &Names<'_, '_>,
    servers: &[usize],
    accept: Accept,
    at: &Spot<'_>,
) -> Result<Option<usize>, Told> {
    match servers {
        _ if !accept.basic => Ok(None),
        [] => Ok(None),
        [index] => {
            match names.servers.good(*index).and_then(|one| demand_of_proof(&one.settings)) {
                None => Ok(Some(*index)),
                Some(table) => {
                    let name = names.servers.name(*index);
                    let table = format!("[authorization_servers.{name}.{table}]");
                    Err(at.wrong(
                    format!("{table} has tokens = \"required\", and what a Basic credential is worth is bound to nothing"),
                    format!("take \"basic\" out, or write tokens = \"if_bound\" in {table}"),
                ))
                }
            }
        }
        [first, ..] => {
            let name = names.servers.name(*first);
            Err(at.wrong(
                "a Basic credential could go to several servers, and must have one place",
                format!("write authorization_servers = [\"{name}\"] in this route"),
            ))
        }
    }
}

/// The table that has a server's tokens bound, whoever sends them.
fn demand_of_proof(server: &AuthorizationServer) -> Option<&'static str> {
    match (&server.dpop, server.certificate_bound) {
        (Some(dpop), _) if dpop.tokens == Demand::Required => Some("dpop"),
        (_, Some(Demand::Required)) => Some("certificate_bound"),
        _ => None,
    }
}

const BASIC: Accept = Accept { bearer: false, basic: true, dpop: false };
/// What a route accepts unless it says otherwise.
const BEARER: Accept = Accept { bearer: true, basic: false, dpop: false };
