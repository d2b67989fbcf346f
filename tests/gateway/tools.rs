//! The tools of these tests, held against each other without a gateway: what they say can be
//! believed.

use serde_json::json;

use crate::harness::client::Request;
use crate::harness::frames::{END_STREAM, End, Frames};
use crate::harness::http1::exchange;
use crate::harness::http2::Http2;
use crate::harness::{AuthServer, Backend, Reply};

#[tokio::test]
async fn the_upstream_remembers_what_the_callers_sent() {
    let backend = Backend::answering(|seen| {
        Reply::status(201).header("x-a", "1").body(seen.body.clone()).trailer("x-end", "yes")
    })
    .await;
    let request = Request::new(backend.address(), "POST", "/a%20b?c").header("te", "trailers");
    let response = request.header("x-b", "2").body("hello").send().await;
    assert_eq!(
        (response.status, response.text().as_str(), response.header("x-a")),
        (201, "hello", "1")
    );
    assert_eq!(response.trailer("x-end"), "yes");
    let seen = backend.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("x-b"), seen.body.as_slice()),
        ("/a%20b?c", Some("2"), &b"hello"[..])
    );

    let client = Http2::open(backend.address()).await;
    let response = client.send("PUT", "/p", &[("x-c", "3")], b"body").await.unwrap();
    assert_eq!(
        (response.status, response.text().as_str(), response.trailer("x-end")),
        (201, "body", "yes")
    );
    assert_eq!((backend.count(), backend.last().header("x-c")), (2, Some("3")));
}

#[tokio::test]
async fn broken_answers_are_seen_as_broken() {
    let backend = Backend::answering(|_| Reply::status(200).body("half").broken_off()).await;
    let response = exchange(backend.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!response.complete && response.text() == "half");
    assert!(Http2::open(backend.address()).await.send("GET", "/", &[], b"").await.is_err());
}

#[tokio::test]
async fn frames_by_hand_are_understood() {
    let backend = Backend::start().await;
    let good = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/p")];
    let mut frames = Frames::open(backend.address()).await;
    frames.request(1, &good, END_STREAM).await;
    assert_eq!(frames.end(1).await, End::Answered);
    let long = "a".repeat(300);
    frames.request(3, &[&good[..], &[("x-long", long.as_str())]].concat(), END_STREAM).await;
    assert_eq!(frames.end(3).await, End::Answered);
    assert_eq!(backend.last().header("x-long"), Some(long.as_str()));
    frames.request(5, &[&good[..], &[("X-Bad", "1")]].concat(), END_STREAM).await;
    assert_ne!(frames.end(5).await, End::Answered);
}

#[tokio::test]
async fn the_real_servers_start_count_and_fail_when_told() {
    let server = AuthServer::start().await;
    let token = server.mint(json!({ "resource": "https://api.test/opaque" })).await;
    assert!(server.revoke(&token).await && !server.revoke(&token).await);
    assert_eq!(server.count("introspection").await, 0);
    server.fault("introspection", json!({ "status": 500 })).await;
    assert_eq!(server.control("/faults", json!(null)).await["introspection"]["status"], 500);
    let django = AuthServer::django().await;
    assert!(django.mint(json!({})).await.len() > 20);
}
