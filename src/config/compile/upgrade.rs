//! `upgrade` of a route.

use std::time::Duration;

use super::guard::{self, Guard};
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::config::{EndpointProtocol, Upgrade, Upstream};
use crate::headers::Protocol;

/// Reads it. `upstream` is the route's, if that has no mistake in it.
pub(super) fn read(
    value: Value<'_>,
    guard: &Result<Guard, Told>,
    upstream: Option<&Upstream>,
) -> Result<Upgrade, Told> {
    let is_http2_only = |upstream: &Upstream| {
        upstream.endpoints.iter().any(|endpoint| endpoint.protocol == EndpointProtocol::H2c)
    };
    if upstream.is_some_and(is_http2_only) {
        let write = "give the route an upstream with http: or https:, or take this out";
        let what = "an endpoint of its upstream speaks HTTP/2 alone, which has no upgrades";
        return Err(value.wrong(what, write));
    }
    value.table(|table| upgrade(table, guard))
}

fn upgrade(table: &mut Table<'_>, guard: &Result<Guard, Told>) -> Result<Upgrade, Told> {
    let protocols = table.must("protocols", PROTOCOLS, protocols);
    let ends_with_token = table.or("ends_with_token", true, |value| {
        guard::refuse_if_public(guard, value.spot())?;
        value.boolean()
    });
    let idle_timeout =
        table.or("idle_timeout", IDLE_TIMEOUT, |value| duration(&value, Zero::Refused));
    let (protocols, ends_with_token, idle_timeout) = (protocols?, ends_with_token?, idle_timeout?);
    Ok(Upgrade { protocols, ends_with_token, idle_timeout })
}

fn protocols(value: Value<'_>) -> Result<Box<[Protocol]>, Told> {
    let mut before: Vec<Protocol> = Vec::new();
    let protocols = value.each(PROTOCOLS, |value| {
        let protocol = value.parse(PROTOCOLS, str::parse::<Protocol>)?;
        if before.contains(&protocol) {
            return Err(value.wrong("this protocol is already in the list", "take one of them out"));
        }
        before.push(protocol.clone());
        Ok(protocol)
    })?;
    Ok(protocols.into())
}

const PROTOCOLS: &str = "write protocols = [\"websocket\"]";
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
