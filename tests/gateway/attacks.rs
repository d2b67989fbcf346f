//! Attacks that once got through, or nearly: each as its attacker would send it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::backend::Then;
use crate::harness::frames::{END_STREAM, End, Frames, PING};
use crate::harness::http1::Connection;
use crate::harness::{RawBackend, TestIssuer, World, eventually};

/// The pieces of an answer, each of which travels alone.
async fn piecewise(pieces: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                    for piece in pieces {
                        stream.write_all(piece.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

async fn raw_world(url: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("raw", url, "")
            .route(r#"path = "/p/{*rest}", access = "public", upstream = "raw""#)
            .route(r#"path = "/p", access = "public", upstream = "raw""#)
    })
    .await
}

#[tokio::test]
async fn a_parameter_in_a_path_does_not_lead_past_the_route_of_the_path_without_it() {
    let world = World::with(&[
        r#"path = "/p/{*rest}", access = "public""#,
        r#"path = "/p/admin", access = { scopes = ["admin"] }"#,
    ])
    .await;
    for target in ["/p/admin;x", "/p/admin;", "/p/admin%3Bx=1", "/p/admin%3b", "/p;x/admin"] {
        assert_eq!(world.gateway.get(target).send().await.status, 400, "{target}");
    }
    assert_eq!(world.gateway.get("/p/admin").send().await.status, 401);
    assert_eq!(world.upstream.count(), 0, "a servlet container would have read /p/admin");
    assert_eq!(world.gateway.get("/p/a?x;y").send().await.status, 200, "the query is no path");
}

#[tokio::test]
async fn a_body_that_looks_like_an_answer_of_the_http_library_is_a_body() {
    let url = piecewise(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\nabc",
        "HTTP/1.1 404 Not Found\r\n\r\n",
        "xy",
    ])
    .await;
    let world = raw_world(&url).await;
    let mut connection = world.gateway.connect().await;
    for _ in 0..2 {
        connection.write(&world.gateway.get("/p").bytes()).await;
        let response = connection.response("GET").await;
        assert_eq!(response.text(), "abcHTTP/1.1 404 Not Found\r\n\r\nxy");
    }
}

#[tokio::test]
async fn two_lengths_over_http2_never_reach_an_http1_upstream() {
    let upstream =
        RawBackend::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Continue).await;
    let world = raw_world(&upstream.url()).await;
    for (lengths, method) in [(["0", "30"], "POST"), (["0", "30"], "GET"), (["0", "0"], "POST")] {
        let mut frames = Frames::open(world.gateway.address()).await;
        let fields = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "api.test"),
            (":path", "/p"),
            ("content-length", lengths[0]),
            ("content-length", lengths[1]),
        ];
        frames.request(1, &fields, END_STREAM).await;
        frames.end(1).await;
        let received = upstream.received().to_ascii_lowercase();
        assert!(!received.contains("content-length: 30"), "{received}");
    }
}

#[tokio::test]
async fn what_stands_in_a_chunked_body_beside_a_length_stays_a_body() {
    let upstream =
        RawBackend::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Continue).await;
    let world = raw_world(&upstream.url()).await;
    let mut connection = Connection::open(world.gateway.address()).await;
    connection
        .write(
            b"POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n\
              1a\r\nXGET /evil HTTP/1.1\r\na: b\r\n\r\n\r\n0\r\n\r\n",
        )
        .await;
    connection.rest().await;
    let received = upstream.received().to_ascii_lowercase();
    assert!(!received.contains("content-length: 1"), "{received}");
}

#[tokio::test]
async fn no_secret_is_in_the_log_at_trace() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .table("[log]\nlevel = \"trace\"")
            .route(r#"path = "/orders/{*rest}", access = { scopes = ["orders:read"] }"#)
    })
    .await;
    let token = world.token();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    assert_eq!(world.gateway.get("/orders/1").bearer(&token).send().await.status, 200);
    let client = world.gateway.http2().await;
    let bearer = format!("Bearer {token}");
    assert_eq!(client.get("/orders/1", &[("authorization", &bearer)]).await.status, 200);
    assert_eq!(
        client.get("/orders/1", &[("authorization", "Basic aTpzZWNyZXRzZWNyZXQ=")]).await.status,
        401
    );
    drop(client);
    let log = world.gateway.whole_log().await;
    assert!(log.contains("request refused") && log.contains("scopegate::access"), "{log}");
    for secret in [&*signature, "aTpzZWNyZXRzZWNyZXQ", "secretsecret"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

#[tokio::test]
async fn a_caller_that_opens_no_window_does_not_keep_an_upstream_busy() {
    let large: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n{}", "a".repeat(4_000_000))
            .into_boxed_str(),
    );
    let upstream = RawBackend::start(large, Then::Continue).await;
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { idle_timeout = \"300ms\" }")
            .upstream("raw", &upstream.url(), "limits = { requests = 2 }")
            .route(r#"path = "/p", access = "public", upstream = "raw""#)
    })
    .await;
    let mut frames = Frames::open(world.gateway.address()).await;
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/p")];
    for stream in [1, 3] {
        frames.request(stream, &fields, END_STREAM).await;
        assert_eq!(frames.end(stream).await, End::Answered);
    }
    // The connection stays alive: its pings are answered.
    let alive = tokio::spawn(async move {
        while let Some(frame) = frames.next().await {
            if frame.kind == PING && frame.flags == 0 {
                frames.send(PING, 1, 0, &frame.payload).await;
            }
        }
    });
    eventually("a place at the upstream", async || {
        (world.gateway.get("/p").send().await.status == 200).then_some(())
    })
    .await;
    alive.abort();
}
