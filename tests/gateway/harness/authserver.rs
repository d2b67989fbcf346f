//! The real authorization servers of `tests/authserver`, one for each test that counts or breaks.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::client::Request;
use super::program::{Program, fixture, node, python};

/// A real authorization server, with its control port.
pub struct AuthServer {
    _program: Program,
    /// Its issuer.
    pub issuer: String,
    control: SocketAddr,
    prefix: String,
    certs: Option<String>,
}

impl AuthServer {
    /// oidc-provider over TLS: JWTs and opaque tokens.
    pub async fn start() -> Self {
        let mut program = Program::start(node("authserver/authserver.mjs").arg("--tls"));
        let ready = program.ready().await;
        Self::new(program, &ready)
    }

    /// django-oauth-toolkit, plain HTTP: opaque tokens, introspection unlike the other's.
    pub async fn django() -> Self {
        let mut program = Program::start(&mut python("authserver/authserver_django.py"));
        let ready = program.ready().await;
        Self::new(program, &ready)
    }

    fn new(program: Program, ready: &Value) -> Self {
        let control = ready["control"].as_str().unwrap().strip_prefix("http://").unwrap();
        let (address, prefix) = match control.split_once('/') {
            Some((address, path)) => (address, format!("/{path}")),
            None => (control, String::new()),
        };
        Self {
            _program: program,
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
            control: address.parse().unwrap(),
            prefix,
            certs: ready["certs"].as_str().map(str::to_owned),
        }
    }

    /// The certificate of the authority that vouches for it.
    pub fn ca(&self) -> String {
        self.file("ca.crt")
    }

    /// One of its certificates and keys.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.certs.as_deref().expect("a server with TLS"))
    }

    /// Asks its control port; `body` null: a GET.
    pub async fn control(&self, path: &str, body: Value) -> Value {
        let method = if body.is_null() { "GET" } else { "POST" };
        let target = format!("{}{path}", self.prefix);
        let mut request = Request::new(self.control, method, &target).header("host", "127.0.0.1");
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await;
        assert_eq!(response.status, 200, "control {path}: {}", response.text());
        response.json()
    }

    /// Makes a token.
    pub async fn mint(&self, order: Value) -> String {
        self.control("/mint", order).await["token"].as_str().unwrap().to_owned()
    }

    /// How many requests an endpoint has had.
    pub async fn count(&self, endpoint: &str) -> u64 {
        self.control("/counters", Value::Null).await["requests"][endpoint].as_u64().unwrap_or(0)
    }

    /// How many requests an endpoint is at.
    pub async fn in_flight(&self, endpoint: &str) -> u64 {
        self.control("/counters", Value::Null).await["in_flight"][endpoint].as_u64().unwrap_or(0)
    }

    /// Makes an endpoint misbehave; `{}` makes it well again.
    pub async fn fault(&self, endpoint: &str, knobs: Value) {
        let mut order = knobs;
        order["endpoint"] = json!(endpoint);
        self.control("/faults", order).await;
    }

    /// Whether it could be revoked.
    pub async fn revoke(&self, token: &str) -> bool {
        self.control("/revoke", json!({ "token": token })).await["revoked"] == json!(true)
    }

    /// The `[authorization_servers.NAME]` table for it, with introspection.
    pub fn table(&self, name: &str, more: &str) -> String {
        let (issuer, ca) = (&self.issuer, self.ca());
        format!(
            r#"
[authorization_servers.{name}]
issuer = "{issuer}"
audiences = ["https://api.test/jwt", "https://api.test/opaque", "https://api.test/short-jwt", "https://api.test/short-opaque", "https://api.test/es256", "https://api.test/ps256", "https://api.test/eddsa", "https://api.test/ed25519"]
outbound = {{ ca = "{ca}", connect_timeout = "1s", timeout = "2s" }}
{more}
[authorization_servers.{name}.introspection]
client_id = "gateway"
client_secret = {{ env = "TEST_GATEWAY_SECRET" }}
"#
        )
    }
}

/// Starts a server of `tests/clients`: the program and its URL.
pub async fn server(
    script: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Program, String) {
    let mut command = python(script);
    command.args(arguments).envs(environment.iter().copied());
    let mut program = Program::start(&mut command);
    let url = program.ready().await["url"].as_str().unwrap().to_owned();
    (program, url)
}

/// A folder below `tests/`.
pub fn folder(path: &str) -> std::path::PathBuf {
    fixture(path)
}
