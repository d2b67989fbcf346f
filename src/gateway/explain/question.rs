//! A request that somebody asks about.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::step::Explanation;
use crate::base::net::{Peer, TrustedProxies};
use crate::config::{Config, OwnCertificates, tls};
use crate::gateway::{Connection, Gateway};
use crate::oauth::Thumbprint;

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
    /// The certificate that its caller shows.
    pub certificate: Option<Thumbprint>,
}

impl Gateway {
    /// Explains what would become of a request that comes from this machine, over TLS if its address
    /// says so.
    ///
    /// # Errors
    /// When it cannot be a request, or no certificate can be shown to its caller.
    pub async fn explain_question(&self, question: &Question) -> Result<Explanation, String> {
        let request = question.request()?;
        let snapshot = self.snapshot();
        let certificates = certificates(snapshot.config(), &question.url)?;
        let peer = Peer::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        // Beside those that serve.
        let worker = Arc::new(self.worker(snapshot.config().workers));
        let trusted = Arc::new(TrustedProxies::default());
        let connection = Connection::new(worker, peer, trusted, certificates);
        let connection = match question.url.scheme_str() {
            Some("https") => connection.behind_tls(),
            _ => connection,
        };
        let connection = connection.with_client_certificate(question.certificate, None);
        Ok(self.explain(request, &connection).await)
    }
}

/// What a caller would be shown that opens a connection to this address: by the first listener with
/// TLS.
fn certificates(config: &Config, url: &Uri) -> Result<Option<Arc<OwnCertificates>>, String> {
    if url.scheme_str() != Some("https") {
        return Ok(None);
    }
    let settings = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).next();
    let Some(settings) = settings else { return Ok(None) };
    let (_, certificates) =
        tls::server_config(settings).map_err(|error| error.error.to_string())?;
    let host = url.host().map(str::to_ascii_lowercase);
    Ok(Some(Arc::clone(certificates.shown_for(host.as_deref()))))
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
