//! Callers' tokens, exchanged for those that an upstream takes (RFC 8693, RFC 7523 §2.1).
//!
//! The caller's token was found good before it comes here, each time anew: what is kept here says
//! nothing about it.
//!
//! # What holds
//! * A token is kept under the digest of the one that it was given for. Client, audience, resource
//!   and scopes are the settings of one client, and each client keeps its own: nobody gets what was
//!   given for another's token, or for another API.
//! * It is used until its own end, that of the caller's token or the cap, whichever is first.
//! * One exchange is under way for a caller's token, however many requests wait for it.
//! * Where there is none, the request fails: the caller's own token never goes in its place.
//! * What the authorization server says of one caller's token is remembered for that one alone;
//!   what it says of our client, for all. An outage stops all for `negative_cache_ttl` at most: it
//!   may be one caller's, and any longer time that the server named holds for that one alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use super::answer::{ErrorCode, TokenFailure};
use super::asker::{Answered, Asker, Failed, Weighed};
use super::flight::Flights;
use super::issued::Remaining;
use super::own_client::OwnClient;
use super::own_token::{Granted, OwnToken};
use super::refusal::{Refusal, Why};
use super::request::Asked;
use super::status::ClientStatus;
use super::{WAIT_MAX, until};
use crate::base::secret::Secret;
use crate::base::time::{self, Now, UnixSeconds};
use crate::config::{self, ExchangeGrant, Grant};
use crate::oauth::{RawToken, TokenDigest};
use crate::outbound::OutboundError;
use crate::reject::{InvalidToken, OutageCause, OwnClientCause, Rejection};
use crate::telemetry::CacheKind;
use crate::verify::{Server, Shared};

/// One `[clients.NAME]` that exchanges callers' tokens, live.
pub struct ExchangeClient {
    asker: Asker,
    grant: config::Exchange,
    actor: Option<Arc<OwnClient>>,
    good: Cache<TokenDigest, Arc<OwnToken>>,
    bad: Cache<TokenDigest, Refusal>,
    /// When an upstream last refused what was given for a token.
    dropped: Cache<TokenDigest, Instant>,
    last: Mutex<Last>,
    flights: Flights<TokenDigest, Outcome>,
}

type Outcome = Result<Arc<OwnToken>, Refusal>;

/// What the last exchanges left. Locked for a few instructions, and not where a token is held.
#[derive(Default)]
struct Last {
    granted: Option<Granted>,
    /// What went wrong last, if nothing went well since.
    error: Option<&'static str>,
    /// What stands against every exchange.
    refusal: Option<Refusal>,
}

/// A caller's token that was found good.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The token.
    pub token: RawToken<'a>,
    /// Its digest.
    pub digest: TokenDigest,
    /// Its `exp`.
    pub until: Option<UnixSeconds>,
}

/// One exchange: what it needs of the request that asked for it.
struct Flight {
    token: Secret,
    digest: TokenDigest,
    until: Option<UnixSeconds>,
    now: Now,
    /// A good token that is renewed.
    replacing: Option<Arc<OwnToken>>,
}

impl ExchangeClient {
    /// Brings a client up that keeps at most `bound` good and as many bad outcomes. `None` for one
    /// that exchanges nothing.
    ///
    /// # Errors
    /// When the client's certificate cannot be used.
    pub fn start(
        settings: config::Client,
        server: Arc<Server>,
        actor: Option<Arc<OwnClient>>,
        (bound, shared): (u64, &Shared),
    ) -> Result<Option<Arc<Self>>, OutboundError> {
        let Grant::Exchange(grant) = settings.grant.clone() else { return Ok(None) };
        let pause = settings.negative_cache_ttl.min(WAIT_MAX);
        Ok(Some(Arc::new(Self {
            asker: Asker::new(settings, server, shared)?,
            grant,
            actor,
            good: Cache::builder().max_capacity(bound).expire_after(Remaining).build(),
            bad: Cache::builder().max_capacity(bound).expire_after(Remaining).build(),
            dropped: Cache::builder().max_capacity(bound).time_to_live(pause).build(),
            last: Mutex::default(),
            flights: Flights::new(FLIGHTS_MAX),
        })))
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Client {
        &self.asker.settings
    }

    /// The authorization server that it asks.
    pub fn server(&self) -> &Arc<Server> {
        &self.asker.server
    }

    /// The client whose token says who acts.
    pub fn actor(&self) -> Option<&Arc<OwnClient>> {
        self.actor.as_ref()
    }

    /// How many tokens are held, and how many callers' tokens are known to give none.
    pub fn entries(&self) -> (u64, u64) {
        (self.good.entry_count(), self.bad.entry_count())
    }

    /// What is held for a caller's token, if it is good. Where its end is near and there is a
    /// refresh token, that is spent beside this call, and nobody waits.
    pub fn held(self: &Arc<Self>, subject: &Subject<'_>, now: Now) -> Option<Arc<OwnToken>> {
        let token = self.good.get(&subject.digest).filter(|token| token.is_good(now))?;
        self.server().metrics().hit(CacheKind::Exchanged);
        if self.settings().refresh_tokens && token.is_due(now) {
            let (client, flight) = (Arc::clone(self), Flight::of(subject, now, Some(&token)));
            let flight = || async move { client.fly(flight).await };
            self.flights.start(subject.digest, &self.asker.runtime, flight);
        }
        Some(token)
    }

    /// A token for a caller's: that of one exchange, however many wait.
    ///
    /// Nothing is asked for a token past its own `exp`, which verdicts allow to be used for the
    /// clocks' skew more: what came of it could not be kept, and each request would ask anew.
    ///
    /// # Errors
    /// 401 where that is over, or the authorization server gives nothing for the caller's token, 502 where it or
    /// the configuration refuses our client, 503 where it cannot be asked.
    pub async fn exchanged(
        self: &Arc<Self>,
        subject: Subject<'_>,
        now: Now,
    ) -> Result<Arc<OwnToken>, Rejection> {
        if subject.until.is_some_and(|end| end <= now.unix) {
            return Err(Rejection::TokenInvalid(InvalidToken::Expired));
        }
        self.server().metrics().miss(CacheKind::Exchanged);
        let (client, flight) = (Arc::clone(self), Flight::of(&subject, now, None));
        let flight = || async move { client.fly(flight).await };
        let busy = Refusal { why: Why::Outage(OutageCause::Busy), until: now.instant };
        let outcome = match self.refusal(&subject.digest, now) {
            Some(refusal) => Err(refusal),
            None => {
                let outcome = self.flights.join(subject.digest, &self.asker.runtime, flight).await;
                outcome.unwrap_or(Err(busy))
            }
        };
        outcome.map_err(|refusal| refusal.rejection(self.settings(), self.server(), now))
    }

    /// The upstream said 401 to what was given for a caller's token: it leaves the cache, and the
    /// next request asks for another. If that is refused too, there is none for a while: another
    /// exchange would not help, and each request would make one.
    pub fn refused_upstream(&self, digest: &TokenDigest, token: &Arc<OwnToken>) {
        self.refused_upstream_at(digest, token, time::now());
    }

    fn refused_upstream_at(&self, digest: &TokenDigest, token: &Arc<OwnToken>, now: Now) {
        if self.good.get(digest).is_some_and(|held| !Arc::ptr_eq(&held, token)) {
            return;
        }
        self.good.invalidate(digest);
        let pause = self.settings().negative_cache_ttl;
        let before = self.dropped.get(digest);
        let again = before.is_some_and(|at| now.instant < until(at, pause));
        self.dropped.insert(*digest, now.instant);
        if again {
            let why = Why::Client(OwnClientCause::RefusedUpstream);
            self.bad.insert(*digest, Refusal { why, until: until(now.instant, pause) });
        }
        tracing::warn!(client = %self.settings().name, again, "upstream refused an exchanged token");
    }

    /// Forgets what was given for a caller's token that is not to be used any more.
    pub fn forget(&self, digest: &TokenDigest) {
        self.good.invalidate(digest);
        self.bad.invalidate(digest);
    }

    /// What `/status` shows.
    pub fn status(&self) -> ClientStatus {
        let last = self.last();
        let server = &self.server().settings().name;
        ClientStatus::new(self.settings(), server, last.granted.as_ref()).error(last.error)
    }

    fn refusal(&self, digest: &TokenDigest, now: Now) -> Option<Refusal> {
        let stands = |refusal: &Refusal| now.instant < refusal.until;
        let of_all = || self.last().refusal.clone();
        self.bad.get(digest).filter(stands).or_else(|| of_all().filter(stands))
    }

    async fn fly(self: Arc<Self>, flight: Flight) -> Outcome {
        let Flight { digest, now, .. } = flight;
        // Whoever missed while the last flight landed finds here what it left.
        let is_replaced = |held: &Arc<OwnToken>| {
            flight.replacing.as_ref().is_some_and(|replacing| Arc::ptr_eq(held, replacing))
        };
        let held = self.good.get(&digest).filter(|held| held.is_good(now));
        if let Some(held) = held.filter(|held| !is_replaced(held)) {
            return Ok(held);
        }
        if let Some(refusal) = self.refusal(&digest, now) {
            return Err(refusal);
        }
        let outcome = match self.ask(&flight).await {
            Ok(answered) => {
                let note = |granted: &Granted| self.last().granted = Some(granted.clone());
                self.asker.weigh(answered, note).await
            }
            Err(failed) => Err(failed),
        };
        match outcome {
            Ok(weighed) => Ok(self.keep(&flight, weighed)),
            Err(failed) => Err(self.refuse(digest, failed)),
        }
    }

    async fn ask(&self, flight: &Flight) -> Result<Answered, Failed> {
        let refreshed = match &flight.replacing {
            Some(token) => self.asker.refresh(token).await,
            None => None,
        };
        if let Some(answered) = refreshed {
            return answered.map_err(|failure| self.failed(failure));
        }
        let token = &flight.token;
        let answered = match &self.grant.by {
            // Only a JWT can be an assertion (RFC 7523 §2.1).
            ExchangeGrant::JwtBearer if token.expose().split('.').count() != JWT_PARTS => {
                let why = Why::Subject(NOT_A_JWT);
                return Err((why, self.settings().negative_cache_ttl));
            }
            ExchangeGrant::JwtBearer => self.asker.ask(Asked::JwtBearer(token)).await,
            ExchangeGrant::TokenExchange(settings) => match &self.actor {
                None => self.asker.ask(Asked::TokenExchange(settings, token, None)).await,
                Some(actor) => self.ask_acting(settings, token, actor).await?,
            },
        };
        answered.map_err(|failure| self.failed(failure))
    }

    /// Asks with the actor's token. One word says that it is bad or that the caller's is (RFC 8693
    /// §2.2.2): so it is asked once more with another token of the actor's, where one can be had.
    async fn ask_acting(
        &self,
        settings: &config::TokenExchange,
        token: &Secret,
        actor: &Arc<OwnClient>,
    ) -> Result<Result<Answered, TokenFailure>, Failed> {
        let own = actor.token().await;
        let own = own.map_err(|why| (Why::Actor(Box::new(why)), Duration::ZERO))?;
        let ask = |own: Arc<OwnToken>| async move {
            self.asker.ask(Asked::TokenExchange(settings, token, Some(own.secret()))).await
        };
        let answered = ask(Arc::clone(&own)).await;
        if !matches!(&answered, Err(TokenFailure::Refused(code)) if code.is_about_a_token()) {
            return Ok(answered);
        }
        // Kept for the pause: each request would ask the same again.
        let pause = self.settings().negative_cache_ttl;
        let other = actor.other_than(&own).await;
        match other.map_err(|why| (Why::Actor(Box::new(why)), pause))? {
            Some(other) => Ok(ask(other).await),
            None => Ok(answered),
        }
    }

    fn failed(&self, failure: TokenFailure) -> Failed {
        let pause = self.settings().negative_cache_ttl;
        match failure {
            TokenFailure::Refused(code) if self.is_about_subject(code) => {
                (Why::Subject(code.name()), pause)
            }
            // Not kept without a time: another caller's exchange may go through.
            TokenFailure::Outage(cause, wait) => (Why::Outage(cause), wait.unwrap_or_default()),
            failure @ (TokenFailure::Refused(_) | TokenFailure::Unusable) => {
                Why::of(failure, pause)
            }
        }
    }

    /// Whether a refusal is about the caller's token. RFC 7523 §3.1 says `invalid_grant` of an
    /// assertion, and some servers say the word of RFC 6750. RFC 8693 §2.2.2 says `invalid_request`
    /// of a subject token that is "invalid for any reason, or unacceptable based on policy"; but so
    /// does RFC 6749 §5.2 of a request of ours that is wrong, whoever's token is in it: so that is
    /// the caller's fault only where an exchange has gone well before. All else is about our client
    /// and its settings, and a new token of the caller's would not help.
    fn is_about_subject(&self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::InvalidGrant | ErrorCode::InvalidToken => true,
            ErrorCode::InvalidRequest => self.last().granted.is_some(),
            ErrorCode::InvalidClient
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::InvalidAuthorizationDetails
            | ErrorCode::AccessDenied
            | ErrorCode::Unknown => false,
        }
    }

    fn keep(&self, flight: &Flight, weighed: Weighed) -> Arc<OwnToken> {
        let client = &self.settings().name;
        self.asker.metrics.own_client(client, weighed.word()).inc();
        let Weighed { token, missing } = weighed;
        let now = time::now();
        let token = Arc::new(token.within(self.grant.cap, flight.until, now));
        if token.is_good(now) {
            self.bad.invalidate(&flight.digest);
            self.good.insert(flight.digest, Arc::clone(&token));
        }
        let mut last = self.last();
        (last.error, last.refusal) = (None, None);
        drop(last);
        let subject = flight.digest;
        let missing_details = token.missing_details().join(" ");
        tracing::debug!(%client, %subject, granted = %token.granted(), %missing, missing_details, "token exchanged");
        token
    }

    fn refuse(&self, digest: TokenDigest, (why, wait): Failed) -> Refusal {
        let (client, error) = (&self.settings().name, why.word());
        self.asker.metrics.own_client(client, why.label()).inc();
        let now = time::now().instant;
        let refusal = Refusal { why, until: until(now, wait) };
        let mut last = self.last();
        last.error = Some(error);
        match &refusal.why {
            _ if wait.is_zero() => {}
            Why::Client(OwnClientCause::Refused(code)) if is_about_client(code) => {
                last.refusal = Some(refusal.clone());
            }
            Why::Outage(_) => {
                let of_all = until(now, wait.min(self.settings().negative_cache_ttl));
                last.refusal = Some(Refusal { until: of_all, ..refusal.clone() });
                self.bad.insert(digest, refusal.clone());
            }
            Why::Client(_) | Why::Subject(_) | Why::Actor(_) => {
                self.bad.insert(digest, refusal.clone());
            }
        }
        // What a caller alone can bring on fills no log; but where nothing has ever been exchanged,
        // it is more likely that somebody has to act.
        let is_callers = matches!(refusal.why, Why::Subject(_)) && last.granted.is_some();
        drop(last);
        if is_callers {
            tracing::debug!(%client, subject = %digest, error, "token was not exchanged");
        } else {
            tracing::warn!(%client, subject = %digest, error, "token was not exchanged");
        }
        refusal
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn of(subject: &Subject<'_>, now: Now, replacing: Option<&Arc<OwnToken>>) -> Self {
        let Subject { token, digest, until } = *subject;
        let token = Secret::new(token.expose());
        Self { token, digest, until, now, replacing: replacing.map(Arc::clone) }
    }
}

/// Whether a refusal is the same whoever's token it is. Not `unauthorized_client`: some servers say
/// it of a client that may not exchange this one token.
fn is_about_client(code: &str) -> bool {
    [ErrorCode::InvalidClient, ErrorCode::UnsupportedGrantType].iter().any(|one| one.name() == code)
}

/// Exchanges under way at once at one client; over it: 503. Each holds a connection at the
/// authorization server.
const FLIGHTS_MAX: usize = 1_000;
/// Header, claims and signature (RFC 7515 §3.1).
const JWT_PARTS: usize = 3;
/// The word of a token that no assertion can be.
const NOT_A_JWT: &str = "not_a_jwt";

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, jwt, scopes};
    use super::*;
    use crate::config::{PartialScopes, TokenExchange, TokenType};
    use crate::outbound::testing::{Reply, Seen};
    use crate::reject::OwnClientFailure;

    fn later(now: Now, seconds: u64) -> Now {
        let wait = Duration::from_secs(seconds);
        Now { unix: now.unix.plus(wait), instant: now.instant + wait }
    }

    fn exchange_settings() -> TokenExchange {
        TokenExchange {
            subject_token_type: TokenType::AccessToken,
            requested_token_type: None,
            audiences: vec!["inner".into()],
            actor: None,
        }
    }

    fn by(by: ExchangeGrant) -> Grant {
        Grant::Exchange(config::Exchange { by, cap: Duration::from_secs(86_400) })
    }

    fn exchanging() -> Grant {
        by(ExchangeGrant::TokenExchange(exchange_settings()))
    }

    fn client(fixture: &Fixture, change: impl FnOnce(&mut config::Client)) -> Arc<ExchangeClient> {
        let mut settings = config::Client { grant: exchanging(), ..fixture.client_settings() };
        change(&mut settings);
        let (server, bound) = (Arc::clone(&fixture.server), (100, &fixture.shared));
        ExchangeClient::start(settings, server, None, bound).unwrap().unwrap()
    }

    fn subject(token: &str) -> Subject<'_> {
        let token = RawToken::new(token);
        Subject { token, digest: token.digest(), until: None }
    }

    /// What a request gets: what is held, or what comes of asking.
    async fn get(client: &Arc<ExchangeClient>, subject: Subject<'_>, now: Now) -> Got {
        match client.held(&subject, now) {
            Some(token) => Ok(token),
            None => client.exchanged(subject, now).await,
        }
    }

    type Got = Result<Arc<OwnToken>, Rejection>;

    fn issued(token: &str, more: &str) -> Reply {
        Reply::json(&format!(
            r#"{{"access_token":"{token}","token_type":"Bearer",
            "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"{more}}}"#
        ))
    }

    /// `for-` and the caller's token.
    fn per_subject(more: &'static str) -> impl Fn(&Seen) -> Reply + Send + Sync {
        move |seen| issued(&format!("for-{}", seen.form("subject_token")[0]), more)
    }

    /// The answer of RFC 8693 §2.3.
    #[tokio::test]
    async fn rfc8693_2_3_the_example_answer() {
        let fixture = Fixture::start(|_| {
            Reply::json(
                r#"{"access_token":"eyJhbGciOiJFUzI1NiIsImtpZCI6IjllciJ9.eyJhdWQiOiJodHRwczovL2JhY2tlbmQuZXhhbXBsZS5jb20iLCJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUuY29tIiwiZXhwIjoxNDQxOTE3NTkzLCJpYXQiOjE0NDE5MTc1MzMsInN1YiI6ImJkY0BleGFtcGxlLmNvbSIsInNjb3BlIjoiYXBpIn0.40y3ZgQedw6rxf59WlwHDD9jryFOr0_Wh3CGozQBihNBhnXEQgU85AI9x3KmsPottVMLPIWvmDCMy5-kdXjwhw",
                "issued_token_type":"urn:ietf:params:oauth:token-type:access_token",
                "token_type":"Bearer","expires_in":60}"#,
            )
        })
        .await;
        let client = client(&fixture, |settings| settings.scopes = scopes("api"));
        let now = time::now();
        let token = get(&client, subject("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"), now).await;
        let token = token.unwrap();
        assert_eq!(token.granted(), &scopes("api"), "the token says so itself");
        assert!(token.is_good(later(now, 57)) && !token.is_good(later(now, 61)));
        let seen = &fixture.authorization_server.seen()[0];
        assert_eq!(seen.form("audience"), ["inner"]);
        assert_eq!(seen.form("scope"), ["api"]);
    }

    #[tokio::test]
    async fn rfc8693_2_2_1_an_answer_that_lacks_what_is_required_is_502() {
        let token_type = |text: &str| format!(r#","issued_token_type":"urn:{text}""#);
        let jwt = token_type("ietf:params:oauth:token-type:jwt");
        for (more, is_good) in [
            ("", false),
            (r#","issued_token_type":null"#, false),
            (&token_type("ietf:params:oauth:token-type:refresh_token"), false),
            (&token_type("ietf:params:oauth:token-type:id_token"), false),
            (&jwt, true),
            (
                r#","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"N_A""#,
                false,
            ),
        ] {
            let kind =
                if more.contains("token_type\":\"N_A") { "" } else { r#","token_type":"Bearer""# };
            let body = format!(r#"{{"access_token":"t"{kind}{more}}}"#);
            let fixture = Fixture::start(move |_| Reply::json(&body)).await;
            let client = client(&fixture, |_| {});
            let outcome = get(&client, subject("s"), time::now()).await;
            let unusable = || {
                let cause = OwnClientCause::Unusable;
                Rejection::OwnClientRefused(OwnClientFailure { client: "reports".into(), cause })
            };
            assert_eq!(outcome.err(), (!is_good).then(unusable), "{more}");
        }
    }

    #[tokio::test]
    async fn two_hundred_first_requests_with_one_token_make_one_exchange() {
        let fixture = Fixture::start(per_subject(r#","expires_in":60"#)).await;
        let client = client(&fixture, |_| {});
        fixture.authorization_server.hold();
        let mut waiting: Vec<_> = (0..200)
            .map(|_| {
                let client = Arc::clone(&client);
                tokio::spawn(async move { get(&client, subject("a"), time::now()).await })
            })
            .collect();
        fixture.authorization_server.wait_for(1).await;
        waiting.remove(0).abort();
        fixture.authorization_server.release();
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap().authorization(), "Bearer for-a");
        }
        assert_eq!(fixture.authorization_server.seen().len(), 1);
    }

    #[tokio::test]
    async fn rfc9700_2_3_each_token_has_its_own_and_nobody_gets_anothers() {
        let fixture = Fixture::start(per_subject(r#","expires_in":60"#)).await;
        let client = client(&fixture, |_| {});
        for _ in 0..2 {
            for name in ["a", "b"] {
                let token = get(&client, subject(name), time::now()).await.unwrap();
                assert_eq!(token.authorization(), &format!("Bearer for-{name}"));
            }
        }
        assert_eq!(fixture.authorization_server.seen().len(), 2);
        let digest = subject("a").digest;
        client.forget(&digest);
        get(&client, subject("a"), time::now()).await.unwrap();
        assert_eq!(fixture.authorization_server.seen().len(), 3, "it was forgotten");
    }

    #[tokio::test]
    async fn a_token_is_used_until_the_first_of_all_ends() {
        #[rustfmt::skip]
        let cases = [
            // expires_in        cap     the caller's   used at   not at
            (r#","expires_in":60"#, 86_400, None,          57,       61),
            (r#","expires_in":60"#, 20,     None,          19,       21),
            (r#","expires_in":60"#, 86_400, Some(30),      29,       31),
            ("",                    86_400, None,          57,       61), // cache_ttl of the fixture
            (r#","expires_in":60"#, 0,      None,          0,        0),
        ];
        for (more, cap_s, until_s, good, bad) in cases {
            let fixture = Fixture::start(per_subject(more)).await;
            let client = client(&fixture, |settings| {
                let cap = Duration::from_secs(cap_s);
                let by = ExchangeGrant::TokenExchange(exchange_settings());
                settings.grant = Grant::Exchange(config::Exchange { by, cap });
            });
            let now = time::now();
            let until = until_s.map(|seconds| now.unix.plus(Duration::from_secs(seconds)));
            let subject = Subject { until, ..subject("a") };
            get(&client, subject, now).await.unwrap();
            let is_held = client.held(&subject, later(now, good)).is_some();
            assert_eq!(is_held, cap_s > 0, "{more} {cap_s} {until_s:?}");
            assert!(client.held(&subject, later(now, bad)).is_none(), "{more} {cap_s} {until_s:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_for_a_token_past_its_end_though_the_skew_lets_it_in() {
        let fixture = Fixture::start(per_subject(r#","expires_in":60"#)).await;
        let client = client(&fixture, |_| {});
        let now = time::now();
        for (name, after, is_good) in [("a", 9, true), ("b", 10, false), ("c", 11, false)] {
            let until = Some(now.unix.plus(Duration::from_secs(10)));
            let outcome = get(&client, Subject { until, ..subject(name) }, later(now, after)).await;
            let expected = Rejection::TokenInvalid(InvalidToken::Expired);
            assert_eq!(outcome.err(), (!is_good).then_some(expected), "{after}");
        }
        assert_eq!(fixture.authorization_server.seen().len(), 1);
    }

    #[tokio::test]
    async fn rfc8693_2_2_2_who_is_at_fault_is_told_apart() {
        let refused = |code| {
            let cause = OwnClientCause::Refused(code);
            Rejection::OwnClientRefused(OwnClientFailure { client: "reports".into(), cause })
        };
        let callers = || Rejection::TokenInvalid(InvalidToken::NotExchanged);
        #[rustfmt::skip]
        let cases = [
            // status, error             told                              the next caller's is asked
            (400, "invalid_request",        refused("invalid_request"),       true),
            (400, "invalid_grant",          callers(),                        true),
            (400, "invalid_token",          callers(),                        true),
            (401, "invalid_token",          callers(),                        true),
            (401, "invalid_grant",          callers(),                        true),
            (401, "access_denied",          refused("access_denied"),         true),
            (401, "unauthorized_client",    refused("unauthorized_client"),   true),
            (401, "session_over",           refused("unknown"),               true),
            (400, "invalid_target",         refused("invalid_target"),        true),
            (400, "invalid_scope",          refused("invalid_scope"),         true),
            (403, "access_denied",          refused("access_denied"),         true),
            (400, "unauthorized_client",    refused("unauthorized_client"),   true),
            (400, "unsupported_grant_type", refused("unsupported_grant_type"), false),
            (401, "invalid_client",         refused("invalid_client"),        false),
            (400, "<script>",               refused("unknown"),               true),
        ];
        for (status, error, told, asks_for_others) in cases {
            let body = format!(r#"{{"error":"{error}"}}"#);
            let fixture = Fixture::start(move |_| Reply::new(status).body(&body)).await;
            let client = client(&fixture, |_| {});
            let now = time::now();
            for _ in 0..3 {
                assert_eq!(get(&client, subject("a"), now).await.unwrap_err(), told, "{error}");
            }
            assert_eq!(fixture.authorization_server.seen().len(), 1, "{error}: remembered");
            get(&client, subject("b"), now).await.unwrap_err();
            let count = 1 + usize::from(asks_for_others);
            assert_eq!(fixture.authorization_server.seen().len(), count, "{error}");
            get(&client, subject("a"), later(now, 12)).await.unwrap_err();
            assert_eq!(fixture.authorization_server.seen().len(), count + 1, "{error}: asked anew");
        }
    }

    #[tokio::test]
    async fn rfc8693_2_2_2_invalid_request_is_about_the_token_where_others_are_exchanged() {
        let fixture = Fixture::start(|seen| match seen.form("subject_token")[0].as_str() {
            "revoked" => Reply::new(400).body(r#"{"error":"invalid_request"}"#),
            _ => issued("t", r#","expires_in":60"#),
        })
        .await;
        let client = client(&fixture, |_| {});
        let now = time::now();
        let refused = get(&client, subject("revoked"), now).await.unwrap_err();
        assert_eq!(refused.status(), 502, "nothing says that our request is right");
        get(&client, subject("good"), now).await.unwrap();
        let refused = get(&client, subject("revoked"), later(now, 12)).await.unwrap_err();
        assert_eq!(refused, Rejection::TokenInvalid(InvalidToken::NotExchanged));
    }

    #[tokio::test]
    async fn an_outage_is_503_and_only_a_time_that_was_named_is_waited_for() {
        for (reply, asked) in
            [(Reply::new(503), 2), (Reply::new(503).header("retry-after", "120"), 1)]
        {
            let fixture = Fixture::start(move |_| reply.clone()).await;
            let client = client(&fixture, |_| {});
            for name in ["a", "b"] {
                let outcome = get(&client, subject(name), time::now()).await;
                assert!(matches!(outcome, Err(Rejection::VerifierUnavailable(_))));
            }
            assert_eq!(fixture.authorization_server.seen().len(), asked);
        }
    }

    #[tokio::test]
    async fn rfc6585_4_one_callers_long_wait_is_not_that_of_all() {
        let fixture = Fixture::start(|seen| match seen.form("subject_token")[0].as_str() {
            "limited" => Reply::new(429).header("retry-after", "3000"),
            _ => issued("t", r#","expires_in":60"#),
        })
        .await;
        let client = client(&fixture, |_| {});
        let now = time::now();
        for after in [0, 12] {
            let outcome = get(&client, subject("limited"), later(now, after)).await.unwrap_err();
            let Rejection::VerifierUnavailable(outage) = outcome else { panic!("{outcome:?}") };
            assert!(2980 < outage.retry_after.seconds(), "{outage:?}");
        }
        assert_eq!(fixture.authorization_server.seen().len(), 1, "its own time is kept");
        assert!(get(&client, subject("good"), now).await.is_err(), "it may be an outage");
        assert!(get(&client, subject("good"), later(now, 12)).await.is_ok());
    }

    #[tokio::test]
    async fn partial_scopes_are_refused_or_used_as_configured() {
        for (partial, is_good) in [(PartialScopes::Refuse, false), (PartialScopes::Allow, true)] {
            let fixture = Fixture::start(per_subject(r#","expires_in":60,"scope":"a""#)).await;
            let client = client(&fixture, |settings| {
                (settings.scopes, settings.partial_scopes) = (scopes("a b"), partial);
            });
            let outcome = get(&client, subject("s"), time::now()).await;
            assert_eq!(outcome.is_ok(), is_good);
            let gauge = fixture.shared.metrics.missing_scopes("reports").get();
            assert_eq!(gauge, 1);
            let status = serde_json::to_value(client.status()).unwrap();
            assert_eq!(status["missing_scopes"], serde_json::json!(["b"]));
            assert_eq!(status["grant"], "token_exchange");
        }
    }

    #[tokio::test]
    async fn rfc7523_2_1_only_a_jwt_can_be_an_assertion() {
        // No `issued_token_type`: that is RFC 8693's.
        let fixture = Fixture::start(|_| {
            Reply::json(r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#)
        })
        .await;
        let client = client(&fixture, |settings| settings.grant = by(ExchangeGrant::JwtBearer));
        let jwt = jwt(r#"{"sub":"alice"}"#);
        assert!(get(&client, subject(&jwt), time::now()).await.is_ok());
        assert_eq!(fixture.authorization_server.seen()[0].form("assertion"), [jwt]);
        let refused = get(&client, subject("opaque"), time::now()).await.unwrap_err();
        assert_eq!(refused, Rejection::TokenInvalid(InvalidToken::NotExchanged));
        assert_eq!(fixture.authorization_server.seen().len(), 1, "it was not sent");
    }

    #[tokio::test]
    async fn an_upstream_that_refuses_every_token_does_not_make_an_exchange_per_request() {
        let fixture = Fixture::start(per_subject(r#","expires_in":60"#)).await;
        let client = client(&fixture, |_| {});
        let (now, subject) = (time::now(), subject("a"));
        for _ in 0..5 {
            if let Ok(token) = get(&client, subject, now).await {
                client.refused_upstream_at(&subject.digest, &token, now);
            }
        }
        assert_eq!(fixture.authorization_server.seen().len(), 2);
        assert!(get(&client, subject, later(now, 11)).await.is_ok());
    }

    #[tokio::test]
    async fn the_actors_token_goes_along_and_without_it_nothing_is_asked() {
        let fixture = Fixture::start(|seen| match seen.form("grant_type")[0].as_str() {
            "client_credentials" => Reply::json(
                r#"{"access_token":"me","token_type":"Bearer","expires_in":60,"scope":""}"#,
            ),
            _ => issued("t", r#","expires_in":60"#),
        })
        .await;
        let (server, shared) = (&fixture.server, &fixture.shared);
        let own = |asked| config::Client { scopes: scopes(asked), ..fixture.client_settings() };
        let exchanging = |own: config::Client| {
            let actor = OwnClient::start(own, Arc::clone(server), shared).unwrap();
            let settings = config::Client { grant: exchanging(), ..fixture.client_settings() };
            let actor = Some(actor);
            let client = ExchangeClient::start(settings, Arc::clone(server), actor, (100, shared));
            client.unwrap().unwrap()
        };
        get(&exchanging(own("")), subject("a"), time::now()).await.unwrap();
        let seen = fixture.authorization_server.seen();
        assert_eq!((seen.len(), seen[1].form("actor_token")), (2, vec!["me".to_owned()]));
        assert_eq!(seen[1].form("actor_token_type"), [TokenType::AccessToken.uri()]);
        // The actor is granted none of the scopes that it asks for.
        let outcome = get(&exchanging(own("a b")), subject("a"), time::now()).await;
        let cause = OwnClientCause::PartialScopes(scopes("a b"));
        let client = "reports".into();
        let expected = Rejection::OwnClientRefused(OwnClientFailure { client, cause });
        assert_eq!(outcome.unwrap_err(), expected);
        assert_eq!(fixture.authorization_server.seen().len(), 3, "no exchange");
    }

    #[tokio::test]
    async fn rfc8693_2_2_2_a_refusal_may_be_about_the_actors_token_and_a_new_one_shows_it() {
        for error in ["invalid_request", "invalid_grant", "invalid_token"] {
            let serial = std::sync::atomic::AtomicUsize::new(0);
            // The first of the actor's tokens is bad, and so is one caller's.
            let fixture = Fixture::start(move |seen| {
                let actor = seen.form("actor_token").concat();
                if actor.is_empty() {
                    let number = serial.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    return Reply::json(&format!(
                        r#"{{"access_token":"me{number}","token_type":"Bearer","expires_in":60}}"#
                    ));
                }
                match actor == "me0" || seen.form("subject_token") == ["bad"] {
                    true => Reply::new(400).body(&format!(r#"{{"error":"{error}"}}"#)),
                    false => issued("t", r#","expires_in":60"#),
                }
            })
            .await;
            let (server, shared) = (&fixture.server, &fixture.shared);
            let pause = Duration::from_secs(3600);
            let own = config::Client { negative_cache_ttl: pause, ..fixture.client_settings() };
            let actor = Some(OwnClient::start(own, Arc::clone(server), shared).unwrap());
            let settings = config::Client { grant: exchanging(), ..fixture.client_settings() };
            let client = ExchangeClient::start(settings, Arc::clone(server), actor, (100, shared));
            let client = client.unwrap().unwrap();
            let asked = || fixture.authorization_server.seen().len();
            let now = time::now();
            assert!(get(&client, subject("good"), now).await.is_ok(), "{error}");
            assert_eq!(asked(), 4, "two of the actor's tokens, each tried once");
            for name in ["bad", "bad"] {
                let refused = get(&client, subject(name), now).await.unwrap_err();
                assert_eq!(refused, Rejection::TokenInvalid(InvalidToken::NotExchanged), "{error}");
            }
            assert_eq!(asked(), 5, "there was a new one in this pause");
            assert!(get(&client, subject("other"), now).await.is_ok(), "{error}");
            assert_eq!(asked(), 6, "the actor's token is good, and kept");
        }
    }

    /// Rotates: each refresh token works once, and with the second the server has had enough.
    fn rotating() -> impl Fn(&Seen) -> Reply + Send + Sync {
        let serial = std::sync::atomic::AtomicUsize::new(0);
        move |seen| {
            let number = serial.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let more = format!(r#","expires_in":60,"refresh_token":"r{number}""#);
            match seen.form("refresh_token").first().map(String::as_str) {
                None | Some("r0") => issued(&format!("t{number}"), &more),
                Some(_) => Reply::new(400).body(r#"{"error":"invalid_grant"}"#),
            }
        }
    }

    #[tokio::test]
    async fn rfc6749_6_an_exchanged_token_is_refreshed_ahead_of_its_end_and_nobody_waits() {
        let fixture = Fixture::start(rotating()).await;
        let client = client(&fixture, |settings| settings.refresh_tokens = true);
        let (now, subject) = (time::now(), subject("a"));
        let first = get(&client, subject, now).await.unwrap();
        assert_eq!(client.held(&subject, later(now, 20)).unwrap().authorization(), "Bearer t0");
        assert_eq!(fixture.authorization_server.seen().len(), 1, "it is early");
        for _ in 0..100 {
            assert!(client.held(&subject, later(now, 50)).is_some());
        }
        let renewed = async |old: &Arc<OwnToken>| loop {
            match client.good.get(&subject.digest) {
                Some(held) if !Arc::ptr_eq(&held, old) => break held,
                _ => tokio::task::yield_now().await,
            }
        };
        let wait = Duration::from_secs(10);
        let second = tokio::time::timeout(wait, renewed(&first)).await.unwrap();
        assert_eq!(second.authorization(), "Bearer t1");
        let seen = fixture.authorization_server.seen();
        assert_eq!((seen.len(), seen[1].form("refresh_token")), (2, vec!["r0".to_owned()]));
        assert_eq!(seen[1].form("subject_token").len(), 0);
        // The rotated one is refused: a new exchange follows at once.
        assert!(client.held(&subject, later(now, 55)).is_some());
        let third = tokio::time::timeout(wait, renewed(&second)).await.unwrap();
        assert_eq!(third.authorization(), "Bearer t3");
        let seen = fixture.authorization_server.seen();
        assert_eq!((seen.len(), seen[2].form("refresh_token")), (4, vec!["r1".to_owned()]));
        assert_eq!(seen[3].form("subject_token"), ["a"]);
    }
}
