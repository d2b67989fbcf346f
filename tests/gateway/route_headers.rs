//! `request_headers` and `response_headers`: what a route sets, adds and removes.

use crate::harness::{Reply, TestIssuer, World};

const EDITED: &str = r#"path = "/edited/{*rest}", access = { scopes = ["orders:read"] },
    identity_headers = { x-subject = "sub" },
    request_headers = { set = { x-tenant = "{sub} $host ${x}" }, add = { x-hop = "edge" }, remove = ["cookie", "X-Debug"] },
    response_headers = { set = { x-frame-options = "DENY", cache-control = "max-age=60" }, add = { vary = "accept" }, remove = ["server"] }"#;

/// An inline table stands on one line.
fn one_line(route: &str) -> String {
    route.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_request_is_edited_after_it_was_cleaned_and_values_are_literal() {
    let world = World::with(&[&one_line(EDITED), r#"path = "/plain", access = "public""#]).await;
    let sent = [
        ("x-tenant", "red"),
        ("X_Tenant", "red"),
        ("x-hop", "mine"),
        ("cookie", "a=1"),
        ("x-debug", "1"),
        ("x_debug", "1"),
        ("x.debug", "1"),
        ("x-subject", "root"),
        ("x-kept", "1"),
    ];
    let ask = |path: &str| {
        let request = world.gateway.get(path).bearer(&world.token());
        sent.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    assert_eq!(ask("/edited/1").send().await.status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-tenant"), Some("{sub} $host ${x}"));
    assert_eq!(seen.all("x-hop"), ["mine", "edge"]);
    assert_eq!((seen.header("x-subject"), seen.header("x-kept")), (Some("alice"), Some("1")));
    for gone in ["cookie", "x-debug", "x_debug", "x.debug", "x_tenant"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(ask("/plain").send().await.status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("cookie"), Some("a=1"), "another route is left alone");
    assert_eq!(seen.all("x-hop"), ["mine"]);
}

#[tokio::test]
async fn an_answer_is_edited_and_a_refusal_gets_what_it_does_not_say_itself() {
    let world = World::with(&[&one_line(EDITED)]).await;
    world.upstream.answer(|_| {
        Reply::status(200)
            .header("server", "inner/1.2")
            .header("x-frame-options", "ALLOWALL")
            .header("vary", "cookie")
            .header("cache-control", "no-cache")
    });
    let answer = world.gateway.get("/edited/1").bearer(&world.token()).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("server"), "");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("cache-control"), "max-age=60");
    assert_eq!(answer.all("vary"), ["cookie", "accept"]);
    let refusal = world.gateway.get("/edited/1").send().await;
    assert_eq!(refusal.status, 401);
    assert_eq!(refusal.header("x-frame-options"), "DENY", "errors are framed as well");
    assert_eq!(refusal.header("cache-control"), "no-store", "a refusal is never stored");
    assert_eq!(refusal.header("vary"), "accept");
    assert!(refusal.challenge("Bearer").is_some());
}

#[tokio::test]
async fn rfc9111_3_5_an_edit_does_not_make_public_what_the_upstream_gave_to_another_token() {
    let route = r#"path = "/none", access = { scopes = ["orders:read"] }, forward = "none",
        response_headers = { set = { cache-control = "public, max-age=60" } }"#;
    let world = World::with(&[&one_line(route)]).await;
    let answer = world.gateway.get("/none").bearer(&world.token()).send().await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "private"));
}

#[tokio::test]
async fn rfc9111_3_5_nothing_is_kept_and_what_the_upstream_says_of_caching_passes() {
    let world = World::orders().await;
    let said = [("cache-control", "public, max-age=60"), ("vary", "accept"), ("age", "7")];
    world.upstream.answer(move |_| {
        said.iter().fold(Reply::status(200), |reply, (name, value)| reply.header(name, value))
    });
    for count in 1..=2 {
        let answer = world.gateway.get("/orders/1").bearer(&world.token()).send().await;
        assert_eq!(answer.status, 200);
        for (name, value) in said {
            assert_eq!(answer.all(name), [value]);
        }
        assert_eq!(world.upstream.count(), count, "each request is asked upstream");
    }
}

#[tokio::test]
async fn the_upstream_gets_the_host_that_is_set_over_either_version() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        let backend = setup.text();
        let url = backend.split("endpoints = [\"http://").nth(1).unwrap();
        let address = url.split('"').next().unwrap().to_owned();
        setup
            .upstream("two", &format!("h2c://{address}"), "")
            .route(r#"path = "/1", access = "public", request_headers.set.host = "inner.test:81""#)
            .route(r#"path = "/2", access = "public", upstream = "two", request_headers.set.host = "inner.test:81""#)
    })
    .await;
    for (path, name) in [("/1", "host"), ("/2", ":authority")] {
        assert_eq!(world.gateway.get(path).send().await.status, 200, "{path}");
        let seen = world.upstream.last();
        assert_eq!(seen.header(name), Some("inner.test:81"), "{path}");
        assert_eq!(seen.header("x-forwarded-host"), Some("api.test"), "{path}");
        assert!(seen.header("forwarded").unwrap().contains("host=\"api.test\""), "{path}");
    }
}
