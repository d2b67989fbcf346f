//! A request that somebody asks about.

use http::header::{AUTHORIZATION, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// A request that was not sent: what would become of it?
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its address, whole or from the path on.
    pub url: Uri,
    /// Its fields, beside `Host`, which comes of the address unless it is here.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The access token that it brings.
    pub token: Option<String>,
}

impl Question {
    /// The request as it would come over HTTP/1.1.
    ///
    /// # Errors
    /// When the token has a character that no token has.
    pub fn request(&self) -> Result<Request<()>, String> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        let target = self.url.path_and_query().cloned();
        *request.uri_mut() = target.unwrap_or(PathAndQuery::from_static("/")).into();
        let host = self.url.authority().map_or("localhost", Authority::as_str);
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
            headers.insert(HOST, host);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            headers.append(AUTHORIZATION, value.map_err(|_| NO_TOKEN.to_owned())?);
        }
        Ok(request)
    }
}

const NO_TOKEN: &str = "the token has a character that no token has";
