//! Tokens from a token endpoint by client credentials (RFC 6749 §4.4), as any client gets them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::{StatusCode, Uri};
use rustls_pki_types::CertificateDer;

use crate::base::secret::{Secret, SecretSource};
use crate::base::time;
use crate::config::{BasicEncoding, ClientAuthentication, ClientAuthenticationMethod, Outbound};
use crate::oauth::{Claims, ClientId, Issuer, Plaintext, ScopeSet};
use crate::outbound::{Answer, FormRequest, OutboundClient, OutboundError, OutboundFailure, Tries};

/// Who asks for tokens, where, and for what.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The token endpoint: https, or http on loopback.
    pub endpoint: Uri,
    /// Who it is there.
    pub client_id: ClientId,
    /// Its secret, sent as `client_secret_basic`.
    pub client_secret: Secret,
    /// What is asked for; empty: the server's default.
    pub scopes: ScopeSet,
    /// The only authorities that count for the endpoint's certificate; absent: the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

/// Why there are no tokens.
#[derive(Debug)]
pub enum FetchError {
    /// No client could be made.
    Client(OutboundError),
    /// The endpoint is no URL of a token endpoint.
    Endpoint,
    /// No answer came.
    Failed(OutboundFailure),
    /// The answer was no: its status, and its `error` (RFC 6749 §5.2) as far as it has one.
    Refused(StatusCode, Option<String>),
    /// The answer has no bearer token.
    NoToken,
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(formatter),
            Self::Endpoint => formatter.write_str(
                "--token-endpoint is no URL that secrets may be sent to; write https://…, or \
                 http:// for one on loopback",
            ),
            Self::Failed(failure) => write!(
                formatter,
                "the token endpoint gave no answer: {failure}; see whether --token-endpoint is right"
            ),
            Self::Refused(status, None) => {
                write!(formatter, "the token endpoint answers {status}")
            }
            Self::Refused(status, Some(code)) => write!(
                formatter,
                "the token endpoint answers {status}, {code:?}; see whether --client-id, \
                 --client-secret and --scope are right"
            ),
            Self::NoToken => {
                formatter.write_str("the token endpoint's answer has no token of type Bearer")
            }
        }
    }
}

impl std::error::Error for FetchError {}

impl ClientCredentials {
    /// Asks for `count` tokens, a few at a time; `done` is called with how many there are.
    ///
    /// Whether they differ is the server's choice: some give the same token out until it expires.
    ///
    /// # Errors
    /// [`FetchError`], the first one that occurs.
    pub async fn fetch(
        &self,
        count: usize,
        done: impl Fn(usize),
    ) -> Result<Vec<String>, FetchError> {
        let client = OutboundClient::new(&self.outbound()).map_err(FetchError::Client)?;
        let asking = stream::iter(0..count).map(|_| self.one(&client)).buffered(AT_ONCE);
        let mut asking = std::pin::pin!(asking);
        let mut tokens = Vec::with_capacity(count);
        while let Some(token) = asking.next().await {
            tokens.push(token?);
            done(tokens.len());
        }
        Ok(tokens)
    }

    async fn one(&self, client: &OutboundClient) -> Result<String, FetchError> {
        // It would be the audience of an assertion, and there is none: any name serves.
        let issuer = Issuer::parse(&self.endpoint_alone(), Plaintext::Allowed);
        let authentication = ClientAuthentication {
            client_id: self.client_id.clone(),
            method: ClientAuthenticationMethod::SecretBasic(
                self.client_secret.clone(),
                BasicEncoding::Form,
            ),
            parameters: Default::default(),
        };
        let request = FormRequest {
            endpoint: &self.endpoint,
            parameters: self.parameters(),
            client: &authentication,
            issuer: &issuer.map_err(|_| FetchError::Endpoint)?,
            token_endpoint: Some(&self.endpoint),
            now: time::now().unix,
            tries: Tries::Two,
        };
        read(&client.post(request).await.map_err(|failure| match failure {
            OutboundFailure::UnsafeEndpoint => FetchError::Endpoint,
            failure => FetchError::Failed(failure),
        })?)
    }

    /// As the gateway itself asks.
    fn outbound(&self) -> Outbound {
        Outbound {
            ca: self.authorities.clone(),
            ca_file: None,
            proxy: None,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            max_response: 1 << 20,
        }
    }

    /// Without its query, which an issuer has not.
    fn endpoint_alone(&self) -> String {
        self.endpoint.to_string().split('?').next().unwrap_or_default().to_owned()
    }

    fn parameters(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut parameters = vec![("grant_type".into(), "client_credentials".into())];
        if !self.scopes.is_empty() {
            parameters.push(("scope".into(), self.scopes.to_string().into()));
        }
        parameters
    }
}

/// Reads the answer (RFC 6749 §5). What is in the token is for the gateway to judge.
fn read(answer: &Answer) -> Result<String, FetchError> {
    let body = answer.json().ok();
    let text = |name: &'static str| {
        let body: &Claims = body.as_ref()?;
        body.string(name).ok().flatten()
    };
    if answer.status != StatusCode::OK {
        let code = text("error").map(|code| code.chars().take(CODE_MAX_CHARS).collect());
        return Err(FetchError::Refused(answer.status, code));
    }
    let is_bearer = text("token_type").is_some_and(|of| of.eq_ignore_ascii_case("bearer"));
    let token = text("access_token").filter(|_| is_bearer);
    token.map(str::to_owned).ok_or(FetchError::NoToken)
}

/// Where the secret is, as it is written on a command line: `env:NAME` or `file:PATH`. Never the
/// secret itself, which every process of the machine could read there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretArgument(pub SecretSource);

/// The text is neither.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidSecretArgument;

impl fmt::Display for InvalidSecretArgument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "a secret on a command line can be read by others; write env:NAME or file:PATH",
        )
    }
}

impl std::error::Error for InvalidSecretArgument {}

impl FromStr for SecretArgument {
    type Err = InvalidSecretArgument;

    fn from_str(text: &str) -> Result<Self, InvalidSecretArgument> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self(SecretSource::Env(name.to_owned()))),
            Some(("file", path)) if !path.is_empty() => Ok(Self(SecretSource::File(path.into()))),
            _ => Err(InvalidSecretArgument),
        }
    }
}

/// Enough to be quick, and no attack on an authorization server.
const AT_ONCE: usize = 8;
/// An error code of RFC 6749 §5.2 is shorter; what a server sends instead is cut.
const CODE_MAX_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::authorization_server::{AuthorizationServer, RegisteredClient, TokenFormat};
    use crate::oauth::Audience;

    async fn fetched(secret: &str, scopes: &str) -> Result<Vec<String>, FetchError> {
        let shop = RegisteredClient {
            id: ClientId::new("shop"),
            secret: Secret::new("right"),
            scopes: ScopeSet::from_claim("a b"),
            format: TokenFormat::Opaque,
        };
        let server = AuthorizationServer::start(vec![shop], vec![Audience::new("x")]);
        let server = server.await.unwrap();
        let client = ClientCredentials {
            endpoint: format!("{}/token", server.issuer()).parse().unwrap(),
            client_id: ClientId::new("shop"),
            client_secret: Secret::new(secret),
            scopes: ScopeSet::from_claim(scopes),
            authorities: None,
        };
        client.fetch(3, |_| ()).await
    }

    #[tokio::test]
    async fn rfc6749_4_4_so_many_tokens_as_were_asked_for() {
        let mut tokens = fetched("right", "a").await.unwrap();
        tokens.dedup();
        assert_eq!(tokens.len(), 3);
    }

    #[tokio::test]
    async fn rfc6749_5_2_a_refusal_is_told_by_its_code() {
        for (secret, scopes, expected) in
            [("wrong", "a", "invalid_client"), ("right", "c", "invalid_scope")]
        {
            match fetched(secret, scopes).await {
                Err(FetchError::Refused(_, Some(code))) => assert_eq!(code, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_secret_is_named_and_never_written() {
        let env = SecretArgument(SecretSource::Env("A".into()));
        assert_eq!("env:A".parse(), Ok(env));
        let file = SecretArgument(SecretSource::File("a:b".into()));
        assert_eq!("file:a:b".parse(), Ok(file));
        for wrong in ["hunter2", "env:", "file:", "ENV:A", ""] {
            assert_eq!(wrong.parse::<SecretArgument>(), Err(InvalidSecretArgument), "{wrong}");
        }
    }
}
