//! The texts of a token in one piece, for there may be a million of them in memory.

use std::fmt;

use super::{HeldScopes, ScopeSet};

/// `sub`, `client_id` and the scopes of a token, each absent or there.
///
/// They lie behind each other in one text, and before them stand two characters that say how long
/// the first two are. So a verdict has one allocation and one pointer for them and not three of
/// each, which is 64 bytes less (tests/bounds).
#[derive(Clone, Eq, PartialEq)]
pub struct TokenTexts(Box<str>);

impl TokenTexts {
    /// Puts them together; `None` if `sub` or `client_id` is so long that no character counts it,
    /// over a million bytes.
    pub fn new(subject: Option<&str>, client_id: Option<&str>, scopes: &ScopeSet) -> Option<Self> {
        let lengths = [count(subject)?, count(client_id)?];
        let texts = [subject.unwrap_or_default(), client_id.unwrap_or_default(), scopes.as_str()];
        let counted: usize = lengths.map(char::len_utf8).iter().sum();
        let bytes: usize = texts.map(str::len).iter().sum();
        let mut all = String::with_capacity(counted + bytes);
        all.extend(lengths);
        texts.iter().for_each(|text| all.push_str(text));
        Some(Self(all.into()))
    }

    /// The same with these scopes.
    #[must_use]
    pub fn with_scopes(&self, scopes: &ScopeSet) -> Self {
        let others = self.0.len() - self.parts().2.len();
        let mut all = String::with_capacity(others + scopes.as_str().len());
        all.push_str(self.0.get(..others).unwrap_or_default());
        all.push_str(scopes.as_str());
        Self(all.into())
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.parts().0
    }

    /// `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.parts().1
    }

    /// The scopes.
    pub fn scopes(&self) -> HeldScopes<'_> {
        HeldScopes::of_set(self.parts().2)
    }

    fn parts(&self) -> (Option<&str>, Option<&str>, &str) {
        let mut rest = self.0.chars();
        let [subject, client_id] = [rest.next(), rest.next()].map(|one| one.and_then(length));
        let mut rest = rest.as_str();
        let mut take = |length: Option<usize>| {
            let (text, behind) = rest.split_at_checked(length?)?;
            rest = behind;
            Some(text)
        };
        let (subject, client_id) = (take(subject), take(client_id));
        (subject, client_id, rest)
    }
}

#[cfg(test)]
impl TokenTexts {
    /// Of a token with that scope claim.
    pub(crate) fn saying(subject: Option<&str>, client_id: Option<&str>, scopes: &str) -> Self {
        Self::new(subject, client_id, &ScopeSet::from_claim(scopes)).unwrap()
    }
}

impl fmt::Debug for TokenTexts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenTexts")
            .field("subject", &self.subject())
            .field("client_id", &self.client_id())
            .field("scopes", &self.scopes().to_string())
            .finish()
    }
}

/// A text's length as a character: one more, since the first one means absent, and past the
/// numbers that are no characters.
fn count(text: Option<&str>) -> Option<char> {
    let Some(text) = text else { return Some(ABSENT) };
    let number = u32::try_from(text.len()).ok()?.checked_add(1)?;
    let number = if number < SURROGATES_FROM { number } else { number.checked_add(SURROGATES)? };
    char::from_u32(number)
}

fn length(counted: char) -> Option<usize> {
    let number = u32::from(counted);
    let number = if number < SURROGATES_FROM { number } else { number - SURROGATES };
    usize::try_from(number.checked_sub(1)?).ok()
}

const ABSENT: char = '\0';
/// U+D800 to U+DFFF.
const SURROGATES_FROM: u32 = 0xD800;
const SURROGATES: u32 = 0x800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_out_as_it_went_in() {
        let long = |bytes: usize| "x".repeat(bytes);
        let texts = ["", "a", "\0", "a b", "Zoë", "\u{10ffff}", &long(126), &long(127), &long(128)];
        let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(*text)).chain([None]).collect();
        for subject in &texts {
            for client_id in &texts {
                for scopes in ["", "read", "read write"] {
                    let texts = TokenTexts::saying(*subject, *client_id, scopes);
                    assert_eq!((texts.subject(), texts.client_id()), (*subject, *client_id));
                    assert_eq!(texts.scopes().to_string(), scopes);
                    let other = texts.with_scopes(&ScopeSet::from_claim("other"));
                    assert_eq!((other.subject(), other.client_id()), (*subject, *client_id));
                    assert_eq!(other.scopes().to_string(), "other");
                }
            }
        }
    }

    #[test]
    fn a_text_of_any_length_that_a_token_can_have_is_counted() {
        for bytes in [0x7FE, 0x7FF, 0xD7FE, 0xD7FF, 0xD800, 0xE000, 0xFFFF, 0x10_000, 1 << 20] {
            let long = "x".repeat(bytes);
            let texts = TokenTexts::saying(Some(&long), Some("client"), "a");
            assert_eq!(texts.subject().map(str::len), Some(bytes));
            assert_eq!(texts.client_id(), Some("client"));
        }
        let endless = "x".repeat(2 << 20);
        assert_eq!(TokenTexts::new(Some(&endless), None, &ScopeSet::default()), None);
    }
}
