//! `/revocations`: the operator puts tokens on the revocation list, and sees how full it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Reach, body, guard, respond};
use crate::base::time::{self, Now, UnixSeconds};
use crate::gateway::{Gateway, Snapshot};
use crate::oauth::{Claims, Mark, MarkKind};
use crate::revocation::{self, EnterError, Entry, RevocationList};
use crate::telemetry::RevocationDoor;

/// How full the list is, and the entries that end first: what each names and when it ends, and
/// never whom.
pub(super) fn get(gateway: &Gateway) -> Response<Full<Bytes>> {
    let Some(list) = gateway.snapshot().revocations() else { return absent().response() };
    let status = list.status();
    let kinds: serde_json::Map<String, Value> =
        list.counts().into_iter().map(|(kind, count)| (kind.name().into(), count.into())).collect();
    let first: Vec<Value> = list.entries(SHOWN_MAX).iter().map(shown).collect();
    let page = json!({
        "entries": status.entries, "bound": status.bound, "kept_in_file": status.kept_in_file,
        "kinds": kinds, "first_to_end": first,
    });
    respond(StatusCode::OK, "application/json", page.to_string().into_bytes())
}

fn shown(entry: &Entry) -> Value {
    let (kind, until) = (entry.mark.kind().name(), entry.reach.until.get());
    match entry.reach.issued_before.map(UnixSeconds::get) {
        Some(before) => json!({ "kind": kind, "until": until, "issued_before": before }),
        None => json!({ "kind": kind, "until": until }),
    }
}

/// Puts a token, or all of an issuer that a claim names, on the list.
pub(super) async fn post(
    gateway: &Gateway,
    request: Request<Incoming>,
    reach: Reach,
) -> Response<Full<Bytes>> {
    match posted(gateway, request, reach).await {
        Ok(entries) => {
            let entered: Vec<Value> = entries.iter().map(shown).collect();
            let page = json!({ "entered": entered }).to_string();
            respond(StatusCode::OK, "application/json", page.into_bytes())
        }
        Err(problem) => problem.response(),
    }
}

async fn posted(
    gateway: &Gateway,
    request: Request<Incoming>,
    reach: Reach,
) -> Result<Vec<Entry>, Problem> {
    let snapshot = gateway.snapshot();
    let token = snapshot.config().admin.as_ref().and_then(|admin| admin.token.as_ref());
    guard::check(request.headers(), token, reach)?;
    let list = snapshot.revocations().ok_or_else(absent)?;
    let body = body::read(request.into_body()).await?;
    let order =
        Order::parse(&body, &snapshot).inspect_err(|_| list.refused(RevocationDoor::Admin))?;
    let (now, keep) = (time::now(), keep(&snapshot));
    let (entries, is_whole) = order.entries(&snapshot, keep, now).await;
    enter(&list, entries.clone()).await?;
    for entry in &entries {
        let (kind, until) = (entry.mark.kind().name(), entry.reach.until.get());
        tracing::info!(kind, until, "revoked by the operator");
    }
    match is_whole {
        true => Ok(entries),
        false => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the token is refused as it was sent; the keys of its issuer cannot be had, so that one \
             which was written anew may pass: send it again",
        )),
    }
}

async fn enter(list: &Arc<RevocationList>, entries: Vec<Entry>) -> Result<(), Problem> {
    list.enter(entries, RevocationDoor::Admin).await.map_err(|error| {
        let status = match error {
            EnterError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            EnterError::Unwritten => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    })
}

fn absent() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no revocation list: add [revocations]")
}

fn keep(snapshot: &Snapshot) -> Duration {
    snapshot.config().revocations.as_ref().map(|settings| settings.keep).unwrap_or_default()
}

/// What is to be revoked.
#[derive(Debug, PartialEq)]
enum Order {
    /// A token, and until when where that is said.
    Token(Box<str>, Option<UnixSeconds>),
    /// What has this mark.
    Marked { mark: Mark, until: Option<UnixSeconds>, issued_before: Option<UnixSeconds> },
}

impl Order {
    fn parse(body: &[u8], snapshot: &Snapshot) -> Result<Self, Problem> {
        let issuers = snapshot.servers().iter().map(|server| server.settings().issuer.as_str());
        Self::read(body, &issuers.collect::<Vec<_>>(), time::now().unix)
    }

    /// Reads it; `issuers` are those that are trusted.
    fn read(body: &[u8], issuers: &[&str], now: UnixSeconds) -> Result<Self, Problem> {
        let order = Claims::parse(body)
            .map_err(|_| Problem::malformed("write a JSON object with no member twice"))?;
        if let Some((name, _)) = order.iter().find(|(name, _)| !KNOWN.contains(name)) {
            return Err(Problem::malformed(format!("unknown member {name:?}")));
        }
        let wrong = |error: crate::oauth::ClaimError| Problem::malformed(error.to_string());
        let until = order.numeric_date("until").map_err(wrong)?;
        let issued_before = order.numeric_date("issued_before").map_err(wrong)?;
        if until.is_some_and(|until| until <= now) {
            return Err(Problem::malformed("until is over: write seconds since the epoch"));
        }
        let mut named = NAMES.iter().filter(|name| order.value(name).is_some());
        let (Some(name), None) = (named.next(), named.next()) else {
            return Err(Problem::malformed(WRITE));
        };
        let text = order.string(name).map_err(wrong)?.filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Problem::malformed(format!("{name} is empty")))?;
        let issuer = order.string("iss").map_err(wrong)?;
        let kind = match (MarkKind::named(name), issuer) {
            (Some(MarkKind::Token) | None, Some(_)) => return Err(Problem::malformed(WRITE)),
            (Some(MarkKind::Token) | None, None) if issued_before.is_some() => {
                return Err(Problem::malformed("issued_before is for sub, client_id and sid"));
            }
            (Some(MarkKind::Token), None) => return Ok(Self::Token(text.into(), until)),
            (None, None) => {
                let sha256 = revocation::sha256(text).ok_or_else(|| {
                    Problem::malformed("digest is the SHA-256 of a token in 64 hex digits")
                })?;
                return Ok(Self::Marked { mark: Mark::of_sha256(&sha256), until, issued_before });
            }
            (Some(kind), Some(_)) => kind,
            (Some(_), None) => return Err(Problem::malformed(WRITE)),
        };
        let issuer = issuer.unwrap_or_default();
        if !issuers.contains(&issuer) {
            return Err(Problem::malformed("iss is no authorization server of the configuration"));
        }
        Ok(Self::Marked { mark: Mark::of(kind, issuer, text), until, issued_before })
    }

    /// What it puts on the list, and whether that is all that it should.
    async fn entries(&self, snapshot: &Snapshot, keep: Duration, now: Now) -> (Vec<Entry>, bool) {
        let (token, until) = match self {
            Self::Marked { mark, until, issued_before } => {
                let until = until.unwrap_or_else(|| now.unix.plus(keep));
                let reach = revocation::Reach { until, issued_before: *issued_before };
                return (vec![Entry { mark: *mark, reach }], true);
            }
            Self::Token(token, until) => (token, *until),
        };
        let (mut entries, is_whole) = snapshot.revocations_of(token, keep, now).await;
        if let Some(until) = until {
            entries.iter_mut().for_each(|entry| entry.reach.until = until);
        }
        (entries, is_whole)
    }
}

/// What an order names: one of these.
const NAMES: [&str; 6] = ["token", "digest", "jti", "sid", "sub", "client_id"];
const KNOWN: [&str; 9] =
    ["token", "digest", "jti", "sid", "sub", "client_id", "iss", "until", "issued_before"];
const WRITE: &str =
    "write one of: token; digest; or iss together with one of jti, sid, sub, client_id";
/// Of a list of thousands nobody reads more.
const SHOWN_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::RawToken;

    const ISSUER: &str = "https://as.test";
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Result<Order, Problem> {
        Order::read(text.as_bytes(), &[ISSUER], UnixSeconds::new(100))
    }

    fn marked(kind: MarkKind, text: &str, until: Option<i64>, before: Option<i64>) -> Order {
        let [until, issued_before] = [until, before].map(|at| at.map(UnixSeconds::new));
        Order::Marked { mark: Mark::of(kind, ISSUER, text), until, issued_before }
    }

    #[test]
    fn an_order_names_one_thing() {
        let sub = r#"{"iss":"https://as.test","sub":"alice","until":200,"issued_before":150}"#;
        assert_eq!(read(sub).unwrap(), marked(MarkKind::Subject, "alice", Some(200), Some(150)));
        for (name, kind) in
            [("jti", MarkKind::Jti), ("sid", MarkKind::Sid), ("client_id", MarkKind::Client)]
        {
            let text = format!(r#"{{"iss":"https://as.test","{name}":"x"}}"#);
            assert_eq!(read(&text).unwrap(), marked(kind, "x", None, None));
        }
        let token = read(r#"{"token":"t","until":200}"#).unwrap();
        assert_eq!(token, Order::Token("t".into(), Some(UnixSeconds::new(200))));
        let of_nothing = Mark::of_token(&RawToken::new("").digest());
        match read(&format!(r#"{{"digest":"{SHA256}"}}"#)).unwrap() {
            Order::Marked { mark, .. } => assert_eq!(mark, of_nothing),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_names_nothing_or_too_much_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":7}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a","digest":"b"}"#,
            r#"{"token":"a","iss":"https://as.test"}"#,
            r#"{"token":"a","until":100}"#,
            r#"{"token":"a","until":"200"}"#,
            r#"{"token":"a","issued_before":1}"#,
            r#"{"token":"a","ttl":1}"#,
            r#"{"digest":"e3b0"}"#,
            r#"{"sub":"alice"}"#,
            r#"{"iss":"https://as.test"}"#,
            r#"{"iss":"https://as.test","sub":"a","sid":"b"}"#,
            r#"{"iss":"https://as.test/","sub":"a"}"#,
        ] {
            let problem = read(text).expect_err(text);
            assert_eq!(problem.status(), 400, "{text}");
        }
    }
}
