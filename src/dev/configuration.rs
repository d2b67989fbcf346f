//! The configuration of `scopegate dev`: a text like any user's, compiled like any user's.

use std::io;

use super::cast::{self, Cast};
use super::folder::Folder;
use crate::config::{self, Loaded, Problems, Source};
use crate::oauth::Plaintext;

/// Where things are: what the text is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    /// The port of the gateway; 0 lets the system pick.
    pub(super) port: u16,
    /// The port of its admin listener; 0 lets the system pick.
    pub(super) admin_port: u16,
    /// The authorization server.
    pub(super) issuer: &'a str,
    /// `HOST:PORT` of the sample API.
    pub(super) api: std::net::SocketAddr,
}

/// The configuration as one would write it.
pub(super) fn text(layout: Layout<'_>) -> String {
    let Layout { port, admin_port, issuer, api } = layout;
    let (resource, gateway, reports) = (cast::RESOURCE, Cast::GATEWAY.id, Cast::REPORTS.id);
    format!(
        r#"# The secrets are files beside this one. An issuer with http: is good in `dev` alone.
[[listeners]]
address = "127.0.0.1:{port}"

[admin]
address = "127.0.0.1:{admin_port}"

[authorization_servers.dev]
issuer = "{issuer}"
audiences = ["{resource}"]

[authorization_servers.dev.introspection]     # for opaque tokens
client_id = "{gateway}"
client_secret = {{ file = "{gateway}" }}

[clients.reports]                             # a token of the gateway's own
authorization_server = "dev"
client_id = "{reports}"
client_secret = {{ file = "{reports}" }}
scopes = ["reports:read"]

[upstreams.api]
endpoints = ["http://{api}"]

[[routes]]
path = "/orders/{{id}}"
methods = ["GET"]
upstream = "api"
access = {{ scopes = ["orders:read"] }}
accept = ["bearer", "basic"]
identity_headers = {{ "x-subject" = "sub", "x-scopes" = "scope" }}

[[routes]]
path = "/orders"
methods = ["POST"]
upstream = "api"
access = {{ scopes = ["orders:write"] }}
accept = ["bearer", "basic"]
identity_headers = {{ "x-subject" = "sub", "x-scopes" = "scope" }}

[[routes]]
path = "/reports"
methods = ["GET"]
upstream = "api"
access = {{ scopes = ["orders:read"] }}
accept = ["bearer", "basic"]
forward = {{ client = "reports" }}
identity_headers = {{ "x-subject" = "sub", "x-scopes" = "scope" }}

[[routes]]
path = "/health"
upstream = "api"
access = "public"

[drain]
delay = "0s"
timeout = "1s"
"#
    )
}

/// Why the configuration could not be compiled.
#[derive(Debug)]
pub(super) enum CompileError {
    /// There is no folder for the secrets.
    Folder(io::Error),
    /// The text is wrong.
    Problems(Problems),
}

/// Compiles the text; the secrets lie in a folder of their own for as long as that takes.
pub(super) fn compile(text: String, name: &str) -> Result<Loaded, CompileError> {
    let folder = Folder::create(&folder_name(name)).map_err(CompileError::Folder)?;
    for member in Cast::ALL {
        folder.write(member.id, member.secret).map_err(CompileError::Folder)?;
    }
    let source = Source { path: folder.path().join("scopegate.toml"), text };
    config::parse(vec![source], Plaintext::Allowed).map_err(CompileError::Problems)
}

fn folder_name(name: &str) -> String {
    format!("scopegate-dev-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(name: &str) -> Result<Loaded, CompileError> {
        let layout = Layout {
            port: 0,
            admin_port: 0,
            issuer: "http://127.0.0.1:1",
            api: "127.0.0.1:2".parse().unwrap(),
        };
        compile(text(layout), name)
    }

    #[test]
    fn the_text_compiles_without_a_warning_and_the_secrets_are_gone_after_that() {
        let name = format!("test-{}", std::process::id());
        let loaded = compiled(&name).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.routes.len(), 4);
        assert!(!std::env::temp_dir().join(folder_name(&name)).exists());
    }

    #[test]
    fn a_folder_that_exists_is_not_used() {
        let name = format!("taken-{}", std::process::id());
        let taken = Folder::create(&folder_name(&name)).unwrap();
        assert!(matches!(compiled(&name), Err(CompileError::Folder(_))));
        drop(taken);
    }
}
