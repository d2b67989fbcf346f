//! Upstreams that fail (contract: 502, 502, 504), and connections to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::harness::backend::Then;
use crate::harness::tls::Authority;
use crate::harness::world::Setup;
use crate::harness::{Backend, Gateway, RawBackend, Reply, World, http1};

const ROUTE: &str = r#"path = "/p", access = "public""#;
const TIMES: &str = r#"timeouts = { connect = "300ms", header = "300ms", idle = "500ms" }"#;

async fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> (RawBackend, Gateway) {
    let upstream = RawBackend::start(bytes, then).await;
    let gateway = Setup::new().upstream("api", &upstream.url(), TIMES).route(ROUTE).start().await;
    (upstream, gateway)
}

#[tokio::test]
async fn answers_that_break_http_are_502() {
    let cases = [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 99999 Odd\r\n\r\n",
    ];
    for bytes in cases {
        let (_upstream, gateway) = raw(bytes, Then::Close).await;
        let response = gateway.get("/p").send().await;
        assert_eq!(response.status, 502, "{bytes:?}: {}", response.text());
    }
}

#[tokio::test]
async fn an_upstream_that_resets_is_502_and_a_post_is_not_sent_twice() {
    let (upstream, gateway) = raw("", Then::Close).await;
    let response = gateway.request("POST", "/p").body("hello").send().await;
    assert_eq!(response.status, 502);
    assert_eq!(upstream.received().matches("POST /p").count(), 1, "{}", upstream.received());
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_504_in_time() {
    let (_upstream, gateway) = raw("", Then::Hang).await;
    let start = Instant::now();
    assert_eq!(gateway.get("/p").send().await.status, 504);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn rfc9112_8_a_body_that_stops_is_never_ended_cleanly() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        for then in [Then::Close, Then::Hang] {
            let (_upstream, gateway) = raw(bytes, then).await;
            let mut connection = gateway.connect().await;
            connection.write(&gateway.get("/p").bytes()).await;
            // Closed, be it before the head had left the gateway's buffers.
            let answer = String::from_utf8(connection.rest().await).unwrap();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{bytes:?} {then:?} ended cleanly");
        }
    }
}

#[tokio::test]
async fn rfc9112_6_3_bytes_behind_an_answer_are_never_the_next_one() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let (_upstream, gateway) = raw(bytes, Then::Continue).await;
    for _ in 0..4 {
        let response = gateway.get("/p").send().await;
        assert!(response.text() == "ok" || response.status == 502, "{}", response.text());
    }
}

#[tokio::test]
async fn rfc9112_6_3_no_body_is_awaited_where_none_can_be() {
    for (method, bytes) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let (_upstream, gateway) = raw(bytes, Then::Continue).await;
        let mut connection = gateway.connect().await;
        for _ in 0..2 {
            connection.write(&gateway.request(method, "/p").bytes()).await;
            let response = connection.response(method).await;
            assert!(matches!(response.status, 200 | 204 | 304), "{method}: {}", response.status);
        }
    }
}

#[tokio::test]
async fn rfc9110_15_2_an_interim_answer_leaves_the_final_one_intact() {
    let bytes = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (_upstream, gateway) = raw(bytes, Then::Continue).await;
    let response = gateway.get("/p").send().await;
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let (upstream, gateway) =
        raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Continue).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/p").send().await.status, 200);
    }
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

/// An upstream over TLS that answers every connection once; how many requests it saw whole.
async fn over_tls(authority: &Authority, name: &str, alpn: &'static [&'static [u8]]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.certify(&[name]).server(alpn);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let answer =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\ntls";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn rfc9110_4_3_4_an_upstream_with_another_name_or_ca_is_502() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases = [
        ("as it should be", &authority, "127.0.0.1", "", 200),
        ("a name of its own", &authority, "inner.test", "server_name = \"inner.test\", ", 200),
        ("another name", &authority, "other.test", "", 502),
        ("another authority", &other, "127.0.0.1", "", 502),
    ];
    for (claim, by, name, server_name, status) in cases {
        let port = over_tls(by, name, &[b"http/1.1"]).await;
        let setup = Setup::new();
        setup.folder.write("ca.pem", authority.pem());
        let tls = format!("tls = {{ {server_name}ca = \"ca.pem\" }}");
        let url = format!("https://127.0.0.1:{port}");
        let gateway = setup.upstream("api", &url, &tls).route(ROUTE).start_unready().await;
        let response = gateway.get("/p").send().await;
        assert_eq!(response.status, status, "{claim}: {}\n{}", response.text(), gateway.log());
    }
}

#[tokio::test]
async fn a_listener_with_tls_speaks_both_versions_and_can_ask_for_a_certificate() {
    let authority = Authority::new();
    let (server, caller) = (authority.certify(&["api.test"]), authority.certify(&["caller.test"]));
    for client_ca in [false, true] {
        let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
            setup.folder.write("tls.crt", &server.certificate);
            setup.folder.write("tls.key", &server.key);
            setup.folder.write("clients.pem", authority.pem());
            let ca = if client_ca { "client_ca = \"clients.pem\"" } else { "" };
            let tls =
                format!("[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n{ca}");
            setup.listener(&tls).route(ROUTE)
        })
        .await;
        let address = world.gateway.address();
        let identity = client_ca.then_some(&caller);
        let stream = authority.connect(address, "api.test", &[b"h2"], identity).await.unwrap();
        let client = crate::harness::http2::Http2::over(stream, "https").await;
        assert_eq!(client.get("/p", &[]).await.status, 200);
        assert_eq!(world.upstream.last().header("x-forwarded-proto"), Some("https"));

        let mut stream =
            authority.connect(address, "api.test", &[b"http/1.1"], identity).await.unwrap();
        stream
            .write_all(b"GET /p HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));

        if client_ca {
            let before = world.upstream.count();
            if let Ok(mut stream) = authority.connect(address, "api.test", &[], None).await {
                let _ = stream.write_all(b"GET /p HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                assert!(answer.is_empty(), "a caller without a certificate");
            }
            assert_eq!(world.upstream.count(), before);
        }
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream() {
    let setup = Setup::new();
    let path = setup.folder.path().join("api.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nunix")
                .await;
        }
    });
    let url = format!("unix:{}", path.display());
    let gateway = setup.upstream("api", &url, "").route(ROUTE).start().await;
    assert_eq!(gateway.get("/p").send().await.text(), "unix");
    let bad = http1::exchange(gateway.address(), b"GET /p HTTP/1.1\r\n\r\n").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn an_upstream_over_tls_speaks_what_alpn_says() {
    for (alpn, version) in [(&b"h2"[..], "HTTP/2.0"), (b"http/1.1", "HTTP/1.1")] {
        let authority = Authority::new();
        let upstream = Backend::over_tls(&authority, &[alpn]).await;
        upstream.answer(|seen| Reply::status(200).body(seen.body.clone()));
        let setup = Setup::new();
        setup.folder.write("ca.pem", authority.pem());
        let url = upstream.url().replace("http://", "https://");
        let gateway =
            setup.upstream("api", &url, "tls = { ca = \"ca.pem\" }").route(ROUTE).start().await;
        let response = gateway.request("POST", "/p").body("hello").send().await;
        assert_eq!((response.status, response.text().as_str()), (200, "hello"), "{version}");
        assert_eq!(upstream.last().version, version);
    }
}

#[tokio::test]
async fn more_requests_than_the_limit_are_503_and_the_others_go_on() {
    let (gate, upstream) = (Arc::new(Notify::new()), Backend::start().await);
    let opened = Arc::clone(&gate);
    upstream.answer(move |_| Reply::status(200).after(&opened));
    let gateway = Setup::new()
        .upstream("api", &upstream.url(), "limits = { requests = 1 }")
        .route(ROUTE)
        .start()
        .await;
    let mut first = gateway.connect().await;
    first.write(&gateway.get("/p").bytes()).await;
    upstream.reached(1).await;
    let second = gateway.get("/p").send().await;
    assert_eq!(second.status, 503);
    assert!(!second.header("retry-after").is_empty());
    gate.notify_one();
    assert_eq!(first.response("GET").await.status, 200);
}

#[tokio::test]
async fn a_unix_socket_is_a_listener() {
    let upstream = Backend::start().await;
    let setup = Setup::new().upstream("api", &upstream.url(), "").route(ROUTE);
    let path = setup.folder.path().join("in.sock");
    let text = setup.text().replacen("127.0.0.1:0", &format!("unix:{}", path.display()), 1);
    let _gateway = Gateway::start_in(setup.folder, &text).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /p HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    let forwarded = upstream.last().all("forwarded").join(", ");
    assert!(forwarded.contains("for=unknown"), "RFC 7239 section 6: {forwarded}");
}

#[tokio::test]
async fn rfc9110_15_5_20_a_host_that_the_certificate_does_not_cover_is_421() {
    let authority = Authority::new();
    let server = authority.certify(&["api.test"]);
    let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"";
        setup.listener(tls).route(ROUTE)
    })
    .await;
    for (host, status) in [("api.test", "200"), ("other.test", "421")] {
        let stream =
            authority.connect(world.gateway.address(), "api.test", &[b"http/1.1"], None).await;
        let mut stream = stream.unwrap();
        let request = format!("GET /p HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(answer.get(9..12), Some(status), "{host}: {answer}");
    }
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn an_upload_that_goes_on_outlasts_the_time_for_an_answer() {
    let upstream = Backend::start().await;
    let gateway = Setup::new()
        .upstream("api", &upstream.url(), "timeouts = { header = \"400ms\" }")
        .route(r#"path = "/p", access = "public""#)
        .start()
        .await;
    let mut connection = gateway.connect().await;
    let head = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
    connection.write(head.as_bytes()).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        connection.write(b"x").await;
    }
    assert_eq!(connection.response("POST").await.status, 200);
    assert_eq!(upstream.last().body.len(), 10);
}

#[tokio::test]
async fn rfc9112_5_1_a_malformed_field_of_an_upstream_is_502_or_repaired() {
    for field in ["x-a : 1", "x-a: 1\r\n folded: 2", " x-a: 1", "x-a: 1\0 2", "x(a): 1"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 2\r\n\r\nok");
        let (_upstream, gateway) = raw(bytes, Then::Close).await;
        let mut connection = gateway.connect().await;
        connection.write(&gateway.get("/p").header("connection", "close").bytes()).await;
        let answer = String::from_utf8(connection.rest().await).unwrap();
        let repaired = !answer.contains(field) && !answer.contains("\r\n ");
        let refused = answer.starts_with("HTTP/1.1 502");
        assert!(refused || (repaired && answer.ends_with("\r\n\r\nok")), "{field:?}: {answer}");
    }
}

#[tokio::test]
async fn rfc9110_7_4_a_trusted_front_may_send_hosts_that_the_certificate_does_not_name() {
    let authority = Authority::new();
    let server = authority.certify(&["other.test"]);
    for (trusted, status) in [("", 421), ("trusted_proxies = [\"127.0.0.0/8\"]\n", 200)] {
        let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
            setup.folder.write("tls.crt", &server.certificate);
            setup.folder.write("tls.key", &server.key);
            let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"";
            setup.listener(&format!("{trusted}{tls}")).route(ROUTE)
        })
        .await;
        let address = world.gateway.address();
        let stream = authority.connect(address, "other.test", &[b"h2"], None).await.unwrap();
        let client = crate::harness::http2::Http2::over(stream, "https").await;
        assert_eq!(client.get("/p", &[]).await.status, status, "{trusted}: for api.test");
        assert_eq!(world.upstream.count(), usize::from(status == 200), "{trusted}");
    }
}

#[tokio::test]
async fn a_caller_that_says_nothing_is_ended_before_and_inside_a_handshake() {
    let authority = Authority::new();
    let server = authority.certify(&["api.test"]);
    for tls in ["", "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\""] {
        let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
            setup.folder.write("tls.crt", &server.certificate);
            setup.folder.write("tls.key", &server.key);
            let limits = "limits = { header_timeout = \"300ms\" }\n";
            setup.listener(&format!("{limits}{tls}")).route(ROUTE)
        })
        .await;
        // The first bytes of the preface of HTTP/2, and of a TLS record.
        for start in [&b""[..], b"PRI", b"\x16\x03\x01"] {
            let mut connection = world.gateway.connect().await;
            connection.write(start).await;
            connection.rest().await;
        }
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_its_turn() {
    let world = World::built(crate::harness::TestIssuer::new(), "", |setup| {
        setup.listener("limits = { connections = 1 }").route(ROUTE)
    })
    .await;
    let mut first = world.gateway.connect().await;
    first.write(&world.gateway.get("/p").bytes()).await;
    assert_eq!(first.response("GET").await.status, 200);
    let mut second = world.gateway.connect().await;
    second.write(&world.gateway.get("/p").bytes()).await;
    first.write(&world.gateway.get("/p").bytes()).await;
    assert_eq!(first.response("GET").await.status, 200);
    assert_eq!(world.upstream.count(), 2, "the second one waits");
    drop(first);
    assert_eq!(second.response("GET").await.status, 200);
}

/// An upstream that takes a connection and reads nothing from it.
async fn deaf() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    url
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_its_caller_back() {
    let times = r#"timeouts = { connect = "300ms", header = "30s", idle = "30s" }"#;
    let gateway = Setup::new().upstream("api", &deaf().await, times).route(ROUTE).start().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let head = b"POST /p HTTP/1.1\r\nhost: api.test\r\ncontent-length: 4000000000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (piece, mut sent, pause) = (vec![b'a'; 65_536], 0_usize, Duration::from_secs(1));
    while let Ok(written) = tokio::time::timeout(pause, stream.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 200_000_000, "it takes {sent} bytes that nobody reads");
    }
    let resident = gateway.gauge("process_resident_memory_bytes").await;
    assert!(resident < 128.0 * 1024.0 * 1024.0, "{resident} bytes held after {sent} were sent");
}
