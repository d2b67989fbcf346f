//! What is done for an upstream while nobody asks: its names are looked up, its members checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep, timeout};

use super::Upstream;
use super::connect;
use crate::base::random;
use crate::config::EndpointAddress;

/// Looks after an upstream as long as there is one.
pub async fn tend(upstream: Weak<Upstream>) {
    let system = |address| async move { connect::resolve(&address).await };
    join(look_up(upstream.clone(), system), check(upstream)).await;
}

/// Checks every member again and again.
async fn check(upstream: Weak<Upstream>) {
    while let Some(upstream) = upstream.upgrade() {
        let Some(settings) = &upstream.settings.health else { return };
        upstream.check_all(settings).await;
        let rest = jittered(settings.interval, random::byte());
        drop(upstream);
        sleep(rest).await;
    }
}

/// Looks names up, soon again until one of them has an address (which `/readyz` waits for), and
/// then every `resolve`. `resolver` says which addresses a name has now.
pub(super) async fn look_up<F>(
    upstream: Weak<Upstream>,
    resolver: impl Fn(EndpointAddress) -> F + Sync,
) where
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
{
    let mut pause = PAUSE;
    while let Some(upstream) = upstream.upgrade() {
        upstream.look_up(&resolver).await;
        let every = upstream.settings.resolve;
        let rest = match upstream.addresses_known() {
            true if !upstream.has_names() => return,
            true => jittered(every, random::byte()),
            false => pause,
        };
        drop(upstream);
        sleep(rest).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Upstream {
    fn has_names(&self) -> bool {
        let mut endpoints = self.settings.endpoints.iter();
        endpoints.any(|one| matches!(one.address, EndpointAddress::Name(..)))
    }

    /// Looks every name up. Where that fails the last addresses stay.
    pub(super) async fn look_up<F>(&self, resolver: &(impl Fn(EndpointAddress) -> F + Sync))
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
    {
        let endpoints = self.settings.endpoints.iter().enumerate();
        let each =
            endpoints.map(|(at, endpoint)| self.look_up_one(at, &endpoint.address, resolver));
        join_all(each).await;
    }

    async fn look_up_one<F>(
        &self,
        endpoint: usize,
        address: &EndpointAddress,
        resolver: &(impl Fn(EndpointAddress) -> F + Sync),
    ) where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send,
    {
        if matches!(address, EndpointAddress::Name(..)) {
            let found = match timeout(LOOK_UP_MAX, resolver(address.clone())).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::debug!(upstream = &*self.settings.name, %error, "a name was not found");
                    return;
                }
                Err(_) => return,
            };
            if found.is_empty() {
                return;
            }
            self.roster.resolved(endpoint, found, Instant::now());
        }
        self.addresses_known.store(true, Ordering::Relaxed);
    }
}

/// Up to a tenth sooner than due, so that many gateways do not ask at once. `random` is a part of
/// 256.
fn jittered(every: Duration, random: u8) -> Duration {
    every - every / 2560 * u32::from(random)
}

/// Between two look-ups while no address is known; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one look-up may take.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_is_due_in_its_time_and_jittered() {
        let every = Duration::from_secs(30);
        assert_eq!(jittered(every, 0), every);
        let least = jittered(every, u8::MAX);
        assert!(every * 9 / 10 < least && least < every, "{least:?}");
    }
}
