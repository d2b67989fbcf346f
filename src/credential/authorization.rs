//! The grammar of an `Authorization` value: `Bearer` (RFC 6750 §2.1), `DPoP` (RFC 9449 §7.1) and
//! `Basic` (RFC 7617 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Accept, BasicCredential, Credential};
use crate::base::secret::Secret;
use crate::oauth::{ClientId, RawToken};
use crate::reject::{MalformedCredential, Rejection};

/// Reads the value of the one `Authorization` field: a scheme, in whatever case, one or more
/// spaces, and the credential (RFC 9110 §11.4).
pub(super) fn parse(accept: Accept, value: &[u8]) -> Result<Credential<'_>, Rejection> {
    // The scheme ends at the first byte that cannot be in it. So `Bearer<tab>x` and `Bearer,` are
    // broken Bearer and not another scheme.
    let end = value.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(value.len());
    let Some((scheme, rest)) = value.split_at_checked(end) else {
        return Err(Rejection::CredentialMissing);
    };
    let credential = if accept.bearer && scheme.eq_ignore_ascii_case(b"Bearer") {
        token(rest, MalformedCredential::Bearer).map(Credential::Bearer)
    } else if accept.basic && scheme.eq_ignore_ascii_case(b"Basic") {
        basic(rest).map(Credential::Basic)
    } else if accept.dpop && scheme.eq_ignore_ascii_case(b"DPoP") {
        token(rest, MalformedCredential::Dpop).map(Credential::Dpop)
    } else {
        return Err(Rejection::CredentialMissing);
    };
    credential.map_err(|fault| {
        // No credential of ours has a comma: one that has was joined from two (RFC 9110 §5.3).
        let joined = memchr::memchr(b',', rest).is_some();
        Rejection::CredentialMalformed(if joined { MalformedCredential::Several } else { fault })
    })
}

/// What follows the scheme, without the spaces between.
fn after_spaces(rest: &[u8]) -> Option<&[u8]> {
    let start = rest.iter().position(|byte| *byte != b' ')?;
    rest.get(start..).filter(|_| start > 0)
}

/// One token; `fault` is what is wrong where there is none.
fn token(rest: &[u8], fault: MalformedCredential) -> Result<RawToken<'_>, MalformedCredential> {
    let token = after_spaces(rest).ok_or(fault)?;
    if CREDENTIAL_MAX_BYTES < token.len() {
        return Err(MalformedCredential::TooLong);
    }
    if !is_b64token(token) {
        return Err(fault);
    }
    let text = std::str::from_utf8(token).map_err(|_| fault)?;
    Ok(RawToken::new(text))
}

fn basic(rest: &[u8]) -> Result<BasicCredential, MalformedCredential> {
    let encoded = after_spaces(rest).filter(|encoded| encoded.len() <= CREDENTIAL_MAX_BYTES);
    let encoded = encoded.ok_or(MalformedCredential::Basic)?;
    // Strict: the standard alphabet, padded, no spare bits. A pair has one spelling.
    let pair = STANDARD.decode(encoded).map_err(|_| MalformedCredential::Basic)?;
    let pair = Zeroizing::new(pair); // it holds the secret
    let pair = std::str::from_utf8(&pair).map_err(|_| MalformedCredential::Basic)?;
    // RFC 7617 §2: no control character in either; the first colon ends the id.
    if pair.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(MalformedCredential::Basic);
    }
    match pair.split_once(':') {
        Some((id, secret)) if !id.is_empty() => {
            Ok(BasicCredential { client_id: ClientId::new(id), secret: Secret::new(secret) })
        }
        Some(_) | None => Err(MalformedCredential::Basic),
    }
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 §2.1).
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let Some((body, _)) = token.split_at_checked(token.len() - padding) else {
        return false;
    };
    // Why not `all`: without an early exit the compiler checks many bytes at once.
    !body.is_empty() && body.iter().fold(true, |good, byte| good & is_b64token_byte(*byte))
}

/// In few ranges, as each costs per byte: `-./` stand before the digits, and letters differ from
/// their other case in one bit.
const fn is_b64token_byte(byte: u8) -> bool {
    matches!(byte, b'-'..=b'9')
        | (byte | 0x20).is_ascii_lowercase()
        | matches!(byte, b'_' | b'~' | b'+')
}

/// `tchar` of RFC 9110 §5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Far longer than tokens seen in use, and it bounds the work of a digest: 16 KiB.
pub const CREDENTIAL_MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const BEARER: Accept = Accept { bearer: true, basic: false, dpop: false };
    const BASIC: Accept = Accept { bearer: false, basic: true, dpop: false };
    const BOTH: Accept = Accept { bearer: true, basic: true, dpop: false };
    const DPOP: Accept = Accept { bearer: true, basic: false, dpop: true };

    /// The token, `id|secret`, or the reason.
    fn read(accept: Accept, value: &[u8]) -> String {
        match parse(accept, value) {
            Ok(Credential::Bearer(token)) => token.expose().to_owned(),
            Ok(Credential::Dpop(token)) => format!("dpop {}", token.expose()),
            Ok(Credential::Basic(pair)) => format!("{}|{}", pair.client_id, pair.secret.expose()),
            Err(refusal) => refusal.reason().to_owned(),
        }
    }

    fn pair(pair: impl AsRef<[u8]>) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    const MISSING: &str = "credential_missing";
    const MALFORMED: &str = "credential_malformed_bearer";
    const BASIC_MALFORMED: &str = "credential_malformed_basic";

    #[test]
    fn rfc6750_2_1_the_alphabet_of_a_b64token() {
        let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        for byte in 0..=u8::MAX {
            assert_eq!(is_b64token_byte(byte), alphabet(&byte), "{byte:#x}");
        }
    }

    #[test]
    fn rfc6750_2_1_bearer_is_one_b64token_behind_spaces() {
        #[rustfmt::skip]
        let cases = [
            // value                   outcome
            ("Bearer T",               "T"),
            ("bearer T",               "T"),
            ("BEARER T",               "T"),
            ("Bearer    T",            "T"),
            ("Bearer aZ09-._~+/",      "aZ09-._~+/"),
            ("Bearer mF_9.B5f==",      "mF_9.B5f=="),
            ("Bearer",                 MALFORMED),
            ("Bearer ",                MALFORMED),
            ("Bearer\tT",              MALFORMED),
            ("Bearer \tT",             MALFORMED),
            ("Bearer T\t",             MALFORMED),
            ("Bearer T ",              MALFORMED),
            ("Bearer a b",             MALFORMED),
            ("Bearer a=b",             MALFORMED),
            ("Bearer =",               MALFORMED),
            ("Bearer \"a\"",           MALFORMED),
            ("Bearer=a",               MALFORMED),
            ("Bearer a\u{e9}",         MALFORMED),
            ("Bearer a%2E",            MALFORMED),
            ("Bearer a:b",             MALFORMED),
            ("Bearer a,Bearer b",      "credential_several"),
            ("Bearer a , Bearer b",    "credential_several"),
            ("Bearer,Bearer",          "credential_several"),
            ("",                       MISSING),
            (" Bearer T",              MISSING),
            ("Bearers T",              MISSING),
            ("Beare T",                MISSING),
            ("T",                      MISSING),
            ("Digest username=\"a\", realm=\"b\"", MISSING),
            ("DPoP T",                 MISSING),
            ("Basic YTpi",             MISSING),
        ];
        for (value, expected) in cases {
            assert_eq!(read(BEARER, value.as_bytes()), expected, "{value:?}");
        }
        assert_eq!(read(BEARER, b"Bearer \xff"), MALFORMED);
    }

    #[test]
    fn rfc9449_7_1_dpop_is_one_b64token_behind_its_scheme() {
        const DPOP_MALFORMED: &str = "credential_malformed_dpop";
        for (value, expected) in [
            ("DPoP T", "dpop T"),
            ("dpop  aZ09-._~+/==", "dpop aZ09-._~+/=="),
            ("Bearer T", "T"),
            ("DPoP", DPOP_MALFORMED),
            ("DPoP ", DPOP_MALFORMED),
            ("DPoP\tT", DPOP_MALFORMED),
            ("DPoP a b", DPOP_MALFORMED),
            ("DPoP \"a\"", DPOP_MALFORMED),
            ("DPoP a, DPoP b", "credential_several"),
            ("DPoPT", MISSING),
        ] {
            assert_eq!(read(DPOP, value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn a_scheme_that_is_not_accepted_is_no_credential() {
        assert_eq!(read(BASIC, b"Bearer T"), MISSING);
        assert_eq!(read(BASIC, b"Bearer a b"), MISSING);
        assert_eq!(read(BEARER, b"Basic !"), MISSING);
        let nothing = Accept { bearer: false, basic: false, dpop: false };
        assert_eq!(read(nothing, b"Bearer T"), MISSING);
        assert_eq!(read(BOTH, b"Bearer T"), "T");
    }

    #[test]
    fn every_byte_outside_of_the_grammar_is_refused() {
        for byte in 0..=u8::MAX {
            let inside = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[b'a', byte, b'a']), inside, "{byte:#x}");
            assert_eq!(is_b64token(&[b'a', byte]), inside || byte == b'=', "{byte:#x}");
        }
    }

    #[test]
    fn a_credential_is_looked_at_up_to_its_bound() {
        let bearer = |length| format!("Bearer {}", "a".repeat(length)).into_bytes();
        assert_eq!(read(BEARER, &bearer(CREDENTIAL_MAX_BYTES)).len(), CREDENTIAL_MAX_BYTES);
        assert_eq!(read(BEARER, &bearer(CREDENTIAL_MAX_BYTES + 1)), "credential_too_long");
        let secret = |length| pair(format!("k:{}", "s".repeat(length)));
        assert_eq!(read(BASIC, &secret(12_286)).len(), CREDENTIAL_MAX_BYTES / 4 * 3);
        assert_eq!(read(BASIC, &secret(12_287)), BASIC_MALFORMED);
    }

    #[test]
    fn rfc7617_2_basic_is_base64_of_id_colon_secret() {
        let long = "k".repeat(80);
        #[rustfmt::skip]
        let cases: [(&str, &[u8], &str); 15] = [
            // claim                          decoded             outcome
            ("an id and a secret",            b"id:secret",       "id|secret"),
            ("the first colon ends the id",   b"id:se:cret",      "id|se:cret"),
            ("nothing is decoded twice",      b"a%2Bb:s+%20",     "a%2Bb|s+%20"),
            ("a space is a character",        b"a b: c ",         "a b| c "),
            ("UTF-8 in both",                 "ké:sé€".as_bytes(), "ké|sé€"),
            ("an empty secret",               b"id:",             "id|"),
            ("a comma",                       b"id:a,b",          "id|a,b"),
            ("an empty id",                   b":secret",         BASIC_MALFORMED),
            ("no colon",                      b"id",              BASIC_MALFORMED),
            ("nothing",                       b"",                BASIC_MALFORMED),
            ("not UTF-8",                     b"id:\xff",         BASIC_MALFORMED),
            ("a line end",                    b"id:a\nb",         BASIC_MALFORMED),
            ("a NUL in the id",               b"i\0d:a",          BASIC_MALFORMED),
            ("DEL",                           b"id:\x7f",         BASIC_MALFORMED),
            ("a tab",                         b"id:a\tb",         BASIC_MALFORMED),
        ];
        for (claim, decoded, expected) in cases {
            assert_eq!(read(BOTH, &pair(decoded)), expected, "{claim}");
        }
        assert_eq!(read(BASIC, &pair(format!("{long}:s"))), format!("{long}|s"), "80 characters");
    }

    #[test]
    fn rfc7617_2_basic_is_one_padded_base64_text_of_the_standard_alphabet() {
        #[rustfmt::skip]
        let cases = [
            ("Basic YTpi",        "a|b"),
            ("basic  YTpi",       "a|b"),
            ("BASIC YTpiYw==",    "a|bc"),
            ("Basic YTpiYw",      BASIC_MALFORMED),
            ("Basic YTpiYx==",    BASIC_MALFORMED),
            ("Basic YTpiYw===",   BASIC_MALFORMED),
            ("Basic YTo/Pz8+",    "a|???>"),
            ("Basic YTo_Pz8-",    BASIC_MALFORMED),
            ("Basic YTpi YTpi",   BASIC_MALFORMED),
            ("Basic YTpi ",       BASIC_MALFORMED),
            ("Basic YTpi!",       BASIC_MALFORMED),
            ("Basic a:b",         BASIC_MALFORMED),
            ("Basic",             BASIC_MALFORMED),
            ("Basic ",            BASIC_MALFORMED),
            ("Basic\tYTpi",       BASIC_MALFORMED),
            ("Basic YTpi, Bearer T", "credential_several"),
        ];
        for (value, expected) in cases {
            assert_eq!(read(BOTH, value.as_bytes()), expected, "{value:?}");
        }
    }
}
