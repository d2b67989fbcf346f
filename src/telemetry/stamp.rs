//! The time of a log line, as RFC 3339 writes it: `2026-11-25T04:32:00.123456Z`.
//!
//! What lines of one second share is written once: a line costs the six digits of its fraction.

use std::time::Duration;

use time::UtcDateTime;

/// The text of the time stamp that was written last.
#[derive(Debug)]
pub(super) struct Stamp {
    second: Option<u64>,
    text: [u8; STAMP_BYTES],
}

impl Stamp {
    /// Nothing is written yet.
    pub(super) const fn new() -> Self {
        Self { second: None, text: *b"0000-00-00T00:00:00.000000Z" }
    }

    /// The text of a moment, given as the time since 1970-01-01T00:00:00Z. A clock beyond the year
    /// 9999 shows as 1970.
    pub(super) fn at(&mut self, since_epoch: Duration) -> &[u8; STAMP_BYTES] {
        let second = since_epoch.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.enter(second);
        }
        digits(&mut self.text[20..26], u64::from(since_epoch.subsec_micros()));
        &self.text
    }

    fn enter(&mut self, second: u64) {
        let moment = i64::try_from(second).ok();
        let moment = moment.and_then(|second| UtcDateTime::from_unix_timestamp(second).ok());
        let moment = moment.unwrap_or(UtcDateTime::UNIX_EPOCH);
        digits(&mut self.text[0..4], u64::from(moment.year().unsigned_abs()));
        digits(&mut self.text[5..7], u8::from(moment.month()).into());
        digits(&mut self.text[8..10], moment.day().into());
        digits(&mut self.text[11..13], moment.hour().into());
        digits(&mut self.text[14..16], moment.minute().into());
        digits(&mut self.text[17..19], moment.second().into());
    }
}

/// Fills `places` with the last digits of a number.
fn digits(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// The length of every time stamp.
const STAMP_BYTES: usize = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_5_6_a_moment_is_written_with_six_digits_of_its_second() {
        #[rustfmt::skip]
        let cases = [
            (0,             0,       "1970-01-01T00:00:00.000000Z"),
            (0,             1,       "1970-01-01T00:00:00.000001Z"),
            (951_782_399,   999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400,   0,       "2000-02-29T00:00:00.000000Z"),
            (951_868_800,   0,       "2000-03-01T00:00:00.000000Z"),
            (1_709_164_800, 0,       "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, 500_000, "2024-12-31T23:59:59.500000Z"),
            (1_735_689_600, 0,       "2025-01-01T00:00:00.000000Z"),
            (2_147_483_648, 0,       "2038-01-19T03:14:08.000000Z"),
            (4_107_542_400, 0,       "2100-03-01T00:00:00.000000Z"),
            (4_107_542_399, 0,       "2100-02-28T23:59:59.000000Z"),
        ];
        let mut stamp = Stamp::new();
        for (second, micros, expected) in cases {
            let text = stamp.at(Duration::from_secs(second) + Duration::from_micros(micros));
            assert_eq!(std::str::from_utf8(text).unwrap(), expected);
        }
    }
}
