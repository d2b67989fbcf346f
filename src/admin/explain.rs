//! `POST /explain`: what would become of a request, or why one was refused. Nothing is changed by
//! it, but a token may be introspected, and who may ask that must not be a page of another site.

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::problem::Problem;
use super::{Reach, body, guard, respond, text};
use crate::base::time;
use crate::gateway::{Explanation, Gateway, Question};
use crate::oauth::{ClaimError, Claims, Thumbprint};

/// Explains.
pub(super) async fn post(
    gateway: &Gateway,
    request: Request<Incoming>,
    reach: Reach,
) -> Response<Full<Bytes>> {
    let wants_text = request.headers().get(ACCEPT).is_some_and(|value| value == "text/plain");
    match explained(gateway, request, reach).await {
        Err(problem) => problem.response(),
        Ok(explanation) if wants_text => text(StatusCode::OK, format!("{explanation}\n")),
        Ok(explanation) => match serde_json::to_vec_pretty(&explanation) {
            Ok(page) => respond(StatusCode::OK, "application/json", page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
    }
}

async fn explained(
    gateway: &Gateway,
    request: Request<Incoming>,
    reach: Reach,
) -> Result<Explanation, Problem> {
    let snapshot = gateway.snapshot();
    let admin = snapshot.config().admin.as_ref();
    guard::check(request.headers(), admin.and_then(|admin| admin.token.as_ref()), reach)?;
    match Asked::read(&body::read(request.into_body()).await?)? {
        Asked::Refusal(_) if admin.is_none_or(|admin| admin.refusals == 0) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no refused requests are kept: set refusals = 1_000 in [admin]",
        )),
        Asked::Refusal(id) => gateway.explain_refusal(&id, time::now().unix).ok_or_else(|| {
            let why =
                "no refused request with that id is kept: it was not refused, or too long ago";
            Problem::new(StatusCode::NOT_FOUND, why)
        }),
        Asked::Question(question) => {
            gateway.explain_question(&question).await.map_err(Problem::malformed)
        }
    }
}

/// What somebody wants to have explained.
#[derive(Debug)]
enum Asked {
    /// The request of this id, which was refused.
    Refusal(String),
    /// A request that was not sent.
    Question(Box<Question>),
}

impl Asked {
    fn read(json: &[u8]) -> Result<Self, Problem> {
        let asked = Claims::parse(json)
            .map_err(|_| Problem::malformed("write a JSON object with no member twice"))?;
        if let Some((name, _)) = asked.iter().find(|(name, _)| !KNOWN.contains(name)) {
            let why = format!("unknown member {name:?}; known: {}", KNOWN.join(", "));
            return Err(Problem::malformed(why));
        }
        let wrong = |error: ClaimError| Problem::malformed(error.to_string());
        if let Some(id) = asked.string("request_id").map_err(wrong)? {
            return match asked.len() {
                1 => Ok(Self::Refusal(id.to_owned())),
                _ => Err(Problem::malformed("request_id stands alone")),
            };
        }
        let owed = |name: &'static str| {
            let missing = || Problem::malformed(format!("{name} is missing"));
            asked.string(name).map_err(wrong)?.ok_or_else(missing)
        };
        let method = owed("method")?.parse();
        let url = owed("url")?.parse();
        Ok(Self::Question(Box::new(Question {
            method: method.map_err(|_| Problem::malformed("method is none"))?,
            url: url.map_err(|_| Problem::malformed("url is none"))?,
            headers: headers(asked.value("headers"))?,
            token: asked.string("token").map_err(wrong)?.map(str::to_owned),
            certificate: asked.string("certificate").map_err(wrong)?.map(thumbprint).transpose()?,
        })))
    }
}

fn thumbprint(pem: &str) -> Result<Thumbprint, Problem> {
    let read = CertificateDer::from_pem_slice(pem.as_bytes());
    read.map(|one| Thumbprint::of(&one)).map_err(|_| Problem::malformed("write certificate as PEM"))
}

/// An object of texts, or of lists of texts for fields that stand there several times.
fn headers(value: Option<&Value>) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    let wrong = || Problem::malformed("write headers as {\"name\": \"value\"} or {\"name\": [..]}");
    let members = match value {
        None => return Ok(Vec::new()),
        Some(value) => value.as_object().ok_or_else(wrong)?,
    };
    let mut fields = Vec::new();
    for (name, value) in members {
        let name: HeaderName = name.parse().map_err(|_| wrong())?;
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let value = value.as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            fields.push((name.clone(), value));
        }
    }
    Ok(fields)
}

const KNOWN: [&str; 6] = ["method", "url", "token", "headers", "certificate", "request_id"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Asked, String> {
        Asked::read(json.as_bytes()).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_request_is_asked_about_by_its_parts_or_by_its_id() {
        assert!(matches!(read(r#"{"request_id":"a1"}"#), Ok(Asked::Refusal(id)) if id == "a1"));
        let asked = read(
            r#"{"method":"GET","url":"https://api.test/a?b","token":"t","headers":{"x-a":["1","2"],"x-b":"3"}}"#,
        );
        let Ok(Asked::Question(question)) = asked else { panic!("{asked:?}") };
        assert_eq!(question.headers.len(), 3);
        let request = question.request().unwrap();
        assert_eq!(request.uri(), "/a?b");
        assert_eq!(request.headers()["host"], "api.test");
        assert_eq!(request.headers()["authorization"], "Bearer t");
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        for (json, why) in [
            ("[]", "JSON object"),
            (r#"{"method":"GET","method":"PUT","url":"/"}"#, "no member twice"),
            (r#"{"method":"GET"}"#, "url is missing"),
            (r#"{"method":"G T","url":"/"}"#, "method is none"),
            (r#"{"method":"GET","url":"a b"}"#, "url is none"),
            (r#"{"method":"GET","url":"/","request_id":"a"}"#, "stands alone"),
            (r#"{"method":"GET","url":"/","body":"a"}"#, "unknown member"),
            (r#"{"method":"GET","url":"/","headers":{"a":1}}"#, "write headers as"),
            (r#"{"method":1,"url":"/"}"#, "wrong type"),
            (r#"{"method":"GET","url":"/","certificate":"x"}"#, "as PEM"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
