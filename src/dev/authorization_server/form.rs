//! The parameters of a request to an endpoint (RFC 6749 §3.2).

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;

use super::answer::OAuthError;

/// The parameters of a form body: each stands once, but `resource` (RFC 8707 §2); one without a
/// value counts as left out.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub(super) fn parse(request: &Request<Bytes>) -> Result<Self, OAuthError> {
        if !is_form(request) {
            return Err(OAuthError::InvalidRequest("the body is no form"));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(request.body()) {
            if parameters.len() == PARAMETERS {
                return Err(OAuthError::InvalidRequest("too many parameters"));
            }
            if name != "resource" && parameters.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::InvalidRequest("a parameter stands twice"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub(super) fn one(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may stand several times.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let of_that_name = self.0.iter().filter(move |(known, _)| known == name);
        of_that_name.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn is_form(request: &Request<Bytes>) -> bool {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Each new name is compared with all before it, so their number is bounded beside the body's.
const PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Result<Form, OAuthError> {
        let request = Request::post("/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        Form::parse(&request)
    }

    #[test]
    fn rfc6749_3_2_a_parameter_stands_once_and_an_empty_one_is_left_out() {
        let parsed = form("a=1%2B+2&b=&resource=x&resource=y").unwrap();
        assert_eq!(parsed.one("a"), Some("1+ 2"));
        assert_eq!(parsed.one("b"), None);
        assert_eq!(parsed.all("resource").collect::<Vec<_>>(), ["x", "y"]);
        for body in ["a=1&a=1", "a=&a=1", "%61=1&a=2", &"resource=x&".repeat(33)] {
            assert!(matches!(form(body), Err(OAuthError::InvalidRequest(_))), "{body}");
        }
    }

    #[test]
    fn another_media_type_is_no_form() {
        for media_type in ["application/json", "text/plain", ""] {
            let request = Request::post("/token").header(CONTENT_TYPE, media_type);
            let request = request.body(Bytes::from_static(b"a=1")).unwrap();
            assert!(Form::parse(&request).is_err(), "{media_type}");
        }
    }
}
