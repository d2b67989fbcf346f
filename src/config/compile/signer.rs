//! `[signers.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{Tables, identity, resource, route};
use crate::config::context::Spot;
use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::{Value, all};
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::config::{JwksPlace, Signer, SignerKeys};
use crate::headers::is_spelling_of;
use crate::oauth::{Audience, Issuer, SignatureAlgorithm, SigningKey};
use crate::route::{NormalHost, NormalPath};

/// A signer, and where its name and the place of its key set are written.
pub(super) struct Draft<'c> {
    pub(super) settings: Signer,
    at: Spot<'c>,
}

pub(super) fn read<'c>(name: &str, value: Value<'c>) -> Result<Draft<'c>, Told> {
    let at = value.spot().clone();
    let settings = value.table(|table| signer(name, table))?;
    Ok(Draft { settings, at })
}

fn signer(name: &str, table: &mut Table<'_>) -> Result<Signer, Told> {
    let issuer = table.must("issuer", ISSUER, |value| {
        let issuer = value.parse(ISSUER, |text| Issuer::parse(text, value.spot().plaintext()))?;
        let write = "call the gateway by a name of its own: whoever trusts one would trust both";
        value.spot().only("issuer", issuer.as_str(), write)?;
        Ok(issuer)
    });
    let write = "write audience = \"https://orders.internal\": what the upstream is called";
    let audience = table.must("audience", write, |value| value.text().map(Audience::new));
    let lifetime = table.or("lifetime", LIFETIME, |value| {
        within(&value, Duration::from_secs(1), Signer::LIFETIME_MAX, "\"1s\" to \"10m\"")
    });
    let keys = keys(table);
    let token_type = table.or("token_type", "JWT".into(), token_type);
    let claims = table.or("claims", CLAIMS.map(Into::into).to_vec(), claims);
    let header = table.option("header", |value| header(&value));
    let jwks = table.section("jwks", jwks);
    let (issuer, audience, keys) = (issuer?, audience?, keys?);
    Ok(Signer {
        name: name.into(),
        issuer,
        audience,
        lifetime: lifetime?,
        keys,
        token_type: token_type?,
        claims: claims?,
        header: header?,
        jwks: jwks?,
    })
}

fn within(
    value: &Value<'_>,
    least: Duration,
    most: Duration,
    shown: &str,
) -> Result<Duration, Told> {
    let found = duration(value, Zero::Refused)?;
    match (least..=most).contains(&found) {
        true => Ok(found),
        false => Err(value.wrong("out of bounds", format!("write {shown}"))),
    }
}

/// `keys`, or `algorithm` and `rotate`, which are of keys that nobody gave.
fn keys(table: &mut Table<'_>) -> Result<SignerKeys, Told> {
    let given = table.option("keys", |value| value.each(KEYS, key));
    let algorithm =
        table.option("algorithm", |value| Ok((value.word(&ALGORITHMS)?, value.spot().clone())));
    let rotate = table.option("rotate", |value| {
        let found = within(&value, ROTATE_MIN, ROTATE_MAX, "\"1h\" to \"90d\"")?;
        Ok((found, value.spot().clone()))
    });
    let (given, algorithm, rotate) = (given?, algorithm?, rotate?);
    let Some(given) = given else {
        let algorithm = algorithm.map_or(SignatureAlgorithm::Es256, |(algorithm, _)| algorithm);
        let rotate = rotate.map_or(ROTATE, |(rotate, _)| rotate);
        return Ok(SignerKeys::Generated { algorithm, rotate });
    };
    if let Some((_, spot)) = algorithm {
        return Err(spot.wrong("the type of each key in `keys` says it", "take it out"));
    }
    if let Some((_, spot)) = rotate {
        let write = "take it out; put another key first in `keys`, and reload";
        return Err(spot.wrong("keys from files are rotated by whoever writes them", write));
    }
    Ok(SignerKeys::Given(given))
}

fn key(value: Value<'_>) -> Result<Arc<SigningKey>, Told> {
    let spot = value.spot().clone();
    let pem = files::secret(value)?;
    let key = SigningKey::from_pem(&pem).ok_or_else(|| {
        let write = "name a PKCS#8 PEM file: P-256, P-384, Ed25519, or RSA of at least 2048 bits";
        spot.wrong("this is no private key that can sign", write)
    })?;
    spot.only("signing key", key.id(), "name each key once, for one signer")?;
    Ok(Arc::new(key))
}

fn token_type(value: Value<'_>) -> Result<Box<str>, Told> {
    let write = "write token_type = \"JWT\", or a type of your own such as \"gateway+jwt\"";
    value.parse(write, |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./".contains(&byte);
        let name = text.strip_prefix("application/").unwrap_or(text);
        if FOREIGN_TYPES.iter().any(|one| name.eq_ignore_ascii_case(one)) {
            return Err("this type belongs to another kind of JWT (RFC 8725 §3.11)");
        }
        if TYPE_MAX_BYTES < text.len() || !text.bytes().all(is_plain) {
            return Err("not a media type (RFC 7515 §4.1.9)");
        }
        Ok(text.into())
    })
}

fn claims(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    let mut before: Vec<Box<str>> = Vec::new();
    value.each("write claims = [\"sub\", \"client_id\", \"scope\"]", |value| {
        let name: Box<str> = value.text()?.into();
        if OWN.contains(&&*name) {
            let what = format!("`{name}` is about the JWT itself, not about the caller");
            return Err(value.wrong(what, "take it out"));
        }
        if before.contains(&name) {
            return Err(value.wrong("this claim is already in the list", "take one of them out"));
        }
        before.push(name.clone());
        Ok(name)
    })
}

/// `Authorization` is what it is without this key.
fn header(value: &Value<'_>) -> Result<HeaderName, Told> {
    let write = "write header = \"x-identity\"; without it, it is `Authorization: Bearer`";
    value.parse(write, identity::free_name)
}

fn jwks(table: &mut Table<'_>) -> Result<JwksPlace, Told> {
    let path = table.or("path", JWKS_PATH.into(), |value| {
        value.parse("write path = \"/.well-known/jwks.json\"", |text| {
            match NormalPath::parse(text) {
                Ok(path) if !path.is_rewritten() && !text.contains(['{', '?']) => Ok(text.into()),
                _ => Err("not one path in the normal form that requests are brought into"),
            }
        })
    });
    let host = table.option("host", |value| {
        value.parse("write host = \"api.example.com\"", |text| {
            NormalHost::parse(text).map(|host| Box::from(host.as_str()))
        })
    });
    Ok(JwksPlace { path: path?, host: host? })
}

/// What can only be seen beside other tables: two documents at one place, and a header that says who
/// is asking on one route and something else on another.
pub(super) fn check(
    signers: &Tables<Draft<'_>>,
    resources: &Tables<resource::Draft<'_>>,
    routes: &[&route::Draft<'_>],
) -> Result<(), Told> {
    let told = signers.good_ones().filter_map(|(index, signer)| {
        place_is_taken(signer, index, signers, resources)
            .or_else(|| header_is_taken(signer, routes))
            .map(|(what, write)| signer.at.wrong(what, write))
    });
    all(told.map(Err::<(), Told>)).map(drop)
}

fn place_is_taken(
    signer: &Draft<'_>,
    index: usize,
    signers: &Tables<Draft<'_>>,
    resources: &Tables<resource::Draft<'_>>,
) -> Option<(String, &'static str)> {
    let place = &signer.settings.jwks;
    let is_same = |other: &JwksPlace| {
        let hosts = (&other.host, &place.host);
        let is_same_host = hosts.0 == hosts.1 || hosts.0.is_none() || hosts.1.is_none();
        other.path == place.path && is_same_host
    };
    let other = signers.good_ones().take_while(|(other, _)| *other < index);
    let other = other.filter(|(_, other)| is_same(&other.settings.jwks)).map(|(other, _)| other);
    let taken = |(_, one): (usize, &resource::Draft<'_>)| {
        *one.settings.identifier.metadata_path() == *place.path
    };
    let taken_by = match other.into_iter().next() {
        Some(other) => format!("[signers.{}]", signers.name(other)),
        None => resources.good_ones().any(taken).then(|| "a resource's metadata".to_owned())?,
    };
    Some((
        format!("the key set would lie where that of {taken_by} does"),
        "write jwks = { path = \"/.well-known/NAME/jwks.json\" }",
    ))
}

fn header_is_taken(
    signer: &Draft<'_>,
    routes: &[&route::Draft<'_>],
) -> Option<(String, &'static str)> {
    let name = signer.settings.header.as_ref()?;
    let is_spelling = |one: &HeaderName| is_spelling_of(name.as_str(), one.as_str());
    let route = routes.iter().find(|route| {
        let mut edited = route.request_edits().into_iter().flat_map(|(edits, _)| edits.names());
        edited.any(is_spelling) || route.identity_names().any(is_spelling)
    })?;
    let what = format!("the route at {} puts something else into {name}", route.at.shown());
    Some((what, "use another name in one of the two"))
}

const ISSUER: &str = "write issuer = \"https://gateway.example.com\": what the gateway is called";
const KEYS: &str = "write keys = [{ file = \"keys/identity.pem\" }], the one that signs first";
const JWKS_PATH: &str = "/.well-known/jwks.json";

const CLAIMS: [&str; 3] = ["sub", "client_id", "scope"];
const LIFETIME: Duration = Duration::from_secs(60);
const ROTATE: Duration = Duration::from_secs(86_400);
/// A new key is published some minutes before it signs, and an old one for some minutes after.
const ROTATE_MIN: Duration = Duration::from_secs(3600);
const ROTATE_MAX: Duration = Duration::from_secs(90 * 86_400);
const TYPE_MAX_BYTES: usize = 64;

const ALGORITHMS: [(&str, SignatureAlgorithm); 3] = [
    ("ES256", SignatureAlgorithm::Es256),
    ("EdDSA", SignatureAlgorithm::EdDsa),
    ("RS256", SignatureAlgorithm::Rs256),
];

/// Claims that are about the JWT itself, or that mark another kind of JWT.
const OWN: [&str; 14] = [
    "aud",
    "at_hash",
    "c_hash",
    "cnf",
    "events",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "s_hash",
    "sub_id",
    "token_introspection",
];

/// Types of other JWTs that somebody acts on.
const FOREIGN_TYPES: [&str; 6] = [
    "client-authentication+jwt",
    "dpop+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
];
