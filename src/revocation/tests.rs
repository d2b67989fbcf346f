use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::*;
use crate::oauth::{
    Audiences, Claims, Issuer, KeptClaims, Plaintext, Principal, RawToken, ServerId, TokenKind,
    TokenTexts, Traces, Validity,
};
use crate::telemetry::Metrics;

const ISSUER: &str = "https://as.test";

fn token(text: &str, claims: &str) -> Arc<VerifiedToken> {
    let claims = Claims::parse(claims.as_bytes()).unwrap();
    let traces = Traces::of(ISSUER, &claims, claims.string("client_id").unwrap());
    Arc::new(VerifiedToken {
        digest: RawToken::new(text).digest(),
        kind: TokenKind::Jwt,
        server: ServerId::new(1),
        issuer: Issuer::parse(ISSUER, Plaintext::Refused).unwrap(),
        texts: TokenTexts::saying(None, None, ""),
        principal: Principal::Client,
        audiences: Audiences::MeantForUs,
        validity: Validity::new(None, None),
        claims: KeptClaims::default().with_traces(traces),
    })
}

fn list_of(settings: &Revocations) -> Arc<RevocationList> {
    let metrics = Metrics::new().revocations().clone();
    RevocationList::open(settings, metrics, Use::Serving).unwrap()
}

fn list(entries: usize) -> Arc<RevocationList> {
    list_of(&Revocations { entries, ..Revocations::default() })
}

fn now() -> UnixSeconds {
    time::now().unix
}

/// An entry that ends in so many seconds.
fn entry(mark: Mark, left: i64) -> Entry {
    let until = UnixSeconds::new(now().get() + left);
    Entry { mark, reach: Reach { until, issued_before: None } }
}

fn claim(kind: MarkKind, text: &str) -> Mark {
    Mark::of(kind, ISSUER, text)
}

async fn enter(list: &Arc<RevocationList>, entry: Entry) -> Result<(), EnterError> {
    list.enter(vec![entry], RevocationDoor::Admin).await
}

#[tokio::test]
async fn a_token_is_named_by_itself_or_by_any_of_its_claims_and_by_no_others() {
    let all = r#"{"jti":"j","sid":"s","sub":"u","client_id":"c","iat":100}"#;
    let one = token("one", all);
    let other = token("two", r#"{"jti":"k","sid":"t","sub":"v","client_id":"d"}"#);
    for mark in [
        Mark::of_token(&one.digest),
        claim(MarkKind::Jti, "j"),
        claim(MarkKind::Sid, "s"),
        claim(MarkKind::Subject, "u"),
        claim(MarkKind::Client, "c"),
    ] {
        let list = list(10);
        assert!(!list.names(&one, now()), "an empty list names nobody");
        enter(&list, entry(mark, 60)).await.unwrap();
        assert!(list.names(&one, now()), "{mark:?}");
        assert!(!list.names(&other, now()), "{mark:?}");
        let later = UnixSeconds::new(now().get() + 61);
        assert!(!list.names(&one, later), "{mark:?}: it has ended");
    }
    let elsewhere = Mark::of(MarkKind::Subject, "https://other.test", "u");
    let list = list(10);
    enter(&list, entry(elsewhere, 60)).await.unwrap();
    assert!(!list.names(&one, now()), "the same name at another issuer is another user");
}

#[tokio::test]
async fn bcl_2_7_a_logout_leaves_what_is_issued_later() {
    let list = list(10);
    let issued = |iat: i64| token("t", &format!(r#"{{"sub":"u","iat":{iat}}}"#));
    let mut logout = entry(claim(MarkKind::Subject, "u"), 60);
    logout.reach.issued_before = Some(UnixSeconds::new(1000));
    enter(&list, logout).await.unwrap();
    assert!(list.names(&issued(999), now()) && !list.names(&issued(1000), now()));
    assert!(list.names(&token("t", r#"{"sub":"u"}"#), now()), "it does not say when");
    // The operator locks the user out; an older logout that comes late changes nothing of that.
    enter(&list, entry(claim(MarkKind::Subject, "u"), 60)).await.unwrap();
    enter(&list, logout).await.unwrap();
    assert!(list.names(&issued(1000), now()));
}

#[tokio::test]
async fn bcl_2_7_a_short_ban_and_a_logout_are_no_long_ban_also_in_the_file() {
    let file = std::env::temp_dir().join(format!("scopegate-reaches-{}", std::process::id()));
    let settings = Revocations { file: Some(file.clone()), ..Revocations::default() };
    let user = claim(MarkKind::Subject, "u");
    let mut logout = entry(user, 600);
    logout.reach.issued_before = Some(UnixSeconds::new(1000));
    let [old, new] = [999, 1000].map(|iat| token("t", &format!(r#"{{"sub":"u","iat":{iat}}}"#)));
    let later = UnixSeconds::new(now().get() + 70);
    let list = list_of(&settings);
    enter(&list, entry(user, 60)).await.unwrap();
    enter(&list, logout).await.unwrap();
    assert_eq!((list.status().entries, list.entries(10).len()), (1, 2));
    drop(list);
    for _ in 0..2 {
        let list = list_of(&settings);
        assert!(list.names(&old, now()) && list.names(&new, now()), "the ban");
        assert!(list.names(&old, later) && !list.names(&new, later), "the logout alone");
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn invariant_9_a_full_list_refuses_and_one_with_ended_entries_is_not_full() {
    let list = list(3);
    for (text, left) in [("a", 1), ("b", 60), ("c", 60)] {
        enter(&list, entry(claim(MarkKind::Jti, text), left)).await.unwrap();
    }
    let fourth = entry(claim(MarkKind::Jti, "d"), 60);
    assert!(matches!(enter(&list, fourth).await, Err(EnterError::Full(3))));
    assert!(!list.names(&token("t", r#"{"jti":"d"}"#), now()), "refused is refused");
    enter(&list, entry(claim(MarkKind::Jti, "b"), 90)).await.expect("it is in already");
    // Two at once are taken together or not at all.
    let two = ["e", "f"].map(|text| entry(claim(MarkKind::Jti, text), 60)).to_vec();
    assert!(list.enter(two, RevocationDoor::Logout).await.is_err());
    list.table.sweep(UnixSeconds::new(now().get() + 2));
    enter(&list, fourth).await.expect("there is room again");
    assert_eq!((list.status().entries, list.counts()[1]), (3, (MarkKind::Jti, 3)));
}

#[tokio::test]
async fn what_has_ended_already_takes_no_room() {
    let list = list(1);
    enter(&list, entry(claim(MarkKind::Jti, "a"), 0)).await.unwrap();
    assert_eq!(list.status().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_of_it_within_a_second_and_of_nothing_else() {
    let list = list(10);
    let one = token("one", r#"{"sid":"s"}"#);
    let waiting = tokio::spawn(Arc::clone(&list).revoked(Arc::clone(&one)));
    for text in ["x", "y"] {
        enter(&list, entry(claim(MarkKind::Sid, text), 600)).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    assert!(!waiting.is_finished());
    let from = Instant::now();
    for text in ["z", "s"] {
        enter(&list, entry(claim(MarkKind::Sid, text), 600)).await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
    assert!(Instant::now() - from < Duration::from_secs(1));
    let late = timeout(Duration::from_secs(1), Arc::clone(&list).revoked(one));
    late.await.expect("who comes later hears of it at once");
}

#[tokio::test]
async fn what_could_not_be_written_is_refused_at_once_and_written_when_it_is_asked_again() {
    let name = format!("scopegate-list-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("revocations");
    let settings = Revocations { file: Some(file.clone()), ..Revocations::default() };
    let list = list_of(&settings);
    let (whole, broken) = (File::options().read(true).open(&file).unwrap(), entry_of("b"));
    let kept = swap(&list, whole); // a file that cannot be written to
    assert!(matches!(enter(&list, broken).await, Err(EnterError::Unwritten)));
    assert!(list.names(&token("t", r#"{"jti":"b"}"#), now()));
    assert!(enter(&list, broken).await.is_err(), "known, and not on the disk");
    for left in 61..70 {
        assert!(enter(&list, entry(broken.mark, left)).await.is_err());
    }
    assert_eq!(list.writing.lock().unwrap().as_ref().unwrap().unwritten.len(), 1, "one of a mark");
    swap(&list, kept);
    enter(&list, broken).await.unwrap();
    drop(list);
    assert!(list_of(&settings).names(&token("t", r#"{"jti":"b"}"#), now()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_sweep_waits_for_nobody_who_writes() {
    let list = list(10);
    list.table.put(claim(MarkKind::Jti, "a"), entry(claim(MarkKind::Jti, "a"), 0).reach.into());
    let writing = list.writing.lock().unwrap();
    let (swept, wait) = std::sync::mpsc::channel();
    let sweeping = Arc::clone(&list);
    std::thread::spawn(move || {
        sweeping.sweep();
        swept.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(60)).expect("it gives way");
    drop(writing);
    assert_eq!(list.status().entries, 1);
    list.sweep();
    assert_eq!(list.status().entries, 0);
}

use std::fs::File;

fn entry_of(jti: &str) -> Entry {
    entry(claim(MarkKind::Jti, jti), 60)
}

/// Puts another open file in the place of the list's own.
fn swap(list: &RevocationList, file: File) -> File {
    let mut keeping = list.writing.lock().unwrap();
    keeping.as_mut().unwrap().journal.swap(file)
}
