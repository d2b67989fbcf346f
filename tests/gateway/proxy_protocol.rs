//! The PROXY protocol, versions 1 and 2: from a trusted proxy alone, and never guessed.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::program::{self, Program};
use crate::harness::tls::Authority;
use crate::harness::{TestIssuer, World, eventually, in_time};

const ROUTE: &str = r#"path = "/p", access = "public""#;
/// Asked for behind a header. A caller behind a proxy of bytes can say what it likes here.
const REQUEST: &[u8] = b"GET /p HTTP/1.1\r\nhost: api.test\r\nx-forwarded-for: 6.6.6.6\r\n\
                         forwarded: for=6.6.6.6\r\nconnection: close\r\n\r\n";

async fn trusting(networks: &str, more: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        let listener = format!("proxy_protocol = true\ntrusted_proxies = [{networks}]\n{more}");
        setup.listener(&listener).route(ROUTE)
    })
    .await
}

/// Whatever comes back for these bytes.
async fn answer(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // Part by part: a header may come in any pieces.
    let (first, rest) = bytes.split_at(bytes.len().min(5));
    let _ = stream.write_all(first).await;
    let _ = stream.write_all(rest).await;
    let mut answer = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn v2(kind: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[kind, family], &length, payload].concat()
}

async fn ended(world: &World, reason: &str) -> f64 {
    let labels = [("reason", reason)];
    world.gateway.metric("scopegate_connections_ended_total", &labels).await
}

#[tokio::test]
async fn the_named_caller_is_the_peer_and_a_guess_is_never_made() {
    let world = trusting("\"127.0.0.1\", \"10.0.0.0/8\"", "").await;
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    #[rustfmt::skip]
    let cases = [
        // header                                                  x-forwarded-for upstream
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(),     "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 ::1 4660 80\r\n".to_vec(),        "2001:db8::9"),
        (b"PROXY TCP4 10.1.2.3 10.0.0.1 4660 80\r\n".to_vec(),      "6.6.6.6, 10.1.2.3"),
        (v2(0x21, 0x11, &v4),                                       "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(),                             "127.0.0.1"),
        (v2(0x20, 0, b""),                                          "127.0.0.1"),
    ];
    for (header, forwarded) in cases {
        let bytes = [&header[..], REQUEST].concat();
        let answer = answer(world.gateway.address(), &bytes).await;
        let shown = header.escape_ascii();
        assert!(answer.starts_with("HTTP/1.1 200"), "{shown}: {answer}");
        let seen = world.upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some(forwarded), "{shown}");
    }
    let count = world.upstream.count();
    for bytes in [
        REQUEST.to_vec(),
        [b"PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n", REQUEST].concat(),
        [&v2(0x21, 0x11, &v4[..4]), REQUEST].concat(),
        b"PROXY TCP4 ".to_vec(),
    ] {
        let bytes = [&bytes[..], b"\r\n\r\n"].concat();
        assert_eq!(answer(world.gateway.address(), &bytes).await, "", "{}", bytes.escape_ascii());
    }
    eventually("what was refused", async || {
        (ended(&world, "proxy_malformed").await == 4.0).then_some(())
    })
    .await;
    assert_eq!(world.upstream.count(), count);
    let log = world.gateway.whole_log().await;
    assert!(log.contains("192.0.2.7:4660"), "the peer of the access log: {log}");
}

#[tokio::test]
async fn a_header_from_a_stranger_and_one_that_does_not_come_end_the_connection() {
    let strange = trusting("\"192.0.2.0/24\"", "").await;
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n";
    let bytes = [header, REQUEST].concat();
    assert_eq!(answer(strange.gateway.address(), &bytes).await, "");
    eventually("the stranger", async || {
        (ended(&strange, "proxy_untrusted").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(strange.upstream.count(), 0);

    let slow = trusting("\"127.0.0.1\"", "limits.header_timeout = \"300ms\"").await;
    let mut silent = TcpStream::connect(slow.gateway.address()).await.unwrap();
    silent.write_all(&header[..20]).await.unwrap();
    let mut answer = Vec::new();
    in_time("the end", silent.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
    assert_eq!(ended(&slow, "proxy_too_slow").await, 1.0);
}

#[tokio::test]
async fn curl_sends_one_before_tls() {
    let authority = Authority::new();
    let server = authority.certify(&["127.0.0.1"]);
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"";
        let proxy = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\"]";
        setup.listener(&format!("{proxy}\n{tls}")).route(ROUTE)
    })
    .await;
    let url = format!("https://{}/p", world.gateway.address());
    for (arguments, status) in [(&["--haproxy-protocol"][..], "200"), (&[], "000")] {
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10"]);
        curl.args(arguments).arg(&url);
        let (_, output, errors) = program::run(&mut curl).await;
        assert_eq!(output, status, "{arguments:?}: {errors}");
    }
}

/// A port that was free a moment ago: HAProxy does not say which one it got.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn haproxy_says_whom_it_speaks_for_in_both_versions() {
    let world = trusting("\"127.0.0.1\"", "").await;
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"] {
        let (port, to) = (free_port().await, world.gateway.address());
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server \
             20s\nlisten gateway\n  bind 127.0.0.1:{port}\n  server one {to} {version} source \
             127.0.0.1\n"
        );
        let config = world.gateway.folder().write("haproxy.cfg", config);
        let mut haproxy = Program::start(Command::new("haproxy").arg("-db").arg("-f").arg(config));
        let mut caller = eventually("HAProxy", async || {
            if let Some(status) = haproxy.ended() {
                panic!("{status}: {}", haproxy.errors().text());
            }
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
            socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await.ok()
        })
        .await;
        caller.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        in_time("an answer", caller.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{version}: {}", answer.escape_ascii());
        let seen = world.upstream.last();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.9"), "{version}");
    }
}
