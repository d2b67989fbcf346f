//! Protected resource metadata (RFC 9728), and the challenges that lead to it.

use serde_json::{Value, json};

use crate::harness::gateway::check;
use crate::harness::issuer::TestIssuer;
use crate::harness::program::{Program, node, python, run};
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{AuthServer, Scratch, World, eventually};

const PLACE: &str = "/.well-known/oauth-protected-resource/orders";

async fn world() -> World {
    let other = TestIssuer::named("https://other.test", &["ES256"]);
    World::built(TestIssuer::new(), "", |setup| {
        setup
            .issuer("other", &other, "")
            .table(
                "[resources.orders]\nresource = \"https://api.test/orders\"\ntitle = \"Orders\"\n\
                 documentation = \"https://docs.test/orders\"\n[resources.all]\n\
                 resource = \"https://api.test:8443/\"\nscopes = [\"everything\"]\n[resources.plain]\n\
                 resource = \"https://one.test/same\"\n[resources.twin]\n\
                 resource = \"https://two.test/same\"\n",
            )
            .route(
                r#"path = "/orders/{id}", methods = ["GET"], access = { scopes = ["orders:read"] }, authorization_servers = ["main"], resource = "orders""#,
            )
            .route(
                r#"path = "/orders/{id}", methods = ["PUT"], access = { any_scope = ["orders:write", "admin"] }, resource = "orders""#,
            )
            .route(&format!(r#"{ORDERS}, authorization_servers = ["main"]"#))
    })
    .await
}

#[tokio::test]
async fn rfc9728_2_the_metadata_says_what_the_configuration_says() {
    let world = world().await;
    let get = async |target: &str, host: &str| {
        world.gateway.get(target).header("Host", host).send().await
    };
    let answer = get(PLACE, "api.test").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let expected = json!({
        "resource": "https://api.test/orders",
        "authorization_servers": ["https://issuer.test", "https://other.test"],
        "scopes_supported": ["admin", "orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Orders",
        "resource_documentation": "https://docs.test/orders",
    });
    assert_eq!(answer.json(), expected);
    for forged in ["evil.test", "api.test:1"] {
        assert_eq!(get(PLACE, forged).await.json(), expected, "never from the Host: {forged}");
    }
    let root = get("/.well-known/oauth-protected-resource", "api.test:8443").await;
    let expected = json!({
        "resource": "https://api.test:8443/",
        "scopes_supported": ["everything"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(root.json(), expected, "empty lists are left out");
    let same = "/.well-known/oauth-protected-resource/same";
    for (host, status) in [("one.test", 200), ("two.test", 200), ("three.test", 404)] {
        let answer = get(same, host).await;
        assert_eq!(answer.status, status, "{host}");
        if status == 200 {
            assert_eq!(answer.json()["resource"], format!("https://{host}/same"));
        }
    }
    assert_eq!(get("/.well-known/oauth-protected-resource/none", "api.test").await.status, 404);
    assert_eq!(world.upstream.count(), 0, "none of it is asked of the upstream");
}

#[tokio::test]
async fn the_metadata_is_read_without_a_token_and_by_any_page() {
    let world = world().await;
    let head = world.gateway.request("HEAD", PLACE).send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_ne!(head.header("content-length"), "0");
    let preflight = world
        .gateway
        .request("OPTIONS", PLACE)
        .header("Origin", "https://app.test")
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "mcp-protocol-version")
        .send()
        .await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-headers")), (204, "*"));
    let post = world.gateway.request("POST", PLACE).send().await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let bad = world.gateway.get(PLACE).bearer("not-a-token").send().await;
    assert_eq!(bad.status, 200, "no credential is looked at");
    let log = world.gateway.whole_log().await;
    assert!(log.contains("reason=\"metadata\""), "{log}");
}

#[tokio::test]
async fn rfc9728_5_1_the_challenge_names_the_metadata_of_the_routes_resource() {
    let world = world().await;
    let url = format!("https://api.test{PLACE}");
    let weak = world.issuer.token().scopes("none").sign();
    for (token, status) in [(None, 401), (Some("bad"), 401), (Some(&*weak), 403)] {
        let mut request = world.gateway.get("/orders/7").header("Host", "evil.test");
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let answer = request.send().await;
        assert_eq!(answer.status, status);
        let challenge = answer.challenge("Bearer").unwrap();
        assert_eq!(challenge["resource_metadata"], url, "{status}");
    }
    let answer = world.gateway.get("/orders/7/lines").send().await;
    assert!(!answer.challenge("Bearer").unwrap().contains_key("resource_metadata"));
}

#[tokio::test]
async fn a_resource_that_no_client_could_find_is_a_mistake() {
    let folder = Scratch::new();
    let issuer = TestIssuer::new();
    for (resources, route, expected) in [
        ("[resources.a]\nresource = \"http://api.test/\"", "", "a resource is an https URL"),
        ("[resources.a]\nresource = \"https://api.test/?q\"", "", "no query and no fragment"),
        ("[resources.a]\nresource = \"https://api.test/a/../b\"", "", "not in the normal form"),
        ("[resources.a]\ntitle = \"A\"", "", "`resource` is missing"),
        (
            "[resources.a]\nresource = \"https://api.test\"\n[resources.b]\nresource = \"https://api.test/\"",
            "",
            "[resources.a] has the same address",
        ),
        (
            "[resources.orders]\nresource = \"https://api.test\"",
            "resource = \"order\"",
            "did you mean \"orders\"?",
        ),
    ] {
        let route = format!("{ORDERS}, {route}").trim_end_matches(", ").to_owned();
        let setup =
            Setup::new().issuer("main", &issuer, "").upstream("api", "http://127.0.0.1:1", "");
        let (code, text) = check(&folder, &setup.table(resources).route(&route).text()).await;
        assert_eq!(code, 2, "{resources}\n{text}");
        assert!(text.contains(expected), "{expected} in:\n{text}");
    }
}

/// The SDKs know the address of the server, their credentials, and whom to trust with them.
#[tokio::test]
async fn mcp_sdks_find_the_authorization_server_by_the_metadata() {
    let auth = AuthServer::start().await;
    let mut mcp = Program::start(&mut node("clients/node/mcp_server.mjs"));
    let upstream = mcp.ready().await["url"].as_str().unwrap().to_owned();
    let table = |setup: Setup, audience: &str, resource: &str| {
        let route = r#"path = "/mcp", access = { scopes = ["reports:read"] }, upstream = "mcp""#;
        let setup = setup.server("main", &auth, "").upstream("mcp", &upstream, "").table(resource);
        setup.route(&format!("{route}{audience}"))
    };
    let gateway = table(Setup::new(), "", "").start().await;
    // Its own address is known now.
    let resource = format!("{}/mcp", gateway.url());
    let routed = format!(r#", audiences = ["{resource}"], resource = "mcp""#);
    let named = format!("[resources.mcp]\nresource = \"{resource}\"");
    gateway.folder().write("gateway.toml", table(Setup::new(), &routed, &named).text());
    gateway.signal("HUP");
    let place = "/.well-known/oauth-protected-resource/mcp";
    eventually("the metadata", async || {
        (gateway.get(place).send().await.status == 200).then_some(())
    })
    .await;
    auth.control("/resources", json!({ "resource": resource, "like": "https://api.test/jwt" }))
        .await;

    for client in [node("clients/node/mcp_client.mjs"), python("clients/python/mcp_client.py")] {
        let mut client = client;
        let ca = auth.ca();
        client.args(["--client-id", "reports", "--client-secret", "reports-secret"]);
        client.args(["--gateway", &gateway.url(), "--issuer", &auth.issuer]);
        client
            .env("NODE_EXTRA_CA_CERTS", &ca)
            .env("SSL_CERT_FILE", &ca)
            .env("no_proxy", "127.0.0.1");
        let (status, output, errors) = run(&mut client).await;
        assert!(status.success(), "{status}\n{output}\n{errors}\n--- log\n{}", gateway.log());
        let told: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
        let requests = told["requests"].as_array().unwrap();
        assert_eq!(requests[0]["status"], 401, "{told}");
        let asked = requests.iter().any(|one| one["url"].as_str().unwrap().ends_with(place));
        assert!(asked, "it went by the challenge: {told}");
        assert_eq!(told["tools"].as_array().unwrap().len(), 3, "{told}");
    }
}
