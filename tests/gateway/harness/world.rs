//! A configuration in the making, and the usual case: issuer, upstream, gateway.

use super::issuer::{AUDIENCE, TestIssuer};
use super::{AuthServer, Backend, Gateway, Scratch};

/// A configuration in the making: the parts that every test needs are there.
pub struct Setup {
    top: String,
    tables: String,
    listener: String,
    admin: String,
    routes: Vec<String>,
    /// The folder of the configuration: files that it names go here.
    pub folder: Scratch,
}

impl Setup {
    /// A plaintext listener, an admin listener, an end without delay.
    pub fn new() -> Self {
        Self {
            top: String::new(),
            tables: String::new(),
            listener: String::new(),
            admin: String::new(),
            routes: Vec::new(),
            folder: Scratch::new(),
        }
    }

    /// Adds an authorization server whose keys are in a file.
    pub fn issuer(self, name: &str, issuer: &TestIssuer, more: &str) -> Self {
        let (issuer, jwks) = (&issuer.name, issuer.jwks_file());
        self.table(&format!(
            "[authorization_servers.{name}]\nissuer = \"{issuer}\"\naudiences = [\"{AUDIENCE}\"]\n\
             jwks_file = \"{jwks}\"\n{more}"
        ))
    }

    /// Adds a real authorization server.
    pub fn server(self, name: &str, server: &AuthServer, more: &str) -> Self {
        let table = server.table(name, more);
        self.secret("gateway", "gateway-secret").table(
            &table.replace("{ env = \"TEST_GATEWAY_SECRET\" }", "{ file = \"secrets/gateway\" }"),
        )
    }

    /// Writes `secrets/NAME`.
    pub fn secret(self, name: &str, secret: &str) -> Self {
        self.folder.write(&format!("secrets/{name}"), secret);
        self
    }

    /// Adds an upstream.
    pub fn upstream(self, name: &str, url: &str, more: &str) -> Self {
        self.table(&format!("[upstreams.{name}]\nendpoints = [\"{url}\"]\n{more}"))
    }

    /// Adds a route: the inside of an inline table; its upstream is `api` unless it says otherwise.
    pub fn route(mut self, route: &str) -> Self {
        let upstream = if route.contains("upstream") { "" } else { ", upstream = \"api\"" };
        self.routes.push(format!("{{ {route}{upstream} }}"));
        self
    }

    /// Adds text to the first listener's table.
    pub fn listener(mut self, text: &str) -> Self {
        self.listener.push_str(text);
        self.listener.push('\n');
        self
    }

    /// Adds text to the admin listener's table.
    pub fn admin(mut self, text: &str) -> Self {
        self.admin.push_str(text);
        self.admin.push('\n');
        self
    }

    /// Adds a key before all tables.
    pub fn top(mut self, text: &str) -> Self {
        self.top.push_str(text);
        self.top.push('\n');
        self
    }

    /// Adds any table.
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// The text.
    pub fn text(&self) -> String {
        let routes = self.routes.join(",\n  ");
        let drain = if self.tables.contains("[drain]") { "" } else { "[drain]\ndelay = \"0s\"\n" };
        format!(
            "workers = 1\nrealm = \"test\"\n{}\nroutes = [\n  {routes}\n]\n\n[[listeners]]\naddress = \
             \"127.0.0.1:0\"\n{}\n[admin]\naddress = \"127.0.0.1:0\"\n{}\n{drain}\n{}",
            self.top, self.listener, self.admin, self.tables
        )
    }

    /// Starts a gateway with it, and waits until it is ready.
    pub async fn start(self) -> Gateway {
        self.start_unready().await.ready().await
    }

    /// Starts a gateway with it that need not become ready.
    pub async fn start_unready(self) -> Gateway {
        let text = self.text();
        Gateway::start_in(self.folder, &text).await
    }
}

/// An issuer, an upstream that remembers, and the gateway between.
pub struct World {
    /// Whose tokens count.
    pub issuer: TestIssuer,
    /// Where requests go.
    pub upstream: Backend,
    /// The gateway.
    pub gateway: Gateway,
}

/// The route of most tests.
pub const ORDERS: &str = r#"path = "/orders/{*rest}", access = { scopes = ["orders:read"] }"#;

impl World {
    /// One with the usual issuer and these routes.
    pub async fn with(routes: &[&str]) -> Self {
        Self::built(TestIssuer::new(), "", |setup| {
            routes.iter().fold(setup, |setup, route| setup.route(route))
        })
        .await
    }

    /// One with the route [`ORDERS`].
    pub async fn orders() -> Self {
        Self::with(&[ORDERS]).await
    }

    /// One whose authorization server `main` has more keys, and whose configuration has more.
    pub async fn built(
        issuer: TestIssuer,
        server: &str,
        build: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let upstream = Backend::start().await;
        let setup =
            Setup::new().issuer("main", &issuer, server).upstream("api", &upstream.url(), "");
        let gateway = build(setup).start().await;
        Self { issuer, upstream, gateway }
    }

    /// A token that the route [`ORDERS`] lets in.
    pub fn token(&self) -> String {
        self.issuer.token().scopes("orders:read").sign()
    }
}

/// A client of the gateway's own at the server `main`; its secret is the file `secrets/NAME`.
/// `scopes` as in a token, with blanks between them.
pub fn client(name: &str, id: &str, scopes: &str, more: &str) -> String {
    let scopes: Vec<&str> = scopes.split_whitespace().collect();
    format!(
        "[clients.{name}]\nauthorization_server = \"main\"\nclient_id = \"{id}\"\n\
         client_secret = {{ file = \"secrets/{name}\" }}\nscopes = {scopes:?}\n{more}\n"
    )
}

/// Tables for a server that is asked about opaque tokens at `url` and gives tokens at `url`, both by
/// hand: `more` goes into its `introspection` table. To be given as the `more` of an issuer.
pub fn endpoints(url: &str, more: &str) -> String {
    endpoints_of("main", url, more)
}

/// The same for a server of another name.
pub fn endpoints_of(name: &str, url: &str, more: &str) -> String {
    format!(
        "introspection_endpoint = \"{url}/introspect\"\ntoken_endpoint = \"{url}/token\"\n\
         outbound = {{ connect_timeout = \"500ms\", timeout = \"1s\" }}\n\
         [authorization_servers.{name}.introspection]\nclient_id = \"gateway\"\n\
         client_secret = {{ file = \"secrets/gateway\" }}\n{more}\n"
    )
}
