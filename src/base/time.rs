//! Time as values: decisions take it as an argument, and only an outermost shell calls [`now`].

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z, the whole part of a NumericDate (RFC 7519 §2).
///
/// Arithmetic saturates: a token that names the year 10^12 does not stop the process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// The moment that many seconds after the epoch; negative before it.
    pub const fn new(seconds: i64) -> Self {
        Self(seconds)
    }

    /// The number itself.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This moment, `duration` later; parts of a second are dropped.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_seconds(duration)))
    }

    /// This moment, `duration` earlier; parts of a second are dropped.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_seconds(duration)))
    }

    /// As a `Date` field writes it (RFC 9110 §5.6.7); the epoch for anything before it.
    pub fn http_date(self) -> String {
        let since_epoch = Duration::from_secs(u64::try_from(self.0).unwrap_or(0));
        httpdate::fmt_http_date(UNIX_EPOCH + since_epoch)
    }

    /// The time from `earlier` to this moment, or `None` if none is left.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        let seconds = self.0.saturating_sub(earlier.0);
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Both clocks, read together: the wall clock for tokens, the monotonic one for durations.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// What `exp` and `nbf` are held against.
    pub unix: UnixSeconds,
    /// What time-outs and ages are counted from.
    pub instant: Instant,
}

/// Reads the clocks. For the outermost shells only; a decision takes the result as an argument.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
pub fn now() -> Now {
    Now { unix: UnixSeconds(whole_seconds(since_epoch())), instant: Instant::now() }
}

/// Reads the wall clock alone, parts of a second included: for the time stamps of log lines. Zero
/// before 1970.
#[expect(clippy::disallowed_methods, reason = "as for `now`")]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Reads the monotonic clock alone, where only a duration is asked for.
#[expect(clippy::disallowed_methods, reason = "as for `now`")]
pub fn instant() -> Instant {
    Instant::now()
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let day = Duration::from_secs(86_400);
        assert_eq!(UnixSeconds::new(i64::MAX).plus(day), UnixSeconds::new(i64::MAX));
        assert_eq!(UnixSeconds::new(i64::MIN).minus(day), UnixSeconds::new(i64::MIN));
    }

    #[test]
    fn rfc9110_5_6_7_a_date_is_written_in_its_one_form() {
        assert_eq!(UnixSeconds::new(784_111_777).http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(UnixSeconds::new(-1).http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn nothing_is_left_at_the_moment_itself() {
        let at = UnixSeconds::new(10);
        assert_eq!(at.since(at), None);
        assert_eq!(at.since(UnixSeconds::new(7)), Some(Duration::from_secs(3)));
        assert_eq!(at.since(UnixSeconds::new(11)), None);
    }
}
