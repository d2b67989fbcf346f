//! JWT access tokens (RFC 7519, RFC 8725, RFC 9068) through the whole gateway: what is let in, and
//! every forgery that we know of.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::issuer::{AUDIENCE, TestIssuer, assemble};
use crate::harness::keys::{SigningKey, base64url, hmac_sha256};
use crate::harness::world::{ORDERS, Setup};
use crate::harness::{Backend, RawBackend, World, backend::Then, unix_now};

/// Sends each token to a good route: each must get this status, and the error that goes with it.
async fn all_get(world: &World, status: u16, tokens: impl IntoIterator<Item = (String, String)>) {
    for (claim, token) in tokens {
        let response = world.gateway.get("/orders/1").bearer(&token).send().await;
        assert_eq!(response.status, status, "{claim}: {}", response.text());
        if status == 401 {
            assert_eq!(response.error(), "invalid_token", "{claim}");
        }
    }
}

async fn refused(world: &World, tokens: impl IntoIterator<Item = (String, String)>) {
    all_get(world, 401, tokens).await;
    assert_eq!(world.upstream.count(), 0, "a refused request must not reach the upstream");
    let good = world.gateway.get("/orders/1").bearer(&world.token()).send().await;
    assert_eq!(good.status, 200, "a good token afterwards");
}

async fn world_with(algorithms: &[&'static str], server: &str) -> World {
    let issuer = TestIssuer::named("https://issuer.test", algorithms);
    World::built(issuer, server, |setup| setup.route(ORDERS)).await
}

#[tokio::test]
async fn every_asymmetric_algorithm_is_accepted() {
    let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        "Ed25519",
    ];
    let world = world_with(&algorithms, "").await;
    let tokens = world.issuer.keys.iter().map(|key| {
        (key.algorithm.to_owned(), world.issuer.token_by(key).scopes("orders:read").sign())
    });
    all_get(&world, 200, tokens).await;
}

#[tokio::test]
async fn rfc8725_2_1_none_is_refused_in_every_spelling() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read");
    let spellings = [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!(""),
        json!(7),
        json!(["ES256"]),
        Value::Null,
    ];
    let tokens = spellings.into_iter().flat_map(|alg| {
        let token = good.clone().header("alg", alg.clone());
        [
            (format!("{alg} without a signature"), token.sign_by(|_| Vec::new())),
            (format!("{alg} with a good signature"), token.sign()),
        ]
    });
    refused(&world, tokens).await;
}

#[tokio::test]
async fn rfc8725_2_1_an_hmac_keyed_with_the_public_key_is_refused() {
    let world = world_with(&["RS256"], "").await;
    let key = &world.issuer.keys[0];
    let good = world.issuer.token().scopes("orders:read").header("alg", "HS256");
    let mut forms = key.public_forms();
    forms.push(("nothing", Vec::new()));
    let tokens: Vec<_> = forms
        .into_iter()
        .map(|(form, secret)| (form.to_owned(), good.sign_by(|input| hmac_sha256(&secret, input))))
        .collect();
    refused(&world, tokens).await;
}

#[tokio::test]
async fn rfc8725_3_1_one_key_serves_one_algorithm() {
    let world = world_with(&["RS256", "PS256", "ES256", "ES384"], "").await;
    let issuer = &world.issuer;
    let id = |algorithm: &str| format!("{algorithm}-1");
    let signed_by = |index: usize, alg: &str, kid: &str| {
        let key = &issuer.keys[index];
        issuer.token_by(key).scopes("orders:read").header("alg", alg).header("kid", kid).sign()
    };
    let tokens = [
        ("an RS256 key says PS256", signed_by(0, "PS256", &id("RS256"))),
        ("a PS256 key says RS256", signed_by(1, "RS256", &id("PS256"))),
        ("RS256 under the kid of PS256", signed_by(0, "RS256", &id("PS256"))),
        ("an ES384 key says ES256", signed_by(3, "ES256", &id("ES384"))),
        ("ES256 under the kid of ES384", signed_by(2, "ES256", &id("ES384"))),
        ("ES256 under the kid of RS256", signed_by(2, "ES256", &id("RS256"))),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
}

#[tokio::test]
async fn an_algorithm_that_is_not_configured_is_refused_though_its_key_fits() {
    let world = world_with(&["RS256", "ES256"], "algorithms = [\"RS256\"]").await;
    let token = world.issuer.token_by(&world.issuer.keys[1]).scopes("orders:read").sign();
    refused(&world, [("ES256".to_owned(), token)]).await;
}

#[tokio::test]
async fn rfc7518_3_4_a_signature_of_another_form_is_refused() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read");
    let key = &world.issuer.keys[0];
    let tokens = [
        ("empty", good.sign_by(|_| Vec::new())),
        ("r and s are zero", good.sign_by(|_| vec![0; 64])),
        ("an octet too few", good.sign_by(|input| key.sign(input)[..63].to_vec())),
        ("an octet too many", good.sign_by(|input| [key.sign(input), vec![0]].concat())),
        ("DER", good.sign_by(|input| der(&key.sign(input)))),
        ("of another text", good.sign_by(|_| key.sign(b"another"))),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
}

/// An ECDSA signature as ASN.1 has it.
fn der(fixed: &[u8]) -> Vec<u8> {
    let number = |half: &[u8]| [&[2, 33, 0], half].concat();
    let body = [number(&fixed[..32]), number(&fixed[32..])].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

#[tokio::test]
async fn rfc8725_3_10_keys_that_a_token_names_are_never_fetched_nor_used() {
    let world = World::orders().await;
    let trap =
        RawBackend::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Then::Close).await;
    let thief = SigningKey::new("ES256", "thief");
    let known = world.issuer.keys[0].id.as_str();
    let by_thief =
        |kid: &str| world.issuer.token_by(&thief).scopes("orders:read").header("kid", kid);
    let url = format!("{}/keys", trap.url());
    let long = "k".repeat(5_000);
    let tokens = [
        ("the kid of a good key", by_thief(known).sign()),
        ("an unknown kid", by_thief("thief").sign()),
        ("a path", by_thief("../../../../dev/null").sign()),
        ("SQL", by_thief("' OR '1'='1").sign()),
        ("a URL", by_thief(&url).sign()),
        ("a long kid", by_thief(&long).sign()),
        ("no string", by_thief("x").header("kid", json!([known])).sign()),
        ("a jwk of its own", by_thief("thief").header("jwk", thief.jwk()).sign()),
        ("a jwk under a good kid", by_thief(known).header("jwk", thief.jwk()).sign()),
        ("jku", by_thief("thief").header("jku", url.as_str()).sign()),
        ("jku under a good kid", by_thief(known).header("jku", url.as_str()).sign()),
        ("x5u", by_thief("thief").header("x5u", url.as_str()).sign()),
        ("x5c", by_thief("thief").header("x5c", json!(["MIIB"])).sign()),
        ("no kid", by_thief("x").header("kid", Value::Null).sign()),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
    assert_eq!(trap.connections(), 0, "somebody fetched keys from where a token says");
    let log = world.gateway.whole_log().await;
    assert!(!log.contains("OR '1'='1") && !log.contains(&long), "a kid stands raw in the log");
}

#[tokio::test]
async fn rfc7515_4_1_4_without_a_kid_the_keys_that_fit_are_tried() {
    let world = world_with(&["RS256", "ES256"], "").await;
    let tokens = world.issuer.keys.iter().map(|key| {
        let token = world.issuer.token_by(key).scopes("orders:read").header("kid", Value::Null);
        (key.algorithm.to_owned(), token.sign())
    });
    all_get(&world, 200, tokens).await;
}

#[tokio::test]
async fn rfc7515_4_1_11_crit_is_understood_or_the_token_refused() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read");
    let crits = [
        json!(["b64"]),
        json!(["exp"]),
        json!(["urn:x"]),
        json!([]),
        json!("exp"),
        json!({}),
        json!([7]),
    ];
    let tokens = crits.into_iter().map(|crit| {
        let token =
            good.clone().header("crit", crit.clone()).header("b64", false).header("urn:x", 1);
        (crit.to_string(), token.sign())
    });
    refused(&world, tokens).await;
}

#[tokio::test]
async fn rfc7515_5_2_what_is_no_compact_jws_is_refused() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read").sign();
    let parts: Vec<_> = good.split('.').collect();
    let sign = |input: &[u8]| world.issuer.keys[0].sign(input);
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"ES256-1"}"#;
    let (mut bad_utf8, exp) = (b"{\"iss\":\"".to_vec(), unix_now() + 300);
    bad_utf8.extend(b"\xff\"}");
    let input = format!("{}.{}", base64url(header), base64url(&bad_utf8));
    let tokens = [
        ("one part", parts[0].to_owned()),
        ("two parts", parts[..2].join(".")),
        ("four parts", [good.as_str(), parts[2]].join(".")),
        ("five parts", format!("{good}.a.b")),
        ("empty parts", "..".to_owned()),
        ("padding", format!("{good}=")),
        ("not JSON", assemble("{\"alg\":", "{}", sign)),
        ("an array", assemble(header, "[]", sign)),
        ("a string", assemble(header, "\"alice\"", sign)),
        (
            "a number out of bounds",
            assemble(header, &format!("{{\"exp\":{exp},\"x\":1e999}}"), sign),
        ),
        ("no UTF-8", format!("{input}.{}", base64url(sign(input.as_bytes())))),
        ("another base64 alphabet", good.replace(['-', '_'], "+") + "+/"),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read");
    let twice = |in_header: bool, member: &str| {
        good.sign_texts(|header, claims| {
            let add = |text: String| text.replacen('{', &format!("{{{member},"), 1);
            if in_header { (add(header), claims) } else { (header, add(claims)) }
        })
    };
    let tokens = [
        ("alg", twice(true, r#""alg":"none""#)),
        ("kid", twice(true, r#""kid":"x""#)),
        ("sub", twice(false, r#""sub":"root""#)),
        ("scope", twice(false, r#""scope":"admin""#)),
        ("exp", twice(false, r#""exp":1"#)),
        ("aud, escaped", twice(false, r#""\u0061ud":"https://x.test""#)),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
}

#[tokio::test]
async fn rfc7515_10_12_deep_and_large_tokens_are_refused_and_nothing_falls() {
    let world = World::orders().await;
    let good = world.issuer.token().scopes("orders:read");
    let deep = |open: &str, close: &str| {
        good.sign_texts(|header, claims| {
            let nest = format!("{{\"x\":{}1{},", open.repeat(1_500), close.repeat(1_500));
            (header, claims.replacen('{', &nest, 1))
        })
    };
    let tokens = [("arrays", deep("[", "]")), ("objects", deep("{\"a\":", "}"))];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
    let large = good.clone().claim("x", "x".repeat(60_000)).sign();
    let response = world.gateway.get("/orders/1").bearer(&large).send().await;
    assert!(matches!(response.status, 400 | 401 | 431), "{}", response.status);
}

#[tokio::test]
async fn rfc9068_4_the_type_is_that_of_an_access_token() {
    let strict = World::orders().await;
    let older = world_with(&["ES256"], "token_types = [\"at+jwt\", \"JWT\"]").await;
    #[rustfmt::skip]
    let cases = [
        (json!("at+jwt"), 200, 200), (json!("at+JWT"), 200, 200), (json!("application/at+jwt"), 200, 200),
        (json!("JWT"), 401, 200), (json!("jwt"), 401, 200), (Value::Null, 401, 200),
        (json!("dpop+jwt"), 401, 401), (json!("logout+jwt"), 401, 401), (json!("secevent+jwt"), 401, 401),
        (json!("token-introspection+jwt"), 401, 401), (json!(7), 401, 401), (json!(""), 401, 401),
    ];
    for (typ, by_default, when_older) in cases {
        for (world, status) in [(&strict, by_default), (&older, when_older)] {
            let token =
                world.issuer.token().scopes("orders:read").header("typ", typ.clone()).sign();
            all_get(world, status, [(typ.to_string(), token)]).await;
        }
    }
    let token = strict.issuer.token().scopes("orders:read").header("typ", "JWT").sign();
    let response = strict.gateway.get("/orders/1").bearer(&token).send().await;
    assert!(response.text().contains("typ"), "the refusal says what is wrong: {}", response.text());
}

#[tokio::test]
async fn rfc8725_2_8_id_and_refresh_tokens_are_refused_with_the_switch_too() {
    let world = world_with(&["ES256"], "token_types = [\"at+jwt\", \"JWT\"]").await;
    let good = world.issuer.token().scopes("orders:read").header("typ", "JWT");
    let tokens = [
        ("at_hash", good.clone().claim("at_hash", "abc").sign()),
        ("c_hash", good.clone().claim("c_hash", "abc").sign()),
        ("typ ID", good.clone().claim("typ", "ID").sign()),
        ("typ Refresh", good.clone().claim("typ", "Refresh").sign()),
    ];
    refused(&world, tokens.map(|(claim, token)| (claim.to_owned(), token))).await;
}

#[tokio::test]
async fn rfc9068_4_the_issuer_is_compared_letter_by_letter() {
    let world = World::orders().await;
    let names = [
        "https://issuer.test/",
        "https://ISSUER.test",
        "HTTPS://issuer.test",
        "https://issuer.test:443",
        "https://issuer.tes%74",
        "https://issuer.test.evil",
        "https://issuer",
        "",
        " https://issuer.test",
    ];
    let good = world.issuer.token().scopes("orders:read");
    let mut tokens: Vec<_> = names
        .iter()
        .map(|name| ((*name).to_owned(), good.clone().claim("iss", *name).sign()))
        .collect();
    tokens.push(("absent".to_owned(), good.clone().claim("iss", Value::Null).sign()));
    tokens.push(("a list".to_owned(), good.claim("iss", json!(["https://issuer.test"])).sign()));
    refused(&world, tokens).await;
}

#[tokio::test]
async fn rfc7519_4_1_times_are_held_against_the_clock_with_its_skew() {
    let world = world_with(&["ES256"], "clock_skew = \"10s\"").await;
    let now = unix_now();
    #[rustfmt::skip]
    let cases = [
        ("exp just past, within the skew",  "exp", json!(now - 2),              200),
        ("exp past the skew",               "exp", json!(now - 11),             401),
        ("exp with a fraction",             "exp", json!(now as f64 + 100.5),   200),
        ("exp as a string",                 "exp", json!((now + 100).to_string()), 401),
        ("no exp",                          "exp", Value::Null,                 401),
        ("exp far below zero",              "exp", json!(-1e18),                401),
        ("exp in a far future",             "exp", json!(1e15),                 200),
        ("nbf ahead, within the skew",      "nbf", json!(now + 5),              200),
        ("nbf ahead of the skew",           "nbf", json!(now + 60),             401),
        ("nbf as a string",                 "nbf", json!("1"),                  401),
        ("iat ahead, within the skew",      "iat", json!(now + 5),              200),
        ("iat ahead has no such power",     "iat", json!(now + 3600),           200),
        ("no jti",                          "jti", Value::Null,                 200),
        ("no sub",                          "sub", Value::Null,                 200),
    ];
    for (claim, name, value, status) in cases {
        let token = world.issuer.token().scopes("orders:read").claim(name, value).sign();
        all_get(&world, status, [(claim.to_owned(), token)]).await;
    }
}

#[tokio::test]
async fn rfc7519_4_1_6_a_token_from_the_future_is_accepted_and_counted_once() {
    let world = world_with(&["ES256"], "clock_skew = \"10s\"").await;
    let counted = async || {
        let labels = [("server", "main")];
        world.gateway.metric("scopegate_tokens_from_the_future_total", &labels).await
    };
    let issued = |ahead_s: i64, scopes: &str| {
        let token = world.issuer.token().scopes(scopes).claim("iat", json!(unix_now() + ahead_s));
        token.sign()
    };
    let ahead = issued(3600, "orders:read");
    for _ in 0..3 {
        all_get(&world, 200, [("an hour ahead".to_owned(), ahead.clone())]).await;
    }
    assert_eq!(counted().await, 1.0, "when it is judged, and not when a cache knows it");
    all_get(&world, 200, [("within the skew".to_owned(), issued(5, "orders:read"))]).await;
    let mut unsigned = issued(3600, "orders:read");
    unsigned.truncate(unsigned.len() - 4);
    all_get(&world, 401, [("nobody vouches for its iat".to_owned(), unsigned)]).await;
    assert_eq!(counted().await, 1.0);
    all_get(&world, 200, [("another".to_owned(), issued(60, "orders:read"))]).await;
    assert_eq!(counted().await, 2.0);
}

#[tokio::test]
async fn a_cached_token_ends_with_its_exp() {
    let world = world_with(&["ES256"], "clock_skew = \"0s\"").await;
    let token = world.issuer.token().scopes("orders:read").ttl(2).sign();
    all_get(&world, 200, [("fresh".to_owned(), token.clone())]).await;
    crate::harness::eventually("the token's end", async || {
        let response = world.gateway.get("/orders/1").bearer(&token).send().await;
        (response.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rfc8725_3_3_one_changed_bit_of_a_cached_token_is_refused() {
    let world = World::orders().await;
    let token = world.token();
    all_get(&world, 200, [("itself".to_owned(), token.clone())]).await;
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let last = |part: &str, flip: u8| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (rest, end) = part.split_at(part.len() - 1);
        let at = alphabet.iter().position(|byte| *byte == end.as_bytes()[0]).unwrap();
        format!("{rest}{}", char::from(alphabet[at ^ usize::from(flip)]))
    };
    let mut changed = Vec::new();
    for (index, name) in ["header", "claims", "signature"].iter().enumerate() {
        for flip in [1, 2, 16] {
            let mut parts = parts.clone();
            parts[index] = last(&parts[index], flip);
            changed.push((format!("{name}, bit {flip} of the last letter"), parts.join(".")));
        }
    }
    let before = world.upstream.count();
    all_get(&world, 401, changed).await;
    assert_eq!(world.upstream.count(), before);
}

#[tokio::test]
async fn rfc8725_3_3_what_a_forged_token_claims_is_logged_by_nobody() {
    let world = World::built(TestIssuer::new(), "", |setup| {
        setup.table("[log]\nlevel = \"debug\"").route(ORDERS)
    })
    .await;
    let token = world.issuer.token().scopes("orders:read mallorys");
    let forged = token.claim("sub", "mallorys").claim("client_id", "mallorys");
    all_get(&world, 401, [("forged".to_owned(), forged.sign_by(|_| vec![7; 64]))]).await;
    let log = world.gateway.whole_log().await;
    assert!(log.contains("token_signature"), "{log}");
    assert!(!log.contains("mallorys"), "{log}");
}

#[tokio::test]
async fn rfc8725_3_8_two_servers_never_vouch_for_each_other() {
    let (one, two) = (TestIssuer::new(), TestIssuer::named("https://second.test", &["ES256"]));
    let upstream = Backend::start().await;
    let gateway = Setup::new()
        .issuer("one", &one, "")
        .issuer("two", &two, "")
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/both", access = { scopes = ["a"] }"#)
        .route(r#"path = "/one", access = { scopes = ["a"] }, authorization_servers = ["one"]"#)
        .start()
        .await;
    let ours = one.token().scopes("a").sign();
    let theirs = two.token().scopes("a").sign();
    let forged = one.token_by(&two.keys[0]).scopes("a").sign();
    #[rustfmt::skip]
    let cases = [
        ("/both", &ours, 200), ("/both", &theirs, 200), ("/both", &forged, 401),
        ("/one", &ours, 200), ("/one", &theirs, 401), ("/one", &forged, 401),
    ];
    for (path, token, status) in cases {
        assert_eq!(gateway.get(path).bearer(token).send().await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_good_token_a_thousand_times_is_one_signature_check() {
    let world = Arc::new(World::orders().await);
    let token = world.token();
    let client = world.gateway.http2().await;
    let bearer = format!("Bearer {token}");
    for _ in 0..200 {
        let response = client.get("/orders/1", &[("authorization", &bearer)]).await;
        assert_eq!(response.status, 200);
    }
    let checks =
        world.gateway.metric("scopegate_signature_checks_total", &[("server", "main")]).await;
    assert_eq!(checks, 1.0, "audience {AUDIENCE}");
}

#[tokio::test]
async fn rfc8693_4_1_what_a_nested_actor_claims_opens_nothing() {
    let world = World::with(&[
        ORDERS,
        r#"path = "/it", access = { claims = { department = ["it"] } }"#,
        r#"path = "/id", access = { scopes = ["a"] }, identity_headers = { "x-subject" = "sub" }"#,
    ])
    .await;
    let inner = json!({ "sub": "root", "scope": "orders:read", "department": "it",
        "aud": AUDIENCE, "act": { "sub": "deeper", "department": "it" } });
    let token = world.issuer.token().scopes("a").claim("act", inner).sign();
    for (path, status) in [("/orders/1", 403), ("/it", 403), ("/id", 200)] {
        assert_eq!(world.gateway.get(path).bearer(&token).send().await.status, status, "{path}");
    }
    assert_eq!(world.upstream.last().header("x-subject"), Some("alice"));
}

#[tokio::test]
async fn rfc8725_2_8_an_id_token_is_refused_where_the_audience_is_its_client_too() {
    let world = Arc::new(
        World::built(TestIssuer::new(), "token_types = [\"at+jwt\", \"JWT\"]", |setup| {
            setup.route(r#"path = "/app", access = { scopes = ["a"] }, audiences = ["app"]"#)
        })
        .await,
    );
    let token = || world.issuer.token().scopes("a").header("typ", "JWT").claim("aud", "app");
    let get = async |token: String| world.gateway.get("/app").bearer(&token).send().await.status;
    assert_eq!(get(token().sign()).await, 200, "an access token for that audience");
    assert_eq!(get(token().claim("at_hash", "abc").sign()).await, 401);
    assert_eq!(get(token().claim("c_hash", "abc").sign()).await, 401);
    assert_eq!(get(token().claim("typ", "ID").sign()).await, 401);
}

#[tokio::test]
async fn rfc7515_5_2_a_jws_in_json_is_no_bearer_token() {
    let world = World::orders().await;
    let token = world.token();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let flat = json!({ "protected": header, "payload": claims, "signature": signature });
    let general = json!({ "payload": claims, "signatures": [{ "protected": header, "signature": signature }] });
    for json in [flat.to_string(), general.to_string()] {
        let response = world.gateway.get("/orders/1").bearer(&json).send().await;
        assert!(matches!(response.status, 400 | 401), "{json}: {}", response.status);
    }
    let blank = token.replacen('.', " .", 1);
    assert_eq!(world.gateway.get("/orders/1").bearer(&blank).send().await.status, 400);
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn rfc7518_3_2_a_mac_is_taken_with_the_shared_secret_and_no_other() {
    let issuer = TestIssuer::named("https://issuer.test", &["ES256", "RS256"]);
    let secret = "a-secret-of-thirty-two-bytes-or-more";
    let server = "algorithms = [\"ES256\", \"RS256\", \"HS256\"]\nshared_secret = { file = \"secrets/shared\" }";
    let world =
        World::built(issuer, server, |setup| setup.secret("shared", secret).route(ORDERS)).await;
    let good = world.issuer.token().scopes("orders:read").header("alg", "HS256");
    let good = good.header("kid", Value::Null);
    let signed = |key: &[u8]| good.sign_by(|input| hmac_sha256(key, input));
    all_get(&world, 200, [("the secret".to_owned(), signed(secret.as_bytes()))]).await;
    all_get(&world, 401, [("another".to_owned(), signed(b"another-secret-of-thirty-two-bytes!"))])
        .await;
    for (form, key) in world.issuer.keys[1].public_forms() {
        all_get(&world, 401, [(form.to_owned(), signed(&key))]).await;
    }
}
