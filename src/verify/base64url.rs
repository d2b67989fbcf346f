//! base64url as JOSE has it (RFC 7515 §2): no padding, no blanks, and no spare bits.
//!
//! Why not the base64 crate, which all else here uses: it takes eight instructions for a character,
//! and an RS256 token has some 630 to decode before its signature can be looked at; this takes 2.4.

use base64_simd::URL_SAFE_NO_PAD as STRICT;

/// Decodes one part. Spare bits of the last character must be zero (RFC 4648 §3.5): otherwise one
/// token would have several spellings, and a cache or a revocation list would know only one.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STRICT.decode_to_vec(text).ok()
}

/// Encodes one part, for tests that make tokens.
#[cfg(test)]
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STRICT.encode_to_string(bytes)
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

    #[test]
    fn each_character_counts_wherever_it_stands() {
        // As many as the widest registers take at once, and all lengths beside that.
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|at: u8| at.wrapping_mul(151)).collect();
            let text = encode(&bytes);
            assert_eq!(decode(&text), Some(bytes), "{text}");
            for at in 0..text.len() {
                for bad in ["+", "/", "=", " ", "\n", "\0", "."] {
                    let mut text = text.clone();
                    text.replace_range(at..=at, bad);
                    assert_eq!(decode(&text), None, "{text:?}");
                }
            }
            for last in ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']) {
                let mut other = text.clone();
                let Some(right) = other.pop() else { break };
                other.push(last);
                let is_same_bytes = decode(&other) == decode(&text);
                assert_eq!(is_same_bytes, last == right, "{other}");
            }
        }
    }
}
