//! What a token is bound to: `cnf` (RFC 7800 §3), with the members of RFC 9449 §6 and RFC 8705 §3.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::base::digest::Digest;

/// SHA-256 of a public key as RFC 7638 §3 writes it, or of a certificate in DER.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*Digest::of(bytes).as_bytes())
    }

    /// Reads it as `cnf` has it: base64url of 32 bytes, unpadded, in the one spelling that there is.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Reads it as 64 hex digits, in either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let mut digits = text.chars();
        for byte in &mut bytes {
            let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }

    /// All 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The key and the certificate that a token is bound to: one of them at least, and both if both are
/// there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Confirmation {
    /// `jkt`: the key of a DPoP proof (RFC 9449 §6.1).
    pub key: Option<Thumbprint>,
    /// `x5t#S256`: the client's certificate (RFC 8705 §3.1).
    pub certificate: Option<Thumbprint>,
}

/// The token is bound to something that nothing here can see proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidConfirmation;

impl Confirmation {
    /// Reads a `cnf`. Members that nobody here knows are passed over (RFC 7800 §3.1), but not if
    /// there are no others: bound is never taken as unbound.
    ///
    /// # Errors
    /// When it names nothing that is known, or a thumbprint that is none.
    pub fn read(cnf: &Value) -> Result<Self, InvalidConfirmation> {
        let members = cnf.as_object().ok_or(InvalidConfirmation)?;
        let thumbprint = |name: &str| {
            let value = members.get(name).map(|value| {
                value.as_str().and_then(Thumbprint::from_base64url).ok_or(InvalidConfirmation)
            });
            value.transpose()
        };
        let (key, certificate) = (thumbprint("jkt")?, thumbprint("x5t#S256")?);
        match (key, certificate) {
            (None, None) => Err(InvalidConfirmation),
            _ => Ok(Self { key, certificate }),
        }
    }

    /// What two statements about one token bind it to together.
    ///
    /// # Errors
    /// When they name two keys or two certificates: nobody has both.
    pub fn and(&self, other: &Self) -> Result<Self, InvalidConfirmation> {
        let both = |one: Option<Thumbprint>, other: Option<Thumbprint>| match (one, other) {
            (Some(one), Some(other)) if one != other => Err(InvalidConfirmation),
            _ => Ok(one.or(other)),
        };
        Ok(Self {
            key: both(self.key, other.key)?,
            certificate: both(self.certificate, other.certificate)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 9449 §6.1.
    const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    #[test]
    fn rfc7638_a_thumbprint_has_one_spelling() {
        let key = Thumbprint::from_base64url(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        let hex: String = key.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(Thumbprint::from_hex(&hex), Some(key));
        for text in
            ["", "x", KEY.trim_start_matches('0'), &format!("{KEY}="), &format!("{KEY} "), &hex]
        {
            assert_eq!(Thumbprint::from_base64url(text), None, "{text}");
        }
        // The last character has two spare bits.
        assert_eq!(Thumbprint::from_base64url(&KEY.replace("A4I", "A4J")), None);
        for text in ["", "0", hex.get(1..).unwrap(), &format!("{hex}0"), &hex.replace('9', "g")] {
            assert_eq!(Thumbprint::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn rfc8705_3_bound_is_never_read_as_unbound() {
        // Of RFC 8705 Appendix A. That of §3.1 has spare bits which no hash leaves.
        let certificate = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
        let spare = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
        let read = |cnf: Value| {
            let read = Confirmation::read(&cnf).ok()?;
            Some((read.key.is_some(), read.certificate.is_some()))
        };
        #[rustfmt::skip]
        let cases = [
            (json!({ "jkt": KEY }),                               Some((true, false))),
            (json!({ "x5t#S256": certificate }),                  Some((false, true))),
            (json!({ "jkt": KEY, "x5t#S256": certificate }),      Some((true, true))),
            (json!({ "jkt": KEY, "kid": "a" }),                   Some((true, false))),
            (json!({ "x5t#S256": spare }),                        None),
            (json!({ "jwk": {} }),                                None),
            (json!({ "JKT": KEY }),                               None),
            (json!({ "jkt": KEY, "x5t#S256": "x" }),              None),
            (json!({ "jkt": KEY, "x5t#S256": null }),             None),
            (json!({ "jkt": [KEY] }),                             None),
            (json!({}),                                           None),
            (json!(null),                                         None),
            (json!(KEY),                                          None),
            (json!([]),                                           None),
        ];
        for (cnf, expected) in cases {
            assert_eq!(read(cnf.clone()), expected, "{cnf}");
        }
    }

    #[test]
    fn two_statements_narrow_each_other() {
        let [a, b] = ["a", "b"].map(|text| Some(Thumbprint::of(text.as_bytes())));
        let of = |key, certificate| Confirmation { key, certificate };
        assert_eq!(of(a, None).and(&of(None, b)), Ok(of(a, b)));
        assert_eq!(of(a, b).and(&of(a, None)), Ok(of(a, b)));
        assert_eq!(of(a, None).and(&of(b, None)), Err(InvalidConfirmation));
        assert_eq!(of(None, a).and(&of(None, b)), Err(InvalidConfirmation));
    }
}
