//! Headers that are right, each way to be wrong, and mutations of both.

use super::*;

fn v2(kind: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[kind, family], &length, payload].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

fn v6() -> Vec<u8> {
    let mut block = vec![0x20, 1, 0x0d, 0xb8];
    block.extend([0; 11]);
    block.push(9);
    block.extend([0; 16]);
    block.extend([0x12, 0x34, 0, 80]);
    block
}

fn with_checksum(change: u32) -> Vec<u8> {
    let mut header = v2(0x21, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0], &[4, 0, 1, 9]].concat());
    let at = HEAD_BYTES + V4.len() + 3;
    let sum = crc32c(&header, at..at + 4) ^ change;
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

/// What a reader gets that asks for no more than it is told to.
fn read(bytes: &[u8]) -> Result<(Origin, usize), Malformed> {
    let mut end = 0;
    loop {
        match progress(&bytes[..end])? {
            Progress::Done(origin) => return Ok((origin, end)),
            Progress::More(count) => {
                assert!(0 < count, "{} of {}", end, bytes.escape_ascii());
                end += count;
                assert!(end <= bytes.len(), "{}: too short", bytes.escape_ascii());
            }
        }
    }
}

fn from(address: &str) -> Origin {
    Origin::Caller(address.parse().unwrap())
}

#[test]
fn a_header_is_read_to_its_end_and_not_a_byte_further() {
    let unix = [[b'/'; 108], [b'.'; 108]].concat();
    let more = [&V4[..], &[1, 0, 2, b'h', b'2', 0x20, 0, 0]].concat();
    #[rustfmt::skip]
    let cases = [
        // header                                                        whom it names
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(),           from("192.0.2.7:4660")),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n".to_vec(),                  from("1.1.1.1:0")),
        (b"PROXY TCP6 2001:db8::9 ::1 65535 80\r\n".to_vec(),             from("[2001:db8::9]:65535")),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 80\r\n".to_vec(),            from("[::ffff:192.0.2.7]:1")),
        (b"PROXY UNKNOWN\r\n".to_vec(),                                   Origin::Unnamed),
        (b"PROXY UNKNOWN ffff::1 \xff anything 1 2 3 4\r\n".to_vec(),     Origin::Unnamed),
        (v2(0x21, 0x11, &V4),                                             from("192.0.2.7:4660")),
        (v2(0x21, 0x11, &more),                                           from("192.0.2.7:4660")),
        (v2(0x21, 0x21, &v6()),                                           from("[2001:db8::9]:4660")),
        (v2(0x21, 0x31, &unix),                                           Origin::Unnamed),
        (v2(0x21, 0x00, b""),                                             Origin::Unnamed),
        (v2(0x21, 0x00, b"what"),                                         Origin::Unnamed),
        (v2(0x20, 0x00, b""),                                             Origin::Unnamed),
        (v2(0x20, 0x11, &V4),                                             Origin::Unnamed),
        (v2(0x20, 0x11, b"odd"),                                          Origin::Unnamed),
        (with_checksum(0),                                                from("192.0.2.7:4660")),
    ];
    for (header, origin) in cases {
        let behind = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(read(&behind), Ok((origin, header.len())), "{}", header.escape_ascii());
    }
}

#[test]
fn what_is_odd_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "a".repeat(LINE_MAX_BYTES));
    let mut too_long = v2(0x21, 0x11, &V4);
    too_long[14..16].copy_from_slice(&4097_u16.to_be_bytes());
    let tlv = |more: &[u8]| v2(0x21, 0x11, &[&V4[..], more].concat());
    #[rustfmt::skip]
    let cases = [
        (b"GET /p HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),                  Malformed::Absent),
        (b"PROXZ TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                  Malformed::Absent),
        (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                  Malformed::Absent),
        (b"\r\n\r\n\0\r\nQUIT\r12345678".to_vec(),                        Malformed::Absent),
        (b"\x16\x03\x01\0\x05hello, hello".to_vec(),                      Malformed::Absent),
        (long.into_bytes(),                                               Malformed::TooLong),
        (b"PROXY UNKNOWNX 1\r\n".to_vec(),                                Malformed::Line),
        (b"PROXY TCP4 1.1.1.1\r\n".to_vec(),                              Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n".to_vec(),                    Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n".to_vec(),                Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4\t1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n".to_vec(),              Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n".to_vec(),                Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 example 1 1\r\n".to_vec(),                  Malformed::Line),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(),                          Malformed::Line),
        (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                  Malformed::Line),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),                  Malformed::Line),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1\n1 1\r\n".to_vec(),                 Malformed::Line),
        (b"PROXY UNKNOWN\rGET / HTTP/1.1\r\n".to_vec(),                   Malformed::Line),
        (b"PROXY TCP4 \xff.1.1.1 1.1.1.1 1 1\r\n".to_vec(),               Malformed::Line),
        (v2(0x22, 0x11, &V4),                                             Malformed::Kind),
        (v2(0x11, 0x11, &V4),                                             Malformed::Kind),
        (v2(0x31, 0x11, &V4),                                             Malformed::Kind),
        (v2(0x21, 0x12, &V4),                                             Malformed::Kind),
        (v2(0x21, 0x22, &v6()),                                           Malformed::Kind),
        (v2(0x21, 0x41, &V4),                                             Malformed::Kind),
        (v2(0x21, 0x01, &V4),                                             Malformed::Kind),
        (too_long,                                                        Malformed::TooLong),
        (v2(0x21, 0x11, &V4[..11]),                                       Malformed::Length),
        (v2(0x21, 0x11, b""),                                             Malformed::Length),
        (v2(0x21, 0x21, &V4),                                             Malformed::Length),
        (v2(0x21, 0x31, &V4),                                             Malformed::Length),
        (tlv(&[1]),                                                       Malformed::Length),
        (tlv(&[1, 0]),                                                    Malformed::Length),
        (tlv(&[1, 0, 2, 9]),                                              Malformed::Length),
        (tlv(&[1, 0xff, 0xff, 9]),                                        Malformed::Length),
        (tlv(&[3, 0, 3, 1, 2, 3]),                                        Malformed::Length),
        (tlv(&[3, 0, 4, 1, 2, 3, 4]),                                     Malformed::Checksum),
        (with_checksum(1),                                                Malformed::Checksum),
    ];
    for (bytes, error) in cases {
        assert_eq!(read(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn rfc9260_a_checksum_is_crc32c() {
    assert_eq!(crc32c(b"123456789", 0..0), 0xE306_9283);
    assert_eq!(crc32c(b"1234x6789", 4..5), crc32c(b"1234\x006789", 0..0));
}

/// Whatever is changed, a reader comes to an end within the bounds, and never by a panic.
#[test]
fn mutated_headers_are_read_or_refused_within_the_bounds() {
    let seeds = [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::9 ::1 65535 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x21, 0x11, &V4),
        v2(0x21, 0x21, &v6()),
        with_checksum(0),
    ];
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for _ in 0..20_000 {
        let mut bytes = seeds[next(seeds.len())].clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => bytes[at] ^= 1 << next(8),
                2 => bytes.insert(at, b" \r\n0:.\xff\0"[next(8)]),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.resize(HEAD_BYTES + PAYLOAD_MAX_BYTES, b'a');
        if let Ok((_, end)) = read(&bytes) {
            assert!(SHORTEST_LINE.len() <= end, "{}", bytes[..end].escape_ascii());
        }
    }
}
