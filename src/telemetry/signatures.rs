//! The numbers of signatures: those that were checked, and those that were made.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::metrics::counters;

/// How many signatures were checked for each authorization server, and made by each signer.
#[derive(Debug)]
pub(super) struct SignatureFamilies {
    checks: IntCounterVec,
    made: IntCounterVec,
}

impl SignatureFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let checks = counters(
            registry,
            "scopegate_signature_checks_total",
            "Signatures of JWTs checked.",
            &["server"],
        );
        let made = counters(
            registry,
            "scopegate_signatures_total",
            "JWTs of the gateway's own that were signed for upstreams.",
            &["signer"],
        );
        Self { checks, made }
    }

    /// Those that were checked for the authorization server of that name.
    pub(super) fn checks(&self, server: &str) -> IntCounter {
        self.checks.with_label_values(&[server])
    }

    /// Those that the signer of that name made.
    pub(super) fn made(&self, signer: &str) -> IntCounter {
        self.made.with_label_values(&[signer])
    }
}
