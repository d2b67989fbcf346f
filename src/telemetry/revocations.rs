//! The numbers of the revocation list: how full it is, what came in and what could not.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::metrics::{counters, gauges};

/// Where a revocation came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevocationDoor {
    /// `POST /revocations` of the admin listener.
    Admin,
    /// The revocation endpoint (RFC 7009).
    Endpoint,
    /// A logout token (OpenID Connect Back-Channel Logout 1.0).
    Logout,
}

/// Why a revocation was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevocationRefusal {
    /// It cannot be read, or proves nothing.
    Invalid,
    /// The list is full.
    Full,
    /// The file could not be written.
    Unwritten,
}

impl RevocationDoor {
    const ALL: [Self; 3] = [Self::Admin, Self::Endpoint, Self::Logout];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Endpoint => "endpoint",
            Self::Logout => "logout",
        }
    }
}

impl RevocationRefusal {
    const ALL: [Self; 3] = [Self::Invalid, Self::Full, Self::Unwritten];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Full => "full",
            Self::Unwritten => "unwritten",
        }
    }
}

/// The families.
#[derive(Clone, Debug)]
pub struct RevocationMetrics {
    entries: IntGaugeVec,
    taken: IntCounterVec,
    refused: IntCounterVec,
}

impl RevocationMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            entries: gauges(
                registry,
                "scopegate_revocation_entries",
                "Entries of the revocation list.",
                &[],
            ),
            taken: counters(
                registry,
                "scopegate_revocations_total",
                "Revocations taken, by where they came in.",
                &["door"],
            ),
            refused: counters(
                registry,
                "scopegate_revocations_refused_total",
                "Revocations that were not taken, by where they came in and why.",
                &["door", "reason"],
            ),
        }
    }

    /// There is a list: its numbers are there from the start.
    pub fn begin(&self) {
        for door in RevocationDoor::ALL {
            self.taken.with_label_values(&[door.name()]);
            for reason in RevocationRefusal::ALL {
                self.refused.with_label_values(&[door.name(), reason.name()]);
            }
        }
    }

    /// Sets how many entries there are.
    pub fn entries(&self, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.entries.with_label_values::<&str>(&[]).set(entries);
    }

    /// Counts one that was taken.
    pub fn taken(&self, door: RevocationDoor) {
        self.taken.with_label_values(&[door.name()]).inc();
    }

    /// Counts one that was not.
    pub fn refused(&self, door: RevocationDoor, why: RevocationRefusal) {
        self.refused.with_label_values(&[door.name(), why.name()]).inc();
    }
}
