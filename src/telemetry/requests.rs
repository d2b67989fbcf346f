//! The numbers of requests: by route and outcome, by upstream and status class.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus::{IntCounterVec, Registry};

use super::families::{Counters, Family, Members, Timings};
use super::metrics::counters;
use crate::base::per_thread::PerThread;
use crate::reject::Rejection;

/// The families that requests are counted in.
#[derive(Debug)]
pub(super) struct RequestFamilies {
    routes: Members<RouteNumbers>,
    rare: Arc<RareNumbers>,
    upstreams: Members<Counters<{ CLASSES.len() }>>,
}

/// How a request ended, from the route's point of view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It reached the upstream, whatever that answered.
    Allowed,
    /// 400 and its like: the request or its credential could not be read.
    Malformed,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404 and 405.
    Unrouted,
    /// 502, 503, 504: neither the caller's fault nor its credential's.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Allowed,
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Unrouted,
        Self::Failed,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unrouted => "unrouted",
            Self::Failed => "failed",
        }
    }

    /// The outcome of a refused request.
    pub fn of(rejection: &Rejection) -> Self {
        match rejection.status().as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 | 405 => Self::Unrouted,
            500.. => Self::Failed,
            _ => Self::Malformed,
        }
    }
}

impl RequestFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let (routes, upstreams) = (Members::default(), Members::default());
        Family::register(
            registry,
            ("scopegate_requests_total", "Requests, by route and by how they ended."),
            (&["route", "outcome"], Outcome::ALL.map(|outcome| vec![outcome.name()]).into()),
            &routes,
            |numbers: &RouteNumbers| &numbers.outcomes,
        );
        Family::register(
            registry,
            ("scopegate_request_seconds", "From a request's head to its answer's head."),
            (&["route"], vec![vec![]]),
            &routes,
            |numbers| &numbers.seconds,
        );
        Family::register(
            registry,
            (
                "scopegate_upstream_responses_total",
                "Answers of an upstream, by the class of their status.",
            ),
            (&["upstream", "class"], CLASSES.map(|class| vec![class]).into()),
            &upstreams,
            |classes| classes,
        );
        let refusals = counters(
            registry,
            "scopegate_refusals_total",
            "Refused requests, by route and reason.",
            &["route", "reason"],
        );
        let cut = counters(
            registry,
            "scopegate_answers_cut_total",
            "Answers that broke off since the total time-out was over.",
            &["route"],
        );
        Self { routes, rare: Arc::new(RareNumbers { refusals, cut }), upstreams }
    }

    pub(super) fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            name: name.into(),
            numbers: self.routes.of(name),
            rare: Arc::clone(&self.rare),
        }
    }

    pub(super) fn upstream(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics { classes: self.upstreams.of(name) }
    }
}

/// What one thread counts of one route. In this order, what a quick request that is allowed adds
/// to lies in one cache line, the first.
#[derive(Debug, Default)]
#[repr(C)]
struct RouteNumbers {
    outcomes: Counters<{ Outcome::ALL.len() }>,
    seconds: Timings,
}

/// Of all routes: what few requests count, whose labels are looked up then.
#[derive(Debug)]
struct RareNumbers {
    refusals: IntCounterVec,
    cut: IntCounterVec,
}

/// The numbers of one route. Labels are resolved here, when a snapshot is built: a request then
/// pays three atomic adds in cache lines that no other thread writes, not a hash and a lock. The
/// outcomes add up to the total.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    name: Box<str>,
    numbers: PerThread<RouteNumbers>,
    rare: Arc<RareNumbers>,
}

impl RouteMetrics {
    /// The route's label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request that reached its upstream and got an answer.
    pub fn allowed(&self, took: Duration) {
        self.count(Outcome::Allowed, took);
    }

    /// Counts a refused one.
    pub fn refused(&self, rejection: &Rejection, took: Duration) {
        self.count(Outcome::of(rejection), took);
        self.rare.refusals.with_label_values(&[&*self.name, rejection.reason()]).inc();
    }

    /// Counts a refusal that came when the answer had begun: its request is counted already.
    pub fn refused_late(&self, reason: &'static str) {
        self.rare.refusals.with_label_values(&[&*self.name, reason]).inc();
    }

    /// Counts an answer that had begun and broke off since its time was over.
    pub fn cut(&self) {
        self.rare.cut.with_label_values(&[&*self.name]).inc();
    }

    fn count(&self, outcome: Outcome, took: Duration) {
        let numbers = self.numbers.own();
        numbers.outcomes.count(outcome as usize);
        numbers.seconds.observe(took);
    }
}

/// The numbers of one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    classes: PerThread<Counters<{ CLASSES.len() }>>,
}

impl UpstreamMetrics {
    /// Counts an answer.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(CLASSES.len() - 1);
        self.classes.own().count(class);
    }
}

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::{InvalidToken, UpstreamFailure};

    #[test]
    fn every_refusal_has_an_outcome_of_its_own_kind() {
        for (rejection, outcome) in [
            (Rejection::RouteUnknown, Outcome::Unrouted),
            (Rejection::MethodNotAllowed("GET".into()), Outcome::Unrouted),
            (Rejection::CredentialMissing, Outcome::Unauthenticated),
            (Rejection::TokenInvalid(InvalidToken::Expired), Outcome::Unauthenticated),
            (Rejection::ClaimsInsufficient, Outcome::Forbidden),
            (Rejection::UpstreamFailed(UpstreamFailure::TimedOut), Outcome::Failed),
            (Rejection::TooSlow, Outcome::Malformed),
        ] {
            assert_eq!(Outcome::of(&rejection), outcome, "{rejection:?}");
        }
    }

    #[test]
    fn an_answer_counts_in_the_class_of_its_status() {
        let families = RequestFamilies::new(&Registry::new());
        let upstream = families.upstream("api");
        upstream.answered(StatusCode::OK);
        upstream.answered(StatusCode::from_u16(999).unwrap());
        assert_eq!(Counters::sums(upstream.classes.all()), [0, 1, 0, 0, 0, 1]);
    }
}
