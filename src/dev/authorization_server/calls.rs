//! How often each endpoint was called: what a load test holds a gateway's caches against.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{INTROSPECTION, JWKS, METADATA, OPENID_CONFIGURATION, TOKEN};

/// Calls so far, refused ones too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CallCounts {
    /// Of either metadata document.
    pub metadata: u64,
    /// Of the key set.
    pub jwks: u64,
    /// Of the token endpoint.
    pub token: u64,
    /// Of the introspection endpoint.
    pub introspection: u64,
}

impl CallCounts {
    /// What has come to these since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            metadata: self.metadata.saturating_sub(earlier.metadata),
            jwks: self.jwks.saturating_sub(earlier.jwks),
            token: self.token.saturating_sub(earlier.token),
            introspection: self.introspection.saturating_sub(earlier.introspection),
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Calls {
    metadata: AtomicU64,
    jwks: AtomicU64,
    token: AtomicU64,
    introspection: AtomicU64,
}

impl Calls {
    /// Counts a request by its path.
    pub(super) fn count(&self, path: &str) {
        let counter = match path {
            METADATA | OPENID_CONFIGURATION => &self.metadata,
            JWKS => &self.jwks,
            TOKEN => &self.token,
            INTROSPECTION => &self.introspection,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What they say now.
    pub(super) fn counts(&self) -> CallCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallCounts {
            metadata: read(&self.metadata),
            jwks: read(&self.jwks),
            token: read(&self.token),
            introspection: read(&self.introspection),
        }
    }
}
