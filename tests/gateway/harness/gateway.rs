//! The real binary, started with a configuration, found by what it logs, ended by SIGTERM.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::client::{Request, Response};
use super::http1::Connection;
use super::http2::Http2;
use super::program::{self, Program};
use super::{Scratch, eventually};

/// A gateway.
pub struct Gateway {
    program: Program,
    listeners: Vec<String>,
    admin: Option<String>,
    config: PathBuf,
    folder: Scratch,
}

impl Gateway {
    /// Starts one; it listens when this returns.
    pub async fn start(config: &str) -> Self {
        Self::start_in(Scratch::new(), config).await
    }

    /// The same, in a folder that has the files that the configuration names.
    pub async fn start_in(folder: Scratch, config: &str) -> Self {
        let path = folder.write("gateway.toml", config);
        let program = Program::start(command(&["run", "--config"]).arg(&path));
        let mut gateway =
            Self { program, listeners: Vec::new(), admin: None, config: path, folder };
        gateway.find_addresses(config).await;
        gateway
    }

    async fn find_addresses(&mut self, config: &str) {
        let wanted = config.matches("[[listeners]]").count();
        let wants_admin = config.contains("[admin]");
        loop {
            let (listeners, admin) = addresses(&self.program.errors().all());
            if listeners.len() == wanted && admin.is_some() == wants_admin {
                (self.listeners, self.admin) = (listeners, admin);
                return;
            }
            eventually("the gateway's addresses in its log", async || {
                if let Some(status) = self.program.ended() {
                    panic!("the gateway ended with {status}; its configuration:\n{config}");
                }
                let now = addresses(&self.program.errors().all());
                (now.0.len() == wanted && now.1.is_some() == wants_admin).then_some(())
            })
            .await;
        }
    }

    /// Waits until it is ready, by its admin listener.
    pub async fn ready(self) -> Self {
        eventually("the gateway to be ready", async || {
            (self.admin("/readyz").await.status == 200).then_some(())
        })
        .await;
        self
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0].parse().unwrap()
    }

    /// The addresses of all listeners, in the order of the configuration.
    pub fn addresses(&self) -> &[String] {
        &self.listeners
    }

    /// The URL of the first listener.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A GET in the making.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// Any request in the making.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address(), method, target)
    }

    /// A connection of HTTP/1.1.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address()).await
    }

    /// A connection of HTTP/2.
    pub async fn http2(&self) -> Http2 {
        Http2::open(self.address()).await
    }

    /// Many GETs at once: see [`Http2::get_at_once`].
    pub async fn at_once(&self, path: &str, authorizations: &[String]) -> Vec<u16> {
        Http2::get_at_once(self.address(), path, authorizations).await
    }

    /// A GET at the admin listener.
    pub async fn admin(&self, target: &str) -> Response {
        let admin = self.admin.as_ref().expect("an [admin] table").parse().unwrap();
        Request::new(admin, "GET", target).header("host", "localhost").send().await
    }

    /// A POST of JSON at the admin listener, in the making.
    pub fn admin_post(&self, target: &str, json: &serde_json::Value) -> Request {
        let request = Request::new(self.admin_address().parse().unwrap(), "POST", target);
        let request =
            request.header("host", "localhost").header("content-type", "application/json");
        request.body(json.to_string())
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> &str {
        self.admin.as_deref().expect("an [admin] table")
    }

    /// The sum of a metric over all its series that have these labels.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin("/metrics").await.text();
        let wanted: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or("none");
            rest.starts_with(['{', ' ']) && wanted.iter().all(|label| line.contains(label))
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// A number of the process, which must be there.
    pub async fn gauge(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let values: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0].parse().unwrap()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.program.errors().text()
    }

    /// Waits until its log has a text.
    pub async fn logs(&self, text: &str) {
        let what = format!("a log line with {text:?}");
        eventually(&what, async || self.log().contains(text).then_some(())).await;
    }

    /// Ends it, and gives all that it ever logged: access lines come a moment late, so that before
    /// its end none is known to be missing.
    pub async fn whole_log(&self) -> String {
        self.signal("TERM");
        self.logs(" ended").await;
        self.log()
    }

    /// Its configuration's file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Scratch {
        &self.folder
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        self.program.end().await
    }
}

/// A command line of the binary.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(arguments).env("NO_COLOR", "1");
    command
}

/// `scopegate check` on a text: exit code and everything it printed. Every environment variable that
/// the text names is set.
pub async fn check(folder: &Scratch, config: &str) -> (i32, String) {
    let path = folder.write("checked.toml", config);
    let named = config.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut command = command(&["check"]);
    command.arg(path).envs(named.map(|name| (name, "a-secret-of-the-environment")));
    let (status, output, errors) = program::run(&mut command).await;
    (status.code().unwrap_or(-1), format!("{output}\n{errors}"))
}

/// The listeners' addresses and the admin listener's, as the log has them.
fn addresses(log: &[String]) -> (Vec<String>, Option<String>) {
    let (mut listeners, mut admin) = (Vec::new(), None);
    for line in log {
        let rest = line.split_once("address=").or_else(|| line.split_once("\"address\":"));
        let Some((_, rest)) = rest else { continue };
        let end = |character: char| character.is_whitespace() || matches!(character, ',' | '}');
        let address = rest.split(end).next().unwrap_or_default().trim_matches('"');
        if line.contains("admin listening") {
            admin = Some(address.to_owned());
        } else if line.contains("listening") {
            listeners.push(address.to_owned());
        }
    }
    (listeners, admin)
}
