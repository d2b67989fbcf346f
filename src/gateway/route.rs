//! A route at work: what it asks of a credential, and who judges that.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderValue, request};

use super::connection::Connection;
use super::snapshot::{CountedUpstream, Snapshot};
use crate::base::time::{Now, UnixSeconds};
use crate::body::{BodyEnd, BodyError, BodyOutcome};
use crate::config::{self, Forward, RouteTimeouts, Upgrade};
use crate::credential::{self, Accept, BasicCredential, Credential};
use crate::grant::{BasicExchange, Issued, OwnClient, OwnToken};
use crate::headers::{Cors, EditPlan};
use crate::oauth::{Audience, Principal, RawToken, ScopeSet, VerifiedToken};
use crate::policy::{self, Access, Permit, Requirement};
use crate::reject::{InvalidToken, Rejection, UpstreamFailure};
use crate::route::PrefixRewrite;
use crate::signer::Signer;
use crate::telemetry::RouteMetrics;
use crate::verify::{Recall, Server, Verifier};

/// A compiled route: what it has for itself, which a request finds in one cache line, and its terms.
pub struct Route {
    pub(super) metrics: RouteMetrics,
    terms: Arc<Terms>,
}

/// Everything else that a request on a route needs: what it must meet, and what becomes of it.
///
/// Routes whose settings are equal have the same: ten thousand of them, each asked in turn, then
/// keep little more of the processor's caches busy than ten.
pub struct Terms {
    pub(super) access: Access,
    accept: Accept,
    /// The scopes that a challenge names.
    asked: ScopeSet,
    verifier: Verifier,
    basic: Option<(Arc<Server>, Arc<BasicExchange>)>,
    pub(super) forward: Forwarding,
    pub(super) rewrite: Option<PrefixRewrite>,
    pub(super) edits: EditPlan,
    pub(super) cors: Option<Cors>,
    pub(super) timeouts: RouteTimeouts,
    pub(super) body_max: Option<u64>,
    /// Where the metadata of its resource lies (RFC 9728).
    pub(super) resource_metadata: Option<Box<str>>,
    /// What its connections may become.
    pub(super) upgrade: Option<Upgrade>,
    pub(super) upstream: Option<CountedUpstream>,
}

/// What the upstream gets in `Authorization`.
pub(super) enum Forwarding {
    /// What the caller sent, or the token that its key and secret were exchanged for.
    Token,
    /// Nothing.
    Nothing,
    /// The token of a client of ours.
    Client(Arc<OwnClient>),
    /// A JWT of ours that says who is asking, in the signer's own header.
    Signed(Arc<Signer>),
}

/// A request that may go on.
#[derive(Debug)]
pub struct Admission {
    /// The proof that policy said yes.
    pub permit: Permit,
    /// What takes the place of the caller's `Authorization`: the token that its key and secret
    /// were exchanged for.
    pub exchanged: Option<HeaderValue>,
}

impl Route {
    pub(super) fn new(name: &str, terms: Arc<Terms>, snapshot: &Snapshot) -> Self {
        if terms.upgrade.is_some() {
            snapshot.metrics().upgrades(name); // so that they are there before the first one
        }
        Self { metrics: snapshot.metrics().route(name), terms }
    }

    /// Its label in metrics and logs.
    pub fn name(&self) -> &str {
        self.metrics.name()
    }

    /// Counts an answer that had to break off since its time was over: its word for the log.
    pub(super) fn overdue(&self, end: BodyEnd) -> Option<&'static str> {
        if end.outcome != BodyOutcome::Failed(BodyError::Overdue) {
            return None;
        }
        self.metrics.cut();
        Some(Rejection::UpstreamFailed(UpstreamFailure::Overdue).reason())
    }
}

impl Deref for Route {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Terms {
    pub(super) fn new(settings: &config::Route, snapshot: &Snapshot) -> Self {
        let servers = settings.servers.iter().filter_map(|index| snapshot.server(*index)).collect();
        let opaque = settings.opaque_server.and_then(|index| snapshot.server(index));
        let basic = settings
            .basic_server
            .and_then(|index| Some((snapshot.server(index)?, snapshot.exchange(index)?)));
        let forward = match settings.forward {
            Forward::Token => Forwarding::Token,
            Forward::None => Forwarding::Nothing,
            // A client that is not there cannot be reached by a configuration that compiles.
            Forward::Client(index) => {
                snapshot.client(index).map_or(Forwarding::Nothing, Forwarding::Client)
            }
            Forward::Signed(index) => {
                snapshot.signer(index).map_or(Forwarding::Nothing, Forwarding::Signed)
            }
        };
        Self {
            access: settings.access.clone(),
            accept: settings.accept,
            asked: match &settings.access {
                Access::Public => ScopeSet::default(),
                Access::Token(requirement) => requirement.challenge_scopes(),
            },
            verifier: Verifier::new(servers, opaque, snapshot.token_caches()),
            basic,
            forward,
            rewrite: settings.rewrite.clone(),
            edits: settings.edits.clone(),
            cors: settings.cors.clone(),
            timeouts: settings.timeouts,
            body_max: settings.body_max,
            resource_metadata: settings.resource.and_then(|index| {
                let resource = snapshot.config().resources.get(index)?;
                Some(resource.identifier.metadata_url().into())
            }),
            upgrade: settings.upgrade.clone(),
            upstream: snapshot.upstream(settings.upstream),
        }
    }

    /// Which credentials it takes, for the challenge.
    pub(super) fn accept(&self) -> Accept {
        self.accept
    }

    /// The scopes that a challenge of this route names.
    pub(super) fn asked(&self) -> &ScopeSet {
        &self.asked
    }

    /// The `exp` of a token that opened this route, without the skew that verdicts allow.
    pub(super) fn end_of(&self, token: &VerifiedToken) -> Option<UnixSeconds> {
        let skew = self.verifier.server(token.server)?.settings().clock_skew;
        token.validity.until().map(|until| until.minus(skew))
    }

    /// Whether no credential is looked at.
    pub(super) fn is_public(&self) -> bool {
        matches!(self.access, Access::Public)
    }

    /// Decides whether a request may take this route: the one pipeline behind every door.
    ///
    /// `seen` gets the token that was found good, also when it is refused afterwards: for the log.
    ///
    /// # Errors
    /// Whatever refuses it: no credential, a bad one, too little in it, or nobody to judge it.
    pub async fn authorize(
        &self,
        parts: &request::Parts,
        connection: &Connection,
        now: Now,
        seen: &mut Option<Arc<VerifiedToken>>,
    ) -> Result<Admission, Rejection> {
        let requirement = match &self.access {
            Access::Public => {
                return Ok(Admission { permit: policy::admit(&self.access)?, exchanged: None });
            }
            Access::Token(requirement) => requirement,
        };
        let query = parts.uri.query();
        match credential::extract(self.accept, &parts.headers, query)? {
            Credential::Bearer(token) => {
                let token = seen.insert(self.verified(token, now).await?);
                let permit = self.decide(requirement, token, token.principal, now)?;
                Ok(Admission { permit, exchanged: None })
            }
            Credential::Basic(credential) => {
                let from = connection.client_address(&parts.headers);
                // Boxed: few requests come here, and all futures would be as large.
                let (token, issued) = Box::pin(self.exchanged(credential, from, now)).await?;
                // Client credentials: nobody else can have asked with this secret, whatever `sub`
                // its token has (RFC 6749 §4.4).
                let permit =
                    self.decide(requirement, seen.insert(token), Principal::Client, now)?;
                Ok(Admission { permit, exchanged: Some(issued.authorization().clone()) })
            }
        }
    }

    async fn verified(
        &self,
        token: RawToken<'_>,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        match self.verifier.recall(token, now) {
            Recall::Hit(verified) => Ok(verified),
            Recall::Refused(rejection) => Err(rejection),
            Recall::Miss(digest) => Box::pin(self.verifier.judge(token, digest, now)).await,
        }
    }

    async fn exchanged(
        &self,
        credential: BasicCredential,
        from: Option<IpAddr>,
        now: Now,
    ) -> Result<(Arc<VerifiedToken>, Arc<Issued>), Rejection> {
        let Some((server, exchange)) = &self.basic else {
            return Err(Rejection::CredentialMissing);
        };
        let issued = exchange.exchange(&credential, &self.asked, from, now).await?;
        let token = server.judge_issued(issued.token(), issued.facts(), now).await?;
        Ok((token, issued))
    }

    /// What `aud` of a token must name where the route does not say; `None` where the token's server
    /// is not one of the route's.
    pub(super) fn audiences_of(&self, token: &VerifiedToken) -> Option<&[Audience]> {
        Some(&self.verifier.server(token.server)?.settings().audiences)
    }

    fn decide(
        &self,
        requirement: &Requirement,
        token: &Arc<VerifiedToken>,
        principal: Principal,
        now: Now,
    ) -> Result<Permit, Rejection> {
        // A token whose server is not one of the route's has no audience here.
        let audiences = self.audiences_of(token);
        let audiences = audiences.ok_or(Rejection::TokenInvalid(InvalidToken::Issuer))?;
        policy::decide(requirement, Arc::clone(token), principal, audiences, now.unix)
    }
}

impl Forwarding {
    /// The token of our own client that this request takes along, if it takes one.
    ///
    /// # Errors
    /// When our client has none: 502 if it was refused, 503 if nobody could be asked.
    pub(super) async fn own_token(
        &self,
        now: Now,
    ) -> Result<Option<(&Arc<OwnClient>, Arc<OwnToken>)>, Rejection> {
        match self {
            Self::Token | Self::Nothing | Self::Signed(_) => Ok(None),
            Self::Client(client) => {
                let token = match client.held(now) {
                    Some(token) => token,
                    // Boxed, as this is rare and every request would carry its size around.
                    None => Box::pin(client.token()).await?,
                };
                Ok(Some((client, token)))
            }
        }
    }
}
