//! What of a certificate no library here tells: when it ends (RFC 5280 §4.1.2.5).

use time::{Date, Month, Time};

use super::time::UnixSeconds;

/// The last moment at which a certificate is good; `None` if it cannot be read.
///
/// For showing it alone: whether to trust a certificate is decided by the TLS library.
pub fn not_after(certificate: &[u8]) -> Option<UnixSeconds> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = element(fields, tag)?; // serial number, signature algorithm, issuer
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, not_after) = moment(validity)?;
    moment(not_after).map(|(moment, _)| moment)
}

/// A time, and what stands behind it.
fn moment(bytes: &[u8]) -> Option<(UnixSeconds, &[u8])> {
    let (year, digits, rest) = match element(bytes, UTC_TIME) {
        Some((text, rest)) => {
            let (year, digits) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits, rest)
        }
        None => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            let (year, digits) = text.split_at_checked(4)?;
            (number(year)?, digits, rest)
        }
    };
    let digits = digits.strip_suffix(b"Z")?;
    let part = |at: usize| {
        let part = number(digits.get(2 * at..2 * at + 2)?)?;
        u8::try_from(part).ok()
    };
    let month = Month::try_from(part(0)?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, part(1)?).ok()?;
    let time = Time::from_hms(part(2)?, part(3)?, part(4)?).ok()?;
    Some((UnixSeconds::new(date.with_time(time).assume_utc().unix_timestamp()), rest))
}

fn number(digits: &[u8]) -> Option<u16> {
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

/// The contents of a DER element with that tag, and what stands behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let is_small = digits.len() <= LENGTH_MAX_BYTES;
            let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (Some(length).filter(|_| is_small)?, rest)
        }
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, absent in certificates of version 1.
const VERSION: u8 = 0xA0;
/// Lengths of up to 16 MiB.
const LENGTH_MAX_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 3);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn rfc5280_4_1_2_5_the_end_is_read_in_both_notations() {
        for (year, end) in [(2030, 1_896_307_200), (2049, 2_495_923_200), (2060, 2_842_992_000)] {
            assert_eq!(not_after(&certificate(year)), Some(UnixSeconds::new(end)), "{year}");
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_has_no_end_or_another_one_and_never_panics() {
        let whole = certificate(2030);
        for length in 0..whole.len() {
            let _ = not_after(&whole[..length]);
            let mut changed = whole.clone();
            changed[length] ^= 0xff;
            let _ = not_after(&changed);
        }
        assert_eq!(not_after(&whole[..100]), None);
    }
}
