//! SHA-256, as keys of caches and fingerprints of settings.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 of something that must not be kept itself.
///
/// `Debug` and `Display` show eight hex digits: enough to join two log lines, too few to look
/// the original up.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of one byte string. About 0.5 µs for a token of 635 bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self::finish(context)
    }

    /// The digest of several byte strings with their borders: each goes in behind its length, so
    /// that `("a", "b:c")` and `("a:b", "c")` differ.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self::finish(context)
    }

    /// All 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn finish(context: Context) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "{:08x}", u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_between_parts_counts() {
        assert_ne!(Digest::of_parts(&[b"a", b"b:c"]), Digest::of_parts(&[b"a:b", b"c"]));
        assert_ne!(Digest::of_parts(&[b"ab", b""]), Digest::of_parts(&[b"a", b"b"]));
    }

    #[test]
    fn only_eight_hex_digits_are_shown() {
        // SHA-256 of nothing begins e3b0c442 (FIPS 180-4).
        assert_eq!(format!("{0} {0:?}", Digest::of(b"")), "e3b0c442 e3b0c442");
    }
}
