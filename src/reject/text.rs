//! What a refusal says: to the operator in one word, to the caller in one sentence.
//!
//! Every text is a constant. Nothing of the request or the token is in it, nor a key id, an inner
//! host or a server's name (RFC 9457 §5); and for signatures the caller learns that they fail,
//! not why.

use super::proof::{NONCE_NEEDED, PROOFS_TOO_MANY};
use super::{
    Bound, InvalidToken, MalformedCredential, MalformedRequest, OutageCause, OwnClientCause,
    PreflightRefusal, Rejection, Unsupported, UpstreamFailure,
};
use crate::oauth::Principal;

impl Rejection {
    /// One stable word per cause: the label of the metric, the field of the log, the answer of
    /// `explain`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RequestMalformed(what) => match what {
                MalformedRequest::Path => "path_malformed",
                MalformedRequest::Host => "host_malformed",
                MalformedRequest::Connection => "connection_malformed",
                MalformedRequest::Target => "target_malformed",
                MalformedRequest::Framing => "framing_malformed",
                MalformedRequest::Field => "field_malformed",
                MalformedRequest::Upgrade => "upgrade_malformed",
            },
            Self::RouteUnknown => "route_unknown",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NotSupported(what) => match what {
                Unsupported::Connect => "connect_not_supported",
                Unsupported::Expectation => "expectation_not_supported",
                Unsupported::TransferCoding => "transfer_coding_not_supported",
                Unsupported::Protocol => "protocol_not_supported",
            },
            Self::Misdirected => "misdirected",
            Self::TooLarge(bound) => match bound {
                Bound::Body => "body_too_large",
                Bound::Target => "target_too_large",
                Bound::Header => "header_too_large",
            },
            Self::TooSlow => "too_slow",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialMalformed(what) => match what {
                MalformedCredential::Several => "credential_several",
                MalformedCredential::InQuery => "credential_in_query",
                MalformedCredential::Bearer => "credential_malformed_bearer",
                MalformedCredential::Basic => "credential_malformed_basic",
                MalformedCredential::Dpop => "credential_malformed_dpop",
                MalformedCredential::TooLong => "credential_too_long",
            },
            Self::TokenInvalid(why) => why.reason(),
            Self::ProofInvalid(why) => why.reason(),
            Self::NonceNeeded(_) => "proof_nonce",
            Self::ProofsTooMany(_) => "proofs_too_many",
            Self::BasicRefused => "basic_refused",
            Self::GuessedTooOften(_) => "guessed_too_often",
            Self::ScopeInsufficient(_) => "scope_insufficient",
            Self::AuthenticationInsufficient(_) => "authentication_insufficient",
            Self::ClaimsInsufficient => "claims_insufficient",
            Self::PrincipalRefused(Principal::User) => "principal_user",
            Self::PrincipalRefused(Principal::Client) => "principal_client",
            Self::PreflightRefused(PreflightRefusal::Origin) => "preflight_origin",
            Self::PreflightRefused(PreflightRefusal::Method) => "preflight_method",
            Self::VerifierUnavailable(outage) => outage.cause.reason(),
            Self::OwnClientRefused(failure) => match failure.cause {
                OwnClientCause::Refused(_) => "own_client_refused",
                OwnClientCause::PartialScopes(_) => "own_client_partial_scopes",
                OwnClientCause::PartialDetails(_) => "own_client_partial_details",
                OwnClientCause::Unusable => "own_client_unusable",
                OwnClientCause::RefusedUpstream => "own_client_refused_upstream",
            },
            Self::UpstreamFailed(failure) => match failure {
                UpstreamFailure::Refused => "upstream_refused",
                UpstreamFailure::Tls => "upstream_tls",
                UpstreamFailure::Reset => "upstream_reset",
                UpstreamFailure::Malformed => "upstream_malformed",
                UpstreamFailure::TimedOut => "upstream_timed_out",
                UpstreamFailure::Overdue => "deadline_exceeded",
                UpstreamFailure::Loop => "upstream_loop",
                UpstreamFailure::Busy => "upstream_busy",
            },
        }
    }

    /// The word that the caller is told: [`reason`](Self::reason), but coarser where the fine
    /// word speaks of what lies behind the gateway or of cryptography.
    pub const fn told_reason(&self) -> &'static str {
        match self {
            Self::TokenInvalid(why) => why.told_reason(),
            Self::VerifierUnavailable(_) | Self::ProofsTooMany(_) => "verifier_unavailable",
            Self::OwnClientRefused(_) => "own_client_refused",
            Self::UpstreamFailed(failure) => match failure {
                UpstreamFailure::TimedOut
                | UpstreamFailure::Overdue
                | UpstreamFailure::Loop
                | UpstreamFailure::Busy => self.reason(),
                UpstreamFailure::Refused
                | UpstreamFailure::Tls
                | UpstreamFailure::Reset
                | UpstreamFailure::Malformed => "upstream_failed",
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
            | Self::ProofInvalid(_)
            | Self::NonceNeeded(_)
            | Self::BasicRefused
            | Self::GuessedTooOften(_)
            | Self::AuthenticationInsufficient(_)
            | Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_) => self.reason(),
        }
    }

    /// The phrase of the status code: the title of a problem of type `about:blank`
    /// (RFC 9457 §4.2.1).
    pub fn title(&self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Refused")
    }

    /// One sentence that helps the caller (RFC 9457 §3.1.4). Printable ASCII.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::RequestMalformed(what) => what.detail(),
            Self::RouteUnknown => "Nothing is served at this host and path.",
            Self::MethodNotAllowed(_) => {
                "This path does not take this method; the Allow field lists those that it takes."
            }
            Self::NotSupported(what) => match what {
                Unsupported::Connect => "CONNECT is not served: this is no tunnel.",
                Unsupported::Expectation => "The only expectation that can be met is 100-continue.",
                Unsupported::TransferCoding => "The only transfer coding that is read is chunked.",
                Unsupported::Protocol => "This path cannot be opened with this protocol.",
            },
            Self::Misdirected => {
                "The certificate of this connection does not cover this host; open another one."
            }
            Self::TooLarge(bound) => match bound {
                Bound::Body => "The body is longer than this API takes.",
                Bound::Target => "The request target is longer than this API takes.",
                Bound::Header => "The header section is longer than this API takes.",
            },
            Self::TooSlow => "The request did not arrive in time; it may be sent again.",
            Self::CredentialMissing => {
                "No credential of a kind that this API takes is in the Authorization field; the \
                 WWW-Authenticate field says which kinds it takes."
            }
            Self::CredentialMalformed(what) => what.detail(),
            Self::TokenInvalid(why) => why.detail(),
            Self::ProofInvalid(why) => why.detail(),
            Self::NonceNeeded(_) => NONCE_NEEDED,
            Self::ProofsTooMany(_) => PROOFS_TOO_MANY,
            Self::BasicRefused => "The authorization server does not accept this key and secret.",
            Self::GuessedTooOften(_) => {
                "Too many wrong keys and secrets came from here; wait as Retry-After says."
            }
            Self::ScopeInsufficient(_) => {
                "The credential is good but lacks a scope that this needs; the scope member lists \
                 all that are needed. Ask the authorization server for a token with them."
            }
            Self::AuthenticationInsufficient(_) => {
                "The token is good, but its user did not log in as this needs: too long ago, or not \
                 strongly enough. Send the user to log in again as the WWW-Authenticate field says."
            }
            Self::ClaimsInsufficient => {
                "The credential is good, but who it speaks for may not do this; other scopes would \
                 not help."
            }
            Self::PrincipalRefused(Principal::User) => {
                "The credential speaks for a user, and this is for clients that act for themselves \
                 (client credentials)."
            }
            Self::PrincipalRefused(Principal::Client) => {
                "The credential speaks for a client itself, and this is for users: let a user log \
                 in and send that token."
            }
            Self::PreflightRefused(why) => why.detail(),
            Self::VerifierUnavailable(_) => {
                "The authorization server cannot be asked at the moment; a credential that was sent \
                 may still be good. Try again after the time in Retry-After."
            }
            Self::OwnClientRefused(_) => {
                "This API cannot be reached with the gateway's own credential. The operator has to \
                 act; your credential is not the cause."
            }
            Self::UpstreamFailed(failure) => failure.detail(),
        }
    }

    /// `error_description` of the challenge (RFC 6750 §3): within %x20-21 / %x23-5B / %x5D-7E. It
    /// is there for each code but `insufficient_scope`, which is told by `scope` itself.
    pub const fn error_description(&self) -> Option<&'static str> {
        match self {
            Self::CredentialMalformed(what) => Some(what.description()),
            Self::TokenInvalid(why) => Some(why.description()),
            Self::ProofInvalid(why) => Some(why.description()),
            Self::NonceNeeded(_) => Some("the DPoP proof needs the nonce in DPoP-Nonce"),
            Self::AuthenticationInsufficient(_) => Some("a different login of the user is needed"),
            Self::RequestMalformed(_)
            | Self::RouteUnknown
            | Self::MethodNotAllowed(_)
            | Self::NotSupported(_)
            | Self::Misdirected
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::CredentialMissing
            | Self::ProofsTooMany(_)
            | Self::BasicRefused
            | Self::GuessedTooOften(_)
            | Self::ScopeInsufficient(_)
            | Self::ClaimsInsufficient
            | Self::PrincipalRefused(_)
            | Self::PreflightRefused(_)
            | Self::VerifierUnavailable(_)
            | Self::OwnClientRefused(_)
            | Self::UpstreamFailed(_) => None,
        }
    }
}

impl PreflightRefusal {
    const fn detail(self) -> &'static str {
        match self {
            Self::Origin => {
                "Pages of this origin may not use this: it is not one of those that the operator \
                 has allowed."
            }
            Self::Method => "Pages of other sites may not use this method here.",
        }
    }
}

impl UpstreamFailure {
    const fn detail(self) -> &'static str {
        match self {
            Self::TimedOut => "The API did not answer in time.",
            Self::Overdue => "The answer took longer than it may take in all.",
            Self::Busy => "The API has too many requests to answer at the moment.",
            Self::Refused | Self::Tls | Self::Reset | Self::Malformed => {
                "The API gave no usable answer."
            }
            Self::Loop => "The request has passed this gateway before; it would go in circles.",
        }
    }
}

impl MalformedRequest {
    const fn detail(self) -> &'static str {
        match self {
            Self::Path => {
                "The path has more than one reading: dot segments, empty segments, backslashes, \
                 semicolons, control characters, encoded slashes and bad percent-encodings are not \
                 taken."
            }
            Self::Host => "The request must name exactly one valid host.",
            Self::Connection => {
                "The Connection field names a field that must travel end to end (RFC 9110 section \
                 7.6.1)."
            }
            Self::Target => {
                "The request target is in no form that is served (RFC 9112 section 3.2)."
            }
            Self::Framing => {
                "This is no HTTP message, or the length of its body has more than one reading \
                 (RFC 9112)."
            }
            Self::Field => {
                "The value of a field begins or ends with a blank (RFC 9113 section 8.2.1)."
            }
            Self::Upgrade => "A request that asks to switch protocols must not have a body.",
        }
    }
}

impl MalformedCredential {
    const fn description(self) -> &'static str {
        match self {
            Self::Several => "more than one credential was sent",
            Self::InQuery => "a token in the query is not accepted",
            Self::Bearer => "the Authorization field is not Bearer and one token",
            Self::Basic => "the Authorization field is not Basic and one base64 text",
            Self::Dpop => "the Authorization field is not DPoP and one token",
            Self::TooLong => "the token is too long",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Several => {
                "More than one credential was sent; send one Authorization field with one in it."
            }
            Self::InQuery => {
                "A token in the query ends up in logs and histories and is never accepted (RFC 9700 \
                 section 4.3.2). Send it as Authorization: Bearer TOKEN, and take this one out of \
                 use."
            }
            Self::Bearer => {
                "The Authorization field must be the word Bearer, a space, and one token without \
                 quotes (RFC 6750 section 2.1)."
            }
            Self::Basic => {
                "The Authorization field must be the word Basic, a space, and the base64, with \
                 padding, of key:secret in UTF-8 without control characters (RFC 7617 section 2)."
            }
            Self::Dpop => {
                "The Authorization field must be the word DPoP, a space, and one token without \
                 quotes (RFC 9449 section 7.1)."
            }
            Self::TooLong => "The token is longer than any that is looked at.",
        }
    }
}

impl InvalidToken {
    /// The stable word of this cause.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Type => "token_type",
            Self::TypeNotConfigured => "token_type_not_configured",
            Self::Critical => "token_critical",
            Self::NotAccessToken => "token_not_access_token",
            Self::Issuer => "token_issuer",
            Self::KeyUnknown => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Inactive => "token_inactive",
            Self::Revoked => "token_revoked",
            Self::Bound => "token_bound",
            Self::Unbound => "token_unbound",
            Self::Unjudgeable => "token_unjudgeable",
            Self::NotExchanged => "token_not_exchanged",
        }
    }

    /// Whatever is wrong with key, algorithm or signature is one word to the caller.
    const fn told_reason(self) -> &'static str {
        match self {
            Self::Algorithm | Self::Critical | Self::KeyUnknown | Self::Signature => {
                Self::Signature.reason()
            }
            Self::Malformed
            | Self::Type
            | Self::TypeNotConfigured
            | Self::NotAccessToken
            | Self::Issuer
            | Self::Expired
            | Self::NotYetValid
            | Self::Audience
            | Self::Inactive
            | Self::Revoked
            | Self::Bound
            | Self::Unbound
            | Self::Unjudgeable
            | Self::NotExchanged => self.reason(),
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Malformed => "the token is malformed",
            Self::Algorithm | Self::Critical | Self::KeyUnknown | Self::Signature => {
                "the token's signature cannot be verified"
            }
            Self::Type => "the token's typ is not that of an access token",
            Self::TypeNotConfigured => {
                "the token's typ is JWT or absent; this API takes at+jwt (RFC 9068)"
            }
            Self::NotAccessToken => "the token is not an access token",
            Self::Issuer => "the token's issuer is not trusted here",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is meant for another audience",
            Self::Inactive => "the token is not active",
            Self::Revoked => "the token was revoked",
            Self::Bound => "the token is bound to a key that was not proven",
            Self::Unbound => "the token is bound to no key",
            Self::Unjudgeable => "a token of this kind cannot be checked here",
            Self::NotExchanged => "the authorization server does not take the token any more",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "The token breaks the form of a JWT, or a claim has a wrong type.",
            Self::Algorithm | Self::Critical | Self::KeyUnknown | Self::Signature => {
                "The token's signature cannot be verified. Ask the authorization server for a new \
                 token, and send it unchanged."
            }
            Self::Type => "The token's typ is not that of an access token; this API takes at+jwt.",
            Self::TypeNotConfigured => {
                "The token's typ is JWT or absent; this API takes at+jwt (RFC 9068). The operator \
                 can allow it with token_types."
            }
            Self::NotAccessToken => {
                "This is an ID token, a refresh token or another token; send the access token."
            }
            Self::Issuer => {
                "The token comes from an authorization server that is not trusted here."
            }
            Self::Expired => "The token has expired. Ask the authorization server for a new one.",
            Self::NotYetValid => "The token is not valid yet. Try again later, or check the clock.",
            Self::Audience => {
                "The token is meant for another API. Ask the authorization server for one for this \
                 API."
            }
            Self::Inactive => {
                "The authorization server says that the token is not active: it has expired, was \
                 revoked, or is not its own. Ask it for a new one."
            }
            Self::Revoked => {
                "The token was revoked before its end. Ask the authorization server for a new one."
            }
            Self::Bound => "The token is bound to a key or certificate that was not proven.",
            Self::Unbound => {
                "The token is bound to no key or certificate, and this API or the scheme DPoP needs \
                 one that is. Ask the authorization server for one with a proof or a certificate."
            }
            Self::Unjudgeable => {
                "A token of this kind cannot be checked here. Most likely this API takes signed \
                 JWT access tokens, and this is none."
            }
            Self::NotExchanged => {
                "The authorization server gives nothing for this token, which the API needs: its \
                 session may have ended. Ask it for a new one."
            }
        }
    }
}

impl OutageCause {
    /// The stable word of this cause.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "verifier_unreachable",
            Self::TimedOut => "verifier_timed_out",
            Self::Status => "verifier_status",
            Self::Unusable => "verifier_unusable",
            Self::OurClientRefused => "verifier_refused_our_client",
            Self::NoKeys => "verifier_no_keys",
            Self::Busy => "verifier_busy",
        }
    }
}
