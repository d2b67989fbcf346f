//! The API behind the gateway in `scopegate dev`: it answers with what it received, so that one
//! sees what the gateway lets through and what it adds.
//!
//! It never repeats a token: it says whether there was one and, of a JWT, who it was issued to.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::loopback::{Loopback, Port};
use crate::oauth::Claims;

/// A running sample API; dropping it ends it.
#[derive(Debug)]
pub struct SampleApi {
    address: SocketAddr,
    _server: Loopback,
}

impl SampleApi {
    /// Starts it on a port that the system picks.
    ///
    /// # Errors
    /// When there is no port on loopback.
    pub async fn start() -> io::Result<Self> {
        let port = Port::take().await?;
        let address = port.address();
        Ok(Self { address, _server: port.serve(|request: &Request<Bytes>, _| answer(request)) })
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let received = json!({
        "answered_by": "the sample API",
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "x-subject": text(headers, "x-subject"),
        "x-scopes": text(headers, "x-scopes"),
        "authorization": if headers.contains_key(AUTHORIZATION) { "yes" } else { "no" },
        "token_of_client": token_of(headers),
        "body_bytes": request.body().len(),
    });
    // Several lines and an end of line: it is read in a terminal.
    let mut response = Response::new(Full::from(format!("{received:#}\n")));
    *response.status_mut() = status(request.method(), request.uri().path());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn status(method: &Method, path: &str) -> StatusCode {
    let mut segments = path.split('/').skip(1);
    match (method.as_str(), segments.next(), segments.next(), segments.next()) {
        ("GET" | "HEAD", Some("orders"), Some(_), None)
        | ("GET" | "HEAD", Some("reports" | "health"), None, None) => StatusCode::OK,
        ("POST", Some("orders"), None, None) => StatusCode::CREATED,
        _ => StatusCode::NOT_FOUND,
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Who the JWT in `Authorization` was issued to. The gateway has checked it; a real API that can
/// be reached past its gateway must check it itself.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims = Claims::parse(&payload).ok()?;
    Some(claims.string("client_id").ok()??.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::loopback::tests::raw;
    use super::*;

    #[tokio::test]
    async fn it_says_what_it_received_and_never_the_token() {
        let api = SampleApi::start().await.unwrap();
        let payload = URL_SAFE_NO_PAD.encode(r#"{"client_id":"shop"}"#);
        let request = format!(
            "GET /orders/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-subject: shop\r\n\
             authorization: Bearer aa.{payload}.cc\r\n\r\n"
        );
        let answer = raw(api.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for said in [
            r#""x-subject": "shop""#,
            r#""x-scopes": null"#,
            r#""authorization": "yes""#,
            r#""token_of_client": "shop""#,
            r#""path": "/orders/1""#,
        ] {
            assert!(answer.contains(said), "{said} in {answer}");
        }
        assert!(!answer.contains(&payload), "{answer}");
    }

    #[test]
    fn it_has_orders_reports_and_health_and_nothing_else() {
        for (method, path, expected) in [
            ("GET", "/orders/1", 200),
            ("POST", "/orders", 201),
            ("GET", "/reports", 200),
            ("GET", "/health", 200),
            ("GET", "/orders", 404),
            ("GET", "/orders/1/2", 404),
            ("DELETE", "/orders/1", 404),
            ("GET", "/", 404),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(status(&method, path).as_u16(), expected, "{method} {path}");
        }
    }

    #[test]
    fn an_authorization_that_is_no_jwt_tells_no_client() {
        for value in ["Bearer opaque", "Basic YTpi", "Bearer a.%.c", "Bearer a.e30.c", "Bearer "] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token_of(&headers), None, "{value}");
        }
    }
}
