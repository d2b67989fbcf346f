//! From what is written to what is meant: one file for each table, and here the order in which
//! they are read. Servers, clients and upstreams come first, since routes name them.

mod access;
mod authentication;
mod binding;
mod check;
mod client;
mod constant;
mod cors;
mod forward;
mod grant;
mod guard;
mod identity;
mod introspection;
mod key_use;
mod listener;
mod resource;
mod revocation;
mod rewrite;
mod route;
mod rules;
mod server;
mod signer;
mod timeout;
mod top;
mod upgrade;
mod upstream;

use super::problem::Told;
use super::reader::{Named, Value};
use super::table::Table;
use super::value::check_name;
use super::{Config, Upstream};
use crate::base::digest::Digest;

/// Reads the whole document; every mistake in it is told to the context that it belongs to.
pub(super) fn config(root: Value<'_>, digest: Digest) -> Result<Config, Told> {
    root.table(|top| read(top, digest))
}

fn read(top: &mut Table<'_>, digest: Digest) -> Result<Config, Told> {
    let servers = Tables::read(top, "authorization_servers", server::read);
    let upstreams = Tables::read(top, "upstreams", upstream::read);
    let mut clients =
        Tables::read(top, "clients", |name, value| client::read(name, value, &servers));
    let actors = client::name_actors(&mut clients);
    let resources = Tables::read(top, "resources", resource::read);
    let signers = Tables::read(top, "signers", signer::read);
    #[rustfmt::skip]
    let tables = Names {
        servers: &servers, clients: &clients, upstreams: &upstreams, resources: &resources,
        signers: &signers,
    };
    let routes = route::all(top, &tables);
    let revocations = revocation::list(top, &servers);
    let listeners = listener::all(top);
    let admin = listener::admin(top);
    let log = top.section("log", top::log);
    let caches = top.section("caches", top::caches);
    let drain = top.section("drain", top::drain);
    let workers = top::workers(top);
    let certificate_refresh = top::certificate_refresh(top);
    let realm = top::realm(top);
    let checked = check::together(&servers, &clients, &routes, &listeners);
    let found: Vec<_> = routes.iter().flatten().flatten().collect();
    let signed = signer::check(&signers, &resources, &found);
    let addresses = resource::check_addresses(&resources);
    let good_routes = routes.iter().flatten().flatten();
    let doors = revocation::check_addresses(&servers, good_routes.map(route::Draft::place));
    let (servers, upstreams, clients) =
        (servers.into_all(), upstreams.into_all(), clients.into_all());
    actors?;
    checked?;
    addresses?;
    doors?;
    let revocations = revocations?;
    signed?;
    let signers: Vec<_> = signers.into_all()?.into_iter().map(|one| one.settings).collect();
    let resources = resources.into_all()?.into_iter().map(|one| one.settings).collect();
    let routes: Vec<_> =
        routes?.into_iter().map(|route| route?.into_route()).collect::<Result<_, _>>()?;
    let listeners = listeners?.into_iter().map(|(listener, _)| listener).collect();
    Ok(Config {
        listeners,
        admin: admin?,
        servers: check::with_kept_claims(
            servers?.into_iter().map(|one| one.settings),
            &routes,
            &signers,
            revocations.is_some(),
        ),
        clients: clients?.into_iter().map(|one| one.settings).collect(),
        signers,
        upstreams: upstreams?,
        resources,
        routes,
        log: log?,
        caches: caches?,
        revocations,
        drain: drain?,
        workers: workers?,
        certificate_refresh: certificate_refresh?,
        realm: realm?,
        digest,
    })
}

/// What clients and routes refer to.
struct Names<'a, 'c> {
    servers: &'a Tables<server::Server<'c>>,
    clients: &'a Tables<client::Client<'c>>,
    upstreams: &'a Tables<Upstream>,
    resources: &'a Tables<resource::Draft<'c>>,
    signers: &'a Tables<signer::Draft<'c>>,
}

/// `[kind.NAME]` for all names, in their order. One with a mistake keeps its place, so that who
/// refers to it does not hear that it is unknown.
struct Tables<T> {
    kind: &'static str,
    all: Vec<(String, Result<T, Told>)>,
    /// The table itself was none.
    broken: Result<(), Told>,
}

impl<T> Tables<T> {
    fn read<'c>(
        top: &mut Table<'c>,
        kind: &'static str,
        read: impl Fn(&str, Value<'c>) -> Result<T, Told>,
    ) -> Self {
        let entries = top.option(kind, |value| value.entries(&format!("write [{kind}.NAME]")));
        let broken = entries.as_ref().map(drop).map_err(|told| *told);
        let entries = entries.ok().flatten().unwrap_or_default();
        let all = entries.into_iter().map(|Named { name, key, value }| {
            let named = check_name(&name)
                .map_err(|what| key.wrong(what, format!("write [{kind}.a-short-name]")));
            let read = read(&name, value);
            (name, named.and(read))
        });
        Self { kind, all: all.collect(), broken }
    }

    /// The one that a key names.
    fn find(&self, value: &Value<'_>) -> Result<usize, Told> {
        let name = value.text()?;
        if let Some(index) = self.all.iter().position(|(one, _)| one == name) {
            return Ok(index);
        }
        self.broken?;
        let kind = self.kind;
        let names = self.all.iter().map(|(name, _)| name.as_str());
        let write = match super::unknown::nearest(name, names.clone()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if self.all.is_empty() => format!("add [{kind}.{name}]"),
            None => {
                let names = names.take(NAMES_SHOWN_MAX).collect::<Vec<_>>().join(", ");
                format!("add [{kind}.{name}], or write one of: {names}")
            }
        };
        Err(value.spot().missing(format!("there is no [{kind}.{name}]"), write))
    }

    /// The one at an index, if there is no mistake in it.
    fn good(&self, index: usize) -> Option<&T> {
        self.all.get(index).and_then(|(_, one)| one.as_ref().ok())
    }

    fn good_mut(&mut self, index: usize) -> Option<&mut T> {
        self.all.get_mut(index).and_then(|(_, one)| one.as_mut().ok())
    }

    /// Those without a mistake, with their indexes.
    fn good_ones(&self) -> impl Iterator<Item = (usize, &T)> {
        (0..self.all.len()).filter_map(|index| Some((index, self.good(index)?)))
    }

    fn name(&self, index: usize) -> &str {
        self.all.get(index).map_or("", |(name, _)| name)
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing was written; a table that is none is another mistake.
    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.broken.is_ok()
    }

    fn into_all(self) -> Result<Vec<T>, Told> {
        self.broken?;
        self.all.into_iter().map(|(_, one)| one).collect()
    }
}

/// As many names as one reads through to find the right one.
const NAMES_SHOWN_MAX: usize = 12;
