//! A form that a stranger posts: read whole, within bounds of size and time.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// A form, as it was sent.
pub(super) struct Form(String);

/// Why a body is no form that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FormFault {
    /// Over the bound.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// It is none; why.
    Malformed(&'static str),
}

impl Form {
    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// All parameters of that name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let parameters = form_urlencoded::parse(self.0.as_bytes());
        parameters.filter(|(one, _)| one == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// The parameter of that name, which must be there once and not be empty (RFC 6749 §3.2).
    pub(super) fn only(&self, name: &str) -> Option<String> {
        let mut found = form_urlencoded::parse(self.0.as_bytes()).filter(|(one, _)| one == name);
        let (_, value) = found.next()?;
        (found.next().is_none() && !value.is_empty()).then(|| value.into_owned())
    }
}

#[cfg(test)]
impl Form {
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Reads it. `body` stays where it is not read.
///
/// # Errors
/// When it is no form, too large, or too slow.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Option<Incoming>,
) -> Result<Form, FormFault> {
    if !is_form(headers) {
        return Err(FormFault::Malformed("the body must be application/x-www-form-urlencoded"));
    }
    let announced = body.as_ref().map_or(0, |body| hyper::body::Body::size_hint(body).lower());
    if (FORM_MAX_BYTES as u64) < announced {
        return Err(FormFault::TooLarge);
    }
    let Some(body) = body.take() else { return Ok(Form(String::new())) };
    match timeout(FORM_TIMEOUT, whole(body)).await {
        Ok(read) => read,
        Err(_) => Err(FormFault::TooSlow),
    }
}

async fn whole(mut body: Incoming) -> Result<Form, FormFault> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| FormFault::Malformed("the body broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        if FORM_MAX_BYTES < bytes.len() + data.len() {
            return Err(FormFault::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    let text = String::from_utf8(bytes);
    text.map(Form).map_err(|_| FormFault::Malformed("the body is not UTF-8"))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Twice the longest token, encoded, and a client's assertion beside it.
const FORM_MAX_BYTES: usize = 64 * 1024;
/// For so little over any line.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6749_3_2_a_parameter_stands_once_or_not_at_all() {
        for (text, expected) in [
            ("token=a%2Bb&x=1", Some("a+b")),
            ("token=a&token=a", None),
            ("token=", None),
            ("Token=a", None),
            ("", None),
        ] {
            assert_eq!(Form(text.to_owned()).only("token").as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_form_says_that_it_is_one() {
        for (kind, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", true),
            ("application/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_form(&headers), expected, "{kind}");
        }
    }
}
