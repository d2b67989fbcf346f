//! The rows of a self-test: what each one sends, and what must come of it. Pure.

use std::fmt;

use http::StatusCode;

use super::configuration::{PROTECTED, PUBLIC};
use crate::dev::authorization_server::CallCounts;
use crate::load::Summary;

/// A row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Row {
    /// A public route, no token: what the gateway costs without OAuth.
    PassThrough,
    /// JWTs that were never seen, each once: a signature is checked for each.
    ColdJwt,
    /// The same JWTs again and again.
    WarmJwt,
    /// Opaque tokens that were never seen, each once: the authorization server is asked about each.
    ColdOpaque,
    /// The same opaque tokens again and again.
    WarmOpaque,
    /// Good JWTs without the scope, again and again.
    Refused,
}

/// What tokens a row sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowTokens {
    /// None.
    None,
    /// All JWTs.
    Jwt,
    /// All opaque tokens.
    Opaque,
    /// JWTs without the scope.
    Scopeless,
}

/// Whether the gateway knows the tokens before the row begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Warmth {
    /// It does not, and each is sent once: the row ends with them if not before.
    Cold,
    /// Each was sent once before.
    Warm,
}

impl Row {
    /// All of them, in the order in which they run: cold before warm, as what was cold is warm then.
    pub const ALL: [Self; 6] = [
        Self::PassThrough,
        Self::ColdJwt,
        Self::WarmJwt,
        Self::ColdOpaque,
        Self::WarmOpaque,
        Self::Refused,
    ];

    /// The name in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::PassThrough => "pass_through",
            Self::ColdJwt => "cold_jwt",
            Self::WarmJwt => "warm_jwt",
            Self::ColdOpaque => "cold_opaque",
            Self::WarmOpaque => "warm_opaque",
            Self::Refused => "refused",
        }
    }

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassThrough => "pass-through",
            Self::ColdJwt => "cold JWT",
            Self::WarmJwt => "warm JWT",
            Self::ColdOpaque => "cold opaque",
            Self::WarmOpaque => "warm opaque",
            Self::Refused => "refused",
        }
    }

    /// The path that it asks for.
    pub const fn path(self) -> &'static str {
        match self {
            Self::PassThrough => PUBLIC,
            Self::ColdJwt | Self::WarmJwt | Self::ColdOpaque | Self::WarmOpaque | Self::Refused => {
                PROTECTED
            }
        }
    }

    /// The tokens that it sends.
    pub const fn tokens(self) -> RowTokens {
        match self {
            Self::PassThrough => RowTokens::None,
            Self::ColdJwt | Self::WarmJwt => RowTokens::Jwt,
            Self::ColdOpaque | Self::WarmOpaque => RowTokens::Opaque,
            Self::Refused => RowTokens::Scopeless,
        }
    }

    /// Whether they are known.
    pub const fn warmth(self) -> Warmth {
        match self {
            Self::ColdJwt | Self::ColdOpaque => Warmth::Cold,
            Self::PassThrough | Self::WarmJwt | Self::WarmOpaque | Self::Refused => Warmth::Warm,
        }
    }

    /// The status that every answer must have.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Refused => StatusCode::FORBIDDEN,
            Self::PassThrough
            | Self::ColdJwt
            | Self::WarmJwt
            | Self::ColdOpaque
            | Self::WarmOpaque => StatusCode::OK,
        }
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No request was answered.
    Silence,
    /// So many answers had another status: the first of those.
    Status(u64, u16),
    /// So many requests had no answer.
    Unanswered(u64),
    /// Introspection was called another number of times than it may be: the number, and the bound.
    Introspections(u64, Allowed),
    /// The key set was fetched more than once.
    KeySets(u64),
    /// The gateway ended.
    Ended,
}

/// How many calls there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allowed {
    /// So many.
    Exactly(u64),
    /// So many, or fewer.
    AtMost(u64),
}

impl Allowed {
    const fn allows(self, count: u64) -> bool {
        match self {
            Self::Exactly(number) => count == number,
            Self::AtMost(number) => count <= number,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => number.fmt(formatter),
            Self::AtMost(number) => write!(formatter, "at most {number}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => formatter.write_str("no request was answered"),
            Self::Status(count, status) => {
                write!(formatter, "{count} answers had another status, such as {status}")
            }
            Self::Unanswered(count) => write!(formatter, "{count} requests had no answer"),
            Self::Introspections(count, allowed) => {
                write!(formatter, "introspection was called {count} times and not {allowed}")
            }
            Self::KeySets(count) => {
                write!(formatter, "the key set was fetched {count} times and not once at most")
            }
            Self::Ended => formatter.write_str("the gateway ended"),
        }
    }
}

/// What is wrong with a row that came to `summary` and, from when its tokens were first sent, made
/// `calls`. `tokens` is how many it had.
pub(super) fn faults(row: Row, summary: &Summary, calls: CallCounts, tokens: u64) -> Vec<Fault> {
    let statuses = summary.statuses();
    let expected = row.status().as_u16();
    let (answers, errors) = (summary.answers(), summary.errors());
    let other = statuses.iter().find(|(status, _)| *status != expected);
    let status = other.map(|(status, _)| Fault::Status(answers - statuses.of(expected), status));
    let allowed = match row {
        Row::ColdOpaque => Allowed::Exactly(answers),
        Row::WarmOpaque => Allowed::AtMost(tokens),
        Row::PassThrough | Row::ColdJwt | Row::WarmJwt | Row::Refused => Allowed::Exactly(0),
    };
    let asked = calls.introspection;
    let found = [
        (answers == 0).then_some(Fault::Silence),
        status,
        (errors > 0).then_some(Fault::Unanswered(errors)),
        (!allowed.allows(asked)).then_some(Fault::Introspections(asked, allowed)),
        (calls.jwks > 1).then_some(Fault::KeySets(calls.jwks)),
    ];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::KindSummary;

    /// A second in which these answers came.
    pub(in crate::load::self_test) fn summary(statuses: &[u16]) -> Summary {
        let mut kind = KindSummary::default();
        statuses.iter().for_each(|status| kind.statuses.count(*status));
        Summary::of(Duration::from_secs(1), vec![kind])
    }

    #[test]
    fn a_row_is_held_against_its_status_and_its_calls() {
        use Allowed::{AtMost, Exactly};
        use Fault::{Introspections, KeySets, Silence, Status};
        let calls = |introspection, jwks| CallCounts { introspection, jwks, ..Default::default() };
        #[rustfmt::skip]
        let cases = [
            // claim                        row               answers           calls        faults
            ("one let through",             Row::Refused,     &[403, 200][..],  calls(0, 0), vec![Status(1, 200)]),
            ("all refused",                 Row::Refused,     &[403, 403],      calls(0, 0), vec![]),
            ("nothing came",                Row::PassThrough, &[],              calls(0, 0), vec![Silence]),
            ("a call for each",             Row::ColdOpaque,  &[200, 200],      calls(2, 0), vec![]),
            ("a call too few",              Row::ColdOpaque,  &[200, 200],      calls(1, 0), vec![Introspections(1, Exactly(2))]),
            ("a call a token",              Row::WarmOpaque,  &[200; 9],        calls(3, 0), vec![]),
            ("more than a call a token",    Row::WarmOpaque,  &[200; 9],        calls(4, 0), vec![Introspections(4, AtMost(3))]),
            ("a JWT is not introspected",   Row::WarmJwt,     &[200],           calls(1, 0), vec![Introspections(1, Exactly(0))]),
            ("keys are fetched once",       Row::ColdJwt,     &[200],           calls(0, 2), vec![KeySets(2)]),
        ];
        for (claim, row, answers, calls, expected) in cases {
            assert_eq!(faults(row, &summary(answers), calls, 3), expected, "{claim}");
        }
    }
}
