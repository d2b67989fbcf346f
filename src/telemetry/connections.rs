//! The numbers of callers' connections: how many are open, and what some, or single streams of them,
//! were ended for.

use prometheus::{IntCounter, IntGauge, Registry};

use super::metrics::{counters, gauges};

/// The families that connections are counted in, their labels resolved.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    open: IntGauge,
    ended: [IntCounter; ConnectionEnd::ALL.len()],
    at_limit: IntCounter,
    streams_stalled: IntCounter,
}

/// Why we ended a connection that its caller might have used on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionEnd {
    /// With `proxy_protocol`, from a peer that is no trusted proxy.
    ProxyUntrusted,
    /// With `proxy_protocol`, its header is not there or malformed.
    ProxyMalformed,
    /// With `proxy_protocol`, its header did not come in time.
    ProxyTooSlow,
    /// TLS did not come about: nothing in common, a certificate that is missing or not good, or
    /// the caller went.
    HandshakeFailed,
    /// TLS did not come about in time.
    HandshakeTooSlow,
    /// A request's head did not come to its end in time.
    HeadTooSlow,
    /// The caller did not read its answer.
    Stalled,
    /// Over HTTP/2: more of what costs the caller nothing than anybody needs (RFC 9113 §10.5).
    Http2Flood,
    /// Over HTTP/2: what breaks the protocol for all of the connection (RFC 9113 §5.4.1).
    Http2Error,
}

impl ConnectionEnd {
    const ALL: [Self; 9] = [
        Self::ProxyUntrusted,
        Self::ProxyMalformed,
        Self::ProxyTooSlow,
        Self::HandshakeFailed,
        Self::HandshakeTooSlow,
        Self::HeadTooSlow,
        Self::Stalled,
        Self::Http2Flood,
        Self::Http2Error,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyUntrusted => "proxy_untrusted",
            Self::ProxyMalformed => "proxy_malformed",
            Self::ProxyTooSlow => "proxy_too_slow",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTooSlow => "handshake_too_slow",
            Self::HeadTooSlow => "head_too_slow",
            Self::Stalled => "stalled",
            Self::Http2Flood => "http2_flood",
            Self::Http2Error => "http2_error",
        }
    }
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let open =
            gauges(registry, "scopegate_connections", "Connections of callers that are open.", &[]);
        let ended = counters(
            registry,
            "scopegate_connections_ended_total",
            "Connections of callers that were ended for what they did or left undone.",
            &["reason"],
        );
        let at_limit = counters(
            registry,
            "scopegate_connection_limit_reached_total",
            "Times that accepting had to wait as limits.connections of a listener were open.",
            &[],
        );
        let streams_ended = counters(
            registry,
            "scopegate_streams_ended_total",
            "Streams of callers over HTTP/2 that were ended for what they did or left undone.",
            &["reason"],
        );
        Self {
            open: open.with_label_values::<&str>(&[]),
            ended: ConnectionEnd::ALL.map(|end| ended.with_label_values(&[end.name()])),
            at_limit: at_limit.with_label_values::<&str>(&[]),
            streams_stalled: streams_ended.with_label_values(&[ConnectionEnd::Stalled.name()]),
        }
    }

    /// How many are open.
    pub const fn open(&self) -> &IntGauge {
        &self.open
    }

    /// Counts one that we ended.
    pub fn ended(&self, end: ConnectionEnd) {
        if let Some(counter) = self.ended.get(end as usize) {
            counter.inc();
        }
    }

    /// Streams over HTTP/2 that were given up alone, since their caller did not read the answer. A
    /// connection counts where it is [ended](Self::ended) with all of them.
    pub const fn streams_stalled(&self) -> &IntCounter {
        &self.streams_stalled
    }

    /// Counts that the next connection has to wait.
    pub fn at_limit(&self) {
        self.at_limit.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_counts_under_its_own_label() {
        let metrics = ConnectionMetrics::new(&Registry::new());
        for end in ConnectionEnd::ALL {
            metrics.ended(end);
            assert_eq!(metrics.ended[end as usize].get(), 1, "{}", end.name());
        }
        let names = ConnectionEnd::ALL.map(ConnectionEnd::name);
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }
}
