//! HTTP/1.1 framing (RFC 9112): what smuggles a request into another is refused, byte by byte.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::harness::backend::Then;
use crate::harness::http1::{Connection, exchange};
use crate::harness::{RawBackend, TestIssuer, World};

async fn public() -> World {
    World::with(&[r#"path = "/p/{*rest}", access = "public""#, r#"path = "/p", access = "public""#])
        .await
}

/// Sends a head and a body: the status (0: closed without an answer), and how many requests came
/// whole to the upstream.
async fn smuggle(world: &World, head: &str, body: &str) -> (u16, usize) {
    let before = world.upstream.count();
    let bytes = format!("POST /p HTTP/1.1\r\n{head}\r\n\r\n{body}");
    let mut connection = Connection::open(world.gateway.address()).await;
    connection.write(bytes.as_bytes()).await;
    let status = connection.status().await;
    (status, world.upstream.count() - before)
}

#[tokio::test]
async fn rfc9112_6_3_bad_lengths_are_400_and_the_connection_ends() {
    let world = public().await;
    #[rustfmt::skip]
    let cases = [
        "content-length: 1, 2", "content-length: 1\r\ncontent-length: 2", "content-length: +5",
        "content-length: 5x", "content-length: 0x5", "content-length: -1", "content-length: 5 5",
        "content-length: 18446744073709551616", "content-length: ",
    ];
    for fields in cases {
        let (status, seen) = smuggle(&world, &format!("host: api.test\r\n{fields}"), "hello").await;
        assert_eq!((status, seen), (400, 0), "{fields}");
    }
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
async fn rfc9112_6_1_other_transfer_codings_are_refused() {
    let world = public().await;
    #[rustfmt::skip]
    let cases = [
        ("transfer-encoding: chunked, gzip", vec![400, 501]), ("transfer-encoding: gzip, chunked", vec![400, 501]),
        ("transfer-encoding: gzip", vec![400, 501]), ("transfer-encoding: x", vec![400, 501]),
        ("transfer-encoding: chunked, chunked", vec![400, 501]), ("transfer-encoding: \"chunked\"", vec![400, 501]),
        ("transfer-encoding: chunked\r\ntransfer-encoding: x", vec![400, 501]),
        ("transfer-encoding : chunked", vec![400]), ("transfer-encoding: xchunked", vec![400, 501]),
    ];
    for (fields, allowed) in cases {
        let (status, seen) =
            smuggle(&world, &format!("host: api.test\r\n{fields}"), "0\r\n\r\n").await;
        assert!(allowed.contains(&status) && seen == 0, "{fields}: {status}, {seen} upstream");
    }
    let old = b"POST /p HTTP/1.0\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(exchange(world.gateway.address(), old).await.status, 400, "HTTP/1.0 has none");
}

#[tokio::test]
async fn rfc9112_7_1_bad_chunks_end_the_request_and_reach_nobody_whole() {
    let world = public().await;
    let bodies = [
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \u{1}\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let (status, seen) =
            smuggle(&world, "host: api.test\r\ntransfer-encoding: chunked", body).await;
        assert!(
            matches!(status, 0 | 400 | 502) && seen == 0,
            "{body:?}: {status}, {seen} upstream"
        );
    }
}

#[tokio::test]
async fn rfc9112_8_a_caller_that_stops_mid_body_makes_no_whole_request() {
    let world = public().await;
    for framing in
        ["content-length: 10\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    {
        let mut connection = Connection::open(world.gateway.address()).await;
        let bytes = format!("POST /p HTTP/1.1\r\nhost: api.test\r\n{framing}");
        connection.write(bytes.as_bytes()).await;
        connection.finish().await;
        connection.rest().await;
        assert_eq!(world.upstream.count(), 0, "{framing}");
    }
}

#[tokio::test]
async fn rfc9112_5_1_malformed_fields_are_400() {
    let world = public().await;
    #[rustfmt::skip]
    let cases = [
        "host: api.test\r\nx-a : 1", "host: api.test\r\nx-a: 1\r\n folded: 2", "host: api.test\r\n\tfolded",
        " leading: 1\r\nhost: api.test", "host: api.test\r\nx-a: a\rb", "host: api.test\r\nx-a: a\0b",
        "host: api.test\r\nno-colon", "host: api.test\r\n: empty", "host: api.test\r\nx(a): 1",
    ];
    for fields in cases {
        let (status, seen) = smuggle(&world, fields, "").await;
        assert_eq!((status, seen), (400, 0), "{fields:?}");
    }
}

#[tokio::test]
async fn rfc9112_3_2_the_host_is_there_once_and_good() {
    let world = public().await;
    let cases = [
        "x: 1",
        "host: a\r\nhost: b",
        "host: a\r\nhost: a",
        "host: a b",
        "host: user@a",
        "host: a/b",
        "host: ",
        "host: a:99999",
        "host: [::1",
        "host: a,b",
    ];
    for fields in cases {
        let bytes = format!("GET /p HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(
            exchange(world.gateway.address(), bytes.as_bytes()).await.status,
            400,
            "{fields}"
        );
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9112_3_2_2_the_host_of_an_absolute_target_decides() {
    let world = World::with(&[
        r#"host = "a.test", path = "/x", access = "public""#,
        r#"host = "b.test", path = "/x", access = { scopes = ["b"] }"#,
    ])
    .await;
    let get = async |target: &str, host: &str| {
        world.gateway.get(target).header("host", host).send().await.status
    };
    assert_eq!(get("http://a.test/x", "b.test").await, 200);
    assert_eq!(world.upstream.last().header("host"), Some("a.test"), "the upstream sees it too");
    assert_eq!(get("http://b.test/x", "a.test").await, 401);
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
async fn rfc9113_3_1_an_upgrade_to_h2c_is_served_as_http1() {
    let world = public().await;
    let response = world
        .gateway
        .get("/p")
        .header("connection", "Upgrade, HTTP2-Settings")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAAP__")
        .send()
        .await;
    assert_eq!(response.status, 200);
    let seen = world.upstream.last();
    assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None));
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
async fn rfc9112_6_3_what_is_misframed_ends_its_connection() {
    let world = public().await;
    #[rustfmt::skip]
    let cases = [
        ("1.1", "content-length: 1, 2"), ("1.1", "content-length: 1\r\ncontent-length: 2"),
        ("1.1", "content-length: +5"), ("1.1", "content-length: 5x"), ("1.1", "content-length: 18446744073709551616"),
        ("1.1", "transfer-encoding: chunked, gzip"), ("1.1", "transfer-encoding: gzip"),
        ("1.0", "transfer-encoding: chunked"),
    ];
    for (version, fields) in cases {
        let misframed = format!("POST /p HTTP/{version}\r\nhost: api.test\r\n{fields}\r\n\r\n");
        let next = "GET /p HTTP/1.1\r\nhost: api.test\r\n\r\n";
        let mut connection = Connection::open(world.gateway.address()).await;
        connection.write(format!("{misframed}{next}").as_bytes()).await;
        let answers = String::from_utf8(connection.rest().await).unwrap();
        assert!(answers.matches("HTTP/1.").count() <= 1, "{fields}: {answers}");
    }
    assert_eq!(world.upstream.count(), 0, "what stands behind it is not taken for a request");
}

#[tokio::test]
async fn rfc9110_8_6_a_length_that_is_repeated_is_one_length_or_refused() {
    let world = public().await;
    for fields in ["content-length: 5, 5", "content-length: 5\r\ncontent-length: 5"] {
        let (status, seen) = smuggle(&world, &format!("host: api.test\r\n{fields}"), "hello").await;
        if status == 400 {
            assert_eq!(seen, 0, "{fields}");
        } else {
            assert_eq!((status, seen), (200, 1), "{fields}");
            assert_eq!(world.upstream.last().header("content-length"), Some("5"), "{fields}");
            assert_eq!(world.upstream.last().body, b"hello", "{fields}");
        }
    }
}

#[tokio::test]
async fn rfc9112_7_1_1_chunk_extensions_are_ignored_and_bounded() {
    let world = public().await;
    let chunked = "host: api.test\r\ntransfer-encoding: chunked";
    let (status, seen) = smuggle(&world, chunked, "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n").await;
    assert_eq!((status, seen), (200, 1));
    assert_eq!(world.upstream.last().body, b"hello", "no extension reaches the upstream");
    let endless = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1_000_000));
    let (status, seen) = smuggle(&world, chunked, &endless).await;
    assert!(matches!(status, 0 | 400 | 502) && seen == 0, "{status}, {seen} upstream");
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
