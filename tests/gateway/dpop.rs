//! DPoP (RFC 9449): a token that is bound to a key opens a route only with a proof of that key.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::gateway::command;
use crate::harness::program::{self, node};
use crate::harness::world::{ORDERS, Setup, client, endpoints};
use crate::harness::{
    AuthServer, Backend, Gateway, ProofKey, Reply, Response, TestIssuer, World, eventually,
};

const DPOP: &str = "[authorization_servers.main.dpop]\nalgorithms = [\"ES256\", \"EdDSA\"]\n";
const URL: &str = "http://api.test/orders/1";

async fn world(more: &str) -> World {
    World::built(TestIssuer::new(), &format!("{DPOP}{more}"), |setup| setup.route(ORDERS)).await
}

fn bound(world: &World, key: &ProofKey) -> String {
    world.issuer.token().scopes("orders:read").claim("cnf", key.confirmation()).sign()
}

async fn send(gateway: &Gateway, authorization: &str, proofs: &[&str]) -> Response {
    let request = gateway.get("/orders/1").header("authorization", authorization);
    proofs.iter().fold(request, |request, proof| request.header("DPoP", proof)).send().await
}

/// The status, the reason, and the `error` in the challenges for Bearer and for DPoP.
fn told(answer: &Response) -> (u16, String, [Option<String>; 2]) {
    let reason = match answer.status {
        200 => String::new(),
        _ => answer.json()["reason"].as_str().unwrap_or_default().to_owned(),
    };
    let error = |scheme| answer.challenge(scheme).and_then(|one| one.get("error").cloned());
    (answer.status, reason, [error("Bearer"), error("DPoP")])
}

#[tokio::test]
async fn rfc9449_7_1_a_bound_token_opens_a_route_with_a_proof_of_its_own_each_time() {
    let (world, key, thief) = (world("").await, ProofKey::new("ES256"), ProofKey::new("EdDSA"));
    let token = bound(&world, &key);
    let (dpop, bearer) = (format!("DPoP {token}"), format!("Bearer {token}"));
    let free = world.token();
    let prove = || key.prove("GET", URL, &token);
    let first = prove();
    let answer = send(&world.gateway, &dpop, &[&first]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = world.upstream.last();
    assert_eq!(seen.header("authorization"), Some(&*dpop), "as it was sent");
    assert_eq!(seen.header("dpop"), Some(&*first));

    let (invalid, proof) = (Some("invalid_token"), Some("invalid_dpop_proof"));
    let other = |url: &str| key.prove("GET", url, &token);
    #[rustfmt::skip]
    let cases = [
        // authorization                    proofs                              reason               Bearer, DPoP
        (dpop.clone(),                      vec![first],                        "proof_replayed",    [None, proof]),
        (dpop.clone(),                      vec![],                             "proof_missing",     [None, proof]),
        (dpop.clone(),                      vec![prove(), prove()],             "proof_several",     [None, proof]),
        (dpop.clone(),                      vec!["a.b.c".to_owned()],           "proof_malformed",   [None, proof]),
        (dpop.clone(),                      vec![token.clone()],                "proof_type",        [None, proof]),
        (dpop.clone(),                      vec![key.prove("POST", URL, &token)], "proof_method",    [None, proof]),
        (dpop.clone(),                      vec![other("https://api.test/orders/1")], "proof_target", [None, proof]),
        (dpop.clone(),                      vec![other("http://evil.test/orders/1")], "proof_target", [None, proof]),
        (dpop.clone(),                      vec![other("http://api.test/orders/2")],  "proof_target", [None, proof]),
        (dpop.clone(),                      vec![key.prove("GET", URL, &free)], "proof_token_hash",  [None, proof]),
        (dpop.clone(),                      vec![thief.prove("GET", URL, &token)], "token_bound",    [None, invalid]),
        (bearer.clone(),                    vec![],                             "token_bound",       [invalid, None]),
        (bearer,                            vec![prove()],                      "token_bound",       [invalid, None]),
        (format!("DPoP {free}"),            vec![key.prove("GET", URL, &free)], "token_unbound",     [None, invalid]),
        (format!("DPoP {token}x"),          vec![prove()],                      "token_malformed",   [None, invalid]),
        (format!("Digest {token}"),         vec![prove()],                      "credential_missing", [None, None]),
    ];
    for (authorization, proofs, reason, [of_bearer, of_dpop]) in cases {
        let proofs: Vec<_> = proofs.iter().map(String::as_str).collect();
        let answer = send(&world.gateway, &authorization, &proofs).await;
        let errors = [of_bearer.map(str::to_owned), of_dpop.map(str::to_owned)];
        assert_eq!(told(&answer), (401, reason.to_owned(), errors), "{authorization}");
        assert_eq!(answer.challenge("DPoP").unwrap()["algs"], "ES256 EdDSA");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let malformed = send(&world.gateway, "DPoP a b", &[&prove()]).await;
    let errors = [None, Some("invalid_request".to_owned())];
    assert_eq!(told(&malformed), (400, "credential_malformed_dpop".to_owned(), errors));
    assert_eq!(world.upstream.count(), 1, "no refused request reaches the upstream");

    // The verdict about the token is remembered; the scheme's case and a query mean nothing.
    let answer = send(&world.gateway, &format!("dpop {token}"), &[&prove()]).await;
    assert_eq!(answer.status, 200);
    let odd = key.prove("GET", "HTTP://API.test:80/%6Frders/1#x", &token);
    let request = world.gateway.get("/orders/1?page=2").header("authorization", &dpop);
    assert_eq!(request.header("dpop", &odd).send().await.status, 200);
    assert_eq!(send(&world.gateway, &format!("Bearer {free}"), &[]).await.status, 200);
}

/// There is no way in for it without its proof, whatever a route does with it: as `Bearer`, as `DPoP`,
/// over HTTP/1.1 and HTTP/2, to open a WebSocket, by gRPC.
#[tokio::test]
async fn rfc9449_7_2_a_bound_token_without_its_proof_is_refused_everywhere() {
    const ROUTES: [&str; 5] = [
        r#"path = "/token""#,
        r#"path = "/none", forward = "none""#,
        r#"path = "/client", forward = { client = "ours" }"#,
        r#"path = "/exchange", forward = { exchange = "inner" }"#,
        r#"path = "/signed", forward = { signed = "orders" }"#,
    ];
    let asks = Backend::start().await;
    let more = format!("token_endpoint = \"{}/token\"\n{DPOP}", asks.url());
    let signer =
        "[signers.orders]\nissuer = \"https://gateway.test\"\naudience = \"https://inner.test\"\n";
    let exchange = "grant = \"token_exchange\"\naudience = \"https://inner.test\"";
    let world = World::built(TestIssuer::new(), &more, |setup| {
        let setup = setup.secret("ours", "s").secret("inner", "s").table(signer);
        let setup = setup.table(&client("ours", "ours", "a", ""));
        let setup = setup.table(&client("inner", "inner", "a", exchange));
        ROUTES.iter().fold(setup, |setup, route| {
            let rest =
                r#"access = { scopes = ["orders:read"] }, upgrade = { protocols = ["websocket"] }"#;
            setup.route(&format!("{route}, {rest}"))
        })
    })
    .await;
    let token = bound(&world, &ProofKey::new("ES256"));
    let http2 = world.gateway.http2().await;
    for route in ROUTES {
        let path = route.split('"').nth(1).unwrap();
        for scheme in ["Bearer", "DPoP"] {
            let field = format!("{scheme} {token}");
            let request = || world.gateway.get(path).header("authorization", &field);
            assert_eq!(request().send().await.status, 401, "{path} {scheme}");
            let opening = request().header("connection", "upgrade").header("upgrade", "websocket");
            let opening = opening.header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
            let opening = opening.header("sec-websocket-version", "13");
            assert_eq!(opening.send().await.status, 401, "{path} {scheme}, a WebSocket");
            let plain = http2.get(path, &[("authorization", &field)]).await;
            assert_eq!(plain.status, 401, "{path} {scheme}, HTTP/2");
            let call = [("authorization", &*field), ("content-type", "application/grpc")];
            let call = http2.get(path, &call).await;
            assert_eq!(call.header("grpc-status"), "16", "{path} {scheme}, gRPC");
        }
    }
    assert_eq!((world.upstream.count(), asks.count()), (0, 0), "nobody heard of it");
}

#[tokio::test]
async fn rfc9449_7_2_without_dpop_a_bound_token_is_refused_and_the_scheme_unknown() {
    let world = World::orders().await;
    let key = ProofKey::new("ES256");
    let token = bound(&world, &key);
    let proof = key.prove("GET", URL, &token);
    let answer = send(&world.gateway, &format!("DPoP {token}"), &[&proof]).await;
    assert_eq!(told(&answer), (401, "credential_missing".to_owned(), [None, None]));
    assert!(answer.challenge("DPoP").is_none());
    let answer = send(&world.gateway, &format!("Bearer {token}"), &[&proof]).await;
    assert_eq!(told(&answer).1, "token_bound");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn where_dpop_is_required_no_other_token_is_taken_and_none_is_offered() {
    let world = world("tokens = \"required\"\n").await;
    let key = ProofKey::new("EdDSA");
    let missing = world.gateway.get("/orders/1").send().await;
    assert_eq!(missing.all("www-authenticate").len(), 1);
    assert_eq!(missing.challenge("DPoP").unwrap()["scope"], "orders:read");
    let answer = send(&world.gateway, &format!("Bearer {}", world.token()), &[]).await;
    let errors = [Some("invalid_token".to_owned()), None];
    assert_eq!(told(&answer), (401, "token_unbound".to_owned(), errors));
    let token = bound(&world, &key);
    let proof = key.prove("GET", URL, &token);
    assert_eq!(send(&world.gateway, &format!("DPoP {token}"), &[&proof]).await.status, 200);
    // A scope that is missing is told in the scheme that was used.
    let token = world.issuer.token().claim("cnf", key.confirmation()).sign();
    let proof = key.prove("GET", URL, &token);
    let answer = send(&world.gateway, &format!("DPoP {token}"), &[&proof]).await;
    assert_eq!((answer.status, told(&answer).2[1].as_deref()), (403, Some("insufficient_scope")));
}

#[tokio::test]
async fn rfc9449_8_a_nonce_is_given_once_asked_for_shared_and_renewed() {
    let nonce = "nonce = \"6s\"\nnonce_secret = { file = \"secrets/nonce\" }\n";
    let built = async || {
        World::built(TestIssuer::new(), &format!("{DPOP}{nonce}"), |setup| {
            setup
                .secret("nonce", "one-secret-of-several-gateways--")
                .route(&format!(r#"{ORDERS}, cors = {{ origins = ["https://app.test"] }}"#))
        })
        .await
    };
    let (world, twin) = (built().await, built().await);
    let key = ProofKey::new("ES256");
    let ask = async |world: &World, nonce: Option<&str>| {
        let token = bound(world, &key);
        let proof = key.prove_with("GET", URL, &token, |_, claims| {
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
        });
        let request = world.gateway.get("/orders/1").header("origin", "https://app.test");
        request
            .header("authorization", &format!("DPoP {token}"))
            .header("dpop", &proof)
            .send()
            .await
    };
    let mut given = String::new();
    for nonce in [None, Some("x"), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
        let answer = ask(&world, nonce).await;
        let errors = [None, Some("use_dpop_nonce".to_owned())];
        assert_eq!(told(&answer), (401, "proof_nonce".to_owned(), errors), "{nonce:?}");
        assert_eq!(answer.all("dpop-nonce").len(), 1);
        assert_eq!(answer.header("cache-control"), "no-store");
        let exposed = answer.header("access-control-expose-headers");
        assert!(exposed.contains("dpop-nonce") && exposed.contains("www-authenticate"));
        given = answer.header("dpop-nonce").to_owned();
    }
    for gateway in [&world, &twin] {
        let answer = ask(gateway, Some(&given)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("dpop-nonce"), "", "it is young");
    }
    let renewed = eventually("the next nonce before the end of this one", async || {
        let answer = ask(&world, Some(&given)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let nonce = answer.header("dpop-nonce").to_owned();
        (!nonce.is_empty()).then(|| (nonce, answer.header("cache-control").to_owned()))
    })
    .await;
    assert_eq!(renewed.1, "no-store");
    assert_ne!(renewed.0, given);
    assert_eq!(ask(&world, Some(&renewed.0)).await.status, 200);
}

#[tokio::test]
async fn rfc9449_4_3_htu_is_the_url_that_the_caller_used_before_a_trusted_proxy() {
    let key = ProofKey::new("ES256");
    for (trusted, listener) in [(true, "trusted_proxies = [\"127.0.0.1/32\"]"), (false, "")] {
        let world =
            World::built(TestIssuer::new(), DPOP, |setup| setup.listener(listener).route(ORDERS))
                .await;
        let x = [("x-forwarded-proto", "https"), ("x-forwarded-host", "public.test")];
        let standard = [("forwarded", "for=192.0.2.1;proto=https;host=public.test"), ("x-a", "b")];
        let prefix = [x[0], ("x-forwarded-prefix", "/v1")];
        let nothing = [("x-a", "b"), ("x-c", "d")];
        #[rustfmt::skip]
        let cases = [
            (&x,        "https://public.test/orders/1",     trusted),
            (&standard, "https://public.test/orders/1",     trusted),
            (&prefix,   "https://api.test/v1/orders/1",     trusted),
            (&x,        URL,                                !trusted),
            (&nothing,  URL,                                true),
        ];
        for (fields, url, is_good) in cases {
            let token = bound(&world, &key);
            let proof = key.prove("GET", url, &token);
            let request = world.gateway.get("/orders/1").header("dpop", &proof);
            let request = request.header("authorization", &format!("DPoP {token}"));
            let request =
                fields.iter().fold(request, |request, (name, value)| request.header(name, value));
            let answer = request.send().await;
            assert_eq!(answer.status == 200, is_good, "{trusted} {fields:?} {url}");
        }
    }
}

#[tokio::test]
async fn rfc9449_6_2_an_introspection_answer_binds_as_a_jwt_does() {
    let key = ProofKey::new("ES256");
    let other = ProofKey::new("ES256");
    let (jkt, theirs) = (key.confirmation(), other.confirmation());
    let server = Backend::answering(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let mut told = json!({
            "active": true, "scope": "orders:read", "aud": "https://api.test", "client_id": "app",
        });
        if body.contains("token=bound") {
            told["cnf"] = jkt.clone();
            told["token_type"] = json!("DPoP");
        } else if body.contains("token=nobody") {
            told["token_type"] = json!("DPoP");
        } else if body.contains("token=ey") {
            told["cnf"] = theirs.clone();
        }
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let settings = format!("introspect = \"all\"\n{}{DPOP}", endpoints(&server.url(), ""));
    let world = World::built(TestIssuer::new(), &settings, |setup| {
        setup.secret("gateway", "s").route(ORDERS)
    })
    .await;
    let ask = async |token: &str, scheme: &str, key: &ProofKey| {
        let proof = key.prove("GET", URL, token);
        told(&send(&world.gateway, &format!("{scheme} {token}"), &[&proof]).await).1
    };
    for _ in 0..2 {
        assert_eq!(ask("bound", "DPoP", &key).await, "");
        assert_eq!(ask("bound", "DPoP", &other).await, "token_bound");
        assert_eq!(ask("bound", "Bearer", &key).await, "token_bound");
    }
    assert_eq!(server.count(), 1, "the verdict is remembered, the proof is not");
    assert_eq!(ask("nobody", "DPoP", &key).await, "token_bound", "a type and no key");
    // Both must say yes, and what either of them binds the token to is asked for.
    let free = world.token();
    assert_eq!(ask(&free, "Bearer", &other).await, "token_bound");
    assert_eq!(ask(&free, "DPoP", &other).await, "");
    assert_eq!(ask(&bound(&world, &key), "DPoP", &key).await, "token_bound", "two keys");
    assert_eq!(ask(&bound(&world, &other), "DPoP", &other).await, "");
}

#[tokio::test]
async fn a_token_that_came_of_a_basic_credential_and_is_bound_opens_nothing() {
    let issuer = TestIssuer::new();
    let sign = |cnf: Value| issuer.token().scopes("orders:read").claim("cnf", cnf).sign();
    let tokens = [sign(Value::Null), sign(ProofKey::new("ES256").confirmation())];
    let server = Backend::answering(move |seen| {
        let [free, bound] = &tokens;
        let is_free = seen.header("authorization").is_some_and(|pair| pair.ends_with("ZnJlZTpz"));
        let token = if is_free { free } else { bound };
        let told = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 60 });
        Reply::status(200).header("content-type", "application/json").body(told.to_string())
    })
    .await;
    let settings = format!("token_endpoint = \"{}/token\"\n{DPOP}", server.url());
    let world = World::built(issuer, &settings, |setup| {
        setup.route(&format!(r#"{ORDERS}, accept = ["bearer", "basic"]"#))
    })
    .await;
    let ask = async |id: &str| world.gateway.get("/orders/1").basic(id, "s").send().await;
    assert_eq!(ask("free").await.status, 200);
    let refused = ask("bound").await;
    assert_eq!((refused.status, &*told(&refused).1), (401, "token_bound"));
    assert_eq!(refused.all("www-authenticate").len(), 3, "Bearer, DPoP and Basic");
}

#[tokio::test]
async fn rfc9449_11_1_what_cannot_be_remembered_is_refused_and_a_reload_forgets_nothing() {
    let world = world("replay_entries = 16\n").await;
    let key = ProofKey::new("EdDSA");
    let token = bound(&world, &key);
    let dpop = format!("DPoP {token}");
    let used = key.prove("GET", URL, &token);
    assert_eq!(send(&world.gateway, &dpop, &[&used]).await.status, 200);
    let mut last = None;
    for _ in 0..17 {
        let answer = send(&world.gateway, &dpop, &[&key.prove("GET", URL, &token)]).await;
        if answer.status != 200 {
            last = Some(answer);
            break;
        }
    }
    let full = last.expect("there is room for 16");
    assert_eq!((full.status, &full.json()["reason"]), (503, &json!("verifier_unavailable")));
    assert!(!full.header("retry-after").is_empty());
    let count =
        world.gateway.metric("scopegate_refusals_total", &[("reason", "proofs_too_many")]).await;
    assert!(count >= 1.0);

    let text = std::fs::read_to_string(world.gateway.config()).unwrap();
    let text = text.replace("replay_entries = 16", "replay_entries = 1600\nwindow = \"50s\"");
    std::fs::write(world.gateway.config(), text).unwrap();
    world.gateway.signal("HUP");
    eventually("room for more", async || {
        let answer = send(&world.gateway, &dpop, &[&key.prove("GET", URL, &token)]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let again = send(&world.gateway, &dpop, &[&used]).await;
    assert_eq!(told(&again).1, "proof_replayed");
    let status = world.gateway.admin("/status").await.json();
    assert!(status.to_string().contains("\"dpop_proofs\":"), "{status}");
}

#[tokio::test]
async fn explain_shows_the_proof_and_what_is_wrong_with_it() {
    let world = world("").await;
    let key = ProofKey::new("ES256");
    let token = bound(&world, &key);
    let config = world.gateway.config().to_str().unwrap();
    let explain = async |authorization: &str, proof: Option<&str>| {
        let mut command = tokio::process::Command::from(command(&["explain", "--config", config]));
        command.args(["GET", "https://api.test/orders/1", "-H"]);
        command.arg(format!("Authorization: {authorization}"));
        if let Some(proof) = proof {
            command.args(["-H", &format!("DPoP: {proof}")]);
        }
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), text)
    };
    let dpop = format!("DPoP {token}");
    let url = "https://api.test/orders/1";
    let proof = key.prove("GET", url, &token);
    for _ in 0..2 {
        let (code, text) = explain(&dpop, Some(&proof)).await;
        assert_eq!(code, 0, "{text}");
        let line = format!("ok  proof         a DPoP proof by the key {}", key.thumbprint());
        assert!(text.contains(&line) && !text.contains(&proof), "{text}");
    }
    let late = key.prove_with("GET", url, &token, |_, claims| claims["iat"] = json!(1));
    let thief = ProofKey::new("ES256").prove("GET", url, &token);
    for (authorization, proof, reason) in [
        (&*dpop, None, "proof_missing"),
        (&dpop, Some(&*late), "proof_time"),
        (&dpop, Some(&thief), "token_bound"),
        (&format!("Bearer {token}"), Some(&proof), "token_bound"),
    ] {
        let (code, text) = explain(authorization, proof).await;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("no  proof") && text.contains(reason), "{reason}: {text}");
        assert!(!text.contains("audience"), "nothing is told of what comes behind: {text}");
    }
}

#[tokio::test]
async fn rfc9728_2_the_metadata_says_what_proofs_may_be_signed_with() {
    let metadata = async |tables: &str| {
        let world = World::built(TestIssuer::new(), tables, |setup| {
            setup
                .table("[resources.orders]\nresource = \"https://api.test/orders\"\n")
                .route(&format!(r#"{ORDERS}, resource = "orders""#))
        })
        .await;
        let answer =
            world.gateway.get("/.well-known/oauth-protected-resource/orders").send().await.json();
        [
            "dpop_signing_alg_values_supported",
            "dpop_bound_access_tokens_required",
            "tls_client_certificate_bound_access_tokens",
        ]
        .map(|name| answer[name].clone())
    };
    let (null, algs) = (Value::Null, json!(["ES256", "EdDSA"]));
    assert_eq!(metadata("").await, [null.clone(), null.clone(), null.clone()]);
    assert_eq!(metadata(DPOP).await, [algs.clone(), null.clone(), null.clone()]);
    let required = format!("{DPOP}tokens = \"required\"\n");
    assert_eq!(metadata(&required).await, [algs, json!(true), null.clone()]);
    let certificates = "[authorization_servers.main.certificate_bound]\n";
    assert_eq!(metadata(certificates).await, [null.clone(), null, json!(true)]);
}

#[tokio::test]
async fn openid_client_with_tokens_of_oidc_provider_and_a_nonce() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .table("[authorization_servers.main.dpop]\nnonce = \"5m\"\n")
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    for (resource, algorithm) in
        [("", "ES256"), ("https://api.test/opaque", "ES256"), ("", "Ed25519")]
    {
        let client = |target: &str| {
            let mut command = node("clients/node/dpop.mjs");
            command.args(["--client-id", "reports", "--client-secret", "reports-secret"]);
            command.args(["--resource", resource, "--algorithm", algorithm]);
            command.args(["--gateway", target, "--issuer", &server.issuer]);
            command.env("NODE_EXTRA_CA_CERTS", server.ca());
            command
        };
        let (status, output, errors) = program::run(&mut client(&gateway.url())).await;
        let log = gateway.log();
        assert!(status.success(), "{resource} {algorithm}: {output}\n{errors}\n--- log\n{log}");
        if algorithm == "Ed25519" {
            let (failed, ..) = program::run(&mut client(&upstream.url())).await;
            assert_eq!(failed.code(), Some(1), "it does not notice that there is no gateway");
        }
    }
}
