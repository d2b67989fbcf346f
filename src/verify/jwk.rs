//! JWK sets (RFC 7517 §5): what an authorization server publishes, read into keys that can be used.
//!
//! One bad key leaves the others alone: a key of a type, curve, use or size that we do not use is
//! skipped and counted. A symmetric key in a published set is a secret that everybody knows, and
//! a private one too, so neither is ever used.

use serde_json::{Map, Value};

use super::base64url;
use super::signature::{Curve, PublicKey};
use crate::base::digest::Digest;
use crate::oauth::{Algorithm, Claims, SignatureAlgorithm, Thumbprint};

/// A key that tokens can be checked with.
#[derive(Debug)]
pub(super) struct Key {
    /// `kid`, which is compared and nothing else.
    pub(super) id: Option<Box<str>>,
    /// What this key is.
    pub(super) print: KeyPrint,
    /// What it serves: its own `alg` alone, or else whatever its type allows.
    pub(super) algorithms: Box<[SignatureAlgorithm]>,
    /// The key itself.
    pub(super) public: PublicKey,
}

/// What a key is, whoever publishes it when: its material and what it serves. Another key under an
/// old `kid` has another one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct KeyPrint([u8; 16]);

/// A set as it was read.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    /// Those that can be used, in the order of the set.
    pub(super) keys: Vec<Key>,
    /// How many were left out.
    pub(super) skipped: usize,
}

/// The text is no JWK set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NoKeySet;

/// Which keys of a set a token may have been signed with.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Candidates<K> {
    /// These, at least one and at most [`CANDIDATES_MAX`].
    Keys(Vec<K>),
    /// The key that `kid` names is there, and does not serve the algorithm.
    Unfit,
    /// None: another set may have it.
    Unknown,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is not a JSON object with an array `keys` (RFC 7517 §5.1). An array without any
    /// usable key is a set all the same: all keys may have been withdrawn.
    pub(super) fn parse(json: &[u8]) -> Result<Self, NoKeySet> {
        let document = Claims::parse(json).map_err(|_| NoKeySet)?;
        let Some(Value::Array(members)) = document.value("keys") else {
            return Err(NoKeySet);
        };
        let keys: Vec<Key> =
            members.iter().take(KEYS_MAX).filter_map(Value::as_object).filter_map(key).collect();
        Ok(Self { skipped: members.len() - keys.len(), keys })
    }
}

/// Picks the keys that a token with this `kid` and `alg` may have been signed with.
///
/// With `kid`: those of that id, of which a set may have several (RFC 7517 §4.5). Without: all
/// that serve the algorithm, bounded, as `kid` is optional (RFC 7515 §4.1.4).
pub(super) fn candidates<'k>(
    keys: impl Iterator<Item = &'k Key>,
    id: Option<&str>,
    algorithm: SignatureAlgorithm,
) -> Candidates<&'k Key> {
    let named = keys.filter(|key| id.is_none() || key.id.as_deref() == id);
    let mut is_named = false;
    let fitting: Vec<_> = named
        .inspect(|_| is_named = id.is_some())
        .filter(|key| key.algorithms.contains(&algorithm))
        .take(CANDIDATES_MAX)
        .collect();
    match (fitting.is_empty(), is_named) {
        (false, _) => Candidates::Keys(fitting),
        (true, true) => Candidates::Unfit,
        (true, false) => Candidates::Unknown,
    }
}

/// One key, if it can be used: of a set, or alone in a header.
pub(super) fn key(jwk: &Map<String, Value>) -> Option<Key> {
    if !is_for_verifying(jwk) || PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
        return None;
    }
    let id = optional_text(jwk, "kid")?;
    let (public, material) = public_key(jwk)?;
    let algorithms: Box<[_]> = match optional_text(jwk, "alg")? {
        None => public.algorithms().into(),
        Some(name) => match name.parse() {
            Ok(Algorithm::Signature(one)) if public.algorithms().contains(&one) => Box::new([one]),
            _ => return None,
        },
    };
    let print = print(&material, &algorithms);
    Some(Key { id: id.map(Box::from), print, algorithms, public })
}

/// The thumbprint of a public key (RFC 7638 §3): of the members that each key of its type has, in the
/// order of their names. They are texts in base64url, so nothing in them needs an escape.
pub(super) fn thumbprint(jwk: &Map<String, Value>) -> Option<Thumbprint> {
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let member = |name: &&str| Some(format!("\"{name}\":\"{}\"", jwk.get(*name)?.as_str()?));
    let members: Vec<String> = names.iter().map(member).collect::<Option<_>>()?;
    Some(Thumbprint::of(format!("{{{}}}", members.join(",")).as_bytes()))
}

/// RFC 7517 §4.2 and §4.3: what both say, where they say something.
fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let use_fits = jwk.get("use").is_none_or(|value| value == "sig");
    let operations_fit = jwk.get("key_ops").is_none_or(|value| {
        value.as_array().is_some_and(|many| many.iter().any(|one| one == "verify"))
    });
    use_fits && operations_fit
}

fn public_key(jwk: &Map<String, Value>) -> Option<(PublicKey, Vec<u8>)> {
    match jwk.get("kty")?.as_str()? {
        "RSA" => {
            let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
            Some((PublicKey::rsa(&n, &e)?, [n, e].concat()))
        }
        "EC" => {
            let curve = match jwk.get("crv")?.as_str()? {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                _ => return None,
            };
            let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
            Some((PublicKey::ec(curve, &x, &y)?, [x, y].concat()))
        }
        "OKP" if jwk.get("crv")? == "Ed25519" => {
            let x = bytes(jwk, "x")?;
            Some((PublicKey::ed25519(&x)?, x))
        }
        _ => None,
    }
}

fn print(material: &[u8], algorithms: &[SignatureAlgorithm]) -> KeyPrint {
    let mut parts = vec![material];
    parts.extend(algorithms.iter().map(|one| one.name().as_bytes()));
    let mut print = [0; 16];
    for (to, from) in print.iter_mut().zip(Digest::of_parts(&parts).as_bytes()) {
        *to = *from;
    }
    KeyPrint(print)
}

/// `None` for a wrong type, `Some(None)` for an absent member.
fn optional_text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Option<Option<&'j str>> {
    match jwk.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    base64url::decode(jwk.get(name)?.as_str()?)
}

/// More keys than any server publishes; the rest of a longer set is left out.
pub(super) const KEYS_MAX: usize = 100;

/// How many signature checks one token may cost.
pub(super) const CANDIDATES_MAX: usize = 4;

/// RFC 7518 §6.3.2, §6.2.2, §6.4: whoever publishes one of these has no secret any more.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::SigningKey;
    use super::*;
    use SignatureAlgorithm as A;

    fn set(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn with(jwk: &Value, name: &str, value: Value) -> Value {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    }

    fn without(jwk: &Value, name: &str) -> Value {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    }

    #[test]
    fn rfc7517_5_one_bad_key_leaves_the_others_alone() {
        let rsa = SigningKey::generate(A::Rs256).jwk("r");
        let ec = SigningKey::generate(A::Es256).jwk("e");
        let okp = SigningKey::generate(A::EdDsa).jwk("o");
        #[rustfmt::skip]
        let bad = [
            ("unknown kty",          with(&rsa, "kty", json!("RSB"))),
            ("no kty",               without(&rsa, "kty")),
            ("kty no string",        with(&rsa, "kty", json!(1))),
            ("no modulus",           without(&rsa, "n")),
            ("no exponent",          without(&rsa, "e")),
            ("modulus padded",       with(&rsa, "n", json!("AQAB=="))),
            ("modulus too small",    with(&rsa, "n", json!(base64url::encode([0xff; 128])))),
            ("modulus absurd",       with(&rsa, "n", json!(base64url::encode([0xff; 1025])))),
            ("for encryption",       with(&rsa, "use", json!("enc"))),
            ("use no string",        with(&rsa, "use", json!(["sig"]))),
            ("not for verifying",    with(&rsa, "key_ops", json!(["encrypt", "sign"]))),
            ("key_ops no array",     with(&rsa, "key_ops", json!("verify"))),
            ("alg of another type",  with(&rsa, "alg", json!("ES256"))),
            ("alg unknown",          with(&rsa, "alg", json!("RSA-OAEP"))),
            ("alg of a MAC",         with(&rsa, "alg", json!("HS256"))),
            ("kid no string",        with(&rsa, "kid", json!(1))),
            ("private",              with(&rsa, "d", json!("AQAB"))),
            ("unknown curve",        with(&ec, "crv", json!("secp256k1"))),
            ("curve of another size",with(&ec, "crv", json!("P-384"))),
            ("not on the curve",     with(&ec, "y", json!(base64url::encode([7; 32])))),
            ("no y",                 without(&ec, "y")),
            ("Ed448",                with(&okp, "crv", json!("Ed448"))),
            ("X25519",               with(&okp, "crv", json!("X25519"))),
            ("no x",                 without(&okp, "x")),
            ("oct",                  json!({"kty": "oct", "k": "c2VjcmV0", "kid": "r"})),
            ("oct with alg",         json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})),
            ("no object",            json!("key")),
            ("null",                 json!(null)),
        ];
        for (claim, jwk) in bad {
            let set = set(&[rsa.clone(), jwk, ec.clone()]);
            assert_eq!((set.keys.len(), set.skipped), (2, 1), "{claim}");
        }
        assert_eq!(set(&[rsa, ec, okp]).keys.len(), 3);
    }

    #[test]
    fn rfc7517_5_1_a_set_is_an_object_with_an_array_of_keys() {
        for json in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
            assert_eq!(KeySet::parse(json.as_bytes()).err(), Some(NoKeySet), "{json}");
        }
        assert_eq!(KeySet::parse(br#"{"keys":[],"x":1}"#).unwrap().keys.len(), 0);
    }

    #[test]
    fn a_set_is_read_up_to_its_hundredth_key() {
        let jwk = SigningKey::generate(A::EdDsa).jwk("o");
        let set = set(&vec![jwk; KEYS_MAX + 1]);
        assert_eq!((set.keys.len(), set.skipped), (KEYS_MAX, 1));
    }

    #[test]
    fn rfc8725_3_1_a_key_with_alg_serves_that_alone() {
        let jwk = SigningKey::generate(A::Rs256).jwk("r");
        let any = set(&[without(&jwk, "alg")]);
        let one = set(&[with(&jwk, "alg", json!("PS256"))]);
        assert_eq!(any.keys[0].algorithms.len(), 6);
        assert_eq!(*one.keys[0].algorithms, [A::Ps256]);
        assert_ne!(any.keys[0].print, one.keys[0].print);
        let ed = SigningKey::generate(A::EdDsa).jwk("o");
        let named = set(&[with(&ed, "alg", json!("Ed25519")), with(&ed, "alg", json!("EdDSA"))]);
        assert_eq!(*named.keys[0].algorithms, [A::EdDsa]);
        assert_eq!(named.keys[0].print, named.keys[1].print);
    }

    #[test]
    fn kid_and_alg_pick_the_keys_to_try() {
        let jwk = |algorithm, id: &str| without(&SigningKey::generate(algorithm).jwk(id), "alg");
        let mut jwks = vec![jwk(A::Rs256, "a"), jwk(A::Es256, "a"), jwk(A::Es256, "a")];
        jwks.extend((0..5).map(|_| without(&jwk(A::EdDsa, ""), "kid")));
        let set = set(&jwks);
        let found = |id, algorithm| match candidates(set.keys.iter(), id, algorithm) {
            Candidates::Keys(keys) => Ok(keys.len()),
            Candidates::Unfit => Err("unfit"),
            Candidates::Unknown => Err("unknown"),
        };
        #[rustfmt::skip]
        let cases = [
            ("the one of that id that fits",    Some("a"),  A::Ps256, Ok(1)),
            ("two of one id are both tried",    Some("a"),  A::Es256, Ok(2)),
            ("the id fits, its keys do not",    Some("a"),  A::EdDsa, Err("unfit")),
            ("another id",                      Some("b"),  A::Rs256, Err("unknown")),
            ("an id is compared whole",         Some("A"),  A::Rs256, Err("unknown")),
            ("without an id all that fit",      None,       A::Es256, Ok(2)),
            ("without an id four at most",      None,       A::EdDsa, Ok(CANDIDATES_MAX)),
            ("without an id none that fits",    None,       A::Es384, Err("unknown")),
            ("an empty id is an id",            Some(""),   A::EdDsa, Err("unknown")),
            ("an id is no path",                Some("../../etc/passwd"), A::Rs256, Err("unknown")),
        ];
        for (claim, id, algorithm, expected) in cases {
            assert_eq!(found(id, algorithm), expected, "{claim}");
        }
    }
}
