//! The one client for calls to authorization servers.
//!
//! Takes an endpoint, and for a `POST` what is asked there and by whom; gives the answer's status
//! and body, whatever the status.
//!
//! # What holds
//! * No redirect is followed: a 307 would carry a secret on (RFC 9110 §15.4.8), and any of them
//!   moves trust to whoever wrote `Location`.
//! * The environment names no proxy, and no switch turns verification of certificates off.
//! * Nothing travels to an endpoint that [`is_safe_endpoint`] refuses.
//! * A call ends within the `timeout` of its server, a second try included, and an answer larger
//!   than `max_response` is an error before it is in memory.
//! * Answers are taken as they are: nothing is decompressed, so a small body stays small.

mod answer;
mod authenticate;
mod failure;
mod form;
#[cfg(test)]
pub(crate) mod testing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::config::{self, tls};

pub use crate::base::net::is_safe_endpoint;
pub use answer::{Answer, RETRY_AFTER_MAX};
pub use failure::{OutboundError, OutboundFailure};
pub use form::{FormRequest, Tries};

/// A pooled HTTP client with the settings of one authorization server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OutboundClient {
    http: reqwest::Client,
    timeout: Duration,
    max_response: usize,
}

impl OutboundClient {
    /// Makes a client that shows no certificate; opens no connection.
    ///
    /// # Errors
    /// When the CA or the proxy cannot be used.
    pub fn new(settings: &config::Outbound) -> Result<Self, OutboundError> {
        Self::made(settings, None)
    }

    /// Makes a client that shows this certificate to whoever asks for one (RFC 8705 §2). It has
    /// connections of its own: what goes over them speaks for its owner.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when certificate and key cannot be used.
    pub fn showing(
        settings: &config::Outbound,
        identity: &config::ClientIdentity,
    ) -> Result<Self, OutboundError> {
        Self::made(settings, Some(identity))
    }

    fn made(
        settings: &config::Outbound,
        identity: Option<&config::ClientIdentity>,
    ) -> Result<Self, OutboundError> {
        let tls = tls::authorization_server_config(settings.ca.as_deref(), identity);
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.map_err(OutboundError::Tls)?)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_MAX)
            .user_agent(USER_AGENT);
        if let Some(proxy) = &settings.proxy {
            let proxy = reqwest::Proxy::all(proxy.to_string());
            builder = builder.proxy(proxy.map_err(|_| OutboundError::Proxy)?);
        }
        let http = builder.build().map_err(|_| OutboundError::Client)?;
        Ok(Self { http, timeout: settings.timeout, max_response: settings.max_response })
    }

    /// Fetches a document: metadata, a key set.
    ///
    /// # Errors
    /// When there is no answer. An answer of any status is none.
    pub async fn get(&self, uri: &Uri) -> Result<Answer, OutboundFailure> {
        self.call(uri, Tries::Two, || Ok(Message { accept: JSON, authorization: None, form: None }))
            .await
    }

    /// Posts a form as a client that authenticates (RFC 6749 §3.2, RFC 7662 §2.1).
    ///
    /// # Errors
    /// When there is no answer. An answer of any status is none.
    pub async fn post(&self, request: FormRequest<'_>) -> Result<Answer, OutboundFailure> {
        self.post_for(request, JSON).await
    }

    /// The same, where an answer of another media type is asked for.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn post_for(
        &self,
        request: FormRequest<'_>,
        accept: HeaderValue,
    ) -> Result<Answer, OutboundFailure> {
        // Made anew for each try: the `jti` of an assertion may be taken only once (RFC 7523 §3).
        self.call(request.endpoint, request.tries, || {
            let form = form::encode(&request)?;
            let accept = accept.clone();
            Ok(Message { accept, authorization: form.authorization, form: Some(form.body) })
        })
        .await
    }

    /// Passes on a form of somebody else, with its own credential; both as they are.
    ///
    /// # Errors
    /// When there is no answer. An answer of any status is none.
    pub async fn relay(
        &self,
        endpoint: &Uri,
        authorization: Option<&HeaderValue>,
        form: &str,
    ) -> Result<Answer, OutboundFailure> {
        let (authorization, form) = (authorization.cloned(), Some(form.to_owned()));
        self.call(endpoint, Tries::Two, || {
            Ok(Message { accept: JSON, authorization: authorization.clone(), form: form.clone() })
        })
        .await
    }

    async fn call<M>(&self, uri: &Uri, tries: Tries, message: M) -> Result<Answer, OutboundFailure>
    where
        M: Fn() -> Result<Message, OutboundFailure>,
    {
        if !is_safe_endpoint(uri) {
            return Err(OutboundFailure::UnsafeEndpoint);
        }
        let url = reqwest::Url::parse(&uri.to_string());
        let url = url.map_err(|_| OutboundFailure::UnsafeEndpoint)?;
        let tries = async {
            match self.once(url.clone(), message()?).await {
                Err(OutboundFailure::Interrupted) if tries == Tries::Two => {
                    self.once(url.clone(), message()?).await
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(self.timeout, tries).await;
        outcome.unwrap_or(Err(OutboundFailure::TimedOut))
    }

    async fn once(&self, url: reqwest::Url, message: Message) -> Result<Answer, OutboundFailure> {
        let method = if message.form.is_some() { Method::POST } else { Method::GET };
        let mut request = self.http.request(method, url).headers(message.headers());
        if let Some(form) = message.form {
            request = request.body(form);
        }
        let mut response = request.send().await.map_err(|error| failure::of(&error))?;
        let body = self.body(&mut response).await?;
        Ok(answer::new(response.status(), response.headers(), body))
    }

    async fn body(&self, response: &mut reqwest::Response) -> Result<Bytes, OutboundFailure> {
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |length| length > self.max_response) {
            return Err(OutboundFailure::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure::of(&error))? {
            if chunk.len() > self.max_response.saturating_sub(body.len()) {
                return Err(OutboundFailure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// What one try sends, the address apart.
struct Message {
    accept: HeaderValue,
    authorization: Option<HeaderValue>,
    form: Option<String>,
}

impl Message {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, self.accept.clone());
        if self.form.is_some() {
            headers.insert(header::CONTENT_TYPE, FORM);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const USER_AGENT: &str = concat!("scopegate/", env!("CARGO_PKG_VERSION"));

/// Under the 60 s after which common balancers drop a connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// More calls than that at once are a burst, and their connections are closed after it.
const POOL_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::testing::{FakeServer, Reply, TestCa, outbound};
    use super::*;

    fn client(settings: &config::Outbound) -> OutboundClient {
        OutboundClient::new(settings).unwrap()
    }

    #[tokio::test]
    async fn a_document_is_asked_for_as_json_and_uncompressed() {
        let server = FakeServer::start(|_| Reply::json("{\"a\":1}")).await;
        let answer = client(&outbound()).get(&server.url("/x?y=z")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.media_type(), Some("application/json"));
        assert_eq!(answer.json().unwrap().len(), 1);
        let [seen] = &server.seen()[..] else { panic!("one request") };
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/x?y=z"));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!(seen.header("accept-encoding"), None);
        assert_eq!(seen.header("authorization"), None);
    }

    #[tokio::test]
    async fn rfc9110_15_4_8_a_redirect_is_an_answer_and_is_not_followed() {
        let server = FakeServer::start(|seen| match seen.target.as_str() {
            "/from" => Reply::new(307).header("location", "/to"),
            _ => Reply::json("{}"),
        })
        .await;
        let answer = client(&outbound()).get(&server.url("/from")).await.unwrap();
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(server.seen().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_over_the_bound_is_an_error_with_and_without_a_length() {
        let server = FakeServer::start(|seen| {
            let reply = Reply::json(&"x".repeat(101));
            if seen.target == "/chunked" { reply.chunked() } else { reply }
        })
        .await;
        let small = config::Outbound { max_response: 100, ..outbound() };
        let exact = config::Outbound { max_response: 101, ..outbound() };
        for path in ["/length", "/chunked"] {
            let refused = client(&small).get(&server.url(path)).await;
            assert!(matches!(refused, Err(OutboundFailure::TooLarge)), "{path}");
            let taken = client(&exact).get(&server.url(path)).await;
            assert_eq!(taken.unwrap().body.len(), 101, "{path}");
        }
    }

    #[tokio::test]
    async fn a_silent_server_is_left_at_the_time_out() {
        let server = FakeServer::start(|_| Reply::json("{}")).await;
        server.hold();
        let hasty = config::Outbound { timeout: Duration::from_millis(30), ..outbound() };
        let outcome = client(&hasty).get(&server.url("/")).await;
        assert!(matches!(outcome, Err(OutboundFailure::TimedOut)));
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        // Bound and not listening: a port that is given back may be another test's by then.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let uri = format!("http://{}/", socket.local_addr().unwrap()).parse().unwrap();
        let outcome = client(&outbound()).get(&uri).await;
        assert!(matches!(outcome, Err(OutboundFailure::Unreachable)), "{outcome:?}");
    }

    #[tokio::test]
    async fn nothing_is_sent_to_an_endpoint_in_plaintext_beyond_loopback() {
        for uri in ["http://as.test/token", "https://169.254.169.254/", "/token"] {
            let outcome = client(&outbound()).get(&uri.parse().unwrap()).await;
            assert!(matches!(outcome, Err(OutboundFailure::UnsafeEndpoint)), "{uri}");
        }
    }

    #[tokio::test]
    async fn a_configured_proxy_is_used() {
        let proxy = FakeServer::start(|_| Reply::json("{}")).await;
        let settings = config::Outbound { proxy: Some(proxy.url("/")), ..outbound() };
        client(&settings).get(&"http://127.0.0.1:9/a".parse().unwrap()).await.unwrap();
        assert_eq!(proxy.seen()[0].target, "http://127.0.0.1:9/a");
    }

    /// The environment of a process belongs to all its tests, so this one runs another again as
    /// a process of its own.
    #[test]
    fn proxies_of_the_environment_are_ignored() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
            again.env(name, "http://127.0.0.1:9");
        }
        let name = "a_document_is_asked_for_as_json_and_uncompressed";
        let output = again.args([&format!("outbound::tests::{name}"), "--exact"]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    }

    #[tokio::test]
    async fn a_connection_that_broke_without_an_answer_is_tried_once_more() {
        let server = FakeServer::start(|_| Reply::json("{}")).await;
        for (breaks, expected) in [(1, true), (2, false)] {
            server.break_next(breaks);
            let before = server.seen().len();
            let outcome = client(&outbound()).get(&server.url("/")).await;
            assert_eq!(outcome.is_ok(), expected, "{breaks}: {outcome:?}");
            assert_eq!(server.seen().len() - before, 2);
        }
    }
    fn trusting(ca: &TestCa) -> OutboundClient {
        client(&config::Outbound { ca: Some(vec![ca.certificate()]), ..outbound() })
    }

    #[tokio::test]
    async fn a_server_under_its_own_ca_is_reached_over_http_2() {
        let ca = TestCa::new();
        let server = FakeServer::start_tls(&ca, "localhost", |_| Reply::json("{}")).await;
        trusting(&ca).get(&server.url("/")).await.unwrap();
        assert_eq!(server.seen()[0].version, http::Version::HTTP_2);
    }

    #[tokio::test]
    async fn rfc8414_6_1_another_ca_or_another_name_gets_nothing() {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let server = FakeServer::start_tls(&ca, "localhost", |_| Reply::json("{}")).await;
        let elsewhere = FakeServer::start_tls(&ca, "as.test", |_| Reply::json("{}")).await;
        let system = client(&outbound());
        for (claim, client, server) in [
            ("another CA", trusting(&other), &server),
            ("the system's CAs", system, &server),
            ("another name", trusting(&ca), &elsewhere),
        ] {
            let outcome = client.get(&server.url("/")).await;
            assert!(matches!(outcome, Err(OutboundFailure::Tls(_))), "{claim}: {outcome:?}");
            assert!(server.seen().is_empty(), "{claim}");
        }
    }

    #[test]
    fn a_certificate_that_is_none_is_an_error() {
        let ca = Some(vec![vec![0; 9].into()]);
        let outcome = OutboundClient::new(&config::Outbound { ca, ..outbound() });
        assert!(matches!(outcome, Err(OutboundError::Tls(_))));
    }
}
