//! What an authorization server answered.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::oauth::{ClaimError, Claims};

/// An answer, whole, of whatever status. Its body can hold a token, so `Debug` hides it.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After` in seconds, at most [`RETRY_AFTER_MAX`]; a date there is not read.
    pub retry_after: Option<Duration>,
    /// The body, at most `max_response` bytes.
    pub body: Bytes,
    /// `WWW-Authenticate`, as it came.
    pub challenge: Option<HeaderValue>,
    media_type: Option<Box<str>>,
}

impl Answer {
    /// The body as a JSON object with distinct members.
    ///
    /// # Errors
    /// [`ClaimError::NotAnObject`].
    pub fn json(&self) -> Result<Claims, ClaimError> {
        Claims::parse(&self.body)
    }

    /// The media type in lower case, without its parameters.
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Whether the status says that the server cannot answer now: 429 or 5xx.
    pub fn is_outage(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Answer")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body_bytes", &self.body.len())
            .field("media_type", &self.media_type)
            .finish()
    }
}

pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Answer {
    Answer {
        status,
        retry_after: retry_after(headers),
        body,
        challenge: headers.get(header::WWW_AUTHENTICATE).cloned(),
        media_type: media_type(headers),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a u64 holds are a wait all the same, and the bound is what counts.
    let seconds = digits.then(|| text.parse().unwrap_or(u64::MAX))?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn media_type(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    Some(essence.to_ascii_lowercase().into())
}

/// The longest wait that a server can impose: a slip of the pen there must not stop us for a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_10_2_3_retry_after_is_read_in_seconds_and_bounded() {
        for (text, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(3600)),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn debug_shows_no_body() {
        let answer = new(StatusCode::OK, &HeaderMap::new(), Bytes::from_static(b"s3cret"));
        assert!(!format!("{answer:?}").contains("s3cret"));
    }
}
