//! What a token says of itself, for people: nothing here is proven, and nothing is decided by it.

use super::jwt::Form;
use crate::oauth::{Claims, RawToken};
use crate::reject::InvalidToken;

/// A token as it reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A JWT.
    Jwt(JwtReading),
    /// It has the form of a JWT and breaks it.
    BrokenJwt(InvalidToken),
    /// Only its authorization server can say what it is.
    Opaque,
}

/// A JWT as it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtReading {
    /// `alg`.
    pub algorithm: String,
    /// `kid`.
    pub key_id: Option<String>,
    /// `typ`.
    pub kind: Option<String>,
    /// Its claims.
    pub claims: Claims,
}

/// The checks of a JWT in the order in which they are made (RFC 9068 §4), for people.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Check {
    /// `iss` is an authorization server that the route trusts.
    Issuer,
    /// `typ` is that of an access token.
    Type,
    /// `alg` is allowed.
    Algorithm,
    /// The authorization server has such a key.
    Key,
    /// The signature holds.
    Signature,
    /// Its claims have the types that they must have, and say that it is an access token.
    Claims,
    /// It is neither too early nor too late.
    Time,
    /// It is bound to nothing that nobody here asks for.
    Binding,
    /// The authorization server, asked about it too, says that it is active.
    Introspection,
    /// It is not on the revocation list.
    Revocation,
}

/// Reads a token.
pub fn read(token: RawToken<'_>) -> Reading {
    match Form::of(token.expose()) {
        Form::Opaque => Reading::Opaque,
        Form::Jwt(Err(why)) => Reading::BrokenJwt(why),
        Form::Jwt(Ok(jwt)) => Reading::Jwt(JwtReading {
            algorithm: jwt.algorithm.to_string(),
            key_id: jwt.key_id().map(str::to_owned),
            kind: jwt.kind().map(str::to_owned),
            claims: jwt.claims,
        }),
    }
}

impl Check {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Issuer,
        Self::Type,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Claims,
        Self::Time,
        Self::Binding,
        Self::Introspection,
        Self::Revocation,
    ];

    /// Which check a readable JWT failed that was refused for `why`. `None`: not one of these but
    /// what comes after it: the route's own look at `aud`, or an exchange.
    pub const fn failed(why: InvalidToken) -> Option<Self> {
        match why {
            InvalidToken::Issuer | InvalidToken::Unjudgeable => Some(Self::Issuer),
            InvalidToken::Type | InvalidToken::TypeNotConfigured => Some(Self::Type),
            InvalidToken::Algorithm | InvalidToken::Critical => Some(Self::Algorithm),
            InvalidToken::KeyUnknown => Some(Self::Key),
            InvalidToken::Signature => Some(Self::Signature),
            InvalidToken::Malformed | InvalidToken::NotAccessToken => Some(Self::Claims),
            InvalidToken::Expired | InvalidToken::NotYetValid => Some(Self::Time),
            InvalidToken::Bound | InvalidToken::Unbound => Some(Self::Binding),
            InvalidToken::Inactive => Some(Self::Introspection),
            InvalidToken::Revoked => Some(Self::Revocation),
            // The last comes after the route's own rules.
            InvalidToken::Audience | InvalidToken::NotExchanged => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_an_opaque_token_and_a_broken_jwt_are_told_apart() {
        // {"alg":"ES256","kid":"k","typ":"at+jwt"} . {"iss":"i"} . an empty signature
        let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJpIn0.AA";
        let Reading::Jwt(jwt) = read(RawToken::new(token)) else { panic!("it is a JWT") };
        assert_eq!((&*jwt.algorithm, jwt.key_id.as_deref()), ("ES256", Some("k")));
        assert_eq!(jwt.kind.as_deref(), Some("at+jwt"));
        assert_eq!(jwt.claims.string("iss"), Ok(Some("i")));
        assert_eq!(read(RawToken::new("2YotnFZFEjr1zCsicMWpAA")), Reading::Opaque);
        let none = "eyJhbGciOiJub25lIn0.e30.";
        assert_eq!(read(RawToken::new(none)), Reading::BrokenJwt(InvalidToken::Algorithm));
    }

    #[test]
    fn the_checks_stand_in_their_order_and_each_once() {
        assert!(Check::ALL.is_sorted_by(|one, next| one < next));
    }
}
