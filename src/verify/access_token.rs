//! What claims must say for a token to be an access token that is good now, whoever vouched for
//! them (RFC 9068 §4, RFC 7662 §2.2). Pure: `now` is an argument.
//!
//! Scopes, audience and claims are read here and judged by `policy`, for each request anew.

use serde_json::Value;

use super::jwt::is_malformed;
use crate::base::time::UnixSeconds;
use crate::config::AuthorizationServer;
use crate::oauth::{
    Audiences, ClaimError, Claims, Confirmation, InvalidConfirmation, KeptClaims, Principal,
    ServerId, TokenDigest, TokenKind, TokenTexts, Traces, Validity, VerifiedToken,
};
use crate::reject::InvalidToken;

/// A token's verdict by the claims of a JWT whose signature holds.
///
/// # Errors
/// The first thing that is wrong: what it is, what it is bound to, when it may be used.
pub(super) fn judge(
    claims: &Claims,
    digest: TokenDigest,
    (id, server): (ServerId, &AuthorizationServer),
    now: UnixSeconds,
) -> Result<VerifiedToken, InvalidToken> {
    if is_id_token(claims) || says_other_kind(claims) {
        return Err(InvalidToken::NotAccessToken);
    }
    let said = Said::read(claims, server).map_err(is_malformed)?;
    let audiences =
        claims.audiences(&server.audience_claim, &server.audiences).map_err(is_malformed)?;
    // RFC 9068 §2.2 demands `exp`. `iat` and `jti` have no power, and a wrong type breaks the form.
    if said.expires.is_none() {
        return Err(InvalidToken::Malformed);
    }
    claims.numeric_date("iat").and(claims.string("jti").map(drop)).map_err(is_malformed)?;
    said.check_use(server, now)?;
    Ok(said.verdict(digest, TokenKind::Jwt, (id, server), Audiences::Named(audiences)))
}

/// What the claims of a token or of an introspection answer say, read strictly.
pub(super) struct Said {
    /// `exp` as it stands there, the skew not in it.
    pub(super) expires: Option<UnixSeconds>,
    /// What `cnf` binds it to, if there is one.
    pub(super) confirmation: Option<Result<Confirmation, InvalidConfirmation>>,
    token: Partial,
}

/// The client that the token was given to. Both usual names must be texts where they are there.
fn client_id<'c>(
    claims: &'c Claims,
    server: &AuthorizationServer,
) -> Result<Option<&'c str>, ClaimError> {
    let authorized_party = claims.string("azp")?;
    let client_id = claims.string("client_id")?;
    match &server.client_id_claim {
        None => Ok(client_id.or(authorized_party)),
        Some(name) => match claims.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimError::WrongType("client_id")),
        },
    }
}

struct Partial {
    texts: TokenTexts,
    principal: Principal,
    validity: Validity,
    claims: KeptClaims,
}

impl Said {
    /// Reads them.
    ///
    /// # Errors
    /// When one has a wrong type, which is never the same as absent.
    pub(super) fn read(claims: &Claims, server: &AuthorizationServer) -> Result<Self, ClaimError> {
        let expires = claims.numeric_date("exp")?;
        let skew = server.clock_skew;
        let validity = Validity::new(
            claims.numeric_date("nbf")?.map(|nbf| nbf.minus(skew)),
            expires.map(|exp| exp.plus(skew)),
        );
        let client_id = client_id(claims, server)?;
        let subject = claims.string("sub")?;
        let token = Partial {
            // None is so long but by an introspection answer that nobody meant.
            texts: TokenTexts::new(subject, client_id, &claims.scopes()?)
                .ok_or(ClaimError::WrongType("sub"))?,
            principal: Principal::of(subject, client_id, claims),
            validity,
            claims: kept(claims, server, client_id),
        };
        Ok(Self { expires, confirmation: claims.value("cnf").map(Confirmation::read), token })
    }

    /// Whether the token may be used by whoever sends it, and now.
    ///
    /// # Errors
    /// When it is bound to what nobody here will ask for (RFC 8705 §3, RFC 9449 §7.2: bound is never
    /// taken as unbound), over, or still to come.
    pub(super) fn check_use(
        &self,
        server: &AuthorizationServer,
        now: UnixSeconds,
    ) -> Result<(), InvalidToken> {
        match &self.confirmation {
            None => {}
            Some(Ok(bound)) if is_asked_for(bound, server) => {}
            Some(_) => return Err(InvalidToken::Bound),
        }
        check_time(&self.token.validity, now)
    }

    /// The verdict.
    pub(super) fn verdict(
        self,
        digest: TokenDigest,
        kind: TokenKind,
        (id, server): (ServerId, &AuthorizationServer),
        audiences: Audiences,
    ) -> VerifiedToken {
        let Partial { texts, principal, validity, claims } = self.token;
        let claims = match self.confirmation {
            Some(Ok(confirmation)) => claims.bound_to(confirmation),
            Some(Err(_)) | None => claims, // the one is refused, the other bound to nothing
        };
        VerifiedToken {
            digest,
            kind,
            server: id,
            issuer: server.issuer.clone(),
            texts,
            principal,
            audiences,
            validity,
            claims,
        }
    }
}

fn kept(claims: &Claims, server: &AuthorizationServer, client_id: Option<&str>) -> KeptClaims {
    let kept = claims.only(&server.kept_claims);
    match server.traced {
        true => kept.with_traces(Traces::of(server.issuer.as_str(), claims, client_id)),
        false => kept,
    }
}

/// Whether a proof of all that a token is bound to is asked for with each request.
const fn is_asked_for(bound: &Confirmation, server: &AuthorizationServer) -> bool {
    (bound.key.is_none() || server.dpop.is_some())
        && (bound.certificate.is_none() || server.certificate_bound.is_some())
}

/// Whether a token says that it was issued later than now. That is no reason to refuse it (RFC 7519
/// §4.1.6 gives `iat` no such power), and a sign that its server's clock or ours is wrong.
pub(super) fn is_from_the_future(
    claims: &Claims,
    server: &AuthorizationServer,
    now: UnixSeconds,
) -> bool {
    let issued = claims.numeric_date("iat").ok().flatten();
    issued.is_some_and(|issued| now < issued.minus(server.clock_skew))
}

/// Holds a token's time against the clock: on each hit of a cache as well as at first.
///
/// # Errors
/// [`InvalidToken::Expired`] or [`InvalidToken::NotYetValid`].
pub(super) fn check_time(validity: &Validity, now: UnixSeconds) -> Result<(), InvalidToken> {
    if validity.is_over(now) {
        return Err(InvalidToken::Expired);
    }
    if validity.is_ahead(now) {
        return Err(InvalidToken::NotYetValid);
    }
    Ok(())
}

/// Whether the claims name another kind of token, in one of the places where servers say it:
/// `typ` (Keycloak), `token_use` (Cognito, Hydra), `token_type`.
pub(super) fn says_other_kind(claims: &Claims) -> bool {
    ["typ", "token_use", "token_type"]
        .iter()
        .filter_map(|name| claims.value(name)?.as_str())
        .any(|found| OTHER_KINDS.iter().any(|kind| found.eq_ignore_ascii_case(kind)))
}

/// Whether the claims are those of an ID token (OpenID Connect Core §2), a logout token or another
/// event (RFC 8417 §2.2), or a signed introspection answer (RFC 9701 §5).
fn is_id_token(claims: &Claims) -> bool {
    // Keycloak before 24 put the `nonce` of the login into access tokens too, and said `Bearer`.
    let is_bearer = claims.value("typ").is_some_and(|typ| typ == "Bearer");
    OTHER_MARKS.iter().any(|name| claims.value(name).is_some())
        || (!is_bearer && claims.value("nonce").is_some())
}

const OTHER_MARKS: [&str; 5] = ["at_hash", "c_hash", "s_hash", "events", "token_introspection"];

const OTHER_KINDS: [&str; 8] = [
    "ID",
    "id_token",
    "Refresh",
    "refresh_token",
    "Offline",
    "offline_token",
    "Logout",
    "Serialized-ID",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::testing::settings;
    use super::*;
    use crate::oauth::{Mark, MarkKind, RawToken};

    const NOW: i64 = 1_700_000_000;

    fn judged(claims: &Value, now: i64) -> Result<VerifiedToken, InvalidToken> {
        let server = AuthorizationServer {
            kept_claims: vec!["department".into()],
            clock_skew: Duration::from_secs(30),
            ..settings("https://as.test")
        };
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        let digest = RawToken::new("t").digest();
        judge(&claims, digest, (ServerId::new(1), &server), UnixSeconds::new(now))
    }

    fn good() -> Value {
        json!({
            "iss": "https://as.test", "aud": "https://api.test", "exp": NOW + 60, "sub": "u1",
            "client_id": "c1", "scope": "read write", "iat": NOW, "jti": "j", "department": "it",
            "unknown": {"a": [1]},
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    #[test]
    fn a_verdict_holds_what_the_token_says_and_only_claims_that_are_asked_for() {
        let token = judged(&good(), NOW).unwrap();
        assert_eq!(token.kind, TokenKind::Jwt);
        assert_eq!(token.subject(), Some("u1"));
        assert_eq!(token.client_id(), Some("c1"));
        assert_eq!(token.scopes().to_string(), "read write");
        assert_eq!(token.claims.len(), 1);
        assert_eq!(token.claims.value("department"), Some(&json!("it")));
        let Audiences::Named(named) = &token.audiences else { panic!("named") };
        assert_eq!(named[0].as_str(), "https://api.test");
    }

    #[test]
    fn a_revocation_names_the_client_that_the_verdict_names() {
        let claims = with("app", json!("c2"));
        for (claim, expected) in [(None, "c1"), (Some("app"), "c2")] {
            let server = AuthorizationServer {
                client_id_claim: claim.map(Into::into),
                traced: true,
                ..settings("https://as.test")
            };
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let us = (ServerId::new(1), &server);
            let token = judge(&claims, RawToken::new("t").digest(), us, UnixSeconds::new(NOW));
            let token = token.unwrap();
            assert_eq!(token.client_id(), Some(expected));
            let mark = Mark::of(MarkKind::Client, "https://as.test", expected);
            let mut marks = token.claims.traces().unwrap().marks();
            assert!(marks.any(|one| one == mark), "{expected}");
        }
    }

    #[test]
    fn rfc9068_2_2_what_section_4_does_not_check_may_be_absent() {
        for name in ["sub", "client_id", "iat", "jti", "scope"] {
            assert!(judged(&without(name), NOW).is_ok(), "{name}");
        }
        let Audiences::Named(named) = judged(&without("aud"), NOW).unwrap().audiences else {
            panic!("an absent audience is nobody")
        };
        assert!(named.is_empty());
        let token = judged(&with("azp", json!("c2")), NOW).unwrap();
        assert_eq!(token.client_id(), Some("c1"));
    }

    #[test]
    fn cve_2026_25537_a_wrong_type_is_malformed_and_never_absent() {
        let values =
            [json!(null), json!(true), json!(1), json!("1"), json!([1]), json!({}), json!(["a"])];
        #[rustfmt::skip]
        let cases = [
            ("exp",       &[2][..]),
            ("nbf",       &[2]),
            ("iat",       &[2]),
            ("sub",       &[3]),
            ("client_id", &[3]),
            ("azp",       &[3]),
            ("jti",       &[3]),
            ("aud",       &[3, 6]),
            ("scope",     &[0, 3, 6]),
        ];
        for (name, right) in cases {
            for (index, value) in values.iter().enumerate() {
                let is_malformed =
                    judged(&with(name, value.clone()), NOW) == Err(InvalidToken::Malformed);
                assert_eq!(is_malformed, !right.contains(&index), "{name} {value}");
            }
        }
        assert_eq!(judged(&without("exp"), NOW), Err(InvalidToken::Malformed));
    }

    #[test]
    fn rfc7519_4_1_4_the_skew_is_spent_on_exp_and_nbf_to_the_second() {
        let exp = |second: f64| with("exp", json!(second));
        let nbf = |second: i64| with("nbf", json!(second));
        let (over, ahead) = (Err(InvalidToken::Expired), Err(InvalidToken::NotYetValid));
        #[rustfmt::skip]
        let cases = [
            ("now is exp and skew",         exp(NOW as f64 - 30.0), over),
            ("a second earlier",            exp(NOW as f64 - 29.0), Ok(())),
            ("a fraction is dropped",       exp(NOW as f64 - 29.5), over),
            ("a fraction is no error",      exp(NOW as f64 + 0.5),  Ok(())),
            ("long ago",                    exp(-1.0),              over),
            ("far ahead",                   exp(1e300),             Ok(())),
            ("now is nbf less skew",        nbf(NOW + 30),          Ok(())),
            ("a second before that",        nbf(NOW + 31),          ahead),
            ("iat in the future",           with("iat", json!(NOW + 9999)), Ok(())),
        ];
        for (claim, claims, expected) in cases {
            assert_eq!(judged(&claims, NOW).map(drop), expected, "{claim}");
        }
    }

    #[test]
    fn rfc8725_2_8_other_tokens_of_the_same_server_are_no_access_tokens() {
        for (name, value) in [
            ("at_hash", json!("x")),
            ("c_hash", json!("x")),
            ("nonce", json!("n")),
            ("events", json!({})),
            ("token_introspection", json!({"active": true})),
            ("typ", json!("ID")),
            ("typ", json!("Refresh")),
            ("typ", json!("Offline")),
            ("typ", json!("Logout")),
            ("token_use", json!("id")),
            ("token_use", json!("refresh_token")),
            ("token_type", json!("refresh")),
        ] {
            let found = judged(&with(name, value), NOW);
            assert_eq!(found, Err(InvalidToken::NotAccessToken), "{name}");
        }
        let mut keycloak = with("typ", json!("Bearer"));
        keycloak["nonce"] = json!("n");
        assert!(judged(&keycloak, NOW).is_ok());
        assert!(judged(&with("token_use", json!("access")), NOW).is_ok());
    }

    #[test]
    fn rfc8705_3_a_bound_token_is_never_taken_as_unbound() {
        for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!(null)] {
            assert_eq!(judged(&with("cnf", cnf), NOW), Err(InvalidToken::Bound));
        }
    }

    #[test]
    fn rfc9700_4_15_a_verdict_says_whom_the_token_speaks_for() {
        use Principal::{Client, User};
        let mut by_azp = without("client_id");
        by_azp["azp"] = json!("u1");
        let mut other_azp = with("azp", json!("u1"));
        other_azp["client_id"] = json!("c1");
        #[rustfmt::skip]
        let cases = [
            ("a user",                    good(),                                    User),
            ("sub is the client's id",    with("sub", json!("c1")),                  Client),
            ("a user's id as client id",  with("client_id", json!("u1")),            Client),
            ("azp stands for client_id",  by_azp,                                    Client),
            ("azp beside a client_id",    other_azp,                                 User),
            ("no sub",                    without("sub"),                            Client),
            ("gty, which nobody keeps",   with("gty", json!("client-credentials")),  Client),
            ("idtyp, which nobody keeps", with("idtyp", json!("app")),               Client),
        ];
        for (claim, claims, expected) in cases {
            assert_eq!(judged(&claims, NOW).unwrap().principal, expected, "{claim}");
        }
    }

    #[test]
    fn rfc9700_4_15_the_client_stands_where_the_settings_say() {
        let server = AuthorizationServer {
            client_id_claim: Some("cid".into()),
            ..settings("https://as.test")
        };
        let judged = |claims: &Value| {
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let digest = RawToken::new("t").digest();
            judge(&claims, digest, (ServerId::new(1), &server), UnixSeconds::new(NOW))
        };
        for (cid, client, principal) in [
            (json!("c2"), Some("c2"), Principal::User),
            (json!("u1"), Some("u1"), Principal::Client),
        ] {
            let token = judged(&with("cid", cid)).unwrap();
            assert_eq!((token.client_id(), token.principal), (client, principal));
        }
        assert_eq!(judged(&good()).unwrap().client_id(), None, "no other name stands in for it");
        assert_eq!(judged(&with("cid", json!(7))), Err(InvalidToken::Malformed));
    }

    #[test]
    fn the_audience_stands_where_the_settings_say() {
        let server = AuthorizationServer {
            audience_claim: "client_id".into(),
            ..settings("https://as.test")
        };
        let claims = Claims::parse(good().to_string().as_bytes()).unwrap();
        let digest = RawToken::new("t").digest();
        let now = UnixSeconds::new(NOW);
        let token = judge(&claims, digest, (ServerId::new(1), &server), now).unwrap();
        let Audiences::Named(named) = token.audiences else { panic!("named") };
        assert_eq!(named[0].as_str(), "c1");
    }
}
