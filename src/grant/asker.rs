//! What every client of the gateway's own does: it asks its authorization server, and holds what
//! comes against what it wants.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::answer::{TokenAnswer, TokenFailure};
use super::ask;
use super::own_token::{Granted, OwnToken};
use super::refusal::Why;
use super::request::{Asked, TokenRequest};
use crate::base::time::{self, Now};
use crate::config::{self, PartialScopes};
use crate::oauth::ScopeSet;
use crate::outbound::{OutboundClient, OutboundError};
use crate::policy::details::missing_types;
use crate::reject::{OwnClientCause, Rejection};
use crate::telemetry::Metrics;
use crate::verify::{IssuedFacts, Server, Shared};

/// The settings of a client, and whom it asks.
pub(super) struct Asker {
    pub(super) settings: config::Client,
    pub(super) server: Arc<Server>,
    pub(super) runtime: Handle,
    pub(super) metrics: Arc<Metrics>,
    outbound: OutboundClient,
}

/// An answer, and when it was asked for.
pub(super) struct Answered {
    answer: TokenAnswer,
    sent: Now,
    /// What the token had that this one replaces; `None`: it replaces none.
    before: Option<ScopeSet>,
}

impl Answered {
    /// It came of that token's refresh token.
    pub(super) fn in_place_of(self, replaced: &OwnToken) -> Self {
        Self { before: Some(replaced.granted().clone()), ..self }
    }
}

/// A token that is good enough, and what it lacks.
pub(super) struct Weighed {
    pub(super) token: OwnToken,
    /// The scopes; what is missing of the details, the token says.
    pub(super) missing: ScopeSet,
}

impl Weighed {
    /// The label of the metric.
    pub(super) fn word(&self) -> &'static str {
        match self.missing.is_empty() && self.token.missing_details().is_empty() {
            true => "granted",
            false => "partial",
        }
    }
}

/// Why there is no token, and for how long that stays the answer.
pub(super) type Failed = (Why, Duration);

impl Asker {
    /// # Errors
    /// When the client's certificate cannot be used.
    pub(super) fn new(
        settings: config::Client,
        server: Arc<Server>,
        shared: &Shared,
    ) -> Result<Self, OutboundError> {
        Ok(Self {
            outbound: server.outbound_for(&settings.authentication)?,
            runtime: shared.runtime.clone(),
            metrics: Arc::clone(&shared.metrics),
            settings,
            server,
        })
    }

    pub(super) async fn ask(&self, grant: Asked<'_>) -> Result<Answered, TokenFailure> {
        let sent = time::now();
        let request = TokenRequest {
            client: &self.settings.authentication,
            grant,
            scopes: &self.settings.scopes,
            resources: &self.settings.resources,
            details: &self.settings.authorization_details,
        };
        let answer = ask(&self.server, &self.outbound, &request, sent).await?;
        Ok(Answered { answer, sent, before: None })
    }

    /// Spends a token's refresh token (RFC 6749 §6). `None`: it has none, or one that is good for
    /// nothing any more, and the grant that it came of has to be asked for again.
    ///
    /// A new one takes its place before the token that came with it is used. The old one is kept
    /// only where the server answered and gave no new one: after an outage nobody knows whether it
    /// was spent, and a server that sees a spent one again ends the grant (RFC 9700 §4.14.2).
    pub(super) async fn refresh(
        &self,
        replaced: &OwnToken,
    ) -> Option<Result<Answered, TokenFailure>> {
        let refresh = replaced.take_refresh()?;
        let client = &self.settings.name;
        match self.ask(Asked::Refresh(&refresh)).await {
            Ok(mut answered) => {
                self.metrics.own_client(client, "refreshed").inc();
                answered.answer.refresh = answered.answer.refresh.or(Some(refresh));
                Some(Ok(answered.in_place_of(replaced)))
            }
            Err(failure @ TokenFailure::Outage(..)) => Some(Err(failure)),
            Err(failure @ (TokenFailure::Refused(_) | TokenFailure::Unusable)) => {
                self.metrics.own_client(client, "refresh_refused").inc();
                let error = failure.word();
                tracing::debug!(%client, error, "refresh token was refused, a new grant is asked for");
                None
            }
        }
    }

    /// Holds what was granted against what was asked for; `note` hears of it in any case.
    pub(super) async fn weigh(
        &self,
        answered: Answered,
        note: impl FnOnce(&Granted),
    ) -> Result<Weighed, Failed> {
        let Answered { answer, sent, before } = answered;
        let settings = &self.settings;
        let life = answer.life.unwrap_or(settings.cache_ttl);
        let silence = before.as_ref().unwrap_or(&settings.scopes);
        let scopes = self.granted(&answer, silence, (sent, life)).await?;
        let missing = settings.scopes.missing_from(&scopes);
        let details = missing_types(&settings.authorization_details, answer.details.as_ref());
        let granted = Granted { scopes, missing_details: details };
        self.metrics.missing_scopes(&settings.name).set(whole(missing.len()));
        note(&granted);
        if settings.partial_scopes == PartialScopes::Refuse {
            if !missing.is_empty() {
                return Err(self.failed(OwnClientCause::PartialScopes(missing)));
            }
            if !granted.missing_details.is_empty() {
                return Err(self.failed(OwnClientCause::PartialDetails(granted.missing_details)));
            }
        }
        let has_end = answer.life.is_some();
        let refresh = answer.refresh.filter(|_| settings.refresh_tokens);
        let token = OwnToken::new(answer.bearer, granted, life, sent).with_refresh(refresh);
        // The answer took longer than the token lives.
        if has_end && !token.is_good(time::now()) {
            return Err(self.failed(OwnClientCause::Unusable));
        }
        Ok(Weighed { token, missing })
    }

    fn failed(&self, cause: OwnClientCause) -> Failed {
        (Why::Client(cause), self.settings.negative_cache_ttl)
    }

    /// What was granted: what the answer or the token says; else what introspection says; else what
    /// `silence` means: what was asked for (RFC 6749 §5.1), or for a refreshed token what the one
    /// before it had (§6).
    async fn granted(
        &self,
        answer: &TokenAnswer,
        silence: &ScopeSet,
        (sent, life): (Now, Duration),
    ) -> Result<ScopeSet, Failed> {
        if let Some(said) = answer.scopes_said() {
            return Ok(said);
        }
        if self.settings.scopes.is_empty() || self.server.settings().introspection.is_none() {
            return Ok(silence.clone());
        }
        let issued = IssuedFacts {
            client_id: self.settings.authentication.client_id.clone(),
            scopes: None,
            expires: sent.unix.plus(life),
        };
        match self.server.judge_issued(answer.bearer.raw(), &issued, time::now()).await {
            Ok(token) => Ok(token.scopes().to_set()),
            Err(Rejection::VerifierUnavailable(outage)) => {
                let wait = Duration::from_secs(outage.retry_after.seconds());
                Err((Why::Outage(outage.cause), wait))
            }
            // Asked, and the server does not vouch for its own token: nothing was granted.
            Err(_) => Ok(ScopeSet::default()),
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
