//! Waits until the gateway is able: a newcomer's first curl line must not meet a 503.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::base::net::ListenAddress;

/// Asks `/readyz` of the admin listener until it says yes, for a bounded time: after it the story
/// is told nevertheless, and the lines themselves show what is wrong.
pub(crate) async fn wait(admin: Option<&ListenAddress>) {
    let Some(ListenAddress::Tcp(address)) = admin else {
        return;
    };
    let asking = async {
        while !says_yes(*address).await.unwrap_or(false) {
            sleep(PAUSE).await;
        }
    };
    let _ = timeout(PATIENCE, asking).await;
}

async fn says_yes(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; YES.len()];
    stream.read_exact(&mut start).await?;
    Ok(&start == YES)
}

const YES: &[u8; 13] = b"HTTP/1.1 200 ";
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http::{Request, StatusCode};

    use super::super::loopback::{Port, bare};
    use super::*;

    #[tokio::test]
    async fn it_asks_until_the_answer_is_yes() {
        let port = Port::take().await.unwrap();
        let admin = ListenAddress::Tcp(port.address());
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&asked);
        let _server = port.serve(move |_: &Request<Bytes>, _| {
            let is_first = counter.fetch_add(1, Ordering::Relaxed) == 0;
            bare(if is_first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
        });
        wait(Some(&admin)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
