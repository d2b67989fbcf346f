//! `grpc-timeout`: how long the caller of a gRPC method waits for all of its answer
//! ("gRPC over HTTP2", Requests).

use std::time::Duration;

use http::HeaderMap;

/// What a caller says; nothing if it says nothing, or what the grammar does not have: the upstream
/// gets the field as it is and judges by itself.
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all("grpc-timeout").iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if DIGITS_MAX < number.len() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// So says the grammar; no unit of so many overflows.
const DIGITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("grpc-timeout", HeaderValue::from_static(value));
            }
            grpc_timeout(&headers)
        };
        for (value, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("0S", Duration::ZERO),
            ("100m", Duration::from_millis(100)),
            ("100u", Duration::from_micros(100)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(read(&[value]), Some(expected), "{value}");
        }
        for value in ["", "S", "1", "1s", "100000000S", "-1S", "+1S", "1.5S", " 1S", "1 S"] {
            assert_eq!(read(&[value]), None, "{value}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["1S", "1S"]), None);
    }
}
