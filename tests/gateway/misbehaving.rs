//! Upstreams that misbehave: what the caller gets is a clean error, and never what belongs to
//! another request (RFC 9112 §6.3, RFC 9113 §8.1.1).
//!
//! Each upstream does so in its first answer and leaves its connection open; all later ones are
//! good. Requests are POSTs, as nothing of them may be sent twice.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, hpack,
};
use crate::harness::world::Setup;
use crate::harness::{Gateway, eventually, in_time};

/// What a caller gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// 502, or 504 where the upstream never came to an end.
    Failed,
    /// The beginning of an answer, and an end that nobody takes for its own.
    Broken,
    /// `ok`, whole.
    Whole,
    /// Something that nobody sent.
    Odd,
}
use Outcome::{Broken, Failed, Odd, Whole};

/// What follows the first bytes of a bad answer.
#[derive(Clone)]
enum Then {
    /// The connection stays open.
    Hold,
    Close,
    /// These, until nobody takes them any more.
    Repeat(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http1,
    H2c,
}

/// An upstream whose first answer is `bad`.
struct Upstream {
    url: String,
    /// For each request, over which connection it came.
    requests: Arc<Mutex<Vec<usize>>>,
}

impl Upstream {
    async fn start(protocol: Protocol, bad: &[u8], then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if protocol == Protocol::H2c { "h2c" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, bad) = (Arc::clone(&requests), bad.to_vec());
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (kept, bad, then) = (Arc::clone(&kept), bad.clone(), then.clone());
                tokio::spawn(async move {
                    let mut connection = Connection { stream, protocol };
                    connection.begin().await;
                    while let Some(request) = connection.request().await {
                        let is_first = {
                            let mut requests = kept.lock().unwrap();
                            requests.push(number);
                            requests.len() == 1
                        };
                        if !is_first {
                            drop(connection.stream.write_all(&good(protocol, request)).await);
                            continue;
                        }
                        drop(connection.stream.write_all(&bad).await);
                        match &then {
                            Then::Hold => {}
                            Then::Close => return,
                            Then::Repeat(bytes) => {
                                while connection.stream.write_all(bytes).await.is_ok() {}
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { url, requests }
    }

    fn connections(&self) -> Vec<usize> {
        self.requests.lock().unwrap().clone()
    }
}

struct Connection {
    stream: TcpStream,
    protocol: Protocol,
}

impl Connection {
    async fn begin(&mut self) {
        if self.protocol == Protocol::H2c {
            let mut preface = [0; 24];
            drop(self.stream.read_exact(&mut preface).await);
            drop(self.stream.write_all(&frame(SETTINGS, 0, 0, b"")).await);
        }
    }

    /// Waits for a request; its stream.
    async fn request(&mut self) -> Option<u32> {
        match self.protocol {
            Protocol::Http1 => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\nhello") {
                    head.push(self.stream.read_u8().await.ok()?);
                }
                Some(0)
            }
            Protocol::H2c => loop {
                let mut head = [0; 9];
                self.stream.read_exact(&mut head).await.ok()?;
                let [a, b, c, kind, flags, stream @ ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                self.stream.read_exact(&mut payload).await.ok()?;
                if kind == SETTINGS && flags == 0 {
                    self.stream.write_all(&frame(SETTINGS, 1, 0, b"")).await.ok()?;
                }
                if kind == HEADERS {
                    return Some(u32::from_be_bytes(stream));
                }
            },
        }
    }
}

fn good(protocol: Protocol, stream: u32) -> Vec<u8> {
    match protocol {
        Protocol::Http1 => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        Protocol::H2c => {
            let head = hpack(&[(":status", "200"), ("content-length", "2")]);
            let head = frame(HEADERS, END_HEADERS, stream, &head);
            [head, frame(DATA, END_STREAM, stream, b"ok")].concat()
        }
    }
}

async fn ask(gateway: &Gateway, path: &str) -> (Outcome, String) {
    let mut connection = gateway.connect().await;
    let request = gateway.request("POST", path).header("connection", "close").body("hello");
    connection.write(&request.bytes()).await;
    let answer = in_time("an end", connection.rest()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let is_whole = match length {
        Some(length) => body.len() == length.parse::<usize>().unwrap(),
        None => body.ends_with("0\r\n\r\n"),
    };
    let outcome = match head.get(9..12) {
        Some("502" | "504") if is_whole => Failed,
        Some("200") if is_whole && body.contains("ok") => Whole,
        // Broken off before its head had left the gateway's buffers, too.
        Some("200") if !is_whole => Broken,
        None if head.is_empty() => Broken,
        _ => Odd,
    };
    (outcome, answer)
}

/// A case: its name, the bad answer, what follows it, the outcome, and whether its connection ends.
type Case<'a> = (&'a str, Vec<u8>, Then, Outcome, bool);

/// Holds what becomes of each case against the table; all that is wrong, at once.
async fn run(protocol: Protocol, cases: Vec<Case<'_>>) {
    let (mut setup, mut upstreams) = (Setup::new(), Vec::new());
    for (number, (_, bad, then, ..)) in cases.iter().enumerate() {
        let upstream = Upstream::start(protocol, bad, then.clone()).await;
        let (name, times) =
            (format!("u{number}"), r#"timeouts = { header = "1s", idle = "500ms" }"#);
        let route = format!(r#"path = "/{number}", access = "public", upstream = "{name}""#);
        setup = setup.upstream(&name, &upstream.url, times).route(&route);
        upstreams.push(upstream);
    }
    let gateway = setup.start().await;
    let mut wrong = Vec::new();
    for (number, (case, upstream)) in cases.iter().zip(&upstreams).enumerate() {
        if let Err(why) = check(&gateway, &format!("/{number}"), upstream, case).await {
            wrong.push(format!("{}: {why}", case.0));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    eventually("what was taken in is given back", async || {
        let resident = gateway.gauge("process_resident_memory_bytes").await;
        (resident < 200e6).then_some(())
    })
    .await;
}

/// The first request has the outcome that is expected, and the next one has its own answer.
async fn check(
    gateway: &Gateway,
    path: &str,
    upstream: &Upstream,
    (_, _, _, expected, ends): &Case<'_>,
) -> Result<(), String> {
    let (outcome, answer) = ask(gateway, path).await;
    if outcome != *expected || answer.contains("evil") {
        return Err(format!("{outcome:?}: {answer}"));
    }
    let (outcome, answer) = ask(gateway, path).await;
    if outcome != Whole {
        return Err(format!("and then {outcome:?}: {answer}"));
    }
    match upstream.connections()[..] {
        [first, second] if *ends && first == second => Err("its connection goes on".to_owned()),
        [_, _] => Ok(()),
        _ => Err("a request was sent twice".to_owned()),
    }
}

#[tokio::test]
async fn rfc9112_6_3_a_bad_answer_over_http1_ends_its_connection() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let (ok, chunked) =
        ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let endless = || Then::Repeat(vec![b'a'; 4096]);
    #[rustfmt::skip]
    let cases = [
        ("early close",              String::new(),                                              Then::Close, Failed),
        ("half a head",              format!("{ok}content-le"),                                   Then::Close, Failed),
        ("half a head, open",        format!("{ok}content-le"),                                   Then::Hold,  Failed),
        ("garbage",                  "SSH-2.0-OpenSSH_9.6\r\n\r\n".into(),                        Then::Hold,  Failed),
        ("endless garbage",          String::new(),                                              endless(),   Failed),
        ("an old version",           "HTTP/0.9 200 OK\r\n\r\n".into(),                            Then::Hold,  Failed),
        ("two answers",              format!("{ok}content-length: 2\r\n\r\nok{ok}content-length: 4\r\n\r\nevil"), Then::Hold, Whole),
        ("an endless head",          format!("{ok}x-a: "),                                        endless(),   Failed),
        ("endless fields",           ok.into(),                                                   Then::Repeat(b"x-a: b\r\n".repeat(100)), Failed),
        ("1xx",                      hint.into(),                                                 Then::Hold,  Failed),
        ("a flood of 1xx",           hint.repeat(1_000),                                          Then::Hold,  Failed),
        ("endless 1xx",              hint.into(),                                                 Then::Repeat(hint.repeat(100).into()), Failed),
        ("a length too small",       format!("{ok}content-length: 2\r\n\r\nokevil"),              Then::Hold,  Whole),
        ("a length too large",       format!("{ok}content-length: 10\r\n\r\nhello"),              Then::Close, Broken),
        ("a length too large, open", format!("{ok}content-length: 10\r\n\r\nhello"),              Then::Hold,  Broken),
        ("two lengths",              format!("{ok}content-length: 2\r\ncontent-length: 6\r\n\r\nokevil"), Then::Hold, Failed),
        ("a length below zero",      format!("{ok}content-length: -1\r\n\r\nevil"),               Then::Hold,  Failed),
        ("length and coding",        format!("{ok}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), Then::Hold, Failed),
        ("another coding",           format!("{ok}transfer-encoding: gzip\r\n\r\nevil"),          Then::Hold,  Failed),
        ("a chunk without a size",   format!("{chunked}2\r\nok\r\nzz\r\nevil"),                   Then::Hold,  Broken),
        ("a chunk below zero",       format!("{chunked}2\r\nok\r\n-1\r\nevil"),                   Then::Hold,  Broken),
        ("a chunk past all bounds",  format!("{chunked}2\r\nok\r\nfffffffffffffffff\r\nevil"),    Then::Hold,  Broken),
        ("a chunk over its size",    format!("{chunked}2\r\nokevil\r\n0\r\n\r\n"),                Then::Hold,  Broken),
        ("a chunk that stops",       format!("{chunked}5\r\nok"),                                 Then::Hold,  Broken),
        ("no last chunk",            format!("{chunked}2\r\nok\r\n"),                             Then::Close, Broken),
        ("endless extensions",       format!("{chunked}2\r\nok\r\n2;a="),                         endless(),   Broken),
        ("endless trailers",         format!("{chunked}2\r\nok\r\n0\r\nx-a: "),                   endless(),   Broken),
        ("bytes behind the chunks",  format!("{chunked}2\r\nok\r\n0\r\n\r\nevil"),                Then::Hold,  Whole),
    ];
    let whole = |(name, bad, then, outcome): (_, String, _, _)| {
        (name, bad.into_bytes(), then, outcome, true)
    };
    run(Protocol::Http1, cases.map(whole).into()).await;
}

/// Of a stream that is malformed only that stream ends (RFC 9113 §8.1.1); where the connection is,
/// it is not used again.
#[tokio::test]
async fn rfc9113_8_1_1_a_bad_answer_over_http2_fails_alone() {
    let head = |flags, fields: &[(&str, &str)]| frame(HEADERS, flags, 1, &hpack(fields));
    let (whole, status) = (END_HEADERS, (":status", "200"));
    let data = |flags, text: &[u8]| frame(DATA, flags, 1, text);
    let hint = || head(whole, &[(":status", "103"), ("link", "</a>")]);
    let more = frame(CONTINUATION, 0, 1, &hpack(&[("x-more", &"a".repeat(8_000))]));
    let sized = |length| head(whole, &[status, ("content-length", length)]);
    let end = END_HEADERS | END_STREAM;
    #[rustfmt::skip]
    let cases = [
        // what is wrong            the answer                                             then          outcome  whose connection ends
        ("early close",             vec![],                                                Then::Close,  Failed,  true),
        ("garbage",                 b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(10),        Then::Hold,   Failed,  true),
        ("a frame past all bounds", vec![0xFF; 64],                                        Then::Hold,   Failed,  true),
        ("data before the head",    data(END_STREAM, b"evil"),                             Then::Hold,   Failed,  false),
        ("no status",               head(end, &[("x-a", "1")]),                            Then::Hold,   Failed,  false),
        ("a status twice",          head(end, &[status, status]),                          Then::Hold,   Failed,  false),
        // RFC 9113 §8.3 calls this one malformed. h2 passes over such a field: it goes no further.
        ("a request's pseudo field", [head(whole, &[status, (":path", "/evil")]), data(END_STREAM, b"ok")].concat(), Then::Hold, Whole, false),
        ("a large letter",          head(end, &[status, ("X-A", "1")]),                    Then::Hold,   Failed,  false),
        ("a field of connections",  head(end, &[status, ("connection", "close")]),         Then::Hold,   Failed,  false),
        ("a line end in a value",   head(end, &[status, ("x-a", "b\r\nx-evil: c")]),       Then::Hold,   Failed,  false),
        ("an endless head",         frame(HEADERS, 0, 1, &hpack(&[status])),               Then::Repeat(more), Failed, true),
        ("1xx",                     hint(),                                                Then::Hold,   Failed,  true),
        ("a flood of 1xx",          hint().repeat(10_000),                                 Then::Hold,   Failed,  true),
        ("endless 1xx",             hint(),                                                Then::Repeat(hint().repeat(100)), Failed, true),
        ("1xx that ends",           head(end, &[(":status", "103")]),                      Then::Hold,   Failed,  false),
        ("two heads",               [sized("2"), sized("4"), data(END_STREAM, b"evil")].concat(), Then::Hold, Broken, false),
        ("a length too small",      [sized("2"), data(END_STREAM, b"evil")].concat(),      Then::Hold,   Broken,  false),
        ("a length too large",      [sized("10"), data(END_STREAM, b"hello")].concat(),    Then::Hold,   Broken,  false),
        ("a body that stops",       [sized("10"), data(0, b"hello")].concat(),             Then::Hold,   Broken,  false),
        ("a body that breaks off",  [sized("10"), data(0, b"hello")].concat(),             Then::Close,  Broken,  true),
        ("data behind the end",     [sized("2"), data(END_STREAM, b"ok"), data(END_STREAM, b"evil")].concat(), Then::Hold, Whole, false),
        ("an answer to nobody",     frame(HEADERS, end, 99, &hpack(&[status])),            Then::Hold,   Failed,  true),
        ("a promise",               frame(5, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &hpack(&[(":path", "/")])].concat()), Then::Hold, Failed, true),
    ];
    run(Protocol::H2c, cases.into()).await;
}
