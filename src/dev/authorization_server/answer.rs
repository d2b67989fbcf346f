//! What the endpoints answer: JSON that is never stored, and the errors of RFC 6749 §5.2.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::dev::loopback::bare;

/// Why an endpoint refuses (RFC 6749 §5.2, RFC 8707 §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OAuthError {
    /// A parameter is missing, stands twice, or has no meaning; with a sentence that says which.
    InvalidRequest(&'static str),
    /// Nobody, an unknown client, or a wrong secret: which of them is not told.
    InvalidClient,
    /// The client may not do this.
    UnauthorizedClient,
    /// Another grant than client credentials.
    UnsupportedGrantType,
    /// A scope outside the grammar, or none of those asked for is the client's.
    InvalidScope,
    /// RFC 8707 §2: a resource that is not known here.
    InvalidTarget,
    /// No room for one more token or one more revocation.
    Full,
}

impl OAuthError {
    /// The code in the answer.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::Full => "temporarily_unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::InvalidRequest(_)
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget => StatusCode::BAD_REQUEST,
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(sentence) => sentence,
            Self::InvalidClient => "the client is unknown, or its secret is wrong",
            Self::UnauthorizedClient => "the token was issued to another client",
            Self::UnsupportedGrantType => "this server knows only client_credentials",
            Self::InvalidScope => "the client may have none of these scopes",
            Self::InvalidTarget => "this resource is not known here",
            Self::Full => "too many tokens are alive, come back later",
        }
    }

    /// The whole answer.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let body = json!({ "error": self.code(), "error_description": self.description() });
        let mut response = never_stored(self.status(), &body);
        if self == Self::InvalidClient {
            // RFC 6749 §5.2 asks for it where the client came by Authorization, and allows it else.
            let challenge = HeaderValue::from_static(r#"Basic realm="scopegate dev""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// JSON with a token or about one: no cache may keep it (RFC 6749 §5.1).
pub(super) fn never_stored(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = json_body(status, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// JSON that anybody may know.
pub(super) fn public(body: &Value) -> Response<Full<Bytes>> {
    json_body(StatusCode::OK, body)
}

/// 405 with the one method that the endpoint has.
pub(super) fn only(method: &'static str) -> Response<Full<Bytes>> {
    let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    response
}

fn json_body(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
