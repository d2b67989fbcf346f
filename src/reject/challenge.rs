//! The `WWW-Authenticate` lines of a refusal (RFC 9110 §11.6.1).
//!
//! # What holds
//! * Every 401, and every 400 and 403 about a credential, has a challenge; nothing else has one.
//! * There is one line for each scheme that the route accepts, and an error stands only in that
//!   of the scheme which the caller used.
//! * Where every token must be bound to a key, `Bearer` is named to none but who used it.
//! * No credential, no error (RFC 6750 §3.1). Basic knows no error at all (RFC 7617 §2).
//! * What is written is a checked realm, checked scopes and constants: nothing of the request.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::LazyLock;

use http::HeaderValue;

use super::{MalformedCredential, Rejection, StepUp};
use crate::oauth::ScopeSet;

/// Which credentials a route takes: its `accept`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accept {
    /// An access token (RFC 6750).
    pub bearer: bool,
    /// A caller's key and secret (RFC 7617).
    pub basic: bool,
    /// An access token with the proof of its key (RFC 9449).
    pub dpop: bool,
}

/// A scheme of `Authorization`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7617.
    Basic,
    /// RFC 9449.
    Dpop,
}

/// What a route says of DPoP to those who ask (RFC 9449 §7.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DpopTerms {
    /// `algs`: the names of signature algorithms, a blank between two.
    pub algorithms: Box<str>,
    /// Whether no other token is taken.
    pub is_required: bool,
}

/// What a challenge says beside the refusal itself.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeContext<'a> {
    /// The realm of every challenge.
    pub realm: &'a Realm,
    /// What the route takes.
    pub accept: Accept,
    /// What the route needs, as it is told to a caller without credential:
    /// `Requirement::challenge_scopes`.
    pub scopes: &'a ScopeSet,
    /// The terms of DPoP, where the route accepts it.
    pub dpop: Option<&'a DpopTerms>,
    /// Where the metadata of the resource lies (RFC 9728 §5.1): a URL of the configuration.
    pub resource_metadata: Option<&'a str>,
    /// The scheme of the credential that was found; `None` if it did not come so far.
    pub used: Option<Scheme>,
}

impl<'a> ChallengeContext<'a> {
    /// For a request that no route, or a public one, was found for.
    pub fn outside_routes(realm: &'a Realm) -> Self {
        static NO_SCOPES: LazyLock<ScopeSet> = LazyLock::new(ScopeSet::default);
        let accept = Accept { bearer: true, basic: false, dpop: false };
        let scopes = &NO_SCOPES;
        Self { realm, accept, scopes, dpop: None, resource_metadata: None, used: None }
    }
}

/// A protection space (RFC 9110 §11.5): printable ASCII, at most 256 bytes.
///
/// It holds the quoted-string that challenges carry, so that nothing is escaped per request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Realm(Box<str>);

/// Why a text is no realm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidRealm {
    /// Empty, or over the limit; the length in bytes.
    Length(usize),
    /// The character that starts at this offset is a control or not ASCII.
    Character {
        /// Offset in bytes.
        at: usize,
    },
}

impl fmt::Display for InvalidRealm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(0) => formatter.write_str("a realm cannot be empty"),
            Self::Length(length) => {
                write!(formatter, "a realm has at most {REALM_MAX_BYTES} bytes, this has {length}")
            }
            Self::Character { at } => write!(
                formatter,
                "character {} is not allowed in a realm: only printable ASCII, since a field \
                 cannot carry more in a way that all clients read alike (RFC 9110 section 5.5)",
                at + 1
            ),
        }
    }
}

impl std::error::Error for InvalidRealm {}

impl FromStr for Realm {
    type Err = InvalidRealm;

    fn from_str(text: &str) -> Result<Self, InvalidRealm> {
        if text.is_empty() || REALM_MAX_BYTES < text.len() {
            return Err(InvalidRealm::Length(text.len()));
        }
        // Every byte before the first bad one is ASCII, so the offset is that of a character.
        if let Some(at) = text.bytes().position(|byte| !matches!(byte, b' '..=b'~')) {
            return Err(InvalidRealm::Character { at });
        }
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        quoted.push('"');
        Ok(Self(quoted.into()))
    }
}

/// `scopegate`.
impl Default for Realm {
    fn default() -> Self {
        Self("\"scopegate\"".into())
    }
}

impl Realm {
    /// The quoted-string, quotes included (RFC 9110 §5.6.4).
    pub fn quoted(&self) -> &str {
        &self.0
    }
}

/// What the line of a token's scheme says beside the realm.
#[derive(Clone, Copy)]
enum TokenPart<'a> {
    Scope(&'a ScopeSet),
    Nothing,
    Error(&'static str, &'static str),
    InsufficientScope(&'a ScopeSet),
    StepUp(&'a StepUp, &'static str),
}

impl<'a> TokenPart<'a> {
    /// The same for a scheme that nobody used.
    const fn without_error(self, scopes: &'a ScopeSet) -> Self {
        match self {
            Self::Scope(_) | Self::Nothing => self,
            Self::Error(..) | Self::InsufficientScope(_) | Self::StepUp(..) => Self::Scope(scopes),
        }
    }
}

impl Rejection {
    /// The values of `WWW-Authenticate`, one per line; empty where a credential would change
    /// nothing.
    pub fn challenges(&self, context: &ChallengeContext<'_>) -> Vec<HeaderValue> {
        if !self.is_about_credential() {
            return Vec::new();
        }
        let refused_basic = matches!(self, Self::BasicRefused);
        let basic = context.accept.basic || refused_basic;
        let used = self.scheme(context);
        let dpop = context.dpop.filter(|_| !refused_basic);
        let is_dpop_alone = dpop.is_some_and(|dpop| dpop.is_required);
        let bearer = context.accept.bearer && !refused_basic;
        let bearer = bearer && (!is_dpop_alone || used == Some(Scheme::Bearer));
        // A 401 must have a challenge (RFC 9110 §15.5.2), even if nothing were accepted.
        let bearer = bearer || !(basic || dpop.is_some());
        let told = self.token_part(context);
        // An error is told once: to who used the scheme, or where none was found, in the first line.
        let is_about_dpop = used == Some(Scheme::Dpop) || !bearer;
        let other = told.without_error(context.scopes);
        let (of_bearer, of_dpop) = if is_about_dpop { (other, told) } else { (told, other) };
        let bearer = bearer.then(|| token_line("Bearer", context, &of_bearer));
        let dpop = dpop.map(|DpopTerms { algorithms, .. }| {
            format!("{}, algs=\"{algorithms}\"", token_line("DPoP", context, &of_dpop))
        });
        let basic = basic.then(|| basic_line(context.realm));
        // Each is printable ASCII by its parts, so none is dropped.
        let lines = bearer.into_iter().chain(dpop).chain(basic);
        lines.filter_map(|line| HeaderValue::try_from(line).ok()).collect()
    }

    const fn is_about_credential(&self) -> bool {
        match self {
            Self::CredentialMissing
            | Self::CredentialMalformed(_)
            | Self::TokenInvalid(_)
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::BasicRefused
            | Self::AuthenticationInsufficient(_)
            | Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_) => true,
            Self::RequestMalformed(_)
            | Self::RouteUnknown
            | Self::MethodNotAllowed(_)
            | Self::NotSupported(_)
            | Self::Misdirected
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::ProofsTooMany(_)
            | Self::GuessedTooOften(_)
            | Self::PreflightRefused(_)
            | Self::VerifierUnavailable(_)
            | Self::OwnClientRefused(_)
            | Self::UpstreamFailed(_) => false,
        }
    }

    fn token_part<'a>(&'a self, context: &ChallengeContext<'a>) -> TokenPart<'a> {
        if matches!(self, Self::ClaimsInsufficient | Self::PrincipalRefused(_)) {
            // Naming scopes here would read as "ask for these".
            return TokenPart::Nothing;
        }
        if self.scheme(context) == Some(Scheme::Basic) {
            return TokenPart::Scope(context.scopes);
        }
        if let Self::AuthenticationInsufficient(step_up) = self {
            return TokenPart::StepUp(step_up, self.error_description().unwrap_or_default());
        }
        if let Self::ScopeInsufficient(needed) = self {
            return TokenPart::InsufficientScope(needed);
        }
        match (self.error_code(), self.error_description()) {
            (Some(code), Some(description)) => TokenPart::Error(code, description),
            _ => TokenPart::Scope(context.scopes),
        }
    }

    /// The scheme that the caller used, as far as refusal and context know.
    fn scheme(&self, context: &ChallengeContext<'_>) -> Option<Scheme> {
        if *self == Self::CredentialMalformed(MalformedCredential::Basic) {
            Some(Scheme::Basic)
        } else if *self == Self::CredentialMalformed(MalformedCredential::Dpop) {
            Some(Scheme::Dpop)
        } else {
            context.used
        }
    }
}

fn token_line(scheme: &str, context: &ChallengeContext<'_>, part: &TokenPart<'_>) -> String {
    let mut line = format!("{scheme} realm={}", context.realm.quoted());
    // Writing into a String does not fail.
    let _ = match part {
        TokenPart::Scope(scopes) if !scopes.is_empty() => write!(line, ", scope=\"{scopes}\""),
        TokenPart::Scope(_) | TokenPart::Nothing => Ok(()),
        TokenPart::Error(code, description) => {
            write!(line, ", error=\"{code}\", error_description=\"{description}\"")
        }
        TokenPart::StepUp(step_up, description) => write_step_up(&mut line, step_up, description),
        TokenPart::InsufficientScope(scopes) => {
            write!(line, ", error=\"insufficient_scope\", scope=\"{scopes}\"")
        }
    };
    if let Some(url) = context.resource_metadata {
        let _ = write!(line, ", resource_metadata=\"{url}\"");
    }
    line
}

fn write_step_up(line: &mut String, step_up: &StepUp, description: &str) -> fmt::Result {
    let StepUp { acr_values, max_age_s, scopes } = step_up;
    let code = "insufficient_user_authentication";
    write!(line, ", error=\"{code}\", error_description=\"{description}\"")?;
    if !acr_values.is_empty() {
        write!(line, ", acr_values=\"{acr_values}\"")?;
    }
    if let Some(max_age) = max_age_s {
        write!(line, ", max_age=\"{max_age}\"")?;
    }
    scopes.as_ref().map_or(Ok(()), |scopes| write!(line, ", scope=\"{scopes}\""))
}

/// RFC 7617 §2.1: we read UTF-8, and say so.
fn basic_line(realm: &Realm) -> String {
    format!("Basic realm={}, charset=\"UTF-8\"", realm.quoted())
}

/// Far longer than any name of a protection space.
const REALM_MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::Principal;
    use crate::reject::tests::every_rejection;
    use crate::reject::{InvalidProof, InvalidToken, UpstreamFailure};

    const BEARER: Accept = Accept { bearer: true, basic: false, dpop: false };
    const BASIC: Accept = Accept { bearer: false, basic: true, dpop: false };
    const BOTH: Accept = Accept { bearer: true, basic: true, dpop: false };
    const NEITHER: Accept = Accept { bearer: false, basic: false, dpop: false };

    fn challenges(
        rejection: &Rejection,
        accept: Accept,
        scopes: &str,
        used: Option<Scheme>,
    ) -> Vec<String> {
        let realm = "test".parse().unwrap();
        let scopes = &ScopeSet::from_claim(scopes);
        let resource_metadata = None;
        let context =
            ChallengeContext { realm: &realm, accept, scopes, dpop: None, resource_metadata, used };
        let lines = rejection.challenges(&context);
        lines.iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rfc9728_5_1_resource_metadata_stands_in_each_bearer_line_and_no_other() {
        let realm = "test".parse().unwrap();
        let scopes = &ScopeSet::from_claim("a");
        let url = "https://api.test/.well-known/oauth-protected-resource";
        for rejection in every_rejection() {
            let (resource_metadata, used) = (Some(url), Some(Scheme::Bearer));
            let accept = BOTH;
            let context = ChallengeContext {
                realm: &realm,
                accept,
                scopes,
                dpop: None,
                resource_metadata,
                used,
            };
            for line in rejection.challenges(&context) {
                let line = line.to_str().unwrap();
                let names_it = line.ends_with(&format!(", resource_metadata=\"{url}\""));
                assert_eq!(names_it, line.starts_with("Bearer "), "{line}");
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn rfc6750_3_each_refusal_has_the_challenges_that_fit() {
        use {MalformedCredential as C, Rejection as R};
        let lacking = || R::ScopeInsufficient(ScopeSet::from_claim("b a"));
        let expired = || R::TokenInvalid(InvalidToken::Expired);
        let malformed = R::CredentialMalformed;
        let (bearer, basic) = (Some(Scheme::Bearer), Some(Scheme::Basic));
        let realm = r#"Bearer realm="test""#;
        let scope = r#"Bearer realm="test", scope="a b""#;
        let invalid = r#"Bearer realm="test", error="invalid_token", error_description="the token has expired""#;
        let request = r#"Bearer realm="test", error="invalid_request", error_description="a token in the query is not accepted""#;
        let lacks = r#"Bearer realm="test", error="insufficient_scope", scope="a b""#;
        let pair = r#"Basic realm="test", charset="UTF-8""#;
        let cases = [
            // claim                             refusal                accepted needed  used    lines
            ("missing, no scope needed",         R::CredentialMissing,  BEARER,  "",     None,   vec![realm]),
            ("missing, scopes needed",           R::CredentialMissing,  BEARER,  "b a",  None,   vec![scope]),
            ("missing, both accepted",           R::CredentialMissing,  BOTH,    "a b",  None,   vec![scope, pair]),
            ("missing, Basic only",              R::CredentialMissing,  BASIC,   "a b",  None,   vec![pair]),
            ("missing, nothing accepted",        R::CredentialMissing,  NEITHER, "",     None,   vec![realm]),
            ("in the query",                     malformed(C::InQuery), BEARER,  "a b",  None,   vec![request]),
            ("in the query, both accepted",      malformed(C::InQuery), BOTH,    "a b",  None,   vec![request, pair]),
            ("bad Basic has no error parameter", malformed(C::Basic),   BOTH,    "a b",  None,   vec![scope, pair]),
            ("bad Basic, Basic only",            malformed(C::Basic),   BASIC,   "a b",  None,   vec![pair]),
            ("expired",                          expired(),             BEARER,  "a b",  bearer, vec![invalid]),
            ("expired, both accepted",           expired(),             BOTH,    "a b",  bearer, vec![invalid, pair]),
            ("issued for Basic, yet invalid",    expired(),             BOTH,    "a b",  basic,  vec![scope, pair]),
            ("scopes",                           lacking(),             BEARER,  "a b",  bearer, vec![lacks]),
            ("scopes, both accepted",            lacking(),             BOTH,    "a b",  bearer, vec![lacks, pair]),
            ("scopes of a Basic caller",         lacking(),             BOTH,    "a b",  basic,  vec![scope, pair]),
            ("scopes, Basic only",               lacking(),             BASIC,   "a b",  basic,  vec![pair]),
            ("claims: no error, no scope",       R::ClaimsInsufficient, BEARER,  "a b",  bearer, vec![realm]),
            ("claims, both accepted",            R::ClaimsInsufficient, BOTH,    "a b",  bearer, vec![realm, pair]),
            ("principal: no error, no scope",    R::PrincipalRefused(Principal::Client), BEARER, "a b", bearer, vec![realm]),
            ("wrong key and secret",             R::BasicRefused,       BOTH,    "a b",  basic,  vec![pair]),
            ("an upstream that failed",          R::UpstreamFailed(UpstreamFailure::Reset), BOTH, "a", bearer, vec![]),
        ];
        for (claim, rejection, accept, scopes, used, expected) in cases {
            assert_eq!(challenges(&rejection, accept, scopes, used), expected, "{claim}");
        }
    }

    #[test]
    fn rfc9110_15_5_2_every_401_has_a_challenge_and_no_scheme_stands_twice() {
        for rejection in every_rejection() {
            for accept in [BEARER, BASIC, BOTH, NEITHER] {
                for used in [None, Some(Scheme::Bearer), Some(Scheme::Basic)] {
                    let lines = challenges(&rejection, accept, "a", used);
                    let about_credential = matches!(rejection.status().as_u16(), 401 | 403)
                        && !matches!(rejection, Rejection::PreflightRefused(_))
                        || rejection.error_code().is_some();
                    assert_eq!(!lines.is_empty(), about_credential, "{rejection:?}");
                    let count = |name| lines.iter().filter(|line| line.starts_with(name)).count();
                    assert!(count("Bearer ") <= 1 && count("Basic ") <= 1, "{lines:?}");
                    assert_eq!(count("Bearer ") + count("Basic "), lines.len(), "{lines:?}");
                }
            }
        }
    }

    #[test]
    fn rfc7617_2_basic_never_carries_an_error_and_rfc6750_3_1_neither_does_a_missing_one() {
        for rejection in every_rejection() {
            for line in challenges(&rejection, BOTH, "a", Some(Scheme::Bearer)) {
                let may = line.starts_with("Bearer ") && rejection.error_code().is_some();
                assert!(may || !line.contains("error"), "{line}");
            }
        }
    }

    #[test]
    fn rfc9110_11_2_no_parameter_stands_twice_in_a_challenge() {
        for rejection in every_rejection() {
            for line in challenges(&rejection, BOTH, "a b", Some(Scheme::Bearer)) {
                for name in [" realm=", " scope=", " error=", " error_description=", " charset="] {
                    assert!(line.matches(name).count() <= 1, "{line}");
                }
            }
        }
    }

    #[test]
    fn rfc9110_11_5_a_realm_is_quoted_and_escaped() {
        let realm: Realm = r#"a "b" \c"#.parse().unwrap();
        assert_eq!(realm.quoted(), r#""a \"b\" \\c""#);
        let context = ChallengeContext::outside_routes(&realm);
        let lines = Rejection::CredentialMissing.challenges(&context);
        assert_eq!(lines, [r#"Bearer realm="a \"b\" \\c""#]);
    }

    #[test]
    fn a_realm_is_printable_ascii() {
        let long = "r".repeat(REALM_MAX_BYTES + 1);
        for (text, expected) in [
            ("", InvalidRealm::Length(0)),
            (long.as_str(), InvalidRealm::Length(257)),
            ("a\tb", InvalidRealm::Character { at: 1 }),
            ("a\r\nx: y", InvalidRealm::Character { at: 1 }),
            ("\u{7f}", InvalidRealm::Character { at: 0 }),
            ("aé", InvalidRealm::Character { at: 1 }),
        ] {
            assert_eq!(text.parse::<Realm>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn rfc9449_7_1_dpop_has_a_line_of_its_own_and_the_error_if_it_was_used() {
        use {InvalidProof as P, MalformedCredential as C, Rejection as R};
        let realm = "test".parse().unwrap();
        let scopes = &ScopeSet::from_claim("a");
        let ask = |rejection: &Rejection, used, is_required| {
            let terms = DpopTerms { algorithms: "ES256 EdDSA".into(), is_required };
            let accept = Accept { bearer: true, basic: false, dpop: true };
            let context = ChallengeContext { realm: &realm, accept, scopes, dpop: Some(&terms), resource_metadata: None, used };
            let lines = rejection.challenges(&context);
            lines.iter().map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let bearer = r#"Bearer realm="test", scope="a""#;
        let dpop = r#"DPoP realm="test", scope="a", algs="ES256 EdDSA""#;
        let proof = r#"DPoP realm="test", error="invalid_dpop_proof", error_description="htm is not the method of this request", algs="ES256 EdDSA""#;
        let nonce = r#"DPoP realm="test", error="use_dpop_nonce", error_description="the DPoP proof needs the nonce in DPoP-Nonce", algs="ES256 EdDSA""#;
        let bound = r#"Bearer realm="test", error="invalid_token", error_description="the token is bound to a key that was not proven""#;
        let unbound = r#"DPoP realm="test", error="invalid_token", error_description="the token is bound to no key", algs="ES256 EdDSA""#;
        let lacks = r#"DPoP realm="test", error="insufficient_scope", scope="b", algs="ES256 EdDSA""#;
        let broken = r#"DPoP realm="test", error="invalid_request", error_description="the Authorization field is not DPoP and one token", algs="ES256 EdDSA""#;
        let query = r#"DPoP realm="test", error="invalid_request", error_description="a token in the query is not accepted", algs="ES256 EdDSA""#;
        let (b, d) = (Some(Scheme::Bearer), Some(Scheme::Dpop));
        let cases = [
            // refusal                                            used  DPoP alone  lines
            (R::CredentialMissing,                                None, false, vec![bearer, dpop]),
            (R::CredentialMissing,                                None, true,  vec![dpop]),
            (R::ProofInvalid(P::Method),                          d,    false, vec![bearer, proof]),
            (R::NonceNeeded("n".into()),                          d,    true,  vec![nonce]),
            (R::TokenInvalid(InvalidToken::Bound),                b,    false, vec![bound, dpop]),
            (R::TokenInvalid(InvalidToken::Bound),                b,    true,  vec![bound, dpop]),
            (R::TokenInvalid(InvalidToken::Unbound),              d,    false, vec![bearer, unbound]),
            (R::ScopeInsufficient(ScopeSet::from_claim("b")),     d,    false, vec![bearer, lacks]),
            (R::ClaimsInsufficient,                               d,    true,  vec![r#"DPoP realm="test", algs="ES256 EdDSA""#]),
            (R::CredentialMalformed(C::Dpop),                     d,    false, vec![bearer, broken]),
            (R::CredentialMalformed(C::InQuery),                  None, true,  vec![query]),
            (R::ProofsTooMany(super::super::RetryAfter::SHORTEST), d,   false, vec![]),
        ];
        for (rejection, used, is_required, expected) in cases {
            assert_eq!(ask(&rejection, used, is_required), expected, "{rejection:?}");
        }
    }
}
