//! What a tree comes to.

use std::rc::Rc;

use super::tree::{Expr, Operator, Quantifier, TextTest, Variable};
use super::value::{BYTES_A_STEP, List, Text, Val};
use super::{RequestFacts, STEPS_MAX};
use crate::oauth::{Principal, TokenKind, VerifiedToken};
use crate::policy::requirement::{CLIENT_ID, ISS, SUB};

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// A claim, member or element that is not there.
    Absent,
    /// A value of another type than the operator or function takes.
    Type,
    /// A number out of range, or a division by zero.
    Range,
    /// [`STEPS_MAX`].
    Steps,
    /// It has a value, which is neither true nor false.
    NotBool,
}

impl Failure {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Absent => "something that it names is not there",
            Self::Type => "a value has another type than it is used as",
            Self::Range => "a number is out of range",
            Self::Steps => "it takes too many steps",
            Self::NotBool => "it is neither true nor false",
        }
    }
}

/// One evaluation.
pub(super) struct Evaluation<'t> {
    token: &'t VerifiedToken,
    principal: Principal,
    request: &'t RequestFacts<'t>,
    steps_left: u32,
    element: Option<Val<'t>>,
}

impl<'t> Evaluation<'t> {
    pub(super) const fn new(
        token: &'t VerifiedToken,
        principal: Principal,
        request: &'t RequestFacts<'t>,
    ) -> Self {
        Self { token, principal, request, steps_left: STEPS_MAX, element: None }
    }

    /// Pays for a step, and so many more.
    fn pay(&mut self, more: usize) -> Result<(), Failure> {
        let price = u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1);
        self.steps_left = self.steps_left.checked_sub(price).ok_or(Failure::Steps)?;
        Ok(())
    }

    pub(super) fn value(&mut self, expr: &'t Expr) -> Result<Val<'t>, Failure> {
        self.pay(0)?;
        match expr {
            Expr::Null => Ok(Val::Null),
            Expr::Bool(yes) => Ok(Val::Bool(*yes)),
            Expr::Int(number) => Ok(Val::Int(*number)),
            Expr::Double(number) => Ok(Val::Double(*number)),
            Expr::Text(text) => Ok(Val::lent(text)),
            Expr::List(items) => {
                let items: Vec<Val<'t>> =
                    items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                Ok(Val::List(List::Made(items.into())))
            }
            Expr::Claim(name) => self.claim(name)?.ok_or(Failure::Absent),
            Expr::Variable(variable) => self.variable(*variable),
            Expr::Member(base, name) => {
                let base = self.value(base)?;
                self.member(&base, name)?.ok_or(Failure::Absent)
            }
            Expr::Index(base, index) => {
                let (base, index) = (self.value(base)?, self.value(index)?);
                self.indexed(&base, &index)
            }
            Expr::Not(inner) => self.truth(inner).map(|yes| Val::Bool(!yes)),
            Expr::Negative(inner) => match self.value(inner)? {
                Val::Int(number) => number.checked_neg().map(Val::Int).ok_or(Failure::Range),
                Val::Double(number) => Ok(Val::Double(-number)),
                _ => Err(Failure::Type),
            },
            Expr::And(parts) => self.until(parts, false),
            Expr::Or(parts) => self.until(parts, true),
            Expr::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)
            }
            Expr::Binary(operator, sides) => {
                let [left, right] = &**sides;
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, &left, &right)
            }
            Expr::Has(inner) => self.has(inner).map(Val::Bool),
            Expr::Size(inner) => {
                let value = self.value(inner)?;
                if let Val::Text(_) = value {
                    self.pay(value.weight())?;
                }
                size(&value)
            }
            Expr::Test(test, sides) => {
                let [text, part] = &**sides;
                let (text, part) = (self.value(text)?, self.value(part)?);
                self.test(*test, text.text()?, part.text()?)
            }
            Expr::Each(quantifier, parts) => {
                let [list, condition] = &**parts;
                self.each(*quantifier, list, condition)
            }
        }
    }

    fn truth(&mut self, expr: &'t Expr) -> Result<bool, Failure> {
        match self.value(expr)? {
            Val::Bool(yes) => Ok(yes),
            _ => Err(Failure::Type),
        }
    }

    /// The parts of `||` (`decides`: true) or `&&` (false). One that decides does so whatever came
    /// of those before it: the language has both commute. But no part decides once the steps are
    /// used up.
    fn until(&mut self, parts: &'t [Expr], decides: bool) -> Result<Val<'t>, Failure> {
        let mut outcome = Ok(Val::Bool(!decides));
        for part in parts {
            match self.truth(part) {
                Ok(yes) if yes == decides => return Ok(Val::Bool(decides)),
                Ok(_) => {}
                Err(Failure::Steps) => return Err(Failure::Steps),
                Err(failure) => outcome = outcome.and(Err(failure)),
            }
        }
        outcome
    }

    /// The claim, of a token whose claims are known. Some stand in fields of the verdict.
    fn claim(&self, name: &str) -> Result<Option<Val<'t>>, Failure> {
        let token = self.token;
        let found = match name {
            ISS => Some(Val::lent(token.issuer.as_str())),
            SUB => token.subject().map(Val::lent),
            CLIENT_ID => token.client_id().map(Val::lent),
            other => token.claims.value(other).map(Val::of_json),
        };
        match found {
            // That it is not there says nothing where nobody but the token answer describes it.
            None if token.kind == TokenKind::Issued => Err(Failure::Absent),
            found => Ok(found),
        }
    }

    fn variable(&mut self, variable: Variable) -> Result<Val<'t>, Failure> {
        match variable {
            // Nobody but the token answer describes it, and that said nothing of scopes.
            Variable::Scopes
                if self.token.kind == TokenKind::Issued && self.token.scopes().is_empty() =>
            {
                Err(Failure::Absent)
            }
            Variable::Scopes => {
                let scopes: Vec<Val<'t>> =
                    self.token.scopes().iter().map(|scope| Val::lent(scope.as_str())).collect();
                self.pay(scopes.len())?;
                Ok(Val::List(List::Made(scopes.into())))
            }
            Variable::ClientId => self.token.client_id().map(Val::lent).ok_or(Failure::Absent),
            Variable::Principal => Ok(Val::lent(match self.principal {
                Principal::User => "user",
                Principal::Client => "client",
            })),
            Variable::Method => Ok(Val::lent(self.request.method)),
            Variable::Path => Ok(Val::lent(&self.request.path)),
            Variable::Host => Ok(Val::lent(&self.request.host)),
            Variable::Element => self.element.clone().ok_or(Failure::Absent),
        }
    }

    fn member(&self, base: &Val<'t>, name: &str) -> Result<Option<Val<'t>>, Failure> {
        match base {
            Val::Map(members) => Ok(members.get(name).map(Val::of_json)),
            _ => Err(Failure::Type),
        }
    }

    fn indexed(&self, base: &Val<'t>, index: &Val<'t>) -> Result<Val<'t>, Failure> {
        match (base, index) {
            (Val::List(list), Val::Int(index)) => {
                let index = usize::try_from(*index).map_err(|_| Failure::Absent)?;
                list.item(index).ok_or(Failure::Absent)
            }
            (Val::Map(_), name) => self.member(base, name.text()?)?.ok_or(Failure::Absent),
            _ => Err(Failure::Type),
        }
    }

    fn has(&mut self, expr: &'t Expr) -> Result<bool, Failure> {
        match expr {
            Expr::Claim(name) => Ok(self.claim(name)?.is_some()),
            Expr::Member(base, name) => {
                let base = self.value(base)?;
                Ok(self.member(&base, name)?.is_some())
            }
            _ => Err(Failure::Type),
        }
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: &Val<'t>,
        right: &Val<'t>,
    ) -> Result<Val<'t>, Failure> {
        match operator {
            Operator::Equal => self.equals(left, right).map(Val::Bool),
            Operator::NotEqual => self.equals(left, right).map(|yes| Val::Bool(!yes)),
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => {
                self.pay(left.weight().min(right.weight()))?;
                let order = left.order(right)?;
                Ok(Val::Bool(order.is_some_and(|order| match operator {
                    Operator::Less => order.is_lt(),
                    Operator::LessOrEqual => order.is_le(),
                    Operator::Greater => order.is_gt(),
                    _ => order.is_ge(),
                })))
            }
            Operator::In => self.is_in(left, right).map(Val::Bool),
            Operator::Add => match (left, right) {
                (Val::Text(one), Val::Text(other)) => self.joined(one, other),
                _ => computed(left, right, i64::checked_add, |one, other| one + other),
            },
            Operator::Subtract => computed(left, right, i64::checked_sub, |one, other| one - other),
            Operator::Multiply => computed(left, right, i64::checked_mul, |one, other| one * other),
            Operator::Divide => computed(left, right, i64::checked_div, |one, other| one / other),
            Operator::Remainder => match (left, right) {
                (Val::Int(one), Val::Int(other)) => {
                    one.checked_rem(*other).map(Val::Int).ok_or(Failure::Range)
                }
                _ => Err(Failure::Type),
            },
        }
    }

    fn joined(&mut self, one: &Text<'t>, other: &Text<'t>) -> Result<Val<'t>, Failure> {
        let (one, other) = (one.as_str(), other.as_str());
        self.pay((one.len() + other.len()) / BYTES_A_STEP)?;
        let both: Rc<str> = [one, other].concat().into();
        Ok(Val::Text(Text::Made(both)))
    }

    /// JSON is at most 128 deep, and what is written here at most [`super::DEPTH_MAX`].
    fn equals(&mut self, one: &Val<'t>, other: &Val<'t>) -> Result<bool, Failure> {
        self.pay(one.weight().min(other.weight()))?;
        if let Some(is_equal) = one.equals_plainly(other) {
            return Ok(is_equal);
        }
        match (one, other) {
            (Val::List(one), Val::List(other)) if one.len() == other.len() => {
                for (one, other) in one.items().zip(other.items()) {
                    if !self.equals(&one, &other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Val::Map(one), Val::Map(other)) if one.len() == other.len() => {
                for (name, value) in *one {
                    let Some(beside) = other.get(name) else { return Ok(false) };
                    if !self.equals(&Val::of_json(value), &Val::of_json(beside))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn is_in(&mut self, value: &Val<'t>, container: &Val<'t>) -> Result<bool, Failure> {
        match container {
            Val::List(list) => {
                for item in list.items() {
                    if self.equals(value, &item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Val::Map(members) => Ok(members.contains_key(value.text()?)),
            _ => Err(Failure::Type),
        }
    }

    fn test(&mut self, test: TextTest, text: &str, part: &str) -> Result<Val<'t>, Failure> {
        self.pay(text.len() / BYTES_A_STEP)?;
        Ok(Val::Bool(match test {
            TextTest::StartsWith => text.starts_with(part),
            TextTest::EndsWith => text.ends_with(part),
            TextTest::Contains => text.contains(part),
        }))
    }

    fn each(
        &mut self,
        quantifier: Quantifier,
        list: &'t Expr,
        condition: &'t Expr,
    ) -> Result<Val<'t>, Failure> {
        let Val::List(list) = self.value(list)? else { return Err(Failure::Type) };
        let decides = match quantifier {
            Quantifier::All => Some(false),
            Quantifier::Exists => Some(true),
            Quantifier::ExistsOne => None,
        };
        let (mut met, mut failed) = (0_usize, None);
        for item in list.items() {
            self.element = Some(item);
            let truth = self.truth(condition);
            self.element = None;
            match (truth, decides) {
                (Ok(yes), Some(decides)) if yes == decides => return Ok(Val::Bool(decides)),
                (Ok(yes), _) => met += usize::from(yes),
                // As for `&&` and `||`: one that decides may still come. To count needs all.
                (Err(Failure::Steps), _) => return Err(Failure::Steps),
                (Err(failure), None) => return Err(failure),
                (Err(failure), Some(_)) => failed = failed.or(Some(failure)),
            }
        }
        match (failed, decides) {
            (Some(failure), _) => Err(failure),
            (None, Some(decides)) => Ok(Val::Bool(!decides)),
            (None, None) => Ok(Val::Bool(met == 1)),
        }
    }
}

fn computed<'t>(
    left: &Val<'t>,
    right: &Val<'t>,
    whole: fn(i64, i64) -> Option<i64>,
    double: fn(f64, f64) -> f64,
) -> Result<Val<'t>, Failure> {
    match (left, right) {
        (Val::Int(one), Val::Int(other)) => whole(*one, *other).map(Val::Int).ok_or(Failure::Range),
        (Val::Double(one), Val::Double(other)) => Ok(Val::Double(double(*one, *other))),
        _ => Err(Failure::Type),
    }
}

/// Of a text its code points.
fn size<'t>(value: &Val<'t>) -> Result<Val<'t>, Failure> {
    let size = match value {
        Val::Text(text) => text.as_str().chars().count(),
        Val::List(list) => list.len(),
        Val::Map(members) => members.len(),
        _ => return Err(Failure::Type),
    };
    i64::try_from(size).map(Val::Int).map_err(|_| Failure::Range)
}
