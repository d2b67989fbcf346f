//! `timeout` of a route: for the head, for the pieces of a body, and for all of the exchange.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::harness::backend::Then;
use crate::harness::{RawBackend, TestIssuer, World, in_time};

/// An answer that begins and never ends.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";

async fn raw(bytes: &str, timeout: &str, log: &str) -> (RawBackend, World) {
    let upstream = RawBackend::start(bytes, Then::Hang).await;
    let url = upstream.url();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let route = format!(
            r#"name = "slow", path = "/slow", access = "public", upstream = "raw", timeout = {timeout}"#
        );
        setup.upstream("raw", &url, "").table(log).route(&route)
    })
    .await;
    (upstream, world)
}

#[tokio::test]
async fn without_a_head_in_time_it_is_504() {
    for (timeout, reason) in [
        (r#""300ms""#, "upstream_timed_out"),
        (r#"{ header = "300ms" }"#, "upstream_timed_out"),
        (r#"{ total = "300ms" }"#, "deadline_exceeded"),
        (r#"{ header = "1h", total = "300ms" }"#, "deadline_exceeded"),
    ] {
        let (_upstream, world) = raw("", timeout, "").await;
        let answer = in_time("an answer", world.gateway.get("/slow").send()).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (504, &reason.into()), "{timeout}");
        let labels = [("route", "slow"), ("reason", reason)];
        assert_eq!(world.gateway.metric("scopegate_refusals_total", &labels).await, 1.0);
    }
}

#[tokio::test]
async fn an_upload_that_goes_on_is_ended_by_the_total_time_too() {
    let (upstream, world) = raw("", r#"{ total = "700ms" }"#, "").await;
    let mut connection = world.gateway.connect().await;
    let head = b"POST /slow HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write(head).await;
    upstream.receives("POST /slow").await;
    let sending = async {
        loop {
            connection.write(b"1\r\nx\r\n").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Longer than the total time; the pieces are what keeps the head's own wait from ending.
    drop(tokio::time::timeout(Duration::from_millis(600), sending).await);
    assert_eq!(in_time("an answer", connection.head()).await.status, 504);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_breaks_off_and_is_counted_and_logged() {
    for log in ["", "[log]\naccess = false"] {
        let (_upstream, world) = raw(ENDLESS, r#"{ total = "500ms" }"#, log).await;
        let answer = in_time("the end", world.gateway.get("/slow").send()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "first"));
        assert!(!answer.complete, "never a clean end");
        let labels = [("route", "slow")];
        assert_eq!(world.gateway.metric("scopegate_answers_cut_total", &labels).await, 1.0);
        if log.is_empty() {
            let log = world.gateway.whole_log().await;
            let line = log.lines().find(|line| line.contains("/slow")).unwrap();
            assert!(line.contains("status=200 reason=\"deadline_exceeded\""), "{line}");
        }
    }
}

#[tokio::test]
async fn over_http2_the_stream_is_reset() {
    let (_upstream, world) = raw(ENDLESS, r#"{ total = "500ms" }"#, "").await;
    let http2 = world.gateway.http2().await;
    let outcome = in_time("the end", http2.send("GET", "/slow", &[], b"")).await;
    assert!(outcome.map_or_else(|error| error.is_reset(), |answer| !answer.complete));
}

#[tokio::test]
async fn a_route_has_its_own_patience_with_bodies() {
    let (_upstream, world) = raw(ENDLESS, r#"{ idle = "300ms" }"#, "").await;
    let answer = in_time("the end", world.gateway.get("/slow").send()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "first"));
    assert!(!answer.complete);
    let stalled = b"POST /slow HTTP/1.1\r\nhost: api.test\r\ncontent-length: 9\r\n\r\nhalf";
    let (_upstream, world) = raw("", r#"{ idle = "300ms" }"#, "").await;
    let mut connection = world.gateway.connect().await;
    connection.write(stalled).await;
    assert_eq!(in_time("an answer", connection.head()).await.status, 408);
}

/// A listener that nobody gets through to, with those who stand in its queue: once that is full,
/// whoever knocks gets no answer.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(taken) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queue.push(taken.unwrap());
        assert!(queue.len() < 100, "the queue has no end");
    }
    (listener, queue)
}

#[tokio::test]
async fn an_upstream_that_takes_no_connection_is_504_after_connect() {
    let (listener, _queue) = deaf().await;
    let address = listener.local_addr().unwrap();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let times = "timeouts = { connect = \"300ms\", header = \"1h\" }";
        setup
            .upstream("deaf", &format!("http://{address}"), times)
            .route(r#"name = "deaf", path = "/deaf", access = "public", upstream = "deaf""#)
    })
    .await;
    let answer = in_time("an answer", world.gateway.get("/deaf").send()).await;
    assert_eq!((answer.status, &answer.json()["reason"]), (504, &"upstream_timed_out".into()));
    let labels = [("route", "deaf"), ("reason", "upstream_timed_out")];
    assert_eq!(world.gateway.metric("scopegate_refusals_total", &labels).await, 1.0);
}

#[tokio::test]
async fn a_route_waits_for_a_connection_in_its_own_time() {
    let (listener, queue) = deaf().await;
    let address = listener.local_addr().unwrap();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let times = |connect| {
            format!("timeouts = {{ connect = \"{connect}\", header = \"1h\" }}\nretries.attempts = 0")
        };
        let endpoint = format!("http://{address}");
        let route = |path: &str, upstream: &str, connect: &str| {
            format!(
                r#"path = "{path}", access = "public", upstream = "{upstream}", timeout = {{ connect = "{connect}" }}"#
            )
        };
        setup
            .upstream("slow", &endpoint, &times("1h"))
            .upstream("quick", &endpoint, &times("1ms"))
            .route(&route("/impatient", "slow", "300ms"))
            .route(&route("/patient", "quick", "1h"))
            .route(r#"path = "/own", access = "public", upstream = "quick""#)
    })
    .await;
    let get = async |path| in_time("an answer", world.gateway.get(path).send()).await;
    let refused_and_then_well = async {
        for path in ["/impatient", "/own"] {
            let answer = get(path).await;
            let reason = answer.json()["reason"].clone();
            assert_eq!((answer.status, reason), (504, "upstream_timed_out".into()), "{path}");
        }
        // All that while the patient one has been knocking.
        drop(queue);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut byte = [0];
                if stream.read(&mut byte).await.is_ok_and(|count| count == 1) {
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    };
    tokio::select! {
        patient = get("/patient") => assert_eq!(patient.status, 204),
        () = refused_and_then_well => {}
    }
}

/// An upstream over HTTP/2 that takes one request, answers with a head and this content if there is
/// any, and then says what time it was given and how its stream was reset.
async fn stalling_http2(
    content: Option<&'static [u8]>,
) -> (String, oneshot::Receiver<(String, h2::Reason)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut answer) = connection.accept().await.unwrap().unwrap();
        let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let reason = match content {
            None => std::future::poll_fn(|cx| answer.poll_reset(cx)).await,
            Some(content) => {
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut body = answer.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(bytes::Bytes::from_static(content), false).unwrap();
                std::future::poll_fn(|cx| body.poll_reset(cx)).await
            }
        };
        drop(tell.send((timeout, reason.unwrap())));
    });
    (url, told)
}

#[tokio::test]
async fn grpc_timeout_elapsed_is_status_4_and_the_upstream_stream_is_cancelled() {
    for (route, sent) in [("", "300m"), (r#", timeout = { total = "300ms" }"#, "1H")] {
        let (url, told) = stalling_http2(None).await;
        let world = World::built(TestIssuer::new(), "", |setup| {
            let route = format!(r#"path = "/s/m", access = "public", upstream = "grpc"{route}"#);
            setup.upstream("grpc", &url, "").route(&route)
        })
        .await;
        let fields =
            [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", sent)];
        let http2 = world.gateway.http2().await;
        let answer = in_time("an answer", http2.send("POST", "/s/m", &fields, b"\0\0\0\0\0"));
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, "4"), "{sent}");
        let (timeout, reason) = in_time("a reset", told).await.unwrap();
        assert_eq!((timeout.as_str(), reason), (sent, h2::Reason::CANCEL));
    }
}

#[tokio::test]
async fn grpc_timeout_elapsed_within_the_answer_is_status_4_in_its_trailers() {
    for content in [&b""[..], b"\0\0\0\0\x02ok", b"\0\0\0\0\x09half"] {
        let (url, told) = stalling_http2(Some(content)).await;
        let world = World::built(TestIssuer::new(), "", |setup| {
            let route = r#"name = "m", path = "/s/m", access = "public", upstream = "grpc""#;
            setup.upstream("grpc", &url, "").route(route)
        })
        .await;
        let fields =
            [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "300m")];
        let http2 = world.gateway.http2().await;
        let answer = in_time("an answer", http2.send("POST", "/s/m", &fields, b"\0\0\0\0\0"));
        let answer = answer.await.expect("an end, not a reset");
        assert_eq!((answer.status, &answer.body[..]), (200, content));
        let trailer = |name: &str| answer.trailers.iter().find(|(key, _)| key == name).cloned();
        assert_eq!(trailer("grpc-status").unwrap().1, "4");
        assert!(!trailer("grpc-message").unwrap().1.is_empty());
        assert_eq!(in_time("a reset", told).await.unwrap().1, h2::Reason::CANCEL);
        let labels = [("route", "m")];
        assert_eq!(world.gateway.metric("scopegate_answers_cut_total", &labels).await, 1.0);
        let log = world.gateway.whole_log().await;
        assert!(log.contains("status=200 reason=\"deadline_exceeded\""), "{log}");
    }
}

#[tokio::test]
async fn grpc_timeout_means_nothing_in_other_requests() {
    let (_upstream, world) =
        raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", r#"{ total = "1h" }"#, "").await;
    let answer = world.gateway.get("/slow").header("grpc-timeout", "0n").send().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}
