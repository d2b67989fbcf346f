//! The gateway's own addresses for an authorization server: its revocation endpoint (RFC 7009), and
//! where it tells of logouts (OpenID Connect Back-Channel Logout).

use serde_json::{Value, json};

use crate::harness::program::{self, node};
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{
    AuthServer, Backend, Gateway, Reply, Response, TestIssuer, eventually, unix_now,
};

const DOORS: &str = r#"
[authorization_servers.main.revocation]
path = "/oauth/revoke"
[authorization_servers.main.backchannel_logout]
path = "/oauth/logout"
client_ids = ["web"]
"#;

async fn get(gateway: &Gateway, token: &str) -> Response {
    gateway.get("/orders/1").bearer(token).send().await
}

fn form(gateway: &Gateway, path: &str, form: &str) -> crate::harness::client::Request {
    let request = gateway.request("POST", path);
    request.header("content-type", "application/x-www-form-urlencoded").body(form)
}

#[tokio::test]
async fn a_real_server_revokes_for_a_real_client_and_tells_of_logouts() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .table(DOORS)
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let run = async |gateway: &str| {
        let mut client = node("clients/node/revocation.mjs");
        client.args(["--issuer", &server.issuer, "--gateway", gateway]);
        client.args(["--client-id", "reports", "--client-secret", "reports-secret"]);
        client.args([
            "--resource",
            "https://api.test/opaque",
            "--revocation-path",
            "/oauth/revoke",
        ]);
        client.env("NODE_EXTRA_CA_CERTS", server.ca());
        program::run(&mut client).await
    };
    let (status, output, errors) = run(&gateway.url()).await;
    assert!(status.success(), "{output}\n{errors}\n{}", gateway.log());
    let (failed, ..) = run(&upstream.url()).await;
    assert_eq!(failed.code(), Some(1), "it does not notice that there is no gateway");

    // Whatever the server says is passed on, and the verdict is forgotten.
    let opaque = json!({ "resource": "https://api.test/opaque" });
    let token = server.mint(opaque).await;
    let body = format!("token={token}&token_type_hint=access_token");
    let revoke = |secret: &str| form(&gateway, "/oauth/revoke", &body).basic("reports", secret);
    assert_eq!(get(&gateway, &token).await.status, 200);
    let wrong = revoke("wrong").send().await;
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (401, Some("invalid_client")));
    assert!(wrong.challenge("Basic").is_some(), "RFC 6749 section 5.2: {:?}", wrong.headers);
    let down = json!({ "status": 503, "headers": { "retry-after": "7" }, "times": 1 });
    server.fault("revocation", down).await;
    let before = server.count("introspection").await;
    let down = revoke("reports-secret").send().await;
    assert_eq!((down.status, down.header("retry-after")), (503, "7"));
    assert_eq!(down.header("cache-control"), "no-store");
    assert_eq!(get(&gateway, &token).await.status, 200, "it lives still");
    assert_eq!(server.count("introspection").await, before + 1, "and was asked about anew");
    let jwt = server.mint(json!({})).await;
    let unsupported = form(&gateway, "/oauth/revoke", &format!("token={jwt}"));
    let unsupported = unsupported.basic("reports", "reports-secret").send().await;
    let error = unsupported.json()["error"].as_str().map(str::to_owned);
    assert_eq!((unsupported.status, error.as_deref()), (400, Some("unsupported_token_type")));
    assert_eq!(get(&gateway, &jwt).await.status, 200, "its server has not revoked it");
    assert_eq!(revoke("reports-secret").send().await.status, 200);
    assert_eq!(get(&gateway, &token).await.status, 401);

    logs_out(&server, &gateway).await;
    let doors = [("endpoint", 2.0), ("logout", 3.0)];
    for (door, count) in doors {
        let taken = gateway.metric("scopegate_revocations_total", &[("door", door)]).await;
        assert_eq!(taken, count, "{door}");
    }
    let log = gateway.whole_log().await;
    for secret in [&token, &jwt, "reports-secret"] {
        assert!(!log.contains(secret), "a secret in the log");
    }
}

/// The server tells of logouts: of one session, and of a user.
async fn logs_out(server: &AuthServer, gateway: &Gateway) {
    let uri = format!("{}/oauth/logout", gateway.url());
    let logout = async |client: &str, sub: &str, sid: Option<&str>| {
        let mut order = json!({ "client": client, "sub": sub, "uri": uri });
        if let Some(sid) = sid {
            order["sid"] = json!(sid);
        }
        server.control("/logout", order).await["status"].as_u64().unwrap()
    };
    let mint = async |sid: &str| {
        server.mint(json!({ "client": "web", "sub": "alice", "claims": { "sid": sid } })).await
    };
    let (first, second) = (mint("s1").await, mint("s2").await);
    assert_eq!(logout("web", "alice", Some("s1")).await, 200);
    assert_eq!(get(gateway, &first).await.status, 401, "the session that ended");
    assert_eq!(get(gateway, &second).await.status, 200, "another session");
    assert_eq!(logout("reports", "alice", Some("s2")).await, 400, "for another client");
    assert_eq!(get(gateway, &second).await.status, 200);
    assert_eq!(logout("web", "nobody", Some("no-session")).await, 200, "also without a session");
    assert_eq!(logout("web", "alice", None).await, 200);
    assert_eq!(get(gateway, &second).await.status, 401, "all sessions of the user");
    let later = json!({ "client": "web", "sub": "alice", "claims": { "iat": unix_now() + 5 } });
    assert_eq!(get(gateway, &server.mint(later).await).await.status, 200, "who logs in anew");
}

/// A gateway before a server in the test's hands, whose revocation endpoint answers so.
async fn by_hand(answer: fn() -> Reply) -> (TestIssuer, Backend, Gateway) {
    let issuer = TestIssuer::new();
    let server = Backend::answering(move |_| answer()).await;
    let url = server.url();
    let more = format!("revocation_endpoint = \"{url}/revoke?tenant=1\"\n{DOORS}");
    let upstream = Backend::start().await;
    let setup = Setup::new().issuer("main", &issuer, &more).upstream("api", &upstream.url(), "");
    let gateway = setup.route(ORDERS).start().await;
    (issuer, server, gateway)
}

#[tokio::test]
async fn rfc7009_2_1_the_form_goes_on_as_it_is_and_a_jwt_is_refused_once_its_server_says_200() {
    let (issuer, server, gateway) = by_hand(|| Reply::status(200)).await;
    let token = issuer.token().scopes("orders:read").sign();
    assert_eq!(get(&gateway, &token).await.status, 200);
    let body = format!("token_type_hint=access_token&token={token}&client_id=a&x=%C3%A9+1");
    let answer = form(&gateway, "/oauth/revoke", &body)
        .basic("app", "s3cret")
        .header("cookie", "not=for-the-server")
        .send()
        .await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let seen = server.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/revoke?tenant=1"));
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), body);
    assert_eq!(seen.header("authorization"), Some("Basic YXBwOnMzY3JldA=="));
    assert_eq!(seen.header("cookie"), None);
    let refused = get(&gateway, &token).await;
    assert_eq!(refused.challenge("Bearer").unwrap()["error_description"], "the token was revoked");
    // A server says 200 to anything (section 2.2): what is no token of ours takes no room.
    let stranger = TestIssuer::named("https://other.test", &["ES256"]).token().sign();
    for made_up in ["made-up", &stranger, &format!("{}AAAA", &token[..token.len() - 4])] {
        let answer = form(&gateway, "/oauth/revoke", &format!("token={made_up}")).send().await;
        assert_eq!(answer.status, 200, "{made_up}");
    }
    assert_eq!(gateway.admin("/revocations").await.json()["entries"], json!(2));
}

#[tokio::test]
async fn rfc7009_2_1_what_is_no_revocation_request_reaches_no_server() {
    let (_, server, gateway) = by_hand(|| Reply::status(200)).await;
    let path = "/oauth/revoke";
    let text = |kind: &str, body: &str| {
        gateway.request("POST", path).header("content-type", kind).body(body)
    };
    for (claim, request, status) in [
        ("a GET", gateway.get(path), 405),
        ("JSON", text("application/json", "{\"token\":\"t\"}"), 400),
        ("no token", form(&gateway, path, "token_type_hint=access_token"), 400),
        ("an empty one", form(&gateway, path, "token="), 400),
        ("two", form(&gateway, path, "token=a&token=b"), 400),
        ("two credentials", form(&gateway, path, "token=a").basic("a", "b").basic("c", "d"), 400),
        ("too much", form(&gateway, path, &"x".repeat(70_000)), 413),
    ] {
        let response = request.send().await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
        assert_eq!(response.header("cache-control"), "no-store", "{claim}");
        if status == 400 {
            assert_eq!(response.json()["error"], json!("invalid_request"), "{claim}");
        }
    }
    assert_eq!(server.count(), 0);
    let other_host = gateway.request("POST", "/oauth/revoked").send().await;
    assert_eq!(other_host.status, 404);
}

#[tokio::test]
async fn rfc7009_2_2_1_a_server_that_cannot_say_is_503_and_a_redirect_is_not_followed() {
    for answer in [
        || Reply::status(307).header("location", "https://evil.test/"),
        || Reply::status(200).broken_off(),
    ] {
        let (issuer, _server, gateway) = by_hand(answer).await;
        let token = issuer.token().scopes("orders:read").sign();
        let answer = form(&gateway, "/oauth/revoke", &format!("token={token}")).send().await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
        assert_eq!(answer.header("location"), "");
        assert_eq!(get(&gateway, &token).await.status, 200, "nobody has revoked it");
    }
}

#[tokio::test]
async fn cve_2020_15223_what_cannot_be_put_on_the_list_is_not_said_to_be_done() {
    let issuer = TestIssuer::new();
    let server = Backend::answering(|_| Reply::status(200)).await;
    let more = format!("revocation_endpoint = \"{}/revoke\"\n{DOORS}", server.url());
    let setup = Setup::new().issuer("main", &issuer, &more).upstream("api", &server.url(), "");
    let gateway = setup.table("[revocations]\nentries = 1").route(ORDERS).start().await;
    let token = issuer.token().scopes("orders:read").sign();
    let answer = form(&gateway, "/oauth/revoke", &format!("token={token}")).send().await;
    assert_eq!(answer.status, 503, "a token and its jti are two");
    let labels = [("door", "endpoint"), ("reason", "full")];
    assert_eq!(gateway.metric("scopegate_revocations_refused_total", &labels).await, 1.0);
}

#[tokio::test]
async fn rfc6749_10_10_a_clients_secret_is_guessed_so_often_and_slow_forms_keep_nobody_out() {
    let refusal = || Reply::status(401).body(r#"{"error":"invalid_client"}"#);
    let (_, server, gateway) = by_hand(refusal).await;
    let path = "/oauth/revoke";
    let guess = |number: usize| match number % 2 {
        0 => form(&gateway, path, "token=t").basic("app", &format!("s{number}")),
        _ => form(&gateway, path, &format!("token=t&client_id=app&client_secret=s{number}")),
    };
    for number in 0..10 {
        assert_eq!(guess(number).send().await.status, 401, "{number}");
    }
    let wait = guess(10).send().await;
    assert_eq!((wait.status, wait.json()["reason"].as_str()), (429, Some("guessed_too_often")));
    assert!(wait.header("retry-after").parse::<u64>().unwrap() <= 60);
    assert_eq!(server.count(), 10);
    let other = form(&gateway, path, "token=t").basic("another", "s").send().await;
    assert_eq!((other.status, server.count()), (401, 11), "another client there");
    let twice = form(&gateway, path, "token=t&client_secret=a").basic("another", "s").send().await;
    assert_eq!((twice.status, server.count()), (400, 11), "RFC 6749 section 2.3");

    // As many as are worked on at once, each asked for its form.
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut connection = gateway.connect().await;
        let head = "POST /oauth/logout HTTP/1.1\r\nHost: api.test\r\nContent-Length: 9\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n";
        connection.write(head.as_bytes()).await;
        connection.receives("100 Continue").await;
        slow.push(connection);
    }
    let logout = form(&gateway, "/oauth/logout", "logout_token=x").send().await;
    assert_eq!(logout.status, 400, "it was read: {}", logout.text());
}

/// A logout token of this issuer for the client `web`.
fn logout_token(issuer: &TestIssuer, change: impl FnOnce(Token<'_>) -> Token<'_>) -> String {
    let event = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let token =
        issuer.token().header("typ", "logout+jwt").claim("aud", "web").claim("events", event);
    change(token.claim("sid", "s1")).sign()
}

type Token<'a> = crate::harness::issuer::Token<'a>;

#[tokio::test]
async fn bcl_2_6_a_logout_token_that_fails_any_check_logs_nobody_out() {
    let (issuer, _server, gateway) = by_hand(|| Reply::status(200)).await;
    let forged = TestIssuer::new();
    let token = issuer.token().scopes("orders:read").claim("sid", "s1").sign();
    let post = async |token: &str| {
        form(&gateway, "/oauth/logout", &format!("logout_token={token}")).send().await
    };
    let good = logout_token(&issuer, |token| token);
    let none = {
        let (head, rest) = good.split_once('.').unwrap();
        let _ = head;
        let payload = rest.split_once('.').unwrap().0;
        let header = crate::harness::keys::base64url(r#"{"alg":"none","typ":"logout+jwt"}"#);
        format!("{header}.{payload}.")
    };
    for (claim, wrong) in [
        ("another's signature", logout_token(&forged, |token| token)),
        ("alg none", none),
        ("an access token's typ", logout_token(&issuer, |token| token.header("typ", "at+jwt"))),
        ("another issuer", logout_token(&issuer, |token| token.claim("iss", "https://x.test"))),
        ("another client", logout_token(&issuer, |token| token.claim("aud", "app"))),
        ("no event", logout_token(&issuer, |token| token.claim("events", json!({})))),
        ("an ID token's nonce", logout_token(&issuer, |token| token.claim("nonce", "n"))),
        ("over", logout_token(&issuer, |token| token.ttl(-60))),
        ("no exp", logout_token(&issuer, |token| token.claim("exp", Value::Null))),
        ("no jti", logout_token(&issuer, |token| token.claim("jti", Value::Null))),
        ("an access token", token.clone()),
        ("no JWT", "opaque".to_owned()),
    ] {
        let answer = post(&wrong).await;
        assert_eq!((answer.status, answer.header("cache-control")), (400, "no-store"), "{claim}");
        assert_eq!(answer.json()["error"], json!("invalid_request"), "{claim}");
        assert_eq!(get(&gateway, &token).await.status, 200, "{claim}");
    }
    assert_eq!(get(&gateway, &good).await.status, 401, "it is no access token either");
    let done = post(&good).await;
    assert_eq!((done.status, done.header("cache-control")), (200, "no-store"));
    assert_eq!(get(&gateway, &token).await.status, 401);
    assert_eq!(post(&good).await.status, 400, "once more");
    let plain = logout_token(&issuer, |token| token.header("typ", "JWT").claim("sid", "s2"));
    assert_eq!(post(&plain).await.status, 200, "typ as servers have it that give none");
}

#[tokio::test]
async fn a_door_is_at_its_host_alone_and_is_explained() {
    let issuer = TestIssuer::new();
    let doors = DOORS.replace("\"/oauth/revoke\"", "\"/oauth/revoke\"\nhost = \"login.test\"");
    let server = Backend::answering(|_| Reply::status(200)).await;
    let more = format!("revocation_endpoint = \"{}/revoke\"\n{doors}", server.url());
    let setup = Setup::new().issuer("main", &issuer, &more).upstream("api", &server.url(), "");
    let gateway = setup.route(ORDERS).start().await;
    let at = async |host: &str| {
        form(&gateway, "/oauth/revoke", "token=t").header("host", host).send().await.status
    };
    assert_eq!((at("login.test").await, at("api.test").await), (200, 404));
    let mut explain = crate::harness::gateway::command(&["explain", "--config"]);
    explain.arg(gateway.config()).args(["POST", "https://login.test/oauth/revoke"]);
    let (status, output, errors) = program::run(&mut explain).await;
    assert!(status.success(), "{output}\n{errors}");
    assert!(output.contains("the revocation endpoint of main (RFC 7009)"), "{output}");
    eventually("the access line", async || {
        gateway.log().contains("reason=\"revocation\"").then_some(())
    })
    .await;
}
