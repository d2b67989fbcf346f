//! Members that come, go, fail and come back, and which of them a request goes to.

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const FAILS: Duration = Duration::from_millis(100);

fn http1(address: SocketAddr) -> config::Endpoint {
    endpoint(EndpointProtocol::Http1, address)
}

fn named(name: &str) -> config::Endpoint {
    let address = EndpointAddress::Name(name.into(), 9);
    config::Endpoint { protocol: EndpointProtocol::Http1, address }
}

fn live(settings: config::Upstream) -> Upstream {
    Upstream::new(settings, 1, events()).unwrap()
}

/// Answers each request with its name.
async fn answering_with(name: &'static str) -> Raw {
    Raw::start(move |mut stream, _| async move {
        while !read_head(&mut stream).await.is_empty() {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// Answers as long as `is_well`, and otherwise closes each connection that brings a request.
async fn failing(is_well: Arc<std::sync::atomic::AtomicBool>) -> Raw {
    Raw::start(move |mut stream, _| {
        let is_well = Arc::clone(&is_well);
        async move {
            while !read_head(&mut stream).await.is_empty() && is_well.load(Ordering::Relaxed) {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

async fn post(upstream: &Upstream) -> Result<Response<Body>, UpstreamFailure> {
    send(upstream, request(Method::POST, "/", Body::empty())).await
}

async fn by_key(upstream: &Upstream, key: u64) -> String {
    let request = request(Method::GET, "/", Body::empty());
    text(upstream.exchange(WORKER, request, Some(key), RouteTimeouts::default()).await.unwrap())
        .await
}

fn state_of(upstream: &Upstream, address: SocketAddr) -> MemberState {
    let address = address.to_string();
    upstream.members().into_iter().find(|member| member.address == address).unwrap().state
}

#[tokio::test]
async fn an_address_that_vanishes_gets_no_new_requests_and_the_last_good_ones_stay() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let old = Raw::start(move |mut stream, _| {
        let gate = Arc::clone(&opened);
        async move {
            while read_head(&mut stream).await.contains("GET") {
                gate.notified().await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let new = answering_with("n").await;
    let upstream = Arc::new(live(settings(vec![named("api.test")])));
    let resolved = |addresses| upstream.roster.resolved(0, addresses, Instant::now());
    resolved(vec![old.address]);
    gate.notify_one();
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "ok");
    assert_eq!(upstream.pools[0].idle_count(), 1);
    let held = Arc::clone(&upstream);
    let under_way = tokio::spawn(async move { text(get(&held, "/").await.unwrap()).await });
    until(|| upstream.in_flight() == 1).await;

    resolved(vec![new.address]);
    for _ in 0..10 {
        assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "n");
    }
    assert_eq!(upstream.members().len(), 1);
    gate.notify_one();
    assert_eq!(under_way.await.unwrap(), "ok", "what was under way ends well");
    assert_eq!(upstream.pools[0].idle_count(), 1, "and its connection is not kept");
    resolved(Vec::new());
    assert_eq!(upstream.members()[0].address, new.address.to_string(), "no answer, no change");
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "n");
}

/// Answers each request with its name, and says when a connection has ended.
async fn telling(name: &'static str) -> (Raw, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let raw = Raw::start(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    (raw, ended)
}

/// Puts the clock forward. It stands still only meanwhile: bytes on a socket take real time.
async fn after(wait: Duration) {
    tokio::time::pause();
    tokio::time::advance(wait).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_name_is_looked_up_again_and_what_is_found_is_taken_up() {
    let ((old, old_ended), (new, new_ended)) = (telling("o").await, telling("n").await);
    // Nothing here is closed for its age.
    let long = Duration::from_secs(3600);
    let timeouts = UpstreamTimeouts { connect: long, header: long, idle: long };
    let settings = config::Upstream { timeouts, ..settings(vec![named("api.test")]) };
    let every = settings.resolve;
    let upstream = Arc::new(live(settings));
    let found = Arc::new(std::sync::Mutex::new(vec![old.address]));
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = {
        let (found, asked) = (Arc::clone(&found), Arc::clone(&asked));
        move |address: EndpointAddress| {
            assert_eq!(address.to_string(), "api.test:9");
            asked.fetch_add(1, Ordering::Relaxed);
            let found = found.lock().unwrap().clone();
            // An empty list stands for a resolver that fails.
            std::future::ready(
                Some(found)
                    .filter(|all| !all.is_empty())
                    .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound)),
            )
        }
    };
    let looking = tokio::spawn(tend::look_up(Arc::downgrade(&upstream), resolver));
    let looks = |count| {
        until({
            let asked = Arc::clone(&asked);
            move || asked.load(Ordering::Relaxed) == count
        })
    };
    until(|| upstream.addresses_known()).await;
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "o");

    *found.lock().unwrap() = vec![new.address];
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "o", "nobody has looked yet");
    assert_eq!((asked.load(Ordering::Relaxed), old_ended.load(Ordering::Relaxed)), (1, 0));
    after(every).await;
    until(|| upstream.members()[0].address == new.address.to_string()).await;
    assert_eq!(upstream.members().len(), 1, "the old one is gone");
    // No request has come since: its connection is closed all the same.
    after(Duration::from_secs(5)).await;
    until(|| old_ended.load(Ordering::Relaxed) == 1).await;
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "n");

    found.lock().unwrap().clear();
    after(every).await;
    looks(3).await;
    assert_eq!(text(get(&upstream, "/").await.unwrap()).await, "n", "no answer, no change");
    *found.lock().unwrap() = vec![old.address, new.address];
    after(every).await;
    looks(4).await;
    until(|| upstream.members().len() == 2).await;
    assert_eq!((old.connections(), new.connections()), (1, 1));
    assert_eq!(new_ended.load(Ordering::Relaxed), 0, "who stays keeps its connection");

    drop(upstream);
    after(every).await;
    looking.await.expect("it ends with its upstream");
}

#[tokio::test]
async fn the_slots_of_what_vanished_are_used_again_and_addresses_that_stay_keep_theirs() {
    let upstream = live(settings(vec![http1(closed().await), named("api.test")]));
    let address = |last: u8| SocketAddr::from(([127, 0, 0, last], 9));
    let show = |upstream: &Upstream| {
        let _ = upstream.pools[0].enter(None, Instant::now(), &RouteTimeouts::default());
        upstream.pools[0].slot_count()
    };
    for round in 0..50_u8 {
        let addresses = vec![address(1), address(100 + round), address(1)];
        upstream.roster.resolved(1, addresses, Instant::now());
        assert!(show(&upstream) <= 4, "round {round}");
        assert_eq!(upstream.members().len(), 3, "the literal one, .1 once, and the new one");
    }
    let many = (0..=u8::MAX).map(address).collect();
    upstream.roster.resolved(1, many, Instant::now());
    assert_eq!(upstream.members().len(), 65, "a name has so many addresses at most");
}

async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_member_that_fails_is_ejected_tried_once_and_returns() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (sick, good) = (failing(Arc::clone(&is_well)).await, Raw::answering(OK).await);
    let upstream = live(config::Upstream {
        eject: Ejection { failures: 3, time: FAILS, server_errors: false },
        ..settings(vec![http1(sick.address), http1(good.address)])
    });
    let mut failed = 0;
    while state_of(&upstream, sick.address) != MemberState::Ejected {
        failed += usize::from(post(&upstream).await.is_err());
        assert!(failed <= 3, "three failures are enough");
    }
    let before = sick.connections();
    for _ in 0..30 {
        assert!(post(&upstream).await.is_ok());
    }
    assert_eq!(sick.connections(), before, "nothing goes there");
    let counts = upstream.member_counts().map(|(_, count)| count);
    assert_eq!(counts, [1, 0, 1], "well, unwell, ejected");

    is_well.store(true, Ordering::Relaxed);
    let back = async {
        while state_of(&upstream, sick.address) == MemberState::Ejected {
            assert!(post(&upstream).await.is_ok());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("it comes back");
    assert!(!upstream.roster.is_troubled(), "and an answer is no news any more");
}

#[tokio::test]
async fn the_last_member_is_never_ejected_and_where_all_fail_they_are_tried() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sick = failing(Arc::clone(&is_well)).await;
    let eject = Ejection { failures: 2, time: Duration::from_secs(20), server_errors: false };
    let alone =
        live(config::Upstream { eject: eject.clone(), ..settings(vec![http1(sick.address)]) });
    let two = live(config::Upstream {
        eject,
        ..settings(vec![http1(sick.address), http1(closed().await)])
    });
    for _ in 0..20 {
        assert!(post(&alone).await.is_err() && post(&two).await.is_err());
    }
    assert_eq!(state_of(&alone, sick.address), MemberState::Healthy);
    assert_eq!(two.member_counts()[0].1, 1);
    is_well.store(true, Ordering::Relaxed);
    assert!(post(&alone).await.is_ok());
}

#[tokio::test]
async fn a_server_error_counts_only_where_it_shall_and_a_callers_fault_never() {
    let sick = Raw::answering("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
    let good = Raw::answering(OK).await;
    for (server_errors, state) in [(false, MemberState::Healthy), (true, MemberState::Ejected)] {
        let upstream = live(config::Upstream {
            eject: Ejection { failures: 2, time: Duration::from_secs(20), server_errors },
            ..settings(vec![http1(sick.address), http1(good.address)])
        });
        for _ in 0..40 {
            get(&upstream, "/").await.unwrap();
        }
        assert_eq!(state_of(&upstream, sick.address), state, "server_errors = {server_errors}");
    }
}

#[tokio::test]
async fn equal_keys_go_to_the_same_member_and_those_of_an_ejected_one_move() {
    let [a, b, c] =
        [answering_with("a").await, answering_with("b").await, answering_with("c").await];
    let upstream = live(settings(vec![http1(a.address), http1(b.address), http1(c.address)]));
    let mut homes = Vec::new();
    for key in 0..60 {
        homes.push(by_key(&upstream, key).await);
    }
    for name in ["a", "b", "c"] {
        assert!(homes.iter().filter(|home| *home == name).count() > 5, "{homes:?}");
    }
    let gone = upstream.roster.members()[0].clone();
    (0..5).for_each(|_| upstream.roster.failed(&gone, Instant::now()));
    for (key, home) in (0..).zip(&homes) {
        let now = by_key(&upstream, key).await;
        assert!(now == *home || (home == "a" && now != "a"), "{key}: {home} to {now}");
        assert_eq!(by_key(&upstream, key).await, now);
    }
}

#[tokio::test]
async fn one_after_the_other_gets_a_request() {
    let (a, b) = (answering_with("a").await, answering_with("b").await);
    let upstream = live(config::Upstream {
        balance: Balance::RoundRobin,
        ..settings(vec![http1(a.address), http1(b.address)])
    });
    let mut seen = String::new();
    for _ in 0..6 {
        seen.push_str(&text(get(&upstream, "/").await.unwrap()).await);
    }
    assert_eq!(seen, "ababab");
}

/// Closes each connection with its second request, as one does that was idle for too long.
async fn forgetful() -> Raw {
    Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn what_is_sent_again_has_a_budget_and_can_be_turned_off() {
    #[rustfmt::skip]
    let cases = [
        // attempts, budget, requests that fail of 30 that need a retry
        (1, 100, 0..=0),
        (0, 100, 30..=30),
        (1,   0, 30..=30),
        (1,  10, 1..=27),
    ];
    for (attempts, budget_percent, expected) in cases {
        let raw = forgetful().await;
        let upstream = live(config::Upstream {
            retries: Retries { attempts, budget_percent },
            ..settings(vec![http1(raw.address)])
        });
        let mut failed = 0;
        for _ in 0..30 {
            // The first one over a new connection, the second one meets its end.
            while upstream.pools[0].idle_count() == 0 {
                get(&upstream, "/").await.unwrap();
            }
            failed += usize::from(get(&upstream, "/").await.is_err());
            until(|| upstream.in_flight() == 0).await;
        }
        assert!(expected.contains(&failed), "{attempts}, {budget_percent} %: {failed}");
    }
}
