//! How a request can fail to get an answer.

use std::fmt;

/// Why a request that was begun has no answer. One request, one failure.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// No connection could be made for it.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke before the request was sent.
    Send,
    /// The connection ended before the first byte of an answer.
    Closed,
    /// The connection or the stream ended within the answer.
    Truncated,
    /// The answer is not HTTP, or there is more of it than it says.
    Malformed,
    /// HTTP/2: the stream was reset, or the connection ended with an error.
    Reset,
    /// There was no whole answer within the plan's timeout.
    TimedOut,
}

impl Failure {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Closed,
        Self::Truncated,
        Self::Malformed,
        Self::Reset,
        Self::TimedOut,
    ];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Reset => "reset",
            Self::TimedOut => "timeout",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
