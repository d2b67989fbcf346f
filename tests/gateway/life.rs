//! Life of the process: draining, signals, reload (RFC 9110 §9.2.2 is why nothing may be cut).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::harness::http2::Http2;
use crate::harness::issuer::AUDIENCE;
use crate::harness::tls::Authority;
use crate::harness::world::{ORDERS, Setup, endpoints};
use crate::harness::{
    Backend, Gateway, RawBackend, Reply, TestIssuer, World, backend::Then, eventually,
};

async fn slow() -> (World, RawBackend) {
    let slow = RawBackend::start("", Then::Hang).await;
    let url = slow.url();
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("slow", &url, "")
            .table("[drain]\ndelay = \"300ms\"\ntimeout = \"5s\"")
            .route(ORDERS)
            .route(r#"path = "/slow", access = "public", upstream = "slow""#)
    })
    .await;
    (world, slow)
}

/// Answers to a path with `late` come when the gate is opened.
fn gated(world: &World) -> Arc<Notify> {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    world.upstream.answer(move |seen| match seen.target.ends_with("late") {
        true => Reply::status(200).body("whole").after(&opened),
        false => Reply::status(200),
    });
    gate
}

#[tokio::test]
async fn sigterm_drains_and_cuts_nothing() {
    let (mut world, _slow) = slow().await;
    let token = world.token();
    let gate = gated(&world);
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.get("/orders/late").bearer(&token).bytes()).await;
    world.upstream.reached(1).await;
    world.gateway.signal("TERM");
    eventually("not ready while draining", async || {
        (world.gateway.admin("/readyz").await.status == 503).then_some(())
    })
    .await;
    eventually("the end of accepting", async || {
        tokio::net::TcpStream::connect(world.gateway.address()).await.is_err().then_some(())
    })
    .await;
    gate.notify_one();
    let response = connection.response("GET").await;
    assert_eq!((response.status, response.text().as_str()), (200, "whole"));
    assert!(response.complete);
    assert_eq!(world.gateway.end().await.code(), Some(0));
}

#[tokio::test]
async fn while_draining_new_requests_are_still_served_for_the_delay() {
    let (mut world, _slow) = slow().await;
    let token = world.token();
    world.gateway.signal("TERM");
    let response = world.gateway.get("/orders/1").bearer(&token).send().await;
    assert_eq!(response.status, 200, "accepting goes on for drain.delay");
    assert_eq!(world.gateway.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (mut world, slow) = slow().await;
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.get("/slow").bytes()).await;
    slow.receives("GET /slow").await;
    world.gateway.signal("TERM");
    eventually("draining", async || {
        (world.gateway.admin("/readyz").await.status == 503).then_some(())
    })
    .await;
    let start = std::time::Instant::now();
    world.gateway.signal("TERM");
    world.gateway.end().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Replaces the configuration's text and asks for a reload.
fn reload(gateway: &Gateway, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), change(text)).unwrap();
    gateway.signal("HUP");
}

#[tokio::test]
async fn sighup_takes_a_good_configuration() {
    let world = World::orders().await;
    let token = world.token();
    let get = async |path: &str| world.gateway.get(path).bearer(&token).send().await.status;
    assert_eq!((get("/orders/1").await, get("/new/1").await), (200, 404));
    reload(&world.gateway, |text| text.replace("/orders/{*rest}", "/new/{*rest}"));
    eventually("the new route", async || (get("/new/1").await == 200).then_some(())).await;
    assert_eq!(get("/orders/1").await, 404);
}

#[tokio::test]
async fn sighup_refuses_a_bad_configuration_and_the_old_one_goes_on() {
    let world = World::orders().await;
    let token = world.token();
    reload(&world.gateway, |text| text.replace("access = { scopes", "acess = { scopes"));
    world.gateway.logs("acess").await;
    assert_eq!(world.gateway.get("/orders/1").bearer(&token).send().await.status, 200);
    assert_eq!(world.gateway.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_request_in_flight_does_not_notice_a_reload() {
    let world = World::orders().await;
    let gate = gated(&world);
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.get("/orders/late").bearer(&world.token()).bytes()).await;
    world.upstream.reached(1).await;
    reload(&world.gateway, |text| text.replace("/orders/{*rest}", "/new/{*rest}"));
    let token = world.token();
    eventually("the new route", async || {
        (world.gateway.get("/new/1").bearer(&token).send().await.status == 200).then_some(())
    })
    .await;
    gate.notify_one();
    assert_eq!(connection.response("GET").await.text(), "whole");
}

#[tokio::test]
async fn a_reload_means_header_edits_and_rewrites_too() {
    let route = r#"path = "/a/{*rest}", access = "public", rewrite = { prefix = "/a", to = "/one" }, response_headers.set.x-edition = "one""#;
    let world = World::with(&[route]).await;
    assert_eq!(world.gateway.get("/a/b").send().await.header("x-edition"), "one");
    reload(&world.gateway, |text| text.replace("one\"", "two\""));
    eventually("the new edition", async || {
        (world.gateway.get("/a/b").send().await.header("x-edition") == "two").then_some(())
    })
    .await;
    assert_eq!(world.upstream.last().target, "/two/b");
}

#[tokio::test]
async fn a_reload_means_everything_scopes_audiences_and_keys_too() {
    let world = World::orders().await;
    let token = world.token();
    let get = async || world.gateway.get("/orders/1").bearer(&token).send().await.status;
    assert_eq!(get().await, 200);
    reload(&world.gateway, |text| {
        text.replace("scopes = [\"orders:read\"]", "scopes = [\"orders:admin\"]")
    });
    eventually("the new scope", async || (get().await == 403).then_some(())).await;
    reload(&world.gateway, |text| text.replace("https://api.test", "https://other.test"));
    eventually("the new audience", async || (get().await == 401).then_some(())).await;
    reload(&world.gateway, |text| {
        text.replace("https://other.test", "https://api.test")
            .replace("orders:admin", "orders:read")
    });
    eventually("the old ways", async || (get().await == 200).then_some(())).await;
    let stranger = crate::harness::SigningKey::new("ES256", "another");
    world.issuer.publish(&serde_json::json!({ "keys": [stranger.jwk()] }));
    reload(&world.gateway, |text| text);
    eventually("the new key set", async || (get().await == 401).then_some(())).await;
}

#[tokio::test]
async fn many_reloads_under_load_refuse_and_lose_nothing() {
    let world = World::orders().await;
    let client = world.gateway.http2().await;
    let bearer = format!("Bearer {}", world.token());
    for round in 0..10 {
        reload(&world.gateway, |text| format!("{text}\n# {round}\n"));
        let headers = [("authorization", bearer.as_str())];
        let requests: Vec<_> = (0..20).map(|_| client.get("/orders/1", &headers)).collect();
        let responses = futures_util::future::join_all(requests).await;
        assert!(responses.iter().all(|response| response.status == 200), "round {round}");
    }
}

/// Waits until a reload has been accepted.
async fn reloaded(gateway: &Gateway, times: f64) {
    let accepted = [("outcome", "accepted")];
    eventually("the reload", async || {
        let count = gateway.metric("scopegate_reloads_total", &accepted).await;
        (count >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sighup_reads_certificates_anew_and_open_connections_do_not_notice() {
    let (old, new) = (Authority::new(), Authority::new());
    let world = World::built(TestIssuer::new(), "", |setup| {
        let server = old.certify(&["api.test"]);
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        setup.folder.write("clients.pem", old.pem());
        let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n\
                   client_ca = \"clients.pem\"";
        setup.listener(tls).route(r#"path = "/p", access = "public""#)
    })
    .await;
    let address = world.gateway.address();
    let get = async |server: &Authority, caller: &Authority| {
        let identity = caller.certify(&["caller.test"]);
        let stream = server.connect(address, "api.test", &[b"h2"], Some(&identity)).await.ok()?;
        let client = Http2::over(stream, "https").await;
        Some((client.send("GET", "/p", &[], b"").await.ok()?.status, client))
    };
    let open = get(&old, &old).await.expect("the old certificate");
    assert_eq!(open.0, 200);
    let server = new.certify(&["api.test"]);
    world.gateway.folder().write("tls.crt", &server.certificate);
    world.gateway.folder().write("tls.key", &server.key);
    world.gateway.folder().write("clients.pem", new.pem());
    reload(&world.gateway, |text| text);
    reloaded(&world.gateway, 1.0).await;
    assert_eq!(get(&new, &new).await.expect("the new certificate").0, 200);
    assert!(get(&old, &old).await.is_none(), "the old certificate is gone");
    assert_eq!(open.1.get("/p", &[]).await.status, 200, "a connection keeps what it began with");
}

#[tokio::test]
async fn sighup_reads_secrets_anew() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(|seen| {
        let body = match seen.target.as_str() {
            "/token" => {
                r#"{"access_token":"own","token_type":"Bearer","expires_in":60,"scope":"a"}"#
            }
            _ => r#"{"active":false}"#,
        };
        Reply::status(200).header("content-type", "application/json").body(body)
    })
    .await;
    let client = "[clients.ours]\nauthorization_server = \"main\"\nclient_id = \"ours\"\n\
                  client_secret = { file = \"secrets/ours\" }\nscopes = [\"a\"]\n";
    let gateway = Setup::new()
        .secret("gateway", "old")
        .secret("ours", "old")
        .issuer("main", &issuer, &endpoints(&server.url(), ""))
        .table(client)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .route(r#"path = "/out", access = "public", forward = { client = "ours" }"#)
        .start()
        .await;
    let credentials = async |serial: u32| {
        gateway.get("/orders/1").bearer(&format!("opaque-{serial}")).send().await;
        gateway.get("/out").send().await;
        let sent = |target: &str| {
            let all = server.all();
            let last = all.iter().rev().find(|seen| seen.target == target);
            last.unwrap().header("authorization").unwrap().to_owned()
        };
        (sent("/introspect"), sent("/token"))
    };
    let basic = |pair: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    assert_eq!(credentials(1).await, (basic("gateway:old"), basic("ours:old")));
    gateway.folder().write("secrets/gateway", "new");
    gateway.folder().write("secrets/ours", "new");
    reload(&gateway, |text| text);
    reloaded(&gateway, 1.0).await;
    assert_eq!(credentials(2).await, (basic("gateway:new"), basic("ours:new")));
}

#[tokio::test]
async fn rfc7662_4_a_reload_with_another_client_or_endpoint_asks_anew() {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let saying = async |active: bool| {
        let answer = serde_json::json!({
            "active": active, "scope": "orders:read", "client_id": "app", "aud": AUDIENCE,
        });
        Backend::answering(move |_| {
            Reply::status(200).header("content-type", "application/json").body(answer.to_string())
        })
        .await
    };
    let (old, new) = (saying(true).await, saying(false).await);
    let gateway = Setup::new()
        .secret("gateway", "s")
        .issuer("main", &issuer, &endpoints(&old.url(), "cache_ttl = \"1h\""))
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let ask = async || gateway.get("/orders/1").bearer("opaque").send().await.status;
    assert_eq!((ask().await, ask().await, old.count()), (200, 200, 1));
    reload(&gateway, |text| text.replace("client_id = \"gateway\"", "client_id = \"other\""));
    reloaded(&gateway, 1.0).await;
    assert_eq!((ask().await, old.count()), (200, 2), "as another client");
    reload(&gateway, |text| text.replace(&old.url(), &new.url()));
    reloaded(&gateway, 2.0).await;
    assert_eq!((ask().await, old.count(), new.count()), (401, 2, 1), "at another endpoint");
}

#[tokio::test]
async fn a_drain_ends_at_its_timeout_whatever_hangs() {
    let hanging = RawBackend::start("", Then::Hang).await;
    let mut world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("slow", &hanging.url(), "")
            .table("[drain]\ndelay = \"0s\"\ntimeout = \"300ms\"")
            .route(r#"path = "/slow", access = "public", upstream = "slow""#)
    })
    .await;
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.get("/slow").bytes()).await;
    hanging.receives("GET /slow").await;
    let start = std::time::Instant::now();
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.end().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
