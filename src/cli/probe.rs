//! Whether an endpoint of an upstream takes connections: TCP or a Unix socket, and TLS where it
//! is spoken. No request is sent: what it would do is not ours to know.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Endpoint, EndpointAddress, EndpointProtocol, Upstream, tls};

/// Connects as the gateway would, within the upstream's own time-out, and hangs up.
pub(super) async fn connect(upstream: &Upstream, endpoint: &Endpoint) -> Result<String, String> {
    let connecting = handshake(upstream, endpoint);
    match timeout(upstream.timeouts.connect, connecting).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no connection within {:?}", upstream.timeouts.connect)),
    }
}

async fn handshake(upstream: &Upstream, endpoint: &Endpoint) -> Result<String, String> {
    let stream = match &endpoint.address {
        EndpointAddress::Unix(path) => return unix(UnixStream::connect(path).await),
        EndpointAddress::Ip(address) => TcpStream::connect(address).await,
        EndpointAddress::Name(name, port) => TcpStream::connect((&**name, *port)).await,
    };
    let stream = stream.map_err(|error| error.to_string())?;
    if endpoint.protocol != EndpointProtocol::Tls {
        return Ok("takes connections".to_owned());
    }
    let settings = tls::client_config(&upstream.tls).map_err(|error| error.to_string())?;
    let name = tls::server_name(&upstream.tls, &endpoint.address);
    let name = name.map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(settings));
    let secured = connector.connect(name, stream).await;
    secured.map_err(|error| format!("TLS failed: {error}"))?;
    Ok("takes connections, and its certificate is good".to_owned())
}

fn unix(outcome: io::Result<UnixStream>) -> Result<String, String> {
    outcome.map(|_| "takes connections".to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{
        Balance, Ejection, Retries, UpstreamLimits, UpstreamTimeouts, UpstreamTls,
    };

    fn upstream() -> Upstream {
        let second = Duration::from_secs(1);
        Upstream {
            name: "api".into(),
            endpoints: Vec::new(),
            tls: UpstreamTls::default(),
            timeouts: UpstreamTimeouts { connect: second, header: second, idle: second },
            limits: UpstreamLimits { requests: 1, connections: 1, idle_connections: 1 },
            resolve: second,
            balance: Balance::default(),
            eject: Ejection::default(),
            health: None,
            slow_start: Duration::ZERO,
            retries: Retries::default(),
        }
    }

    fn http1(address: EndpointAddress) -> Endpoint {
        Endpoint { protocol: EndpointProtocol::Http1, address }
    }

    #[tokio::test]
    async fn an_endpoint_that_listens_is_good_and_one_that_does_not_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let by_address = http1(EndpointAddress::Ip(address));
        let by_name = http1(EndpointAddress::Name("localhost".into(), address.port()));
        assert!(connect(&upstream(), &by_address).await.is_ok());
        assert!(connect(&upstream(), &by_name).await.is_ok());
        // Bound and not listening: a port that is given back may be another test's by then.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = http1(EndpointAddress::Ip(socket.local_addr().unwrap()));
        let refused = connect(&upstream(), &silent).await.unwrap_err();
        assert!(refused.to_lowercase().contains("refused"), "{refused}");
        let unix = http1(EndpointAddress::Unix("/does/not/exist".into()));
        assert!(connect(&upstream(), &unix).await.is_err());
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_speak_tls_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = EndpointAddress::Ip(listener.local_addr().unwrap());
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let endpoint = Endpoint { protocol: EndpointProtocol::Tls, address };
        let failed = connect(&upstream(), &endpoint).await.unwrap_err();
        assert!(failed.contains("TLS") || failed.contains("CA"), "{failed}");
    }
}
