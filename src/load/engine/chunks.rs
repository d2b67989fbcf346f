//! The chunked coding (RFC 9112 §7.1), read only to find its end.

use crate::load::failure::Failure;

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chunks {
    /// In the digits of a chunk's size: the size so far, and how many digits there were.
    Size(u64, u8),
    /// In the rest of the size's line: an extension is skipped.
    Extension(u64),
    /// After the CR of the size's line.
    SizeLine(u64),
    /// So many bytes of data are left.
    Data(u64),
    /// Before the CR that ends the data.
    DataCr,
    /// Before the LF that ends the data.
    DataLf,
    /// At the start of a trailer line, or of the empty one that ends all.
    Trailer,
    /// Within a trailer line.
    TrailerLine,
    /// After the CR of the empty line.
    LastLf,
    /// At the end.
    Done,
}

impl Chunks {
    /// At the start of a body.
    pub(super) const START: Self = Self::Size(0, 0);

    /// Reads on, and says how many bytes belong to the body: all of them, unless it ends in them.
    ///
    /// # Errors
    /// When it is not this coding.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let mut at = 0;
        while *self != Self::Done
            && let Some(byte) = bytes.get(at)
        {
            if let Self::Data(left) = self {
                let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(*left);
                at += usize::try_from(here).unwrap_or(bytes.len());
                *self = if here == *left { Self::DataCr } else { Self::Data(*left - here) };
                continue;
            }
            *self = self.after(*byte).ok_or(Failure::Malformed)?;
            at += 1;
        }
        Ok(at)
    }

    /// The place after a byte that is no data.
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16)?;
                Some(Self::Size(size << 4 | u64::from(digit), digits + 1))
            }
            (Self::Size(_, 0), _) => None,
            (Self::Size(size, _), b';' | b' ' | b'\t') => Some(Self::Extension(size)),
            (Self::Size(size, _) | Self::Extension(size), b'\r') => Some(Self::SizeLine(size)),
            (Self::Extension(size), _) if byte != b'\n' => Some(Self::Extension(size)),
            (Self::SizeLine(0), b'\n') => Some(Self::Trailer),
            (Self::SizeLine(size), b'\n') => Some(Self::Data(size)),
            (Self::DataCr, b'\r') => Some(Self::DataLf),
            (Self::DataLf, b'\n') => Some(Self::START),
            (Self::Trailer, b'\r') => Some(Self::LastLf),
            (Self::Trailer | Self::TrailerLine, b'\n') => {
                (self == Self::TrailerLine).then_some(Self::Trailer)
            }
            (Self::Trailer | Self::TrailerLine, _) => Some(Self::TrailerLine),
            (Self::LastLf, b'\n') => Some(Self::Done),
            _ => None,
        }
    }
}

/// More digits than this would not fit into 64 bits.
const DIGITS_MAX: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], piece: usize) -> Result<(Chunks, usize), Failure> {
        let (mut chunks, mut read) = (Chunks::START, 0);
        for piece in body.chunks(piece) {
            read += chunks.advance(piece)?;
        }
        Ok((chunks, read))
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let bodies: [&[u8]; 4] = [
            b"0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
            b"1;a=b\r\nx\r\nA\r\n0123456789\r\n0\r\n\r\n",
            b"2\r\n\r\n\r\n0\r\nx-end: yes\r\nx-more: no\r\n\r\n",
        ];
        for body in bodies {
            for piece in 1..=body.len() {
                assert_eq!(read(body, piece), Ok((Chunks::Done, body.len())), "{body:?} {piece}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_left_alone() {
        assert_eq!(read(b"0\r\n\r\nHTTP", 100), Ok((Chunks::Done, 5)));
    }

    #[test]
    fn what_is_not_the_coding_is_malformed() {
        let bodies: [&[u8]; 6] =
            [b"\r\n", b"x\r\n", b"1\nx", b"1\r\nxy\r\n", b"0\r\n\n", b"ffffffffffffffffff\r\n"];
        for body in bodies {
            assert_eq!(read(body, 100), Err(Failure::Malformed), "{body:?}");
        }
    }
}
