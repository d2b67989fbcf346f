//! Which kinds of tokens are sent, in which proportion, and in which order.
//!
//! The order is laid out beforehand and evenly spread: of `good=90,scope=10` every tenth one is
//! refused, so that any stretch of a run is like the whole.

use std::fmt;
use std::str::FromStr;

use super::kind::TokenKind;

/// Kinds with their weights, such as `good=90,expired=5,scope=5`. Each kind stands there once, and
/// at least one has a weight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mix(Vec<(TokenKind, u32)>);

/// Why a text is no mix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidMix {
    /// A part is not `KIND=WEIGHT`.
    NoPair(String),
    /// There is no such kind.
    UnknownKind(String),
    /// A kind stands there twice.
    Twice(TokenKind),
    /// The weights add up to nothing, or to more than [`WEIGHT_MAX`].
    Weight(u64),
}

impl fmt::Display for InvalidMix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPair(part) => {
                write!(formatter, "{part:?} is not KIND=WEIGHT; write good=90,expired=5,scope=5")
            }
            Self::UnknownKind(name) => {
                let names = TokenKind::ALL.map(TokenKind::name).join(", ");
                write!(formatter, "there is no kind {name:?}; the kinds are {names}")
            }
            Self::Twice(kind) => write!(formatter, "{kind} stands there twice; add its weights up"),
            Self::Weight(sum) => write!(
                formatter,
                "the weights add up to {sum}; write weights with a sum of 1 to {WEIGHT_MAX}"
            ),
        }
    }
}

impl std::error::Error for InvalidMix {}

impl Default for Mix {
    /// Good ones alone.
    fn default() -> Self {
        Self::only(TokenKind::Good)
    }
}

impl Mix {
    /// One kind alone.
    pub fn only(kind: TokenKind) -> Self {
        Self(vec![(kind, 1)])
    }

    /// Whether there is a kind in it other than good ones and none at all: those that only whoever
    /// has the key can make.
    pub fn needs_minting(&self) -> bool {
        let is_made = |kind: &TokenKind| !matches!(kind, TokenKind::Good | TokenKind::None);
        self.0.iter().any(|(kind, _)| is_made(kind))
    }

    /// One round in the order in which it is sent. Rounds that follow each other keep the spread.
    ///
    /// Each turn every kind gains its weight, the one that has most is sent and pays the sum: the
    /// smooth weighted round robin of nginx. The cost is kinds times weights.
    pub fn round(&self) -> Vec<TokenKind> {
        let divisor = self.0.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
        let weights = self.0.iter().map(|(kind, weight)| (*kind, i64::from(weight / divisor)));
        let mut credits: Vec<_> = weights.map(|(kind, weight)| (kind, weight, 0)).collect();
        let sum: i64 = credits.iter().map(|(_, weight, _)| weight).sum();
        let mut round = Vec::new();
        for _ in 0..sum {
            credits.iter_mut().for_each(|(_, weight, credit)| *credit += *weight);
            // The first of equals, so that the order is that of the text.
            let most = credits.iter_mut().rev().max_by_key(|(_, _, credit)| *credit);
            if let Some((kind, _, credit)) = most {
                *credit -= sum;
                round.push(*kind);
            }
        }
        round
    }

    /// At least `tokens` kinds in whole rounds: what is then repeated keeps the proportion.
    pub fn layout(&self, tokens: usize) -> Vec<TokenKind> {
        let round = self.round();
        let length = tokens.max(1).next_multiple_of(round.len().max(1));
        round.into_iter().cycle().take(length).collect()
    }
}

impl FromStr for Mix {
    type Err = InvalidMix;

    fn from_str(text: &str) -> Result<Self, InvalidMix> {
        let mut parts: Vec<(TokenKind, u32)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let pair = part
                .split_once('=')
                .and_then(|(name, weight)| Some((name.trim(), weight.trim().parse::<u32>().ok()?)));
            let (name, weight) = pair.ok_or_else(|| InvalidMix::NoPair(part.to_owned()))?;
            let kind = name.parse().map_err(|_| InvalidMix::UnknownKind(name.to_owned()))?;
            if parts.iter().any(|(other, _)| *other == kind) {
                return Err(InvalidMix::Twice(kind));
            }
            parts.push((kind, weight));
        }
        let sum: u64 = parts.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if sum == 0 || u64::from(WEIGHT_MAX) < sum {
            return Err(InvalidMix::Weight(sum));
        }
        parts.retain(|(_, weight)| *weight > 0);
        Ok(Self(parts))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> =
            self.0.iter().map(|(kind, weight)| format!("{kind}={weight}")).collect();
        formatter.write_str(&parts.join(","))
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A round is in memory, and one in ten thousand is fine enough.
pub const WEIGHT_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(text: &str) -> Mix {
        text.parse().unwrap()
    }

    fn count(layout: &[TokenKind], kind: TokenKind) -> usize {
        layout.iter().filter(|one| **one == kind).count()
    }

    #[test]
    fn a_round_has_each_kind_by_its_weight_and_no_more_than_it_needs() {
        let round = mix("good=90,expired=5,scope=5").round();
        assert_eq!(round.len(), 20);
        assert_eq!(count(&round, TokenKind::Good), 18);
        assert_eq!(count(&round, TokenKind::Expired), 1);
        assert_eq!(count(&round, TokenKind::Scope), 1);
        assert_eq!(Mix::default().round(), [TokenKind::Good]);
    }

    #[test]
    fn kinds_are_spread_evenly_over_every_stretch() {
        for text in
            ["good=90,expired=5,scope=5", "good=7,none=3", "good=1,scope=1", "good=97,none=3"]
        {
            let mix = mix(text);
            let layout = mix.layout(mix.round().len() * 2);
            let sum: u32 = mix.0.iter().map(|(_, weight)| weight).sum();
            for (kind, weight) in &mix.0 {
                for end in 1..=layout.len() {
                    let ideal = end as f64 * f64::from(*weight) / f64::from(sum);
                    let found = count(&layout[..end], *kind) as f64;
                    assert!((found - ideal).abs() <= 1.5, "{text}: {found} {kind} of {ideal}");
                }
            }
        }
    }

    #[test]
    fn a_layout_has_whole_rounds_and_at_least_so_many() {
        let mix = mix("good=3,none=1");
        for (tokens, expected) in [(0, 4), (1, 4), (4, 4), (5, 8), (1000, 1000)] {
            let layout = mix.layout(tokens);
            assert_eq!(layout.len(), expected);
            assert_eq!(count(&layout, TokenKind::None) * 4, expected);
        }
    }

    #[test]
    fn what_is_no_mix_is_told_with_what_to_write() {
        #[rustfmt::skip]
        let cases = [
            ("",                InvalidMix::NoPair(String::new())),
            ("good",            InvalidMix::NoPair("good".into())),
            ("good=-1",         InvalidMix::NoPair("good=-1".into())),
            ("good=1,bad=1",    InvalidMix::UnknownKind("bad".into())),
            ("good=1,good=2",   InvalidMix::Twice(TokenKind::Good)),
            ("good=0",          InvalidMix::Weight(0)),
            ("good=10001",      InvalidMix::Weight(10_001)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Mix>(), Err(expected), "{text}");
        }
        assert_eq!(mix(" good=1 , none=0").to_string(), "good=1");
    }

    #[test]
    fn only_a_key_makes_bad_tokens() {
        assert!(!mix("good=1,none=1").needs_minting());
        assert!(mix("good=1,expired=1").needs_minting());
    }
}
