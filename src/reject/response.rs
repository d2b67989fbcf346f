//! The answer of a refusal: problem details (RFC 9457) for HTTP, Trailers-Only for gRPC.
//!
//! Pure: equal refusal and context, equal answer. `x-request-id` is set by whoever numbers the
//! requests. No answer of ours may be stored: 404, 405, 414 and 501 would otherwise be
//! (RFC 9110 §15.1).

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

use super::{ChallengeContext, Rejection};

/// What an answer depends on beside the refusal itself.
#[derive(Clone, Copy, Debug)]
pub struct RespondContext<'a> {
    /// For the challenges.
    pub challenge: ChallengeContext<'a>,
    /// The method of the request: an answer to `HEAD` has no content.
    pub method: &'a Method,
    /// Whom we speak to.
    pub form: AnswerForm,
}

/// In which form the caller reads a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerForm {
    /// A status and a problem body.
    Problem,
    /// HTTP 200 and `grpc-status`.
    Grpc,
}

impl AnswerForm {
    /// By the content type of the request: `application/grpc`, with or without a format behind
    /// it. gRPC-Web is none of these: its clients read the HTTP status.
    pub fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        match content_type.split_at_checked(GRPC.len()) {
            Some((name, rest)) if name.eq_ignore_ascii_case(GRPC.as_bytes()) => {
                match rest.first() {
                    None | Some(b'+' | b';' | b' ' | b'\t') => Self::Grpc,
                    Some(_) => Self::Problem,
                }
            }
            _ => Self::Problem,
        }
    }
}

/// The body (RFC 9457 §3). The type is `about:blank`, so the title is the phrase of the status.
/// Which refusal it is stands in the extension members.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    /// Stable, one per cause that the caller may know of.
    reason: &'static str,
    /// The code of RFC 6750 §3.1: in a browser a script sees this more easily than the challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// All scopes that are needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl Rejection {
    /// The whole answer but for `x-request-id`.
    pub fn respond(&self, context: &RespondContext<'_>) -> Response<Bytes> {
        let mut response = match context.form {
            AnswerForm::Problem => self.problem_response(context.method),
            AnswerForm::Grpc => self.grpc_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Self::NonceNeeded(nonce) = self
            && let Ok(nonce) = HeaderValue::from_str(nonce)
        {
            headers.insert(DPOP_NONCE, nonce);
        }
        for challenge in self.challenges(&context.challenge) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn problem_response(&self, method: &Method) -> Response<Bytes> {
        let body = self.problem();
        let length = HeaderValue::from(body.len());
        // RFC 9110 §9.3.2: `HEAD` gets the fields of `GET` and no content.
        let content = if method == Method::HEAD { Bytes::new() } else { body };
        let mut response = Response::new(content);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LENGTH, length);
        if let Self::MethodNotAllowed(methods) = self
            && let Ok(methods) = HeaderValue::from_str(methods)
        {
            headers.insert(ALLOW, methods);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.seconds()));
        }
        response
    }

    fn problem(&self) -> Bytes {
        let needed = if let Self::ScopeInsufficient(scopes) = self {
            Some(scopes.to_string())
        } else {
            None
        };
        let problem = Problem {
            r#type: "about:blank",
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
            reason: self.told_reason(),
            error: self.error_code(),
            scope: needed.as_deref(),
        };
        // Texts and a number always serialize; were it not so, the status still says it all.
        serde_json::to_vec(&problem).unwrap_or_default().into()
    }

    /// Trailers-Only: the whole answer is one header section ("gRPC over HTTP2", Responses).
    fn grpc_response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = self.grpc_trailers();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
        response
    }

    /// The trailers that end a gRPC answer whose head is sent already.
    pub fn grpc_trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(3);
        trailers.insert(GRPC_STATUS, HeaderValue::from_static(self.grpc_status().as_str()));
        let message = utf8_percent_encode(self.detail(), GRPC_MESSAGE_ENCODED).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            trailers.insert(GRPC_MESSAGE, message);
        }
        trailers
    }
}

/// RFC 9449 §8: the nonce for the next proof.
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
const GRPC: &str = "application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// "gRPC over HTTP2", Responses: all but %x20-24 and %x26-7E is encoded.
const GRPC_MESSAGE_ENCODED: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oauth::ScopeSet;
    use crate::reject::tests::every_rejection;
    use crate::reject::{Accept, InvalidToken, Realm};

    fn respond(rejection: &Rejection, method: &Method, form: AnswerForm) -> Response<Bytes> {
        let realm: Realm = "test".parse().unwrap();
        let accept = Accept { bearer: true, basic: true, dpop: false };
        let challenge = ChallengeContext { accept, ..ChallengeContext::outside_routes(&realm) };
        rejection.respond(&RespondContext { challenge, method, form })
    }

    fn field<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn rfc9457_every_refusal_is_a_problem_that_nobody_stores() {
        for rejection in every_rejection() {
            let response = respond(&rejection, &Method::GET, AnswerForm::Problem);
            assert_eq!(response.status(), rejection.status());
            assert_eq!(field(&response, "content-type"), Some("application/problem+json"));
            assert_eq!(field(&response, "cache-control"), Some("no-store"));
            let length = response.body().len().to_string();
            assert_eq!(field(&response, "content-length"), Some(length.as_str()));
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["status"], response.status().as_u16(), "§3.1.2: equal to the status");
            assert_eq!(body["title"], response.status().canonical_reason().unwrap(), "§4.2.1");
            assert_eq!(body["type"], "about:blank");
            assert_eq!(body["detail"], rejection.detail());
            assert_eq!(body["reason"], rejection.told_reason());
            assert_eq!(body.get("error").and_then(Value::as_str), rejection.error_code());
        }
    }

    #[test]
    fn rfc9110_15_5_fields_that_a_status_demands_are_there_and_nowhere_else() {
        for rejection in every_rejection() {
            let response = respond(&rejection, &Method::GET, AnswerForm::Problem);
            let (status, has) = (response.status(), |name| field(&response, name).is_some());
            let unauthorized = status == StatusCode::UNAUTHORIZED;
            assert!(has("www-authenticate") || !unauthorized, "{rejection:?}");
            assert_eq!(has("allow"), status == StatusCode::METHOD_NOT_ALLOWED, "{rejection:?}");
            let is_for_now =
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            assert_eq!(has("retry-after"), is_for_now, "{rejection:?}");
        }
    }

    #[test]
    fn rfc9457_5_no_answer_tells_what_lies_behind_the_gateway() {
        for rejection in every_rejection() {
            for form in [AnswerForm::Problem, AnswerForm::Grpc] {
                let shown = format!("{:?}", respond(&rejection, &Method::GET, form));
                for secret in ["inner.test", "reports", "hidden:scope", "invalid_client"] {
                    assert!(!shown.contains(secret), "{secret} in {shown}");
                }
            }
        }
    }

    #[test]
    fn the_body_of_a_403_lists_the_scopes_as_the_challenge_does() {
        let rejection = Rejection::ScopeInsufficient(ScopeSet::from_claim("b a"));
        let response = respond(&rejection, &Method::GET, AnswerForm::Problem);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let expected = json!({
            "type": "about:blank",
                "title": "Forbidden",
            "status": 403,
            "detail": rejection.detail(),
            "reason": "scope_insufficient",
            "error": "insufficient_scope",
            "scope": "a b",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn rfc9110_9_3_2_a_refused_head_gets_the_fields_of_get_and_no_content() {
        for rejection in every_rejection() {
            let get = respond(&rejection, &Method::GET, AnswerForm::Problem);
            let head = respond(&rejection, &Method::HEAD, AnswerForm::Problem);
            assert_eq!(head.status(), get.status());
            assert_eq!(head.headers(), get.headers());
            assert!(head.body().is_empty());
        }
    }

    #[test]
    fn a_grpc_refusal_is_trailers_only() {
        for rejection in every_rejection() {
            let response = respond(&rejection, &Method::POST, AnswerForm::Grpc);
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.body().is_empty());
            assert_eq!(field(&response, "content-type"), Some("application/grpc"));
            assert_eq!(field(&response, "content-length"), None);
            assert_eq!(field(&response, "cache-control"), Some("no-store"));
            assert_eq!(field(&response, "grpc-status"), Some(rejection.grpc_status().as_str()));
            assert_eq!(field(&response, "grpc-message"), Some(rejection.detail()));
        }
        let expired = Rejection::TokenInvalid(InvalidToken::Expired);
        let response = respond(&expired, &Method::POST, AnswerForm::Grpc);
        assert!(field(&response, "www-authenticate").unwrap().contains("invalid_token"));
    }

    #[test]
    fn a_grpc_message_is_percent_encoded() {
        let encoded = utf8_percent_encode("a b%\n\u{7f}é~", GRPC_MESSAGE_ENCODED).to_string();
        assert_eq!(encoded, "a b%25%0A%7F%C3%A9~");
    }

    #[test]
    fn grpc_is_told_by_the_content_type_of_the_request() {
        for (content_type, expected) in [
            ("application/grpc", AnswerForm::Grpc),
            ("Application/GRPC+proto", AnswerForm::Grpc),
            ("application/grpc;charset=utf-8", AnswerForm::Grpc),
            ("application/grpc-web+proto", AnswerForm::Problem),
            ("application/grpcx", AnswerForm::Problem),
            ("application/json", AnswerForm::Problem),
            ("", AnswerForm::Problem),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(AnswerForm::of(&headers), expected, "{content_type}");
        }
        assert_eq!(AnswerForm::of(&HeaderMap::new()), AnswerForm::Problem);
    }
}
