//! Client authentication at the authorization server by a certificate (RFC 8705 §2).

use serde_json::json;

use crate::harness::gateway::{check, command};
use crate::harness::program::run;
use crate::harness::tls::Authority;
use crate::harness::{AuthServer, Backend, Setup, TestIssuer, eventually};

const ROUTE: &str = r#"path = "/out", access = "public", forward = { client = "ours" }"#;
const INTROSPECTED: &str = r#"path = "/in", access = { scopes = ["orders:read"] }"#;

const SHOWN: &str = "authentication = \"tls_client_auth\"\ncertificate = \"secrets/tls.crt\"\n\
                     client_key = { file = \"secrets/tls.key\" }\n";

fn client() -> String {
    format!(
        "[clients.ours]\nauthorization_server = \"main\"\nclient_id = \"mutual\"\n\
         scopes = [\"orders:read\"]\n{SHOWN}"
    )
}

#[tokio::test]
async fn rfc8705_2_1_the_certificate_proves_who_the_client_is_at_the_aliases_of_the_metadata() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let file = |name| std::fs::read_to_string(server.file(name)).unwrap();
    let (issuer, ca) = (&server.issuer, server.file("ca.crt"));
    let table = format!(
        "[authorization_servers.main]\nissuer = \"{issuer}\"\n\
         audiences = [\"https://api.test/opaque\"]\noutbound = {{ ca = \"{ca}\" }}\n\
         [authorization_servers.main.introspection]\nclient_id = \"mutual\"\n{SHOWN}"
    );
    let gateway = Setup::new()
        .top("certificate_refresh = \"100ms\"")
        .secret("tls.crt", &file("client.crt"))
        .secret("tls.key", &file("client.key"))
        .table(&table)
        .table(&client())
        .upstream("api", &upstream.url(), "")
        .route(ROUTE)
        .route(INTROSPECTED)
        .start()
        .await;
    let answer = gateway.get("/out").send().await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gateway.log());
    let order = json!({ "resource": "https://api.test/opaque", "scope": "orders:read" });
    let opaque = server.mint(order).await;
    let answer = gateway.get("/in").bearer(&opaque).send().await;
    assert_eq!(answer.status, 200, "introspection: {}\n{}", answer.text(), gateway.log());

    let status = gateway.admin("/status").await.json();
    let used: Vec<_> = status["certificates"].as_array().unwrap().iter().collect();
    for name in ["clients.ours", "authorization_servers.main.introspection"] {
        let one = used.iter().find(|one| one["used_by"] == name).unwrap();
        assert!(one["files"][0]["not_after"].as_i64().unwrap() > 0, "{one}");
    }
    let config = gateway.config().to_str().unwrap().to_owned();
    let (online, text, errors) = run(&mut command(&["check", "--online", &config])).await;
    assert_eq!(online.code(), Some(0), "{text}{errors}");

    // Renewed in place: one that the server does not trust is shown from then on.
    let strange = Authority::new().certify(&["client.test"]);
    gateway.folder().write("secrets/tls.crt", &strange.certificate);
    gateway.logs("certificates refused").await; // half of a pair
    assert_eq!(gateway.get("/out").send().await.status, 200, "the old pair goes on");
    gateway.folder().write("secrets/tls.key", &strange.key);
    eventually("the new certificate", async || {
        (gateway.get("/out").send().await.status == 502).then_some(())
    })
    .await;
    gateway.logs("invalid_client").await;
    gateway.folder().write("secrets/tls.crt", file("client.crt"));
    gateway.folder().write("secrets/tls.key", file("client.key"));
    eventually("the old certificate again", async || {
        (gateway.get("/out").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rfc8705_2_a_client_without_a_whole_pair_is_a_mistake() {
    let (one, other) = (Authority::new(), Authority::new().certify(&["b.test"]));
    let one = one.certify(&["a.test"]);
    let issuer = TestIssuer::new();
    let setup = Setup::new()
        .secret("tls.crt", &one.certificate)
        .secret("tls.key", &one.key)
        .secret("other.key", &other.key)
        .issuer("main", &issuer, "")
        .table(&client())
        .upstream("api", "http://127.0.0.1:1", "")
        .route(ROUTE);
    let text = setup.text();
    for (from, to, expected, told) in [
        ("", "", 0, "ok:"),
        ("\"tls_client_auth\"", "\"self_signed_tls_client_auth\"", 0, "ok:"),
        ("secrets/tls.key", "secrets/other.key", 2, "certificate and key do not belong together"),
        ("secrets/tls.crt", "secrets/none.crt", 2, "cannot read"),
        ("certificate = \"secrets/tls.crt\"\n", "", 2, "`certificate` is missing"),
        ("client_key = { file = \"secrets/tls.key\" }\n", "", 2, "`client_key` is missing"),
        ("\"tls_client_auth\"", "\"private_key_jwt\"", 2, "makes no use of it"),
        (
            "scopes = [\"orders:read\"]\n",
            "client_secret = { file = \"secrets/tls.key\" }\n",
            2,
            "makes no use of it",
        ),
    ] {
        let (code, output) = check(&setup.folder, &text.replacen(from, to, 1)).await;
        assert_eq!(code, expected, "{to}: {output}");
        assert!(output.contains(told), "{to}: {output}");
    }
}
