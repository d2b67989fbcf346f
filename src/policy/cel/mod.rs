//! `cel`: one expression of the Common Expression Language about a token and its request.
//!
//! What is taken of the language (<https://github.com/google/cel-spec>), and means what it means
//! there: literals, lists, `claims.…`, `scopes`, `client_id`, `principal`, `request.method`,
//! `request.path`, `request.host`; `? :`, `||`, `&&`, `!`, comparisons, `in`, `+ - * / %`; indexes and
//! members; `has()`, `size()`, `startsWith()`, `endsWith()`, `contains()`; `all()`, `exists()` and
//! `exists_one()` over lists, one inside of none. Whatever else is written is told at load.
//!
//! # What holds
//! * An expression is met by `true` alone: an error, also of a type, and any other value refuse.
//! * Its cost is bounded twice: at load by its [length](SOURCE_MAX_BYTES), [depth](DEPTH_MAX) and
//!   [size](NODES_MAX), and since no loop stands in a loop; for each request by [`STEPS_MAX`].
//! * Which claims it reads is known at load, so a verdict keeps those and no others.
//! * Values are read where they lie: nothing of a token is copied but by `+`.
//!
//! Why no crate: `cel` (0.15) bounds no cost of an evaluation and copies all that it reads; and of the
//! parsers in it two had to be mended in 2026 since short texts took gigabytes or ended the process,
//! which here a reload would meet. Regular expressions are left out with intent.

mod eval;
mod mistake;
mod names;
mod parse;
mod token;
mod tree;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::oauth::{Principal, VerifiedToken};
use eval::{Evaluation, Failure};
use tree::Expr;
use value::Val;

pub use mistake::{InvalidExpression, Mistake};

/// A compiled expression. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Box<str>,
    root: Expr,
    claims: Vec<Box<str>>,
}

/// What an expression sees of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestFacts<'r> {
    /// `request.method`.
    pub method: &'r str,
    /// `request.path`: the one that the route table saw, in its normal form, without the query.
    pub path: Cow<'r, str>,
    /// `request.host`: in lower case, without the port.
    pub host: Cow<'r, str>,
}

/// What an expression came to, where that is not true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotTrue {
    /// It is false.
    False,
    /// It has no value, or one that is neither true nor false.
    Failed(&'static str),
}

impl Expression {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, and at which byte.
    pub fn compile(source: &str) -> Result<Self, InvalidExpression> {
        let (root, claims) = parse::parse(source)?;
        Ok(Self(Arc::new(Compiled { source: source.into(), root, claims })))
    }

    /// The text that it was compiled of.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The claims that it reads.
    pub fn claim_names(&self) -> impl Iterator<Item = &str> {
        self.0.claims.iter().map(|name| &**name)
    }

    pub(super) fn is_met_by(
        &self,
        token: &VerifiedToken,
        principal: Principal,
        request: &RequestFacts<'_>,
    ) -> bool {
        self.outcome(token, principal, request).is_ok()
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// When it is anything but true.
    pub fn outcome(
        &self,
        token: &VerifiedToken,
        principal: Principal,
        request: &RequestFacts<'_>,
    ) -> Result<(), NotTrue> {
        let value = Evaluation::new(token, principal, request).value(&self.0.root);
        match value {
            Ok(Val::Bool(true)) => Ok(()),
            Ok(Val::Bool(false)) => Err(NotTrue::False),
            Ok(_) => Err(NotTrue::Failed(Failure::NotBool.words())),
            Err(failure) => Err(NotTrue::Failed(failure.words())),
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line, wherever it is shown.
        let words: Vec<&str> = self.source().split_whitespace().collect();
        formatter.write_str(&words.join(" "))
    }
}

/// Longer ones are programs, and belong into a service behind the gateway.
pub const SOURCE_MAX_BYTES: usize = 2048;

/// How deep an expression may be nested: what evaluates it recurses so far. The specification asks
/// for at least 12 to 32, by the kind of nesting.
pub const DEPTH_MAX: usize = 32;

/// Operators, operands and calls in one expression.
pub const NODES_MAX: usize = 256;

/// Steps of one evaluation: one for each node, element that is looked at, and 64 bytes compared or
/// joined. A claim with 1,000 groups in a loop of 15 nodes fits.
pub const STEPS_MAX: u32 = 20_000;

#[cfg(test)]
mod tests;
