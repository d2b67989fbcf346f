//! The parts of an explanation.

use std::fmt;

use serde::Serialize;

use crate::reject::Rejection;

/// Why a request is let in or refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What was looked at, in its order, up to where the decision fell.
    pub steps: Vec<Step>,
    /// The decision.
    pub outcome: Outcome,
    /// What the upstream would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// How it went.
    pub mark: Mark,
    /// What it was.
    pub what: &'static str,
    /// What was seen. Never a secret, nor a token.
    pub detail: String,
}

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It is as it must be.
    Yes,
    /// It is not.
    No,
    /// Nobody can say now.
    Unknown,
    /// A word beside the way.
    Aside,
}

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It may go to the upstream.
    Allowed,
    /// The gateway answers it, and that is no refusal: a preflight, `OPTIONS *`.
    Answered {
        /// With this status.
        status: u16,
    },
    /// It is refused.
    Refused {
        /// With this status.
        status: u16,
        /// The word of the log.
        reason: &'static str,
    },
    /// Whoever must be asked cannot be asked.
    Undecided {
        /// The caller gets this status.
        status: u16,
        /// The word of the log.
        reason: &'static str,
    },
}

/// A request for the upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// The name of the upstream.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// The target in origin form.
    pub target: String,
    /// The fields; of a credential only scheme and digest.
    pub headers: Vec<(String, String)>,
}

impl Outcome {
    pub(super) fn of(rejection: &Rejection) -> Self {
        let (status, reason) = (rejection.status().as_u16(), rejection.reason());
        match Mark::of(rejection) {
            Mark::Unknown => Self::Undecided { status, reason },
            _ => Self::Refused { status, reason },
        }
    }
}

impl Mark {
    pub(super) const fn of(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::VerifierUnavailable(_) => Self::Unknown,
            _ => Self::No,
        }
    }

    pub(super) const fn of_rule(is_met: bool) -> Self {
        if is_met { Self::Yes } else { Self::No }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { mark, what, detail } in &self.steps {
            let word = match mark {
                Mark::Yes => "ok",
                Mark::No => "no",
                Mark::Unknown => "?",
                Mark::Aside => "",
            };
            writeln!(formatter, "{word:<4}{what:<14}{detail}")?;
        }
        if let Some(Sent { upstream, method, target, headers }) = &self.sent {
            writeln!(formatter, "\nThe upstream {upstream:?} would get:\n    {method} {target}")?;
            for (name, value) in headers {
                writeln!(formatter, "    {name}: {value}")?;
            }
        }
        match &self.outcome {
            Outcome::Allowed => formatter.write_str("\nallowed"),
            Outcome::Answered { status } => write!(formatter, "\nanswered here with {status}"),
            Outcome::Refused { status, reason } => {
                write!(formatter, "\nrefused with {status}: {reason}")
            }
            Outcome::Undecided { status, reason } => {
                write!(formatter, "\nnot decided, the caller gets {status}: {reason}")
            }
        }
    }
}
