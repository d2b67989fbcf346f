//! What is asked of a token endpoint.

use std::borrow::Cow;

use crate::base::secret::Secret;
use crate::config::{ClientAuthentication, TokenExchange, TokenType};
use crate::oauth::ScopeSet;
use crate::outbound::Tries;
use crate::policy::details::{self, AUTHORIZATION_DETAILS, DetailRequirement};

/// What is asked of the token endpoint, and by whom.
pub(super) struct TokenRequest<'a> {
    pub(super) client: &'a ClientAuthentication,
    pub(super) grant: Asked<'a>,
    pub(super) scopes: &'a ScopeSet,
    pub(super) resources: &'a [Box<str>],
    pub(super) details: &'a [DetailRequirement],
}

/// The grant, and what it takes.
pub(super) enum Asked<'a> {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §6.
    Refresh(&'a Secret),
    /// RFC 8693 §2.1: for a caller's token, and that of who acts, if anybody is named.
    TokenExchange(&'a TokenExchange, &'a Secret, Option<&'a Secret>),
    /// RFC 7523 §2.1: for a caller's token.
    JwtBearer(&'a Secret),
}

type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

impl TokenRequest<'_> {
    /// The parameters of the grant, of RFC 6749 §3.3, RFC 8707 §2 and RFC 9396 §6. Without scopes
    /// there is no `scope`: an empty one breaks its grammar. A refresh asks for none either, nor for
    /// details, as its token is to have those that the first one had (RFC 6749 §6).
    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters = vec![("grant_type".into(), self.grant.name().into())];
        parameters.extend(self.grant.parameters());
        let is_refresh = matches!(self.grant, Asked::Refresh(_));
        if !self.scopes.is_empty() && !is_refresh {
            parameters.push(("scope".into(), self.scopes.to_string().into()));
        }
        for resource in self.resources {
            parameters.push(("resource".into(), Cow::Borrowed(&**resource)));
        }
        if !self.details.is_empty() && !is_refresh {
            parameters
                .push((AUTHORIZATION_DETAILS.into(), details::parameter(self.details).into()));
        }
        parameters
    }
}

impl Asked<'_> {
    /// A refresh token is spent by its use, and whoever shows it twice loses the grant
    /// (RFC 9700 §4.14.2).
    pub(super) const fn tries(&self) -> Tries {
        match self {
            Self::Refresh(_) => Tries::One,
            Self::ClientCredentials | Self::TokenExchange(..) | Self::JwtBearer(_) => Tries::Two,
        }
    }

    /// Whether it is about a token, beside the client that asks.
    pub(super) const fn shows_a_token(&self) -> bool {
        match self {
            Self::ClientCredentials => false,
            Self::Refresh(_) | Self::TokenExchange(..) | Self::JwtBearer(_) => true,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Refresh(_) => "refresh_token",
            Self::TokenExchange(..) => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer(_) => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        match self {
            Self::ClientCredentials => Vec::new(),
            Self::Refresh(token) => vec![("refresh_token".into(), token.expose().into())],
            Self::JwtBearer(token) => vec![("assertion".into(), token.expose().into())],
            Self::TokenExchange(settings, subject, actor) => exchange(settings, subject, *actor),
        }
    }
}

fn exchange<'a>(
    settings: &'a TokenExchange,
    subject: &'a Secret,
    actor: Option<&'a Secret>,
) -> Vec<Parameter<'a>> {
    let mut parameters: Vec<Parameter<'a>> = Vec::new();
    for audience in &settings.audiences {
        parameters.push(("audience".into(), Cow::Borrowed(&**audience)));
    }
    if let Some(requested) = settings.requested_token_type {
        parameters.push(("requested_token_type".into(), requested.uri().into()));
    }
    parameters.push(("subject_token".into(), subject.expose().into()));
    parameters.push(("subject_token_type".into(), settings.subject_token_type.uri().into()));
    // RFC 8693 §2.1: its type goes with it, and never alone.
    if let Some(actor) = actor {
        parameters.push(("actor_token".into(), actor.expose().into()));
        parameters.push(("actor_token_type".into(), TokenType::AccessToken.uri().into()));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::super::testing::scopes;
    use super::*;
    use crate::base::secret::Secret;
    use crate::config::{BasicEncoding, ClientAuthenticationMethod};
    use crate::outbound::testing::client_of;

    fn form(grant: Asked<'_>, asked: &str, resources: &[Box<str>]) -> String {
        form_with(grant, asked, (resources, &[]))
    }

    fn form_with(
        grant: Asked<'_>,
        asked: &str,
        (resources, details): (&[Box<str>], &[DetailRequirement]),
    ) -> String {
        let method = ClientAuthenticationMethod::SecretBasic(Secret::new("s"), BasicEncoding::Form);
        let (client, scopes) = (client_of("id", method), scopes(asked));
        let request = TokenRequest { client: &client, grant, scopes: &scopes, resources, details };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(request.parameters());
        form.finish()
    }

    fn settings() -> TokenExchange {
        TokenExchange {
            subject_token_type: TokenType::AccessToken,
            requested_token_type: None,
            audiences: vec![],
            actor: None,
        }
    }

    /// The request of RFC 8693 §2.3, its parameters in our order.
    #[test]
    fn rfc8693_2_3_the_example_request() {
        let subject = Secret::new("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC");
        let resource = ["https://backend.example.com/api".into()];
        let sent = form(Asked::TokenExchange(&settings(), &subject, None), "", &resource);
        assert_eq!(
            sent,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &resource=https%3A%2F%2Fbackend.example.com%2Fapi"
        );
    }

    #[test]
    fn rfc8693_2_1_each_audience_is_a_parameter_and_an_actor_has_its_type() {
        let (subject, actor) = (Secret::new("s"), Secret::new("a"));
        let settings = TokenExchange {
            audiences: vec!["one".into(), "two".into()],
            requested_token_type: Some(TokenType::Jwt),
            subject_token_type: TokenType::Jwt,
            ..settings()
        };
        let sent = form(Asked::TokenExchange(&settings, &subject, Some(&actor)), "b a", &[]);
        assert_eq!(
            sent,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &audience=one&audience=two\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
             &subject_token=s&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
             &actor_token=a\
             &actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &scope=a+b"
        );
        let alone = form(Asked::TokenExchange(&settings, &subject, None), "", &[]);
        assert!(!alone.contains("actor_token"), "{alone}");
    }

    /// The request of RFC 7523 §4, with `scope` in place of its `code`.
    #[test]
    fn rfc7523_2_1_the_callers_token_is_the_assertion() {
        let assertion = Secret::new("eyJhbGciOiJFUzI1NiJ9.eyJpc3Mi.J9l-ZhwP");
        assert_eq!(
            form(Asked::JwtBearer(&assertion), "a", &[]),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer\
             &assertion=eyJhbGciOiJFUzI1NiJ9.eyJpc3Mi.J9l-ZhwP&scope=a"
        );
    }

    #[test]
    fn rfc9396_6_every_grant_asks_for_details_and_a_refresh_does_not() {
        let details =
            [DetailRequirement { kind: "account_information".into(), ..Default::default() }];
        let (token, settings) = (Secret::new("t"), settings());
        let expected = "&authorization_details=%5B%7B%22type%22%3A%22account_information%22%7D%5D";
        for (grant, is_sent) in [
            (Asked::ClientCredentials, true),
            (Asked::TokenExchange(&settings, &token, None), true),
            (Asked::JwtBearer(&token), true),
            (Asked::Refresh(&token), false),
        ] {
            let sent = form_with(grant, "a", (&[], &details));
            assert_eq!(sent.ends_with(expected), is_sent, "{sent}");
            assert_eq!(sent.contains("details"), is_sent, "{sent}");
        }
    }

    /// The request of RFC 6749 §6.
    #[test]
    fn rfc6749_6_the_example_request_is_sent_once() {
        let token = Secret::new("tGzv3JOkF0XG5Qx2TlKWIA");
        let asked = Asked::Refresh(&token);
        assert_eq!(asked.tries(), Tries::One);
        assert_eq!(
            form(asked, "a", &[]),
            "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA"
        );
    }
}
