//! Bodies far larger than memory should be pass through in both directions, and the gateway holds
//! no more than it did before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Instant;

use super::harness::Scratch;
use super::harness::program::Program;
use super::wire::{address, eventually, head_end};

#[test]
fn bodies_of_many_gibibytes_pass_at_constant_memory() {
    let bytes = if is_release() { 10 << 30 } else { 256 << 20 };
    let endpoint = format!("http://{}", upstream(bytes));
    passes_at_constant_memory(&endpoint, [WARM_UP_BYTES, bytes], |gateway, bytes| {
        download(gateway, bytes);
        upload(gateway, bytes);
    });
}

/// Whether it is a release build that is looked at. A debug build is slow, and shows the same with
/// less.
pub(super) fn is_release() -> bool {
    std::env::var_os("SCOPEGATE_RELEASE").is_some()
}

/// Runs a gateway before that upstream, has `pass` move so many bytes each way, first to warm up,
/// and looks at the most that was ever resident.
pub(super) fn passes_at_constant_memory(
    endpoint: &str,
    [warm_up, bytes]: [u64; 2],
    pass: impl Fn(SocketAddr, u64),
) {
    let _alone = super::alone();
    let binary = std::env::var_os("SCOPEGATE_RELEASE");
    let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_scopegate").into());
    let folder = Scratch::new();
    let text = CONFIGURATION.replace("{endpoint}", endpoint);
    let configuration = folder.write("gateway.toml", text);
    let mut gateway = Program::start(
        Command::new(binary).args(["run", "--config"]).arg(configuration).env("NO_COLOR", "1"),
    );
    let address = eventually("the gateway to listen", || address(&gateway.errors().all()));
    pass(address, warm_up);
    let before = peak_kib(&gateway);
    let began = Instant::now();
    pass(address, bytes);
    let (grown, took_s) = (peak_kib(&gateway) - before, began.elapsed().as_secs_f64());
    println!(
        "{endpoint}: {bytes} bytes each way in {took_s:.1} s: \
         the peak of resident memory grew by {grown} KiB"
    );
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
    gateway.signal("TERM");
    eventually("the gateway to end", || gateway.ended());
}

fn download(gateway: SocketAddr, bytes: u64) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    write!(stream, "GET /{bytes} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let (head, begun) = head(&mut stream);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(begun + drain(&mut stream, bytes - begun), bytes, "the answer breaks off");
}

fn upload(gateway: SocketAddr, bytes: u64) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    write!(stream, "POST /0 HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n").unwrap();
    fill(&mut stream, bytes).unwrap();
    let (head, _) = head(&mut stream);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

/// An upstream that takes any body, and answers `/N` with N bytes, at most so many.
fn upstream(most: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || while serve(&mut stream, most).is_some() {});
        }
    });
    address
}

fn serve(stream: &mut TcpStream, most: u64) -> Option<()> {
    let (head, begun) = try_head(stream)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    if begun + drain(stream, length - begun) != length {
        return None;
    }
    let path = head.split(['/', ' ']).find(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let answer = path.map_or(0, |path| path.parse::<u64>().unwrap()).min(most);
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {answer}\r\n\r\n").ok()?;
    fill(stream, answer).ok()
}

fn head(stream: &mut TcpStream) -> (String, u64) {
    try_head(stream).expect("a head")
}

/// The next head in small letters, and how many bytes of the body came with it.
fn try_head(stream: &mut TcpStream) -> Option<(String, u64)> {
    let (mut buffer, mut filled) = (vec![0; PIECE_BYTES], 0);
    loop {
        match stream.read(&mut buffer[filled..]).ok()? {
            0 => return None,
            count => filled += count,
        }
        if let Some(end) = head_end(&buffer[..filled]) {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            return Some((head, (filled - end) as u64));
        }
    }
}

/// Reads so many bytes; gives how many came.
fn drain(stream: &mut TcpStream, bytes: u64) -> u64 {
    let (mut buffer, mut drained) = (vec![0; PIECE_BYTES], 0);
    while drained < bytes {
        let room = (bytes - drained).min(PIECE_BYTES as u64) as usize;
        match stream.read(&mut buffer[..room]) {
            Ok(count @ 1..) => drained += count as u64,
            _ => break,
        }
    }
    drained
}

fn fill(stream: &mut TcpStream, mut bytes: u64) -> std::io::Result<()> {
    let piece = vec![b'x'; PIECE_BYTES];
    while 0 < bytes {
        let now = bytes.min(PIECE_BYTES as u64);
        stream.write_all(&piece[..now as usize])?;
        bytes -= now;
    }
    Ok(())
}

/// The most that was ever resident.
fn peak_kib(gateway: &Program) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const PIECE_BYTES: usize = 256 * 1024;
/// Enough for every buffer to have its size.
const WARM_UP_BYTES: u64 = 64 << 20;
/// What the allocator may have left lying about.
const GROWTH_MAX_KIB: i64 = 4096;

const CONFIGURATION: &str = r#"
workers = 1
[[listeners]]
address = "127.0.0.1:0"
[authorization_servers]
[upstreams.api]
endpoints = ["{endpoint}"]
[[routes]]
path = "/{bytes}"
upstream = "api"
access = "public"
[drain]
delay = "0s"
"#;
