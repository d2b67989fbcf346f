//! Pages of other sites (Fetch, CORS protocol): preflights without a token, refusals that a page
//! can read.

use crate::harness::world::endpoints;
use crate::harness::{Backend, Reply, Response, TestIssuer, World};

const APP: &str = "https://app.example.com";

const CORS: &str = r#"cors = { origins = ["https://app.example.com"], expose = ["x-total"] }"#;

async fn world() -> World {
    let guarded = r#"access = { scopes = ["orders:read"] }"#;
    World::with(&[
        &format!(r#"path = "/orders/{{*rest}}", {guarded}, body_max = "10B", {CORS}"#),
        &format!(r#"path = "/two", methods = ["GET", "DELETE"], access = "public", {CORS}"#),
        &format!(
            r#"path = "/two", methods = ["POST", "PUT"], {guarded}, cors = {{ origins = ["https://other.example"], methods = ["POST"], credentials = true, headers = ["x-trace"], max_age = "0" }}"#
        ),
        &format!(r#"path = "/two", methods = ["PATCH"], {guarded}"#),
        &format!(r#"path = "/plain", methods = ["GET"], {guarded}"#),
        r#"path = "/open", access = "public", cors = { origins = ["*"] }"#,
        r#"path = "/own", methods = ["GET"], access = "public""#,
        r#"path = "/own", methods = ["OPTIONS"], access = "public""#,
    ])
    .await
}

async fn preflight(world: &World, path: &str, origin: &str, method: &str) -> Response {
    let request = world.gateway.request("OPTIONS", path).header("origin", origin);
    request.header("access-control-request-method", method).send().await
}

/// Every CORS field of an answer.
fn fields(response: &Response) -> Vec<String> {
    let cors = response.headers.iter().filter(|(name, _)| name.starts_with("access-control-"));
    let mut lines: Vec<_> = cors.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    lines
}

/// What an answer to a page at [`APP`] says.
const READABLE: [&str; 2] = [
    "access-control-allow-origin: https://app.example.com",
    "access-control-expose-headers: www-authenticate, retry-after, x-request-id, dpop-nonce, x-total",
];

#[tokio::test]
async fn fetch_cors_preflight_is_answered_without_a_token_and_never_forwarded() {
    let world = world().await;
    let answer = preflight(&world, "/orders/1", APP, "POST").await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    let expected = [
        "access-control-allow-headers: authorization, dpop, content-type",
        "access-control-allow-methods: POST",
        "access-control-allow-origin: https://app.example.com",
        "access-control-max-age: 600",
    ];
    assert_eq!(fields(&answer), expected);
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(answer.header("content-length"), "", "204 has none (RFC 9110 section 8.6)");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn the_method_asked_about_chooses_the_route() {
    let world = world().await;
    let other = "https://other.example";
    #[rustfmt::skip]
    let cases = [
        // path     origin  method    status  reason
        ("/two",    APP,    "GET",    204,    ""),
        ("/two",    APP,    "HEAD",   204,    ""),
        ("/two",    APP,    "DELETE", 204,    ""),
        ("/two",    APP,    "POST",   403,    "preflight_origin"),
        ("/two",    other,  "POST",   204,    ""),
        ("/two",    other,  "GET",    403,    "preflight_origin"),
        ("/two",    other,  "PUT",    403,    "preflight_method"),
        ("/two",    APP,    "PATCH",  405,    "method_not_allowed"),
        ("/two",    APP,    "BREW",   405,    "method_not_allowed"),
        ("/two",    APP,    "TRACE",  405,    "method_not_allowed"),
        ("/plain",  APP,    "GET",    405,    "method_not_allowed"),
        ("/none",   APP,    "GET",    404,    "route_unknown"),
        ("/orders/..", APP, "GET",    400,    "path_malformed"),
    ];
    for (path, origin, method, status, reason) in cases {
        let answer = preflight(&world, path, origin, method).await;
        assert_eq!(answer.status, status, "{origin} {method} {path}");
        if status != 204 {
            assert_eq!(answer.json()["reason"], reason, "{origin} {method} {path}");
            let granted = answer.all("access-control-allow-methods");
            assert_eq!(granted, Vec::<&str>::new(), "{origin} {method} {path}");
        }
    }
    let answer = preflight(&world, "/two", APP, "DELETE").await;
    assert_eq!(answer.header("access-control-allow-methods"), "GET, DELETE");
    let answer = preflight(&world, "/two", other, "POST").await;
    let expected = [
        "access-control-allow-credentials: true",
        "access-control-allow-headers: authorization, dpop, x-trace",
        "access-control-allow-methods: POST",
        "access-control-allow-origin: https://other.example",
        "access-control-max-age: 0",
    ];
    assert_eq!(fields(&answer), expected, "with credentials there is no `*` anywhere");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn fetch_options_without_those_fields_is_an_ordinary_request() {
    let world = world().await;
    let method = "access-control-request-method";
    for lines in [
        &[][..],
        &[("origin", APP)],
        &[(method, "GET")],
        &[("origin", APP), (method, "G T")],
        &[("origin", APP), ("origin", APP), (method, "GET")],
    ] {
        let request = world.gateway.request("OPTIONS", "/orders/1");
        let request =
            lines.iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(request.send().await.status, 401, "{lines:?}");
    }
    assert_eq!(world.upstream.count(), 0);
    let asked = world.gateway.request("OPTIONS", "/orders/1").bearer(&world.token());
    assert_eq!(asked.send().await.status, 200);
    assert_eq!(world.upstream.last().method, "OPTIONS");
    let own = preflight(&world, "/own", APP, "GET").await;
    assert_eq!(own.status, 200, "an upstream that answers preflights itself may go on doing so");
    assert_eq!(world.upstream.count(), 2);
}

#[tokio::test]
async fn fetch_origin_null_and_look_alikes_are_not_allowed() {
    let world = world().await;
    for origin in [
        "null",
        "https://app.example.com.evil.test",
        "https://evilapp.example.com",
        "https://app.example.com:444",
        "http://app.example.com",
        "HTTPS://APP.EXAMPLE.COM",
        "https://app.example.com/",
        "*",
    ] {
        let asked = preflight(&world, "/orders/1", origin, "GET").await;
        assert_eq!((asked.status, fields(&asked)), (403, vec![]), "{origin}");
        assert_eq!(asked.header("vary"), "Origin", "{origin}");
        let request = world.gateway.get("/orders/1").header("origin", origin);
        let answer = request.bearer(&world.token()).send().await;
        assert_eq!((answer.status, fields(&answer)), (200, vec![]), "{origin}");
        assert_eq!(answer.header("vary"), "Origin", "{origin}");
    }
    assert_eq!(preflight(&world, "/open", "null", "GET").await.status, 403);
    let open = preflight(&world, "/open", "https://any.example", "PURGE").await;
    assert_eq!(open.header("access-control-allow-origin"), "*");
    assert_eq!(open.header("access-control-allow-methods"), "PURGE");
    assert_eq!(open.all("access-control-allow-credentials"), Vec::<&str>::new());
}

#[tokio::test]
async fn fetch_an_answer_has_one_set_of_fields_and_varies_by_origin() {
    let world = world().await;
    world.upstream.answer(|_| {
        Reply::status(200)
            .header("access-control-allow-origin", "*")
            .header("access-control-allow-credentials", "true")
            .header("access-control-expose-headers", "x-inner")
            .header("vary", "accept")
            .body("hello")
    });
    let get = || world.gateway.get("/orders/1").bearer(&world.token());
    let allowed = get().header("origin", APP).send().await;
    assert_eq!((allowed.status, fields(&allowed)), (200, READABLE.map(str::to_owned).into()));
    assert_eq!(allowed.all("vary"), ["accept", "Origin"]);
    assert_eq!(world.upstream.last().header("origin"), Some(APP));
    let plain = get().send().await;
    assert_eq!((plain.status, fields(&plain)), (200, vec![]));
    assert_eq!(plain.all("vary"), ["accept", "Origin"]);
    let other = world.gateway.get("/own").header("origin", APP).send().await;
    assert_eq!(other.header("access-control-allow-origin"), "*", "no cors: the upstream's own");
}

#[tokio::test]
async fn rfc9449_7_1_refusals_can_be_read_by_an_allowed_page() {
    let server = Backend::answering(|seen| match &*seen.target {
        "/token" => Reply::status(401).body(r#"{"error":"invalid_client"}"#),
        _ => Reply::status(500),
    })
    .await;
    let more = endpoints(&server.url(), "");
    let world = World::built(TestIssuer::new(), &more, |setup| {
        let guarded = r#"access = { scopes = ["orders:read"] }"#;
        setup
            .secret("gateway", "s")
            .upstream("dead", "http://127.0.0.1:1", "")
            .route(&format!(r#"path = "/orders/{{*rest}}", {guarded}, body_max = "10B", {CORS}"#))
            .route(&format!(r#"path = "/dead", {guarded}, upstream = "dead", {CORS}"#))
            .route(&format!(r#"path = "/keys", {guarded}, accept = ["basic"], {CORS}"#))
    })
    .await;
    let lacking = world.issuer.token().scopes("profile").sign();
    let expired = world.issuer.token().scopes("orders:read").ttl(-3600).sign();
    let token = world.token();
    let get = |path: &str| world.gateway.get(path).header("origin", APP);
    let post = || world.gateway.request("POST", "/orders/1").header("origin", APP);
    // As many wrong pairs as one address may try (RFC 6749 §10.10).
    for guess in 0..10 {
        let answer = get("/keys").basic("reports", &format!("guess {guess}")).send().await;
        assert_eq!(answer.status, 401, "{guess}: {}", answer.text());
    }
    let cases = [
        (400, get("/orders/1").bearer(&token).bearer(&token)),
        (400, get("/orders/1").bearer(&token).header("connection", "cookie")),
        (401, get("/orders/1")),
        (401, get("/orders/1").bearer(&expired)),
        (403, get("/orders/1").bearer(&lacking)),
        (413, post().bearer(&token).body("x".repeat(11))),
        (429, get("/keys").basic("reports", "guess 10")),
        (502, get("/dead").bearer(&token)),
        (503, get("/orders/1").bearer("opaque")),
    ];
    for (status, request) in cases {
        let refusal = request.send().await;
        assert_eq!(refusal.status, status, "{}", refusal.text());
        assert_eq!(fields(&refusal), READABLE, "{status}");
        assert_eq!(refusal.header("vary"), "Origin", "{status}");
        assert_eq!(refusal.header("x-request-id").len(), 32, "{status}");
        let credential = refusal.json()["reason"] == "credential_several";
        let challenged = credential || matches!(status, 401 | 403);
        assert_eq!(refusal.challenge("Bearer").is_some(), challenged, "{status}");
        let is_temporary = matches!(status, 429 | 503);
        assert_eq!(refusal.header("retry-after").is_empty(), !is_temporary, "{status}");
    }
    let stranger = world.gateway.get("/orders/1").header("origin", "https://evil.test");
    let stranger = stranger.send().await;
    assert_eq!((stranger.status, fields(&stranger)), (401, vec![]));
}

#[tokio::test]
async fn a_405_can_be_read_by_pages_that_may_read_what_the_path_has() {
    let world = world().await;
    let other = "https://other.example";
    #[rustfmt::skip]
    let cases: [(&str, &str, &str, &[&str], &str); 5] = [
        // path    origin               allowed origin          fields     vary
        ("/two",   APP,                 APP,                    &READABLE, "Origin"),
        ("/two",   other,               other,                  &[],       "Origin"),
        ("/two",   "https://evil.test", "",                     &[],       "Origin"),
        ("/plain", APP,                 "",                     &[],       ""),
        ("/none",  APP,                 "",                     &[],       ""),
    ];
    for (path, origin, allowed, expected, vary) in cases {
        let answer = world.gateway.request("BREW", path).header("origin", origin).send().await;
        assert_eq!(answer.status, if path == "/none" { 404 } else { 405 }, "{origin} {path}");
        let named = answer.all("access-control-allow-origin").concat();
        assert_eq!(named, allowed, "{origin} {path}");
        if !expected.is_empty() {
            assert_eq!(fields(&answer), expected, "{origin} {path}");
        }
        assert_eq!(answer.all("vary").concat(), vary, "{origin} {path}");
    }
    let answer = world.gateway.request("BREW", "/two").header("origin", other).send().await;
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn a_preflight_is_counted_and_logged_once() {
    let route = format!(
        r#"name = "orders", path = "/orders", methods = ["GET"], access = {{ scopes = ["orders:read"] }}, {CORS}"#
    );
    let world = World::with(&[&route]).await;
    assert_eq!(preflight(&world, "/orders", APP, "GET").await.status, 204);
    assert_eq!(preflight(&world, "/orders", "https://evil.test", "GET").await.status, 403);
    let count = async |outcome| {
        let labels = [("route", "orders"), ("outcome", outcome)];
        world.gateway.metric("scopegate_requests_total", &labels).await
    };
    assert_eq!((count("allowed").await, count("forbidden").await), (1.0, 1.0));
    let labels = [("route", "orders"), ("reason", "preflight_origin")];
    assert_eq!(world.gateway.metric("scopegate_refusals_total", &labels).await, 1.0);
    let log = world.gateway.whole_log().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("OPTIONS")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("reason=\"preflight\"") && lines[0].contains("204"), "{}", lines[0]);
    assert!(lines[1].contains("reason=\"preflight_origin\""), "{}", lines[1]);
}

#[tokio::test]
async fn a_preflight_over_http2_is_answered_too() {
    let world = world().await;
    let fields = [("origin", APP), ("access-control-request-method", "PUT")];
    let http2 = world.gateway.http2().await;
    let answer = http2.send("OPTIONS", "/orders/1", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-methods"), "PUT");
}
