use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde_json::{Value, json};

use super::super::cache::{TokenCaches, tests::good};
use super::super::server::Shared;
use super::super::testing::{SigningKey, settings};
use super::super::{base64url, jwk};
use super::*;
use crate::base::secret::Secret;
use crate::base::time;
use crate::config::{self, KeySource};
use crate::oauth::{Confirmation, RawToken, ServerId, SignatureAlgorithm};
use crate::telemetry::Metrics;
use InvalidProof as P;
use SignatureAlgorithm as A;

/// The proof of RFC 9449 §7.1 (figure 12), with its token, its key and its second.
const RFC_PROOF: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo",
    "UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERW",
    "clUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1",
    "IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwi",
    "YXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey7",
    "1EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
);
const RFC_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const RFC_KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const RFC_URL: &str = "https://resource.example.org/protectedresource";
const RFC_SECOND: i64 = 1_562_262_618;

const NOW: i64 = 1_700_000_000;
const TOKEN: &str = "a-token";
const URL: &str = "https://api.test/orders/7?q=1";

fn dpop() -> Dpop {
    Dpop {
        tokens: Demand::IfBound,
        algorithms: vec![A::Es256, A::EdDsa, A::Ps256],
        window: Duration::from_secs(60),
        nonce: None,
        nonce_secret: Some(Secret::new("n".repeat(32))),
        replay_entries: 1000,
    }
}

/// Servers that outlive each other's settings.
struct Fixture(Shared);

impl Fixture {
    fn new() -> Self {
        let bounds =
            config::Caches { tokens: 10, negative: 10, basic: 10, exchanged: 10, signed: 10 };
        Self(Shared {
            runtime: tokio::runtime::Handle::current(),
            metrics: Arc::new(Metrics::new()),
            caches: Arc::new(TokenCaches::new(&bounds)),
            proofs: Arc::default(),
        })
    }

    fn server(&self, dpop: Option<Dpop>, certificate_bound: Option<Demand>) -> Arc<Server> {
        let keys = KeySource::File(PathBuf::new(), b"{\"keys\":[]}".as_slice().into());
        let settings = settings("https://as.test");
        let settings = AuthorizationServer { dpop, certificate_bound, keys, ..settings };
        Server::start(ServerId::new(1), settings, &self.0).unwrap()
    }
}

/// A token that is bound to a key, a certificate, both or nothing.
fn token(text: &str, key: Option<Thumbprint>, certificate: Option<Thumbprint>) -> VerifiedToken {
    let token = VerifiedToken::clone(&good(text).token);
    if key.is_none() && certificate.is_none() {
        return token;
    }
    let claims = token.claims.bound_to(Confirmation { key, certificate });
    VerifiedToken { claims, ..token }
}

fn at(second: i64) -> Now {
    Now { unix: UnixSeconds::new(second), instant: time::now().instant }
}

fn headers(proofs: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for proof in proofs {
        headers.append(DPOP, HeaderValue::from_str(proof).unwrap());
    }
    headers
}

fn shown(headers: &HeaderMap) -> Shown<'_> {
    Shown {
        scheme: Scheme::Dpop,
        headers,
        method: &Method::GET,
        url: URL,
        certificate: None,
        purpose: Purpose::Serve,
    }
}

fn thumbprint(jwk: &Value) -> Thumbprint {
    jwk::thumbprint(jwk.as_object().unwrap()).unwrap()
}

/// The header and the claims of a good proof.
fn parts(key: &SigningKey, jti: &str) -> (Value, Value) {
    let mut jwk = key.jwk("k");
    for name in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    let header = json!({ "typ": "dpop+jwt", "alg": key.algorithm().name(), "jwk": jwk });
    let ath = base64url::encode(RawToken::new(TOKEN).digest().as_bytes());
    let claims = json!({
        "jti": jti, "htm": "GET", "htu": "https://api.test/orders/7", "iat": NOW, "ath": ath,
    });
    (header, claims)
}

fn proof(key: &SigningKey, jti: &str) -> String {
    let (header, claims) = parts(key, jti);
    key.token_with(&header, &claims)
}

fn reason(outcome: Result<Proven, Rejection>) -> &'static str {
    outcome.map_or_else(|rejection| rejection.reason(), |_| "proven")
}

#[tokio::test]
async fn rfc9449_7_1_the_proof_of_the_rfc_proves_its_token_in_its_minute() {
    let server = Fixture::new().server(Some(dpop()), None);
    let key = Thumbprint::from_base64url(RFC_KEY);
    let (fields, bound) = (headers(&[RFC_PROOF]), token(RFC_TOKEN, key, None));
    let shown = Shown { url: RFC_URL, ..shown(&fields) };
    let prove = |second| reason(server.prove(&bound, &shown, at(second)));
    assert_eq!(prove(RFC_SECOND + 61), "proof_time");
    assert_eq!(prove(RFC_SECOND - 31), "proof_time", "further ahead than clocks may be");
    assert_eq!(prove(RFC_SECOND + 60), "proven");
    assert_eq!(prove(RFC_SECOND), "proof_replayed");
    let other = token("another token", key, None);
    assert_eq!(reason(server.prove(&other, &shown, at(RFC_SECOND))), "proof_token_hash");
}

#[test]
fn rfc7638_3_1_the_thumbprints_of_the_rfcs() {
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_",
            "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_",
            "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI",
            "4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        ),
    });
    assert_eq!(thumbprint(&rsa).to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let ed25519 = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    assert_eq!(thumbprint(&ed25519).to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let pem = "-----BEGIN CERTIFICATE-----\n\
        MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx\n\
        ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG\n\
        SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ\n\
        /Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID\n\
        SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV\n\
        bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=\n-----END CERTIFICATE-----\n";
    let certificate: rustls_pki_types::CertificateDer<'_> =
        rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    // RFC 8705 Appendix A.
    let expected = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
    assert_eq!(Thumbprint::of(&certificate).to_string(), expected);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "two tables")]
async fn rfc9449_4_3_each_check_refuses_by_itself() {
    let server = Fixture::new().server(Some(dpop()), None);
    let key = SigningKey::generate(A::Es256);
    let other = SigningKey::generate(A::Es256);
    let bound = token(TOKEN, Some(thumbprint(&key.jwk("k"))), None);
    let private = {
        let mut jwk = key.jwk("k");
        jwk["d"] = json!("AAAA");
        jwk
    };
    let shared = json!({ "kty": "oct", "k": "AAAA" });
    let long = "j".repeat(257);
    let none = Value::Null;
    #[rustfmt::skip]
    let header_cases = [
        ("typ",  none.clone(),            P::Malformed),
        ("typ",  json!(1),                P::Malformed),
        ("typ",  json!("JWT"),            P::Type),
        ("typ",  json!("at+jwt"),         P::Type),
        ("alg",  none.clone(),            P::Malformed),
        ("alg",  json!("none"),           P::Algorithm),
        ("alg",  json!("HS256"),          P::Algorithm),
        ("alg",  json!("ES384"),          P::Algorithm),
        ("alg",  json!("PS256"),          P::Key),
        ("jwk",  none.clone(),            P::Malformed),
        ("jwk",  json!("k"),              P::Key),
        ("jwk",  private,                 P::Key),
        ("jwk",  shared,                  P::Key),
        ("jwk",  other.jwk("k"),          P::Signature),
        ("crit", json!(["b64"]),          P::Malformed),
    ];
    #[rustfmt::skip]
    let claim_cases = [
        ("jti",  none.clone(),                           P::Malformed),
        ("jti",  json!(""),                              P::Malformed),
        ("jti",  json!(long),                            P::Malformed),
        ("jti",  json!(7),                               P::Malformed),
        ("htm",  none.clone(),                           P::Malformed),
        ("htm",  json!("get"),                           P::Method),
        ("htm",  json!("POST"),                          P::Method),
        ("htu",  none.clone(),                           P::Malformed),
        ("htu",  json!("https://evil.test/orders/7"),    P::Target),
        ("htu",  json!("http://api.test/orders/7"),      P::Target),
        ("htu",  json!("https://api.test/orders/8"),     P::Target),
        ("htu",  json!("/orders/7"),                     P::Target),
        ("iat",  none.clone(),                           P::Malformed),
        ("iat",  json!(NOW.to_string()),                 P::Malformed),
        ("iat",  json!(NOW - 61),                        P::Time),
        ("iat",  json!(NOW + 31),                        P::Time),
        ("ath",  none,                                   P::Malformed),
        ("ath",  json!(""),                              P::TokenHash),
        ("ath",  json!(base64url::encode([0; 32])),      P::TokenHash),
    ];
    let ask = |proof: &str| reason(server.prove(&bound, &shown(&headers(&[proof])), at(NOW)));
    let set = |object: &mut Value, name: &str, value: &Value| match value {
        Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
        value => object[name] = value.clone(),
    };
    for (name, value, expected) in header_cases {
        let (mut header, claims) = parts(&key, "j");
        set(&mut header, name, &value);
        assert_eq!(ask(&key.token_with(&header, &claims)), expected.reason(), "{name} {value}");
    }
    for (name, value, expected) in claim_cases {
        let (header, mut claims) = parts(&key, "j");
        set(&mut claims, name, &value);
        assert_eq!(ask(&key.token_with(&header, &claims)), expected.reason(), "{name} {value}");
    }
    let good = proof(&key, "j");
    let (signed, _) = good.rsplit_once('.').unwrap();
    for text in [
        "",
        "a",
        "a.b",
        "a.b.c",
        signed,
        &format!("{good}."),
        &format!("{good}="),
        &format!("{good}.x"),
        &"a.".repeat(5000),
        good.get(1..).unwrap(),
    ] {
        assert_eq!(ask(text), "proof_malformed", "{text}");
    }
    let twice = {
        let (header, claims) = parts(&key, "j");
        let claims = claims.to_string().replacen('{', "{\"htm\":\"GET\",", 1);
        let signed = [header.to_string(), claims].map(base64url::encode).join(".");
        format!("{signed}.{}", base64url::encode(key.sign(signed.as_bytes())))
    };
    assert_eq!(ask(&twice), "proof_malformed", "a member that stands twice");
    assert_eq!(ask(&format!("{signed}.{}", base64url::encode([1; 64]))), "proof_signature");
    // Nothing of that has used the good one up.
    assert_eq!(ask(&good), "proven");
}

#[tokio::test]
async fn rfc9449_4_3_there_is_one_proof() {
    let server = Fixture::new().server(Some(dpop()), None);
    let key = SigningKey::generate(A::EdDsa);
    let bound = token(TOKEN, Some(thumbprint(&key.jwk("k"))), None);
    let (one, two) = (proof(&key, "1"), proof(&key, "2"));
    let ask = |fields: &[&str]| reason(server.prove(&bound, &shown(&headers(fields)), at(NOW)));
    assert_eq!(ask(&[]), "proof_missing");
    assert_eq!(ask(&[&one, &two]), "proof_several");
    assert_eq!(ask(&[&one, &one]), "proof_several");
    assert_eq!(ask(&[&format!("{one}, {two}")]), "proof_malformed");
    assert_eq!(ask(&[&one]), "proven");
}

#[tokio::test]
async fn rfc9449_6_the_key_is_the_token_s_and_7_2_the_scheme_is_its_own() {
    let fixture = Fixture::new();
    let key = SigningKey::generate(A::Ps256);
    let print = thumbprint(&key.jwk("k"));
    let other = Some(Thumbprint::of(b"another key"));
    let certificate = Some(Thumbprint::of(b"a certificate"));
    let (ours, not_ours) = (Some(print), other);
    let (on, off) = (Some(Demand::IfBound), None);
    let required = Some(Demand::Required);
    let (d, b) = (Scheme::Dpop, Scheme::Bearer);
    #[rustfmt::skip]
    let cases = [
        // dpop     certificate_bound  cnf: jkt, x5t#S256        scheme  shown         outcome
        (on,        off,               (ours, None),             d,      None,         "proven"),
        (on,        off,               (ours, None),             b,      None,         "token_bound"),
        (on,        off,               (not_ours, None),         d,      None,         "token_bound"),
        (on,        off,               (None, None),             d,      None,         "token_unbound"),
        (on,        off,               (None, None),             b,      None,         "proven"),
        (required,  off,               (None, None),             b,      None,         "token_unbound"),
        (required,  off,               (ours, None),             d,      None,         "proven"),
        (off,       off,               (ours, None),             d,      None,         "token_bound"),
        (off,       off,               (ours, None),             b,      None,         "token_bound"),
        (off,       on,                (None, certificate),      b,      certificate,  "proven"),
        (off,       on,                (None, certificate),      b,      other,        "token_bound"),
        (off,       on,                (None, certificate),      b,      None,         "token_bound"),
        (off,       on,                (None, None),             b,      certificate,  "proven"),
        (off,       required,          (None, None),             b,      certificate,  "token_unbound"),
        (off,       required,          (None, certificate),      b,      certificate,  "proven"),
        (off,       off,               (None, certificate),      b,      certificate,  "token_bound"),
        (on,        on,                (ours, certificate),      d,      certificate,  "proven"),
        (on,        on,                (ours, certificate),      d,      None,         "token_bound"),
        (on,        on,                (ours, certificate),      b,      certificate,  "token_bound"),
        (on,        on,                (not_ours, certificate),  d,      certificate,  "token_bound"),
        (on,        off,               (ours, certificate),      d,      certificate,  "token_bound"),
        (off,       on,                (ours, certificate),      d,      certificate,  "token_bound"),
    ];
    for (number, (demand, certificate_bound, cnf, scheme, certificate, expected)) in
        cases.into_iter().enumerate()
    {
        let dpop = demand.map(|tokens| Dpop { tokens, ..dpop() });
        let server = fixture.server(dpop, certificate_bound);
        let fields = headers(&[&proof(&key, &number.to_string())]);
        let shown = Shown { scheme, certificate, ..shown(&fields) };
        let outcome = server.prove(&token(TOKEN, cnf.0, cnf.1), &shown, at(NOW));
        assert_eq!(reason(outcome), expected, "case {number}");
    }
}

#[tokio::test]
async fn rfc9449_11_1_a_proof_counts_once_whatever_is_reloaded_and_not_by_being_explained() {
    let fixture = Fixture::new();
    let key = SigningKey::generate(A::Es256);
    let bound = token(TOKEN, Some(thumbprint(&key.jwk("k"))), None);
    let fields = headers(&[&proof(&key, "j")]);
    let server = fixture.server(Some(dpop()), None);
    let explained = Shown { purpose: Purpose::Explain, ..shown(&fields) };
    let ask = |server: &Server, shown: Shown<'_>| reason(server.prove(&bound, &shown, at(NOW)));
    for _ in 0..2 {
        assert_eq!(ask(&server, explained), "proven");
    }
    assert_eq!(ask(&server, shown(&fields)), "proven");
    assert_eq!(ask(&server, explained), "proof_replayed");
    let changed = Dpop { window: Duration::from_secs(30), ..dpop() };
    assert_eq!(ask(&fixture.server(Some(changed), None), shown(&fields)), "proof_replayed");
    // Another client's `jti` is its own.
    let theirs = SigningKey::generate(A::Es256);
    let fields = headers(&[&proof(&theirs, "j")]);
    let bound = token(TOKEN, Some(thumbprint(&theirs.jwk("k"))), None);
    assert_eq!(reason(server.prove(&bound, &shown(&fields), at(NOW))), "proven");
    let full = fixture.server(Some(Dpop { replay_entries: 0, ..dpop() }), None);
    let fields = headers(&[&proof(&theirs, "k")]);
    assert_eq!(reason(full.prove(&bound, &shown(&fields), at(NOW))), "proofs_too_many");
}

#[tokio::test]
async fn rfc9449_11_1_a_proof_is_known_from_its_first_second_to_the_end_of_its_last() {
    let server = Fixture::new().server(Some(dpop()), None);
    let key = SigningKey::generate(A::Es256);
    let bound = token(TOKEN, Some(thumbprint(&key.jwk("k"))), None);
    let (header, mut claims) = parts(&key, "j");
    claims["iat"] = json!(NOW + 30);
    let fields = headers(&[&key.token_with(&header, &claims)]);
    let began = time::now().instant;
    let ask = |purpose, second: i64, after: u64| {
        let instant = began + Duration::from_millis(after);
        let now = Now { unix: UnixSeconds::new(second), instant };
        reason(server.prove(&bound, &Shown { purpose, ..shown(&fields) }, now))
    };
    // Used 30 seconds before its `iat`, and again in the last second of a window of 60 behind it;
    // just when sets of proofs are turned out, which each look can do.
    assert_eq!(ask(Purpose::Explain, NOW, 0), "proven");
    assert_eq!(ask(Purpose::Serve, NOW, 89_999), "proven");
    assert_eq!(ask(Purpose::Explain, NOW, 90_000), "proof_replayed");
    assert_eq!(ask(Purpose::Explain, NOW + 2, 92_000), "proof_replayed");
    assert_eq!(ask(Purpose::Serve, NOW + 90, 180_998), "proof_replayed");
}

#[tokio::test]
async fn rfc9449_9_a_nonce_is_asked_for_and_renewed_before_its_end() {
    let nonce = Some(Duration::from_secs(60));
    let server = Fixture::new().server(Some(Dpop { nonce, ..dpop() }), None);
    let key = SigningKey::generate(A::Es256);
    let bound = token(TOKEN, Some(thumbprint(&key.jwk("k"))), None);
    let ask = |nonce: &Value, jti: &str, second: i64| {
        let (header, mut claims) = parts(&key, jti);
        claims["nonce"] = nonce.clone();
        claims["iat"] = json!(second);
        let fields = headers(&[&key.token_with(&header, &claims)]);
        server.prove(&bound, &shown(&fields), at(second))
    };
    for (wrong, jti) in [(json!(null), "a"), (json!("x"), "b"), (json!(7), "c")] {
        let Err(Rejection::NonceNeeded(nonce)) = ask(&wrong, jti, NOW) else { panic!("{wrong}") };
        assert_eq!(nonce, server.new_nonce(UnixSeconds::new(NOW)).unwrap());
        let again = ask(&json!(nonce), jti, NOW);
        assert_eq!(again, Ok(Proven { needs_new_nonce: false }), "it was not used up");
    }
    let nonce = json!(server.new_nonce(UnixSeconds::new(NOW)));
    for (second, expected) in [(30, Ok(false)), (31, Ok(true)), (60, Ok(true)), (61, Err(()))] {
        let proven = ask(&nonce, &second.to_string(), NOW + second);
        assert_eq!(proven.map(|one| one.needs_new_nonce).map_err(drop), expected, "{second}");
    }
}
