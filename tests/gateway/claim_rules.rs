//! Rules about claims: conditions by JSON pointer (RFC 6901) and `cel` expressions, over every kind
//! of token, at first sight and from the cache.

use serde_json::{Value, json};

use crate::harness::gateway::{check, command};
use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::world::{Setup, endpoints};
use crate::harness::{AuthServer, Backend, Reply, Scratch, World};

const ROUTES: [&str; 7] = [
    r#"path = "/roles", access = { all = [{ pointer = "/realm_access/roles", has = ["admin"] }] }"#,
    r#"path = "/any", access = { any = [{ pointer = "/org/0/id", has = [7] }, { pointer = "/beta~1test", has = [true] }] }"#,
    r#"path = "/not", access = { not = [{ pointer = "/suspended", has = [true] }] }"#,
    r#"path = "/free", access = { any = [{ pointer = "/suspended", present = false }, { pointer = "/suspended", has = [false] }] }"#,
    r#"path = "/cel", access = { cel = "claims.level >= 3 || 'admin' in claims.realm_access.roles" }"#,
    r#"path = "/loop", access = { cel = "claims.groups.exists(g, g.startsWith('team-') && g != 'team-x')" }"#,
    r#"path = "/who", access = { cel = "client_id == 'app' && principal == 'user' && 'read' in scopes" }"#,
];

/// The route, what the token says, and what comes of it.
fn cases() -> Vec<(&'static str, Value, u16)> {
    let roles = |value: Value| json!({ "realm_access": { "roles": value } });
    #[rustfmt::skip]
    let cases = vec![
        ("/roles", roles(json!(["user", "admin"])),          200),
        ("/roles", roles(json!("admin")),                    200),
        ("/roles", roles(json!(["superadmin", "Admin"])),    403),
        ("/roles", roles(json!([["admin"]])),                403),
        ("/roles", roles(json!({ "admin": true })),          403),
        ("/roles", json!({ "realm_access": "admin" }),       403),
        ("/roles", json!({ "roles": ["admin"] }),            403),
        ("/roles", json!({}),                                403),
        ("/any",   json!({ "org": [{ "id": 7 }] }),          200),
        ("/any",   json!({ "beta/test": true }),             200),
        ("/any",   json!({ "org": [{ "id": "7" }] }),        403),
        ("/any",   json!({ "org": [{}, { "id": 7 }] }),      403),
        ("/not",   json!({ "suspended": false }),            200),
        ("/not",   json!({ "suspended": true }),             403),
        ("/not",   json!({ "suspended": "false" }),          403),
        ("/not",   json!({ "suspended": null }),             403),
        ("/not",   json!({}),                                403),
        ("/free",  json!({}),                                200),
        ("/free",  json!({ "suspended": false }),            200),
        ("/free",  json!({ "suspended": true }),             403),
        ("/free",  json!({ "suspended": "no" }),             403),
        ("/cel",   json!({ "level": 3 }),                    200),
        ("/cel",   json!({ "level": 2.5 }),                  403),
        ("/cel",   json!({ "level": "3" }),                  403),
        ("/cel",   roles(json!(["admin"])),                  200),
        ("/cel",   json!({}),                                403),
        ("/loop",  json!({ "groups": ["x", "team-a"] }),     200),
        ("/loop",  json!({ "groups": ["team-x"] }),          403),
        ("/loop",  json!({ "groups": "team-a" }),            403),
        ("/who",   json!({ "scope": "read" }),               200),
        ("/who",   json!({ "scope": "write" }),              403),
    ];
    cases
}

/// A gateway whose authorization server says of the opaque token `case-N` what the Nth case says,
/// and gives a token for any key and secret.
async fn world() -> (World, Backend) {
    let server = Backend::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let told = match body.split("case-").nth(1) {
            Some(number) => {
                let number: usize = number.split('&').next().unwrap().parse().unwrap();
                let mut told = json!({
                    "active": true, "aud": AUDIENCE, "sub": "alice", "client_id": "app",
                });
                let more = cases().swap_remove(number).1;
                told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                told
            }
            None => json!({ "active": false }),
        };
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let world = World::built(TestIssuer::new(), &endpoints(&server.url(), ""), |setup| {
        ROUTES.iter().fold(setup.secret("gateway", "s"), |setup, route| setup.route(route))
    })
    .await;
    (world, server)
}

#[tokio::test]
async fn rfc6901_4_one_table_holds_for_every_kind_of_token_and_from_the_cache() {
    let (world, server) = world().await;
    for (number, (path, said, status)) in cases().into_iter().enumerate() {
        let jwt = said
            .as_object()
            .unwrap()
            .iter()
            .fold(world.issuer.token(), |token, (name, value)| {
                // The harness takes a claim away where it is null.
                if value.is_null() { token } else { token.claim(name, value.clone()) }
            })
            .sign();
        for (kind, token) in [("JWT", jwt), ("opaque", format!("case-{number}"))] {
            for sight in ["first", "second"] {
                let answer = world.gateway.get(path).bearer(&token).send().await;
                let case = format!("{kind} at {path}, {sight} sight, {said}: {}", answer.text());
                assert_eq!(answer.status, status, "{case}");
                if status == 403 {
                    assert_eq!(answer.error(), "", "more scope would not help: {case}");
                    assert_eq!(answer.json()["reason"], "claims_insufficient", "{case}");
                }
            }
        }
    }
    assert_eq!(server.count(), cases().len(), "each opaque token is asked about once");
    let allowed = cases().iter().filter(|(.., status)| *status == 200).count();
    assert_eq!(world.upstream.count(), allowed * 4, "a refused request reaches nobody");
}

#[tokio::test]
async fn a_token_of_which_nobody_knows_the_claims_meets_no_rule_about_them() {
    let server = Backend::answering(|_| {
        let told = json!({
            "access_token": "t", "token_type": "Bearer", "expires_in": 60, "scope": "read",
        });
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let token_endpoint = format!("token_endpoint = \"{}/token\"", server.url());
    let world = World::built(TestIssuer::new(), &token_endpoint, |setup| {
        [
            r#"path = "/absent", accept = ["basic"], access = { all = [{ pointer = "/suspended", present = false }] }"#,
            r#"path = "/no", accept = ["basic"], access = { not = [{ pointer = "/suspended", has = [true] }] }"#,
            r#"path = "/cel", accept = ["basic"], access = { cel = "!has(claims.suspended)" }"#,
            r#"path = "/known", accept = ["basic"], access = { cel = "principal == 'client' && client_id == 'key' && 'read' in scopes" }"#,
        ]
        .iter()
        .fold(setup, |setup, route| setup.route(route))
    })
    .await;
    for (path, status) in [("/absent", 403), ("/no", 403), ("/cel", 403), ("/known", 200)] {
        let answer = world.gateway.get(path).basic("key", "secret").send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}

/// A real authorization server: a JWT, and a token that it is asked about.
#[tokio::test]
async fn rules_hold_for_the_tokens_of_a_real_authorization_server() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = [
        r#"path = "/roles", access = { all = [{ pointer = "/realm_access/roles", has = ["admin"] }] }"#,
        r#"path = "/cel", access = { cel = "claims.level >= 3 && 'orders:read' in scopes && principal == 'user'" }"#,
        r#"path = "/pay", access = { authorization_details = [{ type = "payment_initiation", actions = ["initiate"] }] }"#,
    ]
    .iter()
    .fold(Setup::new().server("main", &server, ""), |setup, route| setup.route(route))
    .upstream("api", &upstream.url(), "")
    .start()
    .await;
    let details = |action| json!([{ "type": "payment_initiation", "actions": [action] }]);
    let good = json!({ "realm_access": { "roles": ["admin"] }, "level": 3, "authorization_details": details("initiate") });
    let bad = json!({ "realm_access": { "roles": ["user"] }, "level": 2, "authorization_details": details("status") });
    for (claims, status) in [(good, 200), (bad, 403)] {
        for resource in ["https://api.test/jwt", "https://api.test/opaque"] {
            let order = json!({ "resource": resource, "sub": "alice", "claims": claims });
            let token = server.mint(order).await;
            for path in ["/roles", "/cel", "/pay"] {
                let answer = gateway.get(path).bearer(&token).send().await;
                let case = format!("{path}, {resource}, {claims}: {}", answer.text());
                assert_eq!(answer.status, status, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_expression_sees_the_method_the_host_and_the_path_that_the_route_table_saw() {
    let world = World::with(&[
        r#"path = "/tenants/{*rest}", access = { cel = "request.path.startsWith('/tenants/' + claims.tenant + '/')" }"#,
        r#"path = "/method", access = { cel = "request.method == 'GET' || claims.writer" }"#,
        r#"path = "/host", access = { cel = "request.host == claims.host" }"#,
    ])
    .await;
    let token = |name: &str, value: Value| world.issuer.token().claim(name, value).sign();
    let blue = token("tenant", json!("blue"));
    for (target, status) in [
        ("/tenants/blue/orders", 200),
        ("/tenants/bl%75e/orders", 200),
        ("/tenants/blue/orders?x=/tenants/red/", 200),
        ("/tenants/red/orders?x=/tenants/blue/", 403),
        ("/tenants/bluer/orders", 403),
        ("/tenants/Blue/orders", 403),
    ] {
        let answer = world.gateway.get(target).bearer(&blue).send().await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
    }
    let reader = token("writer", json!(false));
    for (method, status) in [("GET", 200), ("POST", 403), ("HEAD", 403)] {
        let answer = world.gateway.request(method, "/method").bearer(&reader).send().await;
        assert_eq!(answer.status, status, "{method}");
    }
    let host = token("host", json!("api.example.com"));
    for (sent, status) in [("API.example.com:8443", 200), ("api.example.org", 403)] {
        let answer = world.gateway.get("/host").bearer(&host).header("host", sent).send().await;
        assert_eq!(answer.status, status, "{sent}: {}", answer.text());
    }
}

#[tokio::test]
async fn explain_shows_each_rule_and_check_counts_them() {
    let world = World::with(&[
        r#"path = "/x", access = { all = [{ pointer = "/a/b", has = ["x"] }], cel = "claims.level > 1", authorization_details = [{ type = "t" }] }"#,
    ])
    .await;
    let token = world
        .issuer
        .token()
        .claim("a", json!({ "b": "y" }))
        .claim("level", 2)
        .claim("authorization_details", json!([{ "type": "t" }]))
        .sign();
    let config = world.gateway.config().to_str().unwrap().to_owned();
    let run = async |arguments: &[&str]| {
        let output = tokio::process::Command::from(command(arguments)).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, told) =
        run(&["explain", "--config", &config, "GET", "/x", "--token", &token, "--json"]).await;
    assert_eq!(code, Some(1), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let step = |what: &str| {
        let steps = told["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["what"] == what);
        step.unwrap_or_else(|| panic!("{what}: {told}")).clone()
    };
    for (what, mark, detail) in [
        ("condition", "no", "all of (/a/b has one of \"x\")"),
        ("details", "yes", "an object with type \"t\""),
        ("cel", "yes", "claims.level > 1: is true"),
    ] {
        let step = step(what);
        assert_eq!((&step["mark"], &step["detail"]), (&json!(mark), &json!(detail)), "{what}");
    }
    let (code, told) = run(&["check", &config]).await;
    assert_eq!(code, Some(0));
    assert!(told.contains("on: 3 rules about claims"), "{told}");
}

#[tokio::test]
async fn a_mistake_in_an_expression_is_shown_with_line_and_column() {
    let (folder, issuer) = (Scratch::new(), TestIssuer::new());
    let text = Setup::new()
        .issuer("main", &issuer, "")
        .upstream("api", "http://127.0.0.1:9", "")
        .route("path = \"/x\", access = { cel = '''\n  claims.a == 1\n  && nothing''' }")
        .text();
    let (code, output) = check(&folder, &text).await;
    assert_eq!(code, 2, "{output}");
    let line = text.lines().position(|line| line.contains("&& nothing")).unwrap() + 1;
    assert!(output.contains(&format!(":{line}:6: error")), "{output}");
}
