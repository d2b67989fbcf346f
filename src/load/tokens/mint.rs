//! Access tokens as RFC 9068 has them, minted here: good ones, and ones with one thing wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::key::{KeyError, MintKey};
use super::kind::TokenKind;
use crate::base::time::UnixSeconds;
use crate::oauth::ScopeSet;

/// What good tokens say, and the key that they are signed with.
#[derive(Debug)]
pub struct Mint {
    /// Signs.
    pub key: MintKey,
    /// `kid`; absent: the gateway tries every key of the issuer that fits the algorithm.
    pub key_id: Option<Box<str>>,
    /// `iss`.
    pub issuer: Box<str>,
    /// `aud`.
    pub audience: Box<str>,
    /// `scope`.
    pub scopes: ScopeSet,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
}

impl Mint {
    /// Mints one token of a kind; `None` for [`TokenKind::None`]. No two are equal.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn token(&self, kind: TokenKind, now: UnixSeconds) -> Result<Option<String>, KeyError> {
        match kind {
            TokenKind::None => Ok(None),
            TokenKind::Garbage => {
                let part = || random_text::<24>();
                Ok(Some(format!("{}.{}.{}", part()?, part()?, part()?)))
            }
            TokenKind::Good
            | TokenKind::Expired
            | TokenKind::Scope
            | TokenKind::Audience
            | TokenKind::Issuer
            | TokenKind::Signature => self.jwt(kind, now).map(Some),
        }
    }

    /// Mints a token for each kind of `layout`, in that order, on all threads of the machine;
    /// `done` is called now and then, on any of them, with how many there are.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn tokens(
        &self,
        layout: &[TokenKind],
        now: UnixSeconds,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Option<String>>, KeyError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = layout.len().div_ceil(threads).max(1);
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            let count = &count;
            let shares: Vec<_> = layout
                .chunks(share)
                .map(|kinds| scope.spawn(move || self.some_tokens(kinds, now, count, done)))
                .collect();
            let mut tokens = Vec::with_capacity(layout.len());
            for share in shares {
                tokens.extend(share.join().map_err(|_| KeyError::Refused)??);
            }
            done(tokens.len());
            Ok(tokens)
        })
    }

    fn some_tokens(
        &self,
        kinds: &[TokenKind],
        now: UnixSeconds,
        count: &AtomicUsize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Option<String>>, KeyError> {
        let mut tokens = Vec::with_capacity(kinds.len());
        for few in kinds.chunks(BETWEEN_REPORTS) {
            for kind in few {
                tokens.push(self.token(*kind, now)?);
            }
            done(count.fetch_add(few.len(), Ordering::Relaxed) + few.len());
        }
        Ok(tokens)
    }

    fn jwt(&self, kind: TokenKind, now: UnixSeconds) -> Result<String, KeyError> {
        let signed =
            format!("{}.{}", base64url(&self.header()), base64url(&self.claims(kind, now)?));
        let mut signature = self.key.sign(signed.as_bytes())?;
        let middle = signature.len() / 2;
        if kind == TokenKind::Signature
            && let Some(byte) = signature.get_mut(middle)
        {
            *byte ^= 1;
        }
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    fn header(&self) -> Value {
        let mut header = json!({ "alg": self.key.algorithm().name(), "typ": "at+jwt" });
        if let (Some(id), Value::Object(header)) = (&self.key_id, &mut header) {
            header.insert("kid".to_owned(), json!(id));
        }
        header
    }

    /// RFC 9068 §2.2: every required claim, whatever else is wrong.
    fn claims(&self, kind: TokenKind, now: UnixSeconds) -> Result<Value, KeyError> {
        let (issued, expires) = match kind {
            TokenKind::Expired => (now.minus(LONG_AGO * 2), now.minus(LONG_AGO)),
            _ => (now, now.plus(self.lifetime)),
        };
        let mut claims = json!({
            "iss": if kind == TokenKind::Issuer { ELSEWHERE } else { &*self.issuer },
            "aud": if kind == TokenKind::Audience { ELSEWHERE } else { &*self.audience },
            "sub": CLIENT,
            "client_id": CLIENT,
            "iat": issued.get(),
            "exp": expires.get(),
            "jti": random_text::<16>()?,
        });
        if let Value::Object(claims) = &mut claims
            && kind != TokenKind::Scope
        {
            claims.insert("scope".to_owned(), json!(self.scopes.to_string()));
        }
        Ok(claims)
    }
}

fn base64url(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

fn random_text<const BYTES: usize>() -> Result<String, KeyError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| KeyError::Refused)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// `sub` and `client_id` of what is minted, which the gateway's log then shows.
const CLIENT: &str = "scopegate-load";
/// Nobody can have this name (RFC 6761 §6.4).
const ELSEWHERE: &str = "https://elsewhere.invalid";
/// Longer than any clock skew that makes sense.
const LONG_AGO: Duration = Duration::from_secs(3600);
const BETWEEN_REPORTS: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use super::*;
    use crate::oauth::SignatureAlgorithm;

    const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

    fn mint() -> Mint {
        Mint {
            key: MintKey::generate(SignatureAlgorithm::EdDsa).unwrap(),
            key_id: Some("a".into()),
            issuer: "https://as.test".into(),
            audience: "https://api.test".into(),
            scopes: ScopeSet::from_claim("orders:read"),
            lifetime: Duration::from_secs(60),
        }
    }

    fn claims(kind: TokenKind) -> Value {
        mint().claims(kind, NOW).unwrap()
    }

    #[test]
    fn rfc9068_2_a_token_has_the_type_and_every_required_claim() {
        assert_eq!(mint().header(), json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "a" }));
        let good = claims(TokenKind::Good);
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
            assert!(good.get(name).is_some(), "{name}");
        }
        assert_eq!(good["exp"], NOW.get() + 60);
    }

    #[test]
    fn a_bad_kind_differs_from_a_good_one_in_one_claim() {
        let good = claims(TokenKind::Good);
        for (kind, name) in [
            (TokenKind::Scope, "scope"),
            (TokenKind::Audience, "aud"),
            (TokenKind::Issuer, "iss"),
            (TokenKind::Signature, ""),
        ] {
            let bad = claims(kind);
            for other in ["iss", "exp", "aud", "sub", "client_id", "iat", "scope"] {
                assert_eq!(bad.get(other) == good.get(other), other != name, "{kind}: {other}");
            }
        }
        assert!(claims(TokenKind::Expired)["exp"].as_i64().unwrap() < NOW.get());
    }

    #[test]
    fn many_come_in_the_order_of_the_layout_and_no_two_are_equal() {
        let kinds = [TokenKind::Good, TokenKind::None, TokenKind::Garbage, TokenKind::Signature];
        let layout: Vec<_> = kinds.into_iter().cycle().take(301).collect();
        let reports = Mutex::new(Vec::new());
        let done = |count| reports.lock().unwrap().push(count);
        let tokens = mint().tokens(&layout, NOW, &done).unwrap();
        for (kind, token) in layout.iter().zip(&tokens) {
            assert_eq!(token.is_none(), *kind == TokenKind::None);
        }
        let some: Vec<_> = tokens.iter().flatten().collect();
        assert_eq!(some.iter().collect::<HashSet<_>>().len(), some.len());
        assert_eq!(reports.into_inner().unwrap().last(), Some(&301));
    }
}
