//! The configuration: from TOML to values that cannot be wrong, with every mistake told at once.
//!
//! [`load()`] reads a file or a folder: `source` and `tree` know where everything stands, `reader`
//! walks it key by key, `compile` gives it meaning, and a [`Problem`] shows what is wrong: file,
//! line, column, the line itself, and what to write. What is here, in `server` and in `upstream`
//! are the compiled types: no string that has a grammar, no name that is not resolved, no secret
//! that was not read.

mod any_client;
mod certificates;
mod compile;
mod context;
mod files;
mod hide;
mod load;
mod problem;
mod reader;
mod renew;
mod revocations;
mod server;
mod signer;
mod source;
mod table;
pub mod tls;
mod tree;
mod unknown;
mod upgrade;
mod upstream;
mod value;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/configuration.rs"]
pub mod fuzz_configuration;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::base::net::{ListenAddress, TrustedProxies};
use crate::base::secret::Secret;
use crate::credential::Accept;
use crate::headers::{CertificateHeader, Cors, EditPlan};
use crate::oauth::{ResourceIdentifier, ScopeSet};
use crate::policy::Access;
use crate::reject::Realm;
use crate::route::{HostPattern, MethodSet, PathPattern, PrefixRewrite, RouteKey};

pub use certificates::{Certificates, OwnCertificates, PairError};
pub use load::{Loaded, load, parse};
pub use problem::{Excerpt, Place, Problem, Problems, Severity};
pub use renew::{Look, RenewError};
pub use revocations::Revocations;
pub use server::{
    AssertionAudience, AssertionKey, AuthorizationServer, BackchannelLogout, Basic, BasicEncoding,
    BasicScopes, Client, ClientAuthentication, ClientAuthenticationMethod, ClientIdentity, Demand,
    Dpop, Endpoints, Exchange, ExchangeGrant, Grant, Introspect, Introspection,
    IntrospectionAnswer, JwksTimes, KeySource, OnUnavailable, Outbound, OwnEndpoint, PartialScopes,
    TokenExchange, TokenType,
};
pub use signer::{JwksPlace, Signer, SignerKeys};
pub use source::Source;
pub use upgrade::Upgrade;
pub use upstream::{
    Balance, Ejection, Endpoint, EndpointAddress, EndpointProtocol, HashKey, Health, Retries,
    Upstream, UpstreamLimits, UpstreamTimeouts, UpstreamTls,
};

/// A whole configuration, compiled.
///
/// Equal parts of two configurations are equal values: a reload keeps what belongs to them.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers come in; at least one.
    pub listeners: Vec<Listener>,
    /// The admin listener, if there is one.
    pub admin: Option<Admin>,
    /// Every authorization server, in the order of their names.
    pub servers: Vec<AuthorizationServer>,
    /// Every client of the gateway's own, in the order of their names.
    pub clients: Vec<Client>,
    /// Every signer, in the order of their names.
    pub signers: Vec<Signer>,
    /// Every upstream, in the order of their names.
    pub upstreams: Vec<Upstream>,
    /// `[resources.NAME]`.
    pub resources: Vec<Resource>,
    /// Every route, in the order of the file.
    pub routes: Vec<Route>,
    /// What is logged.
    pub log: Log,
    /// Bounds of the caches.
    pub caches: Caches,
    /// The revocation list, where anything can fill it.
    pub revocations: Option<Revocations>,
    /// How the end goes.
    pub drain: Drain,
    /// How many threads serve requests; default: the number of processors.
    pub workers: usize,
    /// How often files of certificates, keys and CAs are looked at; default 10 s; zero: never.
    pub certificate_refresh: Duration,
    /// The `realm` of every challenge; default `scopegate`.
    pub realm: Realm,
    /// SHA-256 of the source, as `/status` shows it.
    pub digest: crate::base::digest::Digest,
}

/// `[[listeners]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// Where it listens.
    pub address: ListenAddress,
    /// Absent: plaintext HTTP/1.1 and h2c.
    pub tls: Option<ListenerTls>,
    /// Whose `Forwarded` and `X-Forwarded-*` count.
    pub trusted_proxies: TrustedProxies,
    /// Where those proxies tell which certificate a caller has shown them; absent: nowhere.
    pub client_certificate_header: Option<CertificateHeader>,
    /// Whether each connection begins with a PROXY header, which trusted proxies alone may send;
    /// default: no.
    pub proxy_protocol: bool,
    /// Bounds.
    pub limits: ListenerLimits,
}

/// `[listeners.tls]`, read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListenerTls {
    /// `certificate` and `key`, then those of `certificates`; at least one.
    pub pairs: Vec<CertificatePair>,
    /// Whose certificates callers may present; they are then asked for one and must have it.
    pub client_ca: Option<Vec<CertificateDer<'static>>>,
    /// Where `client_ca` was read.
    pub client_ca_file: Option<PathBuf>,
    /// Whether callers may do without a certificate.
    pub client_certificates: ClientCertificates,
}

/// `client_certificates` of a listener.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientCertificates {
    /// Absent: with a `client_ca` every caller must show one, without it none is asked for.
    #[default]
    ByCa,
    /// `"request"`: callers are asked for one, and may have none. Without a `client_ca` no chain is
    /// looked at: that they hold its key is what counts (RFC 8705 §6.2).
    Request,
}

/// A certificate and its key, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePair {
    /// The chain, the server's own certificate first.
    pub certificate: Vec<CertificateDer<'static>>,
    /// Its private key, PEM.
    pub key: Secret,
    /// Where the chain was read.
    pub certificate_file: PathBuf,
    /// Where the key was read.
    pub key_file: PathBuf,
}

/// `limits` of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerLimits {
    /// Connections open at once; the next one waits in the kernel's queue. Default 10,000.
    pub connections: usize,
    /// Bytes of a request's header section, request line included. Default 64 KiB.
    pub header_max: usize,
    /// From the first byte of a head to its last. Default 10 s.
    pub header_timeout: Duration,
    /// Without a byte in either direction, or without a request. Default 75 s.
    pub idle_timeout: Duration,
}

/// `[admin]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub address: ListenAddress,
    /// `authorization.token`: what whoever writes must send. Absent: only where the listener is
    /// this machine's own can anything be written.
    pub token: Option<Secret>,
    /// How many refused requests are kept, to be explained by their ids; 0: none.
    pub refusals: usize,
}

/// `[[routes]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// The label in metrics and logs: `name`, or else built from host, methods and path.
    pub name: Box<str>,
    /// Absent: any host.
    pub host: HostPattern,
    /// The path.
    pub path: PathPattern,
    /// Absent: all.
    pub methods: MethodSet,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Public, or what a token must carry.
    pub access: Access,
    /// Indexes into [`Config::servers`]; empty for a public route.
    pub servers: Vec<usize>,
    /// Which of `servers` an opaque token goes to: the one with introspection. Index into
    /// [`Config::servers`].
    pub opaque_server: Option<usize>,
    /// Which of `servers` a Basic credential goes to. Index into [`Config::servers`].
    pub basic_server: Option<usize>,
    /// Which credentials are taken.
    pub accept: Accept,
    /// What the upstream gets.
    pub forward: Forward,
    /// What its upstream sees in place of the path's beginning.
    pub rewrite: Option<PrefixRewrite>,
    /// What is done to the headers of its requests and responses.
    pub edits: EditPlan,
    /// Which pages of other sites may read its answers; absent: none.
    pub cors: Option<Cors>,
    /// Bounds in time.
    pub timeouts: RouteTimeouts,
    /// Bytes of a request body; absent: no bound but time.
    pub body_max: Option<u64>,
    /// The resource that it is a part of. Index into [`Config::resources`].
    pub resource: Option<usize>,
    /// Which other protocols a connection may be handed over to; absent: none.
    pub upgrade: Option<Upgrade>,
}

/// `[resources.NAME]`: a protected resource that says what it is (RFC 9728).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    /// Its name here.
    pub name: Box<str>,
    /// What it is called everywhere.
    pub identifier: ResourceIdentifier,
    /// `resource_name`, for people.
    pub title: Option<Box<str>>,
    /// `resource_documentation`.
    pub documentation: Option<Box<str>>,
    /// `scopes_supported`; absent: what its routes ask for.
    pub scopes: Option<ScopeSet>,
}

impl Route {
    /// What it is found by.
    pub fn key(&self) -> RouteKey<'_> {
        RouteKey { host: &self.host, path: &self.path, methods: &self.methods }
    }

    /// Whether a request on this route meets and gets the same as on the other one: all is equal
    /// but the name and what the route is found by.
    pub fn has_terms_of(&self, other: &Self) -> bool {
        // Taken apart by name, so that a new field does not compile until it is compared here.
        let Self {
            name: _,
            host: _,
            path: _,
            methods: _,
            upstream,
            access,
            servers,
            opaque_server,
            basic_server,
            accept,
            forward,
            rewrite,
            edits,
            cors,
            timeouts,
            body_max,
            resource,
            upgrade,
        } = self;
        *upstream == other.upstream
            && *access == other.access
            && *servers == other.servers
            && *opaque_server == other.opaque_server
            && *basic_server == other.basic_server
            && *accept == other.accept
            && *forward == other.forward
            && *rewrite == other.rewrite
            && *edits == other.edits
            && *cors == other.cors
            && *timeouts == other.timeouts
            && *body_max == other.body_max
            && *resource == other.resource
            && *upgrade == other.upgrade
    }
}

/// `timeout` of a route: in place of what its upstream's `timeouts` say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouteTimeouts {
    /// How long a request waits for a new connection to each member that it tries, in place of the
    /// upstream's `connect`.
    pub connect: Option<Duration>,
    /// From the request's head to the response's head, in place of the upstream's `header`.
    pub header: Option<Duration>,
    /// Between two pieces of a body, either way, in place of the upstream's `idle`.
    pub idle: Option<Duration>,
    /// From the request's head to the last byte of its answer; absent: no bound.
    pub total: Option<Duration>,
}

/// `forward`: what the upstream gets in `Authorization`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forward {
    /// The token as sent, byte for byte.
    Token,
    /// Nothing.
    None,
    /// The token of a client of ours: index into [`Config::clients`], and that one has
    /// [`Grant::ClientCredentials`].
    Client(usize),
    /// What a client of ours is given for the caller's token: index into [`Config::clients`], and
    /// that one has [`Grant::Exchange`].
    Exchange(usize),
    /// A JWT of ours that says who is asking: index into [`Config::signers`].
    Signed(usize),
}

/// `[log]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// `"info"`, or a tracing filter; default `"info"`.
    pub level: Box<str>,
    /// `"text"` or `"json"`; default text.
    pub format: LogFormat,
    /// One line per request; default on.
    pub access: bool,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[caches]`: bounds in entries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caches {
    /// Good verdicts; default 100,000.
    pub tokens: u64,
    /// Bad tokens; default 10,000.
    pub negative: u64,
    /// Tokens obtained for callers' keys and secrets, good and bad each; default 10,000.
    pub basic: u64,
    /// Tokens obtained for callers' tokens, good and bad each, of one client; default 10,000.
    pub exchanged: u64,
    /// JWTs of ours that are used again, for each signer; default 10,000.
    pub signed: u64,
}

/// `[drain]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drain {
    /// How long accepting goes on after SIGTERM, while `/readyz` already says no; default 5 s.
    pub delay: Duration,
    /// How long requests in flight may take after that; default 30 s.
    pub timeout: Duration,
}
