//! `[authorization_servers.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::client::cache_ttls;
use super::{access, authentication, binding, introspection, revocation};
use crate::base::net::is_safe_endpoint;
use crate::base::secret::Secret;
use crate::config::context::Spot;
use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::{Form, Value};
use crate::config::table::Table;
use crate::config::value::{Zero, duration, endpoint_url, proxy, size};
use crate::config::{
    AuthorizationServer, Basic, BasicEncoding, BasicScopes, Endpoints, Introspection,
    IntrospectionAnswer, JwksTimes, KeySource, Outbound,
};
use crate::oauth::{Algorithm, Audience, Issuer, Plaintext, SignatureAlgorithm};

/// A server, and the places of its table and of our client's key there.
pub(super) struct Server<'c> {
    pub(super) settings: AuthorizationServer,
    pub(super) spot: Spot<'c>,
    pub(super) key_at: Option<Spot<'c>>,
    /// Where it has doors to the revocation list.
    pub(super) doors: revocation::Doors<'c>,
}

pub(super) fn read<'c>(name: &str, value: Value<'c>) -> Result<Server<'c>, Told> {
    let spot = value.spot().clone();
    let (settings, key_at, doors) = value.table(|table| server(name, table))?;
    Ok(Server { settings, spot, key_at, doors })
}

fn server<'c>(
    name: &str,
    table: &mut Table<'c>,
) -> Result<(AuthorizationServer, Option<Spot<'c>>, revocation::Doors<'c>), Told> {
    let issuer = issuer(table);
    let audiences = table.or("audiences", Vec::new(), audiences);
    let audience_claim =
        table.or("audience_claim", "aud".into(), |value| value.text().map(Into::into));
    let client_id_claim = table.option("client_id_claim", |value| value.text().map(Box::from));
    let signing = signing(table);
    let token_types = table.or("token_types", vec!["at+jwt".into()], token_types);
    let clock_skew = table.or("clock_skew", CLOCK_SKEW, clock_skew);
    let keys = keys(table);
    let jwks = table.section("jwks", jwks);
    let outbound = table.section("outbound", outbound);
    let endpoints = endpoints(table);
    let introspection = introspection::read(table);
    let basic = table.section("basic", basic);
    let doors = revocation::doors(table);
    let dpop = table.option("dpop", |value| value.table(binding::dpop));
    let certificate_bound = table.option("certificate_bound", |value| value.table(binding::demand));
    let (algorithms, shared_secret) = signing?;
    let introspection::Asking { endpoint, settings: introspection, key_at } = introspection?;
    let (revocation, logout, doors) = doors?;
    let is_mac_only = algorithms.iter().all(|one| matches!(one, Algorithm::Mac(_)));
    let signs_answers = |asking: &Introspection| asking.answer == IntrospectionAnswer::Jwt;
    if is_mac_only && introspection.as_ref().is_some_and(signs_answers) {
        let what = "introspection has answer = \"jwt\", and no algorithm here signs (RFC 9701 §5)";
        return Err(table.spot().wrong(what, "add those that the server signs with, as \"RS256\""));
    }
    let settings = AuthorizationServer {
        name: name.into(),
        issuer: issuer?,
        audiences: audiences?.into(),
        audience_claim: audience_claim?,
        client_id_claim: client_id_claim?.filter(|name| **name != *"client_id"),
        algorithms,
        token_types: token_types?,
        clock_skew: clock_skew?,
        keys: keys?,
        shared_secret,
        endpoints: Endpoints { introspection: endpoint, ..endpoints? },
        jwks: jwks?,
        outbound: outbound?,
        introspection,
        basic: basic?,
        dpop: dpop?,
        certificate_bound: certificate_bound?,
        kept_claims: Vec::new(),
        traced: false,
        revocation,
        logout,
    };
    Ok((settings, key_at, doors))
}

fn issuer(table: &mut Table<'_>) -> Result<Issuer, Told> {
    let write = "write issuer = \"https://login.example.com\", exactly as its tokens have it";
    table.must("issuer", write, |value| {
        let plaintext = value.spot().plaintext();
        let issuer = value.parse(write, |text| Issuer::parse(text, plaintext))?;
        let url: Option<Uri> = issuer.as_str().parse().ok();
        if !url.is_some_and(|url| is_safe_endpoint(&url)) {
            let what = match plaintext {
                Plaintext::Allowed => "http: is for an issuer on loopback",
                Plaintext::Refused => "an issuer has no user name and no link-local address",
            };
            return Err(value.wrong(what, write));
        }
        value.spot().only("issuer", issuer.as_str(), "keep one table for one issuer")?;
        Ok(issuer)
    })
}

/// `audiences` of a server or a route.
pub(super) fn audiences(value: Value<'_>) -> Result<Vec<Audience>, Told> {
    value.each("write audiences = [\"https://api.example.com\"]", |value| {
        value.text().map(Audience::new)
    })
}

/// `algorithms` and `shared_secret`, which have to fit each other.
fn signing(table: &mut Table<'_>) -> Result<(Vec<Algorithm>, Option<Secret>), Told> {
    let secret = table.option("shared_secret", |value| {
        let spot = value.spot().clone();
        files::secret(value).map(|secret| (secret, spot))
    });
    let has_secret = !matches!(secret, Ok(None));
    let all = SignatureAlgorithm::ALL.map(Algorithm::Signature).to_vec();
    let algorithms = table.or("algorithms", all, |value| {
        value.each("write algorithms = [\"RS256\", \"ES256\"]", |value| {
            algorithm(&value, has_secret)
        })
    });
    let (algorithms, secret) = (algorithms?, secret?);
    let Some((secret, spot)) = secret else { return Ok((algorithms, None)) };
    let macs = algorithms.iter().filter_map(|one| match one {
        Algorithm::Mac(mac) => Some(*mac),
        Algorithm::Signature(_) => None,
    });
    let Some(longest) = macs.max_by_key(|mac| mac.secret_min_bytes()) else {
        let write = "write algorithms = [\"HS256\"], or take the secret out";
        return Err(spot.wrong("nothing makes use of this secret", write));
    };
    let (least, name) = (longest.secret_min_bytes(), longest.name());
    if secret.expose().len() < least {
        let what =
            format!("too short for {name}: it has to be as long as the hash (RFC 7518 §3.2)");
        return Err(spot.wrong(what, format!("use a random secret of at least {least} bytes")));
    }
    Ok((algorithms, Some(secret)))
}

fn algorithm(value: &Value<'_>, has_secret: bool) -> Result<Algorithm, Told> {
    let text = value.text()?;
    if text.eq_ignore_ascii_case("none") {
        let what = "a token that nobody signed proves nothing (RFC 8725 §3.2)";
        return Err(value.wrong(what, "write algorithms that sign, such as \"RS256\""));
    }
    match text.parse() {
        Ok(Algorithm::Mac(mac)) if !has_secret => {
            let what = format!("{} is checked with a secret, and there is none", mac.name());
            Err(value.wrong(what, "write shared_secret = { file = \"path\" }, or take it out"))
        }
        Ok(algorithm) => Ok(algorithm),
        Err(_) => {
            let all = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name);
            let write = match crate::config::unknown::nearest(text, all) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write {}, or HS* with a shared secret", all.join(", ")),
            };
            Err(value
                .wrong(format!("{text:?} is no algorithm that tokens are checked with"), write))
        }
    }
}

fn token_types(value: Value<'_>) -> Result<Vec<Box<str>>, Told> {
    value.each("write token_types = [\"at+jwt\"]", |value| value.text().map(Into::into))
}

fn clock_skew(value: Value<'_>) -> Result<Duration, Told> {
    let skew = duration(&value, Zero::Allowed)?;
    if CLOCK_SKEW_USUAL_MAX < skew {
        let what = "expired tokens pass for that long: a few minutes are usual (RFC 9068 §4)";
        value.spot().warn(what, "write clock_skew = \"30s\", and let the clocks be synchronized");
    }
    Ok(skew)
}

fn keys(table: &mut Table<'_>) -> Result<KeySource, Told> {
    let uri = table.option("jwks_uri", |value| endpoint_url(&value));
    let file = table.option("jwks_file", |value| {
        let spot = value.spot().clone();
        jwks_file(&value).map(|file| (file, spot))
    });
    match (uri?, file?) {
        (None, None) => Ok(KeySource::Discovery),
        (Some(uri), None) => Ok(KeySource::Uri(uri)),
        (None, Some(((path, content), _))) => Ok(KeySource::File(path, content)),
        (Some(_), Some((_, spot))) => {
            let what = "the keys come from `jwks_uri` or from `jwks_file`, not from both";
            Err(spot.wrong(what, "take one of the two out"))
        }
    }
}

fn jwks_file(value: &Value<'_>) -> Result<(PathBuf, Box<[u8]>), Told> {
    let content = files::content(value)?;
    let set: Option<serde_json::Value> = serde_json::from_slice(&content).ok();
    let keys = set.as_ref().and_then(|set| set.get("keys")).and_then(|keys| keys.as_array());
    if keys.is_none_or(Vec::is_empty) {
        let write = "name a file such as { \"keys\": [ … ] } (RFC 7517 §5)";
        return Err(value.wrong("not a JWK Set with a key in it", write));
    }
    Ok((value.spot().file(value.text()?), content.into()))
}

fn jwks(table: &mut Table<'_>) -> Result<JwksTimes, Told> {
    let spot = table.spot().clone();
    let mut time = |key, default_s| {
        table.or(key, Duration::from_secs(default_s), |value| duration(&value, Zero::Refused))
    };
    let refresh = time("refresh", 15 * 60);
    let cooldown = time("cooldown", 30);
    let max_stale = time("max_stale", 24 * 3600);
    let times = JwksTimes { refresh: refresh?, cooldown: cooldown?, max_stale: max_stale? };
    if times.max_stale < times.refresh {
        let what =
            "`max_stale` is shorter than `refresh`: keys would be dropped before new ones come";
        return Err(spot.wrong(what, "write a max_stale of hours"));
    }
    Ok(times)
}

fn outbound(table: &mut Table<'_>) -> Result<Outbound, Told> {
    let ca = table.option("ca", |value| files::with_path(&value, files::authorities));
    let proxy = table.option("proxy", |value| proxy(&value));
    let mut time = |key, default_s| {
        table.or(key, Duration::from_secs(default_s), |value| duration(&value, Zero::Refused))
    };
    let (connect_timeout, timeout) = (time("connect_timeout", 2), time("timeout", 5));
    let max_response = table.or("max_response", 1 << 20, |value| {
        let bytes = usize::try_from(size(&value)?).unwrap_or(usize::MAX);
        match (1024..=RESPONSE_MAX_MOST).contains(&bytes) {
            true => Ok(bytes),
            false => Err(value.wrong("out of bounds", "write a size from \"1KiB\" to \"64MiB\"")),
        }
    });
    let (ca, ca_file) = ca?.unzip();
    Ok(Outbound {
        ca,
        ca_file,
        proxy: proxy?,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
        max_response: max_response?,
    })
}

fn endpoints(table: &mut Table<'_>) -> Result<Endpoints, Told> {
    let token = table.option("token_endpoint", |value| endpoint_url(&value));
    let revocation = table.option("revocation_endpoint", |value| endpoint_url(&value));
    Ok(Endpoints { introspection: None, token: token?, revocation: revocation? })
}

fn basic(table: &mut Table<'_>) -> Result<Basic, Told> {
    let scopes = table.or("scopes", BasicScopes::Route, |value| {
        match value.form(&[Form::Text, Form::List]) {
            Some(Form::List) => access::scope_set(value).map(BasicScopes::These),
            _ => value
                .word(&[("route", true), ("none", false)])
                .map(|route| if route { BasicScopes::Route } else { BasicScopes::None }),
        }
    });
    let (negative_cache_ttl, cache_ttl) = cache_ttls(table);
    let encoding =
        table.or("basic_encoding", BasicEncoding::Form, |value| authentication::encoding(&value));
    Ok(Basic {
        scopes: scopes?,
        cache_ttl: cache_ttl?,
        negative_cache_ttl: negative_cache_ttl?,
        encoding: encoding?,
    })
}

/// What clocks that are synchronized may differ by.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// RFC 9068 §4 speaks of "no more than a few minutes".
const CLOCK_SKEW_USUAL_MAX: Duration = Duration::from_secs(300);

/// It is held in memory for every call under way.
const RESPONSE_MAX_MOST: usize = 64 << 20;
