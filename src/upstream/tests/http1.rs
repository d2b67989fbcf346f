use super::*;
use http::StatusCode;
use http_body::Body as _;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let raw = Raw::answering(answer).await;
        let upstream = raw.http1();
        for _ in 0..5 {
            let response = get(&upstream, "/").await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(text(response).await, "ok");
            assert_eq!(upstream.in_flight(), 0);
        }
        assert_eq!(raw.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_whole_answer_gives_its_connection_back_before_it_is_read() {
    let raw = Raw::answering(OK).await;
    let upstream = raw.http1();
    let first = get(&upstream, "/").await.unwrap();
    assert_eq!(first.body().size_hint().exact(), Some(2));
    assert_eq!(upstream.pools[0].idle_count(), 1);
    let second = get(&upstream, "/").await.unwrap();
    assert_eq!((text(second).await, text(first).await), ("ok".into(), "ok".into()));
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn requests_at_once_have_connections_of_their_own_and_keep_them_within_the_bound() {
    let raw = Raw::answering(OK).await;
    let mut settings = settings(vec![endpoint(EndpointProtocol::Http1, raw.address)]);
    settings.limits.idle_connections = 3;
    let upstream = Upstream::new(settings, 1, events()).unwrap();
    let answers = futures_util::future::join_all((0..10).map(|_| get(&upstream, "/"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(upstream.pools[0].idle_count(), 3);
}

#[tokio::test]
async fn an_idle_connection_that_the_upstream_closed_is_not_used() {
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let upstream = raw.http1();
    for number in 1..=3 {
        let body = Body::full("pay once".into());
        let response = send(&upstream, request(Method::POST, "/", body)).await.unwrap();
        assert_eq!(text(response).await, "ok");
        // The close has to arrive; nothing here says when it has, except the next use.
        until(|| raw.connections() == number).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(raw.connections(), 3);
}

#[tokio::test]
async fn rfc9110_9_2_2_a_post_that_was_sent_is_not_sent_twice() {
    let (saw, mut seen) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, number| {
        let saw = saw.clone();
        async move {
            let _ = saw.send(read_until(&mut stream, "pay once").await);
            if number == 1 {
                stream.write_all(OK.as_bytes()).await.unwrap();
                let _ = saw.send(read_until(&mut stream, "pay once").await);
            }
        }
    })
    .await;
    let upstream = raw.http1();
    let post = || request(Method::POST, "/", Body::full("pay once".into()));
    assert_eq!(text(send(&upstream, post()).await.unwrap()).await, "ok");
    assert_eq!(send(&upstream, post()).await.err(), Some(UpstreamFailure::Reset));
    assert!(seen.recv().await.unwrap().ends_with("pay once"));
    assert!(seen.recv().await.unwrap().ends_with("pay once"));
    assert!(seen.try_recv().is_err(), "a third time");
    assert_eq!((raw.connections(), upstream.in_flight()), (1, 0));
}

#[tokio::test]
async fn failures_are_told_apart_by_their_cause() {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let flood = leak("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000));
    let crowd = leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)));
    for (answer, failure) in [
        ("", UpstreamFailure::Reset),
        ("HTTP/1.1 200 OK\r\ncontent-le", UpstreamFailure::Reset),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", UpstreamFailure::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nx", UpstreamFailure::Malformed),
        ("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", UpstreamFailure::Malformed),
        ("HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", UpstreamFailure::Malformed),
        ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", UpstreamFailure::Malformed),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx", UpstreamFailure::Malformed),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            UpstreamFailure::Malformed,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            UpstreamFailure::Malformed,
        ),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", UpstreamFailure::Reset),
        (flood, UpstreamFailure::Malformed),
        (crowd, UpstreamFailure::Malformed),
    ] {
        let raw = Raw::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let upstream = raw.http1();
        assert_eq!(get(&upstream, "/").await.err(), Some(failure), "{answer:?}");
        assert_eq!((upstream.in_flight(), upstream.pools[0].idle_count()), (0, 0), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(get(&raw.http1(), "/").await.err(), Some(UpstreamFailure::Malformed));
}

/// A port where nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_a_refusal_and_the_other_endpoint_is_tried_at_once() {
    let refused = closed_port().await;
    let alone = upstream(EndpointProtocol::Http1, refused);
    assert_eq!(get(&alone, "/").await.err(), Some(UpstreamFailure::Refused));

    let raw = Raw::answering(OK).await;
    let both = vec![
        endpoint(EndpointProtocol::Http1, refused),
        endpoint(EndpointProtocol::Http1, raw.address),
    ];
    let upstream = Upstream::new(settings(both), 1, events()).unwrap();
    for _ in 0..20 {
        assert_eq!(get(&upstream, "/").await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn a_name_is_resolved_and_readiness_knows() {
    let raw = Raw::answering(OK).await;
    let name = |name: &str| config::Endpoint {
        protocol: EndpointProtocol::Http1,
        address: EndpointAddress::Name(name.into(), raw.address.port()),
    };
    let upstream = Upstream::new(settings(vec![name("localhost")]), 1, events()).unwrap();
    assert!(!upstream.addresses_known());
    assert!(looked_up(&upstream).await);
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");

    let upstream = Upstream::new(settings(vec![name("nowhere.invalid")]), 1, events()).unwrap();
    assert!(!looked_up(&upstream).await);
    assert_eq!(get(&upstream, "/").await.err(), Some(UpstreamFailure::Refused));
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_closes_the_connection() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, number| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            if number == 1 {
                assert_eq!(read_head(&mut stream).await, "");
                let _ = closed.send(());
            } else {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let upstream = raw.http1();
    let get_in = |timeout| {
        let request = request(Method::GET, "/", Body::empty());
        upstream.exchange(WORKER, request, None, header(timeout))
    };
    let short = Duration::from_millis(50);
    assert_eq!(get_in(short).await.err(), Some(UpstreamFailure::TimedOut));
    is_closed.recv().await.unwrap();
    assert!(get_in(Duration::from_secs(20)).await.is_ok());
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_timer_left_over_from_a_shorter_wait_does_not_end_a_longer_one() {
    let raw = Raw::start(|mut stream, _| async move {
        for wait_ms in [0, 120, 0] {
            read_head(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
        read_until(&mut stream, "never").await;
    })
    .await;
    let upstream = raw.http1();
    let get_in = |millis| {
        let request = request(Method::GET, "/", Body::empty());
        upstream.exchange(WORKER, request, None, header(Duration::from_millis(millis)))
    };
    assert!(get_in(60).await.is_ok(), "sets the timer to 60 ms");
    assert!(get_in(5000).await.is_ok(), "waits past it");
    assert!(get_in(60).await.is_ok());
    assert_eq!(get_in(60).await.err(), Some(UpstreamFailure::TimedOut), "a shorter one after");
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_closes_the_connection() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            assert_eq!(read_head(&mut stream).await, "");
            let _ = closed.send(());
        }
    })
    .await;
    let upstream = raw.http1();
    {
        let exchange = get(&upstream, "/");
        assert!(tokio::time::timeout(Duration::from_millis(50), exchange).await.is_err());
    }
    is_closed.recv().await.unwrap();
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn rfc9112_8_an_answer_that_breaks_off_is_an_error_never_a_clean_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        let raw = Raw::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let upstream = raw.http1();
        let mut body = get(&upstream, "/").await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        let broken = body.frame().await.unwrap().err();
        assert_eq!(broken, Some(crate::body::BodyError::UpstreamGone), "{answer:?}");
        assert_eq!((upstream.in_flight(), upstream.pools[0].idle_count()), (0, 0));
    }
}

#[tokio::test]
async fn an_answer_that_stands_still_ends_and_one_that_trickles_does_not() {
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await.unwrap();
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            stream.write_all(b"x").await.unwrap();
        }
        read_head(&mut stream).await;
    })
    .await;
    let mut settings = settings(vec![endpoint(EndpointProtocol::Http1, raw.address)]);
    settings.timeouts.idle = Duration::from_millis(200);
    let upstream = Upstream::new(settings, 1, events()).unwrap();
    let mut body = get(&upstream, "/").await.unwrap().into_body();
    for _ in 0..6 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    let broken = body.frame().await.unwrap().err();
    assert_eq!(broken, Some(crate::body::BodyError::UpstreamSlow));
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_large_answer_comes_whole_and_its_connection_is_used_again() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 64;
    for chunked in [false, true] {
        let raw = Raw::start(move |mut stream, _| async move {
            while !read_head(&mut stream).await.is_empty() {
                let framing = match chunked {
                    true => "transfer-encoding: chunked".to_owned(),
                    false => format!("content-length: {}", CHUNK * CHUNKS),
                };
                let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                for _ in 0..CHUNKS {
                    if chunked {
                        stream.write_all(format!("{CHUNK:x}\r\n").as_bytes()).await.unwrap();
                    }
                    stream.write_all(&[b'a'; CHUNK]).await.unwrap();
                    if chunked {
                        stream.write_all(b"\r\n").await.unwrap();
                    }
                }
                if chunked {
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            }
        })
        .await;
        let upstream = raw.http1();
        for _ in 0..3 {
            assert_eq!(text(get(&upstream, "/").await.unwrap()).await.len(), CHUNK * CHUNKS);
            assert_eq!(upstream.in_flight(), 0);
        }
        assert_eq!(raw.connections(), 1, "chunked: {chunked}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_on_closes_its_connection() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nx").await;
            read_head(&mut stream).await;
            let _ = closed.send(());
        }
    })
    .await;
    let upstream = raw.http1();
    let mut body = get(&upstream, "/").await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(upstream.in_flight(), 1);
    drop(body);
    assert_eq!(upstream.in_flight(), 0);
    is_closed.recv().await.unwrap();
}

#[tokio::test]
async fn rfc9112_6_3_no_body_is_awaited_where_there_is_none() {
    for (method, answer) in [
        (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (Method::GET, "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let raw = Raw::answering(answer).await;
        let upstream = raw.http1();
        for _ in 0..2 {
            let response =
                send(&upstream, request(method.clone(), "/", Body::empty())).await.unwrap();
            assert!(response.body().is_end_stream(), "{answer}");
            assert!(response.headers().contains_key("content-length"));
        }
        assert_eq!(raw.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn rfc9112_6_3_bytes_after_an_answer_end_its_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let raw = Raw::answering(answer).await;
        let upstream = raw.http1();
        for number in 1..=3 {
            let response = get(&upstream, "/").await.unwrap();
            assert_ne!(text(response).await, "evil");
            assert_eq!(raw.connections(), number, "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nold").await.unwrap();
    })
    .await;
    let upstream = raw.http1();
    for number in 1..=2 {
        let response = get(&upstream, "/").await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_11);
        assert_eq!(text(response).await, "old");
        assert_eq!(raw.connections(), number);
    }
}

#[tokio::test]
async fn connections_unused_for_too_long_are_closed() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            let _ = closed.send(());
        }
    })
    .await;
    let mut settings = settings(vec![endpoint(EndpointProtocol::Http1, raw.address)]);
    settings.timeouts.idle = Duration::from_millis(100);
    let upstream = Upstream::new(settings, 1, events()).unwrap();
    text(get(&upstream, "/").await.unwrap()).await;
    assert_eq!(upstream.pools[0].idle_count(), 1);
    is_closed.recv().await.unwrap();
    until(|| upstream.pools[0].idle_count() == 0).await;
}

#[tokio::test]
async fn over_the_bound_of_requests_is_busy() {
    let raw = Raw::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").await;
    let mut settings = settings(vec![endpoint(EndpointProtocol::Http1, raw.address)]);
    settings.limits.requests = 2;
    let upstream = Upstream::new(settings, 1, events()).unwrap();
    let first = get(&upstream, "/").await.unwrap();
    let _second = get(&upstream, "/").await.unwrap();
    assert_eq!(upstream.in_flight(), 2);
    assert_eq!(get(&upstream, "/").await.err(), Some(UpstreamFailure::Busy));
    drop(first);
    assert!(get(&upstream, "/").await.is_ok());
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_too() {
    let path = std::env::temp_dir().join(format!("upstream-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    });
    let address = EndpointAddress::Unix(path.clone());
    let endpoint = config::Endpoint { protocol: EndpointProtocol::Http1, address };
    let upstream = Upstream::new(settings(vec![endpoint]), 1, events()).unwrap();
    for _ in 0..2 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");
    }
    let _ = std::fs::remove_file(&path);
    assert!(looked_up(&upstream).await);
}

#[tokio::test]
async fn a_queued_task_is_not_starved_by_long_answers() {
    // More chunks than tokio lets one poll handle: it yields, and must be woken again.
    let answer: &'static str = Box::leak(
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
            "1\r\nx\r\n".repeat(2000)
        )
        .into_boxed_str(),
    );
    let raw = Raw::answering(answer).await;
    let upstream = raw.http1();
    for _ in 0..3 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await.len(), 2000);
    }
    assert_eq!(raw.connections(), 1);
}

/// An upstream that answers the first request on its first connection, takes the second one and
/// does `then` instead of answering. On other connections it answers. What it saw goes out.
async fn closing_under_our_hands(
    then: impl Fn(TcpStream) + Clone + Send + 'static,
) -> (Raw, mpsc::UnboundedReceiver<String>) {
    let (saw, seen) = mpsc::unbounded_channel();
    let raw = Raw::start(move |mut stream, number| {
        let (saw, then) = (saw.clone(), then.clone());
        async move {
            for count in 0.. {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                let _ = saw.send(head.lines().next().unwrap().to_owned());
                if number == 1 && count == 1 {
                    return then(stream);
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (raw, seen)
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn rfc9112_9_3_1_what_may_be_done_twice_is_sent_again_when_an_idle_connection_closes() {
    let body = || Body::full("pay once".into());
    for then in [drop::<TcpStream>, reset] {
        #[rustfmt::skip]
        let cases = [
            (Method::GET, Body::empty(), true), (Method::HEAD, Body::empty(), true),
            (Method::OPTIONS, Body::empty(), true), (Method::PUT, Body::empty(), true),
            (Method::DELETE, Body::empty(), true), (Method::TRACE, Body::empty(), true),
            (Method::POST, Body::empty(), false), (Method::PATCH, Body::empty(), false),
            (Method::from_bytes(b"MOVE").unwrap(), Body::empty(), false),
            (Method::PUT, body(), false), (Method::POST, body(), false),
        ];
        for (method, body, is_sent_again) in cases {
            let (raw, mut seen) = closing_under_our_hands(then).await;
            let upstream = raw.http1();
            text(get(&upstream, "/first").await.unwrap()).await;
            let outcome = send(&upstream, request(method.clone(), "/second", body)).await;
            let failure = outcome.map(drop).err();
            let expected = (!is_sent_again).then_some(UpstreamFailure::Reset);
            assert_eq!(failure, expected, "{method}");
            assert_eq!(raw.connections(), 1 + usize::from(is_sent_again), "{method}");
            assert_eq!(seen.recv().await.unwrap(), "GET /first HTTP/1.1");
            for _ in 0..1 + usize::from(is_sent_again) {
                assert_eq!(seen.recv().await.unwrap(), format!("{method} /second HTTP/1.1"));
            }
            assert!(seen.try_recv().is_err(), "{method}: once more");
            assert_eq!(upstream.in_flight(), 0);
        }
    }
}

#[tokio::test]
async fn what_may_be_done_twice_is_sent_again_once_and_not_after_a_byte_of_an_answer() {
    // Number of the connection on which nothing is answered any more, what comes instead.
    for (from, answer, connections) in [(1, "", 1), (2, "", 2), (2, "H", 1)] {
        let raw = Raw::start(move |mut stream, number| async move {
            read_head(&mut stream).await;
            if from <= number {
                return;
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let upstream = raw.http1();
        if from == 2 {
            text(get(&upstream, "/").await.unwrap()).await;
        }
        assert_eq!(get(&upstream, "/").await.err(), Some(UpstreamFailure::Reset), "{answer}");
        assert_eq!((raw.connections(), upstream.in_flight()), (connections, 0), "{answer}");
    }
}

#[tokio::test]
async fn rfc9112_9_what_comes_unasked_over_an_idle_connection_is_never_an_answer() {
    let raw = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let upstream = raw.http1();
    for number in 1..=3 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");
        assert_eq!(raw.connections(), number);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn rfc9112_9_6_a_connection_is_not_used_again_after_an_answer_that_says_so() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx",
    ] {
        // It keeps the connection open, so that only we can end it.
        let raw = Raw::answering(answer).await;
        let upstream = raw.http1();
        for number in 1..=2 {
            assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok", "{answer}");
            assert_eq!(raw.connections(), number, "{answer}");
            assert_eq!((upstream.in_flight(), upstream.pools[0].idle_count()), (0, 0), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_one() {
    let raw = Raw::start(|mut stream, _| async move {
        while !read_head(&mut stream).await.is_empty() {
            for byte in OK.as_bytes() {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let upstream = raw.http1();
    for _ in 0..3 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");
    }
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn trailers_of_an_answer_pass_and_its_connection_is_used_again() {
    let answer =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let raw = Raw::answering(answer).await;
    let upstream = raw.http1();
    for _ in 0..2 {
        let answer = get(&upstream, "/").await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["x-sum"], "7");
        assert_eq!(answer.to_bytes(), "ok");
        assert_eq!(upstream.in_flight(), 0);
    }
    assert_eq!(raw.connections(), 1);
}
