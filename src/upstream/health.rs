//! Health checks: each member is asked now and then whether it is well.
//!
//! A check is a request of our own, over a connection of its own: no caller's request, header or
//! token has any part in it. It is good if an answer of 200 to 299 begins in time; what follows
//! the answer's head is not read.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::connect::{Protocol, Purpose, connect};
use super::http1::Link;
use super::member::Member;
use super::places::Place;
use super::pool::InFlight;
use super::{Upstream, later};
use crate::body::Body;
use crate::config::{EndpointAddress, Health};

/// What the checks of one member have shown. Pure.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    is_ill: bool,
    is_known: bool,
    /// Checks in a row that speak against it.
    contrary: u32,
}

impl Pulse {
    /// Whether it is unwell. It is well until the first check, which decides at once.
    pub(super) const fn is_ill(&self) -> bool {
        self.is_ill
    }

    /// A check was good or not. Gives whether that changed anything.
    pub(super) const fn checked(&mut self, settings: &Health, is_good: bool) -> bool {
        if is_good != self.is_ill {
            (self.contrary, self.is_known) = (0, true);
            return false;
        }
        let needed = if is_good { settings.healthy_after } else { settings.unhealthy_after };
        self.contrary = self.contrary.saturating_add(1);
        if self.is_known && self.contrary < needed {
            return false;
        }
        *self = Self { is_ill: !is_good, is_known: true, contrary: 0 };
        true
    }
}

impl Upstream {
    /// Asks every member once.
    pub(super) async fn check_all(&self, settings: &Health) {
        let members = self.roster.members();
        stream::iter(members.iter())
            .for_each_concurrent(CHECKS_AT_ONCE, |member| self.check(member, settings))
            .await;
    }

    async fn check(&self, member: &Arc<Member>, settings: &Health) {
        let deadline = later(Instant::now(), settings.timeout);
        let asked = Box::pin(self.ask(member, settings, deadline));
        let status = timeout_at(deadline, asked).await.ok().flatten();
        let is_good = status.is_some_and(|status| status.is_success());
        self.roster.checked(member, settings, is_good, Instant::now());
    }

    async fn ask(
        &self,
        member: &Member,
        settings: &Health,
        deadline: Instant,
    ) -> Option<StatusCode> {
        let host = match &self.settings.endpoints.get(member.endpoint)?.address {
            EndpointAddress::Unix(_) => "localhost".to_owned(),
            address => address.to_string(),
        };
        let request = Request::get(&*settings.path).header(HOST, host).header(USER_AGENT, AGENT);
        let request = request.body(Body::empty()).ok()?;
        let connected =
            connect(&member.target, Purpose::Requests, Place::uncounted(), deadline).await;
        let (stream, protocol) = connected.ok()?;
        let exchange = InFlight::of_a_check(Instant::now(), settings.timeout);
        let sent = match protocol {
            Protocol::Http1 => Link::start(stream).send(request, exchange, deadline).await,
            Protocol::Http2 => {
                let sender = super::stream::start(stream).await.ok()?;
                let scheme = member.target.security.scheme();
                super::stream::send(sender, request, scheme, exchange, deadline).await
            }
        };
        sent.ok().map(|response| response.status())
    }
}

/// Who asks.
const AGENT: &str = concat!("scopegate/", env!("CARGO_PKG_VERSION"), " (health check)");
/// Members of one upstream that are asked at the same time.
const CHECKS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_check_decides_and_later_ones_must_agree() {
        let settings = Health {
            path: "/".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
        };
        for (checks, states) in [
            // g: good, b: bad; i: ill after that check, w: well
            ("b", "i"),
            ("gbbgbbb", "wwwwwwi"),
            ("bgg", "iiw"),
            ("bgbgg", "iiiiw"),
            ("gbbbggbbb", "wwwiiwwwi"),
        ] {
            let mut pulse = Pulse::default();
            let states_now = checks.chars().map(|check| {
                pulse.checked(&settings, check == 'g');
                if pulse.is_ill() { 'i' } else { 'w' }
            });
            assert_eq!(states_now.collect::<String>(), states, "{checks}");
        }
    }
}
