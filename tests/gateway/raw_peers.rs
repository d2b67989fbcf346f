//! The tables of raw requests through nginx and HAProxy as plain proxies, to show where we stand. A
//! tool, and no part of a run:
//!
//!     cargo nextest run --run-ignored only raw_peers --no-capture
//!
//! What is held against a proxy is what makes a second reading: that it lets through what is to be
//! refused, sends on what an upstream cannot read by the letter, or sends another request, body or
//! number of requests than it answers. What only we owe (identity fields, 400 and not a repair that
//! is right) is not.

use std::collections::BTreeMap;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::program::Program;
use crate::harness::raw_table::{self, After, Case, Reach};
use crate::harness::recorder::{Record, Recorded, Recorder};
use crate::harness::scratch::Scratch;
use crate::harness::world::Setup;
use crate::harness::{Gateway, TestIssuer, eventually, in_time};

const NGINX: &str = r#"
daemon off; worker_processes 1; pid FOLDER/pid; error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off; client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
  client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
  upstream api { server UPSTREAM; keepalive 16; }
  server {
    listen 127.0.0.1:PORT;
    location / {
      proxy_pass http://api; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_set_header Host $http_host; proxy_set_header Connection "";
    }
  }
}
"#;

const HAPROXY: &str = "
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 2s
  timeout http-request 1s
  timeout http-keep-alive 1s
frontend in
  bind 127.0.0.1:PORT
  default_backend api
backend api
  server one UPSTREAM
";

/// One of the proxies, before an upstream of its own.
struct Peer {
    port: u16,
    upstream: Recorder,
    /// Ends with it.
    _program: Result<(Program, Scratch), Gateway>,
}

impl Peer {
    async fn start(name: &str, config: &str) -> Self {
        let (upstream, folder) = (Recorder::start().await, Scratch::new());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = config
            .replace("FOLDER", &folder.path().display().to_string())
            .replace("PORT", &port.to_string())
            .replace("UPSTREAM", upstream.url().trim_start_matches("http://"));
        let config = folder.write("config", config);
        let mut command = Command::new(name);
        match name {
            "nginx" => command.arg("-p").arg(folder.path()).arg("-c").arg(config),
            _ => command.arg("-db").arg("-f").arg(config),
        };
        let mut program = Program::start(&mut command);
        eventually(name, async || {
            if let Some(status) = program.ended() {
                panic!("{name}: {status}: {}", program.errors().text());
            }
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self { port, upstream, _program: Ok((program, folder)) }
    }

    async fn scopegate(issuer: &TestIssuer) -> Self {
        let upstream = Recorder::start().await;
        let gateway = Setup::new()
            .issuer("main", issuer, "")
            .upstream("api", upstream.url(), "")
            .listener("limits = { header_timeout = \"1s\", idle_timeout = \"1s\" }")
            .route(r#"path = "/", access = "public""#)
            .route(r#"path = "/{*rest}", access = "public""#)
            .route(r#"path = "/id", access = { scopes = ["orders:read"] }, identity_headers = { "x-subject" = "sub", "x-scopes" = "scope" }"#)
            .start()
            .await;
        Self { port: gateway.address().port(), upstream, _program: Err(gateway) }
    }

    /// What is wrong with what became of a case.
    async fn reading(&self, case: &Case) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let mark = if case.after == After::Cut { &[][..] } else { MARKED };
        let bytes = [&case.send, mark].concat();
        let mut received = Vec::new();
        let (mut reader, mut writer) = stream.split();
        let send = async {
            drop(writer.write_all(&bytes).await);
            if case.after == After::Cut {
                drop(writer.shutdown().await);
            }
        };
        let receive = reader.read_to_end(&mut received);
        let _ = in_time(&case.name, async { tokio::join!(send, receive) }).await;
        second_reading(case, &received, &self.upstream.take())
    }
}

/// Without what is about tokens, which the others do not look at. What may reach an upstream in part
/// comes last, as in `raw`: such a part can come after its case.
fn comparable(mut cases: Vec<Case>) -> Vec<Case> {
    cases.retain(|case| !case.send.windows(5).any(|text| text == b" /id "));
    cases.sort_by_key(|case| case.reach == Reach::Part);
    cases
}

fn second_reading(case: &Case, received: &[u8], records: &[Record]) -> Option<String> {
    let mut whole: Vec<&Recorded> = Vec::new();
    for record in records {
        match record {
            Record::Whole(request) => whole.push(request),
            Record::Malformed(why, _) if case.reach == Reach::None => {
                return Some(format!("sent on what is no HTTP: {why}"));
            }
            Record::Malformed(..) | Record::Part(_) => {}
        }
    }
    // The upstream's answers have no body, so nothing else can look like one.
    let answered = received.windows(13).filter(|text| *text == b"HTTP/1.1 200 ").count();
    if whole.len() != answered {
        return Some(format!("{} requests upstream, {answered} answers", whole.len()));
    }
    let is_marked = |one: &&Recorded| one.lines[0] == b"GET /marked HTTP/1.1";
    let (marked, own): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_marked);
    let allowed = case.answers.iter().filter(|statuses| statuses.contains(&200)).count();
    if allowed < own.len() {
        let line = own.last().map(|one| one.lines[0].escape_ascii().to_string());
        return Some(format!("let through: {}", line.unwrap_or_default()));
    }
    if case.after == After::Closed && !marked.is_empty() {
        return Some("goes on behind it".to_owned());
    }
    let is_as_meant = |one: &&Recorded| {
        case.saw.first().is_none_or(|line| *line == one.lines[0]) && one.body == case.body
    };
    let other = own.iter().find(|one| !is_as_meant(one))?;
    Some(format!("read as {}", other.lines[0].escape_ascii()))
}

const MARKED: &[u8] = b"GET /marked HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n";

#[tokio::test]
#[ignore = "takes minutes, and needs nginx"]
async fn raw_peers() {
    let issuer = TestIssuer::new();
    let token = issuer.token().scopes("orders:read").sign();
    let table = |text| raw_table::cases(text, &token);
    let tables = [
        ("framing", table(include_str!("../raw/framing.toml"))),
        ("heads", table(include_str!("../raw/heads.toml"))),
        ("fields", table(include_str!("../raw/fields.toml"))),
        ("paths", raw_table::paths(include_str!("../paths.toml"))),
    ];
    let peers = [
        ("nginx", Peer::start("nginx", NGINX).await),
        ("haproxy", Peer::start("haproxy", HAPROXY).await),
        ("scopegate", Peer::scopegate(&issuer).await),
    ];
    let tables = tables.map(|(name, cases)| (name, comparable(cases)));
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (name, cases) in &tables {
        for case in cases {
            let [nginx, haproxy, scopegate] = peers.each_ref().map(|(_, peer)| peer.reading(case));
            let (nginx, haproxy, scopegate) = tokio::join!(nginx, haproxy, scopegate);
            let found = [nginx, haproxy, scopegate];
            for ((peer, _), found) in peers.iter().zip(&found) {
                *counts.entry((name, peer)).or_default() += usize::from(found.is_some());
            }
            if found.iter().any(Option::is_some) {
                let [nginx, haproxy, scopegate] = found.map(|one| one.unwrap_or("-".to_owned()));
                println!("{name} | {} | {nginx} | {haproxy} | {scopegate}", case.name);
            }
        }
    }
    println!("\ntable | cases | nginx | haproxy | scopegate");
    for (name, cases) in &tables {
        let count = |peer| counts[&(*name, peer)];
        let [nginx, haproxy, scopegate] = ["nginx", "haproxy", "scopegate"].map(count);
        println!("{name} | {} | {nginx} | {haproxy} | {scopegate}", cases.len());
    }
}
