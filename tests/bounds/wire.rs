//! A caller and an upstream on plain sockets. In the loop neither allocates: what is counted in
//! between is the gateway's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::harness::keys::hmac_sha256;
use super::harness::{Scratch, TestIssuer};

/// What a warm request needs around it.
pub struct Warm {
    /// A token that the route lets in.
    pub token: String,
    folder: Scratch,
    issuer: TestIssuer,
}

/// Whether each request leaves a line in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessLog {
    On,
    Off,
}

impl Warm {
    /// An issuer, an upstream, and a configuration that names both.
    pub fn new(log: AccessLog) -> Self {
        let issuer = TestIssuer::new();
        let token = issuer.token().scopes("orders:read orders:write").sign();
        let folder = Scratch::new();
        let text = CONFIGURATION
            .replace("{jwks}", &issuer.jwks_file())
            .replace("{upstream}", &upstream().to_string())
            .replace("{access}", if log == AccessLog::On { "true" } else { "false" });
        folder.write("gateway.toml", text);
        folder.write("secret", SHARED_SECRET);
        Self { token, folder, issuer }
    }

    /// So many other tokens that the route lets in. By HS256, which costs next to nothing: what is
    /// counted is our work, and not the arithmetic of a public key, many times as much.
    pub fn new_tokens(&self, count: usize) -> Vec<String> {
        let sign = |input: &[u8]| hmac_sha256(SHARED_SECRET.as_bytes(), input);
        let one = || self.issuer.token().scopes("orders:read orders:write").header("alg", "HS256");
        (0..count).map(|_| one().sign_by(sign)).collect()
    }

    /// Where the configuration is.
    pub fn configuration(&self) -> std::path::PathBuf {
        self.folder.path().join("gateway.toml")
    }
}

/// A caller on one connection that stays open.
pub struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: [u8; BUFFER_BYTES],
}

impl Caller {
    /// Connects to a gateway.
    pub fn open(gateway: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: request(token), buffer: [0; BUFFER_BYTES] }
    }

    /// What it has on the heap.
    pub fn held_bytes(&self) -> usize {
        self.request.capacity()
    }

    /// Sends the request so many times, each after the answer to the one before.
    pub fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.stream.write_all(&self.request).unwrap();
            self.receive();
        }
    }

    /// Sends a request with each of the tokens.
    pub fn send_each(&mut self, tokens: &[String]) {
        for token in tokens {
            self.request = request(token);
            self.send(1);
        }
    }

    fn receive(&mut self) {
        let (mut filled, mut end) = (0, None);
        while end.is_none_or(|end| filled < end) {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert_ne!(read, 0, "the gateway closed the connection");
            filled += read;
            end = head_end(&self.buffer[..filled]).map(|head| head + BODY.len());
        }
        assert!(self.buffer.starts_with(b"HTTP/1.1 200 "), "the request is let in");
    }
}

fn request(token: &str) -> Vec<u8> {
    format!(
        "GET /orders/17 HTTP/1.1\r\nHost: api.test\r\nUser-Agent: bounds/1\r\nAccept: */*\r\n\
         Accept-Encoding: gzip\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}

/// Starts an upstream that says the same to everybody.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let date = "date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: upstream\r\n{date}content-type: text/plain\r\n\
         content-length: {}\r\n\r\n",
        BODY.len()
    );
    let answer = [head.as_bytes(), &BODY].concat();
    let (mut buffer, mut filled) = ([0; BUFFER_BYTES], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += read;
        if head_end(&buffer[..filled]).is_some() {
            filled = 0;
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// Where the head ends, if it has come.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// From `… listening address=127.0.0.1:41234`.
pub fn address(log: &[String]) -> Option<SocketAddr> {
    let line = log.iter().find(|line| line.contains("listening"))?;
    line.split_once("address=")?.1.split_whitespace().next()?.parse().ok()
}

/// Waits until `fact` gives something.
pub fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Under valgrind a gateway is some fifty times slower.
const PATIENCE: Duration = Duration::from_secs(60);
const SHARED_SECRET: &str = "a secret as long as its hash, or longer";
const BODY: [u8; 1024] = [b'x'; 1024];
const BUFFER_BYTES: usize = 16 * 1024;

const CONFIGURATION: &str = r#"
workers = 1
[[listeners]]
address = "127.0.0.1:0"
[authorization_servers.main]
issuer = "https://issuer.test"
audiences = ["https://api.test"]
jwks_file = "{jwks}"
algorithms = ["ES256", "HS256"]
shared_secret = { file = "secret" }
[upstreams.api]
endpoints = ["http://{upstream}"]
[[routes]]
path = "/orders/{id}"
upstream = "api"
access = { scopes = ["orders:read"] }
identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }
[log]
access = {access}
[drain]
delay = "0s"
"#;
