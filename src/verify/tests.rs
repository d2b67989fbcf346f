//! The room as a whole, against authorization servers on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::jwks::Fetch;
use super::testing::{SigningKey, introspection, settings};
use super::*;
use crate::base::secret::Secret;
use crate::base::time;
use crate::config::{
    self, AuthorizationServer, Introspect, Introspection, KeySource, OnUnavailable,
};
use crate::oauth::{
    Algorithm, Audiences, ClientId, MacAlgorithm, ScopeSet, SignatureAlgorithm, TokenKind,
};
use crate::outbound::testing::{FakeServer, Reply};
use crate::reject::{OutageCause, RetryAfter};
use crate::telemetry::Metrics;

/// An authorization server whose answers a test changes as it goes.
struct Issuer {
    server: FakeServer,
    script: Arc<Script>,
}

struct Script {
    base: Mutex<String>,
    jwks: Mutex<Reply>,
    introspection: Mutex<Reply>,
}

impl Issuer {
    async fn start() -> Self {
        let script = Arc::new(Script {
            base: Mutex::default(),
            jwks: Mutex::new(Reply::json(r#"{"keys":[]}"#)),
            introspection: Mutex::new(Reply::new(500)),
        });
        let answers = Arc::clone(&script);
        let server = FakeServer::start(move |seen| match seen.target.as_str() {
            "/.well-known/openid-configuration" => {
                let base = answers.base.lock().unwrap().clone();
                let metadata = json!({
                    "issuer": base, "jwks_uri": format!("{base}/jwks"),
                    "introspection_endpoint": format!("{base}/introspect"),
                    "token_endpoint": format!("{base}/token"),
                });
                Reply::json(&metadata.to_string())
            }
            "/jwks" => answers.jwks.lock().unwrap().clone(),
            "/introspect" => answers.introspection.lock().unwrap().clone(),
            _ => Reply::new(404),
        })
        .await;
        let url = server.url("").to_string();
        script.base.lock().unwrap().push_str(url.trim_end_matches('/'));
        Self { server, script }
    }

    fn name(&self) -> String {
        self.script.base.lock().unwrap().clone()
    }

    fn settings(&self) -> AuthorizationServer {
        settings(&self.name())
    }

    fn publish(&self, keys: &[(&SigningKey, &str)]) {
        let keys: Vec<Value> = keys.iter().map(|(key, id)| key.jwk(id)).collect();
        self.answer_jwks(Reply::json(&json!({ "keys": keys }).to_string()));
    }

    fn answer_jwks(&self, reply: Reply) {
        *self.script.jwks.lock().unwrap() = reply;
    }

    fn answer(&self, reply: Reply) {
        *self.script.introspection.lock().unwrap() = reply;
    }

    fn calls(&self, target: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.target == target).count()
    }

    fn claims(&self) -> Value {
        let exp = time::now().unix.get() + 600;
        json!({
            "iss": self.name(), "aud": "api", "exp": exp, "sub": "u", "scope": "read",
            "client_id": "c",
        })
    }
}

fn shared() -> Shared {
    let bounds =
        config::Caches { tokens: 1000, negative: 1000, basic: 1000, exchanged: 1000, signed: 1000 };
    Shared {
        runtime: tokio::runtime::Handle::current(),
        metrics: Arc::new(Metrics::new()),
        caches: Arc::new(TokenCaches::new(&bounds)),
        proofs: Arc::default(),
    }
}

fn start(settings: AuthorizationServer, shared: &Shared) -> Arc<Server> {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let id = LAST.fetch_add(1, Ordering::Relaxed);
    Server::start(ServerId::new(u32::try_from(id).unwrap()), settings, shared).unwrap()
}

fn verifier(server: &Arc<Server>, shared: &Shared) -> Verifier {
    let opaque = server.settings().introspection.is_some().then(|| Arc::clone(server));
    Verifier::new(vec![Arc::clone(server)], opaque, Arc::clone(&shared.caches))
}

/// A server that introspects, and what judges by it.
async fn asking(
    change: impl FnOnce(&mut Introspection),
) -> (Issuer, Arc<Server>, Verifier, Shared) {
    let issuer = Issuer::start().await;
    let mut introspection = introspection();
    change(&mut introspection);
    let settings = AuthorizationServer { introspection: Some(introspection), ..issuer.settings() };
    let shared = shared();
    let server = start(settings, &shared);
    let verifier = verifier(&server, &shared);
    (issuer, server, verifier, shared)
}

/// A server with one ES256 key, named `k`.
async fn signing() -> (Issuer, SigningKey, Arc<Server>, Verifier, Shared) {
    let issuer = Issuer::start().await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    issuer.publish(&[(&key, "k")]);
    let shared = shared();
    let server = start(issuer.settings(), &shared);
    let verifier = verifier(&server, &shared);
    (issuer, key, server, verifier, shared)
}

async fn refresh(server: &Arc<Server>) {
    let mut running = server.fetch_once(Fetch::All);
    running.wait_for(Option::is_some).await.unwrap();
}

fn later(now: Now, seconds: u64) -> Now {
    let by = Duration::from_secs(seconds);
    Now { unix: now.unix.plus(by), instant: now.instant + by }
}

async fn reason(verifier: &Verifier, token: &str, now: Now) -> &'static str {
    match verifier.verify(RawToken::new(token), now).await {
        Ok(_) => "ok",
        Err(rejection) => rejection.reason(),
    }
}

const OPAQUE: &str = "mF_9.B5f-4.1JqM";

fn active(more: &Value) -> Reply {
    let mut answer = json!({"active": true, "aud": "api", "scope": "read", "client_id": "c"});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::json(&answer.to_string())
}

#[tokio::test]
async fn one_line_per_issuer_finds_keys_and_endpoints() {
    let (issuer, key, server, verifier, _) = signing().await;
    let now = time::now();
    let token = key.token("k", &issuer.claims());
    let verified = verifier.verify(RawToken::new(&token), now).await.unwrap();
    assert_eq!(verified.kind, TokenKind::Jwt);
    assert_eq!(verified.scopes().to_string(), "read");
    assert_eq!(server.token_endpoint(), Some(issuer.server.url("/token")));
    assert!(server.is_ready());
    let status = serde_json::to_value(server.status()).unwrap();
    assert_eq!(status["keys"][0]["id"], "k");
    assert_eq!(status["keys"][0]["algorithms"], json!(["ES256"]));
    assert_eq!(status["last_error"], Value::Null);
}

#[tokio::test]
async fn a_token_seen_before_costs_no_signature_check_and_is_judged_by_the_clock_again() {
    let (issuer, key, server, verifier, _) = signing().await;
    let now = time::now();
    let mut claims = issuer.claims();
    claims["exp"] = json!(now.unix.get() + 60);
    let token = key.token("k", &claims);
    let first = verifier.verify(RawToken::new(&token), now).await.unwrap();
    for second in [0, 1, 89] {
        match verifier.recall(RawToken::new(&token), later(now, second)) {
            Recall::Hit(known) => assert_eq!(first, known),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.metrics().signature_checks.get(), 1);
    assert_eq!(reason(&verifier, &token, later(now, 90)).await, "token_expired");
    let mut tampered = token.into_bytes();
    let at = tampered.len() - 10;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    assert_eq!(reason(&verifier, &tampered, now).await, "token_signature");
    assert_eq!(reason(&verifier, &tampered, now).await, "token_signature");
    assert_eq!(server.metrics().signature_checks.get(), 2, "a bad token sent again is cheap");
}

#[tokio::test]
async fn invariant_3_a_cached_verdict_ends_with_its_key() {
    let (issuer, key, server, verifier, _) = signing().await;
    let other = SigningKey::generate(SignatureAlgorithm::Es256);
    let now = time::now();
    let token = key.token("k", &issuer.claims());
    assert_eq!(reason(&verifier, &token, now).await, "ok");
    issuer.publish(&[(&other, "k2"), (&key, "k")]);
    refresh(&server).await;
    assert!(matches!(verifier.recall(RawToken::new(&token), now), Recall::Hit(_)));
    issuer.publish(&[(&other, "k2")]);
    refresh(&server).await;
    assert!(matches!(verifier.recall(RawToken::new(&token), now), Recall::Miss(_)));
    assert_eq!(reason(&verifier, &token, now).await, "token_key_unknown");
    issuer.publish(&[(&other, "k")]);
    refresh(&server).await;
    assert_eq!(reason(&verifier, &token, now).await, "token_signature", "another key, same kid");
}

#[tokio::test]
async fn invariant_3_a_cached_verdict_ends_with_the_settings_of_its_server() {
    let (issuer, key, _server, verifier, shared) = signing().await;
    let now = time::now();
    let token = key.token("k", &issuer.claims());
    assert_eq!(reason(&verifier, &token, now).await, "ok");
    let stricter = AuthorizationServer {
        algorithms: vec![Algorithm::Signature(SignatureAlgorithm::Rs256)],
        ..issuer.settings()
    };
    let reloaded = super::tests::verifier(&start(stricter, &shared), &shared);
    assert!(matches!(reloaded.recall(RawToken::new(&token), now), Recall::Miss(_)));
    assert_eq!(reason(&reloaded, &token, now).await, "token_algorithm");
}

#[tokio::test]
async fn invariant_3_a_cached_answer_ends_at_exp_and_at_the_cap_and_no_hit_moves_that() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    let now = time::now();
    issuer.answer(active(&json!({})));
    for (second, calls) in [(0, 1), (30, 1), (59, 1), (60, 2), (119, 2), (120, 3)] {
        assert_eq!(reason(&verifier, OPAQUE, later(now, second)).await, "ok");
        assert_eq!(issuer.calls("/introspect"), calls, "at {second}");
    }
    issuer.answer(active(&json!({"exp": now.unix.get() + 20})));
    let before = issuer.calls("/introspect");
    for (second, calls) in [(0, 1), (19, 1), (20, 2)] {
        reason(&verifier, "another", later(now, second)).await;
        assert_eq!(issuer.calls("/introspect") - before, calls, "at {second}");
    }
}

#[tokio::test]
async fn invariant_4_a_verdict_is_about_the_token_alone() {
    let (issuer, key, server, one_route, shared) = signing().await;
    let other_route = verifier(&server, &shared);
    let now = time::now();
    let token = key.token("k", &issuer.claims());
    let first = one_route.verify(RawToken::new(&token), now).await.unwrap();
    let second = other_route.verify(RawToken::new(&token), now).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "one cache for all routes and workers");
    assert_eq!(second.scopes().to_string(), "read", "what it carries, and nothing else");
    let Audiences::Named(named) = &second.audiences else { panic!("named") };
    assert_eq!(named.len(), 1);
}

#[tokio::test]
async fn invariant_5_a_server_that_cannot_be_asked_is_503_and_nothing_is_kept() {
    let (issuer, _server, verifier, shared) = asking(|_| {}).await;
    let now = time::now();
    for (reply, expected) in [
        (Reply::new(500), "verifier_status"),
        (Reply::new(429), "verifier_status"),
        (Reply::json("<html>"), "verifier_unusable"),
        (Reply::json(r#"{"active":"true"}"#), "verifier_unusable"),
        (Reply::json(&"x".repeat(70_000)), "verifier_unusable"),
        (Reply::new(302).header("location", "/elsewhere"), "verifier_unusable"),
        (Reply::new(401), "verifier_refused_our_client"),
        (Reply::new(403), "verifier_refused_our_client"),
    ] {
        issuer.answer(reply);
        assert_eq!(reason(&verifier, OPAQUE, now).await, expected);
    }
    issuer.answer(Reply::new(503).header("retry-after", "17"));
    let refused = verifier.verify(RawToken::new(OPAQUE), now).await.unwrap_err();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.retry_after().map(RetryAfter::seconds), Some(17));
    let status = shared.caches.status();
    assert_eq!((status.tokens.entries, status.negative.entries), (0, 0));
    issuer.answer(active(&json!({})));
    assert_eq!(reason(&verifier, OPAQUE, now).await, "ok");
}

#[tokio::test]
async fn invariant_5_without_keys_no_token_is_judged() {
    let issuer = Issuer::start().await;
    issuer.answer_jwks(Reply::new(500));
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    let shared = shared();
    let server = start(issuer.settings(), &shared);
    let verifier = verifier(&server, &shared);
    let token = key.token("k", &issuer.claims());
    assert_eq!(reason(&verifier, &token, time::now()).await, "verifier_status");
    assert_eq!(reason(&verifier, &token, time::now()).await, "verifier_no_keys");
    assert!(!server.is_ready());
    assert_eq!(server.status().last_error.as_deref(), Some("status 500"));
    issuer.publish(&[(&key, "k")]);
    refresh(&server).await;
    assert_eq!(reason(&verifier, &token, time::now()).await, "ok");
    assert!(server.is_ready());
}

#[tokio::test]
async fn the_first_requests_wait_for_the_first_fetch_and_for_one_alone() {
    let issuer = Issuer::start().await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    issuer.publish(&[(&key, "k")]);
    issuer.server.hold();
    let shared = shared();
    let verifier = Arc::new(verifier(&start(issuer.settings(), &shared), &shared));
    let token: Arc<str> = key.token("k", &issuer.claims()).into();
    let asked = together(100, &verifier, |_| Arc::clone(&token));
    issuer.server.wait_for(1).await;
    issuer.server.release();
    for outcome in asked.await {
        assert_eq!(outcome, "ok");
    }
    assert_eq!(issuer.calls("/jwks"), 1);
}

/// So many requests at once, and what became of them.
fn together(
    count: usize,
    verifier: &Arc<Verifier>,
    token: impl Fn(usize) -> Arc<str>,
) -> impl Future<Output = Vec<&'static str>> {
    let now = time::now();
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (verifier, token) = (Arc::clone(verifier), token(number));
            tokio::spawn(async move { reason(&verifier, &token, now).await })
        })
        .collect();
    async {
        let mut outcomes = vec![];
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        outcomes
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_6_an_unseen_token_in_a_thousand_requests_is_one_call() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    issuer.answer(active(&json!({})));
    let verifier = Arc::new(verifier);
    let outcomes = together(1000, &verifier, |_| OPAQUE.into()).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "ok"));
    assert_eq!(issuer.calls("/introspect"), 1);
    issuer.answer(Reply::json(r#"{"active":false}"#));
    let outcomes = together(1000, &verifier, |_| "bad".into()).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "token_inactive"));
    assert_eq!(issuer.calls("/introspect"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_6_a_thousand_unknown_kids_are_one_fetch_per_cool_down() {
    let (issuer, key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let verifier = Arc::new(verifier);
    let before = issuer.calls("/jwks");
    let tokens: Vec<Arc<str>> = (0..1000)
        .map(|number| key.token(&format!("unknown{number}"), &issuer.claims()).into())
        .collect();
    let outcomes = together(1000, &verifier, |number| Arc::clone(&tokens[number])).await;
    assert!(outcomes.iter().all(|outcome| *outcome == "token_key_unknown"));
    assert_eq!(issuer.calls("/jwks") - before, 1);
    assert_eq!(reason(&verifier, &tokens[0], later(time::now(), 31)).await, "token_key_unknown");
    assert_eq!(issuer.calls("/jwks") - before, 2, "and the next one after it");
}

#[tokio::test]
async fn the_first_token_of_a_rotated_key_passes() {
    let (issuer, key, _server, verifier, _) = signing().await;
    let now = time::now();
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
    let next = SigningKey::generate(SignatureAlgorithm::EdDsa);
    issuer.publish(&[(&key, "k"), (&next, "next")]);
    assert_eq!(reason(&verifier, &next.token("next", &issuer.claims()), now).await, "ok");
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
}

#[tokio::test]
async fn an_unknown_kid_while_the_keys_cannot_be_fetched_is_503_by_attempts() {
    let (issuer, key, server, verifier, _) = signing().await;
    refresh(&server).await;
    issuer.answer_jwks(Reply::new(503));
    let now = time::now();
    let before = issuer.calls("/jwks");
    for number in 0..5 {
        let token = key.token(&format!("unknown{number}"), &issuer.claims());
        assert_eq!(reason(&verifier, &token, now).await, "verifier_status");
    }
    assert_eq!(issuer.calls("/jwks") - before, 1);
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
}

#[tokio::test]
async fn old_keys_serve_until_max_stale_whatever_the_refresh_brings() {
    let (issuer, key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let now = time::now();
    for reply in [
        Reply::new(500),
        Reply::new(404),
        Reply::new(301).header("location", "/jwks2"),
        Reply::json("<html>"),
        Reply::json("{}"),
        Reply::json(&"x".repeat(70_000)),
    ] {
        issuer.answer_jwks(reply);
        refresh(&server).await;
        assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
    }
    let token = key.token("k", &issuer.claims());
    assert_eq!(reason(&verifier, &token, now).await, "ok");
    let stale = Now { unix: now.unix, ..later(now, 86_400) };
    assert_eq!(reason(&verifier, &token, stale).await, "verifier_no_keys", "verdicts too");
}

#[tokio::test]
async fn a_look_up_never_waits_while_keys_are_held() {
    let (issuer, key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let seen = issuer.server.seen().len();
    issuer.server.hold();
    let _running = server.fetch_once(Fetch::All);
    issuer.server.wait_for(seen + 1).await;
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), time::now()).await, "ok");
    issuer.server.release();
}

#[tokio::test]
async fn rfc8725_3_8_iss_picks_the_server_and_its_keys_alone_count() {
    let (a, b) = (Issuer::start().await, Issuer::start().await);
    let [key_a, key_b] = [(); 2].map(|()| SigningKey::generate(SignatureAlgorithm::Es256));
    a.publish(&[(&key_a, "k")]);
    b.publish(&[(&key_b, "k")]);
    let shared = shared();
    let servers = [a.settings(), b.settings()].map(|settings| start(settings, &shared));
    let verifier = Verifier::new(servers.to_vec(), None, Arc::clone(&shared.caches));
    let now = time::now();
    let mut slash = a.claims();
    slash["iss"] = json!(format!("{}/", a.name()));
    let mut nobody = a.claims();
    nobody.as_object_mut().unwrap().remove("iss");
    for (claim, key, claims, expected) in [
        ("the same kid at two issuers", &key_a, a.claims(), "ok"),
        ("works for both", &key_b, b.claims(), "ok"),
        ("a key of A under the name of B", &key_a, b.claims(), "token_signature"),
        ("a slash more", &key_a, slash, "token_issuer"),
        ("no issuer", &key_a, nobody, "token_issuer"),
    ] {
        assert_eq!(reason(&verifier, &key.token("k", &claims), now).await, expected, "{claim}");
    }
    let only_b = Verifier::new(vec![Arc::clone(&servers[1])], None, Arc::clone(&shared.caches));
    let warm = key_a.token("k", &a.claims());
    assert_eq!(reason(&verifier, &warm, now).await, "ok");
    assert_eq!(reason(&only_b, &warm, now).await, "token_issuer", "though another route knows it");
}

#[tokio::test]
async fn one_dead_key_server_leaves_the_others_alone() {
    let (issuer, key, server, _, shared) = signing().await;
    let dead = AuthorizationServer {
        name: "dead".into(),
        keys: KeySource::Uri("http://127.0.0.1:1/jwks".parse().unwrap()),
        ..settings("https://dead.test")
    };
    let dead = start(dead, &shared);
    let both = Verifier::new(vec![dead, server], None, Arc::clone(&shared.caches));
    let now = time::now();
    let mut claims = issuer.claims();
    assert_eq!(reason(&both, &key.token("k", &claims), now).await, "ok");
    claims["iss"] = json!("https://dead.test");
    let refused = both.verify(RawToken::new(&key.token("k", &claims)), now).await.unwrap_err();
    assert_eq!(refused.status(), 503);
}

#[tokio::test]
async fn rfc8725_2_1_a_public_key_is_no_mac_secret() {
    let rsa = SigningKey::generate(SignatureAlgorithm::Rs256);
    let jwks = json!({"keys": [rsa.jwk("k")]}).to_string();
    let keys = KeySource::File("keys.json".into(), jwks.clone().into_bytes().into());
    let secret = "a secret of sixty-four bytes, which HS512 needs, and then some more";
    let mac = Algorithm::Mac(MacAlgorithm::Hs256);
    let public = AuthorizationServer { keys: keys.clone(), ..settings("https://as.test") };
    let listed = AuthorizationServer {
        algorithms: vec![mac, Algorithm::Signature(SignatureAlgorithm::Rs256)],
        ..public.clone()
    };
    let symmetric = AuthorizationServer {
        algorithms: vec![mac],
        shared_secret: Some(Secret::new(secret)),
        ..public.clone()
    };
    let now = time::now();
    let claims = json!({"iss": "https://as.test", "exp": now.unix.get() + 60, "aud": "api"});
    let token = |secret: &[u8]| {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": "k"});
        let signed = [&header, &claims].map(|part| base64url::encode(part.to_string())).join(".");
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let code = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", base64url::encode(code))
    };
    let shared = shared();
    let judge = async |settings: &AuthorizationServer, token: &str| {
        let server = start(settings.clone(), &shared);
        reason(&verifier(&server, &shared), token, now).await
    };
    for forged in [rsa.id(), jwks.into_bytes(), b"k".to_vec(), vec![]] {
        assert_eq!(judge(&public, &token(&forged)).await, "token_algorithm");
        assert_eq!(judge(&listed, &token(&forged)).await, "token_algorithm");
        assert_eq!(judge(&symmetric, &token(&forged)).await, "token_signature");
    }
    assert_eq!(judge(&symmetric, &token(secret.as_bytes())).await, "ok");
    assert_eq!(judge(&public, &rsa.token("k", &claims)).await, "ok", "a file needs no network");
    assert_eq!(judge(&symmetric, &rsa.token("k", &claims)).await, "token_algorithm");
}

#[tokio::test]
async fn rfc8725_3_10_the_header_opens_no_connection_and_kid_builds_no_path() {
    let (issuer, key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let trap = FakeServer::start(|_| Reply::json(r#"{"keys":[]}"#)).await;
    let evil = SigningKey::generate(SignatureAlgorithm::Es256);
    let url = trap.url("/jwks").to_string();
    let header = json!({
        "alg": "ES256", "typ": "at+jwt", "kid": "k", "jku": url, "x5u": url,
        "jwk": evil.jwk("k"), "x5c": ["AAAA"],
    });
    let now = time::now();
    let forged = evil.token_with(&header, &issuer.claims());
    assert_eq!(reason(&verifier, &forged, now).await, "token_signature");
    assert_eq!(reason(&verifier, &key.token_with(&header, &issuer.claims()), now).await, "ok");
    for id in ["../../etc/passwd", "' or 1=1", &"k".repeat(9000), &url] {
        let token = key.token(id, &issuer.claims());
        assert_eq!(reason(&verifier, &token, now).await, "token_key_unknown", "{id}");
    }
    assert_eq!(trap.seen().len(), 0);
    let paths = ["/jwks", "/.well-known/openid-configuration"];
    let others = ["/.well-known/oauth-authorization-server"];
    for seen in issuer.server.seen() {
        assert!(paths.contains(&&*seen.target) || others.contains(&&*seen.target), "{seen:?}");
    }
}

#[tokio::test]
async fn rfc8725_3_3_a_bad_signature_is_refused_before_any_claim_is_looked_at() {
    let (issuer, _key, _server, verifier, _) = signing().await;
    let evil = SigningKey::generate(SignatureAlgorithm::Es256);
    let mut claims = issuer.claims();
    claims["exp"] = json!(1);
    claims["nonce"] = json!("n");
    assert_eq!(reason(&verifier, &evil.token("k", &claims), time::now()).await, "token_signature");
}

#[tokio::test]
async fn what_old_keys_refused_does_not_count_once_a_refresh_has_come_in_between() {
    let (issuer, key, server, verifier, _) = signing().await;
    let now = time::now();
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
    let new = SigningKey::generate(SignatureAlgorithm::Es256);
    let token = new.token("k", &issuer.claims());
    let (before, digest) = (server.peek_keys().version, RawToken::new(&token).digest());
    // The check by the old keys has just failed when the new ones come.
    issuer.publish(&[(&new, "k")]);
    refresh(&server).await;
    let refused = Rejection::TokenInvalid(InvalidToken::Signature);
    server.remember_bad(digest, &refused, before, now);
    assert_eq!(reason(&verifier, &token, now).await, "ok");
    let bad = RawToken::new("e.a.b");
    server.remember_bad(bad.digest(), &refused, server.peek_keys().version, now);
    assert!(matches!(verifier.recall(bad, now), Recall::Refused(_)), "by the keys that are held");
}

#[tokio::test]
async fn rfc8414_3_3_metadata_of_another_issuer_is_not_used() {
    let issuer = Issuer::start().await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    issuer.publish(&[(&key, "k")]);
    let asked = settings(&format!("{}/", issuer.name()));
    let shared = shared();
    let server = start(asked, &shared);
    let mut claims = issuer.claims();
    claims["iss"] = json!(format!("{}/", issuer.name()));
    let token = key.token("k", &claims);
    let now = time::now();
    assert_eq!(reason(&verifier(&server, &shared), &token, now).await, "verifier_unusable");
    assert!(!server.is_ready());
    assert_eq!(issuer.calls("/jwks"), 0);
}

#[tokio::test]
async fn rfc7662_2_1_the_token_is_posted_as_a_form_by_a_client_that_authenticates() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    issuer.answer(active(&json!({})));
    assert_eq!(reason(&verifier, "a+b/c==", time::now()).await, "ok");
    let seen = issuer.server.seen();
    let seen = seen.iter().find(|seen| seen.target == "/introspect").unwrap();
    assert_eq!(seen.method, "POST");
    assert_eq!(
        seen.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token&tenant=t1",
        "the token, its kind and what the configuration fixes; no scope"
    );
    assert_eq!(seen.header("authorization"), Some("Basic Z2F0ZXdheTpzZWNyZXQ="));
}

#[tokio::test]
async fn a_bad_opaque_token_is_remembered_for_its_time() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    let now = time::now();
    let unsupported = Reply::new(400).body(r#"{"error":"unsupported_token_type"}"#);
    for (token, reply, expected) in [
        ("inactive", Reply::json(r#"{"active":false}"#), "token_inactive"),
        ("unsupported", unsupported, "token_unjudgeable"),
        ("expired", active(&json!({"exp": 1})), "token_expired"),
    ] {
        issuer.answer(reply);
        let before = issuer.calls("/introspect");
        for second in [0, 1, 9] {
            assert_eq!(reason(&verifier, token, later(now, second)).await, expected);
        }
        assert_eq!(issuer.calls("/introspect") - before, 1);
        assert_eq!(reason(&verifier, token, later(now, 10)).await, expected);
        assert_eq!(issuer.calls("/introspect") - before, 2);
    }
}

#[tokio::test]
async fn without_a_cache_each_request_asks_and_sees_each_revocation_at_once() {
    let (issuer, _server, verifier, shared) = asking(|it| it.cache_ttl = Duration::ZERO).await;
    let now = time::now();
    issuer.answer(active(&json!({})));
    assert_eq!(reason(&verifier, OPAQUE, now).await, "ok");
    assert_eq!(reason(&verifier, OPAQUE, now).await, "ok");
    assert_eq!(issuer.calls("/introspect"), 2);
    issuer.answer(Reply::json(r#"{"active":false}"#));
    assert_eq!(reason(&verifier, OPAQUE, now).await, "token_inactive");
    assert_eq!(shared.caches.status().tokens.entries, 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_fails_nobody() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    issuer.answer(active(&json!({})));
    let verifier = Arc::new(verifier);
    assert_eq!(reason(&verifier, "warm-up", time::now()).await, "ok");
    let seen = issuer.server.seen().len();
    issuer.server.hold();
    let (first, now) = (Arc::clone(&verifier), time::now());
    let first = tokio::spawn(async move { reason(&first, OPAQUE, now).await });
    issuer.server.wait_for(seen + 1).await;
    let others = together(10, &verifier, |_| OPAQUE.into());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    issuer.server.release();
    assert!(others.await.iter().all(|outcome| *outcome == "ok"));
    assert_eq!(issuer.calls("/introspect"), 2);
}

#[tokio::test]
async fn a_stale_verdict_serves_only_while_nobody_can_be_asked_and_within_its_bounds() {
    let max_stale = Duration::from_secs(300);
    let stale = OnUnavailable::ServeStale { max_stale };
    let (issuer, _server, verifier, _) = asking(|it| it.on_unavailable = stale).await;
    let now = time::now();
    issuer.answer(active(&json!({})));
    assert_eq!(reason(&verifier, OPAQUE, now).await, "ok");
    issuer.answer(active(&json!({"exp": now.unix.get() + 100})));
    assert_eq!(reason(&verifier, "short", now).await, "ok");
    let calls = issuer.calls("/introspect");
    issuer.answer(Reply::new(503));
    assert_eq!(reason(&verifier, OPAQUE, later(now, 61)).await, "ok");
    assert_eq!(issuer.calls("/introspect") - calls, 1, "it is asked first");
    assert_eq!(reason(&verifier, OPAQUE, later(now, 359)).await, "ok");
    assert_eq!(reason(&verifier, OPAQUE, later(now, 360)).await, "verifier_status");
    assert_eq!(reason(&verifier, "short", later(now, 99)).await, "ok");
    assert_eq!(reason(&verifier, "short", later(now, 100)).await, "verifier_status");
    assert_eq!(reason(&verifier, "never seen", now).await, "verifier_status");
    issuer.answer(Reply::new(401));
    let refused = reason(&verifier, OPAQUE, later(now, 61)).await;
    assert_eq!(refused, "verifier_refused_our_client");
    issuer.answer(Reply::json(r#"{"active":false}"#));
    assert_eq!(reason(&verifier, OPAQUE, later(now, 62)).await, "token_inactive");
    issuer.answer(Reply::new(503));
    let after = reason(&verifier, OPAQUE, later(now, 80)).await;
    assert_eq!(after, "verifier_status", "what was called inactive is not stale but gone");
}

#[tokio::test]
async fn an_answer_that_names_no_audience_is_refused() {
    let (issuer, _server, verifier, _) = asking(|_| {}).await;
    issuer.answer(Reply::json(r#"{"active":true}"#));
    assert_eq!(reason(&verifier, OPAQUE, time::now()).await, "token_audience");
}

#[tokio::test]
async fn jwt_and_opaque_go_their_own_ways_on_one_route() {
    let (issuer, server, verifier, _) = asking(|_| {}).await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    issuer.publish(&[(&key, "k")]);
    issuer.answer(active(&json!({})));
    let now = time::now();
    assert_eq!(reason(&verifier, &key.token("k", &issuer.claims()), now).await, "ok");
    let evil = SigningKey::generate(SignatureAlgorithm::Es256);
    let forged = evil.token("k", &issuer.claims());
    assert_eq!(reason(&verifier, &forged, now).await, "token_signature");
    let none = [r#"{"alg":"none"}"#, &issuer.claims().to_string(), ""];
    let none = none.map(base64url::encode).join(".");
    assert_eq!(reason(&verifier, &none, now).await, "token_algorithm");
    assert_eq!(issuer.calls("/introspect"), 0, "a JWT is never asked about in their place");
    let jwe = format!("{}.a.b.c.d", base64url::encode(r#"{"alg":"dir","enc":"A128GCM"}"#));
    let opaque = [OPAQUE, "eopaque.with.dots", &jwe];
    for token in opaque.into_iter().chain(opaque) {
        assert_eq!(reason(&verifier, token, now).await, "ok", "{token}");
    }
    assert_eq!(issuer.calls("/introspect"), 3, "each of them once");
    issuer.answer(Reply::json(r#"{"active":false}"#));
    for _ in 0..2 {
        assert_eq!(reason(&verifier, "eother.with.dots", now).await, "token_inactive");
    }
    assert_eq!(issuer.calls("/introspect"), 4, "what is refused is remembered too");
    let lookups = server.metrics().lookups();
    assert!(lookups.contains(&(CacheKind::Opaque, 3, 4)), "three were known: {lookups:?}");
}

#[tokio::test]
async fn rfc6750_3_1_an_opaque_token_that_nobody_can_judge_is_refused_without_a_call() {
    let (issuer, _key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let before = issuer.server.seen().len();
    let long = "a".repeat(17_000);
    assert_eq!(reason(&verifier, OPAQUE, time::now()).await, "token_unjudgeable");
    assert_eq!(reason(&verifier, &long, time::now()).await, "token_malformed");
    assert_eq!(issuer.server.seen().len(), before);
}

#[tokio::test]
async fn cve_2026_33496_one_token_at_two_servers_is_asked_about_twice() {
    let (a, server_a, verifier_a, shared) = asking(|_| {}).await;
    a.answer(active(&json!({})));
    let b = Issuer::start().await;
    b.answer(Reply::json(r#"{"active":false}"#));
    let settings_b = AuthorizationServer { introspection: Some(introspection()), ..b.settings() };
    let server_b = start(settings_b, &shared);
    let both = vec![server_a, Arc::clone(&server_b)];
    let verifier_b = Verifier::new(both, Some(server_b), Arc::clone(&shared.caches));
    let now = time::now();
    for _ in 0..2 {
        assert_eq!(reason(&verifier_a, OPAQUE, now).await, "ok");
        assert_eq!(reason(&verifier_b, OPAQUE, now).await, "token_inactive");
    }
    assert_eq!((a.calls("/introspect"), b.calls("/introspect")), (1, 1));
}

#[tokio::test]
async fn with_introspect_all_signature_and_server_must_both_say_yes() {
    let (issuer, server, verifier, _) = asking(|it| it.introspect = Introspect::All).await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    issuer.publish(&[(&key, "k")]);
    let now = time::now();
    let evil = SigningKey::generate(SignatureAlgorithm::Es256).token("k", &issuer.claims());
    issuer.answer(Reply::json(r#"{"active":true,"scope":"read admin"}"#));
    assert_eq!(reason(&verifier, &evil, now).await, "token_signature");
    assert_eq!(issuer.calls("/introspect"), 0);
    let token = key.token("k", &issuer.claims());
    let first = verifier.verify(RawToken::new(&token), now).await.unwrap();
    assert_eq!(first.kind, TokenKind::Jwt);
    assert_eq!(first.scopes().to_string(), "read", "neither adds to the other");
    assert_eq!(reason(&verifier, &token, later(now, 59)).await, "ok");
    assert_eq!(issuer.calls("/introspect"), 1);
    assert_eq!(server.metrics().signature_checks.get(), 2);
    issuer.answer(Reply::json(r#"{"active":false}"#));
    assert_eq!(reason(&verifier, &token, later(now, 60)).await, "token_inactive");
    assert_eq!(reason(&verifier, &token, later(now, 61)).await, "token_inactive");
    assert_eq!(issuer.calls("/introspect"), 2);
    issuer.answer(Reply::new(503));
    assert_eq!(reason(&verifier, &token, later(now, 71)).await, "verifier_status");
}

#[tokio::test]
async fn an_issued_token_is_judged_by_whoever_knows_most_of_it() {
    let (issuer, key, server, _, _) = signing().await;
    let now = time::now();
    let facts = IssuedFacts {
        client_id: ClientId::new("caller"),
        scopes: Some(ScopeSet::from_claim("write")),
        expires: now.unix.plus(Duration::from_secs(60)),
    };
    let jwt = key.token("k", &issuer.claims());
    let judged = server.judge_issued(RawToken::new(&jwt), &facts, now).await.unwrap();
    assert_eq!((judged.kind, judged.scopes().to_string()), (TokenKind::Jwt, "read".into()));
    let issued = server.judge_issued(RawToken::new(OPAQUE), &facts, now).await.unwrap();
    assert_eq!((issued.kind, issued.scopes().to_string()), (TokenKind::Issued, "write".into()));
    assert_eq!(issued.audiences, Audiences::MeantForUs);
    let unknown = IssuedFacts { scopes: None, ..facts.clone() };
    let issued = server.judge_issued(RawToken::new(OPAQUE), &unknown, now).await.unwrap();
    assert!(issued.scopes().is_empty(), "unknown is never all");
    let over = server.judge_issued(RawToken::new(OPAQUE), &facts, later(now, 60)).await;
    assert_eq!(over.unwrap_err().reason(), "token_expired");

    let (issuer, server, verifier, _) = asking(|_| {}).await;
    issuer.answer(active(&json!({})));
    let asked = server.judge_issued(RawToken::new(OPAQUE), &facts, now).await.unwrap();
    assert_eq!((asked.kind, asked.scopes().to_string()), (TokenKind::Opaque, "read".into()));
    assert_eq!(reason(&verifier, OPAQUE, now).await, "ok");
    assert_eq!(issuer.calls("/introspect"), 1);
}

#[tokio::test]
async fn a_token_from_the_token_answer_is_no_bearer_token_of_its_own() {
    let (_issuer, _key, server, verifier, _) = signing().await;
    let now = time::now();
    let expires = now.unix.plus(Duration::from_secs(60));
    let facts = IssuedFacts { client_id: ClientId::new("c"), scopes: None, expires };
    assert!(server.judge_issued(RawToken::new(OPAQUE), &facts, now).await.is_ok());
    assert_eq!(reason(&verifier, OPAQUE, now).await, "token_unjudgeable");
}

#[tokio::test]
async fn the_refresh_ends_with_its_server() {
    let (issuer, _key, server, verifier, _) = signing().await;
    refresh(&server).await;
    let weak = Arc::downgrade(&server);
    drop((server, verifier));
    let gone = async {
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    assert!(issuer.calls("/jwks") >= 1);
}

#[tokio::test]
async fn an_endpoint_that_only_metadata_names_is_fetched_when_it_is_wanted() {
    let issuer = Issuer::start().await;
    let keys = KeySource::File("keys.json".into(), br#"{"keys":[]}"#[..].into());
    let shared = shared();
    let server = start(AuthorizationServer { keys, ..issuer.settings() }, &shared);
    assert!(server.is_ready(), "a file needs no network");
    assert_eq!(server.token_endpoint(), None);
    let found = async {
        while server.token_endpoint().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), found).await.unwrap();
    assert_eq!(issuer.calls("/jwks"), 0);
}

#[tokio::test]
async fn a_server_of_opaque_tokens_alone_is_ready_without_keys() {
    let issuer = Issuer::start().await;
    issuer.answer(active(&json!({})));
    let endpoint = issuer.server.url("/introspect");
    let mut settings = settings(&format!("{}/nothing-here", issuer.name()));
    settings.introspection = Some(introspection());
    settings.endpoints.introspection = Some(endpoint);
    let shared = shared();
    let server = start(settings, &shared);
    refresh(&server).await;
    assert!(server.is_ready());
    assert_eq!(reason(&verifier(&server, &shared), OPAQUE, time::now()).await, "ok");
    assert_eq!(OutageCause::NoKeys.reason(), "verifier_no_keys");
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    let mut claims = issuer.claims();
    claims["iss"] = json!(server.settings().issuer.as_str());
    let token = key.token("k", &claims);
    let refused = reason(&verifier(&server, &shared), &token, time::now()).await;
    assert_eq!(refused, "verifier_no_keys", "no keys are not an empty set");
}

#[tokio::test]
async fn metadata_that_cannot_be_had_does_not_spoil_keys_that_can() {
    let issuer = Issuer::start().await;
    let key = SigningKey::generate(SignatureAlgorithm::Es256);
    let mut settings = settings(&format!("{}/nothing-here", issuer.name()));
    settings.keys = KeySource::Uri(issuer.server.url("/jwks"));
    settings.introspection = Some(introspection());
    let shared = shared();
    let server = start(settings, &shared);
    refresh(&server).await;
    assert!(!server.is_ready(), "nobody knows where to introspect");
    issuer.publish(&[(&key, "k")]);
    let mut claims = issuer.claims();
    claims["iss"] = json!(server.settings().issuer.as_str());
    let verifier = verifier(&server, &shared);
    let now = time::now();
    assert_eq!(reason(&verifier, &key.token("k", &claims), now).await, "ok");
    assert_eq!(reason(&verifier, &key.token("no", &claims), now).await, "token_key_unknown");
    let refused = verifier.verify(RawToken::new(OPAQUE), now).await.unwrap_err();
    assert_eq!(refused.status(), 503);
}

#[tokio::test]
async fn a_token_is_identified_before_its_time_and_one_of_an_unknown_key_may_be_one() {
    let (issuer, key, server, _, _) = signing().await;
    let now = time::now();
    let mut claims = issuer.claims();
    claims["nbf"] = json!(now.unix.get() + 300);
    let token = key.token("k", &claims);
    let found = server.identify(RawToken::new(&token), now).await.unwrap();
    assert_eq!(found.unwrap().subject(), Some("u"), "it counts from later on");
    let unknown = key.token("another", &issuer.claims());
    let found = server.identify(RawToken::new(&unknown), now).await;
    assert_eq!(found.unwrap_err().reason(), "verifier_unusable");
    claims["exp"] = json!(now.unix.get() - 300);
    claims["nbf"] = json!(now.unix.get() - 600);
    let over = key.token("k", &claims);
    assert_eq!(server.identify(RawToken::new(&over), now).await, Ok(None));
}

#[tokio::test]
async fn rfc7009_2_what_is_asked_about_a_token_is_waited_for_and_only_a_good_one_is_told() {
    for (reply, is_good) in
        [(active(&json!({})), true), (Reply::json(r#"{"active":false}"#), false)]
    {
        let (issuer, server, verifier, _) = asking(|_| {}).await;
        refresh(&server).await;
        issuer.answer(reply);
        let now = time::now();
        let digest = RawToken::new(OPAQUE).digest();
        assert_eq!(server.answer_under_way(&digest).await, Ok(None), "nobody asks");
        let asked = async { verifier.verify(RawToken::new(OPAQUE), now).await.is_ok() };
        let revoked = async {
            while server.flights_about(&digest).is_empty() {
                tokio::task::yield_now().await;
            }
            server.answer_under_way(&digest).await.unwrap().is_some()
        };
        let (asked, revoked) = tokio::join!(asked, revoked);
        assert_eq!((asked, revoked), (is_good, is_good));
        assert_eq!(server.forget(digest, now).is_some(), is_good, "it was kept by then");
    }
}
