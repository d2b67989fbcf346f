//! What a route does to header sections; and identity headers: what the upstream is told of the token.
//!
//! A claim becomes a header value in one way. Strings stand as they are, but that a comma, a
//! percent sign, a blank at either end and every byte that is not ASCII are percent-encoded, so that a
//! reader can split at commas and decode. Numbers and booleans stand as JSON writes them. The items
//! of an array are joined by commas. An object, or an array with one in it, stands as JSON, encoded
//! likewise but for its commas. Scopes are joined by blanks, as RFC 6749 §3.3 writes them.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_encode_byte;
use serde_json::Value;

use super::ConstantEdits;
use crate::oauth::{Audiences, Principal, ScopeSet, TokenKind, VerifiedToken};
use crate::reject::{InvalidToken, Rejection};

/// What a route does to the headers of its requests and answers, worked out at load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EditPlan {
    identity: Box<[(HeaderName, Source)]>,
    /// What is done last to a request.
    pub request: ConstantEdits,
    /// What is done to an answer.
    pub response: ConstantEdits,
}

/// Where an identity header comes from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// `principal`: whom the credential speaks for; never a claim of that name.
    Principal,
    /// `missing_scopes`: what was asked for and not granted; never a claim of that name.
    MissingScopes,
    Claim(Box<str>),
}

impl EditPlan {
    /// Sets each header from the source beside it: `principal`, or a claim: `scope`, `sub`, `iss`,
    /// `client_id`, `aud`, or any other that the token has.
    pub fn new(identity: impl IntoIterator<Item = (HeaderName, Box<str>)>) -> Self {
        let source = |word: Box<str>| match &*word {
            PRINCIPAL => Source::Principal,
            MISSING_SCOPES => Source::MissingScopes,
            _ => Source::Claim(word),
        };
        let identity = identity.into_iter().map(|(name, word)| (name, source(word))).collect();
        Self { identity, ..Self::default() }
    }

    /// The same, and what is done to requests and answers whatever the token says.
    #[must_use]
    pub fn with(self, request: ConstantEdits, response: ConstantEdits) -> Self {
        Self { request, response, ..self }
    }

    /// The headers that it sets.
    pub fn identity_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.identity.iter().map(|(name, _)| name)
    }

    /// The claims that it needs.
    pub fn identity_claims(&self) -> impl Iterator<Item = &str> {
        self.identity.iter().filter_map(|(_, source)| match source {
            Source::Principal | Source::MissingScopes => None,
            Source::Claim(claim) => Some(&**claim),
        })
    }

    /// Whether the upstream is told of scopes that were not granted.
    pub fn tells_missing_scopes(&self) -> bool {
        self.identity.iter().any(|(_, source)| *source == Source::MissingScopes)
    }

    /// Sets the identity headers of a permitted request, whose credential speaks for `principal`;
    /// `missing` are the scopes that were asked for the token that goes along and not granted. A
    /// claim that the token does not have sets no header, nor do no scopes; the caller's own has
    /// been taken away before.
    ///
    /// # Errors
    /// When a claim has a control character in it, or is longer than 8 KiB: the token is refused
    /// whole, since a header left out would read as "no such claim" (RFC 9110 §5.5). When a JWT
    /// lacks `sub` or `client_id`, which its issuer owes (RFC 9068 §2.2); an introspection answer
    /// need not have them (RFC 7662 §2.2).
    pub fn apply_identity(
        &self,
        headers: &mut HeaderMap,
        token: &VerifiedToken,
        principal: Principal,
        missing: &ScopeSet,
    ) -> Result<(), Rejection> {
        for (name, source) in &self.identity {
            let text = match source {
                Source::Principal => {
                    headers.insert(name, HeaderValue::from_static(principal.as_str()));
                    continue;
                }
                Source::MissingScopes => (!missing.is_empty()).then(|| missing.to_string()),
                Source::Claim(claim) => {
                    let text = claim_text(claim, token)?;
                    if text.is_none() && token.kind == TokenKind::Jwt && OWED.contains(&&**claim) {
                        return Err(Rejection::ClaimsInsufficient);
                    }
                    text
                }
            };
            let Some(text) = text else { continue };
            if VALUE_MAX_BYTES < text.len() {
                return Err(MALFORMED);
            }
            let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text));
            headers.insert(name, value.map_err(|_| MALFORMED)?);
        }
        Ok(())
    }
}

fn claim_text(claim: &str, token: &VerifiedToken) -> Result<Option<String>, Rejection> {
    let text = match claim {
        "scope" => (!token.scopes().is_empty()).then(|| Ok(token.scopes().to_string())),
        "sub" => token.subject().map(item),
        "iss" => Some(item(token.issuer.as_str())),
        "client_id" => token.client_id().map(item),
        "aud" => audiences(&token.audiences),
        other => token.claims.value(other).filter(|value| !value.is_null()).map(value_text),
    };
    text.transpose()
}

fn audiences(audiences: &Audiences) -> Option<Result<String, Rejection>> {
    match audiences {
        Audiences::MeantForUs => None,
        Audiences::Named(names) if names.is_empty() => None,
        Audiences::Named(names) => Some(joined(names.iter().map(|name| item(name.as_str())))),
    }
}

fn value_text(value: &Value) -> Result<String, Rejection> {
    match value {
        Value::String(text) => item(text),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            joined(items.iter().map(value_text))
        }
        Value::Array(_) | Value::Object(_) => encoded(&value.to_string(), |_, byte| byte == b'%'),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
    }
}

fn joined(items: impl Iterator<Item = Result<String, Rejection>>) -> Result<String, Rejection> {
    Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
}

/// One string that may stand between commas.
fn item(text: &str) -> Result<String, Rejection> {
    let is_at_an_end = |at: usize| at == 0 || at + 1 == text.len();
    encoded(text, |at, byte| matches!(byte, b',' | b'%') || (byte == b' ' && is_at_an_end(at)))
}

/// Percent-encodes what is not ASCII and what `is_special` at its place.
fn encoded(text: &str, is_special: impl Fn(usize, u8) -> bool) -> Result<String, Rejection> {
    let mut value = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_control() {
            return Err(MALFORMED);
        }
        if !byte.is_ascii() || is_special(at, byte) {
            value.push_str(percent_encode_byte(byte));
        } else {
            value.push(char::from(byte));
        }
    }
    Ok(value)
}

/// The words that name no claim.
const PRINCIPAL: &str = "principal";
const MISSING_SCOPES: &str = "missing_scopes";

/// Claims without which a header must not be left out: it says on whose behalf a request comes.
const OWED: [&str; 2] = ["sub", "client_id"];

/// What servers commonly take as one header line.
const VALUE_MAX_BYTES: usize = 8 * 1024;

const MALFORMED: Rejection = Rejection::TokenInvalid(InvalidToken::Malformed);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{
        Audience, Claims, Issuer, Plaintext, RawToken, ServerId, TokenTexts, Validity,
    };

    fn token(claims: &str) -> VerifiedToken {
        VerifiedToken {
            digest: RawToken::new("t").digest(),
            kind: TokenKind::Jwt,
            server: ServerId::new(0),
            issuer: Issuer::parse("https://as.test", Plaintext::Refused).unwrap(),
            texts: TokenTexts::saying(Some("Zoë, 100%"), Some("app"), "b a"),
            principal: Principal::User,
            audiences: Audiences::Named(["x", "y"].map(Audience::new).into()),
            validity: Validity::new(None, None),
            claims: Claims::parse(claims.as_bytes()).unwrap().into(),
        }
    }

    fn set(claim: &str, claims: &str) -> Result<Option<String>, Rejection> {
        let name = HeaderName::from_static("x-claim");
        let plan = EditPlan::new([(name, claim.into())]);
        let mut headers = HeaderMap::new();
        plan.apply_identity(&mut headers, &token(claims), Principal::User, &ScopeSet::default())?;
        Ok(headers.get("x-claim").map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_claim_becomes_a_header_in_one_way() {
        #[rustfmt::skip]
        let cases = [
            ("scope",     "{}",                          Some("a b")),
            ("sub",       "{}",                          Some("Zo%C3%AB%2C 100%25")),
            ("iss",       "{}",                          Some("https://as.test")),
            ("client_id", "{}",                          Some("app")),
            ("aud",       "{}",                          Some("x,y")),
            ("c",         "{}",                          None),
            ("c",         r#"{"c":null}"#,               None),
            ("c",         r#"{"c":""}"#,                 Some("")),
            ("c",         r#"{"c":" a b "}"#,            Some("%20a b%20")),
            ("c",         r#"{"c":["a,b","c"]}"#,        Some("a%2Cb,c")),
            ("c",         r#"{"c":[]}"#,                 Some("")),
            ("c",         r#"{"c":[1,true,"x"]}"#,       Some("1,true,x")),
            ("c",         r#"{"c":1.5}"#,                Some("1.5")),
            ("c",         r#"{"c":{"k":["é",1]}}"#,      Some(r#"{"k":["%C3%A9",1]}"#)),
            ("c",         r#"{"c":"\"quoted\""}"#,       Some("\"quoted\"")),
        ];
        for (claim, claims, expected) in cases {
            assert_eq!(set(claim, claims), Ok(expected.map(str::to_owned)), "{claim} {claims}");
        }
    }

    #[test]
    fn rfc9068_2_2_a_header_that_needs_an_absent_sub_or_client_id_refuses() {
        let bare = VerifiedToken { texts: TokenTexts::saying(None, None, "a b"), ..token("{}") };
        for claim in ["sub", "client_id"] {
            let plan = EditPlan::new([(HeaderName::from_static("x-claim"), claim.into())]);
            let apply = |token| {
                let none = ScopeSet::default();
                plan.apply_identity(&mut HeaderMap::new(), token, Principal::Client, &none)
            };
            let outcome = apply(&bare);
            assert_eq!(outcome, Err(Rejection::ClaimsInsufficient), "{claim}");
            let opaque = VerifiedToken { kind: TokenKind::Opaque, ..bare.clone() };
            assert_eq!(apply(&opaque), Ok(()), "{claim}");
        }
    }

    #[test]
    fn rfc9700_4_15_the_principal_is_said_and_no_claim_of_that_name_stands_in_for_it() {
        let plan = EditPlan::new([(HeaderName::from_static("x-principal"), "principal".into())]);
        assert_eq!(plan.identity_claims().count(), 0, "no verdict keeps such a claim");
        let token = token(r#"{"principal":"admin"}"#);
        for (principal, expected) in [(Principal::User, "user"), (Principal::Client, "client")] {
            let mut headers = HeaderMap::new();
            plan.apply_identity(&mut headers, &token, principal, &ScopeSet::default()).unwrap();
            assert_eq!(headers["x-principal"], expected);
        }
    }

    #[test]
    fn a_claim_too_long_for_a_header_is_refused() {
        let claims = |length: usize| format!("{{\"c\":\"{}\"}}", "a".repeat(length));
        assert!(set("c", &claims(VALUE_MAX_BYTES)).is_ok());
        assert_eq!(set("c", &claims(VALUE_MAX_BYTES + 1)), Err(MALFORMED));
    }

    #[test]
    fn rfc8725_2_9_a_claim_with_a_control_character_is_refused_and_never_cut() {
        for claims in [
            r#"{"c":"a\r\nx-admin: 1"}"#,
            r#"{"c":"\u0000"}"#,
            r#"{"c":["ok","\t"]}"#,
            r#"{"c":"\u007f"}"#,
        ] {
            assert_eq!(set("c", claims), Err(MALFORMED), "{claims}");
        }
    }

    #[test]
    fn scopes_that_were_not_granted_are_told_where_there_are_any() {
        let plan =
            EditPlan::new([(HeaderName::from_static("x-scopes-missing"), "missing_scopes".into())]);
        assert!(plan.tells_missing_scopes());
        assert_eq!(plan.identity_claims().count(), 0);
        // A claim of that name is none.
        let token = token(r#"{"missing_scopes":"all"}"#);
        for (missing, expected) in [("", None), ("b a", Some("a b"))] {
            let mut headers = HeaderMap::new();
            let missing = ScopeSet::from_claim(missing);
            plan.apply_identity(&mut headers, &token, Principal::Client, &missing).unwrap();
            let told = headers.get("x-scopes-missing").map(|value| value.to_str().unwrap());
            assert_eq!(told, expected);
        }
    }
}
