//! `scopegate explain` says what the gateway does, for the same configuration and the same request.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::client::{Request, Response};
use crate::harness::gateway::command;
use crate::harness::world::{Setup, client};
use crate::harness::{AuthServer, Backend, Gateway, TestIssuer, World, eventually};

/// What the command prints, and its exit code.
async fn explained(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let config = gateway.config().to_str().unwrap();
    let mut command = tokio::process::Command::from(command(&["explain", "--config", config]));
    let output = command.args(arguments).stdin(Stdio::null()).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = format!("{}{errors}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), text)
}

const ROUTES: [&str; 8] = [
    r#"name = "read", path = "/orders/{id}", methods = ["GET"], access = { scopes = ["orders:read"] }, identity_headers = { "x-subject" = "sub" }"#,
    r#"name = "write", path = "/orders/{id}", methods = ["PUT"], access = { scopes = ["orders:read", "orders:write"] }"#,
    r#"name = "any", path = "/orders/{*rest}", access = { any_scope = ["a", "orders:read"] }"#,
    r#"name = "it", path = "/it", access = { claims = { department = ["it"] } }"#,
    r#"name = "other", path = "/other", audiences = ["https://other.test"], access = { scopes = ["a"] }"#,
    r#"name = "health", path = "/health", access = "public""#,
    r#"name = "moved", path = "/v1/{*rest}", access = "public", rewrite = { prefix = "/v1", to = "/api" }"#,
    r#"name = "host", host = "only.test", path = "/orders/{id}", access = { scopes = ["orders:read"] }"#,
];

/// What a request may bring, and a name for it.
fn tokens(world: &World) -> [(&'static str, String); 18] {
    let token = || world.issuer.token();
    [
        ("none", String::new()),
        ("read", token().scopes("orders:read").sign()),
        ("write", token().scopes("orders:write orders:read").sign()),
        ("without scopes", token().sign()),
        ("it", token().claim("department", "it").sign()),
        ("expired", token().scopes("orders:read").ttl(-600).sign()),
        ("early", token().scopes("orders:read").claim("nbf", 9_999_999_999_i64).sign()),
        (
            "other audience",
            token().scopes("a orders:read").claim("aud", "https://other.test").sign(),
        ),
        ("other issuer", token().scopes("orders:read").claim("iss", "https://x.test").sign()),
        ("other type", token().scopes("orders:read").header("typ", "JWT").sign()),
        ("bad signature", token().scopes("orders:read").sign_by(|_| vec![0; 64])),
        ("unknown key", token().scopes("orders:read").header("kid", "none").sign()),
        ("not signed", token().header("alg", "none").sign()),
        ("bound", token().claim("cnf", json!({ "jkt": "x" })).sign()),
        ("id token", token().claim("nonce", "n").claim("at_hash", "h").sign()),
        ("wrong claim", token().claim("exp", "soon").sign()),
        ("opaque", "2YotnFZFEjr1zCsicMWpAA".to_owned()),
        ("no token at all", "a b".to_owned()),
    ]
}

/// Each request is sent, asked about at the gateway that runs, and if it was refused asked about by
/// its id: three answers that never disagree. The command is held against them for each target.
#[tokio::test]
async fn it_never_disagrees_with_the_gateway() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        ROUTES.iter().fold(setup.admin("refusals = 1_000"), |setup, route| setup.route(route))
    })
    .await;
    let tokens = tokens(&world);
    let requests = [
        ("GET", "/orders/7"),
        ("PUT", "/orders/7"),
        ("POST", "/orders/7/lines"),
        ("GET", "/it"),
        ("GET", "/other"),
        ("GET", "/health"),
        ("GET", "/v1/a?b=c"),
        ("GET", "/nothing"),
        ("POST", "/it?access_token=t"),
        ("TRACE", "/health"),
        ("GET", "/a/../health"),
    ];
    let gateway = &world.gateway;
    let mut statuses = std::collections::BTreeSet::new();
    for (index, (method, target)) in requests.into_iter().enumerate() {
        for (name, token) in &tokens {
            let mut request = gateway.request(method, target).header("x-caller", "kept");
            let mut asked =
                json!({ "method": method, "url": target, "headers": { "x-caller": "kept" } });
            if !token.is_empty() {
                request = request.bearer(token);
                asked["token"] = json!(token);
            }
            let answer = request.send().await;
            let told = gateway.admin_post("/explain", &asked).send().await;
            let case = format!("{method} {target} with {name}: {}", told.text());
            assert_eq!(told.status, 200, "{case}");
            let told = told.json();
            agrees(&told, &answer, &case);
            if answer.status == 200 {
                assert!(told["sent"]["headers"].to_string().contains(r#"["x-caller","kept"]"#));
            } else {
                let id = json!({ "request_id": answer.header("x-request-id") });
                let kept = gateway.admin_post("/explain", &id).send().await;
                let case = format!("{method} {target} with {name}, by its id: {}", kept.text());
                assert_eq!(kept.status, 200, "{case}");
                assert!(token.len() < 4 || !kept.text().contains(token), "{case}");
                agrees(&kept.json(), &answer, &case);
                assert_eq!(kept.json()["outcome"], told["outcome"], "{case}");
            }
            if name == &tokens[index].0 {
                let mut arguments = vec![method, target, "-H", "x-caller: kept", "--json"];
                if !token.is_empty() {
                    arguments.extend(["--token", token]);
                }
                let (code, text) = explained(gateway, &arguments).await;
                assert_eq!(code, i32::from(answer.status != 200), "{case}");
                // Times and request ids differ.
                let by_command: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(by_command["outcome"], told["outcome"], "{case}");
                assert_eq!(marks(&by_command), marks(&told), "{case}");
            }
            statuses.insert(answer.status);
        }
    }
    for status in [200, 400, 401, 403, 404, 405] {
        assert!(statuses.contains(&status), "no case has {status}");
    }
}

/// What was looked at, and how it went.
fn marks(told: &Value) -> Vec<(Value, Value)> {
    let steps = told["steps"].as_array().unwrap().iter();
    steps.map(|step| (step["mark"].clone(), step["what"].clone())).collect()
}

/// Holds an explanation against the answer.
fn agrees(told: &Value, answer: &Response, case: &str) {
    let steps = told["steps"].as_array().unwrap();
    let refusing = steps.iter().filter(|step| step["mark"] == "no").count();
    let outcome = &told["outcome"];
    if answer.status == 200 {
        assert_eq!((outcome, refusing), (&json!("allowed"), 0), "{case}");
    } else {
        assert_eq!(outcome["refused"]["status"], json!(answer.status), "{case}");
        assert!(told["sent"].is_null() && 0 < refusing, "{case}");
        assert_eq!(answer.json()["reason"], told_reason(outcome), "{case}");
    }
}

#[tokio::test]
async fn a_refusal_is_explained_by_its_request_id() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        ROUTES.iter().fold(setup.admin("refusals = 2"), |setup, route| setup.route(route))
    })
    .await;
    let gateway = &world.gateway;
    let token = world.issuer.token().scopes("orders:read").claim("sub", "alice").sign();
    let refused = gateway.request("PUT", "/orders/7").bearer(&token).send().await;
    let id = refused.header("x-request-id").to_owned();
    let arguments = ["--request-id", &id, "--admin", gateway.admin_address()];
    let (code, text) = explained(gateway, &arguments).await;
    assert_eq!(code, 1, "{text}");
    for part in ["PUT", "/orders/7", "\"write\"", "orders:write", "refused with 403"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains(&token), "{text}");
    // A query may hold a token.
    let leaked = gateway.get(&format!("/it?access_token={token}")).send().await;
    let asked = json!({ "request_id": leaked.header("x-request-id") });
    let told = gateway.admin_post("/explain", &asked).send().await.text();
    assert!(told.contains("400") && !told.contains(&token), "{told}");
    // The oldest makes room.
    gateway.get("/nothing").send().await;
    let (code, text) = explained(gateway, &arguments).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no refused request with that id is kept"), "{text}");
    // A configuration that is replaced is let go of, with its routes.
    let last = gateway.request("PUT", "/orders/7").bearer(&token).send().await;
    gateway.signal("HUP");
    eventually("the new configuration", async || {
        (gateway.metric("scopegate_reloads_total", &[("outcome", "accepted")]).await >= 1.0)
            .then_some(())
    })
    .await;
    let asked = json!({ "request_id": last.header("x-request-id") });
    let told = gateway.admin_post("/explain", &asked).send().await.text();
    assert!(told.contains("refused") && told.contains("\\\"write\\\""), "{told}");
    // What was allowed is none.
    let allowed = gateway.get("/orders/7").bearer(&token).send().await;
    let asked = json!({ "request_id": allowed.header("x-request-id") });
    assert_eq!(gateway.admin_post("/explain", &asked).send().await.status, 404);
}

#[tokio::test]
async fn nothing_is_kept_unless_configured_and_no_page_may_ask() {
    let world = World::orders().await;
    let refused = world.gateway.get("/orders/7").send().await;
    let asked = json!({ "request_id": refused.header("x-request-id") });
    let told = world.gateway.admin_post("/explain", &asked).send().await;
    assert_eq!(told.status, 404, "{}", told.text());
    assert!(told.text().contains("refusals = 1_000"), "{}", told.text());
    let admin = world.gateway.admin_address().parse().unwrap();
    let request = || Request::new(admin, "POST", "/explain").body(asked.to_string());
    let json = request().header("host", "localhost").header("content-type", "application/json");
    for (request, status) in [
        (request().header("host", "localhost").header("content-type", "text/plain"), 415),
        (json.header("origin", "https://evil.test"), 403),
        (request().header("host", "evil.test").header("content-type", "application/json"), 403),
    ] {
        assert_eq!(request.send().await.status, status);
    }
}

/// The caller is told a coarser word in some cases.
fn told_reason(outcome: &Value) -> Value {
    match outcome["refused"]["reason"].as_str().unwrap() {
        "token_key_unknown" | "token_algorithm" => json!("token_signature"),
        reason => json!(reason),
    }
}

/// With a real authorization server: introspection, a key and secret, a token of the gateway's own,
/// and a server that is gone.
#[tokio::test]
async fn whoever_must_be_asked_is_asked_and_no_secret_is_printed() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("ours", "reports-secret")
        .table(&client("ours", "reports", "orders:read", ""))
        .upstream("api", &upstream.url(), "")
        .route(
            r#"name = "read", path = "/orders/{id}", accept = ["bearer", "basic"], access = { scopes = ["orders:read"] }, identity_headers = { "x-client" = "client_id" }"#,
        )
        .route(r#"name = "own", path = "/own", access = "public", forward = { client = "ours" }"#)
        .start()
        .await;
    let order = |scope| json!({ "resource": "https://api.test/opaque", "scope": scope });
    let opaque = server.mint(order("orders:read")).await;
    let basic = format!("Authorization: Basic {}", base64("reports:reports-secret"));
    let url = "https://api.test/orders/7?a=b";
    let cases: [(&[&str], i32, &[&str]); 4] = [
        (&["GET", url, "--token", &opaque], 0, &["says that it is active", "x-client: reports"]),
        (&["GET", url, "-H", &basic], 0, &["the key \"reports\"", "GET /orders/7?a=b", "allowed"]),
        (&["GET", url, "-H", "Authorization: Basic eDp5"], 1, &["no  exchange", "401"]),
        (&["GET", "/own"], 0, &["the route is public", "authorization: Bearer (digest "]),
    ];
    for (arguments, expected, texts) in cases {
        let (code, text) = explained(&gateway, arguments).await;
        assert_eq!(code, expected, "{arguments:?}\n{text}");
        for part in texts {
            assert!(text.contains(part), "{part:?} in:\n{text}");
        }
        for secret in [&*opaque, "reports-secret", "gateway-secret", "eyJ", &basic[21..]] {
            assert!(!text.contains(secret), "{secret} in:\n{text}");
        }
    }
    assert_eq!(upstream.count(), 0, "nothing is sent to the upstream");

    server.fault("introspection", json!({ "status": 500 })).await;
    let other = server.mint(order("orders:write")).await;
    let (code, text) = explained(&gateway, &["GET", url, "--token", &other]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("?   introspection") && text.contains("not decided"), "{text}");
}

#[tokio::test]
async fn what_it_says_is_sent_is_what_the_upstream_gets() {
    let world = World::with(&ROUTES).await;
    let token = world.issuer.token().scopes("orders:read").claim("sub", "alice").sign();
    for (target, bearer) in [("/orders/7?a=b", &*token), ("/v1/a/b?c", ""), ("/%6frders/7", &token)]
    {
        let own =
            ["X-Subject: forged", "Connection: x-gone", "X-Gone: 1", "Cookie: a=b", "X-Kept: 1"];
        let mut arguments = vec!["GET", target, "--json", "-H", "Host: api.test"];
        let mut request = world.gateway.get(target);
        for field in own {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, value);
            arguments.extend(["-H", field]);
        }
        if !bearer.is_empty() {
            request = request.bearer(bearer);
            arguments.extend(["--token", bearer]);
        }
        assert_eq!(request.header("Host", "api.test").send().await.status, 200, "{target}");
        let seen = world.upstream.last();
        let (_, text) = explained(&world.gateway, &arguments).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["sent"]["target"], seen.target, "{target}");
        let of_connection = ["x-request-id", "via", "forwarded", "authorization"];
        let rest = |fields: Vec<(String, String)>| {
            let mut fields = fields;
            fields.retain(|(name, _)| !of_connection.contains(&&**name));
            fields.sort();
            fields
        };
        let said: Vec<(String, String)> =
            serde_json::from_value(told["sent"]["headers"].clone()).unwrap();
        assert_eq!(rest(said), rest(seen.headers.clone()), "{target}");
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
