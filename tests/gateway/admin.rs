//! The admin listener and the log: what operators see, and what nobody may.

use serde_json::json;

use crate::harness::world::{ORDERS, Setup, client};
use crate::harness::{AuthServer, Backend, World, eventually};

#[tokio::test]
async fn metrics_count_by_route_and_outcome_and_speak_prometheus() {
    let world = World::with(&[&format!("name = \"orders\", {ORDERS}")]).await;
    for token in [world.token(), world.issuer.token().scopes("x").sign(), "bad".to_owned()] {
        world.gateway.get("/orders/1").bearer(&token).send().await;
    }
    let response = world.gateway.admin("/metrics").await;
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").starts_with("text/plain"), "{:?}", response.headers);
    let text = response.text();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("scopegate_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(text.contains("route=\"orders\""), "{text}");
    for reason in ["scope_insufficient", "token_malformed"] {
        assert!(text.contains(reason) || text.contains("token_unjudgeable"), "{reason} in {text}");
    }
}

#[tokio::test]
async fn nothing_from_the_network_is_a_metric_label() {
    let world = World::orders().await;
    let before = world.gateway.admin("/metrics").await.text().lines().count();
    for serial in 0..50 {
        let token = world
            .issuer
            .token()
            .header("kid", format!("kid-{serial}"))
            .claim("client_id", format!("id-{serial}"));
        let request = world.gateway.request(&format!("M{serial}"), &format!("/orders/{serial}"));
        let request = request.header("host", &format!("host-{serial}.test"));
        request.bearer(&token.scopes("orders:read").sign()).send().await;
        world.gateway.get(&format!("/nowhere/{serial}")).send().await;
    }
    let text = world.gateway.admin("/metrics").await.text();
    assert!(text.lines().count() <= before + 20, "{before} lines became {}", text.lines().count());
    for word in ["kid-", "id-4", "host-", "M49", "nowhere"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[tokio::test]
async fn live_and_ready_answer_and_unknown_paths_do_not() {
    let world = World::orders().await;
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/nowhere", 404), ("/orders/1", 404)]
    {
        assert_eq!(world.gateway.admin(path).await.status, status, "{path}");
    }
    for path in ["/metrics", "/status", "/livez", "/readyz"] {
        assert_eq!(
            world.gateway.get(path).send().await.status,
            404,
            "{path} on the public listener"
        );
    }
}

#[tokio::test]
async fn readiness_waits_for_the_upstreams_addresses() {
    let gateway = Setup::new()
        .upstream("api", "http://does-not-exist.invalid:1", "")
        .route(r#"path = "/p", access = "public""#)
        .start_unready()
        .await;
    assert_eq!(gateway.admin("/readyz").await.status, 503);
    assert_eq!(gateway.admin("/livez").await.status, 200);
    assert_eq!(gateway.get("/p").send().await.status, 502);
}

#[tokio::test]
async fn status_shows_routes_servers_keys_caches_and_clients() {
    let world = World::orders().await;
    world.gateway.get("/orders/1").bearer(&world.token()).send().await;
    let response = world.gateway.admin("/status").await;
    let (status, text) = (response.json(), response.text());
    assert!(status.is_object());
    for word in ["/orders/{*rest}", "https://issuer.test", "ES256-1", "main", "api"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn no_token_and_no_secret_is_in_logs_metrics_or_status() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("ours", "reports-secret")
        .table("[log]\nlevel = \"trace\"\n")
        .table(&client("ours", "reports", "orders:read", ""))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/orders", access = { scopes = ["orders:read"] }, accept = ["bearer", "basic"]"#)
        .route(r#"path = "/out", access = "public", forward = { client = "ours" }"#)
        .start()
        .await;
    let jwt = server.mint(json!({})).await;
    let opaque = server.mint(json!({ "resource": "https://api.test/opaque" })).await;
    let tampered = format!("{}AAAA", &jwt[..jwt.len() - 4]);
    for token in [&jwt, &opaque, &tampered] {
        gateway.get("/orders").bearer(token).send().await;
        gateway.get(&format!("/orders?access_token={token}")).send().await;
    }
    gateway.get("/orders").basic("reports", "reports-secret").send().await;
    gateway.get("/orders").basic("reports", "a-wrong-secret").send().await;
    gateway.get("/out").send().await;
    let own =
        upstream.last().header("authorization").unwrap().trim_start_matches("Bearer ").to_owned();
    let shown = [
        gateway.admin("/metrics").await.text(),
        gateway.admin("/status").await.text(),
        gateway.whole_log().await,
    ];
    for shown in &shown {
        for secret in [&jwt, &opaque, &tampered, &own] {
            assert!(!shown.contains(secret.as_str()), "a whole token");
            assert!(
                !shown.contains(secret.rsplit('.').next().unwrap()),
                "a signature or an opaque token"
            );
        }
        for secret in ["reports-secret", "gateway-secret", "a-wrong-secret", "cmVwb3J0czpyZXBvcnRz"]
        {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn the_access_log_has_one_line_per_request_in_text_and_json() {
    for format in ["text", "json"] {
        let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
            setup.table(&format!("[log]\nformat = \"{format}\"")).route(ORDERS)
        })
        .await;
        let response = world.gateway.get("/orders/1").bearer(&world.token()).send().await;
        let id = response.header("x-request-id").to_owned();
        eventually("the access line", async || world.gateway.log().contains(&id).then_some(()))
            .await;
        let log = world.gateway.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for word in ["/orders", "https://issuer.test", "app", "api"] {
            assert!(lines[0].contains(word), "{word} in {}", lines[0]);
        }
        let is_json = serde_json::from_str::<serde_json::Value>(lines[0]).is_ok();
        assert_eq!(is_json, format == "json", "{}", lines[0]);
    }
}

#[tokio::test]
async fn ten_thousand_random_paths_add_no_series() {
    let world = World::with(&[ORDERS, r#"path = "/public/{*rest}", access = "public""#]).await;
    let client = world.gateway.http2().await;
    let ask = async |serial: usize| {
        let paths =
            ["nowhere", "orders", "public/a", "public"].map(|room| format!("/{room}/{serial}"));
        let path = &paths[serial % paths.len()];
        client.send(&format!("M{}", serial % 500), path, &[], b"").await.unwrap().status
    };
    let series = async || world.gateway.admin("/metrics").await.text().lines().count();
    for serial in 0..8 {
        ask(serial).await; // each outcome that occurs has its series now
    }
    let before = series().await;
    for start in (0..10_000).step_by(100) {
        let asked = (start..start + 100).map(&ask);
        let statuses = futures_util::future::join_all(asked).await;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401 | 404)), "{statuses:?}");
    }
    assert_eq!(series().await, before);
    assert!(!world.gateway.admin("/metrics").await.text().contains("/9999"));
}

#[tokio::test]
async fn switched_off_the_access_log_says_nothing_about_a_request() {
    let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
        setup.table("[log]\naccess = false").route(ORDERS)
    })
    .await;
    for token in [world.token(), "bad".to_owned()] {
        let response = world.gateway.get("/orders/marked").bearer(&token).send().await;
        assert!(!response.header("x-request-id").is_empty(), "it has its id all the same");
    }
    let counted = world.gateway.metric("scopegate_requests_total", &[]).await;
    assert_eq!(counted, 2.0, "the metrics count on");
    let log = world.gateway.whole_log().await;
    assert!(!log.contains("/orders/marked"), "{log}");
}

#[tokio::test]
async fn an_access_line_says_who_what_where_and_how_long() {
    let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
        setup.table("[log]\nformat = \"json\"").route(&format!("name = \"orders\", {ORDERS}"))
    })
    .await;
    let line = async |token: &str| {
        let target = "/orders/1?secret=in-the-query";
        let response = world.gateway.get(target).bearer(token).send().await;
        let id = response.header("x-request-id").to_owned();
        let line = eventually("the access line", async || {
            world.gateway.log().lines().find(|line| line.contains(&id)).map(str::to_owned)
        })
        .await;
        assert!(!line.contains("in-the-query"), "{line}");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let find = |line: &serde_json::Value, name: &str| {
        line.get(name).or_else(|| line["fields"].get(name)).cloned().unwrap_or_default()
    };
    let allowed = line(&world.token()).await;
    let refused = line(&world.issuer.token().scopes("x").sign()).await;
    #[rustfmt::skip]
    let cases = [
        (&allowed, "route", json!("orders")), (&allowed, "status", json!(200)), (&allowed, "reason", json!("allowed")),
        (&allowed, "issuer", json!("https://issuer.test")), (&allowed, "client_id", json!("app")), (&allowed, "upstream", json!("api")),
        (&refused, "status", json!(403)), (&refused, "reason", json!("scope_insufficient")), (&refused, "client_id", json!("app")),
    ];
    for (line, name, value) in cases {
        assert_eq!(find(line, name), value, "{name} in {line}");
    }
    for line in [&allowed, &refused] {
        let digest = find(line, "token");
        assert_eq!(digest.as_str().map(str::len), Some(8), "eight digits of its digest: {line}");
        assert!(find(line, "head_us").is_u64() && find(line, "total_us").is_u64(), "{line}");
    }
}

#[tokio::test]
async fn status_shows_sizes_and_hits_of_caches_ages_of_keys_and_what_clients_got() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("ours", "reports-secret")
        .table(&client("ours", "reports", "orders:read", ""))
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .route(r#"path = "/out", access = "public", forward = { client = "ours" }"#)
        .start()
        .await;
    let token = server.mint(json!({})).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/orders/1").bearer(&token).send().await.status, 200);
    }
    assert_eq!(gateway.get("/out").send().await.status, 200);
    let status = gateway.admin("/status").await.json();
    let server = &status["authorization_servers"][0];
    assert!(server.to_string().contains("age"), "the age of the keys: {server}");
    assert!(status["clients"][0].to_string().contains("orders:read"), "{}", status["clients"]);
    assert_eq!(server["lookups"]["jwt"], json!({ "hits": 2, "misses": 1 }), "{status}");
    assert_eq!(status["caches"]["tokens"]["entries"], json!(1), "{status}");
}
