//! The processor time that another process has used, as far as the system tells.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// The time that all threads of process `id` have run, in the kernel too. `None` where there is no
/// `/proc`, or it does not say.
pub(super) fn time(id: u32) -> Option<Duration> {
    let process = Path::new("/proc").join(id.to_string());
    nanoseconds(&process).or_else(|| ticks(&fs::read_to_string(process.join("stat")).ok()?))
}

/// By `task/*/schedstat`, to the nanosecond. Threads that have ended are not in it: the gateway has
/// none that come and go with requests.
fn nanoseconds(process: &Path) -> Option<Duration> {
    let threads = fs::read_dir(process.join("task")).ok()?;
    let texts =
        threads.map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    let times: Option<Vec<_>> = texts.map(|text| on_processor(&text?)).collect();
    times.filter(|times| !times.is_empty()).map(|times| times.into_iter().sum())
}

/// The first of the three numbers in `schedstat`.
fn on_processor(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// `utime` and `stime` of `stat`, the 14th and 15th field. The second one is a name in parentheses
/// that can have spaces and parentheses itself, so fields are counted from behind the last of them.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * TICK_MS))
}

/// `USER_HZ` is 100 on every platform of Linux that Rust's standard library serves but Alpha's.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_counted_from_behind_the_name() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 11 3 384 1";
        assert_eq!(ticks(stat), Some(Duration::from_secs(3)));
        assert_eq!(ticks("12 (a)"), None);
    }

    #[test]
    fn the_first_number_of_schedstat_is_the_time_on_a_processor() {
        assert_eq!(on_processor("121428 1849292 2\n"), Some(Duration::from_nanos(121_428)));
        assert_eq!(on_processor(""), None);
    }

    #[test]
    fn a_process_that_is_not_there_is_not_known() {
        assert_eq!(time(u32::MAX), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_time_is_known() {
        assert!(time(std::process::id()).is_some());
    }
}
