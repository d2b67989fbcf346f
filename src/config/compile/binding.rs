//! What tokens are bound to: `dpop` and `certificate_bound` of an authorization server, and where a
//! listener learns of certificates.

use std::time::Duration;

use http::HeaderName;

use crate::base::secret::Secret;
use crate::config::files;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::{Zero, duration};
use crate::config::{Demand, Dpop};
use crate::headers::{CertificateFormat, CertificateHeader};
use crate::oauth::{Algorithm, SignatureAlgorithm};

/// `[authorization_servers.NAME.dpop]`.
pub(super) fn dpop(table: &mut Table<'_>) -> Result<Dpop, Told> {
    let tokens = demand(table);
    let algorithms = table.or("algorithms", ALGORITHMS.to_vec(), |value| {
        value.each("write algorithms = [\"ES256\", \"EdDSA\"]", |value| algorithm(&value))
    });
    let window = table.or("window", WINDOW, |value| window(&value));
    let nonce = table.or("nonce", Duration::ZERO, |value| nonce(&value));
    let nonce_secret = table.option("nonce_secret", nonce_secret);
    let replay_entries = table.or("replay_entries", REPLAY_ENTRIES, |value| {
        value.whole(REPLAY_ENTRIES_LEAST..=REPLAY_ENTRIES_MOST)
    });
    let nonce = Some(nonce?).filter(|nonce| !nonce.is_zero());
    let nonce_secret = match nonce_secret? {
        Some((_, spot)) if nonce.is_none() => {
            return Err(spot.wrong("nothing makes use of this secret", "write nonce = \"5m\" too"));
        }
        secret => secret.map(|(secret, _)| secret),
    };
    Ok(Dpop {
        tokens: tokens?,
        algorithms: algorithms?,
        window: window?,
        nonce,
        nonce_secret,
        replay_entries: replay_entries?.into(),
    })
}

/// `tokens`, which stands alone in `[authorization_servers.NAME.certificate_bound]`.
pub(super) fn demand(table: &mut Table<'_>) -> Result<Demand, Told> {
    table.or("tokens", Demand::IfBound, |value| {
        value.word(&[("if_bound", Demand::IfBound), ("required", Demand::Required)])
    })
}

/// `client_certificate_header` of a listener.
pub(super) fn certificate_header(table: &mut Table<'_>) -> Result<CertificateHeader, Told> {
    let write = "write name = \"x-forwarded-client-cert\"";
    let name = table.must("name", write, |value| {
        value.parse(write, |text| HeaderName::try_from(text).map_err(|_| "no name of a field"))
    });
    let format = table.must("format", "write format = \"envoy\" or \"nginx\"", |value| {
        value.word(&[("envoy", CertificateFormat::Envoy), ("nginx", CertificateFormat::Nginx)])
    });
    Ok(CertificateHeader { name: name?, format: format? })
}

fn algorithm(value: &Value<'_>) -> Result<SignatureAlgorithm, Told> {
    let text = value.text()?;
    match text.parse() {
        Ok(Algorithm::Signature(algorithm)) => Ok(algorithm),
        // RFC 9449 §4.2: never `none`, and no secret that both sides know.
        Ok(Algorithm::Mac(_)) | Err(_) => {
            let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(", ");
            let what = format!("{text:?} is no algorithm that proofs are checked with");
            Err(value.wrong(what, format!("write some of {names}")))
        }
    }
}

fn window(value: &Value<'_>) -> Result<Duration, Told> {
    let window = duration(value, Zero::Refused)?;
    if WINDOW_MOST < window {
        let what = "proofs are made anew for each request, and each is remembered for that long";
        return Err(value.wrong(what, "write a window of at most \"10m\""));
    }
    Ok(window)
}

fn nonce(value: &Value<'_>) -> Result<Duration, Told> {
    let nonce = duration(value, Zero::Allowed)?;
    if !nonce.is_zero() && !(NONCE_LEAST..=NONCE_MOST).contains(&nonce) {
        let what =
            "out of bounds: too short for a round trip, or too long to say that a proof is new";
        return Err(value.wrong(what, "write a lifetime from \"2s\" to \"1d\""));
    }
    Ok(nonce)
}

fn nonce_secret<'c>(value: Value<'c>) -> Result<(Secret, crate::config::context::Spot<'c>), Told> {
    let spot = value.spot().clone();
    let secret = files::secret(value)?;
    if secret.expose().len() < NONCE_SECRET_LEAST_BYTES {
        let write = format!("use a random secret of at least {NONCE_SECRET_LEAST_BYTES} bytes");
        return Err(spot.wrong("too short to keep anybody from making nonces", write));
    }
    Ok((secret, spot))
}

/// What clients of today sign proofs with.
const ALGORITHMS: [SignatureAlgorithm; 5] = [
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::EdDsa,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Rs256,
];

/// RFC 9449 §11.1: "on the order of seconds or minutes".
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_MOST: Duration = Duration::from_secs(600);

const NONCE_LEAST: Duration = Duration::from_secs(2);
const NONCE_MOST: Duration = Duration::from_secs(86_400);
/// As long as the hash that is made with it.
const NONCE_SECRET_LEAST_BYTES: usize = 32;

/// Some 40 MB when they are all there, and nothing before: ten thousand requests a second.
const REPLAY_ENTRIES: u32 = 1_000_000;
/// One for each part of the store.
const REPLAY_ENTRIES_LEAST: u32 = 16;
const REPLAY_ENTRIES_MOST: u32 = 100_000_000;
