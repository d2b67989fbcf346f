//! The form of a JWT access token: three parts, a header, and what may be read before the
//! signature holds.
//!
//! Nothing here acts on a claim but `iss`, which picks the authorization server whose keys count
//! (RFC 8725 §3.8). `jku`, `x5u`, `jwk` and `x5c` are never read: a token does not say which key
//! proves it (RFC 8725 §3.10).

use serde::de::IgnoredAny;

use super::base64url;
use crate::oauth::{Algorithm, ClaimError, Claims};
use crate::reject::InvalidToken;

/// A JWT whose signature nobody has looked at yet.
pub(super) struct UnverifiedJwt<'t> {
    /// `alg`, one that we know.
    pub(super) algorithm: Algorithm,
    /// What the signature covers: header and claims as they were sent.
    pub(super) signed: &'t str,
    /// The signature, decoded.
    pub(super) signature: Vec<u8>,
    /// What the token says of itself. Only [`issuer`](Self::issuer) may be used before the
    /// signature holds.
    pub(super) claims: Claims,
    /// `kid` and `typ` in it are texts, where they are there.
    header: Claims,
}

/// What a token is by its form.
pub(super) enum Form<'t> {
    /// A JWT, or what is wrong with it.
    Jwt(Result<UnverifiedJwt<'t>, InvalidToken>),
    /// All else, a JWE with its five parts too: opaque to us.
    Opaque,
}

impl<'t> Form<'t> {
    /// Reads it. A token is for the JWT checks if it has three parts, of which the first is a JSON
    /// object; neither kind falls back to the other.
    pub(super) fn of(token: &'t str) -> Self {
        if TOKEN_MAX_BYTES < token.len() {
            return Self::Jwt(Err(InvalidToken::Malformed));
        }
        let Some(parts) = parts(token) else { return Self::Opaque };
        match base64url::decode(parts.header) {
            Some(header) => match Claims::parse(&header) {
                Ok(header) => Self::Jwt(UnverifiedJwt::parse(parts, header)),
                // It may be one that says something twice.
                Err(_) if is_object(&header) => Self::Jwt(Err(InvalidToken::Malformed)),
                Err(_) => Self::Opaque,
            },
            None => Self::Opaque,
        }
    }
}

struct Parts<'t> {
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
    signed: &'t str,
}

/// The three parts of what looks like a JWT.
fn parts(token: &str) -> Option<Parts<'_>> {
    let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
    let (first, second) = (dots.next()?, dots.next()?);
    if dots.next().is_some() || !token.starts_with('e') {
        return None;
    }
    Some(Parts {
        header: token.get(..first)?,
        payload: token.get(first + 1..second)?,
        signature: token.get(second + 1..)?,
        signed: token.get(..second)?,
    })
}

fn is_object(json: &[u8]) -> bool {
    json.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(json).is_ok()
}

/// Whether it may be a JWT, by two facts that cost nothing: for the hot path, where an answer of a
/// cache is at stake and nothing is decided by it.
pub(super) fn is_like_jwt(token: &str) -> bool {
    // The first six bits of `{`.
    token.starts_with('e') && memchr::memchr_iter(b'.', token.as_bytes()).take(3).count() == 2
}

impl<'t> UnverifiedJwt<'t> {
    /// Reads a token's form, in the order `alg`, `crit`, other header members, signature, claims.
    fn parse(parts: Parts<'t>, header: Claims) -> Result<Self, InvalidToken> {
        let algorithm = header.string("alg").map_err(|_| InvalidToken::Algorithm)?;
        let algorithm = algorithm.ok_or(InvalidToken::Algorithm)?;
        let algorithm = algorithm.parse().map_err(|_| InvalidToken::Algorithm)?;
        // RFC 7515 §4.1.11: we understand no extension, and an empty list is forbidden too.
        if header.value("crit").is_some() {
            return Err(InvalidToken::Critical);
        }
        header.string("kid").and(header.string("typ")).map_err(is_malformed)?;
        let signature = base64url::decode(parts.signature).ok_or(InvalidToken::Malformed)?;
        let payload = base64url::decode(parts.payload).ok_or(InvalidToken::Malformed)?;
        let claims = Claims::parse(&payload).map_err(is_malformed)?;
        Ok(Self { algorithm, signed: parts.signed, signature, claims, header })
    }

    /// `kid`, for comparing.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.string("kid").ok().flatten()
    }

    /// `typ` as it stands there, for people.
    pub(super) fn kind(&self) -> Option<&str> {
        self.header.string("typ").ok().flatten()
    }

    /// `iss` as it stands there: it picks a server, and proves nothing.
    ///
    /// # Errors
    /// When it is no string, or absent (RFC 9068 §2.2).
    pub(super) fn issuer(&self) -> Result<&str, InvalidToken> {
        self.claims.string("iss").map_err(is_malformed)?.ok_or(InvalidToken::Issuer)
    }

    /// Whether its `typ` is `name`, `JWT`, or absent (RFC 8725 §3.11 asks for a type of its own, and
    /// servers older than that give none).
    pub(super) fn may_be(&self, name: &str) -> bool {
        let found = media_type(self.kind().unwrap_or("JWT"));
        found.eq_ignore_ascii_case("JWT") || found.eq_ignore_ascii_case(name)
    }

    /// Whether `typ` is there and names that type, compared as below.
    pub(super) fn is_of_type(&self, name: &str) -> bool {
        self.kind().is_some_and(|found| media_type(found).eq_ignore_ascii_case(name))
    }

    /// Holds `typ` against the types of access tokens of this server (RFC 9068 §4). Compared
    /// without case and without `application/` (RFC 7515 §4.1.9).
    ///
    /// # Errors
    /// [`InvalidToken::TypeNotConfigured`] where the switch for older servers would help,
    /// [`InvalidToken::Type`] where nothing would.
    pub(super) fn check_type(&self, allowed: &[Box<str>]) -> Result<(), InvalidToken> {
        // Servers older than RFC 9068 say `JWT` or nothing at all: one thing.
        let found = self.header.string("typ").map_err(is_malformed)?;
        let found = media_type(found.unwrap_or("JWT"));
        let is_of = |name: &str| found.eq_ignore_ascii_case(name);
        if FOREIGN_TYPES.iter().any(|name| is_of(name)) {
            Err(InvalidToken::Type)
        } else if allowed.iter().any(|name| is_of(media_type(name))) {
            Ok(())
        } else if is_of("JWT") {
            Err(InvalidToken::TypeNotConfigured)
        } else {
            Err(InvalidToken::Type)
        }
    }
}

/// RFC 7515 §4.1.9: the prefix may be left out where no other slash follows.
pub(super) fn media_type(text: &str) -> &str {
    match text.split_once('/') {
        Some((kind, rest)) if kind.eq_ignore_ascii_case("application") && !rest.contains('/') => {
            rest
        }
        _ => text,
    }
}

pub(super) const fn is_malformed(_: ClaimError) -> InvalidToken {
    InvalidToken::Malformed
}

/// The longest token that is looked at, JWT or not: it comes before any other work.
pub(super) const TOKEN_MAX_BYTES: usize = 16 * 1024;

/// Types of other things than access tokens (RFC 9449 §4.2, OpenID Back-Channel Logout §2.4,
/// RFC 8417 §2.3, RFC 9701 §5, RFC 7523bis, RFC 9101 §4): no switch lets these pass.
const FOREIGN_TYPES: [&str; 6] = [
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "client-authentication+jwt",
    "oauth-authz-req+jwt",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::SignatureAlgorithm;

    fn token(header: &str, payload: &str) -> String {
        [header, payload, "signature"].map(base64url::encode).join(".")
    }

    fn read(token: &str) -> Result<UnverifiedJwt<'_>, InvalidToken> {
        match Form::of(token) {
            Form::Jwt(read) => read,
            Form::Opaque => Err(InvalidToken::Unjudgeable),
        }
    }

    fn parse(token: &str) -> Result<(), InvalidToken> {
        read(token).map(drop)
    }

    const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#;

    #[test]
    fn rfc7515_5_2_a_jwt_is_three_parts_of_base64url() {
        let good = token(HEADER, "{}");
        let [header, payload, signature]: [&str; 3] =
            good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let jwt = read(&good).unwrap();
        assert_eq!(jwt.algorithm, Algorithm::Signature(SignatureAlgorithm::Es256));
        assert_eq!(jwt.key_id(), Some("k"));
        assert_eq!(jwt.signed, format!("{header}.{payload}"));
        assert_eq!(jwt.signature, b"signature");
        let json = r#"{"payload":"e30","signatures":[]}"#.to_owned();
        let many = ".".repeat(10_000);
        let opaque = Err(InvalidToken::Unjudgeable);
        let malformed = Err(InvalidToken::Malformed);
        #[rustfmt::skip]
        let cases = [
            (header.to_owned(),                           opaque),
            (format!("{header}.{payload}"),               opaque),
            (format!("{header}.{payload}.{signature}.x"), opaque),
            (format!("{header}.{payload}.{signature}.x.y"), opaque),
            (format!("{header}=.{payload}.{signature}"),  opaque),
            (format!(".{payload}.{signature}"),           opaque),
            (json,                                        opaque),
            (many,                                        opaque),
            (String::new(),                               opaque),
            (format!("{header}.{payload}.{signature}="),  malformed),
            (format!("{header}. {payload}.{signature}"),  malformed),
            (format!("{header}.{payload}.+/+/"),          malformed),
            (format!("{header}..{signature}"),            malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(&text), expected, "{text}");
        }
    }

    #[test]
    fn rfc7515_5_2_header_and_claims_are_json_objects_with_distinct_members() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        for (header, payload) in [
            (r#"{"alg":"ES256","alg":"ES256"}"#, "{}"),
            (HEADER, r#"{"a":1,"a":1}"#),
            (HEADER, r#"{"a":1e999}"#),
            (HEADER, &deep),
            (HEADER, "[]"),
            (HEADER, "1"),
            (HEADER, ""),
            (r#"{"alg":"ES256","kid":1}"#, "{}"),
            (r#"{"alg":"ES256","typ":1}"#, "{}"),
            (r#"{"alg":"ES256","typ":null}"#, "{}"),
        ] {
            assert_eq!(parse(&token(header, payload)), Err(InvalidToken::Malformed), "{header}");
        }
        assert_eq!(parse(&token("[]", "{}")), Err(InvalidToken::Unjudgeable));
        let latin = [b"{\"alg\":\"ES256\",\"x\":\"\xe9\"}".as_slice(), b"{}", b""];
        assert_eq!(parse(&latin.map(base64url::encode).join(".")), Err(InvalidToken::Malformed));
    }

    #[test]
    fn length_comes_before_everything() {
        let filled = |length: usize| {
            let mut text = token(HEADER, "{}");
            text.extend(std::iter::repeat_n('A', length - text.len()));
            text
        };
        // Of four lengths in a row one is none of base64.
        let is_good = |length: usize| parse(&filled(length)).is_ok();
        assert_eq!((TOKEN_MAX_BYTES - 3..=TOKEN_MAX_BYTES).filter(|at| is_good(*at)).count(), 3);
        assert!(!(TOKEN_MAX_BYTES + 1..=TOKEN_MAX_BYTES + 4).any(is_good));
    }

    #[test]
    fn rfc8725_3_1_alg_is_a_known_name_and_never_none() {
        for alg in [r#""none""#, r#""None""#, r#""nOnE""#, r#""""#, "null", "1", r#""A128KW""#] {
            let header = format!(r#"{{"alg":{alg}}}"#);
            assert_eq!(parse(&token(&header, "{}")), Err(InvalidToken::Algorithm), "{alg}");
        }
        assert_eq!(parse(&token("{}", "{}")), Err(InvalidToken::Algorithm));
        let unsigned = [r#"{"alg":"none"}"#, "{}", ""].map(base64url::encode).join(".");
        assert_eq!(parse(&unsigned), Err(InvalidToken::Algorithm));
    }

    #[test]
    fn rfc7515_4_1_11_any_crit_is_refused() {
        for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", r#""b64""#, "null", r#"["x"]"#, "{}"] {
            let header = format!(r#"{{"alg":"ES256","crit":{crit},"b64":false,"exp":1}}"#);
            assert_eq!(parse(&token(&header, "{}")), Err(InvalidToken::Critical), "{crit}");
        }
    }

    #[test]
    fn rfc8725_3_10_keys_and_addresses_in_the_header_are_not_even_read() {
        let header = r#"{"alg":"ES256","jku":1,"x5u":"https://evil.test","jwk":{},"x5c":"?"}"#;
        assert_eq!(parse(&token(header, "{}")), Ok(()));
    }

    #[test]
    fn rfc9068_4_typ_is_that_of_an_access_token() {
        let (strict, older) = (&["at+jwt".into()][..], &["at+jwt".into(), "JWT".into()][..]);
        let odd: &[Box<str>] = &["DPoP+jwt".into(), "application/x".into()];
        let (kind, switch) = (Err(InvalidToken::Type), Err(InvalidToken::TypeNotConfigured));
        #[rustfmt::skip]
        let cases = [
            (strict, Some("at+jwt"),               Ok(())),
            (strict, Some("at+JWT"),               Ok(())),
            (strict, Some("application/at+jwt"),   Ok(())),
            (strict, Some("APPLICATION/AT+JWT"),   Ok(())),
            (strict, Some("JWT"),                  switch),
            (strict, Some("application/jwt"),      switch),
            (strict, None,                         switch),
            (older,  Some("jwt"),                  Ok(())),
            (older,  None,                         Ok(())),
            (older,  Some("at+jwt"),               Ok(())),
            (strict, Some("text/at+jwt"),          kind),
            (strict, Some("application/a/at+jwt"), kind),
            (strict, Some(""),                     kind),
            (strict, Some("at+jwt "),              kind),
            (older,  Some("dpop+jwt"),             kind),
            (older,  Some("logout+jwt"),           kind),
            (older,  Some("secevent+jwt"),         kind),
            (older,  Some("application/token-introspection+jwt"), kind),
            (older,  Some("client-authentication+jwt"), kind),
            (odd,    Some("dpop+jwt"),             kind),
            (odd,    Some("x"),                    Ok(())),
            (odd,    None,                         switch),
        ];
        for (allowed, typ, expected) in cases {
            let typ = typ.map_or(String::new(), |typ| format!(r#","typ":"{typ}""#));
            let token = token(&format!(r#"{{"alg":"ES256"{typ}}}"#), "{}");
            let jwt = read(&token).unwrap();
            assert_eq!(jwt.check_type(allowed), expected, "{allowed:?} {typ}");
        }
    }

    #[test]
    fn a_jwt_is_told_from_an_opaque_token_by_its_parts_and_its_header() {
        let header = base64url::encode(r#"{"alg":"none"}"#);
        let twice = base64url::encode(r#"{"alg":1,"alg":1}"#);
        #[rustfmt::skip]
        let cases = [
            (format!("{header}.e30.x"),         true,  true),
            (format!("{twice}.e30.x"),          true,  true),
            (format!("{header}.e30.x.y.z"),     false, false),
            (format!("{header}.e30"),           false, false),
            ("eopaque.with.dots".to_owned(),    true,  false),
            ("mF_9.B5f-4.1JqM".to_owned(),      false, false),
            ("e".to_owned(),                    false, false),
            (String::new(),                     false, false),
        ];
        for (token, alike, jwt) in cases {
            assert_eq!(
                (is_like_jwt(&token), matches!(Form::of(&token), Form::Jwt(_))),
                (alike, jwt),
                "{token}"
            );
        }
    }
}
