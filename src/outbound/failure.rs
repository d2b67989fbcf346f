//! Why a call gave no answer, and why a client cannot be made.

use std::error::Error;
use std::fmt;

use crate::config::tls::TlsError;
use crate::reject::OutageCause;
use crate::telemetry::CallOutcome;

/// Why a client cannot be made from its settings.
#[derive(Debug)]
pub enum OutboundError {
    /// The configured CA cannot be used.
    Tls(TlsError),
    /// The proxy's URL cannot be used.
    Proxy,
    /// The HTTP library refuses the settings.
    Client,
}

impl fmt::Display for OutboundError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(formatter),
            Self::Proxy => formatter.write_str("the outgoing proxy's URL cannot be used"),
            Self::Client => formatter.write_str("the settings make no HTTP client"),
        }
    }
}

impl Error for OutboundError {}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboundFailure {
    /// The endpoint is no place for secrets; nothing was sent.
    UnsafeEndpoint,
    /// Our own key cannot sign an assertion; nothing was sent.
    Unsigned,
    /// The token endpoint, for which an assertion is, is not known; nothing was sent.
    AudienceUnknown,
    /// No connection.
    Unreachable,
    /// The server's certificate or its TLS is not good; nothing was sent.
    Tls(rustls::Error),
    /// The connection broke, or what came was not HTTP.
    Interrupted,
    /// No whole answer in time.
    TimedOut,
    /// The answer is larger than we take.
    TooLarge,
}

impl OutboundFailure {
    /// What a refusal says of it.
    pub const fn cause(&self) -> OutageCause {
        match self {
            Self::UnsafeEndpoint
            | Self::AudienceUnknown
            | Self::Unreachable
            | Self::Tls(_)
            | Self::Interrupted => OutageCause::Unreachable,
            Self::Unsigned => OutageCause::OurClientRefused,
            Self::TimedOut => OutageCause::TimedOut,
            Self::TooLarge => OutageCause::Unusable,
        }
    }

    /// What the metric says of it.
    pub const fn outcome(&self) -> CallOutcome {
        match self {
            Self::UnsafeEndpoint
            | Self::Unsigned
            | Self::AudienceUnknown
            | Self::Unreachable
            | Self::Tls(_)
            | Self::Interrupted => CallOutcome::Unreachable,
            Self::TimedOut => CallOutcome::TimedOut,
            Self::TooLarge => CallOutcome::Unusable,
        }
    }
}

impl fmt::Display for OutboundFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsafeEndpoint => formatter.write_str(
                "the endpoint is neither https nor on loopback, or it is a link-local address",
            ),
            Self::Unsigned => formatter.write_str("the client's key cannot sign an assertion"),
            Self::AudienceUnknown => formatter
                .write_str("the token endpoint, which the client's assertion is for, is not known"),
            Self::Unreachable => formatter
                .write_str("no connection: the name is unknown, the port closed, or no way there"),
            Self::Tls(error) => write!(formatter, "no trusted connection: {error}"),
            Self::Interrupted => formatter.write_str("the connection broke before the answer"),
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::TooLarge => formatter.write_str("the answer is over max_response"),
        }
    }
}

impl Error for OutboundFailure {}

/// Sorts the library's error. Its own text names the URL, and is dropped here.
pub(super) fn of(error: &reqwest::Error) -> OutboundFailure {
    if let Some(tls) = tls_error(error) {
        OutboundFailure::Tls(tls.clone())
    } else if error.is_timeout() {
        OutboundFailure::TimedOut
    } else if error.is_connect() {
        OutboundFailure::Unreachable
    } else {
        OutboundFailure::Interrupted
    }
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(tls) = source.downcast_ref() {
            return Some(tls);
        }
        // An I/O error hands on the source of what it holds, and not that itself.
        let held = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => source.source(),
        };
    }
    None
}
