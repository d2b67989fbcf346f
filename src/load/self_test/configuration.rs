//! The gateway's configuration in a self-test: a text like any user's.

use std::net::SocketAddr;

/// What the text is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    /// Where the key set is.
    pub(super) jwks_uri: &'a str,
    /// Where introspection is.
    pub(super) introspection_endpoint: &'a str,
    /// `HOST:PORT` of the upstream.
    pub(super) upstream: SocketAddr,
    /// Tokens of each sort, which all fit into the cache.
    pub(super) tokens: usize,
    /// Connections of the load.
    pub(super) connections: usize,
}

/// The configuration as one would write it.
pub(super) fn text(layout: Layout<'_>) -> String {
    let Layout { jwks_uri, introspection_endpoint, upstream, tokens, connections } = layout;
    // JWTs and opaque tokens, and room so that nothing is ever put out.
    let cached = tokens * 4 + 1000;
    let open = connections * 2 + 100;
    format!(
        r#"workers = 1

[[listeners]]
address = "127.0.0.1:0"
[listeners.limits]
connections = {open}

[admin]
address = "127.0.0.1:0"

[authorization_servers.self-test]
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
jwks_uri = "{jwks_uri}"
introspection_endpoint = "{introspection_endpoint}"
[authorization_servers.self-test.introspection]
client_id = "{CLIENT}"
client_secret = {{ file = "{SECRET_FILE}" }}
cache_ttl = "1h"

[upstreams.api]
endpoints = ["http://{upstream}"]
[upstreams.api.limits]
requests = {open}
idle_connections = {open}

[[routes]]
path = "{PROTECTED}"
methods = ["GET"]
upstream = "api"
access = {{ scopes = ["{SCOPE}"] }}
identity_headers = {{ "x-subject" = "sub", "x-scopes" = "scope" }}

[[routes]]
path = "{PUBLIC}"
upstream = "api"
access = "public"

[log]
level = "info"
format = "json"
access = false

[caches]
tokens = {cached}

[drain]
delay = "0s"
timeout = "1s"
"#
    )
}

/// Of all tokens. Nobody can have this name (RFC 6761 §6.4), so nobody is asked by mistake.
pub(super) const ISSUER: &str = "https://self-test.invalid";
/// Of all tokens.
pub(super) const AUDIENCE: &str = "https://api.invalid";
/// What the protected route needs.
pub(super) const SCOPE: &str = "orders:read";
/// The gateway's client at introspection.
pub(super) const CLIENT: &str = "gateway";
/// Its secret is in this file beside the configuration.
pub(super) const SECRET_FILE: &str = "gateway";
/// The route that needs a token.
pub(super) const PROTECTED: &str = "/orders/1";
/// The route that needs none.
pub(super) const PUBLIC: &str = "/health";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};
    use crate::dev::folder::Folder;
    use crate::oauth::Plaintext;

    #[test]
    fn the_text_is_a_configuration_that_run_takes_without_a_warning() {
        let folder =
            Folder::create(&format!("scopegate-self-test-unit-{}", std::process::id())).unwrap();
        folder.write(SECRET_FILE, "secret").unwrap();
        let text = text(Layout {
            jwks_uri: "http://127.0.0.1:1/jwks",
            introspection_endpoint: "http://127.0.0.1:1/introspect",
            upstream: "127.0.0.1:2".parse().unwrap(),
            tokens: 1,
            connections: 1,
        });
        let source = Source { path: folder.path().join("scopegate.toml"), text };
        let loaded = config::parse(vec![source], Plaintext::Refused).unwrap();
        assert_eq!(loaded.warnings, []);
    }
}
