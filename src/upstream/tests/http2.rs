use super::*;
use h2::server::{Connection, SendResponse};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::{Barrier, mpsc};

/// Starts an HTTP/2 upstream with `script` for each request, told the connection's number.
async fn start<F>(
    script: impl Fn(Request<h2::RecvStream>, SendResponse<bytes::Bytes>, usize) -> F
    + Clone
    + Send
    + 'static,
) -> Raw
where
    F: Future<Output = ()> + Send + 'static,
{
    Raw::start(move |stream, number| {
        let script = script.clone();
        async move {
            let mut connection: Connection<_, bytes::Bytes> = h2::server::Builder::new()
                .max_concurrent_streams(500)
                .handshake(stream)
                .await
                .unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(request, respond, number));
            }
        }
    })
    .await
}

fn ok(mut respond: SendResponse<bytes::Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data("ok".into(), true).unwrap();
}

#[tokio::test]
async fn a_hundred_requests_at_once_share_one_connection() {
    let all_here = Arc::new(Barrier::new(100));
    let raw = start(move |request, respond, _| {
        let all_here = Arc::clone(&all_here);
        async move {
            assert_eq!(request.uri(), "http://api.test/a?b");
            assert!(!request.headers().contains_key("host"));
            all_here.wait().await;
            ok(respond);
        }
    })
    .await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    let answers = futures_util::future::join_all((0..100).map(|_| get(&upstream, "/a?b"))).await;
    assert_eq!(upstream.in_flight(), 100);
    for answer in answers {
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
    assert_eq!((raw.connections(), upstream.in_flight()), (1, 0));
}

#[tokio::test]
async fn rfc9113_8_7_a_refused_stream_is_sent_again_once() {
    let count = Arc::new(AtomicUsize::new(0));
    for (refusals, outcome) in [(1, None), (2, Some(UpstreamFailure::Reset))] {
        count.store(0, Ordering::Relaxed);
        let seen = Arc::clone(&count);
        let raw = start(move |_, mut respond, _| {
            let number = seen.fetch_add(1, Ordering::Relaxed);
            async move {
                match number < refusals {
                    true => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    false => ok(respond),
                }
            }
        })
        .await;
        let upstream = upstream(EndpointProtocol::H2c, raw.address);
        assert_eq!(get(&upstream, "/").await.err(), outcome);
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert_eq!(upstream.in_flight(), 0);
    }
}

#[tokio::test]
async fn rfc9113_8_7_another_reset_or_a_body_is_not_sent_again() {
    for (reason, body) in [
        (h2::Reason::INTERNAL_ERROR, Body::empty()),
        (h2::Reason::REFUSED_STREAM, Body::full("pay once".into())),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let raw = start(move |_, mut respond, _| {
            seen.fetch_add(1, Ordering::Relaxed);
            async move { respond.send_reset(reason) }
        })
        .await;
        let upstream = upstream(EndpointProtocol::H2c, raw.address);
        let outcome = send(&upstream, request(Method::POST, "/", body)).await;
        assert_eq!(outcome.err(), Some(UpstreamFailure::Reset));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn after_a_goaway_requests_go_over_a_new_connection() {
    let raw = Raw::start(|stream, _| async move {
        let mut connection: Connection<_, bytes::Bytes> =
            h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            ok(respond);
            connection.graceful_shutdown();
        }
    })
    .await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    for number in 1..=3 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");
        assert!(raw.connections() <= number);
    }
    assert!(2 <= raw.connections());
}

#[tokio::test]
async fn rfc9113_8_1_an_answer_that_is_reset_is_an_error_never_a_clean_end() {
    let raw = start(|_, mut respond, _| async move {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        body.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    let mut body = get(&upstream, "/").await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert_eq!(body.frame().await.unwrap().err(), Some(crate::body::BodyError::UpstreamGone));
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn trailers_of_an_answer_pass() {
    let raw = start(|_, mut respond, _| async move {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data("ok".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        body.send_trailers(trailers).unwrap();
    })
    .await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    let answer = get(&upstream, "/").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), "ok");
}

#[tokio::test]
async fn a_caller_that_goes_away_resets_the_stream_and_no_other() {
    let (saw, mut seen) = mpsc::unbounded_channel();
    let raw = start(move |request, mut respond, _| {
        let saw = saw.clone();
        async move {
            if request.uri().path() == "/slow" {
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                let _ = saw.send(reason.unwrap());
            } else {
                ok(respond);
            }
        }
    })
    .await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    {
        let exchange = get(&upstream, "/slow");
        assert!(tokio::time::timeout(Duration::from_millis(50), exchange).await.is_err());
    }
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
    assert_eq!(get(&upstream, "/").await.unwrap().status(), StatusCode::OK);
    assert_eq!(raw.connections(), 1);
    let timed_out = upstream
        .exchange(
            WORKER,
            request(Method::GET, "/slow", Body::empty()),
            None,
            header(Duration::from_millis(50)),
        )
        .await;
    assert_eq!(timed_out.err(), Some(UpstreamFailure::TimedOut));
    assert_eq!(seen.recv().await, Some(h2::Reason::CANCEL));
    assert_eq!(get(&upstream, "/").await.unwrap().status(), StatusCode::OK);
    assert_eq!(raw.connections(), 2, "a connection that left a request without an answer is left");
}

#[tokio::test]
async fn what_is_no_http2_is_not_an_answer() {
    let raw = Raw::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let upstream = upstream(EndpointProtocol::H2c, raw.address);
    let outcome = get(&upstream, "/").await.err();
    assert!(
        matches!(outcome, Some(UpstreamFailure::Malformed | UpstreamFailure::Reset)),
        "{outcome:?}"
    );
}
