//! The gateway of a self-test: `scopegate run`, a process of its own, so that its processor time is
//! its own.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::configuration::SECRET_FILE;
use super::processor;
use crate::base::net::ListenAddress;
use crate::dev::folder::Folder;
use crate::dev::ready;

/// A gateway that is ready; dropping it ends the process and removes its folder.
#[derive(Debug)]
pub(super) struct Gateway {
    // Before the folder: the process ends first.
    process: Process,
    address: SocketAddr,
    _folder: Folder,
}

/// Why there is none.
#[derive(Debug)]
pub enum GatewayError {
    /// The program of this process is not known, or it cannot be started again.
    Program(io::Error),
    /// No temporary folder for its configuration.
    Folder(io::Error),
    /// It ended instead of listening, with these last words.
    Ended(String),
    /// It did not say where it listens.
    Silent,
}

impl fmt::Display for GatewayError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(error) => {
                write!(formatter, "scopegate cannot be started as a process of its own: {error}")
            }
            Self::Folder(error) => write!(formatter, "no temporary folder: {error}"),
            Self::Ended(words) => {
                write!(formatter, "the gateway ended instead of listening:\n{words}")
            }
            Self::Silent => formatter.write_str(
                "the gateway does not say where it listens; the machine may be too busy, try again",
            ),
        }
    }
}

impl std::error::Error for GatewayError {}

impl Gateway {
    /// Starts one with this configuration, and waits until it is ready.
    pub(super) async fn start(
        name: &str,
        configuration: &str,
        secret: &str,
    ) -> Result<Self, GatewayError> {
        let folder = Folder::create(name).map_err(GatewayError::Folder)?;
        folder.write(SECRET_FILE, secret).map_err(GatewayError::Folder)?;
        folder.write(FILE, configuration).map_err(GatewayError::Folder)?;
        let (process, lines) = Process::start(&folder).map_err(GatewayError::Program)?;
        let found = timeout(PATIENCE, addresses(lines)).await;
        let (address, admin) = found.map_err(|_| GatewayError::Silent)??;
        ready::wait(Some(&ListenAddress::Tcp(admin))).await;
        Ok(Self { process, address, _folder: folder })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that it has used so far, if the system tells.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor::time(self.process.0.id())
    }

    /// How it ended, if it has, which it should not.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.0.try_wait().ok().flatten()
    }
}

/// A process that ends with this value. It holds nothing that a sudden end would spoil.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(folder: &Folder) -> io::Result<(Self, mpsc::Receiver<String>)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(folder.path().join(FILE))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let process = Self(child);
        let (sender, lines) = mpsc::channel(LINES);
        if let Some(stderr) = stderr {
            thread::Builder::new().spawn(move || follow(stderr, &sender))?;
        }
        Ok((process, lines))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, as on Ctrl-C, which the terminal sends to both.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads what it logs to the end, so that it never waits for a reader.
fn follow(stderr: ChildStderr, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        // Nobody wants to hear more once the addresses are known.
        let _ = lines.try_send(line);
    }
}

/// The addresses of the listener and of the admin listener, as its log has them.
async fn addresses(
    mut lines: mpsc::Receiver<String>,
) -> Result<(SocketAddr, SocketAddr), GatewayError> {
    let (mut listener, mut admin) = (None, None);
    let mut last = VecDeque::new();
    while let Some(line) = lines.recv().await {
        match announced(&line) {
            Some((Door::Listener, address)) => listener = Some(address),
            Some((Door::Admin, address)) => admin = Some(address),
            None => {}
        }
        if let (Some(listener), Some(admin)) = (listener, admin) {
            return Ok((listener, admin));
        }
        last.push_back(line);
        if last.len() > LAST_WORDS {
            last.pop_front();
        }
    }
    Err(GatewayError::Ended(Vec::from(last).join("\n")))
}

#[derive(Debug, Eq, PartialEq)]
enum Door {
    Listener,
    Admin,
}

/// What a line of the log says about an address.
fn announced(line: &str) -> Option<(Door, SocketAddr)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let door = match event.get("message")?.as_str()? {
        "listening" => Door::Listener,
        "admin listening" => Door::Admin,
        _ => return None,
    };
    Some((door, event.get("address")?.as_str()?.parse().ok()?))
}

const FILE: &str = "scopegate.toml";
/// From its start to the line with its addresses.
const PATIENCE: Duration = Duration::from_secs(20);
const LINES: usize = 256;
const LAST_WORDS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_the_log() {
        let line = |message: &str| {
            format!(r#"{{"level":"INFO","message":"{message}","address":"127.0.0.1:8"}}"#)
        };
        let address = "127.0.0.1:8".parse().unwrap();
        assert_eq!(announced(&line("listening")), Some((Door::Listener, address)));
        assert_eq!(announced(&line("admin listening")), Some((Door::Admin, address)));
        assert_eq!(announced(&line("draining")), None);
        assert_eq!(announced("error: no"), None);
    }

    #[tokio::test]
    async fn one_that_ends_first_is_told_with_its_last_words() {
        let (sender, lines) = mpsc::channel(2);
        sender.try_send("error: no".to_owned()).unwrap();
        drop(sender);
        match addresses(lines).await {
            Err(GatewayError::Ended(words)) => assert_eq!(words, "error: no"),
            other => panic!("{other:?}"),
        }
    }
}
