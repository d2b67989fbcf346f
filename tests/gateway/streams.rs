//! What is sent piece by piece arrives piece by piece: server-sent events, long polling, and what a
//! caller sends in its own time.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::frames::{DATA, END_STREAM, Frames, HEADERS};
use crate::harness::{Gateway, Setup, TestIssuer, in_time};

/// An upstream of one connection that is in the test's hands.
struct Hand {
    listener: TcpListener,
}

impl Hand {
    /// It, and a gateway with an open route in front.
    async fn and_gateway() -> (Self, Gateway) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = TestIssuer::new();
        let setup = Setup::new().issuer("main", &issuer, "").upstream("api", &url, "");
        let gateway = setup.route(r#"path = "/p", access = "public""#).start().await;
        (Self { listener }, gateway)
    }

    /// The next request's connection, its head read.
    async fn request(&self) -> TcpStream {
        self.asked().await.1
    }

    /// The head of the next request, and its connection.
    async fn asked(&self) -> (String, TcpStream) {
        let (mut stream, _) = in_time("a connection", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        (read_to(&mut stream, "\r\n\r\n").await, stream)
    }
}

/// Reads until the text has come, byte by byte, so that nothing behind it is taken.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(in_time(end, stream.read_u8()).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_written() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller
        .write_all(b"GET /p HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    let mut events = upstream.request().await;
    events.write_all(EVENTS.as_bytes()).await.unwrap();
    let head = read_to(&mut caller, "\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "before any event: {head}");
    for number in 0..20 {
        let event = format!("id: {number}\ndata: {}\n\n", "x".repeat(number * 50));
        events.write_all(chunk(&event).as_bytes()).await.unwrap();
        read_to(&mut caller, &event).await;
    }
    events.write_all(b"0\r\n\r\n").await.unwrap();
    read_to(&mut caller, "\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn over_http2_an_event_arrives_before_the_next_one_is_written() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut frames = Frames::open(gateway.address()).await;
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", "/p")];
    frames.request(1, &fields, END_STREAM).await;
    let mut events = upstream.request().await;
    events.write_all(EVENTS.as_bytes()).await.unwrap();
    let mut next = async |kind| loop {
        let frame = frames.next().await.expect("a frame");
        if frame.kind == kind && frame.stream == 1 {
            return frame;
        }
    };
    next(HEADERS).await;
    for number in 0..20 {
        let event = format!("id: {number}\n\n");
        events.write_all(chunk(&event).as_bytes()).await.unwrap();
        let data = next(DATA).await;
        assert_eq!((data.payload, data.flags & END_STREAM), (event.into_bytes(), 0));
    }
    events.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(next(DATA).await.flags & END_STREAM, END_STREAM);
}

#[tokio::test]
async fn what_a_caller_sends_in_pieces_reaches_the_upstream_piece_by_piece() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller.set_nodelay(true).unwrap();
    let head = b"POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    caller.write_all(head).await.unwrap();
    let mut taker = upstream.request().await;
    for number in 0..20 {
        let piece = format!("piece {number}.");
        caller.write_all(chunk(&piece).as_bytes()).await.unwrap();
        read_to(&mut taker, &piece).await;
    }
    caller.write_all(b"0\r\n\r\n").await.unwrap();
    read_to(&mut taker, "\r\n0\r\n\r\n").await;
    taker.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let head = read_to(&mut caller, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
}

#[tokio::test]
async fn an_answer_that_is_long_in_coming_is_waited_for() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller.write_all(b"GET /p HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut polled = upstream.request().await;
    // Others are served meanwhile, each over a connection of its own.
    for _ in 0..3 {
        let mut other = TcpStream::connect(gateway.address()).await.unwrap();
        other.write_all(b"GET /p HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut quick = upstream.request().await;
        quick
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            .await
            .unwrap();
        read_to(&mut other, "\r\n\r\nok").await;
    }
    polled.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await.unwrap();
    read_to(&mut caller, "\r\n\r\nlate").await;
}

/// The head of a request that asks before it sends its body.
const ASKING: &[u8] =
    b"POST /p HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

#[tokio::test]
async fn rfc9110_10_1_1_the_upstream_says_whether_a_body_is_wanted() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller.write_all(ASKING).await.unwrap();
    let (head, mut asked) = upstream.asked().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    asked.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    assert_eq!(read_to(&mut caller, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hello").await.unwrap();
    read_to(&mut asked, "hello").await;
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let head = read_to(&mut caller, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
}

#[tokio::test]
async fn rfc9110_10_1_1_a_body_that_the_upstream_refuses_is_never_asked_for() {
    for answer in [
        "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 417 Expectation Failed\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        let (upstream, gateway) = Hand::and_gateway().await;
        let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
        caller.write_all(ASKING).await.unwrap();
        let (_, mut asked) = upstream.asked().await;
        asked.write_all(answer.as_bytes()).await.unwrap();
        let head = read_to(&mut caller, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 41"), "the first answer is the last: {head}");
        let mut rest = String::new();
        in_time("the end", caller.read_to_string(&mut rest)).await.unwrap();
        assert!(rest.contains("no"), "{rest}");
        // Neither connection carries another request: who knows what it would begin with.
        let mut sent = Vec::new();
        in_time("the end", asked.read_to_end(&mut sent)).await.unwrap();
        assert_eq!(sent, b"");
    }
}

#[tokio::test]
async fn rfc9110_10_1_1_an_upstream_that_does_not_say_gets_the_body_all_the_same() {
    let (upstream, gateway) = Hand::and_gateway().await;
    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller.write_all(ASKING).await.unwrap();
    let mut asked = upstream.request().await;
    assert_eq!(read_to(&mut caller, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hello").await.unwrap();
    read_to(&mut asked, "hello").await;
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    read_to(&mut caller, "204 No Content").await;
}

/// A gateway with an open route and a guarded one to an upstream of that URL.
async fn before(url: &str) -> (TestIssuer, Gateway) {
    let issuer = TestIssuer::new();
    let setup = Setup::new().issuer("main", &issuer, "").upstream("api", url, "");
    let setup = setup.route(r#"path = "/p", access = "public""#);
    let guarded = r#"path = "/guarded", access = { scopes = ["a"] }"#;
    let gateway = setup.route(guarded).start().await;
    (issuer, gateway)
}

/// [`ASKING`], for the guarded path.
fn asking(authorization: &str) -> Vec<u8> {
    let head = String::from_utf8(ASKING.to_vec()).unwrap().replace("/p", "/guarded");
    let head = head.replace("host: a", &format!("host: a\r\nauthorization: {authorization}"));
    head.into_bytes()
}

#[tokio::test]
async fn rfc9110_10_1_1_over_http2_the_body_is_taken_once_the_upstream_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let (issuer, gateway) = before(&url).await;
    let token = format!("Bearer {}", issuer.token().scopes("a").sign());
    let mut refused = TcpStream::connect(gateway.address()).await.unwrap();
    refused.write_all(&asking("Bearer no.good.token")).await.unwrap();
    let head = read_to(&mut refused, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401"), "the token is judged before any 100: {head}");

    let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
    caller.write_all(&asking(&token)).await.unwrap();
    let (stream, _) = in_time("a connection", listener.accept()).await.unwrap();
    let mut upstream = in_time("a handshake", h2::server::handshake(stream)).await.unwrap();
    let (request, mut answer) = in_time("a request", upstream.accept()).await.unwrap().unwrap();
    assert_eq!(request.headers().get("expect"), None, "nothing is asked that nobody could hear");
    assert_eq!(read_to(&mut caller, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hello").await.unwrap();
    let serving = tokio::spawn(async move { while upstream.accept().await.is_some() {} });
    let mut body = request.into_body();
    assert_eq!(in_time("the body", body.data()).await.unwrap().unwrap(), "hello");
    answer.send_response(http::Response::builder().status(204).body(()).unwrap(), true).unwrap();
    let head = read_to(&mut caller, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    serving.abort();
}

#[tokio::test]
async fn rfc9110_10_1_1_no_body_is_asked_for_where_no_upstream_is_reached() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for scheme in ["http", "h2c"] {
        let (_issuer, gateway) = before(&format!("{scheme}://{closed}")).await;
        let mut caller = TcpStream::connect(gateway.address()).await.unwrap();
        caller.write_all(ASKING).await.unwrap();
        let head = read_to(&mut caller, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 502"), "{scheme}: the first answer is the last: {head}");
    }
}

#[tokio::test]
async fn rfc9110_10_1_1_what_a_caller_over_http2_expects_is_asked_of_the_upstream() {
    let upstream = Hand { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let (issuer, gateway) =
        before(&format!("http://{}", upstream.listener.local_addr().unwrap())).await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut asking = |token: &str| {
        let request = http::Request::post("http://api.test/guarded")
            .version(http::Version::HTTP_2)
            .header("authorization", format!("Bearer {token}"))
            .header("expect", "100-continue")
            .header("content-length", "5");
        client.send_request(request.body(()).unwrap(), false).unwrap()
    };
    let (answer, _unsent) = asking("no.good.token");
    assert_eq!(in_time("an answer", answer).await.unwrap().status(), 401);

    let token = issuer.token().scopes("a").sign();
    let (answer, _unsent) = asking(&token);
    let (head, mut asked) = upstream.asked().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
    let refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
    asked.write_all(refusal).await.unwrap();
    assert_eq!(in_time("an answer", answer).await.unwrap().status(), 413);
    let mut sent = Vec::new();
    in_time("the end", asked.read_to_end(&mut sent)).await.unwrap();
    assert_eq!(sent, b"", "no body was waited for");

    // Where it is wanted this caller is told nothing, and sends when it has waited for long enough.
    let (answer, mut body) = asking(&token);
    let (_, mut asked) = upstream.asked().await;
    asked.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    body.send_data("hello".into(), true).unwrap();
    read_to(&mut asked, "hello").await;
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(in_time("an answer", answer).await.unwrap().status(), 204);
}
