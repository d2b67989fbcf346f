//! Authorization server metadata (RFC 8414, OpenID Connect Discovery): one line of configuration,
//! the issuer, finds keys and endpoints.
//!
//! Metadata counts only if its `issuer` is ours code point by code point (RFC 8414 §3.3), and if
//! none of the endpoints that we use lies where secrets and keys must not travel.

use http::{StatusCode, Uri};

use super::fetch::{self, FetchFailure};
use super::server::Server;
use crate::base::net::is_safe_endpoint;
use crate::oauth::{Claims, Issuer};
use crate::telemetry::Endpoint;

/// What we use of the metadata.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Metadata {
    /// `jwks_uri`.
    pub(super) jwks: Option<Uri>,
    /// `introspection_endpoint`.
    pub(super) introspection: Option<Uri>,
    /// `token_endpoint`.
    pub(super) token: Option<Uri>,
    /// `revocation_endpoint`.
    pub(super) revocation: Option<Uri>,
    /// `mtls_endpoint_aliases`: where clients go that authenticate by a certificate (RFC 8705 §5).
    pub(super) mtls: MtlsAliases,
}

/// Those of `mtls_endpoint_aliases` that we use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct MtlsAliases {
    pub(super) introspection: Option<Uri>,
    pub(super) token: Option<Uri>,
}

/// Fetches the metadata: at the address of RFC 8414, then at the two of OpenID.
///
/// # Errors
/// When none of them gives metadata of this issuer. A connection that fails or a server in trouble
/// ends it at once: the other addresses are at the same host.
pub(super) async fn fetch(server: &Server) -> Result<Metadata, FetchFailure> {
    let issuer = &server.settings().issuer;
    let mut absent = FetchFailure::Absent;
    for uri in metadata_addresses(issuer) {
        match fetch::document(server, Endpoint::Metadata, &uri, |body| read(body, issuer)).await {
            Err(failure @ FetchFailure::Unusable("not JSON")) => absent = failure,
            Err(FetchFailure::Status(status, _)) if is_elsewhere(status) => {}
            outcome => return outcome,
        }
    }
    Err(absent)
}

fn is_elsewhere(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

/// Where an issuer's metadata may be, in the order in which it is looked for (RFC 8414 §3.1 and
/// §5): inserted before the issuer's path, OpenID's appended to it, OpenID's inserted.
pub fn metadata_addresses(issuer: &Issuer) -> Vec<Uri> {
    let text = issuer.as_str();
    let text = text.strip_suffix('/').unwrap_or(text);
    let authority = text.find("://").map_or(0, |at| at + 3);
    let slash = text.get(authority..).and_then(|rest| rest.find('/'));
    let (origin, path) =
        slash.and_then(|at| text.split_at_checked(authority + at)).unwrap_or((text, ""));
    let mut addresses = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    addresses.dedup();
    addresses.iter().filter_map(|address| address.parse().ok()).collect()
}

fn read(body: &[u8], issuer: &Issuer) -> Result<Metadata, FetchFailure> {
    let document = Claims::parse(body).map_err(|_| FetchFailure::Unusable("not JSON"))?;
    if document.string("issuer") != Ok(Some(issuer.as_str())) {
        return Err(FetchFailure::Unusable("metadata of another issuer"));
    }
    Ok(Metadata {
        jwks: endpoint(&document, "jwks_uri")?,
        introspection: endpoint(&document, "introspection_endpoint")?,
        token: endpoint(&document, "token_endpoint")?,
        revocation: endpoint(&document, "revocation_endpoint")?,
        mtls: mtls_aliases(&document)?,
    })
}

fn mtls_aliases(document: &Claims) -> Result<MtlsAliases, FetchFailure> {
    let aliases = document.object("mtls_endpoint_aliases");
    let aliases =
        aliases.map_err(|_| FetchFailure::Unusable("mtls_endpoint_aliases that are no object"))?;
    let Some(aliases) = aliases else { return Ok(MtlsAliases::default()) };
    Ok(MtlsAliases {
        introspection: endpoint(&aliases, "introspection_endpoint")?,
        token: endpoint(&aliases, "token_endpoint")?,
    })
}

/// One bad address spoils the whole: whoever wrote it wrote the others too.
fn endpoint(document: &Claims, name: &'static str) -> Result<Option<Uri>, FetchFailure> {
    let unsafe_one = FetchFailure::Unusable("an endpoint that is neither https nor on loopback");
    match document.string(name) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => {
            let uri = text.parse().ok().filter(is_safe_endpoint);
            uri.map(Some).ok_or(unsafe_one)
        }
        Err(_) => Err(FetchFailure::Unusable("an endpoint that is no string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::Plaintext;

    fn addresses_of(issuer: &str) -> Vec<String> {
        let issuer = Issuer::parse(issuer, Plaintext::Allowed).unwrap();
        metadata_addresses(&issuer).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rfc8414_3_1_the_well_known_part_is_inserted_first_and_appended_next() {
        let with_path = [
            "https://as.test/.well-known/oauth-authorization-server/t1",
            "https://as.test/t1/.well-known/openid-configuration",
            "https://as.test/.well-known/openid-configuration/t1",
        ];
        assert_eq!(addresses_of("https://as.test/t1"), with_path);
        assert_eq!(addresses_of("https://as.test/t1/"), with_path);
        let without_path = [
            "https://as.test:8443/.well-known/oauth-authorization-server",
            "https://as.test:8443/.well-known/openid-configuration",
        ];
        assert_eq!(addresses_of("https://as.test:8443"), without_path);
        assert_eq!(addresses_of("https://as.test:8443/"), without_path);
    }

    #[test]
    fn rfc8414_3_3_the_issuer_is_compared_code_point_by_code_point() {
        let issuer = Issuer::parse("https://as.test/t1", Plaintext::Refused).unwrap();
        for (found, same) in [
            (r#""https://as.test/t1""#, true),
            (r#""https://as.test/t1/""#, false),
            (r#""https://AS.test/t1""#, false),
            (r#""https://as.test:443/t1""#, false),
            (r#""https://as.test/%741""#, false),
            (r#""http://as.test/t1""#, false),
            ("null", false),
            (r#"["https://as.test/t1"]"#, false),
        ] {
            let outcome = read(format!(r#"{{"issuer":{found},"unknown":1}}"#).as_bytes(), &issuer);
            assert_eq!(outcome.is_ok(), same, "{found}");
        }
        assert!(read(b"<html>", &issuer).is_err());
        assert!(read(b"{}", &issuer).is_err());
    }

    #[test]
    fn cve_2026_41413_an_endpoint_that_leads_elsewhere_spoils_the_metadata() {
        let issuer = Issuer::parse("https://as.test", Plaintext::Refused).unwrap();
        for (member, value, good) in [
            ("jwks_uri", r#""https://keys.test/jwks""#, true),
            ("jwks_uri", r#""http://127.0.0.1:9/jwks""#, true),
            ("jwks_uri", r#""http://keys.test/jwks""#, false),
            ("jwks_uri", r#""https://169.254.169.254/latest""#, false),
            ("jwks_uri", r#""file:///etc/passwd""#, false),
            ("jwks_uri", "1", false),
            ("introspection_endpoint", r#""http://10.0.0.1/i""#, false),
            ("token_endpoint", r#""//as.test/token""#, false),
            ("mtls_endpoint_aliases", r#"{"token_endpoint":"https://mtls.as.test/token"}"#, true),
            ("mtls_endpoint_aliases", r#"{"token_endpoint":"http://mtls.as.test/token"}"#, false),
            ("mtls_endpoint_aliases", r#"{"introspection_endpoint":1}"#, false),
            ("mtls_endpoint_aliases", r#""https://mtls.as.test""#, false),
        ] {
            let json = format!(r#"{{"issuer":"https://as.test","{member}":{value}}}"#);
            assert_eq!(read(json.as_bytes(), &issuer).is_ok(), good, "{member} {value}");
        }
    }
}
