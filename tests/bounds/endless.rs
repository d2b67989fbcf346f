//! Bodies far larger than memory should be pass through in both directions, and the gateway holds
//! no more than it did before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use super::harness::Scratch;
use super::harness::program::Program;
use super::wire::{address, eventually, head_end};

#[test]
fn bodies_of_many_gibibytes_pass_at_constant_memory() {
    let _alone = super::alone();
    // A debug build is slow, and shows the same with less.
    let (binary, bytes) = match std::env::var_os("SCOPEGATE_RELEASE") {
        Some(binary) => (binary, 10 << 30),
        None => (env!("CARGO_BIN_EXE_scopegate").into(), 256 << 20),
    };
    let folder = Scratch::new();
    let text = CONFIGURATION.replace("{upstream}", &upstream(bytes).to_string());
    let configuration = folder.write("gateway.toml", text);
    let mut gateway = Program::start(
        Command::new(binary).args(["run", "--config"]).arg(configuration).env("NO_COLOR", "1"),
    );
    let address = eventually("the gateway to listen", || address(&gateway.errors().all()));
    download(address, WARM_UP_BYTES);
    upload(address, WARM_UP_BYTES);
    let before = peak_kib(&gateway);
    download(address, bytes);
    upload(address, bytes);
    let grown = peak_kib(&gateway) - before;
    println!("{bytes} bytes each way: the peak of resident memory grew by {grown} KiB");
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
endpoints = ["http://{upstream}"]
[[routes]]
path = "/{bytes}"
upstream = "api"
access = "public"
[drain]
delay = "0s"
"#;
