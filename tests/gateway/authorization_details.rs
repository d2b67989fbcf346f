//! Rich authorization requests (RFC 9396): what a route asks of a token's `authorization_details`, and
//! what the gateway's own clients ask for.

use serde_json::{Value, json};

use crate::harness::gateway::command;
use crate::harness::issuer::{AUDIENCE, TestIssuer};
use crate::harness::program::run;
use crate::harness::world::{Setup, client, endpoints};
use crate::harness::{AuthServer, Backend, Gateway, Reply, World};

const ROUTES: [&str; 3] = [
    r#"path = "/pay", access = { authorization_details = [{ type = "payment_initiation", actions = ["initiate"], locations = ["https://example.com/payments"] }] }"#,
    r#"path = "/accounts", access = { scopes = ["a"], authorization_details = [{ type = "account_information", actions = ["list_accounts", "read_balances"] }, { type = "payment_initiation" }] }"#,
    r#"path = "/one", access = { authorization_details = [{ type = "t", identifier = "i-1", datatypes = ["d"], privileges = ["p"] }] }"#,
];

/// The objects of the examples in RFC 9396 §2.
fn accounts() -> Value {
    json!({
        "type": "account_information",
        "actions": ["list_accounts", "read_balances", "read_transactions"],
        "locations": ["https://example.com/accounts"],
    })
}

fn payment() -> Value {
    json!({
        "type": "payment_initiation",
        "actions": ["initiate", "status", "cancel"],
        "locations": ["https://example.com/payments"],
        "instructedAmount": { "currency": "EUR", "amount": "123.50" },
        "creditorName": "Merchant A",
        "creditorAccount": { "iban": "DE02100100109307118603" },
        "remittanceInformationUnstructured": "Ref Number Merchant",
    })
}

fn changed(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

/// The route, the token's `authorization_details`, and what comes of it.
fn cases() -> Vec<(&'static str, Value, u16)> {
    let one =
        json!({ "type": "t", "identifier": "i-1", "datatypes": ["d"], "privileges": ["p", "q"] });
    #[rustfmt::skip]
    let cases = vec![
        ("/pay",      json!([payment()]),                                                       200),
        ("/pay",      json!([accounts(), payment()]),                                           200),
        ("/pay",      json!([accounts()]),                                                      403),
        ("/pay",      json!([changed(payment(), "type", json!("Payment_initiation"))]),         403),
        ("/pay",      json!([changed(payment(), "actions", json!(["status"]))]),                403),
        ("/pay",      json!([changed(payment(), "actions", json!("initiate"))]),                403),
        ("/pay",      json!([changed(payment(), "locations", json!(["https://example.com/payments/"]))]), 403),
        // RFC 9396 §2.2: each object stands alone.
        ("/pay",      json!([changed(payment(), "actions", json!([])), changed(payment(), "locations", json!([]))]), 403),
        ("/accounts", json!([accounts(), payment()]),                                           200),
        ("/accounts", json!([accounts()]),                                                      403),
        ("/one",      json!([one]),                                                             200),
        ("/one",      json!([changed(one.clone(), "identifier", json!("i-2"))]),                403),
        ("/one",      json!([changed(one.clone(), "datatypes", json!(["e"]))]),                 403),
        // No array of typed objects grants nothing.
        ("/pay",      payment(),                                                                403),
        ("/pay",      json!([payment(), { "actions": ["initiate"] }]),                          403),
        ("/pay",      json!([payment(), "x"]),                                                  403),
        ("/pay",      json!([payment().to_string()]),                                           403),
        ("/pay",      json!([]),                                                                403),
        ("/pay",      Value::Null,                                                              403),
    ];
    cases
}

#[tokio::test]
async fn rfc9396_9_what_a_jwt_and_an_introspection_answer_grant_is_held_against_the_route() {
    let server = Backend::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let number = body.split("case-").nth(1).and_then(|rest| rest.split('&').next());
        let details = cases().swap_remove(number.unwrap().parse().unwrap()).1;
        // RFC 9396 §9.2: a top-level member of the answer.
        let told = json!({
            "active": true, "sub": "24400320", "aud": AUDIENCE, "scope": "a", "client_id": "s6BhdRkqt3",
            "authorization_details": details,
        });
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let world = World::built(TestIssuer::new(), &endpoints(&server.url(), ""), |setup| {
        ROUTES.iter().fold(setup.secret("gateway", "s"), |setup, route| setup.route(route))
    })
    .await;
    for (number, (path, details, status)) in cases().into_iter().enumerate() {
        let jwt = world.issuer.token().scopes("a").claim("authorization_details", details.clone());
        for token in [jwt.sign(), format!("case-{number}")] {
            for sight in ["first", "second"] {
                let answer = world.gateway.get(path).bearer(&token).send().await;
                let case = format!("{path}, {sight} sight, {details}: {}", answer.text());
                assert_eq!(answer.status, status, "{case}");
                if status == 403 {
                    assert_eq!(answer.error(), "", "no code says it: {case}");
                    assert_eq!(answer.json()["reason"], "claims_insufficient", "{case}");
                }
            }
        }
    }
    let without_scope =
        world.issuer.token().claim("authorization_details", json!([accounts(), payment()])).sign();
    let answer = world.gateway.get("/accounts").bearer(&without_scope).send().await;
    assert_eq!((answer.status, answer.error().as_str()), (403, "insufficient_scope"), "both count");
}

/// RFC 7662 §2.2 and RFC 9396 §9.2: where both are asked, what either of them leaves out is not granted.
#[tokio::test]
async fn rfc9396_9_2_a_jwt_that_is_asked_about_has_what_both_grant() {
    let server = Backend::answering(|_| {
        let told = json!({ "active": true, "authorization_details": [accounts()] });
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let more = format!("introspect = \"all\"\n{}", endpoints(&server.url(), ""));
    let world = World::built(TestIssuer::new(), &more, |setup| {
        setup
            .secret("gateway", "s")
            .route(ROUTES[0])
            .route(r#"path = "/list", access = { authorization_details = [{ type = "account_information" }] }"#)
    })
    .await;
    let token =
        world.issuer.token().claim("authorization_details", json!([accounts(), payment()])).sign();
    for (path, status) in [("/pay", 403), ("/list", 200)] {
        let answer = world.gateway.get(path).bearer(&token).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}

/// A client, what it was not given, its last error, and what its token opens.
type Case<'c> = (&'c str, &'c [&'c str], Value, &'c [(&'c str, u16)]);

/// At a real server: what comes back opens the routes that require it, by `forward` and by exchange.
#[tokio::test]
async fn rfc9396_7_the_gateways_own_client_asks_for_details_and_sees_what_it_got() {
    let asks = r#"authorization_details = [{ type = "account_information", actions = ["list_accounts", "read_balances"] }, { type = "payment_initiation", locations = ["https://example.com/payments"] }]"#;
    let allow = format!("{asks}\npartial_scopes = \"allow\"");
    let exchange = format!("{asks}\ngrant = \"token_exchange\"");
    let wrong = r#"authorization_details = [{ type = "unknown_here" }]"#;
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("whole", "reports-secret")
        .secret("strict", "limited-secret")
        .secret("lenient", "limited-secret")
        .secret("inner", "exchanger-secret")
        .secret("wrong", "reports-secret")
        .table(&client("whole", "reports", "orders:read", asks))
        .table(&client("strict", "limited", "orders:read", asks))
        .table(&client("lenient", "limited", "orders:read", &allow))
        .table(&client("inner", "exchanger", "orders:read", &exchange))
        .table(&client("wrong", "reports", "orders:read", wrong))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/whole", access = "public", forward = { client = "whole" }"#)
        .route(r#"path = "/strict", access = "public", forward = { client = "strict" }"#)
        .route(r#"path = "/lenient", access = "public", forward = { client = "lenient" }"#)
        .route(r#"path = "/inner", access = { scopes = ["orders:read"] }, forward = { exchange = "inner" }"#)
        .route(r#"path = "/wrong", access = "public", forward = { client = "wrong" }"#)
        .route(r#"path = "/accounts", access = { authorization_details = [{ type = "account_information", actions = ["read_balances"] }] }"#)
        .route(r#"path = "/pay", access = { authorization_details = [{ type = "payment_initiation" }] }"#)
        .start()
        .await;
    let callers = server.mint(json!({ "scope": "orders:read" })).await;
    #[rustfmt::skip]
    let cases: [Case<'_>; 5] = [
        ("whole",   &[],                     Value::Null,                           &[("/accounts", 200), ("/pay", 200)]),
        ("lenient", &["payment_initiation"], Value::Null,                           &[("/accounts", 200), ("/pay", 403)]),
        ("inner",   &[],                     Value::Null,                           &[("/accounts", 200), ("/pay", 200)]),
        ("strict",  &["payment_initiation"], json!("partial_details"),              &[]),
        ("wrong",   &[],                     json!("invalid_authorization_details"), &[]),
    ];
    for (name, missing, error, opens) in cases {
        let path = format!("/{name}");
        let answer = gateway.get(&path).bearer(&callers).send().await;
        let expected = if error.is_null() { 200 } else { 502 };
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
        assert!(!answer.text().contains("payment_initiation"), "the caller need not know");
        let status = gateway.admin("/status").await.json();
        let shown = status["clients"].as_array().unwrap().iter().find(|one| one["name"] == name);
        let shown = shown.unwrap();
        assert_eq!(shown["missing_authorization_details"], json!(missing), "{shown}");
        assert_eq!(shown["last_error"], error, "{shown}");
        for (path, expected) in opens {
            let own =
                upstream.all().into_iter().rev().find(|seen| seen.target == format!("/{name}"));
            let own = own.unwrap().header("authorization").unwrap().to_owned();
            let answer = gateway.get(path).header("authorization", &own).send().await;
            assert_eq!(answer.status, *expected, "{name} at {path}: {}", answer.text());
        }
    }
    gateway.logs("client was granted fewer authorization details").await;
    gateway
        .logs("own_client_partial_details: clients.strict: not granted: payment_initiation")
        .await;
    gateway.logs("own_client_refused: clients.wrong: invalid_authorization_details").await;
    commands_tell(&gateway).await;
}

/// What `check` and `token` say of the clients above.
async fn commands_tell(gateway: &Gateway) {
    let config = gateway.config().to_str().unwrap();
    let (_, output, _) = run(command(&["check"]).arg(config)).await;
    assert!(
        output.contains("authorization details (inner, lenient, strict, whole, wrong)"),
        "{output}"
    );
    let told = "missing authorization_details, by type: ";
    for (name, code, missing) in [
        ("whole", 0, "none"),
        ("lenient", 0, "payment_initiation"),
        ("strict", 1, "payment_initiation"),
    ] {
        let mut command = command(&["token", "--config", config, "--client", name]);
        let (status, output, errors) = run(&mut command).await;
        assert_eq!(status.code(), Some(code), "{name}: {errors}");
        assert_eq!(output.split_whitespace().count(), 1, "the token alone: {output}");
        assert!(errors.contains(&format!("{told}{missing}")), "{name}: {errors}");
        assert_eq!(errors.contains("RFC 9396 section 7"), code == 1, "{name}: {errors}");
    }
}
