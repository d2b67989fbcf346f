//! Connections that become another protocol's: RFC 9110 §7.8, RFC 6455, RFC 8441.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::backend::Then;
use crate::harness::http1::Connection;
use crate::harness::{Gateway, RawBackend, TestIssuer, World, eventually, in_time, unix_now};

/// A route to the upstream `raw`, whose protocol needs no handshake of its own.
const ECHO: &str = r#"name = "chat", path = "/chat", access = { scopes = ["orders:read"] }, upstream = "raw", upgrade = { protocols = ["echo"] }"#;
const WEBSOCKET: &str = r#"name = "chat", path = "/chat", access = { scopes = ["orders:read"] }, upstream = "raw", upgrade = { protocols = ["websocket"] }"#;
const PUBLIC: &str = r#"path = "/public", access = "public""#;
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Echo\r\nx-kept: 1\r\ncontent-length: 7\r\n\r\nwelcome";
const HIDDEN: &[u8] = b"GET /public HTTP/1.1\r\nhost: api.test\r\n\r\n";

async fn before(upstream: &str, route: &str, more: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        setup.upstream("raw", upstream, "").table(more).route(route).route(PUBLIC)
    })
    .await
}

async fn raw(answer: &str, route: &str, more: &str) -> (World, RawBackend) {
    let raw = RawBackend::start(answer, Then::Continue).await;
    (before(&raw.url(), route, more).await, raw)
}

/// A request that asks for a protocol.
fn asking(gateway: &Gateway, token: &str, protocol: &str) -> Vec<u8> {
    let request = gateway.get("/chat").header("connection", "keep-alive, Upgrade");
    let request = request.header("upgrade", protocol).header("sec-websocket-version", "13");
    let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    match token {
        "" => request.bytes(),
        token => request.bearer(token).bytes(),
    }
}

async fn opened(world: &World, token: &str) -> Connection {
    let mut connection = world.gateway.connect().await;
    connection.write(&asking(&world.gateway, token, "echo")).await;
    assert_eq!(connection.head().await.status, 101);
    connection.receives("welcome").await;
    connection
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn rfc6455_10_5_without_a_good_token_the_upstream_hears_of_nothing() {
    let (world, raw) = raw(AGREED, ECHO, "").await;
    let other = world.issuer.token().scopes("orders:write").sign();
    for (token, status) in [("", 401), ("not-a-token", 401), (&other, 403)] {
        let mut connection = world.gateway.connect().await;
        let sent = [&asking(&world.gateway, token, "echo"), HIDDEN].concat();
        connection.write(&sent).await;
        let response = connection.response("GET").await;
        assert_eq!((response.status, response.header("connection")), (status, "close"));
        assert_eq!(connection.rest().await, b"", "what stands behind it is no request");
    }
    assert_eq!((raw.connections(), world.upstream.count()), (0, 0));
}

#[tokio::test]
async fn rustsec_2026_0033_bytes_flow_after_the_101_and_not_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let world = before(&url, ECHO, "").await;
    let mut caller = world.gateway.connect().await;
    // Bytes that would be refused in a request.
    let sent = [&asking(&world.gateway, &world.token(), "h2c, ECHO"), &b"e\n#\0\n "[..]].concat();
    caller.write(&sent).await;
    let (mut upstream, _) = in_time("a connection", listener.accept()).await.unwrap();
    let head = read_head(&mut upstream).await;
    for line in
        ["\r\nconnection: upgrade\r\n", "\r\nupgrade: echo\r\n", "\r\nauthorization: Bearer "]
    {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
    assert!(head.contains("\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{head}");
    assert!(!head.contains("h2c"), "{head}");
    // The one worker answers this when it has done all that it could do for the other.
    assert_eq!(world.gateway.get("/public").send().await.status, 200);
    assert!(upstream.try_read(&mut [0; 1]).is_err(), "early bytes have gone through");

    upstream.write_all(AGREED.as_bytes()).await.unwrap();
    let answer = caller.head().await;
    assert_eq!((answer.status, answer.header("upgrade")), (101, "echo"));
    assert_eq!((answer.header("connection"), answer.header("x-kept")), ("upgrade", "1"));
    assert_eq!(answer.header("content-length"), "");
    assert_eq!(answer.header("x-request-id").len(), 32);
    caller.receives("welcome").await;
    caller.write(b"late").await;
    let mut came = [0; 10];
    in_time("bytes", upstream.read_exact(&mut came)).await.unwrap();
    assert_eq!(&came, b"e\n#\0\n late");
    caller.finish().await;
    assert_eq!(in_time("the end", upstream.read(&mut came)).await.unwrap(), 0);
    upstream.write_all(b" and after").await.unwrap();
    drop(upstream);
    assert_eq!(caller.rest().await, b"welcome and after");
    let log = world.gateway.whole_log().await;
    let line = log.lines().find(|line| line.contains("status=101")).expect("an access line");
    for field in ["route=\"chat\"", "sent_bytes=17", "received_bytes=10", "ended=\"closed\""] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[tokio::test]
async fn cve_2025_64763_a_declined_upgrade_is_an_answer_and_the_end_of_both_connections() {
    for status in [200, 401, 403, 426] {
        let answer = format!("HTTP/1.1 {status} Such\r\ncontent-length: 2\r\n\r\nno");
        let (world, raw) = raw(&answer, ECHO, "").await;
        for _ in 0..2 {
            let mut caller = world.gateway.connect().await;
            let sent = [&asking(&world.gateway, &world.token(), "echo"), HIDDEN].concat();
            caller.write(&sent).await;
            let response = caller.response("GET").await;
            assert_eq!((response.status, response.text().as_str()), (status, "no"));
            assert_eq!(response.header("connection"), "close");
            assert_eq!(caller.rest().await, b"");
        }
        assert_eq!((raw.connections(), world.upstream.count()), (2, 0), "{status}");
        assert!(!raw.received().contains("/public"), "{}", raw.received());
    }
}

#[tokio::test]
async fn rfc9110_7_8_a_101_to_something_else_is_502() {
    let to = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n");
    let key = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let upgrade = "connection: upgrade\r\nupgrade: websocket";
    for (claim, answer, status) in [
        ("as asked", to(&format!("{upgrade}\r\n{key}")), 101),
        ("another protocol", to(&format!("connection: upgrade\r\nupgrade: h2c\r\n{key}")), 502),
        ("two", to(&format!("connection: upgrade\r\nupgrade: websocket, irc\r\n{key}")), 502),
        ("none", to(&format!("connection: upgrade\r\n{key}")), 502),
        ("not by Connection", to(&format!("upgrade: websocket\r\n{key}")), 502),
        ("no accept", to(upgrade), 502),
        ("another accept", to(&format!("{upgrade}\r\nsec-websocket-accept: AAAA")), 502),
        ("HTTP/1.0", to(&format!("{upgrade}\r\n{key}")).replace("1.1 101", "1.0 101"), 502),
    ] {
        let (world, _raw) = raw(&answer, WEBSOCKET, "").await;
        let mut caller = world.gateway.connect().await;
        caller.write(&asking(&world.gateway, &world.token(), "websocket")).await;
        assert_eq!(caller.head().await.status, status, "{claim}");
        let open = world.gateway.metric("scopegate_upgrades_open", &[("route", "chat")]).await;
        assert_eq!(open == 1.0, status == 101, "{claim}");
    }
}

#[tokio::test]
async fn what_the_route_does_not_allow_is_dropped() {
    let route = ECHO.replace("upstream = \"raw\", ", "").replace("echo", "websocket");
    let world = before("http://127.0.0.1:1", &route, "").await;
    let token = world.token();
    for (claim, method, path, connection, upgrade) in [
        ("another protocol", "GET", "/chat", "Upgrade", "irc"),
        ("h2c", "GET", "/chat", "Upgrade, HTTP2-Settings", "h2c"),
        ("TLS", "GET", "/chat", "Upgrade", "TLS/1.2"),
        ("WebSocket is opened by GET", "POST", "/chat", "Upgrade", "websocket"),
        ("Connection does not say so", "GET", "/chat", "close", "websocket"),
        ("a route without upgrade", "GET", "/public", "Upgrade", "websocket"),
    ] {
        let request = world.gateway.request(method, path).bearer(&token);
        let request = request.header("connection", connection).header("upgrade", upgrade);
        assert_eq!(
            request.header("http2-settings", "AAMAAABk").send().await.status,
            200,
            "{claim}"
        );
        let seen = world.upstream.last();
        assert_eq!(
            (seen.header("upgrade"), seen.header("http2-settings")),
            (None, None),
            "{claim}"
        );
    }
    let mut http10 = world.gateway.connect().await;
    let bytes = asking(&world.gateway, &token, "websocket");
    let text = String::from_utf8(bytes).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    http10.write(&[text.as_bytes(), HIDDEN].concat()).await;
    let response = http10.response("GET").await;
    assert_eq!(response.status, 200, "HTTP/1.0 has no Upgrade");
    assert!(response.header("connection").starts_with("close"));
    assert_eq!(http10.rest().await, b"", "what stands behind it is no request");
}

#[tokio::test]
async fn a_body_beside_an_upgrade_is_400() {
    let (world, raw) = raw(AGREED, ECHO, "").await;
    for body in ["content-length: 5\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let asking = String::from_utf8(asking(&world.gateway, &world.token(), "echo")).unwrap();
        let mut caller = world.gateway.connect().await;
        caller
            .write(format!("{}\r\n{body}", asking.strip_suffix("\r\n\r\n").unwrap()).as_bytes())
            .await;
        let response = caller.response("GET").await;
        assert_eq!((response.status, response.header("connection")), (400, "close"), "{body}");
        assert_eq!(response.json()["reason"], "upgrade_malformed");
    }
    assert_eq!(raw.connections(), 0);
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

#[tokio::test]
async fn rfc6749_7_a_tunnel_ends_with_its_token_and_not_before() {
    let answer =
        AGREED.replace("Echo", "websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let answer = answer.replace("welcome", "\u{1}\u{1}a");
    let (world, _raw) = raw(&answer, WEBSOCKET, "").await;
    let end = unix_now() + 2;
    let token = world.issuer.token().scopes("orders:read").claim("exp", end).sign();
    let mut caller = world.gateway.connect().await;
    caller.write(&asking(&world.gateway, &token, "websocket")).await;
    assert_eq!(caller.head().await.status, 101);
    let status = world.gateway.admin("/status").await.json();
    let routes = status["routes"].as_array().unwrap();
    let chat = routes.iter().find(|route| route["name"] == "chat").unwrap();
    assert_eq!(chat["upgrades_open"], 1);
    let rest = caller.rest().await;
    let late = wall_clock().as_secs_f64() - f64::from(i32::try_from(end).unwrap());
    assert!((0.0..1.0).contains(&late), "{late} s after the token's end");
    assert_eq!(rest, b"\x01\x01a\x88\x15\x03\xf0the token has ended");
    let ended = [("route", "chat"), ("end", "token_ended")];
    eventually("the count", async || {
        (world.gateway.metric("scopegate_upgrades_total", &ended).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(world.gateway.metric("scopegate_upgrades_open", &[]).await, 0.0);
}

#[tokio::test]
async fn a_tunnel_may_outlive_its_token_if_the_route_says_so() {
    let route = ECHO.replace("[\"echo\"]", "[\"echo\"], ends_with_token = false");
    let (world, raw) = raw(AGREED, &route, "").await;
    let end = unix_now() + 1;
    let token = world.issuer.token().scopes("orders:read").claim("exp", end).sign();
    let mut caller = opened(&world, &token).await;
    eventually("the token's end", async || (end + 1 < unix_now()).then_some(())).await;
    caller.write(b"still here").await;
    raw.receives("still here").await;
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let route = ECHO.replace("[\"echo\"]", "[\"echo\"], idle_timeout = \"200ms\"");
    let (world, _raw) = raw(AGREED, &route, "").await;
    let mut caller = opened(&world, &world.token()).await;
    assert_eq!(caller.rest().await, b"welcome");
    assert!(world.gateway.whole_log().await.contains("ended=\"idle\""));
}

#[tokio::test]
async fn the_idle_timeout_of_the_listener_is_not_that_of_a_tunnel() {
    let raw = RawBackend::start(AGREED, Then::Continue).await;
    let url = raw.url();
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { idle_timeout = \"100ms\", header_timeout = \"100ms\" }")
            .upstream("raw", &url, "")
            .route(ECHO)
    })
    .await;
    let mut caller = opened(&world, &world.token()).await;
    tokio::time::sleep(Duration::from_millis(400)).await; // four times as long
    caller.write(b"late").await;
    raw.receives("late").await;
}

#[tokio::test]
async fn a_drain_lets_tunnels_go_on_and_then_ends_them() {
    let (mut world, raw) = raw(AGREED, ECHO, "[drain]\ndelay = \"0s\"\ntimeout = \"3s\"").await;
    let mut caller = opened(&world, &world.token()).await;
    world.gateway.signal("TERM");
    eventually("the end of accepting", async || {
        TcpStream::connect(world.gateway.address()).await.is_err().then_some(())
    })
    .await;
    caller.write(b"while it drains").await;
    raw.receives("while it drains").await;
    assert_eq!(caller.rest().await, b"welcome");
    assert_eq!(world.gateway.end().await.code(), Some(0));
    let log = world.gateway.log();
    assert!(log.contains("ended=\"drained\"") && !log.contains("drain timed out"), "{log}");
}

#[tokio::test]
async fn a_tunnel_is_a_request_under_way_until_it_ends() {
    let more = "[upstreams.raw.limits]\nrequests = 1\n";
    let (world, _raw) = raw(AGREED, ECHO, more).await;
    let token = world.token();
    let caller = opened(&world, &token).await;
    let status = async || {
        let mut second = world.gateway.connect().await;
        second.write(&asking(&world.gateway, &token, "echo")).await;
        second.status().await
    };
    assert_eq!(status().await, 503);
    drop(caller);
    eventually("the place", async || (status().await == 101).then_some(())).await;
}

#[tokio::test]
async fn a_connection_of_another_protocol_has_a_place_at_its_upstream_until_it_ends() {
    let raw = RawBackend::start(AGREED, Then::Continue).await;
    let limits = "limits = { connections = 1 }\ntimeouts = { connect = \"200ms\" }";
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.upstream("raw", &raw.url(), limits).route(ECHO)
    })
    .await;
    let token = world.token();
    let first = opened(&world, &token).await;
    let mut second = world.gateway.connect().await;
    second.write(&asking(&world.gateway, &token, "echo")).await;
    assert_eq!(second.response("GET").await.status, 503);
    drop(first);
    let open = [("upstream", "raw"), ("state", "open")];
    eventually("the end of the first", async || {
        let open = world.gateway.metric("scopegate_upstream_connections", &open).await;
        (open == 0.0).then_some(())
    })
    .await;
    opened(&world, &token).await;
}
