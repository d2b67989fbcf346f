//! `forward = { exchange = … }` (RFC 8693, RFC 7523 §2.1): the upstream gets a token for its own
//! audience in place of the caller's.

use serde_json::{Value, json};

use crate::harness::backend::Seen;
use crate::harness::gateway::{check, command};
use crate::harness::program::run;
use crate::harness::world::{Setup, client};
use crate::harness::{AuthServer, Backend, Gateway, Reply, SigningKey, TestIssuer, eventually};

const ES256: &str = "https://api.test/es256";

/// A client that exchanges; `more` says how.
fn exchanging(name: &str, id: &str, more: &str) -> String {
    client(name, id, "orders:read", more)
}

fn route(name: &str) -> String {
    format!(
        r#"path = "/{name}/{{*rest}}", access = {{ scopes = ["orders:read"] }}, accept = ["bearer", "basic"], forward = {{ exchange = "{name}" }}"#
    )
}

/// The claims of the token that the upstream got.
fn claims(seen: &Seen) -> Value {
    let token = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap_or_else(|| panic!("no JWT: {token}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A real server, and a gateway with a client for each way to exchange there.
struct Exchanging {
    server: AuthServer,
    upstream: Backend,
    gateway: Gateway,
}

impl Exchanging {
    async fn start() -> Self {
        let (server, upstream) = (AuthServer::start().await, Backend::start().await);
        let key = SigningKey::new("ES256", "ours-1");
        let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
        let asserter = json!({
            "client_id": "asserter", "grant_types": [grant], "response_types": [],
            "redirect_uris": [], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [key.jwk()] }, "api_scope": "orders:read",
        });
        server.control("/clients", asserter).await;
        let audience = format!("grant = \"token_exchange\"\naudience = \"{ES256}\"");
        let acting = format!("{audience}\nactor = \"reports\"");
        let assertion = format!("grant = \"jwt_bearer\"\nresource = \"{ES256}\"");
        let signed = format!(
            "[clients.signed]\nauthorization_server = \"main\"\nclient_id = \"asserter\"\n\
             authentication = \"private_key_jwt\"\nclient_key = {{ file = \"secrets/key\" }}\n\
             scopes = [\"orders:read\"]\n{audience}\nsubject_token_type = \"jwt\"\n\
             requested_token_type = \"jwt\"\n"
        );
        let secret = |setup: Setup, name| setup.secret(name, "exchanger-secret");
        let setup = ["inner", "acting", "assertion"].into_iter().fold(Setup::new(), secret);
        let setup = setup
            .secret("reports", "reports-secret")
            .secret("key", &key.pkcs8_pem())
            .server("main", &server, "")
            .table(&client("reports", "reports", "orders:read", ""))
            .table(&exchanging("inner", "exchanger", &audience))
            .table(&exchanging("acting", "exchanger", &acting))
            .table(&exchanging("assertion", "exchanger", &assertion))
            .table(&signed)
            .upstream("api", &upstream.url(), "");
        let routes = ["inner", "acting", "assertion", "signed"].into_iter();
        let gateway = routes.fold(setup, |setup, name| setup.route(&route(name))).start().await;
        Self { server, upstream, gateway }
    }

    /// A user's token; `more` is added to the order.
    async fn token(&self, sub: &str, more: Value) -> String {
        let mut order = json!({ "client": "web", "sub": sub, "scope": "orders:read" });
        for (name, value) in more.as_object().unwrap() {
            order[name] = value.clone();
        }
        self.server.mint(order).await
    }

    /// The claims of what the upstream gets for a token.
    async fn got(&self, path: &str, token: &str) -> Value {
        let answer = self.gateway.get(path).bearer(token).send().await;
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), self.gateway.log());
        let seen = self.upstream.last();
        assert!(!seen.header("authorization").unwrap().contains(token), "the caller's own");
        claims(&seen)
    }

    async fn one_exchange_for_two_hundred(&self, token: &str) {
        let Self { server, gateway, .. } = self;
        server.fault("token", json!({ "delay_ms": 200 })).await;
        let statuses = gateway.at_once("/inner/1", &vec![format!("Bearer {token}"); 200]).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}\n{}", gateway.log());
        server.fault("token", json!({})).await;
        let got = self.got("/inner/2", token).await;
        assert_eq!(server.count("token").await, 1, "one exchange for all, and kept");
        for (name, expected) in [
            ("sub", json!("alice")),
            ("aud", json!(ES256)),
            ("client_id", json!("exchanger")),
            ("scope", json!("orders:read")),
            ("act", json!({ "sub": "exchanger" })),
        ] {
            assert_eq!(got[name], expected, "{name}: {got}");
        }
    }

    /// What operators see, and that neither `explain` nor `check` exchanges.
    async fn is_told(&self) {
        let Self { server, gateway, .. } = self;
        let status = gateway.admin("/status").await.json();
        let clients = status["clients"].as_array().unwrap();
        let inner = clients.iter().find(|client| client["name"] == "inner").unwrap();
        assert_eq!(inner["grant"], "token_exchange");
        assert_eq!(inner["missing_scopes"], json!([]));
        let hits = [("server", "main"), ("cache", "exchanged"), ("result", "hit")];
        assert!(gateway.metric("scopegate_cache_lookups_total", &hits).await >= 1.0);

        let exchanges = [("client", "inner"), ("outcome", "granted")];
        let before = gateway.metric("scopegate_client_tokens_total", &exchanges).await;
        let asked = server.count("token").await;
        let config = gateway.config().to_str().unwrap();
        let carol = self.token("carol", json!({})).await;
        let arguments = ["explain", "--config", config, "GET", "/inner/1", "--token", &carol];
        let (explained, text, errors) = run(&mut command(&arguments)).await;
        assert_eq!(explained.code(), Some(0), "{text}{errors}");
        assert!(text.contains("clients.inner would ask"), "{text}");
        assert!(text.contains("what clients.inner is given for it"), "{text}");
        assert_eq!(server.count("token").await, asked);
        let (online, text, errors) = run(&mut command(&["check", "--online", config])).await;
        assert_eq!(online.code(), Some(0), "{text}{errors}");
        assert!(
            text.contains("grant jwt_bearer of clients.assertion: the metadata lists it"),
            "{text}"
        );
        let after = gateway.metric("scopegate_client_tokens_total", &exchanges).await;
        assert!((after - before).abs() < 0.5, "{before} {after}");
    }
}

/// One real server for all that it can show.
#[tokio::test]
async fn rfc8693_4_1_the_upstream_gets_a_token_for_its_audience_that_says_who_acts() {
    let world = Exchanging::start().await;
    let alice = world.token("alice", json!({})).await;
    world.one_exchange_for_two_hundred(&alice).await;

    // Who acted before stays in it.
    let second = json!({ "claims": { "act": { "sub": "front" } } });
    let second = world.token("alice", second).await;
    let act = json!({ "sub": "exchanger", "act": { "sub": "front" } });
    assert_eq!(world.got("/inner/3", &second).await["act"], act);

    // An opaque token, and what a key and secret were exchanged for, are tokens like others.
    let opaque = world.token("bob", json!({ "resource": "https://api.test/opaque" })).await;
    assert_eq!(world.got("/inner/4", &opaque).await["sub"], "bob");
    let basic = world.gateway.get("/inner/5").basic("limited", "limited-secret").send().await;
    assert_eq!(basic.status, 200, "{}\n{}", basic.text(), world.gateway.log());
    assert_eq!(claims(&world.upstream.last())["sub"], "limited");

    // The other ways: with an actor's token, as an assertion, by a client that signs.
    for (name, client_id, act) in [
        ("acting", "exchanger", "reports"),
        ("assertion", "exchanger", "exchanger"),
        ("signed", "asserter", "asserter"),
    ] {
        let got = world.got(&format!("/{name}/1"), &alice).await;
        assert_eq!((&got["sub"], &got["client_id"]), (&json!("alice"), &json!(client_id)), "{got}");
        assert_eq!((&got["act"]["sub"], &got["aud"]), (&json!(act), &json!(ES256)), "{got}");
    }
    let answer = world.gateway.get("/assertion/2").bearer(&opaque).send().await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_token"), "no assertion");
    world.is_told().await;
}

/// A gateway that exchanges at `answer`.
async fn asking(
    more: &str,
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (TestIssuer, Backend, Backend, Gateway) {
    let (issuer, upstream) = (TestIssuer::new(), Backend::start().await);
    let server = Backend::answering(answer).await;
    let token_only = format!("token_endpoint = \"{}/token\"", server.url());
    let gateway = Setup::new()
        .secret("inner", "s")
        .issuer("main", &issuer, &token_only)
        .table(&exchanging("inner", "us", &format!("grant = \"token_exchange\"\n{more}")))
        .upstream("api", &upstream.url(), "")
        .route(&route("inner").replace(
            r#"accept = ["bearer", "basic"]"#,
            r#"upgrade = { protocols = ["websocket"] }"#,
        ))
        .start()
        .await;
    (issuer, server, upstream, gateway)
}

fn issued(change: Value) -> Reply {
    let mut answer = json!({
        "access_token": "inner-token", "token_type": "Bearer", "expires_in": 300,
        "scope": "orders:read",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    for (name, value) in change.as_object().unwrap() {
        answer[name] = value.clone();
    }
    answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    json_reply(200, &answer)
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::status(status).header("content-type", "application/json").body(body.to_string())
}

#[tokio::test]
async fn rfc8693_2_2_whatever_goes_wrong_the_callers_own_token_is_not_forwarded() {
    let (issuer, server, upstream, gateway) =
        asking("negative_cache_ttl = \"0s\"", |_| issued(json!({}))).await;
    let token = || issuer.token().scopes("orders:read").sign();
    let answer = gateway.get("/inner/1").bearer(&token()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().header("authorization"), Some("Bearer inner-token"));
    let told: [Case; 9] = [
        ("no issued_token_type", || issued(json!({ "issued_token_type": null })), 502, "-"),
        ("a token that is no bearer's", || issued(json!({ "token_type": "N_A" })), 502, "-"),
        ("fewer scopes", || issued(json!({ "scope": "" })), 502, "-"),
        ("the caller's token is bad", || error_of(400, "invalid_request"), 401, "invalid_token"),
        ("it is over", || error_of(400, "invalid_grant"), 401, "invalid_token"),
        ("no such target", || error_of(400, "invalid_target"), 502, "-"),
        ("our client may not", || error_of(400, "unauthorized_client"), 502, "-"),
        ("trouble", || Reply::status(500), 503, "-"),
        ("no answer", || Reply::status(200).broken_off().body("{"), 503, "-"),
    ];
    for (claim, reply, status, code) in told {
        server.answer(move |_| reply());
        let answer = gateway.get("/inner/1").bearer(&token()).send().await;
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{claim}");
    }
    assert_eq!(upstream.count(), 1, "nothing went on");
    gateway.logs("token was not exchanged").await;
    assert!(!gateway.log().contains("inner-token"));
}

/// What it is, what the server answers, and the gateway's status and error code.
type Case = (&'static str, fn() -> Reply, u16, &'static str);

fn error_of(status: u16, code: &str) -> Reply {
    json_reply(status, &json!({ "error": code }))
}

#[tokio::test]
async fn nothing_is_exchanged_for_a_request_that_goes_nowhere() {
    let (issuer, server, upstream, gateway) = asking("", |_| issued(json!({}))).await;
    let token = issuer.token().scopes("orders:read").sign();
    // An upgrade with a body has two readings.
    let opening = gateway.get("/inner/1").bearer(&token).body("x");
    let opening = opening.header("connection", "upgrade").header("upgrade", "websocket");
    let answer = opening.send().await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!((server.count(), upstream.count()), (0, 0));
}

#[tokio::test]
async fn rfc9110_15_5_2_what_the_upstream_refuses_is_dropped_and_is_not_the_callers_fault() {
    let (issuer, server, upstream, gateway) = asking("", |_| issued(json!({}))).await;
    let token = issuer.token().scopes("orders:read").sign();
    upstream.answer(|_| Reply::status(401).header("www-authenticate", "Bearer realm=\"inner\""));
    let answer = gateway.get("/inner/1").bearer(&token).send().await;
    assert_eq!((answer.status, answer.all("www-authenticate").len()), (502, 0));
    upstream.answer(|_| Reply::status(200));
    assert_eq!(gateway.get("/inner/1").bearer(&token).send().await.status, 200);
    assert_eq!(server.count(), 2, "a new one was asked for");
}

#[tokio::test]
async fn rfc8693_2_2_1_a_token_ends_with_the_one_that_it_was_given_for_and_with_expires_in() {
    let (issuer, server, _upstream, gateway) =
        asking("", |_| issued(json!({ "expires_in": 2 }))).await;
    let token = issuer.token().scopes("orders:read").sign();
    eventually("a second exchange", async || {
        assert_eq!(gateway.get("/inner/1").bearer(&token).send().await.status, 200);
        (server.count() > 1).then_some(())
    })
    .await;
    let seen = server.all();
    let body = String::from_utf8(seen[0].body.clone()).unwrap();
    assert!(body.contains(&format!("subject_token={token}")), "{body}");
    assert!(!body.contains("actor_token"), "{body}");
}

#[tokio::test]
async fn what_does_not_fit_together_is_a_mistake() {
    let (issuer, other) = (TestIssuer::new(), TestIssuer::named("https://other.test", &["ES256"]));
    let setup = Setup::new()
        .secret("ours", "s")
        .secret("inner", "s")
        .issuer("main", &issuer, "")
        .issuer("other", &other, "")
        .table(&client("ours", "ours", "a", ""))
        .table(&client("inner", "inner", "a", "grant = \"token_exchange\""))
        .table(&client("theirs", "theirs", "a", "").replace("\"main\"", "\"other\""))
        .secret("theirs", "s")
        .upstream("api", "http://127.0.0.1:1", "")
        .route(r#"path = "/a", access = { scopes = ["a"] }, authorization_servers = ["main"], forward = { exchange = "inner" }"#);
    let text = setup.text();
    let (code, output) = check(&setup.folder, &text).await;
    assert_eq!(code, 0, "{output}");
    for (from, to, told) in [
        ("exchange = \"inner\"", "exchange = \"ours\"", "this client has a token of its own"),
        ("exchange = \"inner\"", "client = \"inner\"", "this client has no token of its own"),
        ("exchange = \"inner\"", "exchange = \"inner\", client = \"ours\"", "gets one token"),
        (
            "access = { scopes = [\"a\"] }, authorization_servers = [\"main\"]",
            "access = \"public\"",
            "a public route checks no token",
        ),
        ("\"token_exchange\"", "\"token_exchange\"\nactor = \"inner\"", "who acts is the gateway"),
        (
            "\"token_exchange\"",
            "\"token_exchange\"\nactor = \"theirs\"",
            "of another authorization",
        ),
        (
            "authorization_servers = [\"main\"], ",
            "",
            "tokens of all authorization servers would be sent",
        ),
        (
            "\"token_exchange\"",
            "\"token_exchange\"\nactor = \"none\"",
            "there is no [clients.none]",
        ),
        ("\"token_exchange\"", "\"jwt_bearer\"\naudience = \"x\"", "only a token exchange"),
        ("\"token_exchange\"", "\"token_exchang\"", "did you mean \"token_exchange\""),
    ] {
        let (code, output) = check(&setup.folder, &text.replacen(from, to, 1)).await;
        assert_eq!(code, 2, "{to}: {output}");
        assert!(output.contains(told), "{to}: {output}");
    }
}
