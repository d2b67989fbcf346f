use futures_util::FutureExt as _;

use super::super::testing::{Fixture, jwt, later, scopes};
use super::*;
use crate::config::{PartialScopes, TokenExchange, TokenType};
use crate::outbound::testing::{Reply, Seen};
use crate::reject::OwnClientFailure;

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
    let ask = || {
        let client = Arc::clone(&client);
        async move { get(&client, subject("a"), time::now()).await }.boxed()
    };
    let got = fixture.two_hundred(ask).await;
    assert!(got.iter().all(|token| token.authorization() == "Bearer for-a"));
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
    for (reply, asked) in [(Reply::new(503), 2), (Reply::new(503).header("retry-after", "120"), 1)]
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
        "client_credentials" => {
            Reply::json(r#"{"access_token":"me","token_type":"Bearer","expires_in":60,"scope":""}"#)
        }
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
