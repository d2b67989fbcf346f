//! The invariants of the architecture, a test for each, under its number.
//!
//! Some are kept by how the code is written: those read `src/`, without its tests and comments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::keys::SigningKey;
use crate::harness::world::{ORDERS, Setup, endpoints};
use crate::harness::{Backend, Reply, World, eventually, unix_now};

/// A source file: its path below `src/`, and its lines without comments and without tests.
struct Source {
    path: String,
    lines: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines =
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let lines = lines
            .map(|(at, line)| (at + 1, line.split(" // ").next().unwrap_or_default().to_owned()));
        let path = path.strip_prefix(&root).unwrap().display().to_string();
        Source { path, lines: lines.collect() }
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["tests", "testing"].contains(&name.as_str()) {
            continue; // what only tests compile
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Where lines with one of `words` stand outside `rooms`.
fn outside(rooms: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        if rooms.iter().any(|room| source.path.starts_with(room)) {
            continue;
        }
        for (number, line) in &source.lines {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

async fn opaque_world(
    introspection: &str,
    answer: fn(&str) -> serde_json::Value,
) -> (Backend, Backend, crate::harness::Gateway) {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        Reply::status(200)
            .header("content-type", "application/json")
            .body(answer(&body).to_string())
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&server.url(), introspection))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/a", access = { scopes = ["a"] }"#)
        .route(r#"path = "/b", access = { scopes = ["b"] }"#)
        .start()
        .await;
    (server, upstream, gateway)
}

fn active(_: &str) -> serde_json::Value {
    json!({ "active": true, "scope": "a", "aud": AUDIENCE, "client_id": "app" })
}

#[test]
fn invariant_01_no_upstream_call_without_a_permit_and_only_policy_makes_one() {
    let made: Vec<_> = outside(&["policy/"], &["Permit {", "Permit{", "Permit::new(", "Permit("])
        .into_iter()
        .filter(|line| {
            !["impl", "struct", "-> ", "fn ", "use "].iter().any(|word| line.contains(word))
        })
        .collect();
    assert!(made.is_empty(), "a Permit is made outside policy: {made:#?}");
    let forward = sources()
        .into_iter()
        .filter(|source| source.path.starts_with("upstream/"))
        .flat_map(|source| source.lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>())
        .skip_while(|line| !line.contains("pub fn forward("))
        .take(3)
        .collect::<String>();
    assert!(forward.contains("&Permit"), "upstream::forward asks for a permit: {forward}");
    // `cli/admin` asks the admin listener of another process.
    let rooms = ["upstream/", "base/", "outbound/", "dev/", "cli/admin.rs"];
    let around = outside(&rooms, &["legacy::Client", "client::conn"]);
    assert!(around.is_empty(), "another way to an upstream: {around:#?}");
}

#[test]
fn invariant_02_a_raw_token_lives_from_credential_to_verify() {
    let rooms = ["oauth/", "credential/", "verify/", "grant/", "gateway/", "dev/", "cli/"];
    let found = outside(&rooms, &["RawToken"]);
    assert!(found.is_empty(), "raw tokens elsewhere: {found:#?}");
    let token = scopegate::oauth::RawToken::new("mF_9.B5f-4.1JqM");
    assert!(!format!("{token:?}").contains("mF_9"), "Debug shows it");
}

#[tokio::test]
async fn invariant_03_a_cached_verdict_outlives_neither_exp_nor_the_cap_nor_its_key() {
    let (server, _upstream, gateway) = opaque_world("cache_ttl = \"1s\"", active).await;
    assert_eq!(gateway.get("/a").bearer("opaque").send().await.status, 200);
    assert_eq!(server.count(), 1);
    eventually("the cap", async || {
        assert_eq!(gateway.get("/a").bearer("opaque").send().await.status, 200);
        (server.count() == 2).then_some(())
    })
    .await;

    let expiring =
        |_: &str| json!({ "active": true, "scope": "a", "aud": AUDIENCE, "exp": unix_now() + 2 });
    let (server, _upstream, gateway) = opaque_world("cache_ttl = \"60s\"", expiring).await;
    assert_eq!(gateway.get("/a").bearer("opaque").send().await.status, 200);
    eventually("exp", async || {
        gateway.get("/a").bearer("opaque").send().await;
        (server.count() > 1).then_some(())
    })
    .await;

    let issuer = TestIssuer::new();
    let keys = Backend::start().await;
    let jwks = issuer.jwks().to_string();
    keys.answer(move |_| {
        Reply::status(200).header("content-type", "application/json").body(jwks.clone())
    });
    let upstream = Backend::start().await;
    let table = format!(
        "[authorization_servers.main]\nissuer = \"{}\"\naudiences = [\"{AUDIENCE}\"]\njwks_uri = \"{}/jwks\"\n\
         jwks = {{ refresh = \"1s\", cooldown = \"1s\" }}",
        issuer.name,
        keys.url()
    );
    let gateway =
        Setup::new().table(&table).upstream("api", &upstream.url(), "").route(ORDERS).start().await;
    let token = issuer.token().scopes("orders:read").sign();
    assert_eq!(gateway.get("/orders/1").bearer(&token).send().await.status, 200);
    let stranger = json!({ "keys": [SigningKey::new("ES256", "new").jwk()] }).to_string();
    keys.answer(move |_| {
        Reply::status(200).header("content-type", "application/json").body(stranger.clone())
    });
    eventually("the end of the key's verdicts", async || {
        (gateway.get("/orders/1").bearer(&token).send().await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn invariant_04_a_verdict_is_about_the_token_alone() {
    let (server, _upstream, gateway) = opaque_world("", active).await;
    for (path, status) in [("/a", 200), ("/b", 403), ("/a", 200), ("/b", 403)] {
        assert_eq!(gateway.get(path).bearer("first-a").send().await.status, status, "{path}");
    }
    for (path, status) in [("/b", 403), ("/a", 200)] {
        assert_eq!(gateway.get(path).bearer("first-b").send().await.status, status, "{path}");
    }
    assert_eq!(server.count(), 2, "each token was asked about once");
}

#[tokio::test]
async fn invariant_05_unknown_means_refuse() {
    let (server, upstream, gateway) = opaque_world("", |_| json!("neither yes nor no")).await;
    let response = gateway.get("/a").bearer("opaque").send().await;
    assert_eq!((response.status, response.error().as_str()), (503, "-"));
    server.answer(|_| Reply::status(200).broken_off().body("{\"active\":true"));
    assert_eq!(gateway.get("/a").bearer("another").send().await.status, 503);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn invariant_06_one_unseen_token_is_one_call_and_unknown_keys_are_one_fetch() {
    let (server, upstream, gateway) = opaque_world("", active).await;
    let statuses = gateway.at_once("/a", &vec!["Bearer opaque".to_owned(); 1_000]).await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!((server.count(), upstream.count()), (1, 1_000));

    let issuer = TestIssuer::new();
    let jwks = issuer.jwks().to_string();
    let keys = Backend::answering(move |_| {
        Reply::status(200).header("content-type", "application/json").body(jwks.clone())
    })
    .await;
    let table = format!(
        "[authorization_servers.main]\nissuer = \"{}\"\naudiences = [\"{AUDIENCE}\"]\njwks_uri = \"{}/jwks\"",
        issuer.name,
        keys.url()
    );
    let gateway =
        Setup::new().table(&table).upstream("api", &upstream.url(), "").route(ORDERS).start().await;
    let before = keys.count();
    let unknown = |serial: usize| {
        let token = issuer.token().header("kid", format!("unknown-{serial}")).scopes("orders:read");
        format!("Bearer {}", token.sign())
    };
    let bearers: Vec<_> = (0..200).map(unknown).collect();
    let statuses = gateway.at_once("/orders/1", &bearers).await;
    assert!(statuses.iter().all(|status| *status == 401));
    assert!(keys.count() - before <= 1, "{} fetches", keys.count() - before);
}

#[tokio::test]
async fn invariant_07_the_path_that_was_routed_is_the_path_that_is_sent() {
    let world = World::with(&[r#"path = "/{*rest}", access = "public""#]).await;
    for (target, sent) in [("/%41", "/A"), ("/%c3%a9", "/%C3%A9")] {
        let response = world.gateway.get(target).send().await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_eq!(
            world.upstream.last().target,
            sent,
            "the one normal form (RFC 3986 section 6.2.2)"
        );
    }
    for target in [
        "/a",
        "/a/b",
        "/a%20b",
        "/%C3%A9",
        "/a:b@c",
        "/a,v=1,2",
        "/~a-b_c.d",
        "/a?x=/../y&z=%2F;v=1",
        "/a!$&'()*+,=",
        "/a?",
        "/a/b.c/d",
    ] {
        let response = world.gateway.get(target).send().await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_eq!(world.upstream.last().target, target);
    }
    let before = world.upstream.count();
    for target in [
        "/a;v=1,2", "/a%3Bv", "/a/../b", "/a%2fb", "/a%5cb", "/a\\b", "/%00", "/%zz", "/.",
        "/a/%2e",
    ] {
        assert_eq!(world.gateway.get(target).send().await.status, 400, "{target}");
    }
    assert_eq!(world.upstream.count(), before);
}

#[tokio::test]
async fn invariant_07_a_rewritten_path_is_what_the_literal_rewrite_makes_of_the_routed_one() {
    let world = World::with(&[
        r#"path = "/api/{*rest}", access = "public", rewrite = { prefix = "/api", to = "/" }"#,
        r#"path = "/v1/me/{*rest}", access = "public", rewrite = { prefix = "/v1", to = "/v2" }"#,
        r#"path = "/admin/{*rest}", access = { scopes = ["admin"] }"#,
    ])
    .await;
    #[rustfmt::skip]
    let cases = [
        ("/api/orders/7",            "/orders/7",          Some("/api")),
        ("/api/orders/?a=/api/&b=%2F..", "/orders/?a=/api/&b=%2F..", Some("/api")),
        ("/%61pi/%c3%a9",            "/%C3%A9",            Some("/api")),
        ("/api/api/x",               "/api/x",             Some("/api")),
        ("/api/x?",                  "/x?",                Some("/api")),
        ("/v1/me/%20",               "/v2/me/%20",         None),
        ("/api/{id}",                "/{id}",              Some("/api")),
    ];
    for (target, sent, outer) in cases {
        let request = world.gateway.get(target).header("x-forwarded-prefix", "/forged");
        let response = request.send().await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        let seen = world.upstream.last();
        assert_eq!(seen.target, sent);
        assert_eq!(seen.header("x-forwarded-prefix"), outer, "{target}");
    }
    let before = world.upstream.count();
    for target in ["/api/../admin/x", "/api//admin/x", "/api/%2e%2e/admin", "/api/%2fx", "/api/;x"]
    {
        assert_eq!(world.gateway.get(target).send().await.status, 400, "{target}");
    }
    assert_eq!(world.gateway.get("/admin/x").send().await.status, 401);
    assert_eq!(world.gateway.get("/apix/x").send().await.status, 404);
    assert_eq!(world.upstream.count(), before);
}

#[tokio::test]
async fn invariant_08_identity_headers_of_a_caller_are_gone_before_ours_are_set() {
    let world = World::with(&[
        r#"path = "/id", access = { scopes = ["orders:read"] }, identity_headers = { "x-user-id" = "sub" }"#,
        r#"path = "/public", access = "public""#,
    ])
    .await;
    let names = ["x-user-id", "X-User-Id", "x_user_id", "x-user_id", "X_USER_ID"];
    for path in ["/id", "/public"] {
        let request = world.gateway.get(path).bearer(&world.token());
        let request = names.iter().fold(request, |request, name| request.header(name, "root"));
        assert_eq!(request.send().await.status, 200);
        let seen = world.upstream.last();
        let named = |name: &str| name.replace('_', "-") == "x-user-id";
        let values: Vec<_> = seen
            .headers
            .iter()
            .filter(|(name, _)| named(name))
            .map(|(_, value)| value.as_str())
            .collect();
        let expected = if path == "/id" { vec!["alice"] } else { vec![] };
        assert_eq!(values, expected, "{path}");
    }
}

#[tokio::test]
async fn invariant_09_what_grows_with_callers_has_a_bound() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(|_| {
        Reply::status(200).header("content-type", "application/json").body("{\"active\":false}")
    })
    .await;
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&server.url(), "negative_cache_ttl = \"60s\""))
        .table("[caches]\ntokens = 20\nnegative = 10\nbasic = 10")
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    for serial in 0..200 {
        assert_eq!(
            gateway.get("/orders/1").bearer(&format!("bad-{serial}")).send().await.status,
            401
        );
        let good = issuer.token().scopes("orders:read").sign();
        assert_eq!(gateway.get("/orders/1").bearer(&good).send().await.status, 200);
    }
    let status = eventually("caches within their bounds", async || {
        let status = gateway.admin("/status").await.json();
        let caches = numbers(&status["caches"], "entries");
        caches.iter().all(|entries| *entries <= 20).then_some(status)
    })
    .await;
    assert!(!numbers(&status["caches"], "entries").is_empty(), "{status}");
}

/// Every number under a member of that name.
fn numbers(value: &serde_json::Value, name: &str) -> Vec<u64> {
    match value {
        serde_json::Value::Object(members) => members
            .iter()
            .flat_map(|(key, inner)| match (key == name, inner.as_u64()) {
                (true, Some(number)) => vec![number],
                _ => numbers(inner, name),
            })
            .collect(),
        serde_json::Value::Array(items) => {
            items.iter().flat_map(|item| numbers(item, name)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn invariant_10_only_base_time_reads_a_clock() {
    let found = outside(&["base/time.rs"], &["SystemTime::now", "time::Instant::now", "Utc::now"]);
    assert!(found.is_empty(), "{found:#?}");
    // Tokio's own clock, for timers, in the rooms that have them.
    let timers = ["base/time.rs", "body/", "tunnel/", "upstream/", "server/", "dev/"];
    let found = outside(&timers, &["Instant::now"]);
    assert!(found.is_empty(), "{found:#?}");
    let pure = ["reject/", "route/", "credential/", "policy/", "headers/", "oauth/", "config/"];
    let calls: Vec<_> = outside(&[], &["time::now()", "base::time::now"])
        .into_iter()
        .filter(|line| pure.iter().any(|room| line.starts_with(&format!("src/{room}"))))
        .collect();
    assert!(calls.is_empty(), "the deciding core takes time as an argument: {calls:#?}");
}

#[tokio::test]
async fn invariant_11_nothing_from_the_network_is_a_metric_label() {
    let world = World::with(&[&format!("name = \"orders\", {ORDERS}")]).await;
    let mark = "zq9";
    let token =
        world.issuer.token().scopes("orders:read").claim("sub", mark).claim("client_id", mark);
    let token = token.claim("iss", format!("https://{mark}.test")).header("kid", mark).sign();
    for request in [
        world.gateway.get(&format!("/orders/{mark}")).bearer(&token),
        world.gateway.request(&mark.to_uppercase(), &format!("/{mark}")).header("host", mark),
        world.gateway.get("/orders/1").header("user-agent", mark).bearer(mark),
        world.gateway.get("/orders/1").header("x-request-id", mark),
    ] {
        request.send().await;
    }
    world.upstream.answer(|_| Reply::status(599).header("x-zq9", "zq9"));
    world.gateway.get("/orders/1").bearer(&world.token()).send().await;
    let text = world.gateway.admin("/metrics").await.text().to_lowercase();
    assert!(!text.contains(mark), "{:?}", text.lines().find(|line| line.contains(mark)));
    let labels: BTreeSet<_> =
        text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
    assert!(labels.iter().any(|labels| labels.contains("route=\"orders\"")), "{labels:?}");
}
