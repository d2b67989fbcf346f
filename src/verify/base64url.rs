//! base64url as JOSE has it (RFC 7515 §2): no padding, no blanks, and no spare bits.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};

/// Decodes one part. Spare bits of the last character must be zero (RFC 4648 §3.5): otherwise one
/// token would have several spellings, and a cache or a revocation list would know only one.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STRICT.decode(text).ok()
}

const STRICT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Encodes one part, for tests that make tokens.
#[cfg(test)]
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STRICT.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_3_5_one_text_for_one_value() {
        assert_eq!(decode("YQ"), Some(b"a".to_vec()));
        assert_eq!(decode(""), Some(vec![]));
        for text in ["YR", "YQ==", "YQ=", "Y", "Y Q", "YQ\n", "+/8", "é"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
