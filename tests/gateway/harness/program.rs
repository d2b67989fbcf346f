//! A program that a test starts: its lines kept, ended with the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::eventually;

/// How long a program may take to end after SIGTERM when a test is over with it.
const FAREWELL: Duration = Duration::from_secs(1);

/// The program, and what it has printed.
pub struct Program {
    name: String,
    child: Child,
    output: Lines,
    errors: Lines,
}

/// Lines that a program prints, as they come.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// All so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// All so far, as one text.
    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    fn follow(&self, from: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}

impl Program {
    /// Starts it. Its standard input is a pipe that closes with this value.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (output, errors) = (Lines::default(), Lines::default());
        output.follow(child.stdout.take().unwrap());
        errors.follow(child.stderr.take().unwrap());
        Self { name, child, output, errors }
    }

    /// What it printed.
    pub fn output(&self) -> &Lines {
        &self.output
    }

    /// What it printed on standard error.
    pub fn errors(&self) -> &Lines {
        &self.errors
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        eventually("the end of a program", async || self.ended()).await
    }

    /// The one line of JSON that our servers print when they are ready.
    pub async fn ready(&mut self) -> serde_json::Value {
        let line = eventually("a server's ready line", async || {
            if let Some(status) = self.ended() {
                panic!("{} ended with {status}:\n{}", self.name, self.errors.text());
            }
            self.output.all().into_iter().next()
        })
        .await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in: {line}"))
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success(), "kill -s {name}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let end = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {} said\n{}", self.name, self.errors.text());
        }
    }
}

/// Runs a program to its end: its status, standard output and standard error.
pub async fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let mut program = Program::start(command);
    drop(program.child.stdin.take());
    let end = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = program.ended() {
            break status;
        }
        assert!(Instant::now() < end, "{} does not end:\n{}", program.name, program.errors.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // The readers see the end of the pipes a moment after the program's own.
    tokio::time::sleep(Duration::from_millis(20)).await;
    (status, program.output.text(), program.errors.text())
}

/// A file of this repository's `tests/`.
pub fn fixture(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// The Python of the tests' environment.
pub fn python(script: &str) -> Command {
    installed(".cache/venv/bin/python", fixture(script))
}

/// Node.js, for a script whose folder has its packages installed.
pub fn node(script: &str) -> Command {
    let script = fixture(script);
    let packages = script.parent().unwrap().join("node_modules");
    assert!(packages.is_dir(), "{} is missing: run tests/run once", packages.display());
    let mut command = Command::new("node");
    command.arg(script).env("NODE_NO_WARNINGS", "1");
    command
}

fn installed(interpreter: &str, script: impl AsRef<OsStr>) -> Command {
    let interpreter = fixture(interpreter);
    assert!(interpreter.exists(), "{} is missing: run tests/run once", interpreter.display());
    let mut command = Command::new(interpreter);
    command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
