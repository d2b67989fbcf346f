//! A form to a token or introspection endpoint (RFC 6749 §3.2, RFC 7662 §2.1).

use std::borrow::Cow;

use form_urlencoded::Serializer;
use http::{HeaderValue, Uri};

use super::OutboundFailure;
use super::authenticate::{self, Audiences};
use crate::base::time::UnixSeconds;
use crate::config::ClientAuthentication;
use crate::oauth::Issuer;

/// A question to an authorization server, asked by a client that authenticates.
///
/// No `Debug`: a parameter can be a token.
pub struct FormRequest<'a> {
    /// Where it goes; a query there is kept.
    pub endpoint: &'a Uri,
    /// What is asked. The caller names each parameter once, but for `resource` (RFC 8707 §2).
    pub parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Who asks. Its own fixed parameters go along, where they say nothing about what is asked
    /// and by whom.
    pub client: &'a ClientAuthentication,
    /// The audience of a `private_key_jwt`.
    pub issuer: &'a Issuer,
    /// Its audience where the settings say so; `None`: not known.
    pub token_endpoint: Option<&'a Uri>,
    /// The issue time of a `private_key_jwt`.
    pub now: UnixSeconds,
    /// Whether it may be sent again when the connection broke.
    pub tries: Tries,
}

/// How often a question is sent whose connection broke before there was an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tries {
    /// Once more: to ask it twice does no harm.
    Two,
    /// Never again: it spends what may be spent only once (RFC 9700 §4.14.2).
    One,
}

/// A form and its credential, as they are sent.
pub(super) struct Form {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: String,
}

pub(super) fn encode(request: &FormRequest<'_>) -> Result<Form, OutboundFailure> {
    let audiences = Audiences { issuer: request.issuer, token_endpoint: request.token_endpoint };
    let proof = authenticate::prove(request.client, audiences, request.now)?;
    let mut form = Serializer::new(String::new());
    form.extend_pairs(&request.parameters);
    form.extend_pairs(&proof.parameters);
    form.extend_pairs(fixed(request));
    Ok(Form { authorization: proof.authorization, body: form.finish() })
}

/// The fixed parameters of the configuration, less those that the protocol sets itself
/// (RFC 6749 §3.2: no parameter twice).
fn fixed<'a>(request: &'a FormRequest<'_>) -> impl Iterator<Item = (&'a String, &'a String)> {
    let asked = |name: &str| request.parameters.iter().any(|(asked, _)| asked == name);
    let free = move |name: &str| !ClientAuthentication::PROTOCOL.contains(&name) && !asked(name);
    request.client.parameters.iter().filter(move |(name, _)| free(name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FakeServer, Reply, client_of, outbound};
    use super::super::{OutboundClient, OutboundFailure};
    use super::*;
    use crate::base::secret::Secret;
    use crate::config::{BasicEncoding, ClientAuthenticationMethod};
    use crate::oauth::Plaintext;

    fn issuer() -> Issuer {
        Issuer::parse("https://as.test", Plaintext::Refused).unwrap()
    }

    fn basic(id: &str, secret: &str) -> ClientAuthentication {
        let secret = Secret::new(secret);
        client_of(id, ClientAuthenticationMethod::SecretBasic(secret, BasicEncoding::Form))
    }

    fn request<'a>(
        endpoint: &'a Uri,
        client: &'a ClientAuthentication,
        issuer: &'a Issuer,
    ) -> FormRequest<'a> {
        let parameters = vec![
            ("grant_type".into(), "client_credentials".into()),
            ("scope".into(), "a b".into()),
        ];
        let now = UnixSeconds::new(0);
        let tries = Tries::Two;
        FormRequest { endpoint, parameters, client, issuer, token_endpoint: None, now, tries }
    }

    #[test]
    fn fixed_parameters_never_override_the_protocols_own() {
        let mut client = basic("id", "s3cret");
        for name in ClientAuthentication::PROTOCOL.into_iter().chain(["audience"]) {
            client.parameters.insert(name.to_owned(), "fixed".to_owned());
        }
        let (endpoint, issuer) = ("https://as.test/token".parse().unwrap(), issuer());
        let form = encode(&request(&endpoint, &client, &issuer)).unwrap();
        assert_eq!(form.body, "grant_type=client_credentials&scope=a+b&audience=fixed");
    }

    #[tokio::test]
    async fn rfc6749_3_2_a_form_is_posted_once_and_keeps_the_endpoints_query() {
        let server = FakeServer::start(|_| Reply::json("{}")).await;
        let client = OutboundClient::new(&outbound()).unwrap();
        let (endpoint, who, issuer) = (server.url("/token?t=1"), basic("id", "s3cret"), issuer());
        client.post(request(&endpoint, &who, &issuer)).await.unwrap();
        let [seen] = &server.seen()[..] else { panic!("one request") };
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/token?t=1"));
        assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!(seen.header("authorization"), Some("Basic aWQ6czNjcmV0"));
        assert_eq!(seen.body, "grant_type=client_credentials&scope=a+b");
    }

    #[tokio::test]
    async fn a_secret_is_not_sent_in_plaintext_beyond_loopback() {
        let client = OutboundClient::new(&outbound()).unwrap();
        let endpoint = "http://as.test/token".parse().unwrap();
        let (who, issuer) = (basic("id", "s3cret"), issuer());
        let outcome = client.post(request(&endpoint, &who, &issuer)).await;
        assert!(matches!(outcome, Err(OutboundFailure::UnsafeEndpoint)));
    }
}
