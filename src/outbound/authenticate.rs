//! How a client proves who it is: one method per request (RFC 6749 §2.3), never in the URL.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderValue, Uri};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::OutboundFailure;
use crate::base::secret::Secret;
use crate::base::time::UnixSeconds;
use crate::config::{
    AssertionAudience, AssertionKey, BasicEncoding, ClientAuthentication,
    ClientAuthenticationMethod,
};
use crate::oauth::{Algorithm, ClientId, Issuer, SignatureAlgorithm};

/// What a request carries to prove its client: a field or parameters.
pub(super) struct Proof<'a> {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) parameters: Vec<(&'static str, Cow<'a, str>)>,
}

/// What the server is called that an assertion can be for.
#[derive(Clone, Copy)]
pub(super) struct Audiences<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) token_endpoint: Option<&'a Uri>,
}

impl<'a> Audiences<'a> {
    fn of(self, key: &AssertionKey) -> Result<Cow<'a, str>, OutboundFailure> {
        match (key.audience, self.token_endpoint) {
            (AssertionAudience::Issuer, _) => Ok(self.issuer.as_str().into()),
            (AssertionAudience::TokenEndpoint, Some(uri)) => Ok(uri.to_string().into()),
            (AssertionAudience::TokenEndpoint, None) => Err(OutboundFailure::AudienceUnknown),
        }
    }
}

pub(super) fn prove<'a>(
    client: &'a ClientAuthentication,
    audiences: Audiences<'_>,
    now: UnixSeconds,
) -> Result<Proof<'a>, OutboundFailure> {
    let id = &client.client_id;
    match &client.method {
        ClientAuthenticationMethod::SecretBasic(secret, encoding) => {
            Ok(Proof { authorization: Some(basic(id, secret, *encoding)?), parameters: vec![] })
        }
        ClientAuthenticationMethod::SecretPost(secret) => Ok(Proof {
            authorization: None,
            parameters: vec![
                ("client_id", id.as_str().into()),
                ("client_secret", secret.expose().into()),
            ],
        }),
        // RFC 8705 §2: the handshake is the proof, and the id says whose.
        ClientAuthenticationMethod::Tls(_) => {
            Ok(Proof { authorization: None, parameters: vec![("client_id", id.as_str().into())] })
        }
        ClientAuthenticationMethod::PrivateKeyJwt(key) => Ok(Proof {
            authorization: None,
            parameters: vec![
                // Optional by RFC 7521 §4.2, and asked for by servers that look the key up by it.
                ("client_id", id.as_str().into()),
                ("client_assertion_type", ASSERTION_TYPE.into()),
                ("client_assertion", assertion(id, key, &audiences.of(key)?, now)?.into()),
            ],
        }),
    }
}

/// `client_secret_basic`: id and secret each form-encoded first, so that a colon in the id and
/// UTF-8 in either arrive (RFC 6749 §2.3.1 and Appendix B).
fn basic(
    id: &ClientId,
    secret: &Secret,
    encoding: BasicEncoding,
) -> Result<HeaderValue, OutboundFailure> {
    let (id, secret) = (id.as_str(), secret.expose());
    let pair = Zeroizing::new(match encoding {
        BasicEncoding::Form => format!("{}:{}", *form_encoded(id), *form_encoded(secret)),
        BasicEncoding::Raw => format!("{id}:{secret}"),
    });
    let field = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut field = HeaderValue::from_str(&field).map_err(|_| OutboundFailure::Unsigned)?;
    field.set_sensitive(true);
    Ok(field)
}

fn form_encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
}

/// The claims of an assertion (RFC 7523 §3). `aud` is one string, the issuer unless the settings
/// say otherwise: a list, or an endpoint's URL, could be what another server accepts too.
#[derive(Serialize)]
struct AssertionClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

fn assertion(
    id: &ClientId,
    key: &AssertionKey,
    audience: &str,
    now: UnixSeconds,
) -> Result<String, OutboundFailure> {
    let (algorithm, signing_key) = signing_key(key).ok_or(OutboundFailure::Unsigned)?;
    let mut header = Header::new(algorithm);
    header.typ = Some(ASSERTION_JWT_TYPE.to_owned());
    header.kid = key.key_id.as_deref().map(str::to_owned);
    let claims = AssertionClaims {
        iss: id.as_str(),
        sub: id.as_str(),
        aud: audience,
        jti: random_id()?,
        iat: now.get(),
        exp: now.plus(ASSERTION_LIFE).get(),
    };
    jsonwebtoken::encode(&header, &claims, &signing_key).map_err(|_| OutboundFailure::Unsigned)
}

/// `None` for a key that does not parse, which loading has ruled out, and for an algorithm that
/// is none for assertions.
fn signing_key(key: &AssertionKey) -> Option<(jsonwebtoken::Algorithm, EncodingKey)> {
    use jsonwebtoken::Algorithm as Jwa;
    let pem = key.pem.expose().as_bytes();
    let Algorithm::Signature(algorithm) = key.algorithm else { return None };
    let (algorithm, signing_key) = match algorithm {
        SignatureAlgorithm::Rs256 => (Jwa::RS256, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Rs384 => (Jwa::RS384, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Rs512 => (Jwa::RS512, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Ps256 => (Jwa::PS256, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Ps384 => (Jwa::PS384, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Ps512 => (Jwa::PS512, EncodingKey::from_rsa_pem(pem)),
        SignatureAlgorithm::Es256 => (Jwa::ES256, EncodingKey::from_ec_pem(pem)),
        SignatureAlgorithm::Es384 => (Jwa::ES384, EncodingKey::from_ec_pem(pem)),
        SignatureAlgorithm::EdDsa => (Jwa::EdDSA, EncodingKey::from_ed_pem(pem)),
        // The library signs with P-256 and P-384 alone.
        SignatureAlgorithm::Es512 => return None,
    };
    Some((algorithm, signing_key.ok()?))
}

fn random_id() -> Result<String, OutboundFailure> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| OutboundFailure::Unsigned)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_JWT_TYPE: &str = "client-authentication+jwt";
/// Long enough for clocks that differ a little, too short to be worth stealing.
const ASSERTION_LIFE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::testing::client_of;
    use super::*;
    use crate::config::ClientIdentity;
    use crate::oauth::Plaintext;

    const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

    fn issuer() -> Issuer {
        Issuer::parse("https://as.test/t1/", Plaintext::Refused).unwrap()
    }

    fn proof_of(client: &ClientAuthentication) -> Proof<'_> {
        prove(client, Audiences { issuer: &issuer(), token_endpoint: None }, NOW).unwrap()
    }

    fn basic_pair(id: &str, secret: &str, encoding: BasicEncoding) -> String {
        let field = basic(&ClientId::new(id), &Secret::new(secret), encoding).unwrap();
        assert!(field.is_sensitive());
        let encoded = field.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn rfc6749_2_3_1_id_and_secret_are_form_encoded_first() {
        let long = "k".repeat(80);
        for (id, secret, pair) in [
            ("a b:c", "p%q+é", "a+b%3Ac:p%25q%2B%C3%A9"),
            ("1 2", "@~*-._", "1+2:%40%7E*-._"),
            (long.as_str(), "s", format!("{long}:s").as_str()),
        ] {
            assert_eq!(basic_pair(id, secret, BasicEncoding::Form), pair);
        }
        assert_eq!(basic_pair("a b", "p%q+é", BasicEncoding::Raw), "a b:p%q+é");
    }

    #[test]
    fn rfc6749_2_3_a_request_has_one_method() {
        let secret = || Secret::new("s3cret");
        let basic = ClientAuthenticationMethod::SecretBasic(secret(), BasicEncoding::Form);
        let client = client_of("id", basic);
        let proof = proof_of(&client);
        assert!(proof.authorization.is_some() && proof.parameters.is_empty());
        let client = client_of("id", ClientAuthenticationMethod::SecretPost(secret()));
        let proof = proof_of(&client);
        assert!(proof.authorization.is_none());
        let expected = [("client_id", "id".into()), ("client_secret", "s3cret".into())];
        assert_eq!(proof.parameters, expected);
    }

    fn part(jwt: &str, index: usize) -> Value {
        let part = jwt.split('.').nth(index).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    fn ec_key() -> (AssertionKey, rcgen::KeyPair) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = AssertionKey {
            pem: Secret::new(pair.serialize_pem()),
            algorithm: Algorithm::Signature(SignatureAlgorithm::Es256),
            key_id: Some("k1".into()),
            audience: AssertionAudience::Issuer,
        };
        (key, pair)
    }

    #[test]
    fn rfc7523_3_an_assertion_names_client_and_issuer_and_lives_a_minute() {
        let (key, pair) = ec_key();
        let client = client_of("id", ClientAuthenticationMethod::PrivateKeyJwt(key));
        let mut ids = BTreeSet::new();
        for _ in 0..2 {
            let proof = proof_of(&client);
            assert!(proof.authorization.is_none());
            let names: Vec<_> = proof.parameters.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["client_id", "client_assertion_type", "client_assertion"]);
            let jwt = &proof.parameters[2].1;
            assert_eq!(
                part(jwt, 0),
                serde_json::json!({"typ": ASSERTION_JWT_TYPE, "alg": "ES256", "kid": "k1"})
            );
            let claims = part(jwt, 1);
            assert_eq!((&claims["iss"], &claims["sub"]), (&"id".into(), &"id".into()));
            assert_eq!(claims["aud"], "https://as.test/t1/");
            assert_eq!(
                (&claims["iat"], &claims["exp"]),
                (&NOW.get().into(), &1_700_000_060.into())
            );
            let (signed, signature) = jwt.rsplit_once('.').unwrap();
            let public = jsonwebtoken::DecodingKey::from_ec_der(pair.public_key_raw());
            let algorithm = jsonwebtoken::Algorithm::ES256;
            let verified =
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &public, algorithm);
            assert!(verified.unwrap());
            ids.insert(claims["jti"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 2, "each assertion has its own jti");
    }

    #[test]
    fn rfc7523_3_an_assertion_is_for_the_token_endpoint_only_where_the_settings_say_so() {
        let endpoint: Uri = "https://as.test/t1/token?v=2".parse().unwrap();
        let (issuer, unknown) = (issuer(), Err(OutboundFailure::AudienceUnknown));
        let named = |audience, token_endpoint| {
            let key = AssertionKey { audience, ..ec_key().0 };
            let client = client_of("id", ClientAuthenticationMethod::PrivateKeyJwt(key));
            let proof = prove(&client, Audiences { issuer: &issuer, token_endpoint }, NOW)?;
            Ok(part(&proof.parameters[2].1, 1)["aud"].clone())
        };
        use AssertionAudience::{Issuer, TokenEndpoint};
        assert_eq!(named(Issuer, Some(&endpoint)), Ok("https://as.test/t1/".into()));
        assert_eq!(
            named(TokenEndpoint, Some(&endpoint)),
            Ok("https://as.test/t1/token?v=2".into())
        );
        assert_eq!(named(TokenEndpoint, None), unknown, "the issuer does not stand in for it");
    }

    #[test]
    fn rfc8705_2_who_shows_a_certificate_sends_its_id_and_nothing_else() {
        let identity = ClientIdentity {
            certificate: vec![],
            key: Secret::new("k"),
            certificate_file: "client.crt".into(),
            key_file: None,
        };
        let client = client_of("mutual", ClientAuthenticationMethod::Tls(identity));
        let audiences = Audiences { issuer: &issuer(), token_endpoint: None };
        let proof = prove(&client, audiences, NOW).unwrap();
        assert_eq!(proof.authorization, None);
        assert_eq!(proof.parameters, [("client_id", "mutual".into())]);
    }

    #[test]
    fn a_key_that_cannot_sign_sends_nothing() {
        let (mut key, _) = ec_key();
        key.algorithm = Algorithm::Signature(SignatureAlgorithm::Rs256);
        let client = client_of("id", ClientAuthenticationMethod::PrivateKeyJwt(key));
        let audiences = Audiences { issuer: &issuer(), token_endpoint: None };
        let outcome = prove(&client, audiences, NOW).map(drop);
        assert_eq!(outcome, Err(OutboundFailure::Unsigned));
    }
}
