//! Turns what the gateway logs about each request into one sentence for somebody who sees OAuth
//! at work for the first time.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::telemetry::access_log;

/// The target of what the stand-ins themselves tell: sentences already.
pub(super) const STORY: &str = "scopegate::dev";

/// A layer that hands one line per decision to `say`.
pub(super) struct Narrator<S>(S);

impl<S: Fn(&str) + 'static> Narrator<S> {
    /// `say` gets lines without their end.
    pub(super) const fn new(say: S) -> Self {
        Self(say)
    }
}

impl<T: Subscriber, S: Fn(&str) + 'static> Layer<T> for Narrator<S> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, T>) {
        let target = event.metadata().target();
        if target == access_log::TARGET {
            let mut access = Access::default();
            event.record(&mut access);
            (self.0)(&access.line());
        } else if target == STORY {
            let mut message = Message::default();
            event.record(&mut message);
            (self.0)(&format!("{:ASIDE$}{}", "", message.0));
        }
    }
}

/// The fields of an access line that the story needs.
#[derive(Debug, Default)]
struct Access {
    method: String,
    path: String,
    status: u64,
    reason: String,
    client_id: Option<String>,
    required: Option<String>,
    held: Option<String>,
}

impl Access {
    fn line(&self) -> String {
        let Self { method, path, status, .. } = self;
        format!("{method:<6} {:<14} → {status}  {}", shown(path), self.sentence())
    }

    fn sentence(&self) -> String {
        let held = self.held.as_deref().filter(|held| !held.is_empty()).unwrap_or("no scope");
        match (self.reason.as_str(), self.required.as_deref()) {
            ("allowed", required) => self.allowed(required, held),
            ("scope_insufficient", Some(needed)) => {
                format!("refused: the token carries {held}; this route needs {needed}")
            }
            (reason, _) => match explanation(reason) {
                Some(sentence) => format!("refused: {sentence}"),
                None => format!("refused: {}", shown(reason)),
            },
        }
    }

    fn allowed(&self, required: Option<&str>, held: &str) -> String {
        let mut sentence = match (&self.client_id, required) {
            (_, None) => "allowed: this route is public".to_owned(),
            (Some(client), Some(_)) => {
                format!("allowed: the token of {} carries {held}", shown(client))
            }
            (None, Some(_)) => format!("allowed: the token carries {held}"),
        };
        if self.status >= 400 {
            let _ = write!(sentence, "; {} is the API's own answer", self.status);
        }
        sentence
    }
}

impl Visit for Access {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "method" => value.clone_into(&mut self.method),
            "path" => value.clone_into(&mut self.path),
            "reason" => value.clone_into(&mut self.reason),
            "client_id" => self.client_id = Some(value.to_owned()),
            "scopes_required" => self.required = Some(value.to_owned()),
            "scopes_held" => self.held = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.status = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// What a reason word means, for somebody who does not know it.
fn explanation(reason: &str) -> Option<&'static str> {
    request(reason)
        .or_else(|| credential(reason))
        .or_else(|| token(reason))
        .or_else(|| proof(reason))
        .or_else(|| beyond(reason))
}

fn request(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "path_malformed" => "the path can be read in two ways",
        "host_malformed" => "the host is missing, or there are two of them",
        "connection_malformed" => "its Connection field names a field that must be passed on",
        "target_malformed" => "the request target has no form that is served here",
        "framing_malformed" => "where the body ends can be read in two ways",
        "field_malformed" => "a header begins or ends with a blank",
        "route_unknown" => "no route has this path; no token was asked for",
        "method_not_allowed" => "a route has this path, but for other methods",
        "connect_not_supported" => "a gateway is no tunnel",
        "expectation_not_supported" => "it expects something other than 100-continue",
        "transfer_coding_not_supported" => "the only transfer coding that is read is chunked",
        "misdirected" => "the connection's certificate does not cover this host",
        "body_too_large" => "the body is over the bound",
        "target_too_large" => "the request target is over the bound",
        "header_too_large" => "the header fields are over the bound",
        "too_slow" => "the request took too long to arrive",
        _ => return None,
    })
}

fn credential(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "credential_missing" => "this route needs a token, and none was sent",
        "credential_several" => "more than one credential was sent; which one counts?",
        "credential_in_query" => "a token in the URL ends up in logs; it belongs in Authorization",
        "credential_malformed_bearer" => "what stands after Bearer is no token",
        "credential_malformed_basic" => "what stands after Basic is no key and secret",
        "credential_malformed_dpop" => "what stands after DPoP is no token",
        "credential_too_long" => "the credential is longer than any real one",
        "basic_refused" => "the authorization server does not know this key and secret",
        "guessed_too_often" => "too many wrong keys and secrets came from this address",
        "authentication_insufficient" => "the user must log in anew, or more strongly",
        "scope_insufficient" => "the token lacks a scope that this route needs",
        "claims_insufficient" => "a claim of the token is not what this route needs",
        "principal_user" => "the credential is a user's, and this route is for clients",
        "principal_client" => "the credential is a client's, and this route is for users",
        "preflight_origin" => "a page of this origin may not use this route",
        "preflight_method" => "pages of other sites may not use this method here",
        _ => return None,
    })
}

fn token(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "token_malformed" => "the token is broken",
        "token_algorithm" => "the token is protected in a way that is not allowed here",
        "token_type" => "this is a token, but no access token",
        "token_type_not_configured" => "its typ is not at+jwt; token_types can allow others",
        "token_critical" => "the token demands an extension that is not known here",
        "token_not_access_token" => "this is a token, but no access token",
        "token_issuer" => "the token is from an authorization server that is not trusted here",
        "token_key_unknown" => "the token names a key that its authorization server does not have",
        "token_signature" => "the signature does not fit: somebody changed the token or made it up",
        "token_expired" => "the token has expired",
        "token_not_yet_valid" => "the token is not valid yet",
        "token_audience" => "the token is meant for another API",
        "token_inactive" => "the authorization server says that this token does not count",
        "token_revoked" => "somebody has revoked this token",
        "token_bound" => "the token is bound to a key that was not shown",
        "token_unbound" => "the token is bound to no key, and has to be",
        "token_unjudgeable" => "nobody here can judge such a token",
        "token_not_exchanged" => "the authorization server gives no other token for it",
        _ => return None,
    })
}

fn proof(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "proof_missing" => "the token comes as DPoP, and the proof of its key is missing",
        "proof_several" => "more than one proof of a key was sent; which one counts?",
        "proof_malformed" => "the proof of the key is broken, or says too little",
        "proof_type" => "what was sent as proof of a key is another kind of token",
        "proof_algorithm" => "the proof is signed in a way that is not allowed here",
        "proof_key" => "the key in the proof is none that can be used",
        "proof_signature" => "the proof was not signed by the key that is in it",
        "proof_method" => "the proof was made for another method",
        "proof_target" => "the proof was made for another address",
        "proof_time" => "the proof was not made just now",
        "proof_token_hash" => "the proof was made for another token",
        "proof_replayed" => "the proof was used before: somebody may have copied it",
        "proof_nonce" => "the proof lacks the gateway's nonce; the client sends it next time",
        "proofs_too_many" => "more proofs came than can be remembered; so nobody gets in",
        _ => return None,
    })
}

fn beyond(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "verifier_unreachable" => "the authorization server cannot be reached; so nobody gets in",
        "verifier_timed_out" => "the authorization server gives no answer; so nobody gets in",
        "verifier_status" => "the authorization server is in trouble; so nobody gets in",
        "verifier_unusable" => "the authorization server says neither yes nor no",
        "verifier_refused_our_client" => "the authorization server does not know the gateway",
        "verifier_no_keys" => "the authorization server's keys are not known yet",
        "verifier_busy" => "too many questions to the authorization server are under way",
        "own_client_refused" => "the gateway itself was given no token for the API",
        "own_client_partial_scopes" => "the gateway's own token has fewer scopes than it needs",
        "own_client_partial_details" => {
            "the gateway's own token has fewer authorization details than it needs"
        }
        "own_client_unusable" => "the answer about the gateway's own token cannot be used",
        "own_client_refused_upstream" => "the API does not accept the gateway's own token",
        "upstream_refused" => "the API cannot be reached",
        "upstream_tls" => "the API cannot be trusted: TLS failed",
        "upstream_reset" => "the API broke off before it answered",
        "upstream_malformed" => "the API's answer is no HTTP",
        "upstream_timed_out" => "the API gives no answer in time",
        "deadline_exceeded" => "the whole answer took longer than it may",
        "upstream_loop" => "the request has passed this gateway before: it goes in circles",
        "upstream_busy" => "too many requests wait for the API",
        _ => return None,
    })
}

/// A text from the network as it may stand in a terminal: no controls, not too long.
fn shown(text: &str) -> String {
    let safe = |one: char| if one.is_control() { '?' } else { one };
    let mut short: String = text.chars().take(SHOWN_MAX).map(safe).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push('…');
    }
    short
}

const SHOWN_MAX: usize = 60;
/// What is not about a request stands to the right of the column of paths.
const ASIDE: usize = 7;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::oauth::{Issuer, Plaintext, Principal, ScopeSet};
    use crate::reject::{
        Bound, InvalidProof, InvalidToken as T, MalformedCredential as C, MalformedRequest as M,
        Outage, OutageCause as O, OwnClientCause, OwnClientFailure, PreflightRefusal,
        Rejection as R, RetryAfter, Unsupported as U, UpstreamFailure as F,
    };

    fn access(status: u64, reason: &str, required: Option<&str>, held: Option<&str>) -> Access {
        Access {
            method: "GET".into(),
            path: "/orders/1".into(),
            status,
            reason: reason.into(),
            client_id: held.map(|_| "shop".into()),
            required: required.map(Into::into),
            held: held.map(Into::into),
        }
    }

    #[test]
    fn a_decision_is_told_in_a_sentence() {
        #[rustfmt::skip]
        let cases = [
            (access(200, "allowed", Some("orders:read"), Some("orders:read")), "allowed: the token of shop carries orders:read"),
            (access(404, "allowed", Some("a"), Some("a")),  "allowed: the token of shop carries a; 404 is the API's own answer"),
            (access(200, "allowed", None, None),            "allowed: this route is public"),
            (access(403, "scope_insufficient", Some("a b"), Some("c")), "refused: the token carries c; this route needs a b"),
            (access(403, "scope_insufficient", Some("a"), Some("")), "refused: the token carries no scope; this route needs a"),
            (access(401, "token_expired", Some("a"), None), "refused: the token has expired"),
            (access(500, "new\u{1b}word", None, None),      "refused: new?word"),
        ];
        for (access, expected) in cases {
            assert_eq!(access.sentence(), expected);
        }
    }

    #[test]
    fn every_reason_has_a_sentence() {
        let outage = |cause| Outage {
            issuer: Issuer::parse("https://a.test", Plaintext::Refused).unwrap(),
            cause,
            retry_after: RetryAfter::new(Duration::ZERO),
        };
        let own = |cause| R::OwnClientRefused(OwnClientFailure { client: "a".into(), cause });
        let mut all = vec![
            R::RouteUnknown,
            R::MethodNotAllowed("GET".into()),
            R::Misdirected,
            R::TooSlow,
            R::CredentialMissing,
            R::BasicRefused,
            R::GuessedTooOften(RetryAfter::SHORTEST),
            R::AuthenticationInsufficient(Box::default()),
            R::ScopeInsufficient(ScopeSet::default()),
            R::ClaimsInsufficient,
            R::PrincipalRefused(Principal::User),
            R::PrincipalRefused(Principal::Client),
            R::PreflightRefused(PreflightRefusal::Origin),
            R::PreflightRefused(PreflightRefusal::Method),
            own(OwnClientCause::Refused("invalid_client")),
            own(OwnClientCause::PartialScopes(ScopeSet::default())),
            own(OwnClientCause::PartialDetails(Box::default())),
            own(OwnClientCause::Unusable),
            own(OwnClientCause::RefusedUpstream),
        ];
        all.extend(
            [M::Path, M::Host, M::Connection, M::Target, M::Framing, M::Field]
                .map(R::RequestMalformed),
        );
        all.extend([U::Connect, U::Expectation, U::TransferCoding].map(R::NotSupported));
        all.extend([Bound::Body, Bound::Target, Bound::Header].map(R::TooLarge));
        all.extend(
            [C::Several, C::InQuery, C::Bearer, C::Basic, C::Dpop, C::TooLong]
                .map(R::CredentialMalformed),
        );
        all.extend(
            [T::Malformed, T::Algorithm, T::Type, T::TypeNotConfigured, T::Critical]
                .map(R::TokenInvalid),
        );
        all.extend(
            [T::NotAccessToken, T::Issuer, T::KeyUnknown, T::Signature].map(R::TokenInvalid),
        );
        all.extend([T::Expired, T::NotYetValid, T::Audience, T::Inactive].map(R::TokenInvalid));
        all.push(R::TokenInvalid(T::NotExchanged));
        all.extend([T::Revoked, T::Bound, T::Unbound, T::Unjudgeable].map(R::TokenInvalid));
        all.extend(InvalidProof::ALL.map(R::ProofInvalid));
        all.extend([R::NonceNeeded("n".into()), R::ProofsTooMany(RetryAfter::SHORTEST)]);
        all.extend(
            [O::Unreachable, O::TimedOut, O::Status, O::Unusable, O::OurClientRefused]
                .map(|cause| R::VerifierUnavailable(outage(cause))),
        );
        all.extend([O::NoKeys, O::Busy].map(|cause| R::VerifierUnavailable(outage(cause))));
        all.extend([F::Refused, F::Tls, F::Reset, F::Malformed].map(R::UpstreamFailed));
        all.extend([F::TimedOut, F::Overdue, F::Loop, F::Busy].map(R::UpstreamFailed));
        for rejection in all {
            let reason = rejection.reason();
            assert!(explanation(reason).is_some(), "{reason}");
        }
    }

    #[test]
    fn what_the_network_sends_cannot_steer_the_terminal() {
        assert_eq!(shown("/a\u{1b}[2J\r\n"), "/a?[2J??");
        assert_eq!(shown(&"a".repeat(61)).chars().count(), 61);
        assert!(shown(&"a".repeat(61)).ends_with('…'));
    }

    #[test]
    fn events_of_the_gateway_and_of_the_stand_ins_become_lines_and_others_do_not() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let narrator = Narrator::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(narrator), || {
            tracing::info!(
                target: access_log::TARGET,
                method = %"GET",
                path = "/orders/1",
                status = 403u16,
                reason = "scope_insufficient",
                client_id = Some("shop"),
                scopes_required = Some(tracing::field::display("orders:read")),
                scopes_held = Some(tracing::field::display("profile")),
                "request"
            );
            tracing::info!(target: STORY, "authorization server: a token for {}", "shop");
            tracing::info!("something else");
        });
        let expected = [
            "GET    /orders/1      → 403  refused: the token carries profile; this route needs \
             orders:read",
            "       authorization server: a token for shop",
        ];
        assert_eq!(*lines.lock().unwrap(), expected);
    }
}
