//! What a refusal writes into `WWW-Authenticate`, read back by the grammar of RFC 9110 section
//! 11.6.1. The first line of the data is the realm, the second the scopes of a route, the third
//! those that a token lacks.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use super::{
    Accept, ChallengeContext, DpopTerms, InvalidProof, InvalidToken, MalformedCredential, Realm,
    Rejection, Scheme, StepUp,
};
use crate::oauth::ScopeSet;

/// Writes the challenges of each kind of refusal, and reads them back.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (realm_text, scopes, lacking) = (line(), line(), line());
    let Ok(realm) = realm_text.parse::<Realm>() else {
        let is_printable = realm_text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        assert!(realm_text.is_empty() || !is_printable || 256 < realm_text.len());
        return;
    };
    let (scopes, lacking) = (ScopeSet::from_claim(scopes), ScopeSet::from_claim(lacking));
    let step_up = |max_age_s, scopes| {
        // Values of `acr` have the grammar of scopes.
        let step_up = StepUp { acr_values: lacking.as_str().into(), max_age_s, scopes };
        Rejection::AuthenticationInsufficient(Box::new(step_up))
    };
    for rejection in [
        Rejection::CredentialMissing,
        Rejection::CredentialMalformed(MalformedCredential::Several),
        Rejection::CredentialMalformed(MalformedCredential::Basic),
        Rejection::TokenInvalid(InvalidToken::Expired),
        Rejection::ProofInvalid(InvalidProof::Target),
        Rejection::NonceNeeded("nonce".into()),
        Rejection::BasicRefused,
        step_up(None, None),
        step_up(Some(300), Some(lacking.clone())),
        Rejection::ScopeInsufficient(lacking),
        Rejection::ClaimsInsufficient,
    ] {
        for bits in 0..16 {
            let accept = Accept { bearer: bits & 1 > 0, basic: bits & 2 > 0, dpop: bits & 4 > 0 };
            let terms = DpopTerms { algorithms: ALGORITHMS.into(), is_required: bits & 8 > 0 };
            for used in [None, Some(Scheme::Bearer), Some(Scheme::Basic), Some(Scheme::Dpop)] {
                let dpop = accept.dpop.then_some(&terms);
                let resource_metadata = used.map(|_| METADATA);
                let scopes = &scopes;
                let realm = &realm;
                let context =
                    ChallengeContext { realm, accept, scopes, dpop, resource_metadata, used };
                let written = rejection.challenges(&context);
                let read: Vec<_> = written
                    .iter()
                    .map(|line| Challenge::read(line.to_str().expect("it is printable ASCII")))
                    .collect();
                let about = About { rejection: &rejection, context, realm: realm_text };
                about.check(&read);
            }
        }
    }
}

struct About<'a> {
    rejection: &'a Rejection,
    context: ChallengeContext<'a>,
    realm: &'a str,
}

impl About<'_> {
    fn check(&self, challenges: &[Challenge]) {
        // A line that could not be written is left out: then there are too few.
        let is_basic = *self.rejection == Rejection::BasicRefused || self.context.accept.basic;
        let is_about_tokens = *self.rejection != Rejection::BasicRefused;
        let dpop = self.context.dpop.filter(|_| is_about_tokens);
        // That one says by itself which scheme was used.
        let is_basic_used =
            *self.rejection == Rejection::CredentialMalformed(MalformedCredential::Basic);
        let is_bearer_used = self.context.used == Some(Scheme::Bearer) && !is_basic_used;
        let is_named = !dpop.is_some_and(|dpop| dpop.is_required) || is_bearer_used;
        let is_bearer = is_about_tokens && self.context.accept.bearer && is_named;
        let others = usize::from(is_basic) + usize::from(dpop.is_some());
        let expected = if is_bearer || others == 0 { 1 } else { 0 } + others;
        assert_eq!(challenges.len(), expected, "{challenges:?}");
        let errors = challenges.iter().filter(|one| one.value("error").is_some());
        assert!(errors.count() <= 1, "an error is told once: {challenges:?}");
        for challenge in challenges {
            assert_eq!(challenge.value("realm"), Some(self.realm), "{challenge:?}");
            for (name, value) in &challenge.parameters {
                match (challenge.scheme.as_str(), name.as_str()) {
                    ("Bearer" | "DPoP" | "Basic", "realm") => {}
                    ("DPoP", "algs") => assert_eq!(value, ALGORITHMS),
                    ("Bearer" | "DPoP", "resource_metadata") => assert_eq!(value, METADATA),
                    ("Bearer" | "DPoP", "acr_values" | "max_age") => {
                        self.check_step_up(name, value)
                    }
                    ("Bearer" | "DPoP", "scope") => self.check_scope(value),
                    ("Bearer" | "DPoP", "error") => {
                        assert_eq!(Some(value.as_str()), self.rejection.error_code())
                    }
                    ("Bearer" | "DPoP", "error_description") => assert!(!value.is_empty()),
                    ("Basic", "charset") => assert_eq!(value, "UTF-8"),
                    _ => panic!("{challenge:?}"),
                }
            }
        }
    }

    fn check_scope(&self, value: &str) {
        let set = ScopeSet::from_claim(value);
        assert_eq!(set.as_str(), value, "each scope once, one blank between two");
        let lacking = if let Rejection::ScopeInsufficient(scopes) = self.rejection {
            Some(scopes)
        } else if let Rejection::AuthenticationInsufficient(step_up) = self.rejection {
            step_up.scopes.as_ref()
        } else {
            None
        };
        assert!(lacking.is_some_and(|all| *all == set) || set == *self.context.scopes, "{value}");
    }

    fn check_step_up(&self, name: &str, value: &str) {
        let Rejection::AuthenticationInsufficient(step_up) = self.rejection else {
            panic!("{name} for {:?}", self.rejection)
        };
        match name {
            "acr_values" => assert_eq!(value, &*step_up.acr_values),
            _ => assert_eq!(value.parse().ok(), step_up.max_age_s),
        }
    }
}

const ALGORITHMS: &str = "ES256 EdDSA";
const METADATA: &str = "https://api.test/.well-known/oauth-protected-resource";

/// `auth-scheme 1*SP #auth-param`, each parameter a quoted-string, as all of ours are.
#[derive(Debug)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn read(line: &str) -> Self {
        let (scheme, mut rest) = line.split_once(' ').expect("a scheme and a space");
        let mut parameters: Vec<(String, String)> = Vec::new();
        loop {
            let (name, behind) = rest.split_once("=\"").expect("a name and a quoted-string");
            let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(!name.is_empty() && name.bytes().all(is_name), "{line}");
            assert!(parameters.iter().all(|(other, _)| other != name), "twice in {line}");
            let (value, behind) = unquoted(behind).expect("the string is closed");
            parameters.push((name.to_owned(), value));
            match behind.strip_prefix(", ") {
                Some(more) => rest = more,
                None => {
                    assert_eq!(behind, "", "{line}");
                    return Self { scheme: scheme.to_owned(), parameters };
                }
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// The text of a quoted-string whose first quote is gone, and what stands behind its last one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        let (at, character) = characters.next()?;
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
}
