//! The values that an expression has on its way, and how they compare.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::eval::Failure;

/// A value; what belongs to the token is lent, not copied.
#[derive(Clone, Debug)]
pub(super) enum Val<'t> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Text<'t>),
    List(List<'t>),
    Map(&'t Map<String, Value>),
}

/// A text of the token, or one that `+` made.
#[derive(Clone, Debug)]
pub(super) enum Text<'t> {
    Lent(&'t str),
    Made(Rc<str>),
}

/// A list of the token, or one that was written or is made of scopes.
#[derive(Clone, Debug)]
pub(super) enum List<'t> {
    Json(&'t [Value]),
    Made(Rc<[Val<'t>]>),
}

impl<'t> Val<'t> {
    /// A number that is whole and fits is an int, and any other a double.
    pub(super) fn of_json(value: &'t Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::lent(text),
            Value::Array(items) => Self::List(List::Json(items)),
            Value::Object(members) => Self::Map(members),
        }
    }

    pub(super) const fn lent(text: &'t str) -> Self {
        Self::Text(Text::Lent(text))
    }

    pub(super) fn text(&self) -> Result<&str, Failure> {
        match self {
            Self::Text(text) => Ok(text.as_str()),
            _ => Err(Failure::Type),
        }
    }

    /// What comparing it costs, in steps beyond the first.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.as_str().len() / BYTES_A_STEP,
            Self::List(list) => list.len(),
            Self::Map(members) => members.len(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) => 0,
        }
    }

    /// Values of two types are not equal; numbers are one type. `None` where a list or map would
    /// have to be looked into: that has its own cost.
    pub(super) fn equals_plainly(&self, other: &Self) -> Option<bool> {
        Some(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one.as_str() == other.as_str(),
            (Self::Int(_) | Self::Double(_), Self::Int(_) | Self::Double(_)) => {
                self.order(other) == Ok(Some(Ordering::Equal))
            }
            (Self::List(_), Self::List(_)) | (Self::Map(_), Self::Map(_)) => return None,
            _ => false,
        })
    }

    /// Which comes first; `None` for what is not a number at all.
    ///
    /// # Errors
    /// [`Failure::Type`] for values that have no order between them.
    pub(super) fn order(&self, other: &Self) -> Result<Option<Ordering>, Failure> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Ok(Some(one.cmp(other))),
            (Self::Double(one), Self::Double(other)) => Ok(one.partial_cmp(other)),
            (Self::Int(one), Self::Double(other)) => Ok(order_mixed(*one, *other)),
            (Self::Double(one), Self::Int(other)) => {
                Ok(order_mixed(*other, *one).map(Ordering::reverse))
            }
            (Self::Text(one), Self::Text(other)) => Ok(Some(one.as_str().cmp(other.as_str()))),
            (Self::Bool(one), Self::Bool(other)) => Ok(Some(one.cmp(other))),
            _ => Err(Failure::Type),
        }
    }
}

/// Exact, as if on one line of numbers: a double has too few digits for some whole numbers.
fn order_mixed(whole: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    let wide = i128::from(whole);
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and that is far enough")]
    let floor = double.floor() as i128;
    let order = wide.cmp(&floor);
    Some(if order == Ordering::Equal && floor_is_below(double) { Ordering::Less } else { order })
}

fn floor_is_below(double: f64) -> bool {
    double.floor() < double
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'t> List<'t> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn item(&self, index: usize) -> Option<Val<'t>> {
        match self {
            Self::Json(items) => items.get(index).map(Val::of_json),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Val<'t>> {
        (0..self.len()).filter_map(|index| self.item(index))
    }
}

/// Comparing so many bytes costs about as much as any other step.
pub(super) const BYTES_A_STEP: usize = 64;
