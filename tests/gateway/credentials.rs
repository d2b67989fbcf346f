//! How a credential arrives (RFC 6750 §2, RFC 7617 §2): what is taken, what is refused, unread.

use crate::harness::{World, world::ORDERS};

#[tokio::test]
async fn rfc9110_11_1_the_scheme_is_case_insensitive_and_several_spaces_pass() {
    let world = World::orders().await;
    let token = world.token();
    for value in ["bearer T", "BEARER T", "BeArEr T", "Bearer   T"] {
        let value = value.replace('T', &token);
        let response = world.gateway.get("/orders/1").header("authorization", &value).send().await;
        assert_eq!(response.status, 200, "{}", &value[..12]);
    }
}

#[tokio::test]
async fn rfc6750_3_1_a_bearer_credential_that_breaks_the_grammar_is_400() {
    let world = World::orders().await;
    let token = world.token();
    let both = format!("Bearer {token}, Bearer {token}");
    for value in
        ["Bearer", "Bearer\tabc", "Bearer a b", "Bearer a=b", "Bearer \"a\"", "Bearer ä", &both]
    {
        let response = world.gateway.get("/orders/1").header("authorization", value).send().await;
        assert_eq!(
            (response.status, response.error().as_str()),
            (400, "invalid_request"),
            "{value}"
        );
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn two_authorization_fields_are_refused_equal_or_not() {
    let world = World::orders().await;
    let (token, other) = (world.token(), world.token());
    for second in [&token, &other] {
        let request = world.gateway.get("/orders/1").bearer(&token).bearer(second);
        let response = request.send().await;
        assert_eq!((response.status, response.error().as_str()), (400, "invalid_request"));
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc6750_5_3_a_token_in_the_query_is_refused_in_every_spelling_and_not_logged() {
    let world = World::orders().await;
    let token = world.token();
    for name in ["access_token", "%61ccess_token", "access%5Ftoken", "a=b&access_token"] {
        let target = format!("/orders/1?{name}={token}");
        for with_header in [false, true] {
            let mut request = world.gateway.get(&target);
            if with_header {
                request = request.bearer(&token);
            }
            let response = request.send().await;
            assert_eq!(
                (response.status, response.error().as_str()),
                (400, "invalid_request"),
                "{name}"
            );
        }
    }
    let response = world.gateway.get("/orders/1?my_access_token=x").bearer(&token).send().await;
    assert_eq!(response.status, 200, "another name is another parameter");
    assert_eq!(world.upstream.count(), 1);
    let log = world.gateway.whole_log().await;
    assert!(!log.contains(&token), "the token stands in the log");
}

#[tokio::test]
async fn rfc6750_2_2_a_token_in_a_form_is_no_credential() {
    let world = World::orders().await;
    let form = format!("access_token={}", world.token());
    let post = || {
        let request = world.gateway.request("POST", "/orders/1");
        request.header("content-type", "application/x-www-form-urlencoded").body(form.clone())
    };
    let response = post().send().await;
    assert_eq!((response.status, response.error().as_str()), (401, ""));
    assert_eq!(post().bearer(&world.token()).send().await.status, 200);
    assert_eq!(world.upstream.last().body, form.as_bytes(), "it is read by nobody here");
}

#[tokio::test]
async fn rfc6750_3_1_what_is_no_bearer_credential_is_401_without_a_code() {
    let world = World::orders().await;
    let token = world.token();
    let cases = [
        ("authorization", "Digest username=\"a\"".to_owned()),
        ("authorization", "Basic YTpi".to_owned()),
        ("authorization", "Negotiate abc".to_owned()),
        ("proxy-authorization", format!("Bearer {token}")),
        ("x-authorization", format!("Bearer {token}")),
        ("cookie", format!("access_token={token}")),
    ];
    for (name, value) in cases {
        let response = world.gateway.get("/orders/1").header(name, &value).send().await;
        assert_eq!((response.status, response.error().as_str()), (401, ""), "{name}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc9110_11_7_2_proxy_authorization_is_not_passed_on() {
    let world = World::orders().await;
    let request = world.gateway.get("/orders/1").bearer(&world.token());
    let response = request.header("proxy-authorization", "Bearer abc").send().await;
    assert_eq!(response.status, 200);
    assert_eq!(world.upstream.last().header("proxy-authorization"), None);
}

#[tokio::test]
async fn a_string_that_is_no_jwt_is_a_bad_token_where_only_jwts_are_judged() {
    let world = World::orders().await;
    let response = world.gateway.get("/orders/1").bearer("not-a-token").send().await;
    assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
}

#[tokio::test]
async fn rfc9110_6_5_1_a_credential_in_a_trailer_is_none_and_goes_no_further() {
    let world = World::orders().await;
    let token = world.token();
    let chunked = format!(
        "POST /orders/1 HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let response =
        crate::harness::http1::exchange(world.gateway.address(), chunked.as_bytes()).await;
    assert_eq!((response.status, response.error().as_str()), (401, ""));

    let chunked = chunked.replacen("\r\n", &format!("\r\nauthorization: Bearer {token}\r\n"), 1);
    let chunked = chunked
        .replace("\r\n0\r\nauthorization: Bearer", "\r\n0\r\nx-kept: 1\r\nauthorization: Bearer");
    let response =
        crate::harness::http1::exchange(world.gateway.address(), chunked.as_bytes()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let trailers = world.upstream.last().trailers;
    assert!(trailers.iter().all(|(name, _)| name != "authorization"), "{trailers:?}");
}

#[tokio::test]
async fn a_credential_over_its_bound_is_refused() {
    let world = World::with(&[ORDERS]).await;
    let response = world.gateway.get("/orders/1").bearer(&"a".repeat(20_000)).send().await;
    assert!(matches!(response.status, 400 | 401 | 431), "{}", response.status);
    assert_eq!(world.upstream.count(), 0);
}
