//! `[revocations]`, and the doors to it that an authorization server has.

use super::Tables;
use super::server::Server;
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::config::{BackchannelLogout, OwnEndpoint, Revocations};
use crate::oauth::ClientId;
use crate::route::{NormalHost, NormalPath};

/// The list: there if it is written down, or if a server has a door to it.
pub(super) fn list(
    top: &mut Table<'_>,
    servers: &Tables<Server<'_>>,
) -> Result<Option<Revocations>, Told> {
    let written = top.option("revocations", |value| value.table(revocations))?;
    let has_door = |server: &Server<'_>| {
        server.settings.revocation.is_some() || server.settings.logout.is_some()
    };
    let is_needed = servers.good_ones().any(|(_, server)| has_door(server));
    Ok(written.or_else(|| is_needed.then(Revocations::default)))
}

fn revocations(table: &mut Table<'_>) -> Result<Revocations, Told> {
    let default = Revocations::default();
    let entries = table.or("entries", default.entries, |value| {
        value.whole(1..=ENTRIES_MAX).map(|number| number as usize)
    });
    let file = table.option("file", |value| Ok(value.spot().file(value.text()?)));
    let keep = table.or("keep", default.keep, |value| duration(&value, Zero::Refused));
    Ok(Revocations { entries: entries?, file: file?, keep: keep? })
}

/// Where a server's doors are, for what can only be seen with all of them side by side.
pub(super) type Doors<'c> = Vec<(OwnEndpoint, Spot<'c>)>;

/// `revocation` and `backchannel_logout` of a server.
pub(super) fn doors<'c>(
    table: &mut Table<'c>,
) -> Result<(Option<OwnEndpoint>, Option<BackchannelLogout>, Doors<'c>), Told> {
    let mut doors = Vec::new();
    let revocation = table.option("revocation", |value| {
        let spot = value.spot().clone();
        value.table(own_endpoint).map(|at| (at, spot))
    });
    let logout = table.option("backchannel_logout", |value| {
        let spot = value.spot().clone();
        value.table(logout).map(|logout| (logout, spot))
    });
    let (revocation, logout) = (revocation?, logout?);
    doors.extend(revocation.clone());
    doors.extend(logout.as_ref().map(|(logout, spot)| (logout.at.clone(), spot.clone())));
    Ok((revocation.map(|(at, _)| at), logout.map(|(logout, _)| logout), doors))
}

fn logout(table: &mut Table<'_>) -> Result<BackchannelLogout, Told> {
    let at = own_endpoint(table);
    let write = "write client_ids = [\"web\"]: the clients whose users it logs out";
    let client_ids = table.must("client_ids", write, |value| {
        value.each(write, |value| value.text().map(ClientId::new))
    });
    Ok(BackchannelLogout { at: at?, client_ids: client_ids? })
}

fn own_endpoint(table: &mut Table<'_>) -> Result<OwnEndpoint, Told> {
    let path = table.must("path", PATH, |value| value.parse(PATH, path));
    let host = table.option("host", |value| host(&value));
    Ok(OwnEndpoint { path: path?, host: host? })
}

fn path(text: &str) -> Result<Box<str>, &'static str> {
    match NormalPath::parse(text) {
        Ok(normal) if !normal.is_rewritten() => Ok(normal.as_str().into()),
        _ => Err("not a path in the normal form that requests are brought into"),
    }
}

fn host(value: &Value<'_>) -> Result<Box<str>, Told> {
    value.parse("write host = \"api.example.com\"", |text| {
        NormalHost::parse(text).map(|host| Box::from(host.as_str()))
    })
}

/// Two doors at one address, or a door where a route is: nobody would reach one of the two.
pub(super) fn check_addresses<'a, 'c: 'a>(
    servers: &Tables<Server<'c>>,
    routes: impl Iterator<Item = (Option<&'a str>, &'a str, &'a Spot<'c>)>,
) -> Result<(), Told> {
    let mut outcome = Ok(());
    let mut before: Vec<(&OwnEndpoint, &Spot<'_>)> = Vec::new();
    let doors = servers.good_ones().flat_map(|(_, server)| &server.doors);
    for (at, spot) in doors {
        match before.iter().find(|(other, _)| *other == at) {
            None => before.push((at, spot)),
            Some((_, other)) => {
                let what = format!("it has the address of the one at {}", other.shown());
                outcome = Err(spot.wrong(what, "give each a path of its own"));
            }
        }
    }
    for (host, path, route) in routes {
        let is_there =
            |(at, _): &&(&OwnEndpoint, &Spot<'_>)| *at.path == *path && at.host.as_deref() == host;
        if let Some((_, door)) = before.iter().find(is_there) {
            let what = format!("it has the address of the route at {}", route.shown());
            outcome = Err(door.wrong(what, "give it a path that no route has"));
        }
    }
    outcome
}

const PATH: &str = "write path = \"/oauth/revoke\"";

/// Ten million entries are a gigabyte.
const ENTRIES_MAX: u32 = 10_000_000;
