//! Who a caller of the revocation endpoint says to be, and by which secret (RFC 6749 §2.3.1): what it
//! could guess here as well as at the authorization server, which sees the gateway alone. Pure.

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use super::Form;
use crate::base::digest::Digest;
use crate::credential::{self, Accept, Credential};
use crate::oauth::ClientId;
use crate::outbound::Answer;

/// A client, and a digest of what it shows.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Suspect {
    pub(super) client_id: ClientId,
    pub(super) pair: Digest,
}

impl Suspect {
    /// Reads it. `None` where no secret is shown. What cannot be read is shown by nobody's name: it
    /// may be read at the server.
    ///
    /// # Errors
    /// When a secret is in the field and in the form, or one is there more than once (RFC 6749 §2.3):
    /// which of them counts is up to the server.
    pub(super) fn read(headers: &HeaderMap, form: &Form) -> Result<Option<Self>, &'static str> {
        let in_form = match form.all("client_secret").as_slice() {
            [] => None,
            [secret] => Some(secret.clone()),
            [_, _, ..] => return Err("client_secret is there more than once"),
        };
        let mut credentials = headers.get_all(AUTHORIZATION).iter();
        let (client_id, secret) = match (credentials.next(), in_form, credentials.next()) {
            (_, _, Some(_)) => return Err("more than one Authorization field"),
            (Some(_), Some(_), _) => return Err("more than one way of client authentication"),
            (None, None, _) => return Ok(None),
            (None, Some(secret), _) => match form.all("client_id").as_slice() {
                [one] => (one.clone(), secret.into_bytes()),
                [] => (String::new(), secret.into_bytes()),
                [_, _, ..] => return Err("client_id is there more than once"),
            },
            (Some(field), None, _) => (named_in(headers), field.as_bytes().to_vec()),
        };
        let pair = Digest::of_parts(&[client_id.as_bytes(), &secret]);
        Ok(Some(Self { client_id: ClientId::new(client_id), pair }))
    }
}

/// The key of a Basic credential, decoded (RFC 6749 §2.3.1): however it is spelled, it is one.
fn named_in(headers: &HeaderMap) -> String {
    let accept = Accept { bearer: false, basic: true, dpop: false };
    match credential::extract(accept, headers, None) {
        Ok(Credential::Basic(credential)) => {
            let spaced = credential.client_id.as_str().replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        }
        Ok(Credential::Bearer(_) | Credential::Dpop(_)) | Err(_) => String::new(),
    }
}

/// Whether the server says that the secret is wrong (RFC 6749 §5.2).
pub(super) fn is_wrong(said: &Answer) -> bool {
    let says_so = || {
        let error = said.json().ok();
        error.is_some_and(|error| error.string("error") == Ok(Some("invalid_client")))
    };
    said.status == StatusCode::UNAUTHORIZED || (said.status.is_client_error() && says_so())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn read(fields: &[String], form: &str) -> Result<Option<Suspect>, &'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, field.parse().unwrap());
        }
        Suspect::read(&headers, &Form::of(form))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    #[test]
    fn rfc6749_2_3_1_a_client_is_known_in_the_field_and_in_the_form() {
        let whose = |fields: &[String], form: &str| {
            read(fields, form).unwrap().map(|one| one.client_id.as_str().to_owned())
        };
        assert_eq!(whose(&[], "token=t&client_id=a"), None, "a public client guesses nothing");
        assert_eq!(whose(&[], "client_id=a&client_secret=b"), Some("a".to_owned()));
        assert_eq!(whose(&[], "client_secret=b"), Some(String::new()));
        for spelling in ["a c:b", "a+c:b", "a%20c:b", "%61+c:b"] {
            assert_eq!(whose(&[basic(spelling)], ""), Some("a c".to_owned()), "{spelling}");
        }
        for strange in ["Basic ???", "Bearer x", "Basic"] {
            assert_eq!(whose(&[strange.to_owned()], ""), Some(String::new()), "{strange}");
        }
        let pair = |secret: &str| read(&[], &format!("client_id=a&client_secret={secret}"));
        assert_eq!(pair("b"), pair("b"));
        assert_ne!(pair("b"), pair("c"));
        assert_ne!(read(&[basic("a:b")], ""), read(&[basic("a:c")], ""));
    }

    #[test]
    fn rfc6749_2_3_a_client_authenticates_in_one_way() {
        for (fields, form) in [
            (vec![basic("a:b")], "client_id=c&client_secret=d"),
            (vec![basic("a:b"), basic("a:c")], ""),
            (vec![], "client_id=a&client_secret=b&client_secret=c"),
            (vec![], "client_id=a&client_id=c&client_secret=b"),
        ] {
            assert!(read(&fields, form).is_err(), "{form}");
        }
    }
}
