//! An expression, parsed.

/// An expression as a tree.
#[derive(Debug, PartialEq)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    List(Vec<Expr>),
    /// `claims.NAME`.
    Claim(Box<str>),
    Variable(Variable),
    Member(Box<Expr>, Box<str>),
    Index(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    /// Of any number of parts, so that a long chain is not deep.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Choice(Box<[Expr; 3]>),
    Binary(Operator, Box<[Expr; 2]>),
    /// `has(…)` of a member or a claim.
    Has(Box<Expr>),
    Size(Box<Expr>),
    Test(TextTest, Box<[Expr; 2]>),
    /// A list, and what is asked of its elements.
    Each(Quantifier, Box<[Expr; 2]>),
}

/// What an expression sees beside claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Variable {
    Scopes,
    ClientId,
    Principal,
    Method,
    Path,
    Host,
    /// The element that `all` and the like look at.
    Element,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

impl Expr {
    /// Whether a value could be true or false.
    pub(super) fn may_be_bool(&self) -> bool {
        match self {
            Self::Null
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Negative(_)
            | Self::Size(_) => false,
            Self::Variable(variable) => *variable == Variable::Element,
            Self::Binary(operator, _) => !matches!(
                operator,
                Operator::Add
                    | Operator::Subtract
                    | Operator::Multiply
                    | Operator::Divide
                    | Operator::Remainder
            ),
            Self::Choice(parts) => {
                let [_, yes, no] = &**parts;
                yes.may_be_bool() && no.may_be_bool()
            }
            Self::Bool(_)
            | Self::Claim(_)
            | Self::Member(..)
            | Self::Index(..)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Has(_)
            | Self::Test(..)
            | Self::Each(..) => true,
        }
    }
}
