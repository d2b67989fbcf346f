//! Texts of pairs with separators between them, whose values may stand in quotes. Pure.
//!
//! A proxy adds to what its caller wrote. A quote that the caller left open would hide what the proxy
//! added, so such a text is read whole or not at all.

/// Whether each quote opens right behind a `=` and closes right before one of `ends` or the end.
/// Inside of quotes `\` takes the next character as it is.
pub(super) fn is_whole(text: &str, ends: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped, mut is_closed) = (false, false, false);
    let mut before = 0;
    for byte in text.bytes() {
        if std::mem::take(&mut is_closed) && !ends.contains(&byte) {
            return false;
        }
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' if is_quoted => (is_quoted, is_closed) = (false, true),
            b'"' if before == b'=' => is_quoted = true,
            b'"' => return false,
            _ => {}
        }
        before = byte;
    }
    !is_quoted
}

/// The pieces of a text, but for what separates them inside of quotes.
pub(super) struct Pieces<'a> {
    rest: Option<&'a str>,
    between: u8,
}

impl<'a> Pieces<'a> {
    /// Those of a text that is whole; `between` is ASCII.
    pub(super) const fn of(text: &'a str, between: u8) -> Self {
        Self { rest: Some(text), between }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = rest.bytes().position(|byte| {
            let is_end = byte == self.between && !is_quoted;
            is_quoted ^= byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && is_quoted && !is_escaped;
            is_end
        });
        // What stands between is ASCII, so no character is cut.
        let (piece, behind) = match end {
            Some(end) => (rest.get(..end)?, rest.get(end + 1..)),
            None => (rest, None),
        };
        self.rest = behind;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_opens_behind_an_equals_sign_and_closes_before_an_end() {
        for (text, expected) in [
            ("", true),
            ("a=b;c=d,e=f", true),
            (r#"a="";b="c,d;e""#, true),
            (r#"a="b\"c\\",d="e""#, true),
            (r#"a=""#, false),
            (r#"a="b\"#, false),
            (r#"a="b\""#, false),
            (r#"a="b"c"#, false),
            (r#"a="b""c""#, false),
            (r#"a="b" ,c=d"#, false),
            (r#"a=b""#, false),
            (r#"a=b"c""#, false),
            (r#"a= "b""#, false),
            (r#""a"=b"#, false),
        ] {
            assert_eq!(is_whole(text, b",;"), expected, "{text}");
        }
        assert!(is_whole(r#"a="b" ,c=d"#, b",; "));
    }

    #[test]
    fn what_separates_pieces_does_not_inside_of_quotes() {
        let pieces: Vec<&str> = Pieces::of(r#"a=b,c="d,\"e,",,f"#, b',').collect();
        assert_eq!(pieces, ["a=b", r#"c="d,\"e,""#, "", "f"]);
    }
}
