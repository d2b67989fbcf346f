//! Certificate-bound tokens (RFC 8705 §3): a token that is bound to a certificate opens a route only to
//! who has shown that certificate, on the connection itself or to a trusted proxy in front.

use std::net::SocketAddr;
use std::process::Command;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::tls::{Authority, Caller, Identity};
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{AuthServer, Backend, ProofKey, TestIssuer, World, in_time, program};

const BOUND: &str = "[authorization_servers.main.certificate_bound]\n";
const REQUEST: &str = "client_certificates = \"request\"\n";

fn confirmation(identity: &Identity) -> Value {
    json!({ "x5t#S256": identity.thumbprint() })
}

fn bound(world: &World, cnf: Value) -> String {
    world.issuer.token().scopes("orders:read").claim("cnf", cnf).sign()
}

/// A TLS listener, and a second one without TLS.
fn listening(setup: Setup, server: &Identity, tls: &str) -> Setup {
    setup.folder.write("tls.crt", &server.certificate);
    setup.folder.write("tls.key", &server.key);
    let plain = "[[listeners]]\naddress = \"127.0.0.1:0\"";
    setup.listener(&format!(
        "[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n{tls}{plain}"
    ))
}

async fn world(authority: &Authority, tls: &str) -> World {
    let server = authority.certify(&["api.test"]);
    World::built(TestIssuer::new(), BOUND, |setup| listening(setup, &server, tls).route(ORDERS))
        .await
}

/// The status of a GET with these fields over TLS, and how the handshake went; 0 where there is no
/// answer.
async fn get(caller: &Caller, to: SocketAddr, fields: &str) -> (u16, HandshakeKind) {
    let mut stream = caller.connect(to, "api.test").await.unwrap();
    let request =
        format!("GET /orders/1 HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n{fields}\r\n");
    drop(stream.write_all(request.as_bytes()).await);
    let mut answer = Vec::new();
    drop(in_time("an answer", stream.read_to_end(&mut answer)).await);
    let status = answer.get(9..12).map_or(0, |code| String::from_utf8_lossy(code).parse().unwrap());
    (status, stream.get_ref().1.handshake_kind().unwrap_or(HandshakeKind::Full))
}

fn authorization(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn rfc8705_3_the_certificate_of_the_connection_counts_resumed_or_not() {
    let authority = Authority::new();
    let world = world(&authority, REQUEST).await;
    let to = world.gateway.address();
    // Nobody vouches for these: that their keys are held is what counts (RFC 8705 §6.2).
    let strangers = Authority::new();
    let (owner, other) = (strangers.certify(&["owner"]), strangers.certify(&["other"]));
    let token = bound(&world, confirmation(&owner));
    let fields = authorization(&token);
    for version in [&TLS12, &TLS13] {
        let caller = |identity| authority.caller(&[version], &[], identity);
        let ours = caller(Some(&owner));
        let seen = [get(&ours, to, &fields).await, get(&ours, to, &fields).await];
        assert_eq!(seen, [(200, HandshakeKind::Full), (200, HandshakeKind::Resumed)]);
        for identity in [Some(&other), None] {
            let theirs = caller(identity);
            assert_eq!(get(&theirs, to, &fields).await, (401, HandshakeKind::Full));
            assert_eq!(get(&theirs, to, &fields).await, (401, HandshakeKind::Resumed));
        }
        // Who has copied a certificate has not its key.
        let thief = authority.caller_with(version, owner.stolen_by(&other));
        let stolen = match thief.connect(to, "api.test").await {
            Err(_) => 0,
            Ok(_) => get(&thief, to, &fields).await.0,
        };
        assert_eq!(stolen, 0, "{version:?}");
    }
    assert_eq!(world.upstream.count(), 4);

    let plain = world.gateway.addresses()[1].parse().unwrap();
    let request = |name: &str, value: &str| {
        crate::harness::client::Request::new(plain, "GET", "/orders/1")
            .bearer(&token)
            .header(name, value)
    };
    for name in ["client-cert", "x-client-cert", "x-forwarded-client-cert", "x-ssl-client-cert"] {
        let hash = format!("Hash={}", owner.hex_thumbprint());
        let answer = request(name, &hash).send().await;
        assert_eq!((answer.status, &*answer.error()), (401, "invalid_token"), "{name}");
    }
}

#[tokio::test]
async fn rfc8705_3_1_a_thumbprint_has_one_spelling_and_all_of_cnf_must_hold() {
    let authority = Authority::new();
    let server = authority.certify(&["api.test"]);
    let dpop = format!("{BOUND}[authorization_servers.main.dpop]\n");
    let world = World::built(TestIssuer::new(), &dpop, |setup| {
        listening(setup, &server, REQUEST).route(ORDERS)
    })
    .await;
    let owner = authority.certify(&["owner"]);
    let ours = authority.caller(rustls::ALL_VERSIONS, &[], Some(&owner));
    let nobody = authority.caller(rustls::ALL_VERSIONS, &[], None);
    let to = world.gateway.address();
    let print = owner.thumbprint();
    #[rustfmt::skip]
    let cases = [
        (json!({ "x5t#S256": print }),                     200),
        (json!({ "x5t#S256": print, "other": "x" }),       200),
        (json!({ "x5t#S256": format!("{print}=") }),       401),
        (json!({ "x5t#S256": owner.hex_thumbprint() }),    401),
        (json!({ "x5t#S256": "" }),                        401),
        (json!({ "x5t#S256": [print] }),                   401),
        (json!({ "x5t": print }),                          401),
        (json!({}),                                        401),
    ];
    for (cnf, expected) in cases {
        let fields = authorization(&bound(&world, cnf.clone()));
        assert_eq!(get(&ours, to, &fields).await.0, expected, "{cnf}");
    }
    let key = ProofKey::new("ES256");
    let token = bound(&world, json!({ "x5t#S256": print, "jkt": key.thumbprint() }));
    let url = "https://api.test/orders/1";
    let with_proof = || {
        let proof = key.prove("GET", url, &token);
        format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n")
    };
    assert_eq!(get(&ours, to, &with_proof()).await.0, 200);
    assert_eq!(get(&nobody, to, &with_proof()).await.0, 401, "the key alone");
    assert_eq!(get(&ours, to, &authorization(&token)).await.0, 401, "the certificate alone");
}

#[tokio::test]
async fn required_means_every_token_and_a_client_ca_binds_as_well() {
    let authority = Authority::new();
    let (server, owner) = (authority.certify(&["api.test"]), authority.certify(&["owner"]));
    let settings = format!("{BOUND}tokens = \"required\"\n");
    let world = World::built(TestIssuer::new(), &settings, |setup| {
        setup.folder.write("ca.pem", authority.pem());
        listening(setup, &server, "client_ca = \"ca.pem\"\n").route(ORDERS)
    })
    .await;
    let ours = authority.caller(rustls::ALL_VERSIONS, &[], Some(&owner));
    let to = world.gateway.address();
    let token = bound(&world, confirmation(&owner));
    assert_eq!(get(&ours, to, &authorization(&token)).await.0, 200);
    assert_eq!(get(&ours, to, &authorization(&world.token())).await.0, 401, "bound to nothing");
}

#[tokio::test]
async fn a_trusted_proxy_tells_of_the_certificate_and_nobody_else() {
    let authority = Authority::new();
    let (owner, other) = (authority.certify(&["owner"]), authority.certify(&["other"]));
    let escape = |pem: &str| {
        let escaped = pem.bytes().map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        });
        escaped.collect::<String>()
    };
    let envoy = |identity: &Identity| {
        let hash = identity.hex_thumbprint();
        format!("By=spiffe://a/b;Hash={hash};Subject=\"CN=a,O=b\";URI=spiffe://c")
    };
    let (pem, theirs) = (escape(&owner.certificate), escape(&other.certificate));
    for (name, format) in [("x-forwarded-client-cert", "envoy"), ("x-own", "nginx")] {
        let header = format!("{{ name = \"{name}\", format = \"{format}\" }}");
        let told = format!("client_certificate_header = {header}");
        for (trusted, network) in [(true, "127.0.0.0/8"), (false, "10.0.0.0/8")] {
            let world = World::built(TestIssuer::new(), BOUND, |setup| {
                setup
                    .listener(&format!("trusted_proxies = [\"{network}\"]\n{told}"))
                    .route(ORDERS)
                    .route(r#"path = "/public", access = "public""#)
            })
            .await;
            let token = bound(&world, confirmation(&owner));
            let ask = async |name: &str, value: &str| {
                let request = world.gateway.get("/orders/1").bearer(&token);
                request.header(name, value).send().await.status
            };
            let (good, bad) = match format {
                "envoy" => (envoy(&owner), envoy(&other)),
                _ => (pem.clone(), theirs.clone()),
            };
            assert_eq!(ask(name, &good).await, if trusted { 200 } else { 401 }, "{name}");
            assert_eq!(ask(name, &bad).await, 401);
            assert_eq!(ask(name, "").await, 401);
            assert_eq!(ask("x-client-cert", &good).await, 401, "another field");
            assert_eq!(ask(&name.replace('-', "_"), &good).await, 401, "another spelling");
            // It is never passed on, whoever sends it.
            let public = world.gateway.get("/public").header(name, &good);
            let public = public.header(&name.replace('-', "_"), &good).send().await;
            assert_eq!(public.status, 200);
            let seen = world.upstream.last();
            assert_eq!((seen.header(name), seen.header(&name.replace('-', "_"))), (None, None));
        }
    }
}

#[tokio::test]
async fn curl_with_tokens_of_oidc_provider_and_its_certificate() {
    let authority = Authority::new();
    let (server, owner) = (authority.certify(&["api.test"]), authority.certify(&["owner"]));
    let other = authority.certify(&["other"]);
    let (issuer, upstream) = (AuthServer::start().await, Backend::start().await);
    let setup = Setup::new().server("main", &issuer, "").table(BOUND);
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("owner.crt", owner.certificate.clone()),
        ("owner.key", owner.key.clone()),
        ("other.crt", other.certificate.clone()),
        ("other.key", other.key.clone()),
    ] {
        setup.folder.write(name, text);
    }
    let setup = listening(setup, &server, REQUEST);
    let gateway = setup.upstream("api", &upstream.url(), "").route(ORDERS).start().await;
    let folder = gateway.folder().path().display().to_string();
    let (port, config) = (gateway.address().port(), gateway.config().display().to_string());
    let curl = async |token: &str, identity: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20"]);
        command.args(["--noproxy", "*", "--cacert", &format!("{folder}/ca.pem")]);
        command.args(["--resolve", &format!("api.test:{port}:127.0.0.1")]);
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
        if !identity.is_empty() {
            command.args(["--cert", &format!("{folder}/{identity}.crt")]);
            command.args(["--key", &format!("{folder}/{identity}.key")]);
        }
        command.arg(format!("https://api.test:{port}/orders/1"));
        let (_, output, errors) = program::run(&mut command).await;
        assert!(errors.is_empty(), "{errors}");
        output
    };
    for resource in ["https://api.test/jwt", "https://api.test/opaque"] {
        let order = json!({ "resource": resource, "claims": { "cnf": confirmation(&owner) } });
        let token = issuer.mint(order).await;
        for (identity, status) in [("owner", "200"), ("other", "401"), ("", "401")] {
            assert_eq!(curl(&token, identity).await.trim(), status, "{resource} {identity}");
        }
        let explain = async |identity: &str| {
            let mut command = crate::harness::gateway::command(&["explain", "--config", &config]);
            command.args(["GET", "https://api.test/orders/1", "--token", &token]);
            command.args(["--certificate", &format!("{folder}/{identity}.crt")]);
            let (status, output, errors) = program::run(&mut command).await;
            (status.code(), format!("{output}{errors}"))
        };
        let (code, text) = explain("owner").await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(&owner.thumbprint()), "{text}");
        let (code, text) = explain("other").await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("no  proof"), "{text}");
    }
}
