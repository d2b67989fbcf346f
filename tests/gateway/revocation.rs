//! The revocation list: the operator's `POST /revocations`, its bound, its file, and what lasts.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::gateway::{check, command};
use crate::harness::keys::base64url;
use crate::harness::program;
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{
    Gateway, Response, Scratch, TestIssuer, World, eventually, in_time, unix_now,
};

async fn world(list: &str) -> World {
    World::built(TestIssuer::new(), "", |setup| setup.table(list).route(ORDERS)).await
}

async fn revoke(gateway: &Gateway, order: Value) -> Response {
    gateway.admin_post("/revocations", &order).send().await
}

async fn get(gateway: &Gateway, token: &str) -> Response {
    gateway.get("/orders/1").bearer(token).send().await
}

fn assert_revoked(response: &Response, claim: &str) {
    assert_eq!(response.status, 401, "{claim}");
    let challenge = response.challenge("Bearer").unwrap();
    assert_eq!(challenge["error"], "invalid_token", "{claim}");
    assert_eq!(challenge["error_description"], "the token was revoked", "{claim}");
}

#[tokio::test]
async fn the_operator_revokes_a_token_or_all_that_a_claim_names() {
    let world = world("[revocations]").await;
    let (gateway, issuer) = (&world.gateway, &world.issuer);
    let token = || issuer.token().scopes("orders:read").claim("sid", "s1");
    let digest = |token: &str| {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let with = |name: &str, value: &str| token().claim(name, value).sign();
    let [itself, by_digest] = [token().sign(), token().sign()];
    let cases = [
        ("token", json!({ "token": itself }), itself.clone()),
        ("digest", json!({ "digest": digest(&by_digest) }), by_digest.clone()),
        ("jti", json!({ "jti": "j1" }), with("jti", "j1")),
        ("sid", json!({ "sid": "s2" }), with("sid", "s2")),
        ("sub", json!({ "sub": "bob" }), with("sub", "bob")),
        ("client_id", json!({ "client_id": "bad-app" }), with("client_id", "bad-app")),
    ];
    let bystander = token().sign();
    for (kind, mut order, token) in cases {
        // Once cached and once not: both ways lead by the list.
        assert_eq!(get(gateway, &token).await.status, 200, "{kind}");
        if !matches!(kind, "token" | "digest") {
            order["iss"] = json!(issuer.name);
        }
        order["until"] = json!(unix_now() + 600);
        let response = revoke(gateway, order).await;
        assert_eq!(response.status, 200, "{kind}: {}", response.text());
        assert_eq!(response.header("cache-control"), "no-store");
        for _ in 0..2 {
            assert_revoked(&get(gateway, &token).await, kind);
        }
        assert_eq!(get(gateway, &bystander).await.status, 200, "{kind}");
    }
    let labels = [("route", "/orders/{*rest}"), ("reason", "token_revoked")];
    assert_eq!(gateway.metric("scopegate_refusals_total", &labels).await, 12.0);
    assert_eq!(gateway.metric("scopegate_revocation_entries", &[]).await, 7.0);
    let admin = [("door", "admin")];
    assert_eq!(gateway.metric("scopegate_revocations_total", &admin).await, 6.0);
    let page = gateway.admin("/revocations").await;
    let shown = page.json();
    assert_eq!((&shown["entries"], &shown["bound"]), (&json!(7), &json!(100_000)));
    assert_eq!(shown["kinds"]["jti"], json!(2), "a token has its jti beside it: {shown}");
    assert_eq!(gateway.admin("/status").await.json()["revocations"]["entries"], json!(7));
    for secret in [&*itself, &digest(&itself), "bob", "bad-app", "s2"] {
        assert!(!page.text().contains(secret), "{secret} in {shown}");
    }
    let log = world.gateway.whole_log().await;
    for token in [itself, by_digest] {
        assert!(!log.contains(&token), "a token in the log");
    }
}

/// The order of P-256 (SEC 2 §2.4.2).
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

/// The other signature that holds wherever this one does: s is n - s.
fn rewritten(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut signature = base64::Engine::decode(&engine, signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let n = i32::from(u8::from_str_radix(&ORDER[2 * at..2 * at + 2], 16).unwrap());
        let difference = n - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", base64url(signature))
}

#[tokio::test]
async fn rfc7518_3_4_a_revoked_token_with_its_signature_rewritten_is_refused_as_well() {
    let world = world("[revocations]").await;
    let with_jti = world.token();
    let without = world.issuer.token().scopes("orders:read").claim("jti", Value::Null).sign();
    for token in [with_jti, without] {
        let again = rewritten(&token);
        assert_ne!(token, again);
        assert_eq!(get(&world.gateway, &again).await.status, 200, "it is good as well");
        assert_eq!(revoke(&world.gateway, json!({ "token": token })).await.status, 200);
        assert_revoked(&get(&world.gateway, &again).await, "rewritten");
    }
}

#[tokio::test]
async fn tokens_that_were_issued_later_are_let_in() {
    let world = world("[revocations]").await;
    let issued = |at: i64| world.issuer.token().scopes("orders:read").claim("iat", at).sign();
    let now = unix_now();
    let (before, after) = (issued(now - 10), issued(now));
    let order = json!({ "iss": world.issuer.name, "sub": "alice", "issued_before": now });
    assert_eq!(revoke(&world.gateway, order).await.status, 200);
    assert_revoked(&get(&world.gateway, &before).await, "before");
    assert_eq!(get(&world.gateway, &after).await.status, 200);
}

#[tokio::test]
async fn cve_2026_27589_no_page_of_another_site_revokes_anything() {
    let world = world("[revocations]").await;
    let order = json!({ "iss": world.issuer.name, "sub": "alice" });
    let post = || world.gateway.admin_post("/revocations", &order);
    for (claim, request, status) in [
        ("a foreign origin", post().header("origin", "https://evil.test"), 403),
        ("a foreign host", post().header("host", "rebind.evil.test"), 403),
        ("a page without an origin", post().header("sec-fetch-site", "cross-site"), 403),
        ("a form", post().header("content-type", "application/x-www-form-urlencoded"), 415),
        ("too much", post().body(vec![b' '; 70_000]), 413),
        ("no JSON", post().body("sub=alice"), 400),
    ] {
        let response = request.send().await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
        assert_eq!(response.header("content-type"), "application/problem+json", "{claim}");
        assert_eq!(response.json()["status"], json!(status), "{claim}");
        assert_eq!(get(&world.gateway, &world.token()).await.status, 200, "{claim}");
    }
    let public = world.gateway.request("POST", "/revocations").body(order.to_string()).send().await;
    assert_eq!(public.status, 404, "not on the public listener");
    assert_eq!(post().send().await.status, 200, "as the operator sends it");
}

#[tokio::test]
async fn admin_writes_need_the_token_where_one_is_set() {
    let issuer = TestIssuer::new();
    let setup = Setup::new().secret("admin", "opens-sesame").issuer("main", &issuer, "");
    let setup =
        setup.table("[revocations]").upstream("api", "http://127.0.0.1:1", "").route(ORDERS);
    let text = setup.text().replace(
        "[admin]\naddress = \"127.0.0.1:0\"",
        "[admin]\naddress = \"127.0.0.1:0\"\nauthorization = { token = { file = \"secrets/admin\" } }",
    );
    let gateway = Gateway::start_in(setup.folder, &text).await.ready().await;
    let order = json!({ "iss": issuer.name, "sub": "alice" });
    let post = || gateway.admin_post("/revocations", &order);
    let refused = post().send().await;
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, "Bearer realm=\"admin\"")
    );
    assert_eq!(post().bearer("opens-sesam").send().await.status, 401);
    assert_eq!(post().bearer("opens-sesame").send().await.status, 200);
    assert_eq!(gateway.admin("/revocations").await.status, 200, "to look needs none");
    // Read again on reload, as every secret.
    gateway.folder().write("secrets/admin", "another");
    gateway.signal("HUP");
    eventually("the new token", async || {
        (post().bearer("another").send().await.status == 200).then_some(())
    })
    .await;
    assert_eq!(post().bearer("opens-sesame").send().await.status, 401);
    assert!(!gateway.whole_log().await.contains("sesame"));
}

#[tokio::test]
async fn a_full_list_refuses_and_a_reload_keeps_it_and_gives_it_room() {
    let world = world("[revocations]\nentries = 2").await;
    let gateway = &world.gateway;
    let order = |jti: &str| json!({ "iss": world.issuer.name, "jti": jti });
    for jti in ["a", "b", "b"] {
        assert_eq!(revoke(gateway, order(jti)).await.status, 200, "{jti}");
    }
    let full = revoke(gateway, order("c")).await;
    assert_eq!(full.status, 507);
    assert!(full.text().contains("revocations.entries is 2"), "{}", full.text());
    let labels = [("door", "admin"), ("reason", "full")];
    assert_eq!(gateway.metric("scopegate_revocations_refused_total", &labels).await, 1.0);
    let [token, other] =
        ["a", "c"].map(|jti| world.issuer.token().scopes("orders:read").claim("jti", jti).sign());
    assert_revoked(&get(gateway, &token).await, "before the reload");
    assert_eq!(get(gateway, &other).await.status, 200, "refused is refused");
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("entries = 2", "entries = 3")).unwrap();
    gateway.signal("HUP");
    gateway.logs("configuration taken up").await;
    assert_revoked(&get(gateway, &token).await, "after the reload");
    assert_eq!(revoke(gateway, order("c")).await.status, 200);
    assert_revoked(&get(gateway, &other).await, "there is room now");
}

/// The configuration of a gateway whose list is in that file.
fn kept_in(file: &Path, issuer: &TestIssuer) -> Setup {
    let table = format!("[revocations]\nfile = \"{}\"", file.display());
    let setup = Setup::new().issuer("main", issuer, "").table(&table);
    setup.upstream("api", "http://127.0.0.1:1", "").route(ORDERS)
}

#[tokio::test]
async fn a_list_in_a_file_survives_kill_9_and_a_torn_line_but_no_damage() {
    let (folder, issuer) = (Scratch::new(), TestIssuer::new());
    let file = folder.path().join("revocations");
    let tokens: Vec<String> =
        (0..20).map(|_| issuer.token().scopes("orders:read").sign()).collect();
    let mut gateway = kept_in(&file, &issuer).start().await;
    for token in &tokens {
        assert_eq!(revoke(&gateway, json!({ "token": token })).await.status, 200);
    }
    gateway.signal("KILL");
    gateway.end().await;
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept.lines().count(), 40, "each with its jti");
    assert!(tokens.iter().all(|token| !kept.contains(token)), "no token is in it");
    let torn = format!("{kept}jti 0011223344556677");
    std::fs::write(&file, &torn).unwrap();
    let mut gateway = kept_in(&file, &issuer).start().await;
    assert!(
        gateway.log().contains("the last revocation was not written whole"),
        "{}",
        gateway.log()
    );
    for token in &tokens {
        assert_revoked(&get(&gateway, token).await, "after kill -9");
    }
    // What is explained is what is served, and looking takes nothing from who serves.
    let mut explain = command(&["explain", "--json", "--config"]);
    explain.arg(gateway.config()).args(["GET", "/orders/1", "--token", &tokens[0]]);
    let (status, output, errors) = program::run(&mut explain).await;
    assert_eq!(status.code(), Some(1), "{output}\n{errors}");
    assert!(output.contains("token_revoked") && output.contains("\"revocation\""), "{output}");
    gateway.signal("KILL");
    gateway.end().await;
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replacen("jti ", "sub ", 1)).unwrap();
    let line = 1 + kept.lines().position(|line| line.starts_with("jti ")).unwrap();
    let text = kept_in(&file, &issuer).text();
    let config = folder.write("gateway.toml", text);
    let (status, _, errors) = program::run(command(&["run", "--config"]).arg(config)).await;
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(&format!("{}:{line}: this line is damaged", file.display())),
        "{errors}"
    );
}

#[tokio::test]
async fn check_says_what_there_is_and_what_is_off_is_not_there() {
    let (folder, issuer) = (Scratch::new(), TestIssuer::new());
    let setup = |more: &str| {
        let setup = Setup::new().issuer("main", &issuer, more);
        setup.upstream("api", "http://127.0.0.1:1", "").route(ORDERS).text()
    };
    let (_, off) = check(&folder, &setup("")).await;
    assert!(!off.contains("revocation"), "{off}");
    let (code, on) = check(&folder, &setup("revocation = { path = \"/revoke\" }")).await;
    assert_eq!(code, 0, "{on}");
    assert!(on.contains("a revocation list of 100000, revocation endpoint (main)"), "{on}");
    let clash = setup("revocation = { path = \"/orders/{*rest}\" }")
        .replace("/{*rest}\", access", "\", access");
    let (code, clash) = check(&folder, &clash.replace("/orders/{*rest}", "/orders")).await;
    assert!(code == 2 && clash.contains("it has the address of the route at"), "{clash}");
    let world = World::orders().await;
    let answer = revoke(&world.gateway, json!({ "token": "t" })).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(world.gateway.admin("/revocations").await.status, 404);
}

/// An upstream of one connection that is in the test's hands, and a gateway before it.
async fn hand() -> (TcpListener, World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.table("[revocations]").upstream("hand", &url, "").route(
            r#"name = "events", path = "/events", access = { scopes = ["orders:read"] }, upstream = "hand", upgrade = { protocols = ["websocket"], ends_with_token = false }"#,
        )
    })
    .await;
    (listener, world)
}

/// The next request's connection, answered with this head.
async fn answered(listener: &TcpListener, head: &str) -> TcpStream {
    let (mut stream, _) = in_time("a connection", listener.accept()).await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(in_time("a head", stream.read_u8()).await.unwrap());
    }
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n";
const WEBSOCKET: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: \
                         websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn rfc6749_7_open_websockets_and_streams_of_a_revoked_token_end_within_a_second() {
    let (listener, world) = hand().await;
    let gateway = &world.gateway;
    let (token, other) = (world.token(), world.token());
    let mut open = Vec::new();
    let mut upstreams = Vec::new();
    for (token, is_websocket) in [(&token, false), (&token, true), (&other, false), (&other, true)]
    {
        let request = gateway.get("/events").bearer(token);
        let request = match is_websocket {
            true => request
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            false => request,
        };
        let mut caller = gateway.connect().await;
        caller.write(&request.bytes()).await;
        upstreams.push(answered(&listener, if is_websocket { WEBSOCKET } else { EVENTS }).await);
        assert_eq!(caller.head().await.status, if is_websocket { 101 } else { 200 });
        open.push(caller);
    }
    open[0].receives("data: 1").await;
    let from = Instant::now();
    assert_eq!(revoke(gateway, json!({ "token": token })).await.status, 200);
    let stream = open[0].rest().await;
    let tunnel = open[1].rest().await;
    let took = from.elapsed();
    assert!(took.as_millis() < 1000, "{took:?}");
    assert!(!stream.ends_with(b"0\r\n\r\n"), "cut, and not like one that is whole");
    assert_eq!(tunnel, b"\x88\x17\x03\xf0the token was revoked");
    // Those of another token go on.
    upstreams[2].write_all(b"8\r\ndata: 2\n\r\n").await.unwrap();
    open[2].receives("data: 2").await;
    upstreams[3].write_all(b"\x81\x05hello").await.unwrap();
    open[3].receives("hello").await;
    let ended = [("route", "events"), ("end", "token_revoked")];
    assert_eq!(gateway.metric("scopegate_upgrades_total", &ended).await, 1.0);
    let refused = [("route", "events"), ("reason", "token_revoked")];
    assert_eq!(gateway.metric("scopegate_refusals_total", &refused).await, 1.0);
    drop((open, upstreams));
    let log = world.gateway.whole_log().await;
    assert!(
        log.contains("reason=\"token_revoked\"") && log.contains("ended=\"token_revoked\""),
        "{log}"
    );
}

#[tokio::test]
async fn over_http2_a_stream_of_a_revoked_token_is_reset_and_grpc_gets_status_16() {
    let (listener, world) = hand().await;
    let authorization = format!("Bearer {}", world.token());
    let http2 = world.gateway.http2().await;
    let asked = [("authorization", &*authorization)];
    let call = [
        ("authorization", &*authorization),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let upstreams = async {
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push(answered(&listener, EVENTS).await);
        }
        eventually("both under way", async || {
            // The heads are through once the list has something to look for.
            (world.gateway.metric("scopegate_requests_total", &[("route", "events")]).await == 2.0)
                .then_some(())
        })
        .await;
        let order = json!({ "iss": world.issuer.name, "sub": "alice" });
        assert_eq!(revoke(&world.gateway, order).await.status, 200);
        streams
    };
    let (plain, grpc, _streams) = tokio::join!(
        http2.send("GET", "/events", &asked, b""),
        http2.send("POST", "/events", &call, b"\0\0\0\0\0"),
        upstreams,
    );
    assert!(plain.is_err(), "reset: {plain:?}");
    let grpc = grpc.expect("an end, not a reset");
    assert_eq!((grpc.status, grpc.trailer("grpc-status")), (200, "16"));
}
