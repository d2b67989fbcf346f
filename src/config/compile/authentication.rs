//! How a client of ours proves who it is: the same keys beside introspection and in
//! `[clients.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonwebtoken::{EncodingKey, Header};
use rustls_pki_types::CertificateDer;

use crate::base::secret::Secret;
use crate::config::context::Spot;
use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::tls::check_identity;
use crate::config::{
    AssertionAudience, AssertionKey, BasicEncoding, ClientAuthentication,
    ClientAuthenticationMethod, ClientIdentity,
};
use crate::oauth::{Algorithm, ClientId, SignatureAlgorithm};

/// How a client proves who it is, and where its own key is named, if it has one.
pub(super) struct Authentication<'c> {
    pub(super) settings: ClientAuthentication,
    pub(super) key_at: Option<Spot<'c>>,
}

pub(super) fn read<'c>(table: &mut Table<'c>) -> Result<Authentication<'c>, Told> {
    let client_id = table
        .must("client_id", "write client_id = \"…\"", |value| value.text().map(ClientId::new));
    let method = method(table);
    let parameters = table.or("parameters", BTreeMap::new(), parameters);
    let (client_id, (method, key_at), parameters) = (client_id?, method?, parameters?);
    let settings = ClientAuthentication { client_id, method, parameters };
    Ok(Authentication { settings, key_at })
}

/// `basic_encoding`.
pub(super) fn encoding(value: &Value<'_>) -> Result<BasicEncoding, Told> {
    value.word(&[("form", BasicEncoding::Form), ("raw", BasicEncoding::Raw)])
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Method {
    SecretBasic,
    SecretPost,
    PrivateKeyJwt,
    Tls,
}

/// What stands beside `authentication`, read.
struct Proof<'c> {
    secret: Option<(Secret, Spot<'c>)>,
    key: Option<(Key, Spot<'c>)>,
    certificate: Option<(Certificate, Spot<'c>)>,
    key_id: Option<(Box<str>, Spot<'c>)>,
    key_algorithm: Option<(SignatureAlgorithm, Spot<'c>)>,
    audience: Option<(AssertionAudience, Spot<'c>)>,
    encoding: Option<(BasicEncoding, Spot<'c>)>,
}

/// PEM, and the file that it was read from, if it was one.
type Key = (Secret, Option<PathBuf>);

/// A chain, and the file that it was read from.
type Certificate = (Vec<CertificateDer<'static>>, PathBuf);

/// The method, and where its key is named.
fn method<'c>(
    table: &mut Table<'c>,
) -> Result<(ClientAuthenticationMethod, Option<Spot<'c>>), Told> {
    let method = table.or("authentication", Method::SecretBasic, |value| value.word(&METHODS));
    let secret = table.option("client_secret", with_spot(files::secret));
    let key = table.option("client_key", with_spot(files::secret_and_file));
    let certificate = table
        .option("certificate", with_spot(|value| files::with_path(&value, files::certificates)));
    let key_id = table.option("client_key_id", with_spot(|value| value.text().map(Into::into)));
    let key_algorithm = table.option("client_key_algorithm", with_spot(key_algorithm));
    let audience = table.option("assertion_audience", with_spot(audience));
    let encoding = table.option("basic_encoding", with_spot(|value| encoding(&value)));
    let (secret, key, certificate, key_id) = (secret?, key?, certificate?, key_id?);
    let (key_algorithm, audience, encoding) = (key_algorithm?, audience?, encoding?);
    let key_at = key.as_ref().map(|(_, spot): &(Key, Spot<'c>)| spot.clone());
    let proof = Proof { secret, key, certificate, key_id, key_algorithm, audience, encoding };
    Ok((proof.by(method?, table)?, key_at))
}

fn with_spot<'c, T>(
    read: impl FnOnce(Value<'c>) -> Result<T, Told>,
) -> impl FnOnce(Value<'c>) -> Result<(T, Spot<'c>), Told> {
    |value| {
        let spot = value.spot().clone();
        read(value).map(|read| (read, spot))
    }
}

impl Proof<'_> {
    fn by(self, method: Method, table: &mut Table<'_>) -> Result<ClientAuthenticationMethod, Told> {
        match method {
            Method::PrivateKeyJwt => return self.by_key(table),
            Method::Tls => return self.by_certificate(table),
            Method::SecretBasic | Method::SecretPost => {}
        }
        unused(self.key, "private_key_jwt\" or \"tls_client_auth")?;
        unused(self.certificate, "tls_client_auth")?;
        unused(self.key_id, "private_key_jwt")?;
        unused(self.key_algorithm, "private_key_jwt")?;
        unused(self.audience, "private_key_jwt")?;
        let Some((secret, _)) = self.secret else {
            return Err(table.lacks(
                &["client_secret"],
                "`client_secret` is missing",
                "write client_secret = { env = \"NAME\" } or { file = \"path\" }",
            ));
        };
        if method == Method::SecretPost {
            unused(self.encoding, "client_secret_basic")?;
            return Ok(ClientAuthenticationMethod::SecretPost(secret));
        }
        let encoding = self.encoding.map_or(BasicEncoding::Form, |(encoding, _)| encoding);
        Ok(ClientAuthenticationMethod::SecretBasic(secret, encoding))
    }

    fn by_key(self, table: &mut Table<'_>) -> Result<ClientAuthenticationMethod, Told> {
        unused(self.secret, "client_secret_basic\" or \"client_secret_post")?;
        unused(self.encoding, "client_secret_basic")?;
        unused(self.certificate, "tls_client_auth")?;
        let Some(((pem, _), at)) = self.key else {
            let write = "write client_key = { file = \"path\" }: PKCS#8, PEM";
            return Err(table.lacks(&["client_key"], "`client_key` is missing", write));
        };
        let wanted = self.key_algorithm.map(|(algorithm, _)| algorithm);
        let Some(algorithm) = signs_with(&pem, wanted) else {
            let what = match wanted {
                Some(wanted) => {
                    format!("this is no private key that {} can sign with", wanted.name())
                }
                None => "this is no private key that can sign".to_owned(),
            };
            return Err(at.wrong(
                what,
                "name a PKCS#8 PEM file: RSA of at least 2048 bits, P-256, P-384 or Ed25519",
            ));
        };
        let key_id = self.key_id.map(|(key_id, _)| key_id);
        let audience = self.audience.map_or(AssertionAudience::Issuer, |(audience, _)| audience);
        let algorithm = Algorithm::Signature(algorithm);
        let key = AssertionKey { pem, algorithm, key_id, audience };
        Ok(ClientAuthenticationMethod::PrivateKeyJwt(key))
    }

    /// RFC 8705 §2: the handshake proves it.
    fn by_certificate(self, table: &mut Table<'_>) -> Result<ClientAuthenticationMethod, Told> {
        unused(self.secret, "client_secret_basic\" or \"client_secret_post")?;
        unused(self.encoding, "client_secret_basic")?;
        unused(self.key_id, "private_key_jwt")?;
        unused(self.key_algorithm, "private_key_jwt")?;
        unused(self.audience, "private_key_jwt")?;
        let Some(((certificate, certificate_file), at)) = self.certificate else {
            let write = "write certificate = \"client.crt\": PEM, our own certificate first";
            return Err(table.lacks(&["certificate"], "`certificate` is missing", write));
        };
        let Some(((key, key_file), _)) = self.key else {
            let write = "write client_key = { file = \"path\" }, the certificate's own, PEM";
            return Err(table.lacks(&["client_key"], "`client_key` is missing", write));
        };
        check_identity(&certificate, &key)
            .map_err(|error| at.wrong(error, "name a certificate and its own private key, PEM"))?;
        let identity = ClientIdentity { certificate, key, certificate_file, key_file };
        Ok(ClientAuthenticationMethod::Tls(identity))
    }
}

fn unused<T>(value: Option<(T, Spot<'_>)>, method: &str) -> Result<(), Told> {
    let Some((_, spot)) = value else { return Ok(()) };
    Err(spot.wrong(
        "this authentication makes no use of it",
        format!("write authentication = \"{method}\", or take this key out"),
    ))
}

fn audience(value: Value<'_>) -> Result<AssertionAudience, Told> {
    value.word(&[
        ("issuer", AssertionAudience::Issuer),
        ("token_endpoint", AssertionAudience::TokenEndpoint),
    ])
}

fn key_algorithm(value: Value<'_>) -> Result<SignatureAlgorithm, Told> {
    let write = "write RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";
    value.parse(write, |text| match text.parse() {
        Ok(Algorithm::Signature(algorithm)) if SIGNS.iter().any(|(one, _)| *one == algorithm) => {
            Ok(algorithm)
        }
        _ => Err("an assertion cannot be signed with this"),
    })
}

/// The first algorithm that the key can sign with, found by signing: a PEM that merely looks right
/// would fail at the first request.
fn signs_with(pem: &Secret, wanted: Option<SignatureAlgorithm>) -> Option<SignatureAlgorithm> {
    let pem = pem.expose().as_bytes();
    let is_wanted = |one: SignatureAlgorithm| wanted.is_none_or(|wanted| wanted == one);
    let mut candidates = SIGNS.iter().filter(|(algorithm, _)| is_wanted(*algorithm));
    candidates.find(|(_, name)| can_sign(pem, *name)).map(|(algorithm, _)| *algorithm)
}

fn can_sign(pem: &[u8], algorithm: jsonwebtoken::Algorithm) -> bool {
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA};

    let key = match algorithm {
        ES256 | ES384 => EncodingKey::from_ec_pem(pem),
        EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    };
    let claims = serde_json::Map::new();
    key.is_ok_and(|key| jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).is_ok())
}

fn parameters(value: Value<'_>) -> Result<BTreeMap<String, String>, Told> {
    let entries = value.entries("write parameters = { name = \"value\" }")?;
    let read = entries.into_iter().map(|entry| {
        if ClientAuthentication::PROTOCOL.contains(&entry.name.as_str()) {
            let write = "take it out; scopes and resources have keys of their own";
            return Err(entry.key.wrong("the gateway sends this parameter itself", write));
        }
        Ok((entry.name, entry.value.text()?.to_owned()))
    });
    crate::config::reader::all(read).map(BTreeMap::from_iter)
}

const METHODS: [(&str, Method); 5] = [
    ("client_secret_basic", Method::SecretBasic),
    ("client_secret_post", Method::SecretPost),
    ("private_key_jwt", Method::PrivateKeyJwt),
    ("tls_client_auth", Method::Tls),
    ("self_signed_tls_client_auth", Method::Tls),
];

/// What assertions can be signed with; the first that fits a key is its default.
const SIGNS: [(SignatureAlgorithm, jsonwebtoken::Algorithm); 9] = [
    (SignatureAlgorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    (SignatureAlgorithm::Rs384, jsonwebtoken::Algorithm::RS384),
    (SignatureAlgorithm::Rs512, jsonwebtoken::Algorithm::RS512),
    (SignatureAlgorithm::Ps256, jsonwebtoken::Algorithm::PS256),
    (SignatureAlgorithm::Ps384, jsonwebtoken::Algorithm::PS384),
    (SignatureAlgorithm::Ps512, jsonwebtoken::Algorithm::PS512),
    (SignatureAlgorithm::Es256, jsonwebtoken::Algorithm::ES256),
    (SignatureAlgorithm::Es384, jsonwebtoken::Algorithm::ES384),
    (SignatureAlgorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_with_what_its_type_allows() {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Rs256};
        for (kind, expected) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Es256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Es384),
            (&rcgen::PKCS_ED25519, EdDsa),
        ] {
            let pem = Secret::new(rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem());
            assert_eq!(signs_with(&pem, None), Some(expected));
            assert_eq!(signs_with(&pem, Some(expected)), Some(expected));
            assert_eq!(signs_with(&pem, Some(Rs256)), None);
        }
        assert_eq!(signs_with(&Secret::new("no PEM"), None), None);
    }
}
