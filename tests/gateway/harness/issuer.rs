//! An issuer inside the test: keys, a key set in a file, tokens of any kind.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Map, Value, json};

use super::keys::{SigningKey, base64url};
use super::{Scratch, unix_now};

/// The name of the usual issuer.
pub const ISSUER: &str = "https://issuer.test";
/// What the usual tokens are meant for.
pub const AUDIENCE: &str = "https://api.test";

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// The issuer.
pub struct TestIssuer {
    /// `iss` of its tokens.
    pub name: String,
    /// Signs; the first one by default.
    pub keys: Vec<SigningKey>,
    folder: Scratch,
}

impl TestIssuer {
    /// The usual one, with one ES256 key, which is quick to make.
    pub fn new() -> Self {
        Self::named(ISSUER, &["ES256"])
    }

    /// One with a key for each of these algorithms.
    pub fn named(name: &str, algorithms: &[&'static str]) -> Self {
        let key = |algorithm: &&'static str| SigningKey::new(algorithm, &format!("{algorithm}-1"));
        let issuer = Self {
            name: name.to_owned(),
            keys: algorithms.iter().map(key).collect(),
            folder: Scratch::new(),
        };
        issuer.publish(&issuer.jwks());
        issuer
    }

    /// Its key set.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() })
    }

    /// Puts a key set into the file.
    pub fn publish(&self, jwks: &Value) -> PathBuf {
        self.folder.write("jwks.json", jwks.to_string())
    }

    /// The file of its key set.
    pub fn jwks_file(&self) -> String {
        self.folder.path().join("jwks.json").display().to_string()
    }

    /// A token that the usual route lets in, apart from its scopes: it has none yet.
    pub fn token(&self) -> Token<'_> {
        self.token_by(&self.keys[0])
    }

    /// The same, signed by another key.
    pub fn token_by<'a>(&'a self, key: &'a SigningKey) -> Token<'a> {
        let now = unix_now();
        let header = json!({ "alg": key.algorithm, "typ": "at+jwt", "kid": key.id });
        let claims = json!({
            "iss": self.name, "aud": AUDIENCE, "sub": "alice", "client_id": "app",
            "iat": now, "exp": now + 300,
            "jti": format!("token-{}", SERIAL.fetch_add(1, Ordering::Relaxed)),
        });
        Token { key, header: object(header), claims: object(claims) }
    }
}

/// A token in the making.
#[derive(Clone)]
pub struct Token<'a> {
    key: &'a SigningKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token<'_> {
    /// Sets `scope`.
    pub fn scopes(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// Lives for so many seconds from now; negative: it has ended.
    pub fn ttl(self, seconds: i64) -> Self {
        self.claim("exp", unix_now() + seconds)
    }

    /// Sets a claim; null takes it away.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Sets a member of the header; null takes it away.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// The token.
    pub fn sign(&self) -> String {
        self.sign_by(|input| self.key.sign(input))
    }

    /// The token with a signature of another kind.
    pub fn sign_by(&self, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        assemble(&json!(self.header).to_string(), &json!(self.claims).to_string(), sign)
    }

    /// The token with header and claims as these texts, signed as they are.
    pub fn sign_texts(&self, change: impl FnOnce(String, String) -> (String, String)) -> String {
        let texts = (json!(self.header).to_string(), json!(self.claims).to_string());
        let (header, claims) = change(texts.0, texts.1);
        assemble(&header, &claims, |input| self.key.sign(input))
    }
}

/// Any header over any payload with any signature.
pub fn assemble(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", base64url(header), base64url(payload));
    let signature = base64url(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn set(object: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => panic!("an object"),
    }
}
