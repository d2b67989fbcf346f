//! What anybody may read: the metadata of protected resources (RFC 9728), made once for each
//! configuration, and the key sets of signers. They are answered without a token, and what they say
//! never comes from a request.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::proving::Proving;
use crate::body::Body;
use crate::config::{Config, Resource};
use crate::oauth::ScopeSet;
use crate::policy::Access;
use crate::reject::Rejection;
use crate::route::{NormalHost, NormalPath};
use crate::signer::Signer;

/// All that a configuration has.
#[derive(Debug, Default)]
pub(super) struct Metadata(Box<[Document]>);

#[derive(Debug)]
struct Document {
    /// Empty: any.
    host: Box<str>,
    path: Box<str>,
    content: Content,
}

/// What a document says.
#[derive(Debug)]
pub(super) enum Content {
    /// What a resource is.
    Resource(Bytes),
    /// By which keys a signer's JWTs are checked: they change while the configuration does not.
    Keys(Arc<Signer>),
}

impl Content {
    fn json(&self) -> Bytes {
        match self {
            Self::Resource(json) => json.clone(),
            Self::Keys(signer) => signer.key_set(),
        }
    }

    /// The word of the access log.
    pub(super) const fn served_as(&self) -> &'static str {
        match self {
            Self::Resource(_) => "metadata",
            Self::Keys(_) => "key_set",
        }
    }
}

/// RFC 9728 §2. A list without elements is left out (§3.2).
#[derive(Serialize)]
struct Members<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_servers: Vec<&'a str>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    scopes_supported: BTreeSet<&'a str>,
    /// The query never, and a body never (RFC 6750 §2).
    bearer_methods_supported: [&'static str; 1],
    /// What proofs may be signed with (RFC 9449).
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "is_false")]
    dpop_bound_access_tokens_required: bool,
    /// Whether certificate-bound tokens are taken (RFC 8705).
    #[serde(skip_serializing_if = "is_false")]
    tls_client_certificate_bound_access_tokens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_documentation: Option<&'a str>,
}

impl Metadata {
    pub(super) fn of(config: &Config, signers: &[Arc<Signer>]) -> Self {
        let resources = config.resources.iter().enumerate();
        let resources = resources.map(|(index, one)| Document::of(config, index, one));
        Self(resources.chain(signers.iter().map(Document::keys)).collect())
    }

    /// The document at a path, at no cost where there are none. A key set: of this host, or of any.
    /// The metadata of a resource: of this host, or else the only one that has the path, since a
    /// proxy in front may have put another host in.
    pub(super) fn find(&self, host: &NormalHost<'_>, path: &NormalPath<'_>) -> Option<&Content> {
        let there = || self.0.iter().filter(|document| *document.path == *path.as_str());
        there().next()?;
        let is_for = |document: &&Document| match document.content {
            Content::Keys(_) => document.host.is_empty() || *document.host == *host.as_str(),
            Content::Resource(_) => *document.host == *host.as_str(),
        };
        if let Some(document) = there().find(is_for) {
            return Some(&document.content);
        }
        let mut resources = there().filter(|one| matches!(one.content, Content::Resource(_)));
        let only = resources.next()?;
        resources.next().is_none().then_some(&only.content)
    }
}

impl Document {
    fn of(config: &Config, index: usize, resource: &Resource) -> Self {
        let routes = || config.routes.iter().filter(|route| route.resource == Some(index));
        let issuer = |index: usize| Some(config.servers.get(index)?.issuer.as_str());
        let mut authorization_servers: Vec<&str> = Vec::new();
        for server in routes().flat_map(|route| route.servers.iter()) {
            if let Some(issuer) = issuer(*server)
                && !authorization_servers.contains(&issuer)
            {
                authorization_servers.push(issuer);
            }
        }
        let of_routes: Vec<ScopeSet> = routes()
            .filter_map(|route| match &route.access {
                Access::Public => None,
                Access::Token(requirement) => Some(requirement.named_scopes()),
            })
            .collect();
        let scopes_supported = match &resource.scopes {
            Some(scopes) => scopes.iter().map(|scope| scope.as_str()).collect(),
            None => {
                of_routes.iter().flat_map(|scopes| scopes.iter()).map(|one| one.as_str()).collect()
            }
        };
        let proving: Vec<Proving> =
            routes().map(|route| Proving::of_route(route, config)).collect();
        let dpop = || proving.iter().filter_map(|one| one.dpop.as_ref());
        let algorithms = dpop().flat_map(|terms| terms.algorithms.split(' '));
        let algorithms: BTreeSet<&str> = algorithms.collect();
        let is_required = dpop().filter(|terms| terms.is_required).count() == proving.len();
        let members = Members {
            resource: resource.identifier.as_str(),
            authorization_servers,
            scopes_supported,
            bearer_methods_supported: ["header"],
            dpop_bound_access_tokens_required: is_required && !algorithms.is_empty(),
            dpop_signing_alg_values_supported: (!algorithms.is_empty())
                .then(|| algorithms.into_iter().collect()),
            tls_client_certificate_bound_access_tokens: proving.iter().any(|one| one.certificate),
            resource_name: resource.title.as_deref(),
            resource_documentation: resource.documentation.as_deref(),
        };
        let host = NormalHost::parse(resource.identifier.authority());
        Self {
            host: host.map(|host| host.as_str().into()).unwrap_or_default(),
            path: resource.identifier.metadata_path().into(),
            // Texts and lists of texts always serialize.
            content: Content::Resource(serde_json::to_vec(&members).unwrap_or_default().into()),
        }
    }

    fn keys(signer: &Arc<Signer>) -> Self {
        let place = &signer.settings().jwks;
        Self {
            host: place.host.clone().unwrap_or_default(),
            path: place.path.clone(),
            content: Content::Keys(Arc::clone(signer)),
        }
    }
}

/// The answer to a request for a document. Every page may read it: it is no secret, and single-page
/// apps look for their authorization server by it.
///
/// # Errors
/// 405 for what is no reading.
pub(super) fn answer(content: &Content, method: &Method) -> Result<Response<Body>, Rejection> {
    let json = content.json();
    let (status, fields, body): (_, &[(HeaderName, &str)], _) = match *method {
        Method::GET => (StatusCode::OK, FIELDS, Body::full(json.clone())),
        Method::HEAD => (StatusCode::OK, FIELDS, Body::empty()),
        Method::OPTIONS => (StatusCode::NO_CONTENT, PREFLIGHT, Body::empty()),
        _ => return Err(Rejection::MethodNotAllowed(READING.into())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    if status == StatusCode::OK {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
    }
    Ok(response)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const READING: &str = "GET, HEAD, OPTIONS";
// `config::Signer::KEYS_MAX_AGE` for key sets: a test holds them together.
const FIELDS: &[(HeaderName, &str)] = &[
    (CONTENT_TYPE, "application/json"),
    (CACHE_CONTROL, "public, max-age=300"),
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
];
/// MCP clients send a header of their own, so that browsers ask first.
const PREFLIGHT: &[(HeaderName, &str)] = &[
    (ALLOW, READING),
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
    (ACCESS_CONTROL_MAX_AGE, "300"),
];
