//! Certificates are renewed in place: their files are looked at every `certificate_refresh`, and
//! what changed serves new connections. Open ones live on. An authorization server whose CA changed
//! is another one, as after a reload: nothing learnt under the old CA is used again. So is a client
//! of ours there whose certificate changed, and a server that is asked about tokens with one.
//!
//! What cannot be used, such as a pair of which one half is new, leaves the old one in use. It is
//! logged and counted once for each change, and tried again at the next look.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::listen::{BoundListener, Tls};
use super::worker::Listeners;
use crate::base::digest::Digest;
use crate::base::time::{self, UnixSeconds};
use crate::config::{
    ClientAuthentication, ClientAuthenticationMethod, ClientIdentity, Config, ListenerTls, Look,
    Outbound, UpstreamTls,
};
use crate::gateway::{CertificateStatus, Gateway};

/// Looks after the certificates of listeners, upstreams and authorization servers, until nobody sends listeners any more.
pub(super) async fn renew_all(gateway: Arc<Gateway>, mut listeners: watch::Receiver<Listeners>) {
    let mut renewal = Renewal { gateway, watched: BTreeMap::new() };
    let mut is_due = false;
    loop {
        let current = Arc::clone(&listeners.borrow_and_update());
        let every = renewal.gateway.snapshot().config().certificate_refresh;
        // Files are read on a thread that may wait for them.
        let looked = tokio::task::spawn_blocking(move || {
            renewal.look(&current, is_due, time::now().unix);
            renewal
        });
        renewal = match looked.await {
            Ok(renewal) => renewal,
            Err(_) => return, // the process ends
        };
        let pause = if every.is_zero() { Duration::MAX } else { every };
        tokio::select! {
            () = sleep(pause) => is_due = true,
            // A reload has read all files by itself.
            changed = listeners.changed() => match changed {
                Ok(()) => is_due = false,
                Err(_) => return,
            },
        }
    }
}

struct Renewal {
    gateway: Arc<Gateway>,
    /// By `listeners.ADDRESS`, `upstreams.NAME`, `authorization_servers.NAME`,
    /// `authorization_servers.NAME.introspection` and `clients.NAME`.
    watched: BTreeMap<String, Watched>,
}

/// TLS settings in use.
struct Watched {
    settings: Settings,
    read_at: UnixSeconds,
    refused: Option<Refused>,
}

/// What stands in the files and cannot be used.
struct Refused {
    content: Digest,
    at: UnixSeconds,
    why: String,
}

#[derive(Clone, PartialEq)]
enum Settings {
    Listener(ListenerTls),
    Upstream(UpstreamTls),
    Server(Outbound),
    Client(ClientIdentity),
}

/// Where settings are put to work.
enum Place<'a> {
    Listener(&'a BoundListener),
    Upstream(&'a str),
    Server(&'a str),
    /// Our client that asks a server about tokens.
    Introspection(&'a str),
    Client(&'a str),
}

impl Renewal {
    /// Looks at everything that is in use now; at its files only if that is due.
    fn look(&mut self, listeners: &[Arc<BoundListener>], is_due: bool, now: UnixSeconds) {
        let snapshot = self.gateway.snapshot();
        let mut before = std::mem::take(&mut self.watched);
        let at_listeners = listeners.iter().filter_map(|listener| {
            let treatment = listener.treatment.load();
            let settings = Settings::Listener(treatment.tls.as_ref()?.settings.clone());
            Some((format!("listeners.{}", listener.address), Place::Listener(listener), settings))
        });
        let at_upstreams = snapshot.upstreams().filter_map(|upstream| {
            let upstream = upstream.settings();
            let used_by = format!("upstreams.{}", upstream.name);
            let settings = Settings::Upstream(upstream.tls.clone());
            settings.of_files().map(|it| (used_by, Place::Upstream(&upstream.name), it))
        });
        let at_servers = snapshot.servers().iter().filter_map(|server| {
            let server = server.settings();
            let used_by = format!("authorization_servers.{}", server.name);
            let settings = Settings::Server(server.outbound.clone());
            settings.of_files().map(|it| (used_by, Place::Server(&server.name), it))
        });
        let config = snapshot.config();
        let at_introspection = config.servers.iter().filter_map(|server| {
            let used_by = format!("authorization_servers.{}.introspection", server.name);
            let identity = server.introspection.as_ref()?.client.identity()?.clone();
            Some((used_by, Place::Introspection(&server.name), Settings::Client(identity)))
        });
        let at_clients = config.clients.iter().filter_map(|client| {
            let used_by = format!("clients.{}", client.name);
            let identity = client.authentication.identity()?.clone();
            Some((used_by, Place::Client(&client.name), Settings::Client(identity)))
        });
        let all = at_listeners.chain(at_upstreams).chain(at_servers);
        for (used_by, place, settings) in all.chain(at_introspection).chain(at_clients) {
            let known = before.remove(&used_by).filter(|known| known.settings == settings);
            let mut watched = known.unwrap_or(Watched { settings, read_at: now, refused: None });
            if is_due {
                self.renew(&used_by, &place, &mut watched, now);
            }
            self.watched.insert(used_by, watched);
        }
        self.gateway.publish_certificates(self.watched.iter().map(status).collect());
    }

    fn renew(&self, used_by: &str, place: &Place<'_>, watched: &mut Watched, now: UnixSeconds) {
        let look = Look::at(watched.settings.files());
        let metrics = self.gateway.metrics().certificates();
        let renewed = watched.settings.renewed(&look);
        match renewed.and_then(|new| self.put(place, &watched.settings, new)) {
            Ok(None) => watched.refused = None,
            Ok(Some(new)) => {
                tracing::info!(used_by, "certificates renewed");
                metrics.renewed(true);
                *watched = Watched { settings: new, read_at: now, refused: None };
            }
            Err(why) => {
                let content = look.digest();
                if watched.refused.as_ref().is_some_and(|last| last.content == content) {
                    return;
                }
                tracing::error!(used_by, error = %why, "certificates refused, the old ones go on");
                metrics.renewed(false);
                watched.refused = Some(Refused { content, at: now, why });
            }
        }
    }

    /// Puts settings to work in place of `old`; `None` if they are equal, or if others are at work
    /// by now, which the next look will see.
    fn put(
        &self,
        place: &Place<'_>,
        old: &Settings,
        new: Settings,
    ) -> Result<Option<Settings>, String> {
        if *old == new {
            return Ok(None);
        }
        let is_done = match (place, &new) {
            (Place::Listener(listener), Settings::Listener(tls)) => {
                let tls = Tls::new(tls.clone()).map_err(|error| error.to_string())?;
                listener.renew(tls, |current| Settings::Listener(current.clone()) == *old)
            }
            (
                Place::Upstream(_) | Place::Server(_) | Place::Introspection(_) | Place::Client(_),
                _,
            ) => {
                let changed = self.gateway.change(|config| new.take_place(old, place, config));
                changed.map_err(|error| error.to_string())?
            }
            (
                Place::Listener(_),
                Settings::Upstream(_) | Settings::Server(_) | Settings::Client(_),
            ) => false,
        };
        Ok(is_done.then_some(new))
    }
}

impl Settings {
    /// Them, if any of it comes from a file.
    fn of_files(self) -> Option<Self> {
        let has_files = self.files().next().is_some();
        has_files.then_some(self)
    }

    /// Takes the place of `old` in a configuration; false if others are there by now.
    fn take_place(&self, old: &Self, place: &Place<'_>, config: &mut Config) -> bool {
        match (place, self, old) {
            (Place::Upstream(name), Self::Upstream(new), Self::Upstream(old)) => {
                let mut all = config.upstreams.iter_mut();
                let found = all.find(|one| *one.name == **name && one.tls == *old);
                found.map(|upstream| upstream.tls = new.clone()).is_some()
            }
            (Place::Server(name), Self::Server(new), Self::Server(old)) => {
                let mut all = config.servers.iter_mut();
                let found = all.find(|one| *one.name == **name && one.outbound == *old);
                found.map(|server| server.outbound = new.clone()).is_some()
            }
            (Place::Introspection(name), Self::Client(new), Self::Client(old)) => {
                let mut all = config.servers.iter_mut().filter(|one| *one.name == **name);
                let found = all.find_map(|one| Some(&mut one.introspection.as_mut()?.client));
                found.is_some_and(|client| show(client, old, new))
            }
            (Place::Client(name), Self::Client(new), Self::Client(old)) => {
                let found = config.clients.iter_mut().find(|one| *one.name == **name);
                found.is_some_and(|one| show(&mut one.authentication, old, new))
            }
            _ => false,
        }
    }

    fn files(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        match self {
            Self::Listener(tls) => Box::new(tls.files()),
            Self::Upstream(tls) => Box::new(tls.files()),
            Self::Server(outbound) => Box::new(outbound.files()),
            Self::Client(identity) => Box::new(identity.files()),
        }
    }

    fn renewed(&self, look: &Look) -> Result<Self, String> {
        match self {
            Self::Listener(tls) => tls.renewed(look).map(Self::Listener),
            Self::Upstream(tls) => tls.renewed(look).map(Self::Upstream),
            Self::Server(outbound) => outbound.renewed(look).map(Self::Server),
            Self::Client(identity) => identity.renewed(look).map(Self::Client),
        }
        .map_err(|error| error.to_string())
    }
}

/// Lets a client of ours show `new` in place of `old`; false if it shows another by now.
fn show(client: &mut ClientAuthentication, old: &ClientIdentity, new: &ClientIdentity) -> bool {
    match &mut client.method {
        ClientAuthenticationMethod::Tls(identity) if identity == old => {
            *identity = new.clone();
            true
        }
        _ => false,
    }
}

fn status((used_by, watched): (&String, &Watched)) -> CertificateStatus {
    let (used_by, read_at) = (used_by.clone(), watched.read_at);
    let status = match &watched.settings {
        Settings::Listener(tls) => CertificateStatus::of_listener(used_by, tls, read_at),
        Settings::Upstream(tls) => CertificateStatus::of_upstream(used_by, tls, read_at),
        Settings::Server(_) => CertificateStatus::of_server(used_by, read_at),
        Settings::Client(identity) => CertificateStatus::of_client(used_by, identity, read_at),
    };
    let refused = watched.refused.as_ref().map(|refused| (refused.at, refused.why.clone()));
    CertificateStatus { refused, ..status }
}
