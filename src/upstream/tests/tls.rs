use super::*;
use crate::base::secret::Secret;
use crate::config::UpstreamTls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A CA and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }
}

/// A TLS upstream with a certificate for `name`, which answers over HTTP/1.1 or HTTP/2.
async fn start(ca: &Authority, name: &str, alpn: &'static str, demands_client: bool) -> Raw {
    let (certificate, key) = ca.sign(name);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate.clone()).unwrap();
    let builder = match demands_client {
        false => builder.with_no_client_auth(),
        true => builder.with_client_cert_verifier(
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap(),
        ),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Raw::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if alpn == "h2" {
                let mut connection: h2::server::Connection<_, bytes::Bytes> =
                    h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().scheme_str(), Some("https"));
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data("ok".into(), true).unwrap();
                }
            } else {
                while !read_head(&mut stream).await.is_empty() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            }
        }
    })
    .await
}

fn upstream(raw: &Raw, tls: UpstreamTls) -> Upstream {
    let endpoint = config::Endpoint {
        protocol: EndpointProtocol::Tls,
        address: EndpointAddress::Name("localhost".into(), raw.address.port()),
    };
    Upstream::new(config::Upstream { tls, ..settings(vec![endpoint]) }, 1, events()).unwrap()
}

fn trusting(ca: &Authority) -> UpstreamTls {
    UpstreamTls { ca: Some(vec![ca.certificate.clone()]), ..UpstreamTls::default() }
}

#[tokio::test]
async fn the_protocol_is_agreed_by_alpn_and_connections_are_kept() {
    let ca = Authority::new();
    for alpn in ["h2", "http/1.1"] {
        let raw = start(&ca, "localhost", alpn, false).await;
        let upstream = upstream(&raw, trusting(&ca));
        for _ in 0..3 {
            assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok", "{alpn}");
        }
        assert_eq!(raw.connections(), 1, "{alpn}");
    }
}

#[tokio::test]
async fn requests_at_once_open_one_connection_where_it_turns_out_to_be_http2() {
    let ca = Authority::new();
    let raw = start(&ca, "localhost", "h2", false).await;
    let upstream = upstream(&raw, trusting(&ca));
    let answers = futures_util::future::join_all((0..20).map(|_| get(&upstream, "/"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn rfc9110_4_3_4_a_wrong_name_or_chain_is_refused_and_nothing_is_sent() {
    let (ca, other) = (Authority::new(), Authority::new());
    for (name, tls) in [
        ("other.test", trusting(&ca)),
        ("localhost", trusting(&other)),
        ("localhost", UpstreamTls { server_name: Some("api.test".into()), ..trusting(&ca) }),
    ] {
        // It answers before it reads anything of a request: only a handshake that holds gets there.
        let raw = start(&ca, name, "http/1.1", false).await;
        let outcome = get(&upstream(&raw, tls), "/").await;
        assert_eq!(outcome.err(), Some(UpstreamFailure::Tls), "{name}");
    }
}

#[tokio::test]
async fn the_name_in_the_certificate_can_be_set() {
    let ca = Authority::new();
    let raw = start(&ca, "api.test", "http/1.1", false).await;
    let tls = UpstreamTls { server_name: Some("api.test".into()), ..trusting(&ca) };
    assert_eq!(text(get(&upstream(&raw, tls), "/").await.unwrap()).await, "ok");
}

#[tokio::test]
async fn our_certificate_is_presented_where_it_is_asked_for() {
    let ca = Authority::new();
    let raw = start(&ca, "localhost", "http/1.1", true).await;
    let (certificate, key) = ca.sign("gateway.test");
    let identity = Some((vec![certificate], Secret::new(key.serialize_pem())));
    let with = UpstreamTls { identity, ..trusting(&ca) };
    assert_eq!(text(get(&upstream(&raw, with), "/").await.unwrap()).await, "ok");
    let without = get(&upstream(&raw, trusting(&ca)), "/").await.err();
    assert!(matches!(without, Some(UpstreamFailure::Tls | UpstreamFailure::Reset)), "{without:?}");
}

#[test]
fn settings_that_cannot_work_are_told_at_load() {
    let endpoint = config::Endpoint {
        protocol: EndpointProtocol::Tls,
        address: EndpointAddress::Name("not a name".into(), 443),
    };
    let ca = Authority::new();
    let settings = |tls| config::Upstream { tls, ..settings(vec![endpoint.clone()]) };
    let wrong_name = Upstream::new(settings(trusting(&ca)), 1, events());
    assert!(matches!(wrong_name, Err(UpstreamError::ServerName(_))));
    let identity = Some((vec![ca.certificate.clone()], Secret::new("no key")));
    let wrong_key = Upstream::new(settings(UpstreamTls { identity, ..trusting(&ca) }), 1, events());
    assert!(matches!(wrong_key, Err(UpstreamError::KeyUnreadable)));
    let no_roots = UpstreamTls { ca: Some(Vec::new()), ..UpstreamTls::default() };
    assert!(matches!(Upstream::new(settings(no_roots), 1, events()), Err(UpstreamError::CaEmpty)));
}
