//! What passes the gateway (RFC 9110 §7.6, RFC 7239, RFC 9700 §4.13).

use crate::harness::frames::{END_STREAM, End, Frames};
use crate::harness::world::ORDERS;
use crate::harness::{RawBackend, Reply, TestIssuer, World, backend::Then, http1};

const IDENTITY: &str = r#"path = "/id", access = { scopes = ["orders:read"] }, identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }"#;

#[tokio::test]
async fn rfc9700_4_13_identity_headers_of_a_caller_are_gone_in_every_spelling() {
    let world = World::with(&[IDENTITY, ORDERS, r#"path = "/public", access = "public""#]).await;
    let spellings =
        ["x-subject", "X-Subject", "x_subject", "X_SUBJECT", "x-Subject", "X-SCOPES", "x_scopes"];
    for path in ["/id", "/orders/1", "/public"] {
        let mut request = world.gateway.get(path).bearer(&world.token());
        for name in spellings {
            request = request.header(name, "root");
        }
        assert_eq!(request.send().await.status, 200, "{path}");
        let seen = world.upstream.last();
        assert!(
            seen.headers.iter().all(|(_, value)| value != "root"),
            "{path}: {:?}",
            seen.headers
        );
    }
    let seen = &world.upstream.all()[0];
    assert_eq!(
        (seen.header("x-subject"), seen.header("x-scopes")),
        (Some("alice"), Some("orders:read"))
    );
}

#[tokio::test]
async fn rfc9110_7_6_1_hop_by_hop_fields_end_here_both_ways() {
    let world = World::orders().await;
    world.upstream.answer(|_| {
        Reply::status(200)
            .header("connection", "x-inner")
            .header("x-inner", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("x-kept", "1")
            .body("a")
    });
    let response = world
        .gateway
        .get("/orders/1")
        .bearer(&world.token())
        .header("connection", "x-mine, keep-alive")
        .header("x-mine", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("te", "trailers, deflate")
        .header("upgrade", "websocket")
        .header("x-kept", "1")
        .send()
        .await;
    let seen = world.upstream.last();
    assert_eq!(response.status, 200, "{}", response.text());
    for name in ["x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(seen.all(name), Vec::<&str>::new(), "{name} upstream");
    }
    assert_eq!(seen.header("te").unwrap_or("trailers"), "trailers", "TE made anew");
    assert_eq!(seen.header("x-kept"), Some("1"));
    for name in ["x-inner", "keep-alive", "proxy-connection"] {
        assert_eq!(response.all(name), Vec::<&str>::new(), "{name} to the caller");
    }
    assert_eq!(response.header("x-kept"), "1");
}

#[tokio::test]
async fn rfc9110_7_6_1_connection_may_not_name_what_travels_end_to_end() {
    let world = World::with(&[IDENTITY]).await;
    for name in
        ["authorization", "Host", "cookie", "content-length", "x-subject", "X_Subject", "DPoP"]
    {
        let request = world.gateway.get("/id").bearer(&world.token());
        let response = request.header("connection", &format!("close, {name}")).send().await;
        assert_eq!(response.status, 400, "{name}: {}", response.text());
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_11_6_2_the_token_goes_on_byte_for_byte_or_not_at_all() {
    let world = World::with(&[
        ORDERS,
        r#"path = "/none", access = { scopes = ["orders:read"] }, forward = "none""#,
        r#"path = "/public", access = "public", forward = "none""#,
    ])
    .await;
    let value = format!("bEaReR   {}", world.token());
    for (path, expected) in
        [("/orders/1", Some(value.as_str())), ("/none", None), ("/public", None)]
    {
        let response = world
            .gateway
            .get(path)
            .header("authorization", &value)
            .header("dpop", "proof")
            .send()
            .await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(world.upstream.last().header("authorization"), expected, "{path}");
        if expected.is_none() {
            assert_eq!(world.upstream.last().header("dpop"), None, "{path}");
        }
    }
}

#[tokio::test]
async fn rfc9110_5_3_unknown_fields_methods_and_codes_pass_in_their_order() {
    let world = World::orders().await;
    world.upstream.answer(|_| {
        Reply::status(299)
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("x-new", "y")
    });
    let response = world
        .gateway
        .request("BREW", "/orders/1?a=%20b&&c=+;d")
        .bearer(&world.token())
        .header("x-many", "1")
        .header("x-many", "2, 3")
        .header("accept", "a")
        .send()
        .await;
    assert_eq!(response.status, 299);
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
    let seen = world.upstream.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("BREW", "/orders/1?a=%20b&&c=+;d"));
    assert_eq!(seen.all("x-many"), ["1", "2, 3"]);
}

#[tokio::test]
async fn rfc9110_7_6_3_via_is_added_and_a_loop_is_refused() {
    let world = World::orders().await;
    let request = world.gateway.get("/orders/1").bearer(&world.token());
    assert_eq!(request.header("via", "1.0 fred").send().await.status, 200);
    let via = world.upstream.last().all("via").join(", ");
    assert!(via.starts_with("1.0 fred, 1.1 "), "{via}");
    let ours = via.rsplit(' ').next().unwrap().to_owned();
    let request = world.gateway.get("/orders/1").bearer(&world.token());
    let response = request.header("via", &format!("1.1 {ours}")).send().await;
    assert_eq!(response.status, 502, "own name in Via");
    let client = world.gateway.http2().await;
    let bearer = format!("Bearer {}", world.token());
    assert_eq!(client.get("/orders/1", &[("authorization", &bearer)]).await.status, 200);
    assert!(world.upstream.last().all("via").join(", ").starts_with("2.0 "));
}

#[tokio::test]
async fn rfc7239_8_1_forwarded_fields_of_a_stranger_are_replaced_and_of_a_friend_appended_to() {
    let fields = [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.test"),
    ];
    for (trusted, kept) in [("", false), ("trusted_proxies = [\"127.0.0.0/8\"]", true)] {
        let world =
            World::built(TestIssuer::new(), "", |setup| setup.listener(trusted).route(ORDERS))
                .await;
        let request = world.gateway.get("/orders/1").bearer(&world.token());
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(request.send().await.status, 200);
        let seen = world.upstream.last();
        let (forwarded, chain) =
            (seen.all("forwarded").join(", "), seen.all("x-forwarded-for").join(", "));
        assert_eq!(forwarded.contains("6.6.6.6"), kept, "{forwarded}");
        assert_eq!(chain.contains("6.6.6.6"), kept, "{chain}");
        assert!(chain.ends_with("127.0.0.1"), "{chain}");
        assert!(forwarded.contains("127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    }
}

#[tokio::test]
async fn rfc9110_17_3_paths_with_two_readings_are_400_and_reach_no_route() {
    let world = World::with(&[
        r#"path = "/{*rest}", access = "public""#,
        r#"path = "/admin/{*rest}", access = { scopes = ["admin"] }"#,
    ])
    .await;
    let paths = [
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/%2E./admin/x",
        "/./admin/x",
        "/admin%2fx",
        "/admin%2Fx",
        "/admin\\x",
        "/admin%5cx",
        "/admin/%00",
        "/admin/%zz",
        "/admin/%",
        "/admin/%4",
        "//admin/x",
        "/admin//x",
        "/admin/..;/x",
        "/%61dmin/..",
        "/admin/x/..",
    ];
    for path in paths {
        let response = world.gateway.get(path).send().await;
        assert!(
            response.status == 400 || (response.status == 401 && world.upstream.count() == 0),
            "{path}: {}",
            response.status
        );
    }
    assert_eq!(world.upstream.count(), 0);
    let response = world.gateway.get("/%61dmin/x").send().await;
    assert_ne!(response.status, 200, "an escaped letter does not open another route");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9112_2_3_the_request_line_upstream_is_our_own() {
    let upstream = RawBackend::start("HTTP/1.1 204 No Content\r\n\r\n", Then::Continue).await;
    let url = upstream.url();
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .upstream("raw", &url, "")
            .route(r#"path = "/raw", access = "public", upstream = "raw""#)
    })
    .await;
    let response =
        http1::exchange(world.gateway.address(), b"GET /raw HTTP/1.0\r\nhost: api.test\r\n\r\n")
            .await;
    assert_eq!(response.status, 204);
    assert!(upstream.received().starts_with("GET /raw HTTP/1.1\r\n"), "{}", upstream.received());
}

#[tokio::test]
async fn bodies_and_trailers_are_streamed_both_ways() {
    let world = World::orders().await;
    world
        .upstream
        .answer(|seen| Reply::status(200).body(seen.body.clone()).trailer("x-sum", "abc"));
    let token = world.token();
    let chunked = format!(
        "POST /orders/1 HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\nte: trailers\r\n\
         transfer-encoding: chunked\r\ntrailer: x-mine\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-mine: 1\r\n\r\n"
    );
    let response = http1::exchange(world.gateway.address(), chunked.as_bytes()).await;
    assert_eq!((response.status, response.text().as_str()), (200, "abcde"));
    assert_eq!(response.trailer("x-sum"), "abc");
    let seen = world.upstream.last();
    assert!(seen.trailers.contains(&("x-mine".to_owned(), "1".to_owned())), "{:?}", seen.trailers);
}

#[tokio::test]
async fn rfc7239_5_4_the_scheme_is_that_of_the_connection_and_not_what_the_caller_says() {
    let world = World::with(&[r#"path = "/p", access = "public""#]).await;
    let mut frames = Frames::open(world.gateway.address()).await;
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/p")];
    frames.request(1, &fields, END_STREAM).await;
    assert_eq!(frames.end(1).await, End::Answered);
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert!(seen.all("forwarded").join(", ").contains("proto=http;host"), "{:?}", seen.headers);
}

#[tokio::test]
async fn a_body_passes_piece_by_piece_and_waits_for_no_end() {
    let upstream = RawBackend::start(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        Then::Continue,
    )
    .await;
    let world = World::built(TestIssuer::new(), "", |setup| {
        let route = r#"path = "/p", access = "public", upstream = "raw""#;
        setup.upstream("raw", &upstream.url(), "").route(route)
    })
    .await;
    let mut connection = world.gateway.connect().await;
    connection
        .write(
            b"POST /p HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n\
              7\r\nhalf of\r\n",
        )
        .await;
    upstream.receives("half of").await;
    assert_eq!(connection.head().await.status, 200, "the answer's head, before either body ends");
    connection.receives("first").await;
    connection.write(b"3\r\n it\r\n0\r\n\r\n").await;
    upstream.receives(" it").await;
}
