//! What the names and calls of an expression mean: what is named is there, and what is called has the
//! right arguments.

use super::mistake::{InvalidExpression, Mistake};
use super::parse::{Node, Parsed, Parser};
use super::token::Token;
use super::tree::{Expr, Quantifier, TextTest, Variable};

impl Parser<'_> {
    /// `base.name(…)`; the bracket is taken.
    pub(super) fn method(&mut self, at: usize, name: &str, base: Node) -> Parsed {
        let quantifier = match name {
            "all" => Some(Quantifier::All),
            "exists" => Some(Quantifier::Exists),
            "exists_one" | "existsOne" => Some(Quantifier::ExistsOne),
            _ => None,
        };
        if let Some(quantifier) = quantifier {
            return self.each(at, quantifier, base);
        }
        let arguments = self.arguments()?;
        let test = match name {
            "size" => None,
            "startsWith" => Some(TextTest::StartsWith),
            "endsWith" => Some(TextTest::EndsWith),
            "contains" => Some(TextTest::Contains),
            "matches" => return Err(self.wrong_at(at, Mistake::Regex)),
            _ => return Err(self.wrong_at(at, Mistake::UnknownFunction)),
        };
        match (test, <[Node; 1]>::try_from(arguments)) {
            (Some(test), Ok([argument])) => {
                let below = base.depth.max(argument.depth);
                self.node(Expr::Test(test, Box::new([base.expr, argument.expr])), below)
            }
            (None, Err(none)) if none.is_empty() => {
                self.node(Expr::Size(Box::new(base.expr)), base.depth)
            }
            _ => Err(self.wrong_at(at, Mistake::Arguments)),
        }
    }

    /// `list.all(element, condition)`.
    fn each(&mut self, at: usize, quantifier: Quantifier, list: Node) -> Parsed {
        if self.element.is_some() {
            return Err(self.wrong_at(at, Mistake::NestedLoop));
        }
        let named_at = self.at;
        let Token::Ident(element) = self.take() else {
            return Err(self.wrong_at(named_at, Mistake::Unexpected("a name for the element")));
        };
        if RESERVED.contains(&&*element) {
            return Err(self.wrong_at(named_at, Mistake::ElementName));
        }
        self.want_sign(",")?;
        self.element = Some(element);
        let condition = self.expression()?;
        self.element = None;
        self.want_sign(")")?;
        let below = list.depth.max(condition.depth);
        self.node(Expr::Each(quantifier, Box::new([list.expr, condition.expr])), below)
    }

    pub(super) fn named(&mut self, at: usize, name: &str) -> Parsed {
        if self.element.as_deref() == Some(name) {
            return self.node(Expr::Variable(Variable::Element), 0);
        }
        let expr = match name {
            "null" => Expr::Null,
            "true" => Expr::Bool(true),
            "false" => Expr::Bool(false),
            "scopes" => Expr::Variable(Variable::Scopes),
            "client_id" => Expr::Variable(Variable::ClientId),
            "principal" => Expr::Variable(Variable::Principal),
            "claims" => return self.claim(at),
            "request" => Expr::Variable(self.of_request(at)?),
            "has" | "size" if self.take_sign("(") => return self.function(at, name),
            "matches" => return Err(self.wrong_at(at, Mistake::Regex)),
            _ if self.is_sign("(") => return Err(self.wrong_at(at, Mistake::UnknownFunction)),
            _ => return Err(self.wrong_at(at, Mistake::UnknownName)),
        };
        self.node(expr, 0)
    }

    /// `claims.NAME` or `claims["NAME"]`; `claims` is taken.
    fn claim(&mut self, at: usize) -> Parsed {
        let whole = self.wrong_at(at, Mistake::ClaimsWhole);
        let name = if self.take_sign(".") {
            let Token::Ident(name) = self.take() else { return Err(whole) };
            name
        } else if self.take_sign("[") {
            let Token::Text(name) = self.take() else { return Err(whole) };
            self.want_sign("]")?;
            name
        } else {
            return Err(whole);
        };
        match &*name {
            "aud" => return Err(self.wrong_at(at, Mistake::Audience)),
            "scope" => return Err(self.wrong_at(at, Mistake::Scope)),
            _ if self.is_sign("(") => return Err(whole),
            _ => {}
        }
        if !self.claims.contains(&name) {
            self.claims.push(name.clone());
        }
        self.node(Expr::Claim(name), 0)
    }

    fn of_request(&mut self, at: usize) -> Result<Variable, InvalidExpression> {
        let wrong = self.wrong_at(at, Mistake::RequestMember);
        if !self.take_sign(".") {
            return Err(wrong);
        }
        match self.take() {
            Token::Ident(name) => match &*name {
                "method" => Ok(Variable::Method),
                "path" => Ok(Variable::Path),
                "host" => Ok(Variable::Host),
                _ => Err(wrong),
            },
            _ => Err(wrong),
        }
    }

    /// `has(…)` or `size(…)`; the bracket is taken.
    fn function(&mut self, at: usize, name: &str) -> Parsed {
        let arguments = self.arguments()?;
        let Ok([Node { expr, depth }]) = <[Node; 1]>::try_from(arguments) else {
            return Err(self.wrong_at(at, Mistake::Arguments));
        };
        match (name, &expr) {
            ("size", _) => self.node(Expr::Size(Box::new(expr)), depth),
            (_, Expr::Claim(_) | Expr::Member(..)) => self.node(Expr::Has(Box::new(expr)), depth),
            _ => Err(self.wrong_at(at, Mistake::HasArgument)),
        }
    }
}

/// No name for an element: what has a meaning here, and what the language keeps for itself.
const RESERVED: [&str; 29] = [
    "null",
    "true",
    "false",
    "in",
    "claims",
    "scopes",
    "client_id",
    "principal",
    "request",
    "has",
    "size",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "matches",
];
