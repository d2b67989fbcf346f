//! The presets of `config/providers/`: each takes tokens shaped as its provider's documentation shows
//! them, and refuses those that the preset says do not work.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::issuer::TestIssuer;
use crate::harness::{Backend, Gateway, Reply, Scratch, World, eventually};

fn preset(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers").join(name);
    std::fs::read_to_string(path.with_extension("toml")).unwrap()
}

/// The preset with its routes, which go below `/NAME`, and with keys of ours.
fn switched_on(name: &str, issuer: &TestIssuer) -> String {
    let line = |line: &str| {
        let line = line.strip_prefix("#: ").unwrap_or(line);
        let line = line.replace("path = \"/", &format!("path = \"/{name}/"));
        match line.starts_with("issuer = ") {
            true => format!("{line}\njwks_file = \"{}\"\n", issuer.jwks_file()),
            false => format!("{line}\n"),
        }
    };
    preset(name).lines().map(line).collect()
}

/// The issuer that a preset names.
fn issuer(name: &str) -> TestIssuer {
    let text = preset(name);
    let line = text.lines().find(|line| line.starts_with("issuer = ")).unwrap();
    TestIssuer::named(line.split('"').nth(1).unwrap(), &["ES256"])
}

fn base(upstream: &Backend, main: &TestIssuer) -> String {
    format!(
        "workers = 1\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [drain]\ndelay = \"0s\"\n[upstreams.orders]\nendpoints = [\"{}\"]\n\
         [authorization_servers.main]\nissuer = \"{}\"\naudiences = [\"https://api.test\"]\n\
         jwks_file = \"{}\"\n",
        upstream.url(),
        main.name,
        main.jwks_file()
    )
}

/// A token with these claims and no others but `iss`, `iat` and `exp`; `typ` null: none.
fn token(issuer: &TestIssuer, typ: Value, claims: &Value) -> String {
    let bare = ["aud", "sub", "client_id", "jti"]
        .iter()
        .fold(issuer.token(), |token, name| token.claim(name, Value::Null));
    let claims = claims.as_object().unwrap();
    let claims = claims.iter().fold(bare, |token, (name, value)| token.claim(name, value.clone()));
    claims.header("typ", typ).sign()
}

fn with(claims: &Value, more: Value) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

const KEYED: [&str; 8] =
    ["keycloak", "entra", "auth0", "okta", "google", "cognito", "hydra", "zitadel"];

/// Method, `typ`, claims, and what comes of it: a status, and the error in the challenge.
type Case = (&'static str, Value, Value, u16, &'static str);

fn cases(provider: &str) -> Vec<Case> {
    match provider {
        "keycloak" => keycloak(),
        "entra" => entra(),
        "auth0" => auth0(),
        "okta" => okta(),
        "google" => google(),
        "cognito" => cognito(),
        "hydra" => hydra(),
        "zitadel" => zitadel(),
        other => panic!("{other}"),
    }
}

#[rustfmt::skip]
fn keycloak() -> Vec<Case> {
    let none = Value::Null;
    let jwt = || json!("JWT");
    let good = json!({
        "jti": "onrtac:19b582b8", "aud": ["orders-api", "account"], "sub": "d952cf23-bf92-4c8f-a3ff-4972b4f2bc5b",
        "typ": "Bearer", "azp": "shop", "sid": "x", "acr": "1", "allowed-origins": ["*"],
        "realm_access": { "roles": ["offline_access", "uma_authorization"] },
        "resource_access": { "orders-api": { "roles": ["reader"] }, "account": { "roles": ["manage-account"] } },
        "scope": "openid profile orders", "preferred_username": "alice",
    });
    vec![
        ("GET", jwt(), good.clone(), 200, ""),
        ("GET", json!("at+jwt"), good.clone(), 200, ""),
        // No mapper "Audience".
        ("GET", jwt(), with(&good, json!({ "aud": "account" })), 401, "invalid_token"),
        ("GET", jwt(), with(&good, json!({ "aud": none })), 401, "invalid_token"),
        ("GET", jwt(), with(&good, json!({ "typ": "ID" })), 401, "invalid_token"),
        ("GET", jwt(), with(&good, json!({ "scope": "openid profile" })), 403, "insufficient_scope"),
        ("GET", jwt(), with(&good, json!({ "resource_access": { "other": { "roles": ["reader"] } } })), 403, ""),
    ]
}

#[rustfmt::skip]
fn entra() -> Vec<Case> {
    let none = Value::Null;
    let jwt = || json!("JWT");
    let good = json!({
        "aud": "66666666-7777-8888-9999-aaaaaaaaaaaa", "azp": "bbbb", "azpacr": "1", "name": "Alice", "oid": "o-1",
        "rh": "x", "sub": "s-1", "tid": "11111111-2222-3333-4444-555555555555", "uti": "u", "ver": "2.0",
    });
    let user = with(&good, json!({ "scp": "Orders.Read User.Read" }));
    let machine = with(&good, json!({ "roles": ["Orders.Write.All"], "idtyp": "app" }));
    vec![
        ("GET", jwt(), user.clone(), 200, ""),
        ("GET", jwt(), with(&user, json!({ "aud": "00000003-0000-0000-c000-000000000000" })), 401, "invalid_token"),
        ("GET", jwt(), with(&user, json!({ "scp": "User.Read" })), 403, "insufficient_scope"),
        ("GET", jwt(), machine.clone(), 403, "insufficient_scope"),
        ("PUT", jwt(), machine.clone(), 200, ""),
        // Without the optional claim it is not to be told from a user.
        ("PUT", jwt(), with(&machine, json!({ "idtyp": none })), 403, ""),
        ("PUT", jwt(), with(&machine, json!({ "roles": ["Other"] })), 403, ""),
    ]
}

#[rustfmt::skip]
fn auth0() -> Vec<Case> {
    let jwt = || json!("JWT");
    let good = json!({
        "sub": "auth0|123456", "aud": ["https://api.example.com", "https://example.eu.auth0.com/userinfo"],
        "azp": "my_client_id", "scope": "openid profile read:orders",
    });
    let rfc9068 = json!({
        "sub": "auth0|123456", "aud": "https://api.example.com", "client_id": "my_client_id", "jti": "73WakrfVbNJBaAmhQtEeDv",
        "scope": "read:orders", "permissions": ["write:orders"],
    });
    vec![
        ("GET", jwt(), good.clone(), 200, ""),
        ("GET", json!("at+jwt"), rfc9068.clone(), 200, ""),
        ("PUT", json!("at+jwt"), rfc9068, 200, ""),
        ("PUT", jwt(), with(&good, json!({ "permissions": ["read:orders"] })), 403, ""),
        ("GET", jwt(), with(&good, json!({ "aud": "https://example.eu.auth0.com/api/v2/" })), 401, "invalid_token"),
        ("GET", jwt(), with(&good, json!({ "iss": "https://example.eu.auth0.com" })), 401, "invalid_token"),
    ]
}

#[rustfmt::skip]
fn okta() -> Vec<Case> {
    let none = Value::Null;
    let good = json!({
        "ver": 1, "jti": "AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7ZszBceot7", "aud": "api://default", "sub": "alice@example.com",
        "cid": "0oa1", "uid": "00u1", "scp": ["openid", "orders.read", "orders.write"], "auth_time": 1_688_145_909,
    });
    vec![
        ("GET", none.clone(), good.clone(), 200, ""),
        ("GET", none.clone(), with(&good, json!({ "scp": ["openid"] })), 403, "insufficient_scope"),
        ("GET", none.clone(), with(&good, json!({ "aud": "https://example.okta.com" })), 401, "invalid_token"),
        // A user on a route for machines, and a machine.
        ("PUT", none.clone(), good.clone(), 403, ""),
        ("PUT", none, with(&good, json!({ "sub": "0oa1", "uid": null })), 200, ""),
    ]
}

#[rustfmt::skip]
fn google() -> Vec<Case> {
    let jwt = || json!("JWT");
    let good = json!({
        "aud": "https://api.example.com", "azp": "113171359947474921431", "sub": "113171359947474921431",
        "email": "reports@example.iam.gserviceaccount.com", "email_verified": true,
    });
    vec![
        ("GET", jwt(), good.clone(), 200, ""),
        ("GET", jwt(), with(&good, json!({ "email": "other@example.iam.gserviceaccount.com" })), 403, ""),
        ("GET", jwt(), with(&good, json!({ "email_verified": "true" })), 403, ""),
        ("GET", jwt(), with(&good, json!({ "aud": "https://other.example.com" })), 401, "invalid_token"),
        // A user's login.
        ("GET", jwt(), with(&good, json!({ "at_hash": "fPlsvVszI29LU2UhDyJ9vg" })), 401, "invalid_token"),
    ]
}

#[rustfmt::skip]
fn cognito() -> Vec<Case> {
    let none = Value::Null;
    let good = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["clerks"], "version": 2,
        "client_id": "1example23456789", "origin_jti": "o", "event_id": "e", "token_use": "access",
        "scope": "phone openid orders/read", "auth_time": 1_676_313_851, "jti": "j", "username": "my-test-user",
    });
    vec![
        ("GET", none.clone(), good.clone(), 200, ""),
        ("PUT", none.clone(), good.clone(), 200, ""),
        ("PUT", none.clone(), with(&good, json!({ "cognito:groups": ["guests"] })), 403, ""),
        ("GET", none.clone(), with(&good, json!({ "scope": "aws.cognito.signin.user.admin" })), 403, "insufficient_scope"),
        ("GET", none.clone(), with(&good, json!({ "client_id": "another" })), 401, "invalid_token"),
        ("GET", none, with(&good, json!({ "token_use": "id", "aud": "1example23456789" })), 401, "invalid_token"),
    ]
}

#[rustfmt::skip]
fn hydra() -> Vec<Case> {
    let jwt = || json!("JWT");
    let good = json!({
        "aud": ["https://api.example.com"], "client_id": "c-1", "ext": { "tenant": "blue" }, "jti": "j", "nbf": 1_700_000_000,
        "scp": ["openid", "orders:read"], "sub": "u-1",
    });
    vec![
        ("GET", jwt(), good.clone(), 200, ""),
        ("GET", jwt(), with(&good, json!({ "aud": [] })), 401, "invalid_token"),
        ("GET", jwt(), with(&good, json!({ "ext": {} })), 403, ""),
        ("GET", jwt(), with(&good, json!({ "scp": ["openid"] })), 403, "insufficient_scope"),
    ]
}

#[rustfmt::skip]
fn zitadel() -> Vec<Case> {
    let jwt = || json!("JWT");
    let roles = "urn:zitadel:iam:org:project:roles";
    let good = json!({
        "aud": ["252856053933356542@shop", "252855702316398078"], "client_id": "252856053933356542@shop", "jti": "j",
        "nbf": 1_700_000_000, "sub": "163840776835432705", roles: { "reader": { "252855756087375358": "example.com" } },
    });
    vec![
        ("GET", jwt(), good.clone(), 200, ""),
        ("GET", jwt(), with(&good, json!({ roles: { "writer": { "252855756087375358": "example.com" } } })), 403, ""),
        ("GET", jwt(), with(&good, json!({ roles: ["reader"] })), 403, ""),
        ("GET", jwt(), with(&good, json!({ roles: null })), 403, ""),
        ("GET", jwt(), with(&good, json!({ "aud": ["252856053933356542@shop"] })), 401, "invalid_token"),
    ]
}

/// What the two servers say of opaque tokens, and OCLC as its documentation shows it.
fn answer(target: &str, body: &str) -> Value {
    match target {
        "/hydra" if body.contains("ory_at_good") => json!({
            "active": true, "aud": ["https://api.example.com"], "client_id": "c-1", "ext": { "tenant": "blue" },
            "iss": "https://hydra.example.com/", "scope": "openid orders:read", "sub": "u-1",
            "token_type": "Bearer", "token_use": "access_token",
        }),
        "/zitadel" if body.contains("opaque-good") => json!({
            "active": true, "aud": ["252855702316398078"], "client_id": "252856053933356542@shop",
            "iss": "https://example.zitadel.cloud", "scope": "openid", "sub": "163840776835432705",
            "token_type": "Bearer", "username": "alice@example.com",
            "urn:zitadel:iam:org:project:roles": { "reader": { "252855756087375358": "example.com" } },
        }),
        "/oclc" => json!({
            "access_token": "tk_Yebz4BpEp9dAsghA7KpWx6dYD1OZKWBlHjqW", "token_type": "bearer", "expires_in": "3599",
            "principalID": "", "principalIDNS": "", "scopes": "WorldCatMetadataAPI wcapi",
            "contextInstitutionId": "128807", "expires_at": "2013-08-23 18:45:29Z",
        }),
        _ => json!({ "active": false }),
    }
}

async fn provider_side(answer: fn(&str, &str) -> Value) -> Backend {
    Backend::answering(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let told = answer(&seen.target, &body);
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await
}

fn oclc(main: &TestIssuer, upstream: &Backend, server: &Backend) -> String {
    switched_on("oclc", main)
        .replace("https://oauth.oclc.org/token", &format!("{}/oclc", server.url()))
        .replace("https://metadata.api.oclc.org", &upstream.url())
}

fn secrets(names: &[&str]) -> Scratch {
    let folder = Scratch::new();
    for name in names {
        folder.write(&format!("secrets/{name}"), "secret");
    }
    folder
}

#[tokio::test]
async fn each_preset_takes_tokens_as_its_provider_makes_them() {
    let (upstream, server) = (Backend::start().await, provider_side(answer).await);
    let main = TestIssuer::new();
    let issuers = KEYED.map(issuer);
    let mut text = base(&upstream, &main);
    for (name, issuer) in KEYED.iter().zip(&issuers) {
        let preset = switched_on(name, issuer)
            .replace("http://127.0.0.1:4445/admin/oauth2/introspect", &format!("{}/hydra", server.url()))
            .replace(
                "[authorization_servers.zitadel.introspection]",
                &format!(
                    "introspection_endpoint = \"{}/zitadel\"\n[authorization_servers.zitadel.introspection]",
                    server.url()
                ),
            );
        text.push_str(&preset);
    }
    text.push_str(&oclc(&main, &upstream, &server));
    let folder = secrets(&["hydra", "zitadel", "oclc"]);
    let gateway = Gateway::start_in(folder, &text).await.ready().await;
    for (name, issuer) in KEYED.iter().zip(&issuers) {
        let path = format!("/{name}/orders/7");
        for (method, typ, claims, status, error) in cases(name) {
            let token = token(issuer, typ, &claims);
            let answer = gateway.request(method, &path).bearer(&token).send().await;
            let case = format!("{name}: {method} with {claims}: {}", answer.text());
            assert_eq!(answer.status, status, "{case}");
            if status != 200 {
                assert_eq!(answer.error(), error, "{case}");
            }
        }
    }
    for (path, token, status) in [
        ("/hydra/orders/7", "ory_at_good", 200),
        ("/hydra/orders/7", "ory_at_bad", 401),
        ("/zitadel/orders/7", "opaque-good", 200),
        ("/zitadel/orders/7", "opaque-bad", 401),
        // Google's access tokens, and OCLC's, are for nobody else.
        ("/google/orders/7", "ya29.a0AfB_byC", 401),
        ("/oclc/worldcat/bibs", "tk_Yebz4BpEp9dAsghA7KpWx6dYD1OZKWBlHjqW", 401),
    ] {
        let answer = gateway.get(path).bearer(token).send().await;
        assert_eq!(answer.status, status, "{token} at {path}: {}", answer.text());
    }
    let caller = main.token().scopes("catalogue:read").sign();
    let answer = gateway.get("/oclc/worldcat/bibs").bearer(&caller).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = upstream.last().header("authorization").map(str::to_owned);
    assert_eq!(sent.as_deref(), Some("Bearer tk_Yebz4BpEp9dAsghA7KpWx6dYD1OZKWBlHjqW"));
}

#[tokio::test]
async fn fewer_scopes_in_an_answer_of_oclc_are_partial_scopes() {
    let (upstream, main) = (Backend::start().await, TestIssuer::new());
    let server =
        provider_side(|_, _| with(&answer("/oclc", ""), json!({ "scopes": "wcapi" }))).await;
    let text = base(&upstream, &main) + &oclc(&main, &upstream, &server);
    let gateway = Gateway::start_in(secrets(&["oclc"]), &text).await.ready().await;
    let caller = main.token().scopes("catalogue:read").sign();
    let answer = gateway.get("/oclc/worldcat/bibs").bearer(&caller).send().await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let status = gateway.admin("/status").await;
    let client = &status.json()["clients"][0];
    assert_eq!(client["missing_scopes"], json!(["WorldCatMetadataAPI"]), "{client}");
    assert_eq!(upstream.count(), 0);
}

/// Such as OCLC, which has none: it gives tokens to clients of ours and checks nobody's.
#[tokio::test]
async fn a_server_whose_tokens_no_route_takes_needs_no_keys() {
    let nothing = Backend::answering(|_| Reply::status(404)).await;
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup
            .table(&format!(
                "[authorization_servers.other]\nissuer = \"https://other.test\"\njwks_uri = \"{}/jwks\"\n",
                nothing.url()
            ))
            .route(r#"path = "/x", access = { scopes = ["a"] }, authorization_servers = ["main"]"#)
    })
    .await;
    eventually("the keys are asked for", async || (0 < nothing.count()).then_some(())).await;
    let token = world.issuer.token().scopes("a").sign();
    assert_eq!(world.gateway.get("/x").bearer(&token).send().await.status, 200);
}
