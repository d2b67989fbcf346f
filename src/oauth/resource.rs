//! What a protected resource is called, and where its metadata lies (RFC 9728).

use std::fmt;

use http::Uri;

use crate::base::net::is_safe_endpoint;

/// A resource identifier (RFC 9728 §1.2): an https URL without query and fragment, kept exactly as
/// written. http is taken for a host on loopback, where things are tried out.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ResourceIdentifier {
    text: Box<str>,
    /// Up to the path.
    origin_bytes: usize,
}

/// Why a text is no resource identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidResource {
    /// No URL with a host.
    NoUrl,
    /// The scheme is not https, and the host is not on loopback.
    NotHttps,
    /// There is a query or a fragment.
    QueryOrFragment,
    /// There is userinfo.
    UserInfo,
}

impl fmt::Display for InvalidResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoUrl => "a resource is a URL, such as https://api.example.com/orders",
            Self::NotHttps => "a resource is an https URL (RFC 9728 section 1.2)",
            Self::QueryOrFragment => {
                "a resource has no query and no fragment (RFC 9728 section 1.2)"
            }
            Self::UserInfo => "a resource has no user before its host",
        })
    }
}

impl std::error::Error for InvalidResource {}

impl ResourceIdentifier {
    /// Reads one from a configuration.
    ///
    /// # Errors
    /// When it is not what RFC 9728 §1.2 asks for.
    pub fn parse(text: &str) -> Result<Self, InvalidResource> {
        if text.contains(['?', '#']) {
            return Err(InvalidResource::QueryOrFragment);
        }
        let url: Uri = text.parse().map_err(|_| InvalidResource::NoUrl)?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(InvalidResource::NoUrl);
        };
        if authority.as_str().contains('@') {
            return Err(InvalidResource::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(InvalidResource::NoUrl);
        }
        if scheme != "https" && !is_safe_endpoint(&url) {
            return Err(InvalidResource::NotHttps);
        }
        let origin_bytes = scheme.len() + "://".len() + authority.as_str().len();
        Ok(Self { text: text.into(), origin_bytes })
    }

    /// Exactly as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, with the port if it names one.
    pub fn authority(&self) -> &str {
        let origin = self.text.get(..self.origin_bytes).unwrap_or_default();
        origin.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The path of its metadata: the well-known name comes before its own path, of which a lone
    /// slash counts as nothing (RFC 9728 §3.1).
    pub fn metadata_path(&self) -> String {
        let path = self.text.get(self.origin_bytes..).unwrap_or_default();
        let path = if path == "/" { "" } else { path };
        format!("{WELL_KNOWN}{path}")
    }

    /// The address of its metadata, for challenges (RFC 9728 §5.1).
    pub fn metadata_url(&self) -> String {
        let origin = self.text.get(..self.origin_bytes).unwrap_or_default();
        format!("{origin}{}", self.metadata_path())
    }
}

/// RFC 9728 §3.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9728_3_1_the_well_known_name_comes_before_the_path() {
        for (resource, authority, url) in [
            (
                "https://resource.example.com",
                "resource.example.com",
                "https://resource.example.com/.well-known/oauth-protected-resource",
            ),
            (
                "https://resource.example.com/",
                "resource.example.com",
                "https://resource.example.com/.well-known/oauth-protected-resource",
            ),
            (
                "https://resource.example.com:8443/resource1",
                "resource.example.com:8443",
                "https://resource.example.com:8443/.well-known/oauth-protected-resource/resource1",
            ),
            (
                "http://127.0.0.1:80/mcp",
                "127.0.0.1:80",
                "http://127.0.0.1:80/.well-known/oauth-protected-resource/mcp",
            ),
        ] {
            let read = ResourceIdentifier::parse(resource).unwrap();
            assert_eq!(read.as_str(), resource);
            assert_eq!(read.authority(), authority);
            assert_eq!(read.metadata_url(), url);
            assert!(url.ends_with(&read.metadata_path()));
        }
    }

    #[test]
    fn rfc9728_1_2_a_resource_is_an_https_url_without_query_and_fragment() {
        for (text, expected) in [
            ("", InvalidResource::NoUrl),
            ("/orders", InvalidResource::NoUrl),
            ("urn:orders", InvalidResource::NoUrl),
            ("http://api.example.com/orders", InvalidResource::NotHttps),
            ("https://api.example.com/orders?a", InvalidResource::QueryOrFragment),
            ("https://api.example.com/#a", InvalidResource::QueryOrFragment),
            ("https://a@api.example.com/", InvalidResource::UserInfo),
        ] {
            assert_eq!(ResourceIdentifier::parse(text), Err(expected), "{text}");
        }
    }
}
