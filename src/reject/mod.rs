//! Every refusal, and what each looks like: one exhaustive match per column.
//!
//! [`Rejection`] says why. The columns of numbers stand here, those of words in `text`; from them
//! `challenge` makes the `WWW-Authenticate` lines, and `response` the problem body (RFC 9457) or
//! the `grpc-status`. A new variant does not compile until it stands in every column.
#![warn(clippy::wildcard_enum_match_arm)]

mod cause;
mod challenge;
mod display;
mod proof;
mod response;
mod text;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/challenge.rs"]
pub mod fuzz_challenge;

use http::StatusCode;
use tracing::Level;

use crate::oauth::{Principal, ScopeSet};

pub use cause::{
    Bound, InvalidToken, MalformedCredential, MalformedRequest, Outage, OutageCause,
    OwnClientCause, OwnClientFailure, PreflightRefusal, RetryAfter, StepUp, Unsupported,
    UpstreamFailure,
};
pub use challenge::{Accept, ChallengeContext, DpopTerms, InvalidRealm, Realm, Scheme};
pub use proof::InvalidProof;
pub use response::{AnswerForm, DPOP_NONCE, RespondContext};

/// Why a request was refused. What the caller sees is in the columns below; the facts inside a
/// variant that are not the caller's business go to the log alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// The request itself has two readings, or none.
    RequestMalformed(MalformedRequest),
    /// No route has this host and path.
    RouteUnknown,
    /// Routes have this path, for other methods: the value of `Allow`.
    MethodNotAllowed(Box<str>),
    /// The request asks for something that this gateway does not do.
    NotSupported(Unsupported),
    /// RFC 9110 §15.5.20: the connection's certificate does not speak for this host.
    Misdirected,
    /// A bound was reached.
    TooLarge(Bound),
    /// The caller took too long to send its request.
    TooSlow,
    /// RFC 6750 §3.1: no authentication information, so the challenge carries no error code.
    CredentialMissing,
    /// More than one credential, or one that breaks the grammar.
    CredentialMalformed(MalformedCredential),
    /// The token is bad, whatever route it was sent to, or is meant for somebody else.
    TokenInvalid(InvalidToken),
    /// The token is bound to a key, and the proof of that key does not count (RFC 9449 §7.1).
    ProofInvalid(InvalidProof),
    /// The proof must carry this nonce (RFC 9449 §9).
    NonceNeeded(Box<str>),
    /// So many proofs are remembered that one more could not be told from a replayed one.
    ProofsTooMany(RetryAfter),
    /// The authorization server refused a caller's key and secret (RFC 6749 §5.2).
    BasicRefused,
    /// Too many pairs of key and secret from one address were wrong (RFC 6749 §10.10).
    GuessedTooOften(RetryAfter),
    /// The user must log in anew, or more strongly (RFC 9470 §3).
    AuthenticationInsufficient(Box<StepUp>),
    /// The scopes the route requires, for the challenge.
    ScopeInsufficient(ScopeSet),
    /// A claim is not what the route requires; more scope would not help.
    ClaimsInsufficient,
    /// The credential speaks for this one, and the route is for the other (RFC 9700 §4.15).
    PrincipalRefused(Principal),
    /// A page of another site asked whether it may send a request, and may not.
    PreflightRefused(PreflightRefusal),
    /// Nobody could say whether the credential is good. A gateway that guesses is open.
    VerifierUnavailable(Outage),
    /// The gateway's own client was not given what it needs for the upstream.
    OwnClientRefused(OwnClientFailure),
    /// The upstream gave no usable answer.
    UpstreamFailed(UpstreamFailure),
}

impl Rejection {
    /// The status code of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::RequestMalformed(_) | Self::CredentialMalformed(_) => StatusCode::BAD_REQUEST,
            Self::RouteUnknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotSupported(what) => match what {
                Unsupported::Connect | Unsupported::TransferCoding | Unsupported::Protocol => {
                    StatusCode::NOT_IMPLEMENTED
                }
                Unsupported::Expectation => StatusCode::EXPECTATION_FAILED,
            },
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooLarge(bound) => match bound {
                Bound::Body => StatusCode::PAYLOAD_TOO_LARGE,
                Bound::Target => StatusCode::URI_TOO_LONG,
                Bound::Header => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            },
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::CredentialMissing
            | Self::TokenInvalid(_)
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::BasicRefused
            | Self::AuthenticationInsufficient(_) => StatusCode::UNAUTHORIZED,
            Self::GuessedTooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_) => StatusCode::FORBIDDEN,
            Self::VerifierUnavailable(_) | Self::ProofsTooMany(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::OwnClientRefused(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamFailed(failure) => match failure {
                UpstreamFailure::TimedOut | UpstreamFailure::Overdue => StatusCode::GATEWAY_TIMEOUT,
                UpstreamFailure::Busy => StatusCode::SERVICE_UNAVAILABLE,
                UpstreamFailure::Refused
                | UpstreamFailure::Tls
                | UpstreamFailure::Reset
                | UpstreamFailure::Malformed
                | UpstreamFailure::Loop => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// When the caller should come back, where we know.
    pub const fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::VerifierUnavailable(outage) => Some(outage.retry_after),
            Self::GuessedTooOften(retry_after) | Self::ProofsTooMany(retry_after) => {
                Some(*retry_after)
            }
            Self::UpstreamFailed(UpstreamFailure::Busy) => Some(RetryAfter::SHORTEST),
            Self::RequestMalformed(_)
            | Self::RouteUnknown
            | Self::MethodNotAllowed(_)
            | Self::NotSupported(_)
            | Self::Misdirected
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::CredentialMissing
            | Self::CredentialMalformed(_)
            | Self::TokenInvalid(_)
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::BasicRefused
            | Self::AuthenticationInsufficient(_)
            | Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_)
            | Self::OwnClientRefused(_)
            | Self::UpstreamFailed(_) => None,
        }
    }

    /// The error code of RFC 6750 §3.1, RFC 9449 §7.1 or RFC 9470 §3, where one fits.
    pub const fn error_code(&self) -> Option<&'static str> {
        match self {
            Self::CredentialMalformed(_) => Some("invalid_request"),
            Self::TokenInvalid(_) => Some("invalid_token"),
            Self::ProofInvalid(_) => Some("invalid_dpop_proof"),
            Self::NonceNeeded(_) => Some("use_dpop_nonce"),
            Self::ScopeInsufficient(_) => Some("insufficient_scope"),
            Self::AuthenticationInsufficient(_) => Some("insufficient_user_authentication"),
            // Missing: §3.1 wants no code. Claims, principal: no code fits, and more scope would not
            // help. Basic has no error parameter at all (RFC 7617 §2).
            Self::CredentialMissing
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_)
            | Self::BasicRefused => None,
            Self::RequestMalformed(_)
            | Self::RouteUnknown
            | Self::MethodNotAllowed(_)
            | Self::NotSupported(_)
            | Self::Misdirected
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::ProofsTooMany(_)
            | Self::GuessedTooOften(_)
            | Self::VerifierUnavailable(_)
            | Self::OwnClientRefused(_)
            | Self::UpstreamFailed(_) => None,
        }
    }

    /// Whether it is about the proof of what a token is bound to.
    pub const fn is_about_proof(&self) -> bool {
        matches!(self, Self::ProofInvalid(_) | Self::NonceNeeded(_) | Self::ProofsTooMany(_))
    }

    /// How loud the log is: ERROR where the operator must act, WARN where something is degraded,
    /// DEBUG for one refused request. What a caller alone can bring on is never louder than DEBUG,
    /// or any stranger could fill the log.
    pub const fn log_level(&self) -> Level {
        match self {
            Self::VerifierUnavailable(outage) => match outage.cause {
                OutageCause::OurClientRefused => Level::ERROR,
                OutageCause::Unreachable
                | OutageCause::TimedOut
                | OutageCause::Status
                | OutageCause::Unusable
                | OutageCause::NoKeys
                | OutageCause::Busy => Level::WARN,
            },
            Self::OwnClientRefused(failure) => match failure.cause {
                OwnClientCause::Refused(_)
                | OwnClientCause::PartialScopes(_)
                | OwnClientCause::PartialDetails(_)
                | OwnClientCause::RefusedUpstream => Level::ERROR,
                OwnClientCause::Unusable => Level::WARN,
            },
            Self::UpstreamFailed(failure) => match failure {
                UpstreamFailure::Tls => Level::ERROR,
                // A caller can write our name into `Via` itself, and how long it waits.
                UpstreamFailure::Loop | UpstreamFailure::Overdue => Level::DEBUG,
                UpstreamFailure::Refused
                | UpstreamFailure::Reset
                | UpstreamFailure::Malformed
                | UpstreamFailure::TimedOut
                | UpstreamFailure::Busy => Level::WARN,
            },
            Self::RequestMalformed(_)
            | Self::RouteUnknown
            | Self::MethodNotAllowed(_)
            | Self::NotSupported(_)
            | Self::Misdirected
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::CredentialMissing
            | Self::CredentialMalformed(_)
            | Self::TokenInvalid(_)
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::ProofsTooMany(_)
            | Self::BasicRefused
            | Self::GuessedTooOften(_)
            | Self::AuthenticationInsufficient(_)
            | Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_) => Level::DEBUG,
        }
    }

    /// The status code of a gRPC answer. It follows the table by which gRPC clients read a bare
    /// HTTP status, except that it says 8 and 14 where that table only says "unknown".
    pub const fn grpc_status(&self) -> GrpcStatus {
        match self {
            Self::CredentialMissing
            | Self::CredentialMalformed(_)
            | Self::TokenInvalid(_)
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::BasicRefused
            | Self::AuthenticationInsufficient(_) => GrpcStatus::Unauthenticated,
            Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_) => GrpcStatus::PermissionDenied,
            Self::UpstreamFailed(UpstreamFailure::Overdue) => GrpcStatus::DeadlineExceeded,
            Self::GuessedTooOften(_)
            | Self::ProofsTooMany(_)
            | Self::VerifierUnavailable(_)
            | Self::OwnClientRefused(_)
            | Self::UpstreamFailed(_) => GrpcStatus::Unavailable,
            // RFC 9110 §15.5.9 and §15.5.20: the same call may succeed on another connection.
            Self::TooSlow | Self::Misdirected => GrpcStatus::Unavailable,
            Self::RouteUnknown | Self::MethodNotAllowed(_) | Self::NotSupported(_) => {
                GrpcStatus::Unimplemented
            }
            Self::TooLarge(_) => GrpcStatus::ResourceExhausted,
            Self::RequestMalformed(_) => GrpcStatus::Internal,
        }
    }
}

/// A gRPC status code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of gRPC's own list")]
pub enum GrpcStatus {
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl GrpcStatus {
    /// The number as text, as `grpc-status` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExceeded => "4",
            Self::PermissionDenied => "7",
            Self::ResourceExhausted => "8",
            Self::Unimplemented => "12",
            Self::Internal => "13",
            Self::Unavailable => "14",
            Self::Unauthenticated => "16",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::oauth::{Issuer, Plaintext};

    /// Refusal, status, reason, error code, level, gRPC status, `Retry-After`.
    type Row = (Rejection, u16, &'static str, Option<&'static str>, Level, u8, Option<u64>);

    fn outage(cause: OutageCause) -> Rejection {
        let issuer = Issuer::parse("https://inner.test", Plaintext::Refused).unwrap();
        let retry_after = RetryAfter::new(Duration::from_secs(7));
        Rejection::VerifierUnavailable(Outage { issuer, cause, retry_after })
    }

    fn own_client(cause: OwnClientCause) -> Rejection {
        Rejection::OwnClientRefused(OwnClientFailure { client: "reports".into(), cause })
    }

    /// Every variant in every column.
    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn table() -> Vec<Row> {
        use {Rejection as R, InvalidToken as T, MalformedCredential as C, MalformedRequest as M};
        use {OutageCause as O, OwnClientCause as W, PreflightRefusal as F};
        use {Unsupported as N, UpstreamFailure as U};
        let (error, warn, debug) = (Level::ERROR, Level::WARN, Level::DEBUG);
        let request = Some("invalid_request");
        let token = Some("invalid_token");
        let (proof, nonce) = (Some("invalid_dpop_proof"), Some("use_dpop_nonce"));
        let lacking = Some("insufficient_scope");
        let stronger = Some("insufficient_user_authentication");
        let step_up = || Box::new(StepUp { acr_values: "mfa pwd".into(), max_age_s: Some(60), scopes: None });
        let scopes = ScopeSet::from_claim("orders:read");
        let hidden = ScopeSet::from_claim("hidden:scope");
        let mut rows = vec![
            (R::RequestMalformed(M::Path),             400, "path_malformed",                None,    debug, 13, None),
            (R::RequestMalformed(M::Host),             400, "host_malformed",                None,    debug, 13, None),
            (R::RequestMalformed(M::Connection),       400, "connection_malformed",          None,    debug, 13, None),
            (R::RequestMalformed(M::Target),           400, "target_malformed",              None,    debug, 13, None),
            (R::RequestMalformed(M::Framing),          400, "framing_malformed",             None,    debug, 13, None),
            (R::RequestMalformed(M::Field),            400, "field_malformed",               None,    debug, 13, None),
            (R::RequestMalformed(M::Upgrade),          400, "upgrade_malformed",             None,    debug, 13, None),
            (R::RouteUnknown,                          404, "route_unknown",                 None,    debug, 12, None),
            (R::MethodNotAllowed("GET, HEAD".into()),  405, "method_not_allowed",            None,    debug, 12, None),
            (R::NotSupported(N::Connect),              501, "connect_not_supported",         None,    debug, 12, None),
            (R::NotSupported(N::Expectation),          417, "expectation_not_supported",     None,    debug, 12, None),
            (R::NotSupported(N::TransferCoding),       501, "transfer_coding_not_supported", None,    debug, 12, None),
            (R::NotSupported(N::Protocol),             501, "protocol_not_supported",        None,    debug, 12, None),
            (R::Misdirected,                           421, "misdirected",                   None,    debug, 14, None),
            (R::TooLarge(Bound::Body),                 413, "body_too_large",                None,    debug, 8,  None),
            (R::TooLarge(Bound::Target),               414, "target_too_large",              None,    debug, 8,  None),
            (R::TooLarge(Bound::Header),               431, "header_too_large",              None,    debug, 8,  None),
            (R::TooSlow,                               408, "too_slow",                      None,    debug, 14, None),
            (R::CredentialMissing,                     401, "credential_missing",            None,    debug, 16, None),
            (R::CredentialMalformed(C::Several),       400, "credential_several",            request, debug, 16, None),
            (R::CredentialMalformed(C::InQuery),       400, "credential_in_query",           request, debug, 16, None),
            (R::CredentialMalformed(C::Bearer),        400, "credential_malformed_bearer",   request, debug, 16, None),
            (R::CredentialMalformed(C::Basic),         400, "credential_malformed_basic",    request, debug, 16, None),
            (R::CredentialMalformed(C::Dpop),          400, "credential_malformed_dpop",     request, debug, 16, None),
            (R::CredentialMalformed(C::TooLong),       400, "credential_too_long",           request, debug, 16, None),
            (R::TokenInvalid(T::Malformed),            401, "token_malformed",               token,   debug, 16, None),
            (R::TokenInvalid(T::Algorithm),            401, "token_algorithm",               token,   debug, 16, None),
            (R::TokenInvalid(T::Type),                 401, "token_type",                    token,   debug, 16, None),
            (R::TokenInvalid(T::TypeNotConfigured),    401, "token_type_not_configured",     token,   debug, 16, None),
            (R::TokenInvalid(T::Critical),             401, "token_critical",                token,   debug, 16, None),
            (R::TokenInvalid(T::NotAccessToken),       401, "token_not_access_token",        token,   debug, 16, None),
            (R::TokenInvalid(T::Issuer),               401, "token_issuer",                  token,   debug, 16, None),
            (R::TokenInvalid(T::KeyUnknown),           401, "token_key_unknown",             token,   debug, 16, None),
            (R::TokenInvalid(T::Signature),            401, "token_signature",               token,   debug, 16, None),
            (R::TokenInvalid(T::Expired),              401, "token_expired",                 token,   debug, 16, None),
            (R::TokenInvalid(T::NotYetValid),          401, "token_not_yet_valid",           token,   debug, 16, None),
            (R::TokenInvalid(T::Audience),             401, "token_audience",                token,   debug, 16, None),
            (R::TokenInvalid(T::Inactive),             401, "token_inactive",                token,   debug, 16, None),
            (R::TokenInvalid(T::Revoked),              401, "token_revoked",                 token,   debug, 16, None),
            (R::TokenInvalid(T::Bound),                401, "token_bound",                   token,   debug, 16, None),
            (R::TokenInvalid(T::Unbound),              401, "token_unbound",                 token,   debug, 16, None),
            (R::TokenInvalid(T::Unjudgeable),          401, "token_unjudgeable",             token,   debug, 16, None),
            (R::TokenInvalid(T::NotExchanged),          401, "token_not_exchanged",           token,   debug, 16, None),
            (R::NonceNeeded("n".into()),               401, "proof_nonce",                   nonce,   debug, 16, None),
            (R::ProofsTooMany(RetryAfter::SHORTEST),   503, "proofs_too_many",               None,    debug, 14, Some(1)),
            (R::BasicRefused,                          401, "basic_refused",                 None,    debug, 16, None),
            (R::GuessedTooOften(RetryAfter::SHORTEST), 429, "guessed_too_often",             None,    debug, 14, Some(1)),
            (R::AuthenticationInsufficient(step_up()), 401, "authentication_insufficient",   stronger, debug, 16, None),
            (R::ScopeInsufficient(scopes),             403, "scope_insufficient",            lacking, debug, 7,  None),
            (R::ClaimsInsufficient,                    403, "claims_insufficient",           None,    debug, 7,  None),
            (R::PrincipalRefused(Principal::User),     403, "principal_user",                None,    debug, 7,  None),
            (R::PrincipalRefused(Principal::Client),   403, "principal_client",              None,    debug, 7,  None),
            (R::PreflightRefused(F::Origin),           403, "preflight_origin",              None,    debug, 7,  None),
            (R::PreflightRefused(F::Method),           403, "preflight_method",              None,    debug, 7,  None),
            (outage(O::Unreachable),                   503, "verifier_unreachable",          None,    warn,  14, Some(7)),
            (outage(O::TimedOut),                      503, "verifier_timed_out",            None,    warn,  14, Some(7)),
            (outage(O::Status),                        503, "verifier_status",               None,    warn,  14, Some(7)),
            (outage(O::Unusable),                      503, "verifier_unusable",             None,    warn,  14, Some(7)),
            (outage(O::OurClientRefused),              503, "verifier_refused_our_client",   None,    error, 14, Some(7)),
            (outage(O::NoKeys),                        503, "verifier_no_keys",              None,    warn,  14, Some(7)),
            (outage(O::Busy),                          503, "verifier_busy",                 None,    warn,  14, Some(7)),
            (own_client(W::Refused("invalid_client")), 502, "own_client_refused",            None,    error, 14, None),
            (own_client(W::PartialScopes(hidden)),     502, "own_client_partial_scopes",     None,    error, 14, None),
            (own_client(W::PartialDetails(["t".into()].into())), 502, "own_client_partial_details", None,   error, 14, None),
            (own_client(W::Unusable),                  502, "own_client_unusable",           None,    warn,  14, None),
            (own_client(W::RefusedUpstream),           502, "own_client_refused_upstream",   None,    error, 14, None),
            (R::UpstreamFailed(U::Refused),            502, "upstream_refused",              None,    warn,  14, None),
            (R::UpstreamFailed(U::Tls),                502, "upstream_tls",                  None,    error, 14, None),
            (R::UpstreamFailed(U::Reset),              502, "upstream_reset",                None,    warn,  14, None),
            (R::UpstreamFailed(U::Malformed),          502, "upstream_malformed",            None,    warn,  14, None),
            (R::UpstreamFailed(U::TimedOut),           504, "upstream_timed_out",            None,    warn,  14, None),
            (R::UpstreamFailed(U::Overdue),            504, "deadline_exceeded",             None,    debug, 4,  None),
            (R::UpstreamFailed(U::Loop),               502, "upstream_loop",                 None,    debug, 14, None),
            (R::UpstreamFailed(U::Busy),               503, "upstream_busy",                 None,    warn,  14, Some(1)),
        ];
        rows.extend(InvalidProof::ALL.map(|why| (R::ProofInvalid(why), 401, why.reason(), proof, debug, 16, None)));
        rows
    }

    pub(super) fn every_rejection() -> Vec<Rejection> {
        table().into_iter().map(|row| row.0).collect()
    }

    #[test]
    fn every_variant_stands_in_every_column() {
        for (rejection, status, reason, code, level, grpc, retry_after) in table() {
            assert_eq!(rejection.reason(), reason, "{rejection:?}");
            assert_eq!(rejection.status().as_u16(), status, "{reason}");
            assert_eq!(rejection.error_code(), code, "{reason}");
            assert_eq!(rejection.log_level(), level, "{reason}");
            assert_eq!(rejection.grpc_status() as u8, grpc, "{reason}");
            assert_eq!(rejection.grpc_status().as_str(), grpc.to_string(), "{reason}");
            assert_eq!(rejection.retry_after().map(RetryAfter::seconds), retry_after, "{reason}");
            assert!(!rejection.title().is_empty(), "{reason}");
            assert!(rejection.detail().is_ascii() && rejection.detail().ends_with('.'), "{reason}");
        }
    }

    #[test]
    fn every_cause_has_its_own_word() {
        let words: BTreeSet<_> = table().into_iter().map(|row| row.2).collect();
        assert_eq!(words.len(), table().len());
    }

    #[test]
    fn the_caller_is_told_no_cause_of_cryptography_or_behind_the_gateway() {
        for why in [InvalidToken::Algorithm, InvalidToken::KeyUnknown, InvalidToken::Critical] {
            let [refusal, signature] = [why, InvalidToken::Signature].map(Rejection::TokenInvalid);
            let told = |one: &Rejection| (one.told_reason(), one.error_description(), one.detail());
            assert_eq!(told(&refusal), told(&signature), "{why:?}");
        }
        for rejection in every_rejection() {
            let expected = match rejection.status().as_u16() {
                502 if rejection.reason().starts_with("own") => "own_client_refused",
                502 if rejection.reason() != "upstream_loop" => "upstream_failed",
                503 if rejection.reason() != "upstream_busy" => "verifier_unavailable",
                _ => continue,
            };
            assert_eq!(rejection.told_reason(), expected, "{rejection:?}");
        }
    }

    #[test]
    fn rfc6750_3_a_description_keeps_to_its_characters() {
        for rejection in every_rejection() {
            let code = rejection.error_code();
            let needed = code.is_some_and(|code| code != "insufficient_scope");
            assert_eq!(rejection.error_description().is_some(), needed, "{rejection:?}");
            let text = rejection.error_description().unwrap_or_default();
            let allowed = |byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            assert!(text.bytes().all(allowed), "{text}");
        }
    }
}
