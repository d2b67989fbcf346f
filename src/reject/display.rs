//! A refusal in the operator's log: its stable word, and the facts that are not the caller's
//! business. No token and no claim is among them.

use std::fmt;

use super::{OwnClientCause, OwnClientFailure, Rejection};

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())?;
        match self {
            Self::VerifierUnavailable(outage) => write!(formatter, ": {}", outage.issuer),
            Self::OwnClientRefused(OwnClientFailure { client, cause }) => {
                write!(formatter, ": clients.{client}")?;
                match cause {
                    OwnClientCause::Refused(code) => write!(formatter, ": {code}"),
                    OwnClientCause::PartialScopes(missing) => {
                        write!(formatter, ": not granted: {missing}")
                    }
                    OwnClientCause::PartialDetails(missing) => {
                        write!(formatter, ": not granted: {}", missing.join(" "))
                    }
                    OwnClientCause::Unusable | OwnClientCause::RefusedUpstream => Ok(()),
                }
            }
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
            | Self::PreflightRefused(_)
            | Self::UpstreamFailed(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oauth::ScopeSet;

    use super::*;

    #[test]
    fn the_operator_reads_which_client_lacks_what() {
        let cause = OwnClientCause::PartialScopes(ScopeSet::from_claim("b a"));
        let refusal = Rejection::OwnClientRefused(OwnClientFailure { client: "out".into(), cause });
        let expected = "own_client_partial_scopes: clients.out: not granted: a b";
        assert_eq!(refusal.to_string(), expected);
        let cause = OwnClientCause::PartialDetails(["a".into(), "b".into()].into());
        let refusal = Rejection::OwnClientRefused(OwnClientFailure { client: "out".into(), cause });
        let expected = "own_client_partial_details: clients.out: not granted: a b";
        assert_eq!(refusal.to_string(), expected);
        assert_eq!(Rejection::RouteUnknown.to_string(), "route_unknown");
    }
}
