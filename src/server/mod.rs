//! Listeners, workers, and the life of the process: start, reload, drain, end.
//!
//! [`start`] serves a configuration and gives a [`Running`]; [`run`] is `scopegate run`, which adds
//! the signals: SIGHUP takes up a new configuration, SIGTERM and SIGINT drain, a second one ends
//! at once.

mod accept;
mod admin;
mod connection;
mod cork;
mod door;
mod heads;
mod impatient;
mod listen;
mod misconduct;
mod pace;
mod parked;
mod phase;
mod places;
mod proxy_protocol;
mod read_along;
mod renewal;
mod run;
mod trailers;
mod transport;
mod watchdog;
mod watched;
mod worker;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/proxy_protocol.rs"]
pub mod fuzz_proxy_protocol;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

pub use listen::ListenError;
pub use run::run;

use self::listen::{BoundListener, Treatment};
use self::phase::{Phase, PhaseSender};
use self::worker::Listeners;
use crate::base::net::ListenAddress;
use crate::config::{Config, Listener};
use crate::gateway::{BuildError, Gateway};

/// A gateway that serves.
pub struct Running {
    gateway: Arc<Gateway>,
    phase: PhaseSender,
    listeners: watch::Sender<Listeners>,
    workers: Vec<JoinHandle<()>>,
    addresses: Vec<ListenAddress>,
    admin: Option<ListenAddress>,
    /// Where everything runs that is no request: key refresh, calls to authorization servers, the
    /// admin listener. `Some` until the end.
    control: Option<Runtime>,
}

/// Why a gateway cannot start, or cannot take up a new configuration.
#[derive(Debug)]
pub enum StartError {
    /// A listener cannot listen.
    Listen(ListenError),
    /// The configuration cannot be put to work.
    Build(BuildError),
    /// The system gives no thread or no runtime.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(formatter),
            Self::Build(error) => error.fmt(formatter),
            Self::System(error) => write!(formatter, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<BuildError> for StartError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Starts to serve a configuration, on threads of its own.
///
/// # Errors
/// When an address cannot be bound, TLS settings do not work, or the system refuses threads.
pub fn start(config: Config) -> Result<Running, StartError> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let bound = bind_all(&config.listeners, &[])?;
    let admin_socket =
        config.admin.as_ref().map(|admin| admin::bind(&admin.address)).transpose()?;
    let workers = config.workers;
    let gateway = Arc::new(Gateway::new(config, control.handle().clone())?);
    gateway.metrics().runs_on(control.handle());
    let phase = PhaseSender::new();
    let (listeners, renewed) = watch::channel(bound);
    control.spawn(renewal::renew_all(Arc::clone(&gateway), renewed));
    let workers = (0..workers)
        .map(|index| {
            let worker = gateway.worker(index);
            worker::start(Arc::clone(&gateway), worker, listeners.subscribe(), phase.subscribe())
        })
        .collect::<io::Result<Vec<_>>>()?;
    let admin = admin_socket.map(|(socket, address)| {
        control.spawn(admin::serve(Arc::clone(&gateway), socket, address.clone()));
        address
    });
    let addresses = listeners.borrow().iter().map(|one| one.address.clone()).collect();
    let running =
        Running { gateway, phase, listeners, workers, addresses, admin, control: Some(control) };
    running.announce();
    Ok(running)
}

impl Running {
    /// Where callers come in, in the order of the configuration, with real ports.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> Option<&ListenAddress> {
        self.admin.as_ref()
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Takes up a new configuration, all of it or nothing: requests in flight end under the old
    /// one. What cannot change while running (`workers`, `admin.address`, `revocations.file`,
    /// the level and format of `[log]`)
    /// waits for a restart, and the log says so.
    ///
    /// # Errors
    /// When it cannot be put to work; the old one then goes on.
    pub fn reload(&mut self, config: Config) -> Result<(), StartError> {
        let current = Arc::clone(&self.listeners.borrow());
        let bound = bind_all(&config.listeners, &current)?;
        let treatments = bound
            .iter()
            .zip(&config.listeners)
            .map(|(listener, settings)| Treatment::new(settings, Some(&listener.treatment.load())));
        let treatments = treatments.collect::<Result<Vec<_>, _>>()?;
        let waiting = wait_for_a_restart(self.gateway.snapshot().config(), &config);
        self.gateway.take_up(config)?;
        for (listener, treatment) in bound.iter().zip(treatments) {
            listener.treat(treatment);
        }
        for added in bound.iter().filter(|one| !self.addresses.contains(&one.address)) {
            tracing::info!(address = %added.address, "listening");
        }
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "changed keys wait for a restart");
        }
        self.addresses = bound.iter().map(|one| one.address.clone()).collect();
        self.listeners.send_replace(bound);
        Ok(())
    }

    /// Says no to `/readyz`, so that no new work is sent here; everything is served on.
    pub fn announce_drain(&self) {
        self.gateway.drain();
    }

    /// Stops accepting, lets requests in flight end for at most `patience`, and ends.
    pub async fn shutdown_within(mut self, patience: Duration) {
        self.gateway.drain();
        self.phase.enter(Phase::Draining);
        // The sockets close with it: whoever comes now is refused and can go elsewhere, instead of
        // waiting in a queue that nobody empties.
        self.listeners.send_replace(Listeners::default());
        let is_cut = timeout(patience, self.phase.all_gone()).await.is_err();
        if is_cut {
            tracing::warn!(connections = self.open_connections(), "drain timed out");
        }
        self.end();
    }

    /// Ends as the configuration's `[drain]` says, without its delay.
    pub async fn shutdown(self) {
        let patience = self.gateway.snapshot().config().drain.timeout;
        self.shutdown_within(patience).await;
    }

    fn end(&mut self) {
        let (nobody, _) = watch::channel(Listeners::default());
        drop(std::mem::replace(&mut self.listeners, nobody));
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        if let Some(control) = self.control.take() {
            control.shutdown_background();
        }
    }

    fn open_connections(&self) -> i64 {
        self.gateway.metrics().connections().open().get()
    }

    fn announce(&self) {
        for address in &self.addresses {
            tracing::info!(%address, "listening");
        }
        if let Some(address) = &self.admin {
            tracing::info!(%address, "admin listening");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.phase.enter(Phase::Draining);
        self.end();
    }
}

/// Binds every listener, taking over those that are bound already: each once, as several may have
/// asked for port 0.
fn bind_all(wanted: &[Listener], bound: &[Arc<BoundListener>]) -> Result<Listeners, ListenError> {
    let mut bound: Vec<_> = bound.to_vec();
    let bind = |settings: &Listener| {
        let kept = bound.iter().position(|listener| listener.configured == settings.address);
        kept.map_or_else(|| BoundListener::bind(settings).map(Arc::new), |at| Ok(bound.remove(at)))
    };
    wanted.iter().map(bind).collect()
}

/// The keys that differ and that a running process cannot take up.
fn wait_for_a_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let address = |config: &Config| config.admin.as_ref().map(|admin| admin.address.clone());
    let level_and_format = |config: &Config| (config.log.level.clone(), config.log.format);
    [
        ("admin.address", address(running) != address(new)),
        ("revocations.file", revocations_file(running, new)),
        ("workers", running.workers != new.workers),
        ("log.level and log.format", level_and_format(running) != level_and_format(new)),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

/// Whether there is a list by both, in another file. One that begins by a reload has its file then.
fn revocations_file(running: &Config, new: &Config) -> bool {
    let (running, new) = (running.revocations.as_ref(), new.revocations.as_ref());
    running.zip(new).is_some_and(|(running, new)| running.file != new.file)
}
