//! `limits.connections` of an upstream: how many are open at once, who waits for one, and for how
//! long.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::harness::backend::Then;
use crate::harness::{Backend, Gateway, RawBackend, Reply, Setup, eventually};

const PUBLIC: &str = r#"path = "/p", access = "public""#;
const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A wait that no test reaches.
const PATIENT: &str = "timeouts = { connect = \"20s\" }";

fn setup(urls: &[&str], more: &str) -> Setup {
    Setup::new().upstream("api", &urls.join("\", \""), more).route(PUBLIC)
}

/// An upstream whose answers come one for each time that the gate is opened.
async fn gated() -> (Backend, Arc<Notify>) {
    let (gate, upstream) = (Arc::new(Notify::new()), Backend::start().await);
    let opened = Arc::clone(&gate);
    upstream.answer(move |_| Reply::status(200).after(&opened));
    (upstream, gate)
}

/// Connections and requests that wait for one, as `/metrics` and `/status` have them.
async fn connections(gateway: &Gateway) -> (f64, f64) {
    let number = async |state: &str| {
        let labels = [("upstream", "api"), ("state", state)];
        gateway.metric("scopegate_upstream_connections", &labels).await
    };
    let numbers = (number("open").await, number("waiting").await);
    let status = gateway.admin("/status").await.json();
    assert!(status["upstreams"][0]["connections"]["max"].is_u64(), "{status}");
    numbers
}

async fn waits(gateway: &Gateway, outcome: &str) -> f64 {
    let labels = [("upstream", "api"), ("outcome", outcome)];
    gateway.metric("scopegate_upstream_connection_waits_total", &labels).await
}

#[tokio::test]
async fn a_request_waits_for_a_connection_and_gets_the_one_that_comes_free() {
    let (upstream, gate) = gated().await;
    let gateway = setup(&[&upstream.url()], "limits = { connections = 1 }").start().await;
    let mut first = gateway.connect().await;
    first.write(&gateway.get("/p").bytes()).await;
    upstream.reached(1).await;
    let mut second = gateway.connect().await;
    second.write(&gateway.get("/p").bytes()).await;
    eventually("a request that waits", async || {
        (connections(&gateway).await == (1.0, 1.0)).then_some(())
    })
    .await;
    assert_eq!(upstream.count(), 1);
    gate.notify_one();
    assert_eq!(first.response("GET").await.status, 200);
    gate.notify_one();
    assert_eq!(second.response("GET").await.status, 200);
    assert_eq!(connections(&gateway).await, (1.0, 0.0));
    assert_eq!((waits(&gateway, "served").await, waits(&gateway, "refused").await), (1.0, 0.0));
}

#[tokio::test]
async fn who_gets_no_connection_in_time_is_503_and_no_member_is_blamed() {
    let (upstream, gate) = gated().await;
    let more = "limits = { connections = 1 }\ntimeouts = { connect = \"200ms\" }\n\
                eject = { failures = 1 }";
    let gateway = setup(&[&upstream.url()], more).start().await;
    let mut first = gateway.connect().await;
    first.write(&gateway.get("/p").bytes()).await;
    upstream.reached(1).await;
    let second = gateway.get("/p").send().await;
    assert_eq!(second.status, 503);
    assert!(!second.header("retry-after").is_empty());
    assert_eq!(waits(&gateway, "refused").await, 1.0);
    assert_eq!(gateway.metric("scopegate_upstream_ejections_total", &[]).await, 0.0);
    gate.notify_one();
    assert_eq!(first.response("GET").await.status, 200);
    gate.notify_one();
    assert_eq!(gateway.get("/p").send().await.status, 200, "and it is there again");
    assert_eq!(connections(&gateway).await, (1.0, 0.0));
}

#[tokio::test]
async fn many_requests_share_few_connections() {
    for workers in [1, 2] {
        let upstream = RawBackend::start(HELLO, Then::Continue).await;
        let setup =
            setup(&[&upstream.url()], &format!("limits = {{ connections = 2 }}\n{PATIENT}"));
        let text = setup.text().replace("workers = 1", &format!("workers = {workers}"));
        let gateway = Gateway::start_in(setup.folder, &text).await.ready().await;
        let statuses = gateway.at_once("/p", &vec![String::new(); 200]).await;
        assert_eq!(statuses, [200; 200], "{workers} workers");
        let (open, waiting) = connections(&gateway).await;
        assert!(open <= 2.0 && waiting == 0.0, "{open} open, {waiting} wait");
        assert!(waits(&gateway, "served").await > 0.0, "{workers} workers");
        if workers == 1 {
            assert_eq!(upstream.connections(), 2, "they are passed on as they are");
        }
    }
}

#[tokio::test]
async fn an_idle_connection_to_one_member_is_closed_for_another() {
    for scheme in ["http", "h2c"] {
        let (a, b) = (Backend::start().await, Backend::start().await);
        let urls = [&a, &b].map(|backend| backend.url().replace("http", scheme));
        let more = "balance = \"round_robin\"\nlimits = { connections = 1 }";
        let gateway = setup(&[&urls[0], &urls[1]], more).start().await;
        for _ in 0..10 {
            assert_eq!(gateway.get("/p").send().await.status, 200, "{scheme}");
        }
        assert_eq!((a.count(), b.count()), (5, 5), "{scheme}");
        assert_eq!(connections(&gateway).await, (1.0, 0.0), "{scheme}");
    }
}

#[tokio::test]
async fn requests_share_the_only_http_2_connection_and_threads_take_turns_with_it() {
    let (upstream, gate) = gated().await;
    let url = upstream.url().replace("http", "h2c");
    let gateway = setup(&[&url], "limits = { connections = 1 }").start().await;
    let client = gateway.http2().await;
    let (first, second) = (client.get("/p", &[]), client.get("/p", &[]));
    let opened = async {
        upstream.reached(2).await;
        assert_eq!(connections(&gateway).await, (1.0, 0.0));
        gate.notify_waiters();
        gate.notify_one();
        gate.notify_one();
    };
    let (first, second, ()) = futures_util::join!(first, second, opened);
    assert_eq!((first.status, second.status), (200, 200));

    let upstream = Backend::start().await;
    let url = upstream.url().replace("http", "h2c");
    let setup = setup(&[&url], &format!("limits = {{ connections = 1 }}\n{PATIENT}"));
    let text = setup.text().replace("workers = 1", "workers = 2");
    let gateway = Gateway::start_in(setup.folder, &text).await.ready().await;
    let statuses = gateway.at_once("/p", &vec![String::new(); 100]).await;
    assert_eq!(statuses, [200; 100]);
}
