//! The words of an expression.

use super::mistake::{InvalidExpression, Mistake};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(Box<str>),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// A word and the byte at which it begins.
pub(super) type Placed = (usize, Token);

/// Takes a text apart; the last word is [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Placed>, InvalidExpression> {
    let mut scanner = Scanner { source, at: 0 };
    let mut found = Vec::new();
    loop {
        scanner.skip_blanks();
        let at = scanner.at;
        let token = scanner.token().map_err(|why| InvalidExpression { at, why })?;
        let is_last = token == Token::End;
        found.push((at, token));
        if is_last {
            return Ok(found);
        }
    }
}

struct Scanner<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Scanner<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes what is in front as long as it is of this kind.
    fn take_while(&mut self, is_of: impl Fn(char) -> bool) -> &'s str {
        let rest = self.rest();
        let end = rest.find(|one| !is_of(one)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Blanks, line ends, and comments up to the end of their line.
    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|one| matches!(one, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.take_while(|one| one != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Mistake> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(quoted) = rest.strip_prefix(['r', 'R'])
            && quoted.starts_with(['"', '\''])
        {
            self.at += 1;
            return self.text(true);
        }
        match first {
            '"' | '\'' => self.text(false),
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = self.take_while(|one| one.is_ascii_alphanumeric() || one == '_');
                Ok(Token::Ident(word.into()))
            }
            '0'..='9' => self.number(),
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.ok_or(Mistake::Character)?;
                self.at += sign.len();
                Ok(Token::Sign(sign))
            }
        }
    }

    fn number(&mut self) -> Result<Token, Mistake> {
        let is_word = |one: char| one.is_ascii_alphanumeric() || one == '_';
        let start = self.at;
        let whole = self.take_while(is_word);
        if let Some(hex) = whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
            let number = i64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'));
            return number.map(Token::Int).ok_or(Mistake::Number);
        }
        let rest = self.rest();
        let has_fraction = rest
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(|one: char| one.is_ascii_digit()));
        if has_fraction {
            self.at += 1;
            self.take_while(is_word);
        }
        let has_exponent =
            self.source.get(start..self.at).is_some_and(|text| text.ends_with(['e', 'E']));
        if has_exponent && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take_while(is_word);
        }
        let text = self.source.get(start..self.at).unwrap_or_default();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Token::Int).map_err(|_| Mistake::Number);
        }
        let double = text.parse::<f64>().ok().filter(|double| double.is_finite());
        double.map(Token::Double).ok_or(Mistake::Number)
    }

    fn text(&mut self, is_raw: bool) -> Result<Token, Mistake> {
        let Some(quote) = self.rest().chars().next() else { return Err(Mistake::Unclosed) };
        let triple: String = [quote; 3].iter().collect();
        if self.rest().starts_with(&triple) {
            return Err(Mistake::TripleQuote);
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            text.push_str(
                self.take_while(|one| !matches!(one, '\\' | '\n' | '\r') && one != quote),
            );
            match self.rest().chars().next() {
                Some('\\') if is_raw => {
                    text.push('\\');
                    self.at += 1;
                }
                Some('\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(one) if one == quote => {
                    self.at += 1;
                    return Ok(Token::Text(text.into()));
                }
                _ => return Err(Mistake::Unclosed),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Mistake> {
        let escape = self.rest().chars().next().ok_or(Mistake::Unclosed)?;
        self.at += escape.len_utf8();
        let digits = match escape {
            '\\' | '"' | '\'' | '`' | '?' => return Ok(escape),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'x' | 'X' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(Mistake::Escape),
        };
        let code = self.rest().get(..digits).ok_or(Mistake::Escape)?;
        let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(code, 16).ok().filter(|_| is_hex);
        self.at += digits;
        code.and_then(char::from_u32).ok_or(Mistake::Escape)
    }
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    "[", "]", ".", ",", "{", "}",
];
