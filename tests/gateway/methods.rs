//! Methods, expectations and status codes (RFC 9110 §9, §10.1.1, §15).

use crate::harness::{TestIssuer, World};

async fn world() -> World {
    World::with(&[
        r#"path = "/get", methods = ["GET"], access = "public""#,
        r#"path = "/two", methods = ["GET"], access = "public""#,
        r#"path = "/two", methods = ["POST"], access = { scopes = ["a"] }"#,
        r#"path = "/any", access = "public""#,
        r#"path = "/closed", access = { scopes = ["a"] }"#,
    ])
    .await
}

#[tokio::test]
async fn rfc9110_9_1_head_is_routed_as_get() {
    let world = world().await;
    let mut connection = world.gateway.connect().await;
    connection.write(&world.gateway.request("HEAD", "/get").bytes()).await;
    assert_eq!(connection.response("HEAD").await.status, 200);
    assert_eq!(world.upstream.last().method, "HEAD");
}

#[tokio::test]
async fn rfc9110_15_5_6_another_method_is_405_with_all_that_the_path_has() {
    let world = world().await;
    #[rustfmt::skip]
    let cases = [
        ("DELETE", "/get", "GET, HEAD"), ("get", "/get", "GET, HEAD"), ("Post", "/get", "GET, HEAD"),
        ("DELETE", "/two", "GET, HEAD, POST"),
    ];
    for (method, path, allow) in cases {
        let response = world.gateway.request(method, path).send().await;
        assert_eq!((response.status, response.header("allow")), (405, allow), "{method} {path}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_9_3_8_trace_is_never_forwarded_and_connect_is_501() {
    let world = world().await;
    let response = world.gateway.request("TRACE", "/any").header("x-secret", "s").send().await;
    assert_eq!(response.status, 405);
    assert!(!response.text().contains("x-secret"));
    let response = world.gateway.request("CONNECT", "api.test:443").send().await;
    assert_eq!(response.status, 501);
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_9_3_7_options_of_the_server_is_ours_and_max_forwards_counts() {
    let world = world().await;
    assert_eq!(world.gateway.request("OPTIONS", "*").send().await.status, 204);
    let ours = world.gateway.request("OPTIONS", "/any").header("max-forwards", "0").send().await;
    assert!(matches!(ours.status, 200 | 204), "{}", ours.status);
    assert_eq!(world.upstream.count(), 0);
    let theirs = world.gateway.request("OPTIONS", "/any").header("max-forwards", "5").send().await;
    assert_eq!(theirs.status, 200);
    assert_eq!(world.upstream.last().header("max-forwards"), Some("4"));
}

#[tokio::test]
async fn rfc9112_3_2_options_of_the_server_has_one_good_host_like_any_request() {
    let world = world().await;
    #[rustfmt::skip]
    let cases = [
        ("one",             "HTTP/1.1\r\nhost: api.test\r\n",                         204),
        ("none",            "HTTP/1.1\r\n",                                           400),
        ("none, HTTP/1.0",  "HTTP/1.0\r\n",                                           400),
        ("two",             "HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n",          400),
        ("two alike",       "HTTP/1.1\r\nhost: a.test\r\nhost: a.test\r\n",          400),
        ("empty",           "HTTP/1.1\r\nhost:\r\n",                                  400),
        ("with userinfo",   "HTTP/1.1\r\nhost: u@a.test\r\n",                         400),
        ("and expects",     "HTTP/1.1\r\nhost: a.test\r\nexpect: x\r\n",             417),
    ];
    for (claim, rest, status) in cases {
        let mut connection = world.gateway.connect().await;
        connection.write(format!("OPTIONS * {rest}\r\n").as_bytes()).await;
        let response = connection.response("OPTIONS").await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_10_1_1_a_refusal_comes_at_once_and_without_100() {
    let world = world().await;
    let mut connection = world.gateway.connect().await;
    let request = world.gateway.request("POST", "/closed").header("expect", "100-continue");
    connection.write(&request.header("content-length", "1000000").bytes()).await;
    let response = connection.head().await;
    assert_eq!(response.status, 401, "the first answer is the last");
}

#[tokio::test]
async fn rfc9110_10_1_1_a_good_request_gets_100_before_its_body() {
    let world = world().await;
    let token = world.issuer.token().scopes("a").sign();
    let mut connection = world.gateway.connect().await;
    let request = world.gateway.request("POST", "/closed").bearer(&token);
    let request = request.header("expect", "100-continue").header("content-length", "5");
    connection.write(&request.bytes()).await;
    assert_eq!(connection.head().await.status, 100);
    connection.write(b"hello").await;
    assert_eq!(connection.response("POST").await.status, 200);
    assert_eq!(world.upstream.last().body, b"hello");
    let other = world.gateway.get("/any").header("expect", "a-miracle").send().await;
    assert_eq!(other.status, 417);
}

#[tokio::test]
async fn what_is_too_large_has_its_own_status() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { header_max = \"16KiB\" }")
            .route(r#"path = "/small", access = "public", body_max = "10B""#)
            .route(r#"path = "/any", access = "public""#)
    })
    .await;
    let known = world.gateway.request("POST", "/small").body("x".repeat(11)).send().await;
    assert_eq!(known.status, 413, "a length over the bound");
    assert_eq!(world.upstream.count(), 0);
    let chunked = b"POST /small HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n\
                    8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    let chunked = crate::harness::http1::exchange(world.gateway.address(), chunked).await;
    assert_eq!(chunked.status, 413, "a body over the bound");
    assert_eq!(world.upstream.count(), 0, "no whole body reached it");
    let fits = world.gateway.request("POST", "/small").body("x".repeat(10)).send().await;
    assert_eq!(fits.status, 200);
    let header = world.gateway.get("/any").header("x-large", &"a".repeat(20_000)).send().await;
    assert_eq!(header.status, 431);
    let target = world.gateway.get(&format!("/any?{}", "a".repeat(70_000))).send().await;
    assert!(matches!(target.status, 414 | 431), "{}", target.status);
    let other = world.gateway.request("CONNECT", "api.test:443").send().await;
    for answer in [known, chunked, header, target, other] {
        assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.status);
    }
}

#[tokio::test]
async fn rfc9110_15_5_9_a_caller_that_is_too_slow_is_ended() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .listener("limits = { header_timeout = \"300ms\" }")
            .route(r#"path = "/any", access = "public""#)
    })
    .await;
    let mut connection = world.gateway.connect().await;
    connection.write(b"GET /any HTTP/1.1\r\nhost: api").await;
    let rest = String::from_utf8(connection.rest().await).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_10_1_1_an_expectation_of_http_1_0_is_ignored() {
    let world = world().await;
    let mut connection = world.gateway.connect().await;
    let request = b"POST /any HTTP/1.0\r\nhost: api.test\r\nexpect: 100-continue\r\n\
                    content-length: 5\r\n\r\nhello";
    connection.write(request).await;
    assert_eq!(connection.head().await.status, 200, "no 100 before it");
    assert_eq!(world.upstream.last().body, b"hello");
}
