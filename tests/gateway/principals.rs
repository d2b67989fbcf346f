//! Users and clients told apart (RFC 9700 §4.15): a client whose id, or whose `sub`, is a user's.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::issuer::TestIssuer;
use crate::harness::world::Setup;
use crate::harness::{AuthServer, Backend, Gateway, Reply, World};

const BASE: &str = r#"access = { scopes = ["orders:read"] }, identity_headers = { "x-subject" = "sub", "x-principal" = "principal" }"#;

fn routes(setup: Setup, more: &str) -> Setup {
    setup
        .route(&format!(r#"path = "/any", {BASE}{more}"#))
        .route(&format!(r#"path = "/users", principal = "user", {BASE}{more}"#))
        .route(&format!(r#"path = "/clients", principal = "client", {BASE}{more}"#))
}

/// Sends a credential to all three routes: as which kind of principal it passes.
async fn check(claim: &str, gateway: &Gateway, upstream: &Backend, credential: &str, is: &str) {
    for (path, only) in [("/any", is), ("/users", "user"), ("/clients", "client")] {
        let before = upstream.count();
        // What the caller says of itself counts for nothing.
        let request = gateway.get(path).header("x-principal", "user").header("x_principal", "user");
        let response = request.header("authorization", credential).send().await;
        let is_let_in = only == is;
        let expected = if is_let_in { 200 } else { 403 };
        assert_eq!(response.status, expected, "{claim} {path}: {}", response.text());
        assert_eq!(upstream.count() - before, usize::from(is_let_in), "{claim} {path}");
        if is_let_in {
            let seen = upstream.last();
            assert_eq!(seen.all("x-principal"), [is], "{claim} {path}");
            assert_eq!(seen.all("x_principal"), Vec::<&str>::new(), "{claim} {path}");
        } else {
            assert_eq!(response.json()["reason"], format!("principal_{is}"), "{claim} {path}");
            assert_eq!(response.error(), "", "{claim}: more scope would not help");
        }
    }
}

#[tokio::test]
async fn rfc9700_4_15_a_real_machine_with_a_users_id_is_a_client_by_jwt_introspection_and_basic() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let metadata = json!({
        "client_id": "alice", "client_secret": "alice-secret", "response_types": [],
        "grant_types": ["client_credentials"], "redirect_uris": [], "api_scope": "orders:read",
    });
    server.control("/clients", metadata).await;
    let setup = Setup::new().server("main", &server, "").upstream("api", &upstream.url(), "");
    let gateway = routes(setup, r#", accept = ["bearer", "basic"]"#).start().await;
    for resource in ["https://api.test/jwt", "https://api.test/opaque"] {
        let user = json!({ "client": "web", "sub": "alice", "resource": resource });
        let user = format!("Bearer {}", server.mint(user).await);
        check(&format!("a user, {resource}"), &gateway, &upstream, &user, "user").await;
        let machine = json!({ "client": "alice", "resource": resource });
        let machine = format!("Bearer {}", server.mint(machine).await);
        check(&format!("a machine, {resource}"), &gateway, &upstream, &machine, "client").await;
    }
    let basic = "Basic YWxpY2U6YWxpY2Utc2VjcmV0"; // alice:alice-secret
    check("a machine by Basic", &gateway, &upstream, basic, "client").await;
    assert_eq!(upstream.last().header("x-subject"), Some("alice"), "the user's very id");
}

#[tokio::test]
async fn rfc9700_4_15_marks_of_servers_count_and_a_claim_named_principal_does_not() {
    let world = World::built(TestIssuer::new(), "", |setup| routes(setup, "")).await;
    #[rustfmt::skip]
    let cases = [
        ("a user",              "gty",       Value::Null,                 "user"),
        ("its own word",        "principal", json!("client"),             "user"),
        ("the client's id",     "client_id", json!("alice"),              "client"),
        ("Auth0",               "gty",       json!("client-credentials"), "client"),
        ("Entra ID",            "idtyp",     json!("app"),                "client"),
        ("Entra ID, a user",    "idtyp",     json!("user"),               "user"),
    ];
    for (claim, name, value, is) in cases {
        let token = world.issuer.token().scopes("orders:read").claim(name, value).sign();
        let bearer = format!("Bearer {token}");
        check(claim, &world.gateway, &world.upstream, &bearer, is).await;
    }
}

#[tokio::test]
async fn rfc9700_4_15_what_comes_of_basic_is_a_clients_though_its_jwt_names_a_user() {
    let (issuer, upstream) = (Arc::new(TestIssuer::new()), Backend::start().await);
    // Of a server that gives a client a `sub` of its own and no mark.
    let token = issuer.token().scopes("orders:read").sign();
    let answer = json!({ "access_token": token.clone(), "token_type": "Bearer", "expires_in": 60 });
    let server = Backend::answering(move |_| {
        Reply::status(200).header("content-type", "application/json").body(answer.to_string())
    })
    .await;
    let setup = Setup::new()
        .issuer("main", &issuer, &format!("token_endpoint = \"{}/token\"", server.url()))
        .upstream("api", &upstream.url(), "");
    let gateway = routes(setup, r#", accept = ["bearer", "basic"]"#).start().await;
    for _ in 0..2 {
        let bearer = format!("Bearer {token}");
        check("by Basic", &gateway, &upstream, "Basic a2V5OnNlY3JldA==", "client").await;
        check("the same token by itself", &gateway, &upstream, &bearer, "user").await;
    }
}
