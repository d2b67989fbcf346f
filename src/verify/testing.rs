//! Keys, tokens and settings for the tests of this room. Keys are made anew in each run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::base64url;
use super::signature::{Curve, PublicKey};
use crate::base::secret::Secret;
use crate::config::{
    AuthorizationServer, Basic, BasicEncoding, BasicScopes, ClientAuthentication,
    ClientAuthenticationMethod, Endpoints, Introspect, Introspection, IntrospectionAnswer,
    JwksTimes, KeySource, OnUnavailable,
};
use crate::oauth::{ClientId, Issuer, Plaintext, SignatureAlgorithm};
use crate::outbound::testing::outbound;

/// A server of that issuer: keys by discovery, no introspection, all else by default.
pub(super) fn settings(issuer: &str) -> AuthorizationServer {
    AuthorizationServer {
        name: "main".into(),
        issuer: Issuer::parse(issuer, Plaintext::Allowed).unwrap(),
        audiences: Arc::default(),
        audience_claim: "aud".into(),
        client_id_claim: None,
        algorithms: vec![],
        token_types: vec!["at+jwt".into()],
        clock_skew: Duration::from_secs(30),
        keys: KeySource::Discovery,
        shared_secret: None,
        endpoints: Endpoints::default(),
        jwks: JwksTimes {
            refresh: Duration::from_secs(900),
            cooldown: Duration::from_secs(30),
            max_stale: Duration::from_secs(86_400),
        },
        outbound: outbound(),
        introspection: None,
        basic: Basic {
            scopes: BasicScopes::Route,
            cache_ttl: Duration::from_secs(60),
            negative_cache_ttl: Duration::from_secs(10),
            encoding: BasicEncoding::Form,
        },
        dpop: None,
        certificate_bound: None,
        kept_claims: vec![],
        traced: false,
        revocation: None,
        logout: None,
    }
}

/// `[introspection]` by default.
pub(super) fn introspection() -> Introspection {
    Introspection {
        client: ClientAuthentication {
            client_id: ClientId::new("gateway"),
            method: ClientAuthenticationMethod::SecretBasic(
                Secret::new("secret"),
                BasicEncoding::Form,
            ),
            parameters: BTreeMap::from([("tenant".to_owned(), "t1".to_owned())]),
        },
        cache_ttl: Duration::from_secs(60),
        negative_cache_ttl: Duration::from_secs(10),
        require_audience: true,
        on_unavailable: OnUnavailable::Refuse,
        introspect: Introspect::Opaque,
        answer: IntrospectionAnswer::Json,
    }
}

/// A key that signs, as an authorization server holds one.
pub(super) struct SigningKey {
    algorithm: SignatureAlgorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, Vec<u8>, Curve),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    pub(super) fn generate(algorithm: SignatureAlgorithm) -> Self {
        use SignatureAlgorithm as A;
        let rsa = |encoding| {
            Pair::Rsa(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(), encoding)
        };
        let ec = |signing: &'static EcdsaSigningAlgorithm, curve| {
            let document = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
            let pkcs8 = document.as_ref().to_vec();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(signing, &pkcs8).unwrap(), pkcs8, curve)
        };
        let pair = match algorithm {
            A::Rs256 => rsa(&RSA_PKCS1_SHA256),
            A::Rs384 => rsa(&RSA_PKCS1_SHA384),
            A::Rs512 => rsa(&RSA_PKCS1_SHA512),
            A::Ps256 => rsa(&RSA_PSS_SHA256),
            A::Ps384 => rsa(&RSA_PSS_SHA384),
            A::Ps512 => rsa(&RSA_PSS_SHA512),
            A::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, Curve::P256),
            A::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, Curve::P384),
            A::Es512 => ec(&ECDSA_P521_SHA512_FIXED_SIGNING, Curve::P521),
            A::EdDsa => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
        };
        Self { algorithm, pair }
    }

    pub(super) fn one_of_each() -> Vec<Self> {
        SignatureAlgorithm::ALL.map(Self::generate).into()
    }

    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What tells it from other keys.
    pub(super) fn id(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair, _) => RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n,
            Pair::Ec(pair, ..) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair, ..) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The ASN.1 form, which JOSE does not have.
    pub(super) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let Pair::Ec(_, pkcs8, curve) = &self.pair else { panic!("an EC key") };
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        };
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    pub(super) fn public(&self) -> PublicKey {
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                PublicKey::rsa(&public.n, &public.e).unwrap()
            }
            Pair::Ec(.., curve) => {
                let (x, y) = ec_point(self);
                PublicKey::ec(*curve, &x, &y).unwrap()
            }
            Pair::Ed(pair) => PublicKey::ed25519(pair.public_key().as_ref()).unwrap(),
        }
    }

    /// The key as it is published.
    pub(super) fn jwk(&self, id: &str) -> Value {
        let alg = self.algorithm.name();
        let common = json!({"kid": id, "alg": alg, "use": "sig"});
        let own = match &self.pair {
            Pair::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let [n, e] = [public.n, public.e].map(base64url::encode);
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Pair::Ec(.., curve) => {
                let (x, y) = ec_point(self);
                let curve = ["P-256", "P-384", "P-521"][*curve as usize];
                let [x, y] = [x, y].map(base64url::encode);
                json!({"kty": "EC", "crv": curve, "x": x, "y": y})
            }
            Pair::Ed(pair) => {
                let x = base64url::encode(pair.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
        };
        let mut jwk = common;
        jwk.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        jwk
    }

    /// A token with these claims, `typ` at+jwt and this key id.
    pub(super) fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm.name(), "typ": "at+jwt", "kid": id});
        self.token_with(&header, claims)
    }

    /// A token with this header.
    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| base64url::encode(part.to_string()));
        let signed = parts.join(".");
        let signature = base64url::encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.algorithm.name())
    }
}

/// The coordinates of an EC key.
pub(super) fn ec_point(key: &SigningKey) -> (Vec<u8>, Vec<u8>) {
    let point = key.id();
    let (x, y) = point[1..].split_at(point.len() / 2);
    (x.to_vec(), y.to_vec())
}
