//! WebSocket (RFC 6455), and over HTTP/2 (RFC 8441): by hand and with the `websockets` library.

use std::process::Command;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::authserver::server;
use crate::harness::frames::{END_STREAM, End, Frames, SETTINGS};
use crate::harness::program::{self, python};
use crate::harness::tls::Authority;
use crate::harness::world::Setup;
use crate::harness::{Gateway, TestIssuer, World, in_time, unix_now};

const CHAT: &str = r#"name = "chat", path = "/websocket", access = { scopes = ["orders:read"] }, upstream = "chat", upgrade = { protocols = ["websocket"] }"#;

async fn before(upstream: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("chat", upstream, "")
            .route(CHAT)
            .route(r#"path = "/plain", access = { scopes = ["orders:read"] }"#)
    })
    .await
}

/// A WebSocket upstream for one handshake: gives the head that came, and answers with `answer`,
/// in which `ACCEPT` stands for what fits the key.
async fn upstream(
    answer: &str,
) -> (String, tokio::task::JoinHandle<(String, tokio::net::TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let input = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, input.as_bytes());
        let accept = base64::engine::general_purpose::STANDARD.encode(sum);
        stream.write_all(answer.replace("ACCEPT", &accept).as_bytes()).await.unwrap();
        (head, stream)
    });
    (url, serving)
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-protocol: chat.v1\r\n\r\n";

#[tokio::test]
async fn rfc8441_3_the_setting_is_there_where_some_route_allows_websocket() {
    let (url, _serving) = upstream(AGREED).await;
    for (world, expected) in [(before(&url).await, true), (World::orders().await, false)] {
        let mut frames = Frames::open(world.gateway.address()).await;
        let settings = frames.next().await.expect("SETTINGS");
        assert_eq!(settings.kind, SETTINGS);
        let announced = settings.payload.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1]);
        assert_eq!(announced, expected);
        let connect = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "api.test"),
            (":path", "/orders/1"),
        ];
        frames.request(1, &connect, END_STREAM).await;
        let end = frames.end(1).await;
        assert_eq!(end == End::Answered, expected, "{end:?}");
        assert_eq!(world.upstream.count(), 0);
    }
}

#[tokio::test]
async fn rfc8441_4_connect_is_decided_like_a_get_for_its_path() {
    let (url, serving) = upstream(AGREED).await;
    let world = before(&url).await;
    let client = world.gateway.http2().await;
    let good = format!("Bearer {}", world.token());
    let other = format!("Bearer {}", world.issuer.token().scopes("a").sign());
    for (claim, protocol, path, authorization, status) in [
        ("no token", "websocket", "/websocket", "", 401),
        ("another scope", "websocket", "/websocket", &*other, 403),
        ("no route", "websocket", "/nowhere", &good, 404),
        ("a route without upgrade", "websocket", "/plain", &good, 501),
        ("another protocol", "connect-udp", "/websocket", &good, 501),
    ] {
        let (response, ..) = client.connect(protocol, path, authorization).await;
        assert_eq!(response.status(), status, "{claim}");
    }
    assert!(!serving.is_finished(), "the upstream has heard of none");
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(client.get("/plain", &[("authorization", &good)]).await.status, 200, "it lives");
}

#[tokio::test]
async fn rfc8441_5_a_stream_becomes_a_websocket_of_http1() {
    let (url, serving) = upstream(AGREED).await;
    let world = before(&url).await;
    let client = world.gateway.http2().await;
    let token = format!("Bearer {}", world.token());
    let (response, mut sending, mut receiving) =
        client.connect("websocket", "/websocket", &token).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["sec-websocket-protocol"], "chat.v1");
    for name in ["sec-websocket-accept", "connection", "upgrade"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    let (head, mut stream) = in_time("a handshake", serving).await.unwrap();
    assert!(head.starts_with("GET /websocket HTTP/1.1\r\n"), "{head}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {head}");
    }
    assert!(!head.contains("the callers own"), "{head}");
    sending.send_data(Bytes::from_static(b"upwards"), false).unwrap();
    let mut came = [0; 7];
    in_time("bytes", stream.read_exact(&mut came)).await.unwrap();
    assert_eq!(&came, b"upwards");
    stream.write_all(b"downwards").await.unwrap();
    let data = in_time("data", receiving.data()).await.unwrap().unwrap();
    assert_eq!(data, "downwards");
    sending.send_data(Bytes::new(), true).unwrap();
    assert_eq!(in_time("the end", stream.read(&mut came)).await.unwrap(), 0);
    drop(stream);
    while let Some(data) = in_time("the end", receiving.data()).await {
        assert_eq!(data.unwrap(), "", "a clean end");
    }
    let log = world.gateway.whole_log().await;
    let line = log.lines().find(|line| line.contains("ended=\"closed\"")).expect("an access line");
    for field in ["method=CONNECT", "sent_bytes=9", "received_bytes=7", "status=200"] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[tokio::test]
async fn rfc8441_5_what_is_no_agreement_is_no_tunnel() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno".to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno".to_owned(), 403),
        (AGREED.replace("ACCEPT", "AAAA"), 502),
        (AGREED.replace("upgrade: websocket", "upgrade: irc"), 502),
    ] {
        let (url, _serving) = upstream(&answer).await;
        let world = before(&url).await;
        let client = world.gateway.http2().await;
        let token = format!("Bearer {}", world.token());
        let (response, ..) = client.connect("websocket", "/websocket", &token).await;
        assert_eq!(response.status(), status, "{answer}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (url, _serving) = upstream(AGREED).await;
    let world = before(&url).await;
    let client = world.gateway.http2().await;
    let token = world.issuer.token().scopes("orders:read").claim("exp", unix_now() + 2).sign();
    let token = format!("Bearer {token}");
    let (response, _sending, mut receiving) =
        client.connect("websocket", "/websocket", &token).await;
    assert_eq!(response.status(), 200);
    let mut came = Vec::new();
    while let Some(data) = in_time("data", receiving.data()).await {
        came.extend(data.unwrap());
    }
    assert_eq!(came, b"\x88\x15\x03\xf0the token has ended");
    let plain = format!("Bearer {}", world.token());
    let response = client.get("/plain", &[("authorization", &plain)]).await;
    assert_eq!(response.status, 200, "the connection lives");
}

/// A gateway with TLS in front of an upstream.
async fn over_tls(authority: &Authority, issuer: &TestIssuer, upstream: &str) -> Gateway {
    let setup = Setup::new().issuer("main", issuer, "").upstream("chat", upstream, "").route(CHAT);
    let server = authority.certify(&["127.0.0.1"]);
    setup.folder.write("tls.crt", &server.certificate);
    setup.folder.write("tls.key", &server.key);
    setup.listener("[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"").start().await
}

async fn proves(mut command: Command, gateway: &str) -> serde_json::Value {
    let (status, output, errors) = program::run(command.args(["--gateway", gateway])).await;
    assert!(status.success(), "{status}\n{output}\n{errors}");
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

#[tokio::test]
async fn the_websockets_library_through_the_gateway() {
    let (_program, echo) = server("clients/python/websocket_echo.py", &[], &[]).await;
    let world = before(&echo).await;
    let other = world.issuer.token().scopes("a").sign();
    let client = || {
        let mut command = python("clients/python/websocket_client.py");
        command.args(["--token", &world.token(), "--other-token", &other]);
        command
    };
    let seen = proves(client(), &world.gateway.url()).await;
    assert_eq!(seen["refused"]["wrong scope"]["status"], 403);
    let (status, ..) = program::run(client().args(["--gateway", &echo])).await;
    assert_eq!(status.code(), Some(1), "it does not notice that there is no gateway");
}

#[tokio::test]
async fn whatever_is_said_arrives_as_it_would_without_the_gateway() {
    let (_program, echo) = server("clients/python/websocket_echo.py", &[], &[]).await;
    let world = before(&echo).await;
    let authority = Authority::new();
    let secure = over_tls(&authority, &world.issuer, &echo).await;
    let folder = crate::harness::Scratch::new();
    let ca = folder.write("ca.pem", authority.pem()).display().to_string();
    // One gateway before the other, with TLS between the two: ALPN must not settle on HTTP/2.
    let behind = secure.url().replace("http:", "https:");
    let chained = Setup::new()
        .issuer("main", &world.issuer, "")
        .upstream("chat", &behind, &format!("tls = {{ ca = \"{ca}\" }}"))
        .route(CHAT)
        .start()
        .await;
    let token = world.token();
    let wires = [
        ("HTTP/1.1", "http1", "", world.gateway.url()),
        ("HTTP/2", "http2", "", world.gateway.url()),
        ("HTTP/1.1 over TLS", "http1", &*ca, behind.clone()),
        ("HTTP/2 over TLS", "http2", &ca, behind.clone()),
        ("an upstream over TLS", "http1", "", chained.url()),
    ];
    let all = wires.map(async |(claim, wire, ca, gateway)| {
        let mut command = python("clients/python/websocket_cases.py");
        command.args(["--direct", &echo, "--token", &token, "--wire", wire, "--ca", ca]);
        let seen = proves(command, &gateway).await;
        assert_eq!(seen["conversations"], 79, "{claim}");
    });
    futures_util::future::join_all(all).await;
}
