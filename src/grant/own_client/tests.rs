use std::time::Duration;

use futures_util::FutureExt as _;

use super::super::testing::{Fixture, jwt, later, scopes};
use super::*;
use crate::config::PartialScopes;
use crate::outbound::testing::{FakeServer, Reply};
use crate::reject::{Outage, OwnClientFailure, RetryAfter};

fn token_reply(more: &str) -> Reply {
    Reply::json(&format!(r#"{{"access_token":"t","token_type":"Bearer"{more}}}"#))
}

async fn answering(reply: Reply) -> Fixture {
    Fixture::start(move |_| reply.clone()).await
}

fn client(fixture: &Fixture, asked: &str, partial: PartialScopes) -> Arc<OwnClient> {
    let settings = config::Client {
        scopes: scopes(asked),
        partial_scopes: partial,
        ..fixture.client_settings()
    };
    OwnClient::start(settings, Arc::clone(&fixture.server), &fixture.shared).unwrap()
}

fn refused(cause: OwnClientCause) -> Rejection {
    Rejection::OwnClientRefused(OwnClientFailure { client: "reports".into(), cause })
}

fn numbered() -> impl Fn(&crate::outbound::testing::Seen) -> Reply + Send + Sync {
    let count = std::sync::atomic::AtomicUsize::new(0);
    move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::json(&format!(
            r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":600}}"#
        ))
    }
}

#[tokio::test]
async fn rfc6749_4_4_2_a_request_names_grant_scopes_and_each_resource() {
    let fixture = answering(token_reply(r#","expires_in":60"#)).await;
    let mut settings = config::Client {
        scopes: scopes("b a"),
        resources: vec!["https://x.test/1".into(), "https://x.test/2".into()],
        ..fixture.client_settings()
    };
    settings.authentication.parameters.insert("audience".into(), "aud".into());
    settings.authentication.parameters.insert("scope".into(), "all".into());
    let client = OwnClient::start(settings, Arc::clone(&fixture.server), &fixture.shared).unwrap();
    let token = client.token().await.unwrap();
    assert_eq!(token.authorization(), "Bearer t");
    assert_eq!(
        fixture.authorization_server.seen()[0].body,
        "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fx.test%2F1\
         &resource=https%3A%2F%2Fx.test%2F2&audience=aud"
    );
}

#[tokio::test]
async fn rfc9396_7_fewer_details_than_asked_are_refused_or_used_as_partial_scopes_says() {
    use crate::policy::DetailRequirement;
    let payment = r#"{"type":"payment_initiation","actions":["initiate","status","cancel"]}"#;
    let accounts = r#"{"type":"account_information"}"#;
    let both: &[&str] = &["payment_initiation", "account_information"];
    #[rustfmt::skip]
    let cases: [(String, &[&str]); 5] = [
        (format!(r#","authorization_details":[{accounts},{payment}]"#), &[]),
        (format!(r#","authorization_details":[{payment}]"#),            &["account_information"]),
        (format!(r#","authorization_details":{payment}"#),              both),
        (format!(r#","authorization_details":[{accounts},{payment},{{}}]"#), both),
        (String::new(),                                                 both),
    ];
    for (member, missing) in cases {
        let types: Box<[Box<str>]> = missing.iter().map(|kind| Box::from(*kind)).collect();
        for partial in [PartialScopes::Refuse, PartialScopes::Allow] {
            let fixture = answering(token_reply(&format!(r#","scope":"a"{member}"#))).await;
            let initiate = ("actions", ["initiate".into()].into());
            let asked = |kind: &str, lists| DetailRequirement {
                kind: kind.into(),
                identifier: None,
                lists,
            };
            let settings = config::Client {
                scopes: scopes("a"),
                authorization_details: vec![
                    asked("payment_initiation", vec![initiate]),
                    asked("account_information", vec![]),
                ],
                partial_scopes: partial,
                ..fixture.client_settings()
            };
            let server = Arc::clone(&fixture.server);
            let client = OwnClient::start(settings, server, &fixture.shared).unwrap();
            let given = client.token().await.map(|token| token.missing_details().to_vec());
            let expected = match !missing.is_empty() && partial == PartialScopes::Refuse {
                true => Err(refused(OwnClientCause::PartialDetails(types.clone()))),
                false => Ok(types.to_vec()),
            };
            assert_eq!(given, expected, "{member} {partial:?}");
            let status = serde_json::to_value(client.status()).unwrap();
            assert_eq!(status["missing_authorization_details"], serde_json::json!(missing));
            let word = if missing.is_empty() { "granted" } else { "partial" };
            assert_eq!(fixture.counted("scopegate_client_tokens_total", &["reports", word]), 1.0);
        }
    }
}

#[tokio::test]
async fn two_hundred_first_requests_make_one_exchange_and_one_that_leaves_fails_nobody() {
    let fixture = answering(token_reply(r#","expires_in":60"#)).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let ask = || {
        let client = Arc::clone(&client);
        async move { client.token().await }.boxed()
    };
    fixture.two_hundred(ask).await;
}

#[tokio::test]
async fn rfc6749_5_1_a_token_is_used_until_expires_in_or_cache_ttl_and_never_after() {
    for (more, last_good, over) in [(r#","expires_in":60"#, 57, 59), ("", 299, 301)] {
        let fixture = Fixture::start_silenced_after(1, token_reply(more)).await;
        let settings =
            config::Client { cache_ttl: Duration::from_secs(302), ..fixture.client_settings() };
        let client =
            OwnClient::start(settings, Arc::clone(&fixture.server), &fixture.shared).unwrap();
        let now = time::now();
        client.token_at(now).await.unwrap();
        assert!(client.token_at(later(now, last_good)).await.is_ok(), "{more}");
        assert_eq!(fixture.authorization_server.seen().len(), 1, "{more}");
        let outcome = client.token_at(later(now, over)).await;
        assert!(matches!(outcome, Err(Rejection::VerifierUnavailable(_))), "{more}");
        assert_eq!(fixture.authorization_server.seen().len(), 2, "{more}");
    }
}

#[tokio::test]
async fn renewal_precedes_the_end_and_nobody_waits_for_it() {
    // A machine under load may sleep past the whole of it.
    let fixture = answering(token_reply(r#","expires_in":2"#)).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let first = client.token().await.unwrap();
    let renewed = async {
        while client.current.load_full().is_none_or(|held| Arc::ptr_eq(&held, &first)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap();
}

#[tokio::test]
async fn while_renewal_waits_and_fails_the_old_token_serves() {
    let fixture = Fixture::start_silenced_after(1, token_reply(r#","expires_in":60"#)).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let now = time::now();
    let first = client.token_at(now).await.unwrap();
    fixture.authorization_server.hold();
    let (renewing, replaced) = (Arc::clone(&client), Arc::clone(&first));
    let renewal = tokio::spawn(async move { renewing.fetch(now, Some(replaced)).await });
    fixture.authorization_server.wait_for(2).await;
    assert!(Arc::ptr_eq(&client.token_at(now).await.unwrap(), &first), "it waits");
    fixture.authorization_server.release();
    assert!(renewal.await.unwrap().is_err());
    assert!(Arc::ptr_eq(&client.token_at(now).await.unwrap(), &first), "it failed");
    assert!(client.token_at(later(now, 59)).await.is_err(), "nothing old is sent");
}

#[tokio::test]
async fn the_renewal_ends_with_the_client_and_gives_up_its_token() {
    let fixture = answering(token_reply(r#","expires_in":60"#)).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let token = Arc::downgrade(&client.token().await.unwrap());
    drop(client);
    let gone = async {
        while token.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn rfc6749_5_2_a_refusal_is_502_with_its_code_and_asked_again_after_the_pause() {
    for (status, body, code) in [
        (401, r#"{"error":"invalid_client"}"#, "invalid_client"),
        (401, "", "invalid_client"),
        (400, r#"{"error":"unauthorized_client"}"#, "unauthorized_client"),
        (400, r#"{"error":"invalid_scope"}"#, "invalid_scope"),
        (400, r#"{"error":"invalid_target"}"#, "invalid_target"),
        (400, r#"{"error":"<script>"}"#, "unknown"),
    ] {
        let fixture = answering(Reply::new(status).body(body)).await;
        let client = client(&fixture, "", PartialScopes::Refuse);
        let now = time::now();
        let expected = refused(OwnClientCause::Refused(code));
        assert_eq!(client.token_at(now).await.unwrap_err(), expected);
        assert_eq!(client.token_at(later(now, 9)).await.unwrap_err(), expected);
        assert_eq!(fixture.authorization_server.seen().len(), 1);
        let status = serde_json::to_value(client.status()).unwrap();
        assert_eq!(status["last_error"], code);
        assert_eq!(client.token_at(later(now, 12)).await.unwrap_err(), expected);
        assert_eq!(fixture.authorization_server.seen().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_502_and_gives_no_token() {
    for body in [
        r#"{"access_token":"t","token_type":"DPoP"}"#,
        r#"{"access_token":"t","token_type":"bearer","error":"invalid_client"}"#,
        "<html>",
    ] {
        let fixture = answering(Reply::json(body)).await;
        let client = client(&fixture, "", PartialScopes::Allow);
        let outcome = client.token().await.unwrap_err();
        assert_eq!(outcome, refused(OwnClientCause::Unusable), "{body}");
    }
}

#[tokio::test]
async fn rfc9110_10_2_3_an_outage_is_503_and_its_retry_after_is_kept_and_told() {
    let reply = Reply::new(503).header("retry-after", "120");
    let fixture = answering(reply).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let now = time::now();
    let issuer = fixture.server.settings().issuer.clone();
    let outage = |seconds| {
        let retry_after = RetryAfter::new(Duration::from_secs(seconds));
        let cause = OutageCause::Status;
        Rejection::VerifierUnavailable(Outage { issuer: issuer.clone(), cause, retry_after })
    };
    assert_eq!(client.token_at(now).await.unwrap_err(), outage(120));
    let rejection = client.token_at(later(now, 100)).await.unwrap_err();
    assert!([outage(20), outage(21)].contains(&rejection), "{rejection:?}");
    assert_eq!(fixture.authorization_server.seen().len(), 1);
}

#[tokio::test]
async fn fewer_scopes_than_asked_are_refused_or_used_as_configured_and_seen() {
    let (opaque, some) = ("t".to_owned(), jwt(r#"{"scope":"a"}"#));
    let nothing = jwt(r#"{"sub":"x"}"#);
    #[rustfmt::skip]
    let cases = [
        // claim                                  token     answer               asked   granted  missing
        ("all granted, in another order",         &opaque,  r#","scope":"b a""#, "a b",  "a b",   ""),
        ("more than asked",                       &opaque,  r#","scope":"a b""#, "a",    "a b",   ""),
        ("a part",                                &opaque,  r#","scope":"b""#,   "a b",  "b",     "a"),
        ("nothing, said",                         &opaque,  r#","scope":"""#,    "a",    "",      "a"),
        ("silence about an opaque token",         &opaque,  "",                  "a b",  "a b",   ""),
        ("silence, and the token has a part",     &some,    "",                  "a b",  "a",     "b"),
        ("silence, and the token has none",       &nothing, "",                  "a",    "",      "a"),
        ("silence, nothing asked, opaque",        &opaque,  "",                  "",     "",      ""),
        ("silence, nothing asked, a JWT",         &some,    "",                  "",     "a",     ""),
    ];
    for (claim, token, more, asked, granted, missing) in cases {
        let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"{more}}}"#);
        let fixture = answering(Reply::json(&body)).await;
        let allowing = client(&fixture, asked, PartialScopes::Allow);
        let token = allowing.token().await.unwrap();
        assert_eq!(token.granted(), &scopes(granted), "{claim}");
        let gauge = fixture.shared.metrics.missing_scopes("reports").get();
        assert_eq!(gauge, i64::try_from(scopes(missing).len()).unwrap(), "{claim}");
        let outcome = client(&fixture, asked, PartialScopes::Refuse).token().await;
        let word = if missing.is_empty() { "granted" } else { "partial" };
        let tokens = fixture.counted("scopegate_client_tokens_total", &["reports", word]);
        assert_eq!(tokens, 2.0, "{claim}");
        let expected = refused(OwnClientCause::PartialScopes(scopes(missing)));
        let expected = if missing.is_empty() { None } else { Some(expected) };
        assert_eq!(outcome.err(), expected, "{claim}");
    }
}

#[tokio::test]
async fn a_silent_answer_about_an_opaque_token_is_looked_up_by_introspection() {
    for (body, expected) in [
        (r#"{"active":true,"scope":"a"}"#, Ok("a")),
        (r#"{"active":true}"#, Ok("")),
        (r#"{"active":false}"#, Ok("")),
        ("down", Err(())),
    ] {
        let introspection = match body {
            "down" => Reply::new(500),
            body => Reply::json(body),
        };
        let fixture = Fixture::start_introspecting(move |seen| match seen.target.as_str() {
            "/token" => token_reply(""),
            _ => introspection.clone(),
        })
        .await;
        let outcome = client(&fixture, "a b", PartialScopes::Allow).token().await;
        match (outcome, expected) {
            (Ok(token), Ok(expected)) => assert_eq!(token.granted(), &scopes(expected)),
            (Err(Rejection::VerifierUnavailable(_)), Err(())) => {}
            (outcome, _) => panic!("{body}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_hundred_refusals_upstream_of_one_token_make_one_new_exchange() {
    let fixture = Fixture::start(numbered()).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let token = client.token().await.unwrap();
    let again: Vec<_> = (0..100)
        .map(|_| {
            let (client, token) = (Arc::clone(&client), Arc::clone(&token));
            tokio::spawn(async move {
                client.refused_upstream(&token);
                client.token().await.unwrap()
            })
        })
        .collect();
    for one in again {
        assert_eq!(one.await.unwrap().authorization(), "Bearer t1");
    }
    assert_eq!(fixture.authorization_server.seen().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_refuses_every_token_makes_one_exchange_per_pause_and_stops_nobody() {
    for pause_s in [0, 10] {
        let fixture = Fixture::start(numbered()).await;
        let settings = config::Client {
            negative_cache_ttl: Duration::from_secs(pause_s),
            ..fixture.client_settings()
        };
        let server = Arc::clone(&fixture.server);
        let client = OwnClient::start(settings, server, &fixture.shared).unwrap();
        let now = time::now();
        for _ in 0..5 {
            let token = client.token_at(now).await.unwrap();
            client.drop_at(&token, now);
        }
        assert!(client.held(now).is_some(), "a good token stays");
        assert_eq!(fixture.authorization_server.seen().len(), 2);
        let status = serde_json::to_value(client.status()).unwrap();
        assert_eq!(status["last_error"], serde_json::Value::Null);
        let after = later(now, 11);
        client.drop_at(&client.token_at(after).await.unwrap(), after);
        assert_eq!(client.token_at(after).await.unwrap().authorization(), "Bearer t2");
    }
}

#[tokio::test]
async fn a_token_that_an_upstream_refused_serves_on_where_there_is_no_other() {
    let reply = token_reply(r#","expires_in":600"#);
    let fixture = Fixture::start_silenced_after(1, reply).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let now = time::now();
    let token = client.token_at(now).await.unwrap();
    client.drop_at(&token, now);
    assert!(client.held(now).is_none());
    assert!(Arc::ptr_eq(&client.token_at(now).await.unwrap(), &token));
    assert!(Arc::ptr_eq(&client.held(now).unwrap(), &token));
    assert_eq!(fixture.authorization_server.seen().len(), 2, "another was asked for");
}

#[tokio::test]
async fn a_token_is_not_dropped_while_no_other_can_be_asked_for() {
    let reply = token_reply(r#","expires_in":600"#);
    let fixture = Fixture::start_silenced_after(1, reply).await;
    let client = client(&fixture, "", PartialScopes::Refuse);
    let now = time::now();
    let token = client.token_at(now).await.unwrap();
    assert!(client.fetch(now, Some(Arc::clone(&token))).await.is_err(), "a renewal fails");
    client.drop_at(&token, now);
    assert!(Arc::ptr_eq(&client.token_at(now).await.unwrap(), &token));
}

#[tokio::test]
async fn the_status_names_scopes_and_never_the_token() {
    let fixture = answering(Reply::json(
        r#"{"access_token":"t0k3n","token_type":"bearer","scope":"a","expires_in":60}"#,
    ))
    .await;
    let client = client(&fixture, "a b", PartialScopes::Allow);
    let token = client.token().await.unwrap();
    let status = serde_json::to_value(client.status()).unwrap();
    assert_eq!(status["missing_scopes"], serde_json::json!(["b"]));
    assert_eq!(status["granted_scopes"], serde_json::json!(["a"]));
    assert!(status["expires_in_s"].as_u64().unwrap() > 50);
    assert!(!format!("{status} {token:?}").contains("t0k3n"));
    assert!(!format!("{status}").contains("s3cret"));
}

/// Gives `rN` with the token `tN`, and takes each refresh token that `is_good` says.
fn rotating(
    is_good: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> impl Fn(&crate::outbound::testing::Seen) -> Reply + Send + Sync {
    let count = std::sync::atomic::AtomicUsize::new(0);
    move |seen| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let refresh = seen.form("refresh_token");
        match refresh.first() {
            Some(token) if !is_good(token) => Reply::new(400).body(r#"{"error":"invalid_grant"}"#),
            _ => Reply::json(&format!(
                r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":600,
                "refresh_token":"r{number}"}}"#
            )),
        }
    }
}

fn refreshing(fixture: &Fixture) -> Arc<OwnClient> {
    let settings = config::Client { refresh_tokens: true, ..fixture.client_settings() };
    OwnClient::start(settings, Arc::clone(&fixture.server), &fixture.shared).unwrap()
}

#[tokio::test]
async fn rfc6749_6_renewal_spends_each_refresh_token_once_and_the_new_one_takes_its_place() {
    let fixture = Fixture::start(rotating(|_| true)).await;
    let client = refreshing(&fixture);
    let now = time::now();
    let mut token = client.token_at(now).await.unwrap();
    for number in 1..4 {
        // Two renewals at once are one, and a token is spent by the first look at it.
        let (one, other) = tokio::join!(
            client.fetch(now, Some(Arc::clone(&token))),
            client.fetch(now, Some(Arc::clone(&token)))
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(token.take_refresh().is_none(), "spent");
        token = one;
        assert_eq!(token.authorization(), &format!("Bearer t{number}"));
        let seen = fixture.authorization_server.seen();
        assert_eq!(seen.len(), number + 1);
        assert_eq!(seen[number].form("grant_type"), ["refresh_token"]);
        assert_eq!(seen[number].form("refresh_token"), [format!("r{}", number - 1)]);
        assert!(seen[number].header("authorization").is_some(), "by the same client");
    }
}

#[tokio::test]
async fn rfc6749_6_without_a_new_one_the_old_refresh_token_goes_on() {
    let fixture = Fixture::start(|seen| {
        let more =
            if seen.form("refresh_token").is_empty() { r#","refresh_token":"r""# } else { "" };
        token_reply(&format!(r#","expires_in":600{more}"#))
    })
    .await;
    let client = refreshing(&fixture);
    let now = time::now();
    let mut token = client.token_at(now).await.unwrap();
    for _ in 0..2 {
        token = client.fetch(now, Some(token)).await.unwrap();
    }
    let spent = fixture.authorization_server.seen().into_iter();
    let spent: Vec<_> = spent.map(|seen| seen.form("refresh_token").concat()).collect();
    assert_eq!(spent, ["", "r", "r"]);
}

#[tokio::test]
async fn rfc6749_6_silence_of_a_refresh_about_scopes_means_those_of_before() {
    let fixture = Fixture::start(|seen| match seen.form("refresh_token").is_empty() {
        true => token_reply(r#","expires_in":600,"scope":"a","refresh_token":"r""#),
        false => token_reply(r#","expires_in":600"#),
    })
    .await;
    let settings = config::Client {
        refresh_tokens: true,
        scopes: scopes("a b"),
        partial_scopes: PartialScopes::Allow,
        ..fixture.client_settings()
    };
    let server = Arc::clone(&fixture.server);
    let client = OwnClient::start(settings, server, &fixture.shared).unwrap();
    let now = time::now();
    let mut token = client.token_at(now).await.unwrap();
    for _ in 0..2 {
        token = client.fetch(now, Some(token)).await.unwrap();
        assert_eq!(token.granted(), &scopes("a"));
    }
    assert_eq!(fixture.shared.metrics.missing_scopes("reports").get(), 1);
    let by_hand = client.refreshed(&token).await.unwrap().unwrap();
    assert_eq!(by_hand.granted(), &scopes("a"));
    let seen = fixture.authorization_server.seen();
    let refreshed = seen.iter().filter(|seen| !seen.form("refresh_token").is_empty());
    assert_eq!(refreshed.count(), 3);
}

#[tokio::test]
async fn rfc6749_5_2_a_refused_refresh_token_makes_a_new_grant_at_once_and_callers_see_nothing() {
    let fixture = Fixture::start(rotating(|_| false)).await;
    let client = refreshing(&fixture);
    let now = time::now();
    let first = client.token_at(now).await.unwrap();
    let second = client.fetch(now, Some(first)).await.unwrap();
    assert_eq!(second.authorization(), "Bearer t2");
    let seen = fixture.authorization_server.seen();
    let grants: Vec<_> = seen.iter().map(|seen| seen.form("grant_type").concat()).collect();
    assert_eq!(grants, ["client_credentials", "refresh_token", "client_credentials"]);
    let status = serde_json::to_value(client.status()).unwrap();
    assert_eq!(status["last_error"], serde_json::Value::Null);
}

#[tokio::test]
async fn rfc9700_4_14_2_after_an_outage_the_refresh_token_is_not_shown_again() {
    let fixture = Fixture::start(rotating(|_| true)).await;
    let client = refreshing(&fixture);
    let now = time::now();
    let first = client.token_at(now).await.unwrap();
    // The connection breaks before the answer: a second try would show it twice.
    fixture.authorization_server.break_next(1);
    assert!(client.fetch(now, Some(Arc::clone(&first))).await.is_err());
    assert_eq!(fixture.authorization_server.seen().len(), 2, "tried once");
    assert!(Arc::ptr_eq(&client.token_at(now).await.unwrap(), &first), "the old one serves");
    client.fetch(later(now, 2), Some(first)).await.unwrap();
    let seen = fixture.authorization_server.seen();
    assert_eq!(seen[2].form("grant_type"), ["client_credentials"]);
}

#[tokio::test]
async fn rfc6749_4_4_3_a_refresh_token_is_dropped_unless_the_settings_keep_it() {
    let fixture = Fixture::start(rotating(|_| true)).await;
    let token = client(&fixture, "", PartialScopes::Refuse).token().await.unwrap();
    assert!(token.take_refresh().is_none());
    let token = refreshing(&fixture).token().await.unwrap();
    assert!(!format!("{token:?}").contains("r1"), "{token:?}");
    assert!(token.take_refresh().is_some());
}

#[tokio::test]
async fn a_server_without_a_known_token_endpoint_is_an_outage() {
    let fixture = Fixture::start_without_endpoint(FakeServer::start(numbered()).await).await;
    let outcome = client(&fixture, "", PartialScopes::Refuse).token().await;
    assert!(matches!(outcome, Err(Rejection::VerifierUnavailable(_))));
}
