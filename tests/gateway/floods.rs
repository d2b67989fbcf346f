//! Callers that send without end, or do not send or read on (RFC 9113 §10.5): bounded, counted, and
//! the others do not notice.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    frame, hpack,
};
use crate::harness::tls::Authority;
use crate::harness::{Reply, TestIssuer, World, eventually, in_time};

const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/p")];

/// One with a public route, and with a listener that has this as well.
async fn with_listener(listener: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| {
        setup.listener(listener).route(r#"path = "/p", access = "public""#)
    })
    .await
}

/// Waits until that many connections were ended for that reason.
async fn counted(world: &World, reason: &str, least: f64) {
    eventually(reason, async || {
        let labels = [("reason", reason)];
        let count = world.gateway.metric("scopegate_connections_ended_total", &labels).await;
        (least <= count).then_some(())
    })
    .await;
}

/// Another caller is served, and little memory is held.
async fn unharmed(world: &World, after: &str) {
    assert_eq!(world.gateway.get("/p").send().await.status, 200, "{after}");
    let resident = world.gateway.metric("process_resident_memory_bytes", &[]).await;
    assert!(resident < 192.0 * 1024.0 * 1024.0, "{after}: {resident} bytes");
}

#[tokio::test]
async fn rfc9113_10_5_each_flood_of_frames_ends_its_connection_and_is_counted() {
    let world = with_listener("").await;
    let reset = [
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &hpack(&GOOD)),
        frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()),
    ];
    let more = frame(CONTINUATION, 0, 1, &hpack(&[("x-more", &"a".repeat(1_000))]));
    #[rustfmt::skip]
    let cases = [
        // flood                 what comes before it                            what is repeated
        ("PING",                 Vec::new(),                                     frame(PING, 0, 0, &[0; 8])),
        ("PING answers",         Vec::new(),                                     frame(PING, 1, 0, &[0; 8])),
        ("SETTINGS",             Vec::new(),                                     frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
        ("PRIORITY",             Vec::new(),                                     frame(2, 0, 1, &[0, 0, 0, 3, 9])),
        ("frames of no meaning", Vec::new(),                                     frame(200, 0, 0, b"")),
        ("DATA without a byte",  frame(HEADERS, END_HEADERS, 1, &hpack(&GOOD)),  frame(DATA, 0, 1, b"")),
        ("CONTINUATION",         frame(HEADERS, 0, 1, &hpack(&GOOD)),            more),
    ];
    let neighbour = world.gateway.http2().await;
    let mut floods = 0.0;
    for (name, before, repeated) in cases {
        let mut flood = Frames::open(world.gateway.address()).await;
        flood.raw(&before).await;
        let goes_on = flood.flood(&repeated, 3_000_000).await;
        assert!(!goes_on, "{name} goes on for ever");
        floods += 1.0;
        counted(&world, "http2_flood", floods).await;
        unharmed(&world, name).await;
        assert_eq!(neighbour.get("/p", &[]).await.status, 200, "{name}: another connection");
    }
    let mut resets = Frames::open(world.gateway.address()).await;
    let goes_on = async {
        for stream in (1..40_000_u32).step_by(2) {
            let [mut request, mut reset] = reset.clone();
            request[5..9].copy_from_slice(&stream.to_be_bytes());
            reset[5..9].copy_from_slice(&stream.to_be_bytes());
            if !resets.raw(&[request, reset].concat()).await {
                return false;
            }
        }
        true
    };
    assert!(!goes_on.await, "rapid resets go on for ever");
    counted(&world, "http2_flood", floods + 1.0).await;
    unharmed(&world, "rapid resets").await;
    assert_eq!(neighbour.get("/p", &[]).await.status, 200, "rapid resets: another connection");
}

#[tokio::test]
async fn rfc7541_7_3_a_few_bytes_that_stand_for_many_are_not_unpacked() {
    let world = with_listener("").await;
    let mut bomb = Frames::open(world.gateway.address()).await;
    // A field of 4000 bytes goes into the table, and is named 16,000 times more in one frame.
    let mut large = vec![0x40];
    large.extend(&hpack(&[("x-large", &"a".repeat(4_000))])[1..]);
    let mut block = hpack(&GOOD);
    block.extend(large);
    for stream in (1..41).step_by(2) {
        let named = vec![0x80 | 62; 16_000 - block.len()];
        let bytes = [block.clone(), named].concat();
        bomb.send(HEADERS, END_HEADERS | END_STREAM, stream, &bytes).await;
    }
    for stream in (1..41).step_by(2) {
        // 431, or the connection is given up.
        if let End::Gone(_) = bomb.end(stream).await {
            break;
        }
    }
    assert_eq!(world.upstream.count(), 0);
    counted(&world, "http2_flood", 1.0).await;
    unharmed(&world, "a header bomb").await;
}

#[tokio::test]
async fn rfc9113_10_5_streams_whose_window_stays_shut_are_given_up() {
    let world = with_listener("limits.idle_timeout = \"1s\"").await;
    world.upstream.answer(|seen| match seen.header("x-large") {
        Some(_) => Reply::status(200).body("a".repeat(1 << 20)),
        None => Reply::status(200),
    });
    let mut stalled = Frames::open(world.gateway.address()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2) of zero: no answer's body may be sent.
    stalled.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
    let fields = [GOOD.as_slice(), &[("x-large", "1")]].concat();
    for stream in (1..200).step_by(2) {
        stalled.request(stream, &fields, END_STREAM).await;
    }
    assert_eq!(stalled.end(1).await, End::Answered);
    unharmed(&world, "while the windows are shut").await;
    let mut given_up = 0;
    while given_up < 100 {
        match stalled.next().await {
            Some(frame) if frame.kind == RST_STREAM => given_up += 1,
            Some(frame) if frame.kind == PING && frame.flags == 0 => {
                stalled.send(PING, 1, 0, &frame.payload).await;
            }
            Some(_) => {}
            None => break, // the connection with all of them
        }
    }
    assert_eq!(given_up, 100, "the connection went before its streams");
    eventually("the streams", async || {
        let labels = [("reason", "stalled")];
        let count = world.gateway.metric("scopegate_streams_ended_total", &labels).await;
        (count >= 100.0).then(|| assert_eq!(count, 100.0))
    })
    .await;
    unharmed(&world, "when they were given up").await;
}

#[tokio::test]
async fn callers_that_are_slow_or_speak_no_tls_are_ended_and_counted() {
    let authority = Authority::new();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let server = authority.certify(&["api.test"]);
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        let limits = "limits = { header_timeout = \"500ms\", idle_timeout = \"1s\" }";
        let tls = "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n";
        setup
            .listener(&format!(
                "{limits}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n{limits}\n{tls}"
            ))
            .route(r#"path = "/p", access = "public""#)
    })
    .await;
    world.upstream.answer(|_| Reply::status(200).body("a".repeat(32 << 20)));
    let tls: std::net::SocketAddr = world.gateway.addresses()[1].parse().unwrap();
    let open = async |to, bytes: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    };
    let plain = world.gateway.address();
    let _silent = open(plain, b"").await;
    let _half = open(plain, b"GET /p HTTP/1.1\r\nhost:").await;
    let _unread = open(plain, b"GET /p HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    let _waiting = open(tls, &[22, 3, 1]).await;
    let mut other = open(tls, b"GET /p HTTP/1.1\r\nhost: api.test\r\n\r\n").await;
    let mut alert = Vec::new();
    let _ = in_time("the end", other.read_to_end(&mut alert)).await;
    assert!(!alert.starts_with(b"HTTP"), "plaintext is not served");
    counted(&world, "handshake_failed", 1.0).await;
    counted(&world, "handshake_too_slow", 1.0).await;
    counted(&world, "head_too_slow", 2.0).await;
    counted(&world, "stalled", 1.0).await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_and_that_is_counted() {
    let world = with_listener("limits.connections = 1").await;
    let reached =
        async || world.gateway.metric("scopegate_connection_limit_reached_total", &[]).await;
    let mut first = world.gateway.connect().await;
    first.write(&world.gateway.get("/p").bytes()).await;
    assert_eq!(first.response("GET").await.status, 200);
    let mut second = world.gateway.connect().await;
    second.write(&world.gateway.get("/p").bytes()).await;
    eventually("the limit", async || (reached().await > 0.0).then_some(())).await;
    drop(first);
    assert_eq!(second.response("GET").await.status, 200);
}
