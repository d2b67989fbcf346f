//! Each mistake, and the one problem that it makes.

use super::{BASE, Folder};
use crate::config::{Problem, Severity};

/// What is replaced in [`BASE`], what comes in its place, what the problem points at, and what it
/// says.
pub(super) type Case = (&'static str, &'static str, &'static str, &'static str);

/// Puts the new text in, and gives the problems as `marked` and `key: what`.
fn told(folder: &Folder, from: &str, to: &str) -> Vec<(Severity, String, String)> {
    assert!(BASE.contains(from), "{from}");
    let text = BASE.replacen(from, to, 1);
    let describe = |problem: &Problem| {
        let excerpt = problem.place().excerpt.as_ref();
        let marked = excerpt.map_or(String::new(), |excerpt| {
            excerpt.text.chars().skip(excerpt.caret.start).take(excerpt.caret.len()).collect()
        });
        assert!(!problem.write().is_empty(), "{problem}");
        (problem.severity(), marked, format!("{}: {}", problem.key(), problem.what()))
    };
    match folder.parse(&text) {
        Ok(loaded) => loaded.warnings.iter().map(describe).collect(),
        Err(problems) => problems.iter().map(describe).collect(),
    }
}

pub(super) fn check(severity: Severity, cases: &[Case]) {
    let folder = Folder::new();
    for (from, to, marked, what) in cases {
        let told = told(&folder, from, to);
        let [(is, at, text)] = &told[..] else { panic!("{to}: one problem, not {told:#?}") };
        assert_eq!((*is, at.as_str()), (severity, *marked), "{to}: {text}");
        assert!(text.starts_with(what), "{to}:\n told {text}\n want {what}");
    }
}

const LISTENER: &str = "address = \"127.0.0.1:8080\"\n";
const ISSUER: &str = "issuer = \"https://login.example.com\"\n";
const SERVER_END: &str = "[authorization_servers.main.introspection]\n";
const INTROSPECTION: &str = "client_id = \"gateway\"\n";
const SECRET: &str = "client_secret = { file = \"secret\" }\n[clients";
const CLIENT: &str = "client_id = \"reports\"\n";
const ENDPOINTS: &str = "endpoints = [\"http://127.0.0.1:9000\"]\n";
const ROUTE: &str = "path = \"/orders\"\n";
pub(super) const ACCESS: &str = "access = { scopes = [\"orders:read\"] }\n";
const FIRST: &str = "\n[[listeners]]\n";

#[test]
#[rustfmt::skip]
fn at_the_top() {
    check(Severity::Error, &[
        (FIRST, "\nworkres = 2\n[[listeners]]\n", "workres", "workres: unknown key `workres`"),
        (FIRST, "\nworkers = 0\n[[listeners]]\n", "0", "workers: out of bounds"),
        (FIRST, "\nworkers = 99999999999999999999\n[[listeners]]\n", "99999999999999999999", "workers: out of bounds"),
        (FIRST, "\nworkers = \"2\"\n[[listeners]]\n", "\"2\"", "workers: expected a whole number, found a string"),
        (FIRST, "\nrealm = \"é\"\n[[listeners]]\n", "\"é\"", "realm: character 1 is not allowed in a realm"),
        (FIRST, "\nrealm = \"\"\n[[listeners]]\n", "\"\"", "realm: an empty string"),
        (FIRST, "\ntelemetry = {}\n[[listeners]]\n", "telemetry", "telemetry: `telemetry` is not built yet"),
        (FIRST, "\nlog = 1\n[[listeners]]\n", "1", "log: expected a table, found a whole number"),
        (FIRST, "\nlog.level = \"a=b=c\"\n[[listeners]]\n", "\"a=b=c\"", "log.level: "),
        (FIRST, "\nlog.format = \"xml\"\n[[listeners]]\n", "\"xml\"", "log.format: \"xml\" is not one of the words known here"),
        (FIRST, "\nlog.access = \"on\"\n[[listeners]]\n", "\"on\"", "log.access: expected true or false, found a string"),
        (FIRST, "\nrevocations.entries = 0\n[[listeners]]\n", "0", "revocations.entries: out of bounds"),
        (FIRST, "\nrevocations.keep = \"0s\"\n[[listeners]]\n", "\"0s\"", "revocations.keep: it cannot be zero"),
        (FIRST, "\ncaches.tokens = 0\n[[listeners]]\n", "0", "caches.tokens: out of bounds"),
        (FIRST, "\ndrain.delay = 5\n[[listeners]]\n", "5", "drain.delay: expected a string, found a whole number"),
        (FIRST, "\ndrain.delay = \"5 s\"\n[[listeners]]\n", "\"5 s\"", "drain.delay: not a duration"),
    ]);
}

#[test]
#[rustfmt::skip]
fn in_listeners() {
    check(Severity::Error, &[
        (LISTENER, "\n", "[[listeners]]", "listeners[0]: `address` is missing"),
        (LISTENER, "address = \"localhost:80\"\n", "\"localhost:80\"", "listeners[0].address: write an IP address with a port"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntrusted_proxies = [\"10.0.0.0/33\"]\n", "\"10.0.0.0/33\"", "listeners[0].trusted_proxies[0]: neither an IP address nor a network"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntrusted_proxies = []\n", "[]", "listeners[0].trusted_proxies: an empty list"),
        (LISTENER, "address = \"127.0.0.1:1\"\nproxy_protocol = true\n", "true", "listeners[0].proxy_protocol: without `trusted_proxies` anybody could choose an address"),
        (LISTENER, "address = \"127.0.0.1:1\"\nproxy_protocol = \"v2\"\n", "\"v2\"", "listeners[0].proxy_protocol: expected true or false"),
        (LISTENER, "address = \"127.0.0.1:1\"\nlimits.header_max = \"1KiB\"\n", "\"1KiB\"", "listeners[0].limits.header_max: out of bounds"),
        (LISTENER, "address = \"127.0.0.1:1\"\nlimits.header_max = \"64\"\n", "\"64\"", "listeners[0].limits.header_max: not a size"),
        (LISTENER, "address = \"127.0.0.1:1\"\nlimits.header_max = 64\n", "64", "listeners[0].limits.header_max: expected a string"),
        (LISTENER, "address = \"127.0.0.1:1\"\nlimits.idle_timeout = \"0s\"\n", "\"0s\"", "listeners[0].limits.idle_timeout: it cannot be zero"),
        (LISTENER, "address = \"127.0.0.1:1\"\nlimits.connections = 0\n", "0", "listeners[0].limits.connections: out of bounds"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { key = \"tls.key\" }\n", "{ key = \"tls.key\" }", "listeners[0].tls: `certificate` is missing"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"none.crt\", key = \"tls.key\" }\n", "\"none.crt\"", "listeners[0].tls.certificate: cannot read "),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"secret\", key = \"tls.key\" }\n", "\"secret\"", "listeners[0].tls.certificate: there is no certificate in this file"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"tls.crt\" }\n", "\"tls.crt\"", "listeners[0].tls.key: there is no private key in this file"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"other.key\" }\n", "{ certificate = \"tls.crt\", key = \"other.key\" }", "listeners[0].tls: certificate and key do not belong together"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\", certificates = [] }\n", "[]", "listeners[0].tls.certificates: an empty list"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\", certificates = [{ certificate = \"tls.crt\" }] }\n", "{ certificate = \"tls.crt\" }", "listeners[0].tls.certificates[0]: `key` is missing"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\", certificates = [{ certificate = \"tls.crt\", key = \"other.key\" }] }\n", "{ certificate = \"tls.crt\", key = \"other.key\" }", "listeners[0].tls.certificates[0]: certificate and key do not belong together"),
        (LISTENER, "address = \"127.0.0.1:1\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\", certificates = [{ certificate = \"tls.crt\", key = \"tls.key\" }] }\n", "{ certificate = \"tls.crt\", key = \"tls.key\" }", "listeners[0].tls.certificates[0]: another certificate with a key of the same type names localhost too"),
        (LISTENER, "address = \"127.0.0.1:1\"\n[[listeners]]\naddress = \"127.0.0.1:1\"\n", "\"127.0.0.1:1\"", "listeners[1].address: this address is already at"),
        ("[admin]\naddress = \"127.0.0.1:9901\"", "[admin]\naddress = \"127.0.0.1:8080\"", "\"127.0.0.1:8080\"", "admin.address: this address is already at"),
        ("[admin]\n", "[admin]\nauthorization = {}\n", "{}", "admin.authorization: `token` is missing"),
        ("[admin]\n", "[admin]\nauthorization = { token = 7 }\n", "7", "admin.authorization.token: a secret is never written in the file"),
    ]);
    check(Severity::Warning, &[
        (LISTENER, "address = \"0.0.0.0:8080\"\n", "\"0.0.0.0:8080\"", "listeners[0].address: tokens come in here in plaintext"),
    ]);
}

#[test]
#[rustfmt::skip]
fn in_authorization_servers() {
    check(Severity::Error, &[
        (ISSUER, "\n", "[authorization_servers.main]", "authorization_servers.main: `issuer` is missing"),
        (ISSUER, "issuer = \"http://login.example.com\"\n", "\"http://login.example.com\"", "authorization_servers.main.issuer: an issuer is an https URL (RFC 8414 §2)"),
        (ISSUER, "issuer = \"https://login.example.com?x\"\n", "\"https://login.example.com?x\"", "authorization_servers.main.issuer: an issuer has no query"),
        (ISSUER, "issuer = \"https://169.254.169.254\"\n", "\"https://169.254.169.254\"", "authorization_servers.main.issuer: an issuer has no user name and no link-local"),
        (ISSUER, "issuer = \"https://u:hunter2@a.test\"\n", "\"https://…@a.test\"", "authorization_servers.main.issuer: an issuer has no user name"),
        (SERVER_END, "[authorization_servers.b]\nissuer = \"https://login.example.com\"\naudiences = [\"a\"]\n[authorization_servers.main.introspection]\n", "\"https://login.example.com\"", "authorization_servers.main.issuer: this issuer is already at"),
        ("audiences = [\"https://api.example.com\"]\n", "\n", "[authorization_servers.main]", "authorization_servers.main: `audiences` is missing"),
        ("audiences = [\"https://api.example.com\"]\n", "audiences = []\n", "[]", "authorization_servers.main.audiences: an empty list"),
        (ISSUER, "issuer = \"https://a.test\"\nalgorithms = [\"RS256\", \"nOnE\"]\n", "\"nOnE\"", "authorization_servers.main.algorithms[1]: a token that nobody signed"),
        (ISSUER, "issuer = \"https://a.test\"\nalgorithms = [\"rs256\"]\n", "\"rs256\"", "authorization_servers.main.algorithms[0]: \"rs256\" is no algorithm"),
        (ISSUER, "issuer = \"https://a.test\"\nalgorithms = [\"HS256\"]\n", "\"HS256\"", "authorization_servers.main.algorithms[0]: HS256 is checked with a secret, and there is none"),
        (ISSUER, "issuer = \"https://a.test\"\nshared_secret = { file = \"secret\" }\n", "{ file = \"secret\" }", "authorization_servers.main.shared_secret: nothing makes use of this secret"),
        (ISSUER, "issuer = \"https://a.test\"\nalgorithms = [\"HS256\", \"HS384\"]\nshared_secret = { file = \"secret\" }\n", "{ file = \"secret\" }", "authorization_servers.main.shared_secret: too short for HS384"),
        (ISSUER, "issuer = \"https://a.test\"\ntoken_types = [1]\n", "1", "authorization_servers.main.token_types[0]: expected a string"),
        (ISSUER, "issuer = \"https://a.test\"\njwks_uri = \"http://a.test/jwks\"\n", "\"http://a.test/jwks\"", "authorization_servers.main.jwks_uri: tokens and secrets travel there"),
        (ISSUER, "issuer = \"https://a.test\"\ntoken_endpoint = \"https://a.test/t#f\"\n", "\"https://a.test/t#f\"", "authorization_servers.main.token_endpoint: a URL to send requests to has no fragment"),
        (ISSUER, "issuer = \"https://a.test\"\nrevocation_endpoint = \"/revoke\"\n", "\"/revoke\"", "authorization_servers.main.revocation_endpoint: not a URL"),
        (ISSUER, "issuer = \"https://a.test\"\nrevocation = { path = \"oauth\" }\n", "\"oauth\"", "authorization_servers.main.revocation.path: not a path in the normal form"),
        (ISSUER, "issuer = \"https://a.test\"\nrevocation = { path = \"/a/../b\" }\n", "\"/a/../b\"", "authorization_servers.main.revocation.path: not a path in the normal form"),
        (ISSUER, "issuer = \"https://a.test\"\nrevocation = { path = \"/r\", host = \"a b\" }\n", "\"a b\"", "authorization_servers.main.revocation.host: "),
        (ISSUER, "issuer = \"https://a.test\"\nbackchannel_logout = { path = \"/l\" }\n", "{ path = \"/l\" }", "authorization_servers.main.backchannel_logout: `client_ids` is missing"),
        (ISSUER, "issuer = \"https://a.test\"\nrevocation.path = \"/a\"\nbackchannel_logout = { path = \"/a\", client_ids = [\"w\"] }\n", "{ path = \"/a\", client_ids = [\"w\"] }", "authorization_servers.main.backchannel_logout: it has the address of the one at"),
        (ISSUER, "issuer = \"https://a.test\"\njwks_file = \"none.json\"\n", "\"none.json\"", "authorization_servers.main.jwks_file: cannot read "),
        (ISSUER, "issuer = \"https://a.test\"\njwks_file = \"secret\"\n", "\"secret\"", "authorization_servers.main.jwks_file: not a JWK Set"),
        (ISSUER, "issuer = \"https://a.test\"\njwks_file = \"jwks.json\"\njwks_uri = \"https://a.test/j\"\n", "\"jwks.json\"", "authorization_servers.main.jwks_file: the keys come from"),
        (ISSUER, "issuer = \"https://a.test\"\njwks = { cooldown = \"0s\" }\n", "\"0s\"", "authorization_servers.main.jwks.cooldown: it cannot be zero"),
        (ISSUER, "issuer = \"https://a.test\"\njwks = { max_stale = \"1m\" }\n", "{ max_stale = \"1m\" }", "authorization_servers.main.jwks: `max_stale` is shorter than `refresh`"),
        (ISSUER, "issuer = \"https://a.test\"\noutbound = { ca = \"secret\" }\n", "\"secret\"", "authorization_servers.main.outbound.ca: there is no certificate"),
        (ISSUER, "issuer = \"https://a.test\"\noutbound = { ca = \"junk.crt\" }\n", "\"junk.crt\"", "authorization_servers.main.outbound.ca: the CA is not usable"),
        (ISSUER, "issuer = \"https://a.test\"\noutbound = { proxy = \"http://u:hunter2@p:1\" }\n", "\"http://…@p:1\"", "authorization_servers.main.outbound.proxy: a name or password in a URL"),
        (ISSUER, "issuer = \"https://a.test\"\noutbound = { timeout = \"0\" }\n", "\"0\"", "authorization_servers.main.outbound.timeout: it cannot be zero"),
        (ISSUER, "issuer = \"https://a.test\"\noutbound = { max_response = \"1B\" }\n", "\"1B\"", "authorization_servers.main.outbound.max_response: out of bounds"),
        (ISSUER, "issuer = \"https://a.test\"\nintrospect = \"jwt\"\n", "\"jwt\"", "authorization_servers.main.introspect: \"jwt\" is not one of the words"),
        (ISSUER, "issuer = \"https://a.test\"\nclient_id = \"x\"\n", "client_id", "authorization_servers.main.client_id: unknown key"),
        (SERVER_END, "[authorization_servers.b]\nissuer = \"https://b.test\"\nintrospect = \"all\"\n[authorization_servers.main.introspection]\n", "\"all\"", "authorization_servers.b.introspect: without a client of ours"),
        (SERVER_END, "[authorization_servers.b]\nissuer = \"https://b.test\"\nintrospection_endpoint = \"https://b.test/i\"\n[authorization_servers.main.introspection]\n", "\"https://b.test/i\"", "authorization_servers.b.introspection_endpoint: without a client of ours"),
        (SERVER_END, "[authorization_servers.\"a b\"]\nissuer = \"https://b.test\"\naudiences = [\"a\"]\n[authorization_servers.main.introspection]\n", "\"a b\"", "authorization_servers.a b: a name has 1 to 64"),
        (SERVER_END, "basic = { scopes = \"all\" }\n[authorization_servers.main.introspection]\n", "\"all\"", "authorization_servers.main.basic.scopes: \"all\" is not one of the words"),
        (SERVER_END, "basic = { basic_encoding = \"plain\" }\n[authorization_servers.main.introspection]\n", "\"plain\"", "authorization_servers.main.basic.basic_encoding: "),
    ]);
    check(Severity::Warning, &[
        (ISSUER, "issuer = \"https://a.test\"\nclock_skew = \"301s\"\n", "\"301s\"", "authorization_servers.main.clock_skew: expired tokens pass for that long"),
        (SERVER_END, "certificate_bound = {}\n[authorization_servers.main.introspection]\n", "[authorization_servers.main]", "authorization_servers.main: no listener learns of certificates"),
    ]);
}

#[test]
#[rustfmt::skip]
fn in_introspection_and_clients() {
    check(Severity::Error, &[
        (INTROSPECTION, "\n", "[authorization_servers.main.introspection]", "authorization_servers.main.introspection: `client_id` is missing"),
        (SECRET, "[clients", "[authorization_servers.main.introspection]", "authorization_servers.main.introspection: `client_secret` is missing"),
        (SECRET, "client_secret = \"hunter2\"\n[clients", "…", "authorization_servers.main.introspection.client_secret: a secret is never written in the file"),
        (SECRET, "client_secrt = { file = \"secret\" }\n[clients", "client_secrt", "authorization_servers.main.introspection.client_secrt: unknown key"),
        (SECRET, "client_secret = {}\n[clients", "{}", "authorization_servers.main.introspection.client_secret: a secret is read from one place"),
        (SECRET, "client_secret = { env = \"A\", file = \"b\" }\n[clients", "{ env = \"A\", file = \"b\" }", "authorization_servers.main.introspection.client_secret: a secret is read from one place"),
        (SECRET, "client_secret = { env = \"SCOPEGATE_NO_SUCH_VARIABLE\" }\n[clients", "{ env = \"SCOPEGATE_NO_SUCH_VARIABLE\" }", "authorization_servers.main.introspection.client_secret: the environment variable SCOPEGATE_NO_SUCH_VARIABLE is not set"),
        (SECRET, "client_secret = { file = \"none\" }\n[clients", "{ file = \"none\" }", "authorization_servers.main.introspection.client_secret: cannot read the secret file"),
        (SECRET, "client_secret = { file = \"empty\" }\n[clients", "{ file = \"empty\" }", "authorization_servers.main.introspection.client_secret: the secret is empty"),
        (INTROSPECTION, "client_id = \"g\"\nauthentication = \"basic\"\n", "\"basic\"", "authorization_servers.main.introspection.authentication: \"basic\" is not one of the words"),
        (INTROSPECTION, "client_id = \"g\"\nauthentication = \"tls_client_auth\"\n", "{ file = \"secret\" }", "authorization_servers.main.introspection.client_secret: this authentication makes no use of it"),
        (INTROSPECTION, "client_id = \"g\"\nauthentication = \"private_key_jwt\"\n", "{ file = \"secret\" }", "authorization_servers.main.introspection.client_secret: this authentication makes no use of it"),
        (SECRET, "authentication = \"private_key_jwt\"\n[clients", "[authorization_servers.main.introspection]", "authorization_servers.main.introspection: `client_key` is missing"),
        (SECRET, "authentication = \"private_key_jwt\"\nclient_key = { file = \"secret\" }\n[clients", "{ file = \"secret\" }", "authorization_servers.main.introspection.client_key: this is no private key that can sign"),
        (SECRET, "authentication = \"private_key_jwt\"\nclient_key_algorithm = \"RS256\"\nclient_key = { file = \"tls.key\" }\n[clients", "{ file = \"tls.key\" }", "authorization_servers.main.introspection.client_key: this is no private key that RS256 can sign with"),
        (SECRET, "authentication = \"private_key_jwt\"\nclient_key_algorithm = \"HS256\"\nclient_key = { file = \"tls.key\" }\n[clients", "\"HS256\"", "authorization_servers.main.introspection.client_key_algorithm: an assertion cannot be signed with this"),
        (INTROSPECTION, "client_id = \"g\"\nclient_key_id = \"x\"\n", "\"x\"", "authorization_servers.main.introspection.client_key_id: this authentication makes no use of it"),
        (INTROSPECTION, "client_id = \"g\"\nassertion_audience = \"token_endpoint\"\n", "\"token_endpoint\"", "authorization_servers.main.introspection.assertion_audience: this authentication makes no use of it"),
        (SECRET, "authentication = \"private_key_jwt\"\nassertion_audience = \"endpoint\"\nclient_key = { file = \"tls.key\" }\n[clients", "\"endpoint\"", "authorization_servers.main.introspection.assertion_audience: \"endpoint\" is not one"),
        (INTROSPECTION, "client_id = \"g\"\nauthentication = \"client_secret_post\"\nbasic_encoding = \"raw\"\n", "\"raw\"", "authorization_servers.main.introspection.basic_encoding: this authentication makes no use of it"),
        (INTROSPECTION, "client_id = \"g\"\nparameters = { token = \"x\" }\n", "token", "authorization_servers.main.introspection.parameters.token: the gateway sends this parameter itself"),
        (INTROSPECTION, "client_id = \"g\"\nparameters = { a = 1 }\n", "1", "authorization_servers.main.introspection.parameters.a: expected a string"),
        (INTROSPECTION, "client_id = \"g\"\ncertificate = \"tls.crt\"\n", "\"tls.crt\"", "authorization_servers.main.introspection.certificate: this authentication makes no use of it"),
        (INTROSPECTION, "client_id = \"g\"\nmax_stale = \"5m\"\n", "\"5m\"", "authorization_servers.main.introspection.max_stale: nothing stale is served"),
        (INTROSPECTION, "client_id = \"g\"\non_unavailable = \"serve-stale\"\n", "\"serve-stale\"", "authorization_servers.main.introspection.on_unavailable: \"serve-stale\" is not one"),
        ("authorization_server = \"main\"", "authorization_server = \"mian\"", "\"mian\"", "clients.reports.authorization_server: there is no [authorization_servers.mian]"),
        ("authorization_server = \"main\"", "", "[clients.reports]", "clients.reports: `authorization_server` is missing"),
        (CLIENT, "client_id = \"\"\n", "\"\"", "clients.reports.client_id: an empty string"),
        (CLIENT, "client_id = \"r\"\nscopes = []\n", "[]", "clients.reports.scopes: an empty list"),
        (CLIENT, "client_id = \"r\"\nscopes = [\"a\\\"b\"]\n", "\"a\\\"b\"", "clients.reports.scopes[0]: character 2 is not allowed in a scope"),
        (CLIENT, "client_id = \"r\"\nresource = \"https://a.test/#f\"\n", "\"https://a.test/#f\"", "clients.reports.resource: a resource has no fragment (RFC 8707 §2)"),
        (CLIENT, "client_id = \"r\"\nresource = [\"/api\"]\n", "\"/api\"", "clients.reports.resource[0]: a resource is an absolute URI (RFC 8707 §2)"),
        (CLIENT, "client_id = \"r\"\nauthorization_details = [{ actions = [\"a\"] }]\n", "{ actions = [\"a\"] }", "clients.reports.authorization_details[0]: `type` is missing"),
        (CLIENT, "client_id = \"r\"\nauthorization_details = [{ type = \"t\" }]\nparameters = { authorization_details = \"[]\" }\n", "[clients.reports]", "clients.reports: `authorization_details` stands in `parameters` as well"),
        (CLIENT, "client_id = \"r\"\npartial_scopes = \"ask\"\n", "\"ask\"", "clients.reports.partial_scopes: \"ask\" is not one"),
    ]);
}

#[test]
#[rustfmt::skip]
fn in_upstreams() {
    check(Severity::Error, &[
        (ENDPOINTS, "\n", "[upstreams.orders]", "upstreams.orders: `endpoints` is missing"),
        (ENDPOINTS, "endpoints = []\n", "[]", "upstreams.orders.endpoints: an empty list"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1/api\"]\n", "\"http://127.0.0.1/api\"", "upstreams.orders.endpoints[0]: an endpoint is a scheme, a host and a port"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\", \"http://127.0.0.1:1\"]\n", "\"http://127.0.0.1:1\"", "upstreams.orders.endpoints[1]: this endpoint is already in the list"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\ntls = {}\n", "{}", "upstreams.orders.tls: no endpoint of this upstream speaks TLS"),
        (ENDPOINTS, "endpoints = [\"https://a.test\"]\ntls = { ca = \"tls.crt\", key = \"tls.key\" }\n", "{ ca = \"tls.crt\", key = \"tls.key\" }", "upstreams.orders.tls: `certificate` and `key` go together"),
        (ENDPOINTS, "endpoints = [\"https://a.test\"]\ntls = { ca = \"tls.crt\", certificate = \"tls.crt\", key = \"other.key\" }\n", "{ ca = \"tls.crt\", certificate = \"tls.crt\", key = \"other.key\" }", "upstreams.orders.tls: certificate and key do not belong together"),
        (ENDPOINTS, "endpoints = [\"https://a.test\"]\ntls = { ca = \"tls.crt\", server_name = \"a b\" }\n", "\"a b\"", "upstreams.orders.tls.server_name: "),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\ntimeouts.header = \"0s\"\n", "\"0s\"", "upstreams.orders.timeouts.header: it cannot be zero"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nlimits.requests = -1\n", "-1", "upstreams.orders.limits.requests: out of bounds"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nlimits.connections = 0\n", "0", "upstreams.orders.limits.connections: out of bounds"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nbalance = \"random\"\n", "\"random\"", "upstreams.orders.balance: \"random\" is not one"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nbalance = { hash = \"sub\" }\n", "\"sub\"", "upstreams.orders.balance.hash: \"sub\" is not one"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nbalance = { hash = { header = \"x y\" } }\n", "\"x y\"", "upstreams.orders.balance.hash.header: "),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\neject.for = \"0s\"\n", "\"0s\"", "upstreams.orders.eject.for: it cannot be zero"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nretries.attempts = 4\n", "4", "upstreams.orders.retries.attempts: out of bounds"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nretries.budget = \"20\"\n", "\"20\"", "upstreams.orders.retries.budget: not a whole number from 0 to 100 with a %"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nhealth = {}\n", "{}", "upstreams.orders.health: `path` is missing"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nhealth.path = \"healthz\"\n", "\"healthz\"", "upstreams.orders.health.path: not a path that begins with /"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nhealth = { path = \"/\", unhealthy_after = 0 }\n", "0", "upstreams.orders.health.unhealthy_after: out of bounds"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nresolve = \"0\"\n", "\"0\"", "upstreams.orders.resolve: it cannot be zero"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\nopenapi = \"a.json\"\n", "openapi", "upstreams.orders.openapi: `openapi` is not built yet"),
        (ENDPOINTS, "endpoints = [\"http://127.0.0.1:1\"]\ntimeout = {}\n", "timeout", "upstreams.orders.timeout: unknown key `timeout`"),
    ]);
    check(Severity::Warning, &[
        (ENDPOINTS, "endpoints = [\"http://10.0.0.4\"]\n", "\"http://10.0.0.4\"", "upstreams.orders.endpoints[0]: tokens travel to this upstream in plaintext"),
    ]);
}

#[test]
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table")]
fn in_routes() {
    check(Severity::Error, &[
        (ROUTE, "\n", "[[routes]]", "routes[0]: `path` is missing"),
        (ROUTE, "path = \"orders\"\n", "\"orders\"", "routes[0].path: "),
        (ROUTE, "path = \"/o\"\nhost = \"a.test:80\"\n", "\"a.test:80\"", "routes[0].host: "),
        (ROUTE, "path = \"/o\"\nmethods = [\"get\"]\n", "\"get\"", "routes[0].methods[0]: methods are case-sensitive"),
        (ROUTE, "path = \"/o\"\nmethods = []\n", "[]", "routes[0].methods: an empty list"),
        (ROUTE, "path = \"/o\"\nmethods = [\"G T\"]\n", "\"G T\"", "routes[0].methods[0]: not a method"),
        (ROUTE, "path = \"/o\"\nmethods = [\"GET\", \"GET\"]\n", "\"GET\"", "routes[0].methods[1]: this method is already in the list"),
        (ROUTE, "path = \"/o\"\nmethods = [\"CONNECT\"]\n", "\"CONNECT\"", "routes[0].methods[0]: the gateway opens no tunnels"),
        (ROUTE, "path = \"/o\"\nmethods = [\"TRACE\"]\n", "\"TRACE\"", "routes[0].methods[0]: an answer to TRACE would show the token"),
        ("upstream = \"orders\"\n", "\n", "[[routes]]", "routes[0]: `upstream` is missing"),
        ("upstream = \"orders\"\n", "upstream = \"ordres\"\n", "\"ordres\"", "routes[0].upstream: there is no [upstreams.ordres]"),
        (ROUTE, "path = \"/o\"\nforward = \"all\"\n", "\"all\"", "routes[0].forward: \"all\" is not one"),
        (ROUTE, "path = \"/o\"\nforward = { client = \"x\" }\n", "\"x\"", "routes[0].forward.client: there is no [clients.x]"),
        (ROUTE, "path = \"/o\"\nforward = {}\n", "{}", "routes[0].forward: `client` is missing"),
        (ROUTE, "path = \"/o\"\ntimeout = \"0\"\n", "\"0\"", "routes[0].timeout: it cannot be zero"),
        (ROUTE, "path = \"/o\"\ntimeout = {}\n", "{}", "routes[0].timeout: an empty table"),
        (ROUTE, "path = \"/o\"\ntimeout = 30\n", "30", "routes[0].timeout: expected a string"),
        (ROUTE, "path = \"/o\"\ntimeout = { total = \"0s\" }\n", "\"0s\"", "routes[0].timeout.total: it cannot be zero"),
        (ROUTE, "path = \"/o\"\ntimeout = { connect = \"0s\", total = \"1s\" }\n", "\"0s\"", "routes[0].timeout.connect: it cannot be zero"),
        (ROUTE, "path = \"/o\"\ntimeout = { connection = \"1s\", total = \"1s\" }\n", "connection", "routes[0].timeout.connection: unknown key `connection`"),
        (ROUTE, "path = \"/o\"\nbody_max = \"lots\"\n", "\"lots\"", "routes[0].body_max: not a size"),
        (ROUTE, "path = \"/o\"\nname = \"é\"\n", "\"é\"", "routes[0].name: a route's name has at most 100"),
        (ROUTE, "path = \"/orders\"\nname = \"a\"\naccess = \"public\"\nupstream = \"orders\"\n[[routes]]\nname = \"a\"\npath = \"/p\"\n", "\"a\"", "routes[1].name: this route name is already at"),
        (ROUTE, "path = \"/orders\"\naccess = \"public\"\nupstream = \"orders\"\n[[routes]]\npath = \"/orders\"\n", "\"/orders\"", "routes[1].path: takes the same requests as the route at "),
        (ROUTE, "path = \"/o\"\nmode = \"report\"\n", "mode", "routes[0].mode: `mode` is not built yet"),
        (ROUTE, "path = \"/o\"\ncors = {}\n", "{}", "routes[0].cors: `origins` is missing"),
        (ROUTE, "path = \"/o\"\ncors.origins = []\n", "[]", "routes[0].cors.origins: an empty list"),
        (ROUTE, "path = \"/o\"\ncors.origins = [\"null\"]\n", "\"null\"", "routes[0].cors.origins[0]: every sandboxed frame"),
        (ROUTE, "path = \"/o\"\ncors.origins = [\"https://a.test/\"]\n", "\"https://a.test/\"", "routes[0].cors.origins[0]: an origin is a scheme, a host and a port"),
        (ROUTE, "path = \"/o\"\ncors.origins = [\"https://*.a.test\"]\n", "\"https://*.a.test\"", "routes[0].cors.origins[0]: an origin is allowed by its whole name"),
        (ROUTE, "path = \"/o\"\ncors.origins = [\"https://a.test\", \"https://a.test\"]\n", "\"https://a.test\"", "routes[0].cors.origins[1]: this origin is already in the list"),
        (ROUTE, "path = \"/o\"\ncors.origins = [\"https://a.test\", \"*\"]\n", "\"*\"", "routes[0].cors.origins[1]: `*` allows every origin"),
        (ROUTE, "path = \"/o\"\ncors = { origins = [\"*\"], credentials = true }\n", "[\"*\"]", "routes[0].cors.origins: with credentials every site could read"),
        (ROUTE, "path = \"/o\"\ncors = { origins = [\"*\"], headers = [\"*\"] }\n", "\"*\"", "routes[0].cors.headers[0]: `*` does not cover Authorization"),
        (ROUTE, "path = \"/o\"\ncors = { origins = [\"*\"], expose = [\"a b\"] }\n", "\"a b\"", "routes[0].cors.expose[0]: "),
        (ROUTE, "path = \"/o\"\nmethods = [\"GET\"]\ncors = { origins = [\"*\"], methods = [\"PUT\"] }\n", "[\"PUT\"]", "routes[0].cors.methods: the route does not take all of these"),
        (ROUTE, "path = \"/o\"\ncors = { origins = [\"*\"], max_age = 600 }\n", "600", "routes[0].cors.max_age: expected a string"),
        (SERVER_END, "[authorization_servers.main.dpop]\ntokens = \"always\"\n[authorization_servers.main.introspection]\n", "\"always\"", "authorization_servers.main.dpop.tokens: \"always\" is not one of the words"),
        (SERVER_END, "[authorization_servers.main.dpop]\nalgorithms = [\"HS256\"]\n[authorization_servers.main.introspection]\n", "\"HS256\"", "authorization_servers.main.dpop.algorithms[0]: \"HS256\" is no algorithm that proofs are checked with"),
        (SERVER_END, "[authorization_servers.main.dpop]\nalgorithms = [\"none\"]\n[authorization_servers.main.introspection]\n", "\"none\"", "authorization_servers.main.dpop.algorithms[0]: \"none\" is no algorithm"),
        (SERVER_END, "[authorization_servers.main.dpop]\nwindow = \"1h\"\n[authorization_servers.main.introspection]\n", "\"1h\"", "authorization_servers.main.dpop.window: proofs are made anew"),
        (SERVER_END, "[authorization_servers.main.dpop]\nnonce = \"1s\"\n[authorization_servers.main.introspection]\n", "\"1s\"", "authorization_servers.main.dpop.nonce: out of bounds"),
        (SERVER_END, "[authorization_servers.main.dpop]\nnonce_secret = { file = \"secret\" }\n[authorization_servers.main.introspection]\n", "{ file = \"secret\" }", "authorization_servers.main.dpop.nonce_secret: nothing makes use of this secret"),
        (SERVER_END, "[authorization_servers.main.dpop]\nreplay_entries = 1\n[authorization_servers.main.introspection]\n", "1", "authorization_servers.main.dpop.replay_entries: out of bounds"),
        (SERVER_END, "[authorization_servers.main.certificate_bound]\ntokens = 1\n[authorization_servers.main.introspection]\n", "1", "authorization_servers.main.certificate_bound.tokens: expected a string"),
        (LISTENER, "address = \"127.0.0.1:8080\"\nclient_certificate_header = { name = \"x-cert\", format = \"nginx\" }\n", "{ name = \"x-cert\", format = \"nginx\" }", "listeners[0].client_certificate_header: without `trusted_proxies` it counts from nobody"),
        (LISTENER, "address = \"127.0.0.1:8080\"\ntrusted_proxies = [\"10.0.0.0/8\"]\nclient_certificate_header = { name = \"x cert\", format = \"nginx\" }\n", "\"x cert\"", "listeners[0].client_certificate_header.name: no name of a field"),
        (LISTENER, "address = \"127.0.0.1:8080\"\ntrusted_proxies = [\"10.0.0.0/8\"]\nclient_certificate_header = { name = \"x-cert\", format = \"apache\" }\n", "\"apache\"", "listeners[0].client_certificate_header.format: \"apache\" is not one of the words"),
        (LISTENER, "address = \"127.0.0.1:8080\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\", client_certificates = \"any\" }\n", "\"any\"", "listeners[0].tls.client_certificates: \"any\" is not one of the words"),
        (ROUTE, "path = \"/o\"\nrewrite = { to = \"/\" }\n", "{ to = \"/\" }", "routes[0].rewrite: `prefix` is missing"),
        (ROUTE, "path = \"/o\"\nrewrite = { prefix = \"o\", to = \"/\" }\n", "\"o\"", "routes[0].rewrite.prefix: a path begins with /"),
        (ROUTE, "path = \"/o\"\nrewrite = { prefix = \"/o\", to = \"/../a\" }\n", "\"/../a\"", "routes[0].rewrite.to: no request can have the segment \"..\""),
        (ROUTE, "path = \"/o\"\nrewrite = { prefix = \"/api\", to = \"/\" }\n", "{ prefix = \"/api\", to = \"/\" }", "routes[0].rewrite: /o does not begin with /api"),
        (ROUTE, "path = \"/o/{id}\"\nrewrite = { prefix = \"/o/{id}\", to = \"/\" }\n", "{ prefix = \"/o/{id}\", to = \"/\" }", "routes[0].rewrite: a prefix is literal"),
        (ROUTE, "path = \"/o\"\nrewrite = { prefix = \"/o\", to = \"/p/\" }\n", "{ prefix = \"/o\", to = \"/p/\" }", "routes[0].rewrite: a prefix is made of whole segments"),
        (ROUTE, "path = \"/o\"\nrequest_headers = {}\n", "{}", "routes[0].request_headers: an empty table"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = []\n", "[]", "routes[0].request_headers.remove: an empty list"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = [\"a b\"]\n", "\"a b\"", "routes[0].request_headers.remove[0]: "),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { \"a b\" = \"1\" }\n", "\"a b\"", "routes[0].request_headers.set.a b: not a header name"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { x = \"é\" }\n", "\"é\"", "routes[0].request_headers.set.x: not a value that every reader takes alike"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { x = \" a\" }\n", "\" a\"", "routes[0].request_headers.set.x: not a value that every reader takes alike"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { x = \"a\\nb\" }\n", "\"a\\nb\"", "routes[0].request_headers.set.x: a control character is not allowed"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { x = 1 }\n", "1", "routes[0].request_headers.set.x: expected a string"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { Authorization = \"a\" }\n", "Authorization", "routes[0].request_headers.set.Authorization: this header carries a credential"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = [\"DPoP\"]\n", "\"DPoP\"", "routes[0].request_headers.remove[0]: this header carries a credential"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = [\"Content_Length\"]\n", "\"Content_Length\"", "routes[0].request_headers.remove[0]: this header belongs to one connection"),
        (ROUTE, "path = \"/o\"\nrequest_headers.add = { connection = \"x\" }\n", "connection", "routes[0].request_headers.add.connection: this header belongs to one connection"),
        (ROUTE, "path = \"/o\"\nrequest_headers.add = { x-request-id = \"x\" }\n", "x-request-id", "routes[0].request_headers.add.x-request-id: the gateway sets this header"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { x-forwarded-proto = \"https\" }\n", "x-forwarded-proto", "routes[0].request_headers.set.x-forwarded-proto: this header says where a request comes from"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { \"x.forwarded.for\" = \"a\" }\n", "\"x.forwarded.for\"", "routes[0].request_headers.set.x.forwarded.for: this header says where"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = [\"host\"]\n", "\"host\"", "routes[0].request_headers.remove[0]: every request has one host"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { host = \"a/b\" }\n", "\"a/b\"", "routes[0].request_headers.set.host: not a host"),
        (ROUTE, "path = \"/o\"\nrequest_headers.set = { host = \"u@a\" }\n", "\"u@a\"", "routes[0].request_headers.set.host: not a host"),
        (ROUTE, "path = \"/o\"\nrequest_headers = { set = { x-a = \"1\" }, remove = [\"X_A\"] }\n", "\"X_A\"", "routes[0].request_headers.remove[0]: this header is already in this table"),
        (ROUTE, "path = \"/o\"\nrequest_headers.remove = [\"x_sub\"]\nidentity_headers = { x-sub = \"sub\" }\n", "request_headers", "routes[0].request_headers: the route at "),
        (ROUTE, "path = \"/o\"\nresponse_headers.remove = [\"WWW-Authenticate\"]\n", "\"WWW-Authenticate\"", "routes[0].response_headers.remove[0]: no proxy may change a challenge"),
        (ROUTE, "path = \"/o\"\nresponse_headers.set = { access-control-allow-origin = \"*\" }\n", "access-control-allow-origin", "routes[0].response_headers.set.access-control-allow-origin: a browser would heed"),
        (ROUTE, "path = \"/o\"\nresponse_headers.set = { transfer-encoding = \"gzip\" }\n", "transfer-encoding", "routes[0].response_headers.set.transfer-encoding: this header belongs to one connection"),
        (ROUTE, "path = \"/o\"\nscopes = [\"a\"]\n", "scopes", "routes[0].scopes: unknown key `scopes`"),
        (ROUTE, "path = \"/o\"\nupgrade = {}\n", "{}", "routes[0].upgrade: `protocols` is missing"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [] }\n", "[]", "routes[0].upgrade.protocols: an empty list"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [\"*\"] }\n", "\"*\"", "routes[0].upgrade.protocols[0]: not the name of one protocol"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [\"h2c\"] }\n", "\"h2c\"", "routes[0].upgrade.protocols[0]: requests would travel in it"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [\"HTTP/2\"] }\n", "\"HTTP/2\"", "routes[0].upgrade.protocols[0]: requests would travel in it"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [\"websocket\", \"WebSocket\"] }\n", "\"WebSocket\"", "routes[0].upgrade.protocols[1]: this protocol is already"),
        (ROUTE, "path = \"/o\"\nupgrade = { protocols = [\"websocket\"], idle_timeout = \"0\" }\n", "\"0\"", "routes[0].upgrade.idle_timeout: it cannot be zero"),
        (ENDPOINTS, "endpoints = [\"h2c://127.0.0.1:9000\"]\n[[routes]]\npath = \"/w\"\nupstream = \"orders\"\naccess = \"public\"\nupgrade = { protocols = [\"websocket\"] }\n", "{ protocols = [\"websocket\"] }", "routes[0].upgrade: an endpoint of its upstream speaks HTTP/2 alone"),
        (ROUTE, "path = \"/o\"\nidentity_headers = {}\n", "{}", "routes[0].identity_headers: an empty table"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { \"x y\" = \"sub\" }\n", "\"x y\"", "routes[0].identity_headers.x y: not a header name"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { Authorization = \"sub\" }\n", "Authorization", "routes[0].identity_headers.Authorization: this header has a meaning of its own"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { X_Forwarded_For = \"sub\" }\n", "X_Forwarded_For", "routes[0].identity_headers.X_Forwarded_For: this header has a meaning of its own"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { content-length = \"sub\" }\n", "content-length", "routes[0].identity_headers.content-length: this header has"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { x-a = \"sub\", X_A = \"iss\" }\n", "x-a", "routes[0].identity_headers.x-a: upstreams take this for a header"),
        (ROUTE, "path = \"/o\"\nidentity_headers = { x-a = \"\" }\n", "\"\"", "routes[0].identity_headers.x-a: an empty string"),
    ]);
}

#[test]
#[rustfmt::skip]
fn in_access() {
    check(Severity::Error, &[
        (ACCESS, "\n", "[[routes]]", "routes[0]: `access` is missing"),
        (ACCESS, "access = \"private\"\n", "\"private\"", "routes[0].access: neither \"public\" nor"),
        (ACCESS, "access = true\n", "true", "routes[0].access: neither \"public\" nor"),
        (ACCESS, "access = {}\n", "{}", "routes[0].access: it asks for nothing, so any token would pass"),
        (ACCESS, "access = { scopes = [] }\n", "[]", "routes[0].access.scopes: an empty list"),
        (ACCESS, "access = { scopes = \"a\" }\n", "\"a\"", "routes[0].access.scopes: expected a list, found a string"),
        (ACCESS, "access = { scopes = [\"a b\"] }\n", "\"a b\"", "routes[0].access.scopes[0]: character 2 is not allowed in a scope (RFC 6749 §3.3)"),
        (ACCESS, "access = { any_scope = [\"é\"] }\n", "\"é\"", "routes[0].access.any_scope[0]: character 1 is not allowed"),
        (ACCESS, "access = { claims = {} }\n", "{}", "routes[0].access.claims: an empty table"),
        (ACCESS, "access = { claims = { a = [] } }\n", "[]", "routes[0].access.claims.a: an empty list"),
        (ACCESS, "access = { claims = { a = \"b\" } }\n", "\"b\"", "routes[0].access.claims.a: expected a list"),
        (ACCESS, "access = { claims = { a = [1.5] } }\n", "1.5", "routes[0].access.claims.a[0]: a number with a point cannot be compared"),
        (ACCESS, "access = { claims = { aud = [\"x\"] } }\n", "aud", "routes[0].access.claims.aud: the audience is checked by `audiences`"),
        (ACCESS, "access = { scope = [\"a\"] }\n", "scope", "routes[0].access.scope: unknown key `scope`"),
        (ACCESS, "access = { scopes = [\"a\"] }\naudiences = []\n", "[]", "routes[0].audiences: an empty list"),
        (ACCESS, "access = { scopes = [\"a\"] }\naccept = []\n", "[]", "routes[0].accept: an empty list"),
        (ACCESS, "access = { scopes = [\"a\"] }\naccept = [\"Bearer\"]\n", "\"Bearer\"", "routes[0].accept[0]: \"Bearer\" is not one"),
        (ACCESS, "access = { scopes = [\"a\"] }\nauthorization_servers = [\"x\"]\n", "\"x\"", "routes[0].authorization_servers[0]: there is no [authorization_servers.x]"),
        (ACCESS, "access = { scopes = [\"a\"] }\nauthorization_servers = [\"main\", \"main\"]\n", "\"main\"", "routes[0].authorization_servers[1]: this server is already in the list"),
        (ACCESS, "access = { scopes = [\"a\"] }\nprincipal = \"machine\"\n", "\"machine\"", "routes[0].principal: \"machine\" is not one"),
        (ACCESS, "access = \"public\"\nprincipal = \"user\"\n", "\"user\"", "routes[0].principal: a public route checks no token"),
        (ACCESS, "access = \"public\"\naccept = [\"basic\"]\n", "[\"basic\"]", "routes[0].accept: a public route checks no token"),
        (ACCESS, "access = \"public\"\naudiences = [\"a\"]\n", "[\"a\"]", "routes[0].audiences: a public route checks no token"),
        (ACCESS, "access = \"public\"\nupgrade = { protocols = [\"websocket\"], ends_with_token = false }\n", "false", "routes[0].upgrade.ends_with_token: a public route checks no token"),
        (ACCESS, "access = \"public\"\nidentity_headers = { x-a = \"sub\" }\n", "{ x-a = \"sub\" }", "routes[0].identity_headers: a public route checks no token"),
    ]);
}

const SECOND_SERVER: &str = "[authorization_servers.second]\nissuer = \"https://b.test\"\n\
    audiences = [\"a\"]\n";

#[test]
fn an_opaque_token_and_a_basic_credential_have_one_place_to_go() {
    let folder = Folder::new();
    let with = |server: &str, route: &str| {
        let text = BASE.replace("[clients", &format!("{SECOND_SERVER}{server}[clients"));
        let text = text.replace(ACCESS, &format!("{ACCESS}{route}"));
        let problems = folder.parse(&text).err();
        problems.map(|all| all.iter().map(|one| format!("{}: {}", one.key(), one.what())).collect())
    };
    let introspection = "[authorization_servers.second.introspection]\nclient_id = \"g\"\n\
        client_secret = { file = \"secret\" }\n";
    let told = |text: &str| Some(vec![text.to_owned()]);
    let opaque = "an opaque token could go to main or to second, and must have one place";
    let basic = "a Basic credential could go to several servers, and must have one place";
    #[rustfmt::skip]
    let cases = [
        ("",            "",                                                            None),
        (introspection, "",                                                            told(&format!("routes[0]: {opaque}"))),
        (introspection, "authorization_servers = [\"second\"]",                        None),
        (introspection, "authorization_servers = [\"main\", \"second\"]",              told(&format!("routes[0].authorization_servers: {opaque}"))),
        ("",            "accept = [\"basic\"]",                                        told(&format!("routes[0].accept: {basic}"))),
        ("",            "accept = [\"basic\"]\nauthorization_servers = [\"second\"]",  None),
    ];
    for (server, route, expected) in cases {
        assert_eq!(with(server, route), expected, "{server}{route}");
    }
}

#[test]
fn a_server_whose_tokens_are_all_bound_has_no_route_that_takes_basic() {
    let folder = Folder::new();
    let told = |table: &str, tokens: &str, accept: &str| -> Vec<String> {
        let route = format!("{ACCESS}accept = {accept}\n");
        let server =
            format!("[authorization_servers.main.{table}]\ntokens = \"{tokens}\"\n{SERVER_END}");
        let text = BASE.replacen(ACCESS, &route, 1).replacen(SERVER_END, &server, 1);
        let problems =
            folder.parse(&text).map_or_else(|all| all.iter().cloned().collect(), |_| vec![]);
        let of_route = problems.iter().filter(|one: &&Problem| one.key().starts_with("routes"));
        of_route.map(|one| format!("{}: {}", one.key(), one.what())).collect()
    };
    for table in ["dpop", "certificate_bound"] {
        for accept in ["[\"basic\"]", "[\"bearer\", \"basic\"]"] {
            let expected = format!(
                "routes[0].accept: [authorization_servers.main.{table}] has tokens = \"required\", and \
                 what a Basic credential is worth is bound to nothing"
            );
            assert_eq!(told(table, "required", accept), [expected]);
            assert!(told(table, "if_bound", accept).is_empty(), "{table} {accept}");
        }
        assert!(told(table, "required", "[\"bearer\"]").is_empty(), "{table}");
    }
}

#[test]
fn rfc9700_2_1_a_key_for_a_token_endpoint_signs_for_one_server_alone() {
    let folder = Folder::new();
    let key = std::fs::read_to_string(folder.0.join("tls.key")).unwrap();
    folder.write("copy.key", &format!("# the same key\n{key}\n"));
    let signs = |key: &str, audience: &str| {
        format!(
            "authentication = \"private_key_jwt\"\nclient_key = {{ file = \"{key}\" }}\n\
             assertion_audience = \"{audience}\"\n"
        )
    };
    let secret = "client_secret = { file = \"secret\" }\n";
    let with = |introspection: &str, server: &str, client: &str| {
        let text = BASE.replacen(secret, introspection, 1).replacen(secret, client, 1);
        let client_of = format!("authorization_server = \"{server}\"");
        let text = text.replace("authorization_server = \"main\"", &client_of);
        let text = text.replace("[clients", &format!("{SECOND_SERVER}[clients"));
        let problems = folder.parse(&text).err().map(|all| all.to_string());
        let line = |key: &str| {
            let found = text.lines().zip(1..).find(|(line, _)| line.contains(key));
            found.map(|(_, number)| format!("x.toml:{number}:"))
        };
        (problems, line("tls.key"), line("copy.key"))
    };
    #[rustfmt::skip]
    let cases = [
        // the first server's use               a client      its use                               a mistake
        (signs("tls.key", "token_endpoint"),    "second",     signs("copy.key", "issuer"),          true),
        (signs("tls.key", "issuer"),            "second",     signs("copy.key", "token_endpoint"),  true),
        (signs("tls.key", "token_endpoint"),    "second",     signs("copy.key", "token_endpoint"),  true),
        (signs("tls.key", "issuer"),            "second",     signs("copy.key", "issuer"),          false),
        (signs("tls.key", "token_endpoint"),    "main",       signs("copy.key", "issuer"),          false),
        (signs("tls.key", "token_endpoint"),    "second",     signs("other.key", "token_endpoint"), false),
    ];
    for (introspection, server, client, is_wrong) in cases {
        let (problems, first, second) = with(&introspection, server, &client);
        let claim = format!("{introspection}{server} {client}");
        assert_eq!(problems.is_some(), is_wrong, "{claim}: {problems:?}");
        let Some(problems) = problems else { continue };
        let both = [first.unwrap(), second.unwrap()];
        assert!(both.iter().all(|place| problems.contains(place)), "{both:?} in {problems}");
        assert!(problems.contains("clients.reports.client_key: this key also"), "{problems}");
    }
}

#[test]
fn without_listeners_routes_or_servers_nothing_works() {
    let folder = Folder::new();
    let told = |text: &str| -> Vec<String> {
        folder.parse(text).unwrap_err().iter().map(|problem| problem.what().to_owned()).collect()
    };
    assert_eq!(told(""), ["`routes` is missing", "`listeners` is missing"]);
    let text =
        "[[listeners]]\naddress = \"127.0.0.1:1\"\n[upstreams.a]\nendpoints = [\"unix:/a\"]\n";
    let route = |path| format!("[[routes]]\npath = \"{path}\"\nupstream = \"a\"\n{ACCESS}");
    let text = format!("{text}{}{}", route("/a"), route("/b"));
    assert_eq!(told(&text), ["there is no authorization server whose tokens it could take"]);
}
