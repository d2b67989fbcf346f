//! `[clients.NAME]`.

use std::time::Duration;

use super::authentication::{self, Authentication};
use super::server::Server;
use super::{Tables, access, grant, rules};
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value, all};
use crate::config::table::Table;
use crate::config::value::{Zero, duration, resource};
use crate::config::{self, ExchangeGrant, Grant, PartialScopes};
use crate::oauth::ScopeSet;
use crate::policy::details::AUTHORIZATION_DETAILS;

/// A client, and where its own key is named, if it has one.
pub(super) struct Client<'c> {
    pub(super) settings: config::Client,
    pub(super) key_at: Option<Spot<'c>>,
    /// `actor`, which may name a client that is read later.
    actor: Option<Value<'c>>,
}

pub(super) fn read<'c>(
    name: &str,
    value: Value<'c>,
    servers: &Tables<Server<'_>>,
) -> Result<Client<'c>, Told> {
    value.table(|table| client(name, table, servers))
}

fn client<'c>(
    name: &str,
    table: &mut Table<'c>,
    servers: &Tables<Server<'_>>,
) -> Result<Client<'c>, Told> {
    let write = "write authorization_server = \"NAME\" of an [authorization_servers.NAME]";
    let server = table.must("authorization_server", write, |value| servers.find(&value));
    let authentication = authentication::read(table);
    let scopes = table.or("scopes", ScopeSet::default(), access::scope_set);
    let resources = table.or("resource", Vec::new(), resources);
    let details = table.or("authorization_details", Vec::new(), rules::details);
    let partial_scopes = table.or("partial_scopes", PartialScopes::Refuse, |value| {
        value.word(&[("refuse", PartialScopes::Refuse), ("allow", PartialScopes::Allow)])
    });
    let negative_cache_ttl = negative_cache_ttl(table);
    let cache_ttl = table.option("cache_ttl", |value| duration(&value, Zero::Allowed));
    let grant = grant::read(table, cache_ttl.as_ref().ok().copied().flatten());
    let refresh_tokens = table.or("refresh_tokens", false, |value| value.boolean());
    let (server, Authentication { settings: authentication, key_at }) = (server?, authentication?);
    let ((grant, actor), details) = (grant?, details?);
    if !details.is_empty() && authentication.parameters.contains_key(AUTHORIZATION_DETAILS) {
        let what = "`authorization_details` stands in `parameters` as well";
        return Err(table.spot().wrong(what, "write it in one of the two places"));
    }
    let settings = config::Client {
        name: name.into(),
        server,
        authentication,
        scopes: scopes?,
        resources: resources?,
        authorization_details: details,
        partial_scopes: partial_scopes?,
        negative_cache_ttl: negative_cache_ttl?,
        cache_ttl: cache_ttl?.unwrap_or(CACHE_TTL),
        grant,
        refresh_tokens: refresh_tokens?,
    };
    Ok(Client { settings, key_at, actor })
}

/// Finds the clients whose tokens say who acts, when all of them are read.
pub(super) fn name_actors(clients: &mut Tables<Client<'_>>) -> Result<(), Told> {
    let named = clients.good_ones().filter_map(|(index, client)| {
        Some((index, actor(clients, client.settings.server, client.actor.as_ref()?)))
    });
    let named: Vec<_> = named.collect();
    let told = named.into_iter().map(|(index, found)| {
        let found = found?;
        if let Some(client) = clients.good_mut(index)
            && let Grant::Exchange(exchange) = &mut client.settings.grant
            && let ExchangeGrant::TokenExchange(exchange) = &mut exchange.by
        {
            exchange.actor = Some(found);
        }
        Ok(())
    });
    all(told).map(drop)
}

fn actor(clients: &Tables<Client<'_>>, server: usize, value: &Value<'_>) -> Result<usize, Told> {
    let index = clients.find(value)?;
    match clients.good(index) {
        Some(client) if client.settings.grant != Grant::ClientCredentials => Err(value.wrong(
            "who acts is the gateway itself, and this client has a token for each caller",
            "name a client with grant = \"client_credentials\"",
        )),
        Some(client) if client.settings.server != server => Err(value.wrong(
            "its token is of another authorization server, which this one could then use",
            "name a client of the same authorization server",
        )),
        // One with a mistake is told of where it stands.
        Some(_) | None => Ok(index),
    }
}

/// `negative_cache_ttl` and `cache_ttl`, which several tables have.
pub(super) fn cache_ttls(
    table: &mut Table<'_>,
) -> (Result<Duration, Told>, Result<Duration, Told>) {
    let negative_cache_ttl = negative_cache_ttl(table);
    let ttl = table.or("cache_ttl", CACHE_TTL, |value| duration(&value, Zero::Allowed));
    (negative_cache_ttl, ttl)
}

fn negative_cache_ttl(table: &mut Table<'_>) -> Result<Duration, Told> {
    let default = Duration::from_secs(10);
    table.or("negative_cache_ttl", default, |value| duration(&value, Zero::Allowed))
}

fn resources(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    match value.form(&[Form::Text, Form::List]) {
        Some(Form::List) => value.each("write [\"https://…\"]", |value| resource(&value)),
        _ => resource(&value).map(|resource| vec![resource]),
    }
}

const CACHE_TTL: Duration = Duration::from_secs(60);
