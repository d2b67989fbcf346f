//! HTTP/1.1 framing (RFC 9112) where it takes more than bytes and an answer: `raw` has the tables.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::backend::Then;
use crate::harness::http1::{Connection, exchange};
use crate::harness::{RawBackend, TestIssuer, World};

async fn public() -> World {
    World::with(&[r#"path = "/p/{*rest}", access = "public""#, r#"path = "/p", access = "public""#])
        .await
}

#[tokio::test]
async fn rfc9112_6_1_both_framings_never_go_upstream_together() {
    let upstream =
        RawBackend::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Continue).await;
    let url = upstream.url();
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.upstream("raw", &url, "").route(r#"path = "/p", access = "public", upstream = "raw""#)
    })
    .await;
    for fields in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 3",
    ] {
        let bytes = format!(
            "POST /p HTTP/1.1\r\nhost: api.test\r\n{fields}\r\n\r\n0\r\n\r\nGET /p/evil HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let mut connection = Connection::open(world.gateway.address()).await;
        connection.write(bytes.as_bytes()).await;
        connection.rest().await;
        let received = upstream.received().to_ascii_lowercase();
        assert!(!received.contains("/p/evil"), "{fields}: {received}");
        let both = received.contains("content-length: 3") && received.contains("transfer-encoding");
        assert!(!both, "{fields}: {received}");
    }
}

#[tokio::test]
async fn rfc9112_3_2_2_an_absolute_target_and_host_name_one_site_or_nobody_is_asked() {
    let world = World::with(&[
        r#"host = "a.test", path = "/x", access = "public""#,
        r#"host = "b.test", path = "/x", access = { scopes = ["b"] }"#,
    ])
    .await;
    let get = async |target: &str, host: &str| {
        world.gateway.get(target).header("host", host).send().await.status
    };
    assert_eq!(get("http://a.test/x", "b.test").await, 400);
    assert_eq!(get("http://b.test/x", "a.test").await, 400);
    assert_eq!(get("http://a.test/x", "A.test").await, 200);
    assert_eq!(world.upstream.last().header("host"), Some("a.test"), "what the target says");
    assert_eq!(get("http://b.test/x", "b.test").await, 401);
    assert_eq!(get("/x", "c.test").await, 404);
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn rfc9112_9_3_pipelined_requests_are_each_judged() {
    let world = World::orders().await;
    let mut connection = world.gateway.connect().await;
    let good = world.gateway.get("/orders/1").bearer(&world.token()).bytes();
    let bad = world.gateway.request("POST", "/orders/2").body(good.clone()).bytes();
    connection.write(&[good.clone(), bad, good].concat()).await;
    assert_eq!(connection.response("GET").await.status, 200);
    assert_eq!(connection.response("POST").await.status, 401);
    // The rest of the refused request is drained or the connection closes; its body is never a request.
    connection.finish().await;
    connection.rest().await;
    assert!(world.upstream.all().iter().all(|seen| seen.target == "/orders/1"));
    assert!(world.upstream.count() <= 2);
}

#[tokio::test]
async fn rfc9112_2_2_lone_line_feeds_become_crlf_or_are_refused() {
    let world = public().await;
    let response = exchange(world.gateway.address(), b"GET /p HTTP/1.1\nhost: api.test\n\n").await;
    assert!(matches!(response.status, 200 | 400), "{}", response.status);
}

#[tokio::test]
async fn rfc9112_9_6_a_refusal_arrives_though_the_body_is_still_on_its_way() {
    let world = World::orders().await;
    let large = vec![b'x'; 8 * 1024 * 1024];
    for round in 0..10 {
        let mut connection = world.gateway.connect().await;
        let request = world.gateway.request("POST", "/orders/1").body(large.clone());
        connection.write(&request.bytes()).await;
        assert_eq!(connection.status().await, 401, "round {round}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9112_9_6_a_refusal_waits_for_a_caller_that_sends_slowly() {
    let world = World::orders().await;
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    let head = b"POST /orders/1 HTTP/1.1\r\nhost: api.test\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    // Longer in all than a caller may be silent.
    for _ in 0..28 {
        stream.write_all(&[b'x'; 1000]).await.expect("no reset");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9112_2_2_a_line_end_behind_a_body_begins_no_request() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { header_timeout = \"300ms\" }")
            .route(r#"path = "/p", access = "public""#)
    })
    .await;
    let mut connection = Connection::open(world.gateway.address()).await;
    let sent = b"POST /p HTTP/1.1\r\nhost: api.test\r\ncontent-length: 2\r\n\r\nok\r\n";
    connection.write(sent).await;
    assert_eq!(connection.response("POST").await.status, 200);
    // Longer than it takes the gateway to see that nothing is asked for, and header_timeout.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    connection.write(b"GET /p HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    assert_eq!(connection.response("GET").await.status, 200);
}

/// An upstream over HTTP/2 that answers at once and reads the request's body all the same.
async fn answers_early() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let target = request.uri().path().to_owned();
        kept.lock().unwrap().push(target);
        tokio::spawn(request.into_body().collect());
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });
    (url, seen)
}

#[tokio::test]
async fn rfc9112_9_3_what_still_comes_of_a_body_behind_its_answer_is_no_request() {
    let (url, seen) = answers_early().await;
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("early", &url, "")
            .route(r#"path = "/p/{*rest}", access = "public", upstream = "early""#)
    })
    .await;
    let rest = "GET /p/evil HTTP/1.1\r\nhost: api.test\r\n\r\n";
    let head = format!(
        "POST /p/good HTTP/1.1\r\nhost: api.test\r\ncontent-length: {}\r\n\r\n",
        rest.len() + 5
    );
    let mut connection = Connection::open(world.gateway.address()).await;
    connection.write(format!("{head}begin").as_bytes()).await;
    assert_eq!(connection.response("POST").await.status, 200);
    // Longer than it takes the gateway to see that nothing is asked for.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    connection.write(rest.as_bytes()).await;
    connection.write(b"GET /p/next HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    assert_eq!(connection.response("GET").await.status, 200);
    assert_eq!(*seen.lock().unwrap(), ["/p/good", "/p/next"]);
}
