//! HTTP/1.1 by hand: any bytes out, and the answer read exactly as it is framed.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Response;
use super::in_time;

/// A connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one.
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes. That the other side has closed is for the reader to see.
    pub async fn write(&mut self, bytes: &[u8]) {
        drop(in_time("a write", self.stream.write_all(bytes)).await);
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// The answer to a request with that method; 100 is passed over.
    pub async fn response(&mut self, method: &str) -> Response {
        loop {
            let response = self.head().await;
            if response.status != 100 {
                return self.body(response, method).await;
            }
        }
    }

    /// Status line and fields.
    pub async fn head(&mut self) -> Response {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.take(end + 4);
            }
            assert!(self.more().await, "closed inside a head: {:?}", lossy(&self.buffer));
        };
        let text = lossy(&head);
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok());
        Response {
            status: status.unwrap_or_else(|| panic!("no status line in {text:?}")),
            headers: lines.map(field).collect(),
            ..Response::default()
        }
    }

    /// The status of the next answer, or 0 if the other side closes without one.
    pub async fn status(&mut self) -> u16 {
        while find(&self.buffer, b"\r\n\r\n").is_none() {
            if !self.more().await {
                return 0;
            }
        }
        self.head().await.status
    }

    /// Reads until the other side closes; what came.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads until a text has come.
    pub async fn receives(&mut self, text: &str) {
        while find(&self.buffer, text.as_bytes()).is_none() {
            assert!(self.more().await, "closed before {text:?}: {:?}", lossy(&self.buffer));
        }
    }

    /// Whether the other side closes without another byte.
    pub async fn closes(&mut self) -> bool {
        !self.more().await && self.buffer.is_empty()
    }

    async fn body(&mut self, mut response: Response, method: &str) -> Response {
        let length = response.header("content-length").parse::<usize>().ok();
        let chunked = response.header("transfer-encoding").eq_ignore_ascii_case("chunked");
        response.complete = true;
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return response;
        }
        if chunked {
            return self.chunks(response).await;
        }
        let Some(length) = length else {
            response.body = self.rest().await;
            return response;
        };
        while self.buffer.len() < length && self.more().await {}
        response.complete = self.buffer.len() >= length;
        response.body = self.take(length.min(self.buffer.len()));
        response
    }

    async fn chunks(&mut self, mut response: Response) -> Response {
        loop {
            let Some(line) = self.line().await else { break };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            if size == 0 {
                while let Some(line) = self.line().await {
                    if line.is_empty() {
                        return response;
                    }
                    response.trailers.push(field(&line));
                }
                break;
            }
            while self.buffer.len() < size + 2 {
                if !self.more().await {
                    response.body.append(&mut self.buffer);
                    response.complete = false;
                    return response;
                }
            }
            response.body.extend(self.take(size));
            self.take(2);
        }
        response.complete = false;
        response
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2);
                return Some(lossy(&line).trim_end().to_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    /// Reads what there is; false at the end. A reset is an end.
    async fn more(&mut self) -> bool {
        self.buffer.reserve(65_536);
        in_time("a read", self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0) > 0
    }
}

/// Sends bytes on a connection of their own, and reads until the other side closes or is silent
/// with a whole answer given.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> Response {
    let mut connection = Connection::open(to).await;
    connection.write(bytes).await;
    let method = lossy(bytes).split(' ').next().unwrap_or_default().to_owned();
    connection.response(&method).await
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
