//! What upstreams are told, by whom, and for how long.

use serde_json::{Value, json};

use super::*;
use crate::base::time;
use crate::config::{JwksPlace, SignerKeys};
use crate::oauth::{
    Audience, Audiences, Claims, Issuer, Plaintext, RawToken, ServerId, SignatureAlgorithm,
    SigningKey, TokenKind, TokenTexts, Validity,
};

fn settings() -> config::Signer {
    config::Signer {
        name: "orders".into(),
        issuer: Issuer::parse("https://gateway.test", Plaintext::Refused).unwrap(),
        audience: Audience::new("https://orders.internal"),
        lifetime: Duration::from_secs(60),
        keys: SignerKeys::Generated {
            algorithm: SignatureAlgorithm::EdDsa,
            rotate: Duration::from_secs(86_400),
        },
        token_type: "JWT".into(),
        claims: ["sub", "client_id", "scope", "principal", "department"].map(Into::into).into(),
        header: None,
        jwks: JwksPlace { host: None, path: "/jwks".into() },
    }
}

fn started(settings: config::Signer, before: Option<&Signer>) -> Arc<Signer> {
    let runtime = Handle::current();
    Signer::start(settings, 10, before, (&Metrics::new(), &runtime)).unwrap()
}

fn token(subject: Option<&str>, scopes: &str) -> Arc<VerifiedToken> {
    Arc::new(VerifiedToken {
        digest: RawToken::new("t").digest(),
        kind: TokenKind::Jwt,
        server: ServerId::new(0),
        issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
        texts: TokenTexts::saying(subject, Some("app"), scopes),
        principal: Principal::User,
        audiences: Audiences::MeantForUs,
        validity: Validity::new(None, None),
        claims: Claims::parse(br#"{"department":["it"],"principal":"admin"}"#).unwrap().into(),
    })
}

fn holder(token: &Arc<VerifiedToken>) -> Holder<'_> {
    Holder { token, principal: Principal::User, ends: None }
}

fn at(second: i64) -> Now {
    Now { unix: UnixSeconds::new(second), ..time::now() }
}

fn part(field: &HeaderValue, index: usize) -> Value {
    let jwt = field.to_str().unwrap().trim_start_matches("Bearer ");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(index).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_jwt_says_who_is_asking_and_whose_user_that_is() {
    let signer = started(settings(), None);
    let token = token(Some("alice"), "read write");
    let field = signer.field(holder(&token), at(1000)).unwrap();
    assert!(field.is_sensitive() && field.to_str().unwrap().starts_with("Bearer "));
    let kid = signer.keys.ring().keys().next().unwrap().id().to_owned();
    assert_eq!(part(&field, 0), json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" }));
    let mut claims = part(&field, 1);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    claims.as_object_mut().unwrap().remove("jti");
    let expected = json!({
        "iss": "https://gateway.test", "aud": "https://orders.internal", "iat": 1000, "exp": 1060,
        "sub": "alice", "client_id": "app", "scope": "read write", "department": ["it"],
        "sub_id": { "format": "iss_sub", "iss": "https://as.test", "sub": "alice" },
        "principal": "user",
    });
    assert_eq!(claims, expected, "principal is no claim of the token's");
}

#[tokio::test]
async fn rfc9068_2_2_a_jwt_without_the_subject_that_is_to_go_along_is_refused() {
    let signer = started(settings(), None);
    let nobody = token(None, "");
    let outcome = signer.field(holder(&nobody), at(1000));
    assert_eq!(outcome, Err(Rejection::ClaimsInsufficient));
    let opaque = Arc::new(VerifiedToken { kind: TokenKind::Opaque, ..(*nobody).clone() });
    let field = signer.field(holder(&opaque), at(1000)).unwrap();
    let claims = part(&field, 1);
    assert!(claims.get("sub").is_none() && claims.get("sub_id").is_none());
    assert!(claims.get("scope").is_none());
}

#[tokio::test]
async fn one_signature_serves_for_three_quarters_of_its_life_and_for_one_verdict() {
    let signer = started(settings(), None);
    let first = token(Some("alice"), "read write");
    let sign =
        |token: &Arc<VerifiedToken>, second| signer.field(holder(token), at(second)).unwrap();
    let field = sign(&first, 1000);
    assert_eq!(sign(&first, 1044), field);
    assert_eq!(sign(&Arc::new((*first).clone()), 1044), field, "an equal verdict is the same");
    assert_eq!(signer.signatures.get(), 1);
    assert_ne!(sign(&first, 1045), field, "over three quarters");
    let less = token(Some("alice"), "read");
    let changed = sign(&less, 1045);
    assert_eq!(part(&changed, 1)["scope"], "read", "a later verdict took a scope away");
    let client = Holder { principal: Principal::Client, ..holder(&less) };
    let field = signer.field(client, at(1045)).unwrap();
    assert_eq!(part(&field, 1)["principal"], "client");
    assert_eq!(signer.signatures.get(), 4);
}

#[tokio::test]
async fn it_never_outlives_the_callers_token() {
    let signer = started(settings(), None);
    let token = token(Some("alice"), "");
    let ends = |second| Holder { ends: Some(UnixSeconds::new(second)), ..holder(&token) };
    let field = signer.field(ends(1030), at(1000)).unwrap();
    assert_eq!(part(&field, 1)["exp"], 1030);
    // Another one would live no longer.
    assert_eq!(signer.field(ends(1030), at(1029)).unwrap(), field);
    // Nor does it say that it ends before it began, in the skew that verdicts allow.
    let expired = Err(Rejection::TokenInvalid(InvalidToken::Expired));
    for (end, now) in [(1030, 1030), (1030, 1031), (900, 1000)] {
        assert_eq!(signer.field(ends(end), at(now)), expired);
    }
    assert_eq!(signer.signatures.get(), 1);
}

#[tokio::test]
async fn keys_that_the_process_made_outlive_other_settings() {
    let signer = started(settings(), None);
    let set = signer.key_set();
    let shorter = config::Signer { lifetime: Duration::from_secs(10), ..settings() };
    assert!(!signer.is_of(&shorter, 10) && signer.is_of(&settings(), 10));
    assert_eq!(started(shorter, Some(&signer)).key_set(), set);
    let renamed = config::Signer { name: "other".into(), ..settings() };
    assert_ne!(started(renamed, Some(&signer)).key_set(), set, "another signer's");
    let key = Arc::new(SigningKey::generate(SignatureAlgorithm::Es256).unwrap());
    let given = config::Signer { keys: SignerKeys::Given(vec![key]), ..settings() };
    let given = started(given, Some(&signer));
    assert_ne!(given.key_set(), set);
    assert_ne!(started(settings(), Some(&given)).key_set(), given.key_set(), "never the reverse");
}

#[tokio::test]
async fn people_are_told_its_claims_and_nothing_that_can_be_used() {
    let own = HeaderName::from_static("x-identity");
    for header in [None, Some(own)] {
        let signer = started(config::Signer { header, ..settings() }, None);
        let token = token(Some("alice"), "read");
        let field = signer.field(holder(&token), at(1000)).unwrap();
        let told = signer.told(signer.settings().header_name(), &field).unwrap();
        assert!(told.contains("[signers.orders]") && told.contains("\"sub\":\"alice\""), "{told}");
        let signature = field.to_str().unwrap().rsplit('.').next().unwrap();
        assert!(!told.contains(signature), "{told}");
        assert_eq!(signer.told(&HeaderName::from_static("x-other"), &field), None);
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_header_is_refused() {
    let signer = started(settings(), None);
    let token = token(Some(&"a".repeat(4000)), "");
    let outcome = signer.field(holder(&token), at(1000));
    assert_eq!(outcome, Err(Rejection::TokenInvalid(InvalidToken::Malformed)));
}
