//! Durations and sizes as they are written on a command line and shown in a report.

use std::fmt;
use std::time::Duration;

/// Why a text is no duration or no size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidValue {
    /// No duration.
    Duration,
    /// No size.
    Size,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Duration => "write a duration such as 250us, 1.5ms, 30s, 5m or 1h",
            Self::Size => "write a size such as 512, 512B, 64KiB or 1MiB",
        })
    }
}

impl std::error::Error for InvalidValue {}

/// Reads a duration: a number, which may have a fraction, and its unit.
///
/// # Errors
/// When it is none, or longer than a century.
pub fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let (number, unit) = split(text);
    let unit_s = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
    let seconds = decimal(number).zip(unit_s).map(|(number, unit_s)| number * unit_s);
    seconds
        .filter(|seconds| *seconds <= CENTURY_S)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(InvalidValue::Duration)
}

/// Reads a size in bytes: a whole number and its unit, or none for bytes.
///
/// # Errors
/// When it is none.
pub fn size(text: &str) -> Result<usize, InvalidValue> {
    let (number, unit) = split(text);
    let unit_bytes = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let number = number.parse::<usize>().ok();
    number
        .zip(unit_bytes)
        .and_then(|(number, bytes)| number.checked_mul(bytes))
        .ok_or(InvalidValue::Size)
}

/// A duration as it is shown: three digits and the unit that fits.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (number, unit) = match duration.as_micros() {
        0..1_000 => (seconds * 1e6, "µs"),
        1_000..1_000_000 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    match number {
        ..10.0 => format!("{number:.2}{unit}"),
        ..100.0 => format!("{number:.1}{unit}"),
        _ => format!("{number:.0}{unit}"),
    }
}

/// A number without fraction or exponent that a float would read and a user would not write.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

/// A number, and the unit after it.
fn split(text: &str) -> (&str, &str) {
    let at = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

const CENTURY_S: f64 = 100.0 * 366.0 * 86_400.0;
const DURATIONS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];
const SIZES: [(&str, usize); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        #[rustfmt::skip]
        let cases = [
            ("250us", 250,        "250µs"),
            ("1.5ms", 1_500,      "1.50ms"),
            ("30s",   30_000_000, "30.0s"),
            ("2m",    120_000_000, "120s"),
        ];
        for (text, micros, expected) in cases {
            let found = duration(text).unwrap();
            assert_eq!(found, Duration::from_micros(micros), "{text}");
            assert_eq!(shown(found), expected);
        }
        for wrong in ["", "5", "ms", "-1s", "1e3s", "inf", "1.2.3s", "9999999999h"] {
            assert_eq!(duration(wrong), Err(InvalidValue::Duration), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("0", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "x", "1.5KiB", "1KB", "99999999999999999999"] {
            assert_eq!(size(wrong), Err(InvalidValue::Size), "{wrong}");
        }
    }
}
