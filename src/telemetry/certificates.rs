//! The numbers of certificates: when they end, and how renewals went.

use prometheus::{IntCounter, IntGaugeVec, Registry};

use super::metrics::{counters, gauges};

/// The families that certificates are counted in.
#[derive(Debug)]
pub struct CertificateMetrics {
    not_after: IntGaugeVec,
    accepted: IntCounter,
    refused: IntCounter,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let renewals = counters(
            registry,
            "scopegate_certificate_renewals_total",
            "Changed files of certificates, keys and CAs, by whether they were taken up.",
            &["outcome"],
        );
        Self {
            not_after: gauges(
                registry,
                "scopegate_certificate_not_after_seconds",
                "When the first certificate of a listener or upstream ends, since the epoch.",
                &["used_by"],
            ),
            accepted: renewals.with_label_values(&["accepted"]),
            refused: renewals.with_label_values(&["refused"]),
        }
    }

    /// Counts changed files that were taken up or refused.
    pub fn renewed(&self, accepted: bool) {
        if accepted { self.accepted.inc() } else { self.refused.inc() }
    }

    /// Sets the ends, of these users and no others.
    pub fn ends<'a>(&self, ends: impl IntoIterator<Item = (&'a str, i64)>) {
        self.not_after.reset();
        for (used_by, end) in ends {
            self.not_after.with_label_values(&[used_by]).set(end);
        }
    }
}
