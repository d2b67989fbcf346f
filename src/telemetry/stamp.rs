//! The time of a log line, as RFC 3339 writes it: `2026-11-25T04:32:00.123456Z`.
//!
//! What lines of one second share is written once: a line costs the six digits of its fraction.

use std::time::Duration;

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

    /// The text of a moment, given as the time since 1970-01-01T00:00:00Z. After the year 9999 only
    /// its last four digits show.
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
        let (year, month, day) = date(second / DAY_S);
        digits(&mut self.text[0..4], year);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], second % DAY_S / 3600);
        digits(&mut self.text[14..16], second / 60 % 60);
        digits(&mut self.text[17..19], second % 60);
    }
}

/// The year, month and day of the Gregorian calendar, that many days after 1970-01-01.
///
/// Years are counted from March, so that a leap day is the last of its year, and in cycles of 400.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 153 days are five months from March or August on
    let day = day - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
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
const DAY_S: u64 = 86_400;

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

    #[test]
    fn each_day_of_four_centuries_follows_the_one_before() {
        let mut before = (1969, 12, 31);
        for days in 0..146_097 {
            let (year, month, day) = date(days);
            let follows = match before {
                (y, m, d) if day > 1 => (year, month, day) == (y, m, d + 1),
                (y, 12, 31) => (year, month, day) == (y + 1, 1, 1),
                (y, m, 28..) => (year, month, day) == (y, m + 1, 1),
                _ => false,
            };
            assert!(follows, "{year}-{month}-{day} after {before:?}");
            before = (year, month, day);
        }
        assert_eq!(before, (2369, 12, 31));
    }
}
