//! HTTP/2 by the h2 crate: one connection, requests one after another or side by side.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::client::Response;
use super::in_time;

/// Streams that every server allows on a connection.
const STREAMS: usize = 50;

/// A connection.
#[derive(Clone)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    scheme: &'static str,
}

impl Http2 {
    /// Opens one in cleartext, with prior knowledge.
    pub async fn open(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap(), "http").await
    }

    /// Speaks on a stream that is there already.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        scheme: &'static str,
    ) -> Self {
        let (requests, connection) =
            in_time("a handshake", h2::client::handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests, scheme }
    }

    /// A GET with each of these `Authorization` values ("": none), all at once, over several
    /// connections: on one a server need not allow that many (RFC 9113 §5.1.2). Their statuses.
    pub async fn get_at_once(to: SocketAddr, path: &str, authorizations: &[String]) -> Vec<u16> {
        let connections = authorizations.chunks(STREAMS).map(async |authorizations| {
            let client = Self::open(to).await;
            let requests = authorizations.iter().map(async |value| {
                let headers: &[_] = &[("authorization", value.as_str())];
                client.get(path, if value.is_empty() { &[] } else { headers }).await.status
            });
            futures_util::future::join_all(requests).await
        });
        futures_util::future::join_all(connections).await.concat()
    }

    /// A request without a body.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, b"").await.unwrap()
    }

    /// Opens a stream for another protocol (RFC 8441 §4), with fields that belong to HTTP/1.1 beside it.
    pub async fn connect(
        &self,
        protocol: &str,
        path: &str,
        authorization: &str,
    ) -> (http::Response<()>, SendStream<Bytes>, RecvStream) {
        let request = Request::builder()
            .method("CONNECT")
            .uri(format!("{}://api.test{path}", self.scheme))
            .version(http::Version::HTTP_2)
            .header("sec-websocket-key", "the callers own")
            .extension(Protocol::from(protocol));
        let request = match authorization {
            "" => request,
            value => request.header("authorization", value),
        };
        let mut requests = in_time("a stream", self.requests.clone().ready()).await.unwrap();
        super::eventually("the setting of RFC 8441", async || {
            requests.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        let (response, sending) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        let (head, receiving) = in_time("an answer", response).await.unwrap().into_parts();
        (http::Response::from_parts(head, ()), sending, receiving)
    }

    /// Any request; an error where the stream was reset.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, h2::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}://api.test{path}", self.scheme))
            .version(http::Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = in_time("a stream", self.requests.clone().ready()).await?;
        let (response, mut stream) =
            requests.send_request(request.body(()).unwrap(), body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        let response = in_time("an answer", response).await?;
        let mut answer = Response {
            status: response.status().as_u16(),
            headers: fields(response.headers()),
            complete: true,
            ..Response::default()
        };
        let mut body = response.into_body();
        while let Some(data) = in_time("data", body.data()).await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            answer.body.extend(data);
        }
        answer.trailers =
            in_time("trailers", body.trailers()).await?.as_ref().map(fields).unwrap_or_default();
        Ok(answer)
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
