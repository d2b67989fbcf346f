//! What a revocation can name of a token: digests of its texts, so that a list of millions, a file
//! and a cache hold no name of any user.

use std::fmt;

use super::{Claims, RawToken, TokenDigest};
use crate::base::digest::Digest;
use crate::base::time::UnixSeconds;

/// What of a token a revocation names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MarkKind {
    /// The token itself, by its digest.
    Token,
    /// `iss` and `jti`; of a JWT without `jti`, what its signature covers.
    Jti,
    /// `iss` and `sid`: a session of a user (OpenID Connect Front-Channel Logout §3).
    Sid,
    /// `iss` and `sub`.
    Subject,
    /// `iss` and `client_id`.
    Client,
}

impl MarkKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Token, Self::Jti, Self::Sid, Self::Subject, Self::Client];

    /// Its word: that of the claim, where it is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Jti => "jti",
            Self::Sid => "sid",
            Self::Subject => "sub",
            Self::Client => "client_id",
        }
    }

    /// The one of that word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One thing that a revocation names: its kind, and 16 bytes of a SHA-256 over issuer and text.
///
/// 16 bytes, since there may be four for each of a million tokens: that two texts meet in them by
/// chance is out of the question, and who could make them meet would lock out himself alone.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mark {
    kind: MarkKind,
    bytes: [u8; 16],
}

impl Mark {
    /// The mark of one token.
    pub fn of_token(digest: &TokenDigest) -> Self {
        Self { kind: MarkKind::Token, bytes: half(digest.as_bytes()) }
    }

    /// The mark of a token of which only the SHA-256 is known.
    pub fn of_sha256(sha256: &[u8; 32]) -> Self {
        Self { kind: MarkKind::Token, bytes: half(sha256) }
    }

    /// The mark of what an issuer calls `text`.
    pub fn of(kind: MarkKind, issuer: &str, text: &str) -> Self {
        Self { kind, bytes: hash(kind.name(), issuer, text) }
    }

    /// The mark of these bytes, as [`bytes`](Self::bytes) gave them.
    pub const fn from_bytes(kind: MarkKind, bytes: [u8; 16]) -> Self {
        Self { kind, bytes }
    }

    /// What it names.
    pub const fn kind(&self) -> MarkKind {
        self.kind
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.bytes
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.bytes;
        write!(formatter, "{}:{:08x}", self.kind.name(), u32::from_be_bytes([a, b, c, d]))
    }
}

/// What revocations can name of one token beside its digest, and when it was issued. A verdict keeps
/// it only where the configuration has a revocation list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traces {
    jti: Option<[u8; 16]>,
    sid: Option<[u8; 16]>,
    subject: Option<[u8; 16]>,
    client: Option<[u8; 16]>,
    issued_at: Option<UnixSeconds>,
}

impl Traces {
    /// Reads them off the claims of a token or of an introspection answer; of another type than a
    /// text, none is there. `client_id` is the client, whichever claim names it.
    pub fn of(issuer: &str, claims: &Claims, client_id: Option<&str>) -> Self {
        let text = |name| claims.string(name).ok().flatten();
        let mark =
            |kind: MarkKind, text: Option<&str>| text.map(|text| hash(kind.name(), issuer, text));
        Self {
            jti: mark(MarkKind::Jti, text("jti")),
            sid: mark(MarkKind::Sid, text("sid")),
            subject: mark(MarkKind::Subject, text("sub")),
            client: mark(MarkKind::Client, client_id),
            issued_at: claims.numeric_date("iat").ok().flatten(),
        }
    }

    /// Those of a token that its server gave to this client, and says nothing else of.
    pub fn of_client(issuer: &str, client_id: &str) -> Self {
        let client = Some(hash(MarkKind::Client.name(), issuer, client_id));
        Self { client, ..Self::default() }
    }

    /// Lets what a JWT's signature covers stand in for a `jti` that it lacks: there are signatures
    /// that can be written in two ways (RFC 7518 §3.4), and each is another token by its digest.
    pub fn stand_in_for_jti(&mut self, signed: &str) {
        if self.jti.is_none() {
            self.jti = Some(half(RawToken::new(signed).digest().as_bytes()));
        }
    }

    /// The token's `jti`, or what stands in for it.
    pub fn jti(&self) -> Option<Mark> {
        self.jti.map(|bytes| Mark { kind: MarkKind::Jti, bytes })
    }

    /// All of them, each under its kind.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let Self { jti, sid, subject, client, issued_at: _ } = *self;
        let all = [
            (MarkKind::Jti, jti),
            (MarkKind::Sid, sid),
            (MarkKind::Subject, subject),
            (MarkKind::Client, client),
        ];
        all.into_iter().filter_map(|(kind, bytes)| Some(Mark { kind, bytes: bytes? }))
    }

    /// `iat`.
    pub const fn issued_at(&self) -> Option<UnixSeconds> {
        self.issued_at
    }
}

fn hash(kind: &str, issuer: &str, text: &str) -> [u8; 16] {
    let parts = [kind.as_bytes(), issuer.as_bytes(), text.as_bytes()];
    half(Digest::of_parts(&parts).as_bytes())
}

fn half(all: &[u8; 32]) -> [u8; 16] {
    all.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(issuer: &str, claims: &str) -> Vec<Mark> {
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        Traces::of(issuer, &claims, Some("c")).marks().collect()
    }

    #[test]
    fn a_mark_is_that_of_its_kind_its_issuer_and_its_text() {
        let one = Mark::of(MarkKind::Jti, "https://a", "x");
        assert_eq!(one, Mark::of(MarkKind::Jti, "https://a", "x"));
        for other in [
            Mark::of(MarkKind::Sid, "https://a", "x"),
            Mark::of(MarkKind::Jti, "https://b", "x"),
            Mark::of(MarkKind::Jti, "https://a", "y"),
            Mark::of(MarkKind::Jti, "https://ax", ""),
        ] {
            assert_ne!(one, other);
            assert_ne!(one.bytes(), other.bytes());
        }
    }

    #[test]
    fn a_tokens_traces_are_its_claims_and_no_wrong_type_is_one() {
        let all = r#"{"jti":"j","sid":"s","sub":"u","client_id":"z","iat":7}"#;
        let of = |kind, text| Mark::of(kind, "https://a", text);
        let expected = vec![
            of(MarkKind::Jti, "j"),
            of(MarkKind::Sid, "s"),
            of(MarkKind::Subject, "u"),
            of(MarkKind::Client, "c"),
        ];
        assert_eq!(traces("https://a", all), expected);
        let wrong = traces("https://a", r#"{"jti":1,"sid":null,"sub":[]}"#);
        assert_eq!(wrong, [of(MarkKind::Client, "c")], "the client that was found");
        let client = Traces::of_client("https://a", "c").marks().collect::<Vec<_>>();
        assert_eq!(client, [of(MarkKind::Client, "c")]);
    }

    #[test]
    fn rfc7518_3_4_a_jwt_without_jti_is_known_by_what_its_signature_covers() {
        let mut with = Traces::of("https://a", &Claims::parse(br#"{"jti":"j"}"#).unwrap(), None);
        let jti = with.jti();
        with.stand_in_for_jti("header.payload");
        assert_eq!(with.jti(), jti, "a jti stays");
        let mut without = Traces::default();
        without.stand_in_for_jti("header.payload");
        assert!(without.jti().is_some());
    }

    #[test]
    fn a_mark_shows_eight_digits() {
        let digest = RawToken::new("mF_9.B5f-4.1JqM").digest();
        let shown = format!("{:?}", Mark::of_token(&digest));
        assert_eq!(shown, format!("token:{digest}"));
    }
}
