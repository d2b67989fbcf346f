//! The header of the PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a
//! proxy writes before all other bytes to say whose connection it passes on.
//!
//! [`progress`] is pure: bytes in, and out comes how many more belong to the header, or what it
//! says. [`read`] follows it and takes no byte behind the header. What is odd is refused: a guess
//! would let a caller choose its address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Whom a proxy speaks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// This caller.
    Caller(SocketAddr),
    /// It does not say: LOCAL, where it speaks for itself, UNKNOWN, or a caller without an IP
    /// address.
    Unnamed,
}

/// How far the header has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// At least so many bytes of it are still to come.
    More(usize),
    /// It is complete.
    Done(Origin),
}

/// Why these bytes are no header, nor the beginning of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Malformed {
    /// They begin like neither version.
    Absent,
    /// It is longer than it may be.
    TooLong,
    /// Version 1: not as its grammar says.
    Line,
    /// Version 2: a version, command, family or transport that is not defined, or none of TCP.
    Kind,
    /// Version 2: addresses or a TLV do not fit into its length.
    Length,
    /// Version 2: the CRC32C is not that of the header.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "there is none",
            Self::TooLong => "too long",
            Self::Line => "the line does not follow the grammar",
            Self::Kind => "of a kind that is not known",
            Self::Length => "the parts do not fit into its length",
            Self::Checksum => "the checksum is wrong",
        })
    }
}

/// Reads on in a header of which these bytes have come; none of them stand behind it.
pub(super) fn progress(bytes: &[u8]) -> Result<Progress, Malformed> {
    if bytes.is_empty() {
        return Ok(Progress::More(SHORTEST_LINE.len())); // the other version is longer
    }
    if begins_like(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins_like(bytes, PREFIX) {
        return version_1(bytes);
    }
    Err(Malformed::Absent)
}

/// Reads a header off the beginning of a connection: byte by byte where nobody can know its length,
/// and nothing behind it.
///
/// # Errors
/// When there is none, it is malformed, or the connection ends inside it.
pub(super) async fn read<I: AsyncRead + Unpin>(stream: &mut I) -> Result<Origin, Malformed> {
    let mut header = BytesMut::with_capacity(ROOM_BYTES);
    loop {
        let count = match progress(&header)? {
            Progress::Done(origin) => return Ok(origin),
            Progress::More(count) => count as u64,
        };
        let mut rest = (&mut *stream).take(count);
        match rest.read_buf(&mut header).await {
            Ok(count) if 0 < count => {}
            Ok(_) | Err(_) => return Err(Malformed::Absent),
        }
    }
}

/// Whether these may become bytes that begin with `start`.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn version_1(bytes: &[u8]) -> Result<Progress, Malformed> {
    let missing = SHORTEST_LINE.len().saturating_sub(bytes.len());
    if 0 < missing {
        return Ok(Progress::More(missing));
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let left = if bytes.ends_with(b"\r") { 1 } else { 2 };
        return match bytes.len() + left <= LINE_MAX_BYTES {
            true => Ok(Progress::More(left)),
            false => Err(Malformed::TooLong),
        };
    };
    let line = line.strip_prefix(PREFIX).ok_or(Malformed::Absent)?;
    if line.contains(&b'\r') || line.contains(&b'\n') {
        return Err(Malformed::Line);
    }
    if line == UNKNOWN || (line.starts_with(UNKNOWN) && line.get(UNKNOWN.len()) == Some(&b' ')) {
        return Ok(Progress::Done(Origin::Unnamed)); // whatever comes behind it
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Malformed::Line);
    let (family, from, to, from_port, to_port) = (word()?, word()?, word()?, word()?, word()?);
    if word().is_ok() {
        return Err(Malformed::Line);
    }
    let from = match family {
        "TCP4" => both::<Ipv4Addr>(from, to)?,
        "TCP6" => both::<Ipv6Addr>(from, to)?,
        _ => return Err(Malformed::Line),
    };
    port(to_port)?;
    Ok(Progress::Done(Origin::Caller(SocketAddr::new(from, port(from_port)?))))
}

/// The first of two addresses of one family.
fn both<A: FromStr + Into<IpAddr>>(from: &str, to: &str) -> Result<IpAddr, Malformed> {
    to.parse::<A>().map_err(|_| Malformed::Line)?;
    from.parse::<A>().map(Into::into).map_err(|_| Malformed::Line)
}

/// Digits alone, and no zero before others.
fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_zero_first = 1 < text.len() && text.starts_with('0');
    if !is_plain || has_zero_first {
        return Err(Malformed::Line);
    }
    text.parse().map_err(|_| Malformed::Line)
}

fn version_2(bytes: &[u8]) -> Result<Progress, Malformed> {
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(Progress::More(HEAD_BYTES - bytes.len()));
    };
    let [.., kind, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let command = Command::of(kind)?;
    let addresses = Addresses::of(family)?;
    if PAYLOAD_MAX_BYTES < length {
        return Err(Malformed::TooLong);
    }
    match length.checked_sub(payload.len()) {
        Some(0) => {}
        Some(missing) => return Ok(Progress::More(missing)),
        None => return Err(Malformed::Length),
    }
    // What a proxy says of its own connection, or of one that it cannot describe, is not for us.
    let (Command::Proxy, Some(addresses)) = (command, addresses) else {
        return Ok(Progress::Done(Origin::Unnamed));
    };
    let (origin, more) = addresses.read(payload)?;
    check_more(bytes, more)?;
    Ok(Progress::Done(origin))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Command {
    Local,
    Proxy,
}

impl Command {
    const fn of(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0x20 => Ok(Self::Local),
            0x21 => Ok(Self::Proxy),
            _ => Err(Malformed::Kind),
        }
    }
}

/// What the addresses of a connection look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Addresses {
    V4,
    V6,
    Unix,
}

impl Addresses {
    /// `None`: there are none that anybody could read.
    const fn of(byte: u8) -> Result<Option<Self>, Malformed> {
        match byte {
            0x00 => Ok(None),
            0x11 => Ok(Some(Self::V4)),
            0x21 => Ok(Some(Self::V6)),
            0x31 => Ok(Some(Self::Unix)),
            _ => Err(Malformed::Kind),
        }
    }

    /// The caller, and what stands behind the addresses.
    fn read(self, payload: &[u8]) -> Result<(Origin, &[u8]), Malformed> {
        match self {
            Self::V4 => {
                let (block, more) = split::<12>(payload)?;
                let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
                let ip = IpAddr::from([a, b, c, d]);
                Ok((caller(ip, high, low), more))
            }
            Self::V6 => {
                let (block, more) = split::<36>(payload)?;
                let (ip, rest) = split::<16>(block)?;
                let [.., high, low, _, _] = *split::<20>(rest)?.0;
                Ok((caller(IpAddr::from(*ip), high, low), more))
            }
            Self::Unix => split::<216>(payload).map(|(_, more)| (Origin::Unnamed, more)),
        }
    }
}

const fn caller(ip: IpAddr, high: u8, low: u8) -> Origin {
    Origin::Caller(SocketAddr::new(ip, u16::from_be_bytes([high, low])))
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Malformed> {
    bytes.split_first_chunk().ok_or(Malformed::Length)
}

/// Passes over the TLVs in `more`, which is the end of `header`; a CRC32C among them must be right.
fn check_more(header: &[u8], mut more: &[u8]) -> Result<(), Malformed> {
    while !more.is_empty() {
        let ([kind, high, low], rest) = split::<3>(more)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Length)?;
        if *kind == PP2_TYPE_CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| Malformed::Length)?;
            let at = header.len() - rest.len() - sum.len();
            if crc32c(header, at..at + sum.len()) != u32::from_be_bytes(sum) {
                return Err(Malformed::Checksum);
            }
        }
        more = rest;
    }
    Ok(())
}

/// CRC32C (RFC 9260 appendix A) with zeros in place of the bytes in `zeros`. A header is short and
/// comes once per connection: no table.
fn crc32c(bytes: &[u8], zeros: std::ops::Range<usize>) -> u32 {
    let mut sum = u32::MAX;
    for (at, byte) in bytes.iter().enumerate() {
        sum ^= if zeros.contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            let is_odd = sum & 1 == 1;
            sum = (sum >> 1) ^ if is_odd { CASTAGNOLI } else { 0 };
        }
    }
    !sum
}

const PREFIX: &[u8] = b"PROXY ";
const UNKNOWN: &[u8] = b"UNKNOWN";
/// No line is shorter, so that so much can be read at once.
const SHORTEST_LINE: &[u8] = b"PROXY UNKNOWN\r\n";
/// The longest line that its specification allows, line end included.
const LINE_MAX_BYTES: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const HEAD_BYTES: usize = 16;
/// Addresses and TLVs: a caller's certificate may be among them.
const PAYLOAD_MAX_BYTES: usize = 4096;
/// Most headers fit in; a longer one takes up to [`PAYLOAD_MAX_BYTES`] more.
const ROOM_BYTES: usize = 128;
const PP2_TYPE_CRC32C: u8 = 0x03;
const CASTAGNOLI: u32 = 0x82F6_3B78;

#[cfg(test)]
mod tests;
