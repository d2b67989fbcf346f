//! The opening handshake of WebSocket as a client makes it (RFC 6455 §4.1).

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue};

/// What a server must answer to a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExpectedAccept(String);

impl ExpectedAccept {
    /// To the key in a request; `None` without one, or with several: nothing can then be agreed.
    pub fn to(headers: &HeaderMap) -> Option<Self> {
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).into_iter();
        let key = keys.next().filter(|_| keys.next().is_none())?;
        // What base64 of SHA-1 is used for here is to show that a server speaks WebSocket; nothing
        // secret hangs on it.
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(key.as_bytes());
        context.update(GUID);
        Some(Self(STANDARD.encode(context.finish())))
    }

    /// Whether an answer has it, once.
    pub fn stands_in(&self, headers: &HeaderMap) -> bool {
        let mut accepted = headers.get_all(SEC_WEBSOCKET_ACCEPT).into_iter();
        accepted.next().is_some_and(|accept| accept == self.0.as_str()) && accepted.next().is_none()
    }
}

/// Begins a handshake of our own, for a caller over HTTP/2, which has none of these fields
/// (RFC 8441 §5). `nonce` must be random.
pub fn begin_handshake(headers: &mut HeaderMap, nonce: [u8; 16]) {
    headers.remove(SEC_WEBSOCKET_ACCEPT);
    if let Ok(key) = HeaderValue::from_str(&STANDARD.encode(nonce)) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
}

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_1_3_the_answer_to_the_key_of_the_example() {
        let mut request = HeaderMap::new();
        assert_eq!(ExpectedAccept::to(&request), None);
        request.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let expected = ExpectedAccept::to(&request).unwrap();
        let mut answer = HeaderMap::new();
        assert!(!expected.stands_in(&answer));
        let right = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        answer.append(SEC_WEBSOCKET_ACCEPT, right.clone());
        assert!(expected.stands_in(&answer));
        answer.append(SEC_WEBSOCKET_ACCEPT, right);
        assert!(!expected.stands_in(&answer), "twice");
        request.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(ExpectedAccept::to(&request), None, "two keys");
    }

    #[test]
    fn rfc8441_5_a_handshake_of_our_own_has_a_fresh_key() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("the caller's"));
        begin_handshake(&mut headers, *b"the sample nonce");
        assert_eq!(headers[SEC_WEBSOCKET_KEY], "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(headers[SEC_WEBSOCKET_VERSION], "13");
    }
}
