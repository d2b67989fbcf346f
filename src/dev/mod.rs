//! `scopegate dev`: the whole thing on loopback with nothing installed.
//!
//! [`run`] starts a development authorization server, a sample API, and the real gateway in front
//! of it; prints curl lines that work as printed; and tells each decision in a sentence.
//!
//! # What holds
//! * The gateway is the one of `scopegate run`: same configuration, same code, same answers.
//! * Nothing but loopback is listened on, and nothing is left behind.

pub mod authorization_server;
mod cast;
mod configuration;
pub(crate) mod folder;
mod loopback;
mod narrate;
pub(crate) mod ready;
pub mod sample_api;
mod story;

use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;

use self::authorization_server::{AuthorizationServer, MintError, RegisteredClient};
use self::cast::{Cast, RESOURCE, Tokens};
use self::configuration::{CompileError, Layout};
use self::narrate::Narrator;
use self::sample_api::SampleApi;
use self::story::{Places, Story};
use crate::base::net::ListenAddress;
use crate::base::time;
use crate::config::Problems;
use crate::oauth::Audience;
use crate::server::{self, Running};

/// What can be chosen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the gateway listens; absent: 8080, or else a port that the system picks.
    pub port: Option<u16>,
    /// Whether the configuration is printed.
    pub show_config: ShowConfig,
}

/// Whether the configuration is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ShowConfig {
    /// It is not.
    #[default]
    No,
    /// Before everything else.
    Yes,
}

/// Why it could not start.
#[derive(Debug)]
pub enum DevError {
    /// The authorization server.
    AuthorizationServer(authorization_server::StartError),
    /// The sample API has no port.
    SampleApi(io::Error),
    /// There is no temporary folder for the secrets.
    Folder(io::Error),
    /// Our own configuration is wrong: a mistake of ours, not of the user.
    Configuration(Problems),
    /// The gateway.
    Gateway(server::StartError),
    /// A token for the curl lines.
    Token(MintError),
    /// Ctrl-C cannot be heard.
    Signals(io::Error),
}

impl fmt::Display for DevError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationServer(error) => {
                write!(formatter, "the development authorization server does not start: {error}")
            }
            Self::SampleApi(error) => write!(formatter, "the sample API does not start: {error}"),
            Self::Folder(error) => write!(formatter, "no temporary folder: {error}"),
            Self::Configuration(problems) => problems.fmt(formatter),
            Self::Gateway(error) => write!(formatter, "the gateway does not start: {error}"),
            Self::Token(error) => error.fmt(formatter),
            Self::Signals(error) => write!(formatter, "signals cannot be heard: {error}"),
        }
    }
}

impl std::error::Error for DevError {}

/// Runs it all until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a part does not start.
pub async fn run(options: Options) -> Result<(), DevError> {
    listen_to_decisions();
    let mut ending = Ending::new().map_err(DevError::Signals)?;
    let clients: Vec<RegisteredClient> = Cast::ALL.map(Cast::registered).into();
    let authorization_server = AuthorizationServer::start(clients, vec![Audience::new(RESOURCE)])
        .await
        .map_err(DevError::AuthorizationServer)?;
    let api = SampleApi::start().await.map_err(DevError::SampleApi)?;
    let text = configuration::text(Layout {
        port: options.port.unwrap_or_else(|| free_or_any(PORT)),
        admin_port: free_or_any(ADMIN_PORT),
        issuer: authorization_server.issuer(),
        api: api.address(),
    });
    if options.show_config == ShowConfig::Yes {
        say(&format!("This is the configuration:\n\n{text}"));
    }
    let running = start_gateway(text).await?;
    let places = Places {
        gateway: url(running.addresses().first()),
        admin: url(running.admin()),
        authorization_server: authorization_server.issuer().to_owned(),
        api: format!("http://{}", api.address()),
    };
    let tokens = Tokens::mint(&authorization_server, time::now().unix).map_err(DevError::Token)?;
    ready::wait(running.admin()).await;
    say(&Story { places: &places, tokens: &tokens }.to_string());
    ending.wait().await;
    running.shutdown().await;
    Ok(())
}

async fn start_gateway(text: String) -> Result<Running, DevError> {
    let name = authorization_server::random_name().map_err(DevError::Token)?;
    let loaded = configuration::compile(text, &name).map_err(|error| match error {
        CompileError::Folder(error) => DevError::Folder(error),
        CompileError::Problems(problems) => DevError::Configuration(problems),
    })?;
    // The gateway brings a runtime of its own, and one that does not start drops it: tokio allows
    // neither waiting nor that where it polls tasks.
    let starting = tokio::task::spawn_blocking(|| server::start(loaded.config));
    match starting.await {
        Ok(started) => started.map_err(DevError::Gateway),
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Decisions go to standard output as sentences, what an operator must know to standard error.
fn listen_to_decisions() {
    let warnings = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_filter(LevelFilter::WARN);
    // The narrator reads two targets at INFO; without this, libraries would make events for it.
    let narrator = Narrator::new(say).with_filter(LevelFilter::INFO);
    let subscriber = tracing_subscriber::registry().with(warnings).with(narrator);
    // Fails where somebody listens already, as in a test: then that one gets the events.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The signals that end it, heard from the moment it is made.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The port if nobody has it, else 0, for which the system picks one.
fn free_or_any(port: u16) -> u16 {
    let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if is_free { port } else { 0 }
}

fn url(address: Option<&ListenAddress>) -> String {
    address.map(|address| format!("http://{address}")).unwrap_or_default()
}

/// Writes a line and lets it out at once, also into a pipe.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    // Whoever closed the other end does not want to hear more; the servers go on until a signal.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_left_to_them() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(free_or_any(taken.local_addr().unwrap().port()), 0);
    }

    #[tokio::test]
    async fn a_port_that_was_asked_for_and_is_taken_is_an_error_and_no_fault() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let text = configuration::text(Layout {
            port: taken.local_addr().unwrap().port(),
            admin_port: 0,
            issuer: "http://127.0.0.1:1",
            api: "127.0.0.1:2".parse().unwrap(),
        });
        assert!(matches!(start_gateway(text).await, Err(DevError::Gateway(_))));
    }
}
