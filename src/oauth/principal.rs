//! Whom a token speaks for: a user, or a client by itself.

use super::Claims;

/// Whom a credential speaks for.
///
/// A client may choose an id that is a user's `sub`, or be given one; an API that takes `sub` for
/// a user's name would then take the client for that user (RFC 9700 §4.15).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Principal {
    /// A person, who lets a client act for them.
    User,
    /// A client that acts for itself (RFC 6749 §4.4).
    Client,
}

impl Principal {
    /// Reads it from what a token, or an introspection answer, says.
    ///
    /// A client's: with neither `sub` nor `username`, with the client's id as `sub` (RFC 9068
    /// §2.2), or with a mark by which its authorization server says so. All else is a user's:
    /// nothing there tells a client whose server gives it a `sub` of another kind and no mark.
    /// `username` is who authorized the token (RFC 7662 §2.2, which leaves `sub` optional).
    // Why not `grant_type` or `preferred_username`: what a user can write proves nothing.
    pub fn of(subject: Option<&str>, client_id: Option<&str>, claims: &Claims) -> Self {
        let is_marked = || MARKS.iter().any(|(name, mark)| is_text(claims, name, mark));
        match subject.filter(|subject| !subject.is_empty()) {
            None if is_marked() || !has_username(claims) => Self::Client,
            None => Self::User,
            Some(subject) if client_id == Some(subject) => Self::Client,
            Some(_) if is_marked() => Self::Client,
            Some(_) => Self::User,
        }
    }

    /// Its word in the configuration and in headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
        }
    }
}

fn has_username(claims: &Claims) -> bool {
    let username = claims.value("username").and_then(serde_json::Value::as_str);
    username.is_some_and(|username| !username.is_empty())
}

fn is_text(claims: &Claims, name: &str, text: &str) -> bool {
    claims.value(name).and_then(serde_json::Value::as_str) == Some(text)
}

/// How servers that give clients another `sub` mark their tokens: Auth0, Entra ID.
const MARKS: [(&str, &str); 2] = [("gty", "client-credentials"), ("idtyp", "app")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9700_4_15_a_token_is_a_clients_if_anything_says_so() {
        use Principal::{Client, User};
        #[rustfmt::skip]
        let cases = [
            // claim                     sub            client id      claims                          principal
            ("a user by a client",       Some("alice"), Some("app"),   "{}",                           User),
            ("a user, no client named",  Some("alice"), None,          "{}",                           User),
            ("a client by its id",       Some("app"),   Some("app"),   "{}",                           Client),
            ("a user's id as client id", Some("alice"), Some("alice"), "{}",                           Client),
            ("another case",             Some("App"),   Some("app"),   "{}",                           User),
            ("nobody named",             None,          Some("app"),   "{}",                           Client),
            ("an empty name",            Some(""),      Some("app"),   "{}",                           Client),
            ("a user by username",       None,          Some("app"),   r#"{"username":"alice"}"#,      User),
            ("an empty username",        None,          Some("app"),   r#"{"username":""}"#,           Client),
            ("a mark beside username",   None,          Some("app"),   r#"{"username":"a","idtyp":"app"}"#, Client),
            ("Auth0's mark",             Some("alice"), Some("app"),   r#"{"gty":"client-credentials"}"#, Client),
            ("Auth0, a user",            Some("alice"), Some("app"),   r#"{"gty":"password"}"#,        User),
            ("Entra ID's mark",          Some("alice"), Some("app"),   r#"{"idtyp":"app"}"#,           Client),
            ("Entra ID, a user",         Some("alice"), Some("app"),   r#"{"idtyp":"user"}"#,          User),
            ("a mark of another type",   Some("alice"), Some("app"),   r#"{"idtyp":["app"]}"#,         User),
        ];
        for (claim, subject, client_id, claims, expected) in cases {
            let claims = Claims::parse(claims.as_bytes()).unwrap();
            assert_eq!(Principal::of(subject, client_id, &claims), expected, "{claim}");
        }
    }
}
