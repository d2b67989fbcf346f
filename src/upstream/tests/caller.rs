//! With a real caller in front: what happens to a request's body on its way.

use super::*;
use crate::body::{BodyEnd, BodyOutcome, RequestFault, RequestLimits};
use crate::headers::Sanitizer;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Mutex;

/// A proxy of one upstream, as small as it gets.
struct Proxy {
    address: SocketAddr,
    faults: Arc<Mutex<Vec<RequestFault>>>,
    ends: Arc<Mutex<Vec<BodyEnd>>>,
    upstream: Arc<Upstream>,
}

impl Proxy {
    async fn before(upstream: Upstream, max: Option<u64>, idle: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Arc::new(upstream);
        let (faults, ends) = (Arc::default(), Arc::default());
        let proxy = Self { address, faults, ends, upstream };
        let limits = RequestLimits { idle, max, sanitizer: Arc::new(Sanitizer::new([])) };
        let (faults, ends, upstream) =
            (Arc::clone(&proxy.faults), Arc::clone(&proxy.ends), Arc::clone(&proxy.upstream));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (limits, faults, ends, upstream) =
                    (limits.clone(), Arc::clone(&faults), Arc::clone(&ends), Arc::clone(&upstream));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (limits, faults, ends, upstream) = (
                        limits.clone(),
                        Arc::clone(&faults),
                        Arc::clone(&ends),
                        Arc::clone(&upstream),
                    );
                    async move {
                        let mut request = request.map(|body| Body::request(body, limits));
                        request.headers_mut().remove("transfer-encoding");
                        let watch = request.body().watch();
                        let answer = upstream
                            .exchange(WORKER, request, None, RouteTimeouts::default())
                            .await;
                        if let Some(fault) = watch.fault() {
                            faults.lock().unwrap().push(fault);
                        }
                        let answer = answer.unwrap_or_else(|failure| {
                            let status = crate::reject::Rejection::UpstreamFailed(failure).status();
                            Response::builder().status(status).body(Body::empty()).unwrap()
                        });
                        let mut answer = answer
                            .map(|body| body.on_end(move |end| ends.lock().unwrap().push(end)));
                        answer.headers_mut().remove("transfer-encoding");
                        Ok::<_, std::convert::Infallible>(answer)
                    }
                });
                tokio::spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        proxy
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn faults(&self) -> Vec<RequestFault> {
        self.faults.lock().unwrap().clone()
    }
}

const LONG: Duration = Duration::from_secs(20);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An upstream that notes what it gets, and answers OK once it has seen `end`.
async fn noting(end: &'static str) -> (Raw, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let raw = Raw::start(move |mut stream, _| {
        let notes = Arc::clone(&notes);
        async move {
            loop {
                let got = read_until(&mut stream, end).await;
                if got.is_empty() {
                    break;
                }
                let is_whole = got.ends_with(end);
                notes.lock().unwrap().push(got);
                if !is_whole {
                    break;
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (raw, seen)
}

#[tokio::test]
async fn rfc9112_6_a_body_is_framed_upstream_as_its_caller_framed_it() {
    for (sent, framing, end) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", "\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            "content-length: 0",
            "\r\n\r\n",
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\n\r\n", "content-length: 0", "\r\n\r\n"),
        ("DELETE / HTTP/1.1\r\nhost: a\r\n\r\n", "", "\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "content-length: 3",
            "\r\n\r\nabc",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "content-length: 3",
            "\r\n\r\nabc",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
            "content-length: 3",
            "\r\n\r\nabc",
        ),
    ] {
        let (raw, seen) = noting(end).await;
        let proxy = Proxy::before(raw.http1(), None, LONG).await;
        let mut caller = proxy.connect().await;
        for _ in 0..2 {
            caller.write_all(sent.as_bytes()).await.unwrap();
            let answer = read_until(&mut caller, "\r\n\r\nok").await;
            assert!(answer.contains("200 OK"), "{sent:?}: {answer}");
        }
        for got in &*seen.lock().unwrap() {
            let head = got.split_once("\r\n\r\n").unwrap().0;
            let fields: Vec<&str> = head
                .lines()
                .filter(|line| {
                    ["content-", "transfer-", "expect"].iter().any(|name| line.starts_with(name))
                })
                .collect();
            assert_eq!(fields.join("\n"), framing, "{sent:?}");
        }
        assert_eq!((raw.connections(), seen.lock().unwrap().len()), (1, 2), "{sent:?}");
    }
}

#[tokio::test]
async fn rfc9112_8_a_caller_that_stops_mid_body_ends_the_upstream_request_without_a_last_chunk() {
    for sent in [
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let (raw, seen) = noting("0\r\n\r\n").await;
        let proxy = Proxy::before(raw.http1(), None, LONG).await;
        let mut caller = proxy.connect().await;
        caller.write_all(sent.as_bytes()).await.unwrap();
        until(|| proxy.upstream.in_flight() == 1).await;
        drop(caller);
        until(|| seen.lock().unwrap().len() == 1 && proxy.upstream.in_flight() == 0).await;
        assert!(!seen.lock().unwrap()[0].contains("0\r\n\r\n"), "{sent:?}");
        assert_eq!(proxy.upstream.pools[0].idle_count(), 0);
    }
}

#[tokio::test]
async fn a_body_over_its_bound_ends_the_upstream_request_and_is_told() {
    for (sent, connections) in [
        // Known from the start: nothing is sent.
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde", 0),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            1,
        ),
    ] {
        let (raw, seen) = noting("0\r\n\r\n").await;
        let proxy = Proxy::before(raw.http1(), Some(4), LONG).await;
        let mut caller = proxy.connect().await;
        caller.write_all(sent.as_bytes()).await.unwrap();
        assert!(read_head(&mut caller).await.contains("502"), "the gateway makes it a 413");
        assert_eq!(proxy.faults(), [RequestFault::TooLarge]);
        assert!(raw.connections() <= connections, "{sent:?}");
        assert!(!seen.lock().unwrap().iter().any(|got| got.contains("0\r\n\r\n")));
    }
}

#[tokio::test]
async fn a_body_within_its_bound_passes() {
    let (raw, _) = noting("0\r\n\r\n").await;
    let proxy = Proxy::before(raw.http1(), Some(4), LONG).await;
    let mut caller = proxy.connect().await;
    let sent =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    caller.write_all(sent.as_bytes()).await.unwrap();
    assert!(read_until(&mut caller, "ok").await.contains("200 OK"));
}

#[tokio::test]
async fn a_caller_that_stands_still_or_breaks_the_framing_is_told_apart() {
    for (sent, fault) in [
        ("3\r\nabc\r\n", RequestFault::TooSlow),
        ("3\r\nabc\r\n0x5\r\n", RequestFault::Malformed),
        ("fffffffffffffffff\r\n", RequestFault::Malformed),
    ] {
        let (raw, _) = noting("0\r\n\r\n").await;
        let proxy = Proxy::before(raw.http1(), None, Duration::from_millis(150)).await;
        let mut caller = proxy.connect().await;
        let sent =
            format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{sent}");
        caller.write_all(sent.as_bytes()).await.unwrap();
        until(|| proxy.faults() == [fault]).await;
        until(|| proxy.upstream.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn rfc9110_6_5_trailers_pass_both_ways_but_not_credentials() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let raw = Raw::start(move |mut stream, _| {
        let notes = Arc::clone(&notes);
        async move {
            let head = read_head(&mut stream).await;
            let body = read_until(&mut stream, "\r\n\r\n").await;
            notes.lock().unwrap().push(head + &body);
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, keep-alive\r\n\r\n\
                          2\r\nok\r\n0\r\nx-sum: 7\r\nkeep-alive: timeout=1\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, LONG).await;
    let mut caller = proxy.connect().await;
    let sent = "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\
                trailer: x-check, authorization\r\n\r\n3\r\nabc\r\n0\r\nx-check: 1\r\nauthorization: Bearer x\r\n\r\n";
    caller.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = read_head(&mut caller).await;
    answer += &read_until(&mut caller, "\r\n\r\n").await;
    assert!(answer.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
    let seen = seen.lock().unwrap().join("");
    assert!(seen.ends_with("3\r\nabc\r\n0\r\nx-check: 1\r\n\r\n"), "{seen}");
    until(|| proxy.upstream.pools[0].idle_count() == 1).await;
}

#[tokio::test]
async fn an_early_answer_passes_and_its_connection_is_not_used_again() {
    let raw = Raw::start(|mut stream, _| async move {
        read_until(&mut stream, "abc").await;
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, LONG).await;
    let mut caller = proxy.connect().await;
    caller
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc")
        .await
        .unwrap();
    let answer = read_until(&mut caller, "\r\n\r\nno").await;
    assert!(answer.contains("403"), "{answer}");
    until(|| proxy.upstream.in_flight() == 0).await;
    assert_eq!(proxy.upstream.pools[0].idle_count(), 0);
}

#[tokio::test]
async fn an_echo_flows_both_ways_at_once() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 64;
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let length = PIECE * PIECES;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, LONG).await;
    let (mut read, mut write) = proxy.connect().await.into_split();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES);
    let sending = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..PIECES {
            write.write_all(&[b'e'; PIECE]).await.unwrap();
        }
        write
    });
    assert!(read_head(&mut read).await.contains("200 OK"));
    let mut echoed = vec![0; PIECE * PIECES];
    read.read_exact(&mut echoed).await.unwrap();
    assert!(echoed.iter().all(|byte| *byte == b'e'));
    sending.await.unwrap();
}

#[tokio::test]
async fn the_end_of_an_answer_is_told_with_its_bytes() {
    for (answer, expected) in [
        (OK, BodyEnd { bytes: 2, outcome: BodyOutcome::Whole }),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
            BodyEnd {
                bytes: 2,
                outcome: BodyOutcome::Failed(crate::body::BodyError::UpstreamGone),
            },
        ),
    ] {
        let raw = Raw::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let proxy = Proxy::before(raw.http1(), None, LONG).await;
        let mut caller = proxy.connect().await;
        caller.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until(|| *proxy.ends.lock().unwrap() == [expected]).await;
    }
}

#[tokio::test]
async fn rfc9112_8_an_upstream_that_dies_leaves_the_callers_chunks_unterminated() {
    let dies = Arc::new(tokio::sync::Notify::new());
    let death = Arc::clone(&dies);
    let raw = Raw::start(move |mut stream, _| {
        let death = Arc::clone(&death);
        async move {
            read_head(&mut stream).await;
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            death.notified().await;
        }
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, LONG).await;
    let mut caller = proxy.connect().await;
    caller.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(read_until(&mut caller, "2\r\nok\r\n").await.contains("200 OK"));
    dies.notify_one();
    assert_eq!(read_until(&mut caller, "never").await, "", "neither a last chunk nor another byte");
}

#[tokio::test]
async fn a_short_body_travels_with_its_head() {
    let reads: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&reads);
    let raw = Raw::start(move |mut stream, _| {
        let notes = Arc::clone(&notes);
        async move {
            let mut room = vec![0; 65_536];
            while let Ok(count @ 1..) = stream.read(&mut room).await {
                notes.lock().unwrap().push(String::from_utf8_lossy(&room[..count]).into_owned());
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, LONG).await;
    let mut caller = proxy.connect().await;
    for sent in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        caller.write_all(sent.as_bytes()).await.unwrap();
        read_until(&mut caller, "\r\n\r\nok").await;
    }
    let reads = reads.lock().unwrap();
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert!(reads[0].ends_with("\r\n\r\nabc"), "{reads:?}");
    assert!(reads[1].ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{reads:?}");
}

#[tokio::test]
async fn a_caller_that_breaks_off_ends_an_answer_that_had_begun_early() {
    let raw = Raw::start(|mut stream, _| async move {
        read_until(&mut stream, "abc").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegin").await.unwrap();
        read_until(&mut stream, "never").await;
    })
    .await;
    let proxy = Proxy::before(raw.http1(), None, Duration::from_millis(150)).await;
    let mut caller = proxy.connect().await;
    let sent = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc";
    caller.write_all(sent).await.unwrap();
    assert!(read_until(&mut caller, "begin").await.contains("200 OK"));
    // It sends nothing more, and its body runs out of time.
    assert_eq!(read_until(&mut caller, "never").await, "");
    until(|| proxy.upstream.in_flight() == 0).await;
    let failed = BodyOutcome::Failed(crate::body::BodyError::UpstreamGone);
    until(|| *proxy.ends.lock().unwrap() == [BodyEnd { bytes: 5, outcome: failed }]).await;
}
