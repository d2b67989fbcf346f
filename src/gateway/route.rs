//! A route at work: what it asks of a credential, and who judges that.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderValue, request};

use super::context::Context;
use super::entry::Entry;
use super::proving::Proving;
use super::snapshot::{CountedUpstream, Snapshot};
use crate::base::time::{Now, UnixSeconds};
use crate::body::{BodyEnd, BodyError, BodyOutcome};
use crate::config::{self, Forward, RouteTimeouts, Upgrade};
use crate::credential::{self, Accept, BasicCredential, Credential};
use crate::grant::{BasicExchange, Client, ExchangeClient, Issued, OwnClient, OwnToken};
use crate::headers::{Cors, EditPlan};
use crate::oauth::{Audience, HeldScopes, Principal, RawToken, ScopeSet, ServerId, VerifiedToken};
use crate::policy::{self, Access, Circumstances, Permit, RequestFacts, Requirement};
use crate::reject::{
    InvalidToken, OwnClientCause, OwnClientFailure, Rejection, Scheme, UpstreamFailure,
};
use crate::revocation::RevocationList;
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
    /// Which tokens are refused before their end; `None`: nothing can revoke any.
    revocations: Option<Arc<RevocationList>>,
    /// What senders of bound tokens must show.
    pub(super) proving: Proving,
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
    /// What a client of ours is given for the caller's token.
    Exchange(Arc<ExchangeClient>),
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

    /// Counts an answer that had to break off since its time was over or its token was revoked: its
    /// word for the log.
    pub(super) fn broken_off(&self, end: BodyEnd) -> Option<&'static str> {
        match end.outcome {
            BodyOutcome::Failed(BodyError::Overdue) => {
                self.metrics.cut();
                Some(Rejection::UpstreamFailed(UpstreamFailure::Overdue).reason())
            }
            BodyOutcome::Failed(BodyError::Revoked) => {
                let reason = InvalidToken::Revoked.reason();
                self.metrics.refused_late(reason);
                Some(reason)
            }
            BodyOutcome::Failed(_) | BodyOutcome::Whole | BodyOutcome::Dropped => None,
        }
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
            Forward::Client(index) | Forward::Exchange(index) => match snapshot.client(index) {
                Some(Client::Own(client)) => Forwarding::Client(client),
                Some(Client::Exchange(client)) => Forwarding::Exchange(client),
                None => Forwarding::Nothing,
            },
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
            revocations: snapshot.revocations(),
            proving: Proving::of_route(settings, snapshot.config()),
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
    /// `context` gets the token that was found good, also when it is refused afterwards: for the log.
    ///
    /// # Errors
    /// Whatever refuses it: no credential, a bad one, one without the proof of what it is bound to,
    /// too little in it, or nobody to judge it.
    pub(super) async fn authorize(
        &self,
        parts: &request::Parts,
        context: &mut Context<'_>,
    ) -> Result<Admission, Rejection> {
        let now = context.now;
        let requirement = match &self.access {
            Access::Public => {
                return Ok(Admission { permit: policy::admit(&self.access)?, exchanged: None });
            }
            Access::Token(requirement) => requirement,
        };
        let query = parts.uri.query();
        let (scheme, token) = match credential::extract(self.accept, &parts.headers, query)? {
            Credential::Bearer(token) => (Scheme::Bearer, token),
            Credential::Dpop(token) => (Scheme::Dpop, token),
            Credential::Basic(credential) => {
                let from = context.connection.client_address(&parts.headers);
                // Boxed: few requests come here, and all futures would be as large.
                let (token, issued) = Box::pin(self.exchanged(credential, from, now)).await?;
                let token = context.token.insert(token);
                // Nobody but its client could prove anything of it, and the upstream is told of none.
                if token.confirmation().is_some() {
                    return Err(Rejection::TokenInvalid(InvalidToken::Bound));
                }
                // Client credentials: nobody else can have asked with this secret, whatever `sub`
                // its token has (RFC 6749 §4.4).
                let permit = self.decide(requirement, token, Principal::Client, (parts, now))?;
                return Ok(Admission { permit, exchanged: Some(issued.authorization().clone()) });
            }
        };
        let token = self.verified(token, now).await?;
        if self.proving.is_on || token.confirmation().is_some() {
            context.token = Some(Arc::clone(&token));
            context.needs_new_nonce = self.prove(parts, context, scheme, &token)?.needs_new_nonce;
        }
        let token = context.token.insert(token);
        let permit = self.decide(requirement, token, token.principal, (parts, now))?;
        Ok(Admission { permit, exchanged: None })
    }

    async fn verified(
        &self,
        token: RawToken<'_>,
        now: Now,
    ) -> Result<Arc<VerifiedToken>, Rejection> {
        let verified = match self.verifier.recall(token, now) {
            Recall::Hit(verified) => verified,
            Recall::Refused(rejection) => return Err(rejection),
            Recall::Miss(digest) => Box::pin(self.verifier.judge(token, digest, now)).await?,
        };
        self.check_revocation(&verified, now)?;
        Ok(verified)
    }

    fn check_revocation(&self, token: &VerifiedToken, now: Now) -> Result<(), Rejection> {
        match &self.revocations {
            Some(list) if list.names(token, now.unix) => {
                Err(Rejection::TokenInvalid(InvalidToken::Revoked))
            }
            _ => Ok(()),
        }
    }

    /// Which tokens are refused before their end, where anything can revoke one.
    pub(super) fn revocations(&self) -> Option<&Arc<RevocationList>> {
        self.revocations.as_ref()
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
        // Its key and secret are refused with it, until what they were exchanged for leaves its
        // cache: to exchange them anew for each request would be a call for each.
        self.check_revocation(&token, now)?;
        Ok((token, issued))
    }

    pub(super) fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.verifier.server(id)
    }

    /// The scopes that were asked for a caller's key and secret and that are not among `granted`.
    pub(super) fn missing_from_exchanged(&self, granted: HeldScopes<'_>) -> ScopeSet {
        let asked = self.basic.as_ref().and_then(|(_, exchange)| exchange.asked(&self.asked));
        asked.map(|asked| asked.missing_from(granted)).unwrap_or_default()
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
        (parts, now): (&request::Parts, Now),
    ) -> Result<Permit, Rejection> {
        // A token whose server is not one of the route's has no audience here.
        let audiences = self.audiences_of(token);
        let server_audiences = audiences.ok_or(Rejection::TokenInvalid(InvalidToken::Issuer))?;
        let circumstances = Circumstances { principal, server_audiences, now: now.unix };
        policy::decide(requirement, Arc::clone(token), circumstances, || facts(parts))
    }
}

/// What a route's expression sees of a request. Read anew, since few routes have one.
pub(super) fn facts(parts: &request::Parts) -> Option<RequestFacts<'_>> {
    let Entry { host, path, .. } = Entry::read(parts).ok()?;
    Some(RequestFacts {
        method: parts.method.as_str(),
        path: path.into_text(),
        host: host.into_text(),
    })
}

impl Forwarding {
    /// What the client of ours asks for whose token goes along, if one does.
    pub(super) fn asked_scopes(&self) -> Option<&ScopeSet> {
        match self {
            Self::Token | Self::Nothing | Self::Signed(_) => None,
            Self::Client(client) => Some(&client.settings().scopes),
            Self::Exchange(client) => Some(&client.settings().scopes),
        }
    }

    /// The token of our own client that this request takes along, if it takes one. What takes the
    /// place of the caller's token is not asked for here: [`Departure::exchange`] does that.
    ///
    /// # Errors
    /// When our client has none: 502 if it was refused, 503 if nobody could be asked.
    ///
    /// [`Departure::exchange`]: super::departure::Departure::exchange
    pub(super) async fn own_token(&self, now: Now) -> Result<Option<Arc<OwnToken>>, Rejection> {
        match self {
            Self::Token | Self::Nothing | Self::Exchange(_) | Self::Signed(_) => Ok(None),
            Self::Client(client) => match client.held(now) {
                Some(token) => Ok(Some(token)),
                // Boxed, as this is rare and every request would carry its size around.
                None => Box::pin(client.token()).await.map(Some),
            },
        }
    }

    /// The upstream said 401 to a token of ours, which is not the caller's fault
    /// (RFC 9110 §15.5.2): what the caller is told.
    pub(super) fn refused_upstream(&self, permit: &Permit, token: &Arc<OwnToken>) -> Rejection {
        let client = match self {
            // They take no token of ours along.
            Self::Token | Self::Nothing | Self::Signed(_) => Box::default(),
            Self::Client(client) => {
                client.refused_upstream(token);
                client.settings().name.clone()
            }
            Self::Exchange(client) => {
                if let Some(subject) = permit.token() {
                    client.refused_upstream(&subject.digest, token);
                }
                client.settings().name.clone()
            }
        };
        let cause = OwnClientCause::RefusedUpstream;
        Rejection::OwnClientRefused(OwnClientFailure { client, cause })
    }
}
