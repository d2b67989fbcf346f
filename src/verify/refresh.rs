//! The task that keeps one authorization server's keys and metadata fresh, beside their use.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::fetch::FetchFailure;
use super::jwks::Fetch;
use super::server::Server;
use crate::base::random;

/// Fetches at once and then again and again, until the server is gone.
///
/// A dead server is not hammered: gaps double from one second up to a minute, each drawn anew
/// between a half and the whole, so that many gateways do not come back at one moment.
pub(super) async fn keep_fresh(server: Weak<Server>, mut alive: watch::Receiver<()>) {
    let mut failures = 0;
    while let Some(server) = server.upgrade() {
        let poked = server.poked();
        let wait = if server.is_fetching() {
            let outcome = one(&server).await;
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            server.report(&outcome);
            Some(gap(&outcome, failures, server.settings().jwks.refresh, random::byte()))
        } else {
            None
        };
        drop(server);
        let slept = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = slept => {}
            () = poked.notified() => {}
            // Only an error comes here: the server is gone.
            _ = alive.changed() => return,
        }
    }
}

async fn one(server: &Arc<Server>) -> Result<(), FetchFailure> {
    let mut running = server.fetch_once(Fetch::All);
    let outcome = running.wait_for(Option::is_some).await;
    outcome.map_or(Err(FetchFailure::Untried), |ended| {
        ended.clone().unwrap_or(Err(FetchFailure::Untried))
    })
}

/// How long to wait. `random` is a part of 256.
fn gap(
    outcome: &Result<(), FetchFailure>,
    failures: u32,
    refresh: Duration,
    random: u8,
) -> Duration {
    let part = u32::from(random);
    match outcome {
        // Up to a tenth sooner than due.
        Ok(()) => refresh - refresh / 2560 * part,
        Err(failure) => {
            let doubled = GAP_MIN * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
            let jittered = doubled.min(GAP_MAX) - doubled.min(GAP_MAX) * part / 512;
            jittered.max(failure.retry_after().unwrap_or_default()).min(refresh.max(GAP_MIN))
        }
    }
}

const GAP_MIN: Duration = Duration::from_secs(1);
const GAP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const REFRESH: Duration = Duration::from_secs(900);

    #[test]
    fn gaps_grow_after_failures_and_stay_bounded() {
        let failed = Err(FetchFailure::Absent);
        let whole: Vec<_> = (1..10).map(|n| gap(&failed, n, REFRESH, 0).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(gap(&failed, u32::MAX, REFRESH, 0), GAP_MAX);
        let least = gap(&failed, 9, REFRESH, 255);
        assert!(least >= GAP_MAX / 2 && least < GAP_MAX, "{least:?}");
        let ten_minutes: u64 = (1..40).map(|n| gap(&failed, n, REFRESH, 255).as_secs()).sum();
        assert!(ten_minutes > 600, "ten dead minutes cost fewer than forty calls");
    }

    #[test]
    fn a_refresh_is_due_in_its_time_and_jittered() {
        assert_eq!(gap(&Ok(()), 0, REFRESH, 0), REFRESH);
        let least = gap(&Ok(()), 0, REFRESH, 255);
        assert!(least > REFRESH * 9 / 10 && least < REFRESH, "{least:?}");
    }

    #[test]
    fn rfc9110_10_2_3_a_server_that_names_its_time_is_left_alone_so_long() {
        let busy = |wait| {
            let wait = Some(Duration::from_secs(wait));
            gap(&Err(FetchFailure::Status(StatusCode::SERVICE_UNAVAILABLE, wait)), 1, REFRESH, 0)
        };
        assert_eq!(busy(120), Duration::from_secs(120));
        assert_eq!(busy(0), GAP_MIN);
        assert_eq!(busy(3600), REFRESH, "and no longer than a refresh takes anyway");
    }
}
