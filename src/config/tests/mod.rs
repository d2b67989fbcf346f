//! What is true of configurations as a whole.

mod mistakes;
mod reference;
mod rules;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::oauth::Plaintext;

/// A configuration without a mistake that uses each table.
const BASE: &str = r#"
[[listeners]]
address = "127.0.0.1:8080"
[admin]
address = "127.0.0.1:9901"
[authorization_servers.main]
issuer = "https://login.example.com"
audiences = ["https://api.example.com"]
[authorization_servers.main.introspection]
client_id = "gateway"
client_secret = { file = "secret" }
[clients.reports]
authorization_server = "main"
client_id = "reports"
client_secret = { file = "secret" }
[upstreams.orders]
endpoints = ["http://127.0.0.1:9000"]
[[routes]]
path = "/orders"
upstream = "orders"
access = { scopes = ["orders:read"] }
"#;

/// A certificate for `localhost` and its key, PEM.
pub(super) fn pair() -> (String, String) {
    pair_of("localhost")
}

/// The same for any name.
fn pair_of(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A folder with files that configurations name; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("scopegate-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        let (certificate, key) = pair();
        folder.write("secret", &"s".repeat(32));
        folder.write("empty", "");
        folder.write("tls.crt", &certificate);
        folder.write("tls.key", &key);
        folder.write("junk.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        folder.write("other.key", &pair().1);
        folder.write("jwks.json", r#"{ "keys": [{ "kty": "OKP" }] }"#);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn source(&self, name: &str, text: &str) -> Source {
        Source { path: self.0.join(name), text: text.to_owned() }
    }

    fn parse(&self, text: &str) -> Result<Loaded, Problems> {
        parse(vec![self.source("x.toml", text)], Plaintext::Refused)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn what_is_written_is_what_is_meant() {
    let folder = Folder::new();
    let text = BASE
        .replace("path = \"/orders\"", "path = \"/orders\"\nforward = { client = \"reports\" }")
        .replace("[[listeners]]", "[caches]\ntokens = 5\n[drain]\ndelay = \"0\"\n[[listeners]]");
    let Loaded { config, warnings } = folder.parse(&text).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(
        config.caches,
        Caches { tokens: 5, negative: 10_000, basic: 10_000, exchanged: 10_000, signed: 10_000 }
    );
    assert_eq!((config.drain.delay, config.drain.timeout.as_secs()), (Duration::ZERO, 30));
    let [route] = &config.routes[..] else { panic!("one route") };
    assert_eq!((route.forward, &*route.name), (Forward::Client(0), "/orders"));
    assert_eq!((&route.servers[..], route.opaque_server), (&[0][..], Some(0)));
    let server = &config.servers[0];
    assert_eq!(server.algorithms.len(), 10);
    assert_eq!(server.introspection.as_ref().unwrap().cache_ttl.as_secs(), 60);
    assert_eq!(config.listeners[0].limits.header_max, 65_536);
}

#[test]
fn two_routes_have_the_same_terms_if_only_what_they_are_found_by_differs() {
    let folder = Folder::new();
    let rest = "access = { scopes = [\"orders:read\"] }\nupstream = \"orders\"";
    let other = "[upstreams.other]\nendpoints = [\"http://127.0.0.1:9001\"]\n[[routes]]";
    let first = BASE.replace("[[routes]]", other);
    let has_terms_of_the_first = |second: &str| {
        let text = format!("{first}[[routes]]\n{second}\n");
        let config = folder.parse(&text).unwrap().config;
        let [first, second] = &config.routes[..] else { panic!("two routes") };
        second.has_terms_of(first)
    };
    for found_by in [
        "path = \"/x\"",
        "path = \"/orders\"\nhost = \"a.test\"",
        "path = \"/x\"\nmethods = [\"GET\"]",
    ] {
        assert!(has_terms_of_the_first(&format!("{found_by}\nname = \"x\"\n{rest}")), "{found_by}");
    }
    for other in [
        "access = { scopes = [\"orders:read\"] }\nupstream = \"other\"",
        "access = { scopes = [\"orders:write\"] }\nupstream = \"orders\"",
        "access = \"public\"\nupstream = \"orders\"",
        &format!("{rest}\naudiences = [\"x\"]"),
        &format!("{rest}\nforward = \"none\""),
        &format!("{rest}\ntimeout = \"3s\""),
        &format!("{rest}\nbody_max = \"1KiB\""),
        &format!("{rest}\nupgrade = {{ protocols = [\"websocket\"] }}"),
        &format!("{rest}\nidentity_headers = {{ \"x-user\" = \"sub\" }}"),
    ] {
        assert!(!has_terms_of_the_first(&format!("path = \"/x\"\n{other}")), "{other}");
    }
}

#[test]
fn ten_mistakes_are_told_at_once() {
    let folder = Folder::new();
    let text = r#"
realm = "é"
[[listeners]]
addres = "127.0.0.1:8080"
[authorization_servers.main]
issuer = "http://login.example.com"
algorithms = ["none"]
[clients.reports]
authorization_server = "mian"
client_id = "reports"
client_secret = "hunter2"
[upstreams.orders]
endpoints = []
[[routes]]
path = "/orders"
upstream = "ordres"
access = { scopes = ["orders read"] }
timeout = "30"
[[routes]]
path = "/health"
upstream = "orders"
"#;
    let problems = folder.parse(text).unwrap_err();
    let told: Vec<(usize, &str)> = problems
        .iter()
        .map(|problem| (problem.place().excerpt.as_ref().unwrap().line, problem.key()))
        .collect();
    let expected = [
        (2, "realm"),
        (4, "listeners[0].addres"),
        (6, "authorization_servers.main.issuer"),
        (7, "authorization_servers.main.algorithms[0]"),
        (9, "clients.reports.authorization_server"),
        (11, "clients.reports.client_secret"),
        (13, "upstreams.orders.endpoints"),
        (16, "routes[0].upstream"),
        (17, "routes[0].access.scopes[0]"),
        (18, "routes[0].timeout"),
        (19, "routes[1]"),
    ];
    assert_eq!(told, expected);
    assert!(!problems.to_string().contains("hunter2"), "a secret is not shown");
}

#[test]
fn a_problem_shows_the_place_the_line_and_what_to_write() {
    let text = BASE.replace("[\"orders:read\"]", "[\"orders read\"]");
    let problems = Folder::new().parse(&text).unwrap_err();
    let shown = problems.to_string();
    let (_, shown) = shown.split_once("x.toml").unwrap();
    let expected = "\
:21:22: error: routes[0].access.scopes[0]: character 7 is not allowed in a scope (RFC 6749 §3.3): \
no space, no \" and \\, only printable ASCII; write two scopes as two strings
 21 | access = { scopes = [\"orders read\"] }
    |                      ^^^^^^^^^^^^^
    = write each scope as a string of its own: [\"a\", \"b\"]";
    assert_eq!(shown, expected);
}

#[test]
fn files_of_a_folder_add_up_in_the_order_of_their_names() {
    let folder = Folder::new();
    let (first, second) = BASE.split_once("[upstreams.orders]").unwrap();
    folder.write("d/10.toml", &first.replace("\"secret\"", "\"../secret\""));
    folder.write("d/20.toml", &format!("[upstreams.orders]{second}"));
    folder.write(
        "d/30.toml",
        "[[routes]]\npath = \"/more\"\nupstream = \"orders\"\naccess = \"public\"",
    );
    let loaded = load(&folder.0.join("d"), Plaintext::Refused).unwrap();
    let names: Vec<&str> = loaded.config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/orders", "/more"]);
    folder.write("d/40.toml", "[log]\nlevel = \"info\"");
    folder.write("d/50.toml", "[log]\nformat = \"json\"\nlevel = \"debug\"");
    let problems = load(&folder.0.join("d"), Plaintext::Refused).unwrap_err().to_string();
    assert!(problems.contains("50.toml:3:1: error: log.level: already defined at"), "{problems}");
    assert!(problems.contains("40.toml:2:1"), "{problems}");
}

#[test]
fn a_path_that_is_not_there_is_told_and_so_is_an_empty_folder() {
    let folder = Folder::new();
    for path in ["no-such-file.toml", "."] {
        let problems = load(&folder.0.join(path), Plaintext::Refused).unwrap_err();
        assert_eq!(problems.iter().count(), 1, "{path}");
    }
}

#[test]
fn http_issuers_are_for_loopback_and_dev_alone() {
    let folder = Folder::new();
    let with = |issuer: &str, plaintext| {
        let text = BASE.replace("https://login.example.com", issuer);
        parse(vec![folder.source("x.toml", &text)], plaintext).is_ok()
    };
    assert!(with("http://127.0.0.1:9000", Plaintext::Allowed));
    assert!(!with("http://127.0.0.1:9000", Plaintext::Refused));
    assert!(!with("http://login.example.com", Plaintext::Allowed));
}

#[test]
fn a_verdict_keeps_the_claims_that_its_routes_name() {
    let text = BASE.replace(
        "access = { scopes = [\"orders:read\"] }",
        "access = { claims = { team = [\"it\"], sub = [\"x\"] } }\n\
         identity_headers = { x-mail = \"email\", x-sub = \"sub\", x-team = \"team\", x-aud = \"aud\" }",
    );
    let loaded = Folder::new().parse(&text).unwrap();
    let kept: Vec<&str> = loaded.config.servers[0].kept_claims.iter().map(|one| &**one).collect();
    assert_eq!(kept, ["email", "team"]);
    assert_eq!(loaded.config.routes[0].edits.identity_names().count(), 4);
}

#[test]
fn the_digest_is_that_of_the_sources() {
    let folder = Folder::new();
    let digest = |text: &str| folder.parse(text).unwrap().config.digest;
    assert_eq!(digest(BASE), digest(BASE));
    assert_ne!(digest(BASE), digest(&format!("{BASE}# more")));
}

#[test]
fn after_a_syntax_error_nothing_is_said_to_be_missing() {
    let folder = Folder::new();
    let problems = folder.parse("[[listeners]]\naddress = 127.0.0.1\n[routes\n").unwrap_err();
    for problem in problems.iter() {
        assert!(!problem.what().contains("missing"), "{problem}");
    }
    let problems = folder.parse("[[listeners]]\naddress = 127.0.0.1\n").unwrap_err();
    assert_eq!(problems.iter().count(), 1, "one problem for one line: {problems}");
    let problems = folder.parse("[x]\nclient_secret = hunter2 x\n").unwrap_err().to_string();
    assert!(problems.contains("x.toml:2:"), "{problems}");
    assert!(!problems.contains("hunter2"), "a secret is not shown: {problems}");
}

#[test]
fn nothing_of_a_file_steers_the_terminal() {
    let problems = Folder::new().parse("\"a\\u001b[31m\" = 1\n# \u{1b}[31m").unwrap_err();
    assert!(!problems.to_string().contains('\u{1b}'), "{problems:?}");
}
