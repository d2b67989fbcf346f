//! `[clients.NAME]`.

use std::time::Duration;

use super::authentication::{self, Authentication};
use super::server::Server;
use super::{Tables, access};
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::table::Table;
use crate::config::value::{Zero, duration, resource};
use crate::config::{self, PartialScopes};
use crate::oauth::ScopeSet;

/// A client, and where its own key is named, if it has one.
pub(super) struct Client<'c> {
    pub(super) settings: config::Client,
    pub(super) key_at: Option<Spot<'c>>,
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
    let partial_scopes = table.or("partial_scopes", PartialScopes::Refuse, |value| {
        value.word(&[("refuse", PartialScopes::Refuse), ("allow", PartialScopes::Allow)])
    });
    let (negative_cache_ttl, cache_ttl) = cache_ttls(table);
    let (server, Authentication { settings: authentication, key_at }) = (server?, authentication?);
    let settings = config::Client {
        name: name.into(),
        server,
        authentication,
        scopes: scopes?,
        resources: resources?,
        partial_scopes: partial_scopes?,
        negative_cache_ttl: negative_cache_ttl?,
        cache_ttl: cache_ttl?,
    };
    Ok(Client { settings, key_at })
}

/// `negative_cache_ttl` and `cache_ttl`, which several tables have.
pub(super) fn cache_ttls(
    table: &mut Table<'_>,
) -> (Result<Duration, Told>, Result<Duration, Told>) {
    let mut ttl = |key, default_s| {
        table.or(key, Duration::from_secs(default_s), |value| duration(&value, Zero::Allowed))
    };
    (ttl("negative_cache_ttl", 10), ttl("cache_ttl", 60))
}

fn resources(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    match value.form(&[Form::Text, Form::List]) {
        Some(Form::List) => value.each("write [\"https://…\"]", |value| resource(&value)),
        _ => resource(&value).map(|resource| vec![resource]),
    }
}
