//! HTTP/2 (RFC 9113): malformed requests, by raw frames, and floods.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::harness::frames::{
    CONTINUATION, DATA, END_STREAM, End, Frames, HEADERS, PING, PROTOCOL_ERROR, REFUSED_STREAM,
    RST_STREAM, SETTINGS, hpack,
};
use crate::harness::{Reply, TestIssuer, World};

const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/p")];

async fn public() -> World {
    World::with(&[r#"path = "/p", access = "public""#]).await
}

/// A world, and a second one with that route in front of the first one's upstream, which it speaks
/// HTTP/2 to.
async fn before_http2(route: &str) -> (World, World) {
    let world = public().await;
    let url = world.upstream.url().replace("http://", "h2c://");
    let issuer = crate::harness::TestIssuer::new();
    let h2c = World::built(issuer, "", |setup| setup.upstream("h2c", &url, "").route(route)).await;
    (world, h2c)
}

/// The fields of a good request with these behind them.
fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [GOOD.as_slice(), more].concat()
}

async fn end(world: &World, fields: &[(&str, &str)]) -> End {
    let mut frames = Frames::open(world.gateway.address()).await;
    frames.request(1, fields, END_STREAM).await;
    frames.end(1).await
}

#[tokio::test]
async fn a_good_request_is_answered() {
    let world = public().await;
    assert_eq!(end(&world, &GOOD).await, End::Answered);
    let seen = world.upstream.last();
    assert_eq!((seen.version.as_str(), seen.header("host")), ("HTTP/1.1", Some("api.test")));
}

#[tokio::test]
async fn rfc9113_8_2_2_connection_fields_are_a_protocol_error() {
    let world = public().await;
    for field in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
    ] {
        let end = end(&world, &with(&[field])).await;
        assert!(refused(&end), "{field:?}: {end:?}");
    }
    assert_eq!(world.upstream.count(), 0);
}

/// Refused on the stream, or with the connection.
fn refused(end: &End) -> bool {
    matches!(end, End::Reset(_) | End::Gone(_))
}

#[tokio::test]
async fn rfc9113_8_2_1_malformed_fields_never_become_an_http1_request() {
    let world = public().await;
    for field in [
        ("X-Upper", "1"),
        ("x-a", "a\r\nx-injected: 1"),
        ("x-a", "a\nb"),
        ("x-a", "a\0b"),
        ("x:a", "1"),
        ("x a", "1"),
        ("x-a\r\nx-b", "1"),
        ("", "1"),
    ] {
        let end = end(&world, &with(&[field])).await;
        assert!(refused(&end), "{field:?}: {end:?}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9113_8_3_pseudo_fields_are_each_there_once_and_first() {
    let world = public().await;
    let without = |name: &str| -> Vec<_> {
        GOOD.iter().copied().filter(|(found, _)| *found != name).collect()
    };
    let after = vec![GOOD[0], GOOD[1], GOOD[2], ("x-a", "1"), GOOD[3]];
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no scheme", without(":scheme")),
        ("two methods", with(&[(":method", "POST")])),
        ("two paths", with(&[(":path", "/q")])),
        ("an unknown one", with(&[(":unheard-of", "1")])),
        ("one of a response", with(&[(":status", "200")])),
        ("behind a field", after),
    ];
    for (claim, fields) in cases {
        let end = end(&world, &fields).await;
        assert!(refused(&end), "{claim}: {end:?}");
    }
    for path in ["", "p", "*"] {
        let mut fields = GOOD;
        fields[3] = (":path", path);
        end(&world, &fields).await;
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9113_8_3_1_host_and_authority_agree_or_the_request_is_400() {
    let world = public().await;
    let client = world.gateway.http2().await;
    let response = client.get("/p", &[("host", "other.test")]).await;
    assert_eq!(response.status, 400);
    assert_eq!(client.get("/p", &[("host", "api.test")]).await.status, 200);
    assert_eq!(world.upstream.last().all("host"), ["api.test"]);
    let mut frames = Frames::open(world.gateway.address()).await;
    frames.request(1, &[GOOD[0], GOOD[1], GOOD[3]], END_STREAM).await;
    frames.end(1).await;
    frames
        .request(3, &[GOOD[0], GOOD[1], (":authority", "user@api.test"), GOOD[3]], END_STREAM)
        .await;
    frames.end(3).await;
    assert_eq!(world.upstream.count(), 1, "neither without a host nor with userinfo");
}

#[tokio::test]
async fn rfc9113_8_1_1_a_length_that_is_not_the_sum_of_data_aborts_the_request() {
    let world = public().await;
    for (length, data) in [("10", "hello"), ("3", "hello"), ("1", "")] {
        let mut frames = Frames::open(world.gateway.address()).await;
        let mut fields = with(&[("content-length", length)]);
        fields[0] = (":method", "POST");
        frames.request(1, &fields, 0).await;
        frames.send(DATA, END_STREAM, 1, data.as_bytes()).await;
        let end = frames.end(1).await;
        assert!(end != End::Answered || world.upstream.count() == 0, "{length}: {end:?}");
        assert_eq!(world.upstream.count(), 0, "{length}: no whole request upstream");
    }
}

#[tokio::test]
async fn rfc9113_8_2_3_cookie_fields_are_joined_towards_http1() {
    let world = public().await;
    let client = world.gateway.http2().await;
    assert_eq!(client.get("/p", &[("cookie", "a=1"), ("cookie", "b=2")]).await.status, 200);
    assert_eq!(world.upstream.last().all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn rfc9113_10_5_floods_end_the_connection_and_not_the_gateway() {
    let world = public().await;
    let address = world.gateway.address();

    let mut resets = Frames::open(address).await;
    let mut stream = 1;
    let mut going = true;
    while going && stream < 20_000 {
        resets.request(stream, &GOOD, END_STREAM).await;
        going = resets.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
        stream += 2;
    }
    assert!(!going, "rapid resets go on for ever");

    let mut endless = Frames::open(address).await;
    endless.send(HEADERS, END_STREAM, 1, &hpack(&GOOD)).await;
    let block = hpack(&[("x-more", &"a".repeat(8_000))]);
    let mut sent = 0;
    while sent < 1_000 && endless.send(CONTINUATION, 0, 1, &block).await {
        sent += 1;
    }
    assert!(sent < 1_000, "CONTINUATION goes on for ever");

    for (kind, payload) in [(PING, &[0_u8; 8][..]), (SETTINGS, &[][..])] {
        let mut flood = Frames::open(address).await;
        for _ in 0..5_000 {
            if !flood.send(kind, 0, 0, payload).await {
                break;
            }
        }
    }
    assert_eq!(world.gateway.get("/p").send().await.status, 200, "it lives");
}

#[tokio::test]
async fn rfc9113_10_5_1_a_header_section_over_the_bound_fails_its_stream_alone() {
    let world = public().await;
    let client = world.gateway.http2().await;
    let large = "a".repeat(200_000);
    let answer = client.send("GET", "/p", &[("x-large", &large)], b"").await;
    assert!(answer.map_or(true, |response| response.status == 431));
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(world.gateway.http2().await.get("/p", &[]).await.status, 200);
}

#[tokio::test]
async fn trailers_pass_from_http2_to_http2() {
    let (world, h2c) =
        before_http2(r#"path = "/grpc/{method}", access = { scopes = ["a"] }, upstream = "h2c""#)
            .await;
    world.upstream.answer(|_| {
        Reply::status(200)
            .header("content-type", "application/grpc")
            .body("message")
            .trailer("grpc-status", "5")
            .trailer("grpc-message", "not found")
    });
    let client = h2c.gateway.http2().await;
    let bearer = format!("Bearer {}", h2c.issuer.token().scopes("a").sign());
    let headers = [
        ("authorization", bearer.as_str()),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let response = client.send("POST", "/grpc/Echo", &headers, b"body").await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "message"));
    assert_eq!(response.trailer("grpc-status"), "5");
    let seen = world.upstream.last();
    assert_eq!((seen.version.as_str(), seen.header("te")), ("HTTP/2.0", Some("trailers")));
}

#[tokio::test]
async fn rfc9113_8_1_a_body_that_breaks_off_upstream_never_ends_cleanly() {
    let world = public().await;
    world.upstream.answer(|_| Reply::status(200).body("half of it").broken_off());
    let client = world.gateway.http2().await;
    let answer = client.send("GET", "/p", &[], b"").await;
    assert!(answer.is_err(), "{answer:?}");
    let response = world.gateway.get("/p").send().await;
    assert!(!response.complete, "an unterminated chunked body");
}

#[tokio::test]
async fn rfc9113_8_2_1_a_blank_at_the_edge_of_a_value_is_malformed() {
    let world = public().await;
    for value in [" a", "a ", "\ta", "a\t"] {
        let client = world.gateway.http2().await;
        let answer = client.send("GET", "/p", &[("x-a", value)], b"").await;
        assert!(answer.is_err() || answer.is_ok_and(|one| one.status == 400), "{value:?}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9113_8_1_trailers_with_a_pseudo_field_are_malformed() {
    let (world, h2c) = before_http2(r#"path = "/p", access = "public", upstream = "h2c""#).await;
    let mut frames = Frames::open(h2c.gateway.address()).await;
    let mut fields = GOOD;
    fields[0] = (":method", "POST");
    let cases =
        [(":path", "/q"), (":status", "200"), (":method", "DELETE"), (":authority", "other.test")];
    for (stream, trailer) in (1..).step_by(2).zip(cases) {
        frames.request(stream, &fields, 0).await;
        frames.send(DATA, 0, stream, b"hello").await;
        frames.request(stream, &[trailer], END_STREAM).await;
        assert_eq!(frames.end(stream).await, End::Reset(PROTOCOL_ERROR), "{trailer:?}");
    }
    // The connection lives, and a caller's other trailers reach the upstream alone.
    frames.request(101, &fields, 0).await;
    frames.send(DATA, 0, 101, b"hello").await;
    frames.request(101, &[("x-sum", "7"), ("proxy-authorization", "x")], END_STREAM).await;
    assert_eq!(frames.end(101).await, End::Answered);
    let seen = world.upstream.last();
    assert_eq!(seen.target, "/p");
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    // An upper-case name ends the connection: what comes behind it cannot be decoded.
    frames.request(103, &fields, 0).await;
    frames.request(103, &[("X-Upper", "1")], END_STREAM).await;
    assert_eq!(frames.end(103).await, End::Gone(Some(PROTOCOL_ERROR)));
}

#[tokio::test]
async fn rfc9113_10_5_empty_data_without_end_keeps_nobody_busy_for_ever() {
    let world = public().await;
    let mut flood = Frames::open(world.gateway.address()).await;
    let mut fields = GOOD;
    fields[0] = (":method", "POST");
    flood.request(1, &fields, 0).await;
    for _ in 0..50_000 {
        if !flood.send(DATA, 0, 1, b"").await {
            break;
        }
    }
    assert_eq!(world.gateway.get("/p").send().await.status, 200, "it lives");
    let resident = world.gateway.gauge("process_resident_memory_bytes").await;
    assert!(resident < 256.0 * 1024.0 * 1024.0, "{resident} bytes");
}

#[tokio::test]
async fn rfc9113_5_1_2_a_stream_over_the_limit_is_refused_alone() {
    let world = public().await;
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    world.upstream.answer(move |_| Reply::status(200).after(&opened));
    let mut frames = Frames::open(world.gateway.address()).await;
    let limit = frames.max_streams().await;
    for serial in 0..=limit {
        frames.request(2 * serial + 1, &GOOD, END_STREAM).await;
    }
    let end = frames.end(2 * limit + 1).await;
    let allowed = [End::Reset(REFUSED_STREAM), End::Reset(PROTOCOL_ERROR)];
    assert!(allowed.contains(&end), "{end:?}");
    world.upstream.reached(usize::try_from(limit).unwrap()).await;
    gate.notify_waiters();
    gate.notify_one();
    assert_eq!(frames.end(1).await, End::Answered, "the others do not notice");
}

#[tokio::test]
async fn rfc9113_10_5_1_a_header_section_over_the_bound_is_431_and_the_connection_lives() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { header_max = \"16KiB\" }")
            .route(r#"path = "/p", access = "public""#)
    })
    .await;
    let client = world.gateway.http2().await;
    let large = "a".repeat(20_000);
    assert_eq!(client.get("/p", &[("x-large", &large)]).await.status, 431);
    assert_eq!(client.get("/p", &[]).await.status, 200, "on the same connection");
    assert_eq!(world.upstream.count(), 1);
}
