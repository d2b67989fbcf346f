//! The clients that are registered, and how one proves who it is (RFC 6749 §2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

use super::answer::OAuthError;
use super::form::Form;
use crate::base::secret::Secret;
use crate::oauth::{ClientId, ScopeSet};

/// A client as it is registered.
#[derive(Clone, Debug)]
pub struct RegisteredClient {
    /// Its `client_id`.
    pub id: ClientId,
    /// Its secret.
    pub secret: Secret,
    /// What it may ask for, and what it gets if it does not ask.
    pub scopes: ScopeSet,
    /// What its tokens look like.
    pub format: TokenFormat,
}

/// What a token looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068), which anybody with the key set can check.
    Jwt,
    /// Random characters that only the server itself knows about (RFC 7662).
    Opaque,
}

/// All clients.
#[derive(Debug)]
pub(super) struct Registry(Vec<RegisteredClient>);

impl Registry {
    pub(super) fn new(clients: Vec<RegisteredClient>) -> Self {
        Self(clients)
    }

    /// The client that a request proves to come from, by `client_secret_basic` or
    /// `client_secret_post`.
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<&RegisteredClient, OAuthError> {
        let (id, secret) = presented(headers, form)?;
        let found = self.0.iter().find(|client| client.id.as_str() == id);
        // An unknown client costs a comparison too: the time must not tell which ids exist.
        let nobody = Secret::new("");
        let expected = found.map_or(&nobody, |client| &client.secret);
        let proven = !secret.expose().is_empty() && *expected == secret;
        found.filter(|_| proven).ok_or(OAuthError::InvalidClient)
    }
}

/// The id and secret that a request carries.
fn presented(headers: &HeaderMap, form: &Form) -> Result<(String, Secret), OAuthError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (None, _) => {
            let id = form.one("client_id").ok_or(OAuthError::InvalidClient)?;
            let secret = form.one("client_secret").ok_or(OAuthError::InvalidClient)?;
            Ok((id.to_owned(), Secret::new(secret)))
        }
        // RFC 6749 §2.3: one method in each request.
        (Some(_), _) if form.one("client_secret").is_some() => {
            Err(OAuthError::InvalidRequest("two ways of client authentication"))
        }
        (Some(field), None) => {
            let (id, secret) =
                field.to_str().ok().and_then(basic).ok_or(OAuthError::InvalidClient)?;
            if form.one("client_id").is_some_and(|named| named != id) {
                return Err(OAuthError::InvalidRequest("client_id names another client"));
            }
            Ok((id, secret))
        }
        (Some(_), Some(_)) => Err(OAuthError::InvalidRequest("two Authorization fields")),
    }
}

/// `Basic` (RFC 7617) of an id and a secret that are each form-encoded (RFC 6749 §2.3.1).
fn basic(field: &str) -> Option<(String, Secret)> {
    let (scheme, rest) = field.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim_start()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decoded(id)?, Secret::new(form_decoded(secret)?)))
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn authenticated(
        authorization: Option<&str>,
        body: &'static str,
    ) -> Result<String, OAuthError> {
        let clients = ["shop|s", "a b:c|p%q+é"].map(|line| {
            let (id, secret) = line.split_once('|').unwrap();
            RegisteredClient {
                id: ClientId::new(id),
                secret: Secret::new(secret),
                scopes: ScopeSet::default(),
                format: TokenFormat::Jwt,
            }
        });
        let mut request = Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        if let Some(pair) = authorization {
            let value = format!("bAsIc {}", STANDARD.encode(pair)).parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let form = Form::parse(&request)?;
        let registry = Registry::new(clients.to_vec());
        registry.authenticate(request.headers(), &form).map(|client| client.id.to_string())
    }

    #[test]
    fn rfc6749_2_3_1_id_and_secret_are_form_decoded() {
        let expected = Ok("a b:c".to_owned());
        assert_eq!(authenticated(Some("a+b%3Ac:p%25q%2B%C3%A9"), ""), expected);
        let body = "client_id=a+b%3Ac&client_secret=p%25q%2B%C3%A9";
        assert_eq!(authenticated(None, body), expected);
    }

    #[test]
    fn rfc6749_2_3_a_client_comes_by_one_way_and_with_the_right_secret() {
        let twice = OAuthError::InvalidRequest("two ways of client authentication");
        let other = OAuthError::InvalidRequest("client_id names another client");
        #[rustfmt::skip]
        let cases = [
            (Some("shop:s"),    "",                               Ok("shop".to_owned())),
            (Some("shop:s"),    "client_id=shop",                 Ok("shop".to_owned())),
            (Some("shop:s"),    "client_id=other",                Err(other)),
            (Some("shop:s"),    "client_id=shop&client_secret=s", Err(twice)),
            (Some("shop:"),     "",                               Err(OAuthError::InvalidClient)),
            (Some("shop:S"),    "",                               Err(OAuthError::InvalidClient)),
            (Some("shop"),      "",                               Err(OAuthError::InvalidClient)),
            (Some("nobody:"),   "",                               Err(OAuthError::InvalidClient)),
            (Some("shop:%FF"),  "",                               Err(OAuthError::InvalidClient)),
            (None,              "client_id=shop",                 Err(OAuthError::InvalidClient)),
            (None,              "",                               Err(OAuthError::InvalidClient)),
        ];
        for (pair, body, expected) in cases {
            assert_eq!(authenticated(pair, body), expected, "{pair:?} {body}");
        }
    }
}
