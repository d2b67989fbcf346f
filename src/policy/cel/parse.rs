//! From words to a tree: the grammar. Neither its depth nor its size passes a bound. What a name or a
//! call means is `names`'s.

use super::mistake::{InvalidExpression, Mistake};
use super::token::{Placed, Token, tokens};
use super::tree::{Expr, Operator};
use super::{DEPTH_MAX, NODES_MAX, SOURCE_MAX_BYTES};

/// The tree of a text, and the claims that it names.
pub(super) fn parse(source: &str) -> Result<(Expr, Vec<Box<str>>), InvalidExpression> {
    if SOURCE_MAX_BYTES < source.len() {
        return Err(InvalidExpression { at: 0, why: Mistake::Length });
    }
    let tokens = tokens(source)?;
    let mut parser =
        Parser { tokens: &tokens, at: 0, nodes: 0, nesting: 0, element: None, claims: Vec::new() };
    let Node { expr, .. } = parser.expression()?;
    parser.want(Token::End, "the end")?;
    if !expr.may_be_bool() {
        return Err(InvalidExpression { at: 0, why: Mistake::NotBool });
    }
    Ok((expr, parser.claims))
}

/// A tree and how deep it is.
pub(super) struct Node {
    pub(super) expr: Expr,
    pub(super) depth: usize,
}

pub(super) type Parsed = Result<Node, InvalidExpression>;

pub(super) struct Parser<'t> {
    tokens: &'t [Placed],
    pub(super) at: usize,
    nodes: usize,
    /// How many brackets and signs are open: what parses recurses so far.
    nesting: usize,
    /// What a loop around this calls its element.
    pub(super) element: Option<Box<str>>,
    pub(super) claims: Vec<Box<str>>,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    pub(super) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = self.is_sign(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn want(&mut self, token: Token, what: &'static str) -> Result<(), InvalidExpression> {
        if *self.peek() == token {
            self.at += 1;
            return Ok(());
        }
        Err(self.wrong(Mistake::Unexpected(what)))
    }

    pub(super) fn want_sign(&mut self, sign: &'static str) -> Result<(), InvalidExpression> {
        self.want(Token::Sign(sign), sign)
    }

    /// Wrong at the next word.
    fn wrong(&self, why: Mistake) -> InvalidExpression {
        self.wrong_at(self.at, why)
    }

    pub(super) fn wrong_at(&self, token: usize, why: Mistake) -> InvalidExpression {
        let at = self.tokens.get(token).or(self.tokens.last()).map_or(0, |(at, _)| *at);
        InvalidExpression { at, why }
    }

    /// A node above others, of which the deepest is so deep.
    pub(super) fn node(&mut self, expr: Expr, below: usize) -> Parsed {
        self.nodes += 1;
        let depth = below + 1;
        if DEPTH_MAX < depth {
            return Err(self.wrong(Mistake::Depth));
        }
        if NODES_MAX < self.nodes {
            return Err(self.wrong(Mistake::Size));
        }
        Ok(Node { expr, depth })
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if DEPTH_MAX <= self.nesting {
            return Err(self.wrong(Mistake::Depth));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// `or ? or : expression`.
    pub(super) fn expression(&mut self) -> Parsed {
        self.nested(|parser| {
            let condition = parser.or()?;
            if !parser.take_sign("?") {
                return Ok(condition);
            }
            let yes = parser.or()?;
            parser.want_sign(":")?;
            let no = parser.expression()?;
            let below = condition.depth.max(yes.depth).max(no.depth);
            parser.node(Expr::Choice(Box::new([condition.expr, yes.expr, no.expr])), below)
        })
    }

    fn or(&mut self) -> Parsed {
        self.chain("||", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("&&", Self::relation, Expr::And)
    }

    fn chain(
        &mut self,
        sign: &str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Parsed {
        let first = part(self)?;
        if !self.is_sign(sign) {
            return Ok(first);
        }
        let (mut parts, mut below) = (vec![first.expr], first.depth);
        while self.take_sign(sign) {
            let Node { expr, depth } = part(self)?;
            parts.push(expr);
            below = below.max(depth);
        }
        self.node(join(parts), below)
    }

    fn relation(&mut self) -> Parsed {
        self.binary(&RELATIONS, |parser| {
            parser.binary(&SUMS, |parser| parser.binary(&PRODUCTS, Self::unary))
        })
    }

    /// Operators of one rank, from left to right.
    fn binary(
        &mut self,
        operators: &[(&str, Operator)],
        operand: impl Fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut left = operand(self)?;
        while let Some(operator) = self.operator(operators) {
            self.at += 1;
            let right = operand(self)?;
            let below = left.depth.max(right.depth);
            left = self.node(Expr::Binary(operator, Box::new([left.expr, right.expr])), below)?;
        }
        Ok(left)
    }

    fn operator(&self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let word: &str = match self.peek() {
            Token::Sign(sign) => sign,
            Token::Ident(word) => word,
            _ => return None,
        };
        operators.iter().find(|(sign, _)| *sign == word).map(|(_, operator)| *operator)
    }

    fn unary(&mut self) -> Parsed {
        let join: fn(Box<Expr>) -> Expr = match self.peek() {
            Token::Sign("!") => Expr::Not,
            Token::Sign("-") => Expr::Negative,
            _ => return self.member(),
        };
        self.at += 1;
        let inner = self.nested(Self::unary)?;
        self.node(join(Box::new(inner.expr)), inner.depth)
    }

    /// What stands behind `.` and between `[` and `]`.
    fn member(&mut self) -> Parsed {
        let mut base = self.primary()?;
        loop {
            if self.take_sign(".") {
                let at = self.at;
                let Token::Ident(name) = self.take() else {
                    return Err(self.wrong_at(at, Mistake::Unexpected("a name")));
                };
                base = match self.take_sign("(") {
                    true => self.method(at, &name, base)?,
                    false => self.node(Expr::Member(Box::new(base.expr), name), base.depth)?,
                };
            } else if self.take_sign("[") {
                let index = self.expression()?;
                self.want_sign("]")?;
                let below = base.depth.max(index.depth);
                base = self.node(Expr::Index(Box::new(base.expr), Box::new(index.expr)), below)?;
            } else {
                return Ok(base);
            }
        }
    }

    /// Up to the closing bracket.
    pub(super) fn arguments(&mut self) -> Result<Vec<Node>, InvalidExpression> {
        self.list(")")
    }

    fn list(&mut self, end: &'static str) -> Result<Vec<Node>, InvalidExpression> {
        let mut items = Vec::new();
        while !self.is_sign(end) {
            items.push(self.expression()?);
            if !self.take_sign(",") {
                break;
            }
        }
        self.want_sign(end)?;
        Ok(items)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at;
        let literal = match self.take() {
            Token::Int(number) => Expr::Int(number),
            Token::Double(number) => Expr::Double(number),
            Token::Text(text) => Expr::Text(text),
            Token::Ident(name) => return self.named(at, &name),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.want_sign(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                let below = items.iter().map(|item| item.depth).max().unwrap_or(0);
                let items = items.into_iter().map(|item| item.expr).collect();
                return self.node(Expr::List(items), below);
            }
            _ => return Err(self.wrong_at(at, Mistake::Unexpected("a value"))),
        };
        self.node(literal, 0)
    }
}

const RELATIONS: [(&str, Operator); 7] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("in", Operator::In),
];

const SUMS: [(&str, Operator); 2] = [("+", Operator::Add), ("-", Operator::Subtract)];

const PRODUCTS: [(&str, Operator); 3] =
    [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
