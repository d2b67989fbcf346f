//! `/status`: what is configured and how it stands, as JSON.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base::time::UnixSeconds;
use crate::gateway::{CertificateStatus, Gateway};
use crate::grant::ClientStatus;
use crate::policy::{Access, Requirement};
use crate::revocation::RevocationStatus;
use crate::signer::SignerStatus;
use crate::verify::{CachesStatus, ServerStatus};

/// The whole page.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    ready: bool,
    draining: bool,
    waiting_for: Vec<String>,
    configuration: Configuration,
    connections: i64,
    certificates: Vec<CertificatesStatus>,
    routes: Vec<RouteStatus>,
    authorization_servers: Vec<ServerStatus>,
    clients: Vec<ClientStatus>,
    signers: Vec<SignerStatus>,
    upstreams: Vec<UpstreamStatus>,
    caches: CachesStatus,
    /// The revocation list, where there is one.
    revocations: Option<RevocationStatus>,
}

#[derive(Serialize)]
struct Configuration {
    /// The first digits of the SHA-256 of what is at work.
    digest: String,
    /// What has been refused since, if anything was.
    refused: Option<Refused>,
}

#[derive(Serialize)]
struct Refused {
    at: i64,
    why: String,
}

/// The certificates of a listener or upstream; times in seconds since the epoch.
#[derive(Serialize)]
struct CertificatesStatus {
    used_by: String,
    read_at: i64,
    files: Vec<CertificateFile>,
    /// What has stood in the files since and cannot be used.
    refused: Option<Refused>,
}

#[derive(Serialize)]
struct CertificateFile {
    file: String,
    not_after: Option<i64>,
}

#[derive(Serialize)]
struct RouteStatus {
    name: Box<str>,
    upstream: Option<Box<str>>,
    access: &'static str,
    scopes: Vec<String>,
    any_scope: Vec<String>,
    claims: Vec<Box<str>>,
    /// Connections that became another protocol's and are open, where the route allows that.
    upgrades_open: Option<i64>,
}

#[derive(Serialize)]
struct UpstreamStatus {
    name: Box<str>,
    endpoints: Vec<String>,
    addresses_known: bool,
    in_flight: usize,
    connections: ConnectionsStatus,
    members: Vec<MemberStatus>,
}

/// `max` is `limits.connections`; `waiting` counts requests.
#[derive(Serialize)]
struct ConnectionsStatus {
    open: usize,
    max: usize,
    waiting: usize,
}

#[derive(Serialize)]
struct MemberStatus {
    endpoint: String,
    address: String,
    state: &'static str,
    since: i64,
    in_flight: usize,
}

impl Status {
    pub(super) fn of(gateway: &Gateway) -> Self {
        let snapshot = gateway.snapshot();
        let config = snapshot.config();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: gateway.is_ready(),
            draining: gateway.is_draining(),
            waiting_for: gateway.unready(),
            configuration: Configuration {
                digest: config.digest.to_string(),
                refused: gateway
                    .refused_configuration()
                    .map(|refused| Refused { at: refused.at.get(), why: refused.why }),
            },
            connections: gateway.metrics().connections().open().get(),
            routes: config
                .routes
                .iter()
                .map(|route| RouteStatus::of(route, config, gateway))
                .collect(),
            certificates: gateway.certificates().iter().map(CertificatesStatus::of).collect(),
            authorization_servers: snapshot.servers().iter().map(|one| one.status()).collect(),
            clients: snapshot.clients().iter().map(|client| client.status()).collect(),
            signers: snapshot.signers().iter().map(|signer| signer.status()).collect(),
            upstreams: snapshot.upstreams().map(|upstream| UpstreamStatus::of(upstream)).collect(),
            caches: snapshot.caches().status(),
            revocations: snapshot.revocations().map(|list| list.status()),
        }
    }
}

impl CertificatesStatus {
    fn of(status: &CertificateStatus) -> Self {
        let file = |(file, end): &(std::path::PathBuf, Option<UnixSeconds>)| CertificateFile {
            file: file.display().to_string(),
            not_after: end.map(UnixSeconds::get),
        };
        let refused = status.refused.as_ref();
        Self {
            used_by: status.used_by.clone(),
            read_at: status.read_at.get(),
            files: status.certificates.iter().map(file).collect(),
            refused: refused.map(|(at, why)| Refused { at: at.get(), why: why.clone() }),
        }
    }
}

impl RouteStatus {
    fn of(route: &crate::config::Route, config: &crate::config::Config, gateway: &Gateway) -> Self {
        let upgrades = |_| gateway.metrics().upgrades(&route.name).open();
        let upgrades_open = route.upgrade.as_ref().map(upgrades);
        let upstream = config.upstreams.get(route.upstream).map(|upstream| upstream.name.clone());
        let name = route.name.clone();
        match &route.access {
            Access::Public => Self {
                name,
                upstream,
                access: "public",
                scopes: Vec::new(),
                any_scope: Vec::new(),
                claims: Vec::new(),
                upgrades_open,
            },
            Access::Token(requirement) => Self {
                name,
                upstream,
                access: "token",
                scopes: requirement.scopes.iter().map(|scope| scope.to_string()).collect(),
                any_scope: requirement.any_scope.iter().map(ToString::to_string).collect(),
                claims: claims(requirement),
                upgrades_open,
            },
        }
    }
}

/// The claims that its rules look at, each once.
fn claims(requirement: &Requirement) -> Vec<Box<str>> {
    let named = requirement.claims.iter().map(|claim| &*claim.name);
    let rules = requirement.rules.iter().flat_map(|rules| rules.claim_names());
    let names: BTreeSet<&str> = named.chain(rules).collect();
    names.into_iter().map(Box::from).collect()
}

impl UpstreamStatus {
    fn of(upstream: &crate::upstream::Upstream) -> Self {
        let settings = upstream.settings();
        Self {
            name: settings.name.clone(),
            endpoints: settings.endpoints.iter().map(ToString::to_string).collect(),
            addresses_known: upstream.addresses_known(),
            in_flight: upstream.in_flight(),
            connections: ConnectionsStatus::of(upstream.connections()),
            members: upstream.members().into_iter().map(MemberStatus::of).collect(),
        }
    }
}

impl ConnectionsStatus {
    fn of(connections: crate::upstream::ConnectionsStatus) -> Self {
        let crate::upstream::ConnectionsStatus { open, most, waiting } = connections;
        Self { open, max: most, waiting }
    }
}

impl MemberStatus {
    fn of(member: crate::upstream::MemberStatus) -> Self {
        Self {
            endpoint: member.endpoint,
            address: member.address,
            state: member.state.name(),
            since: member.since.get(),
            in_flight: member.in_flight,
        }
    }
}
