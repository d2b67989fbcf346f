//! Upstreams with several members: which of them gets a request, and what becomes of one that dies.

use crate::harness::backend::Then;
use crate::harness::world::Setup;
use crate::harness::{Backend, Gateway, RawBackend, Reply, World, eventually};

const PUBLIC: &str = r#"path = "/p", access = "public""#;

async fn answering_with(name: &'static str) -> Backend {
    Backend::answering(move |_| Reply::status(200).body(name)).await
}

/// A gateway before several endpoints.
async fn before(urls: &[&str], more: &str, route: &str) -> Gateway {
    setup(urls, more).route(route).start().await
}

fn setup(urls: &[&str], more: &str) -> Setup {
    Setup::new().upstream("api", &urls.join("\", \""), more)
}

#[tokio::test]
async fn a_member_that_hangs_up_is_ejected_and_shows_as_such() {
    let (sick, good) = (RawBackend::start("", Then::Close).await, Backend::start().await);
    let eject = "eject = { failures = 2, for = \"1h\" }";
    let gateway = before(&[&sick.url(), &good.url()], eject, PUBLIC).await;
    let ejected = [("upstream", "api"), ("state", "ejected")];
    eventually("the ejection", async || {
        gateway.request("POST", "/p").send().await;
        (gateway.metric("scopegate_upstream_members", &ejected).await == 1.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.request("POST", "/p").send().await.status, 200);
    }
    assert_eq!(gateway.metric("scopegate_upstream_ejections_total", &[]).await, 1.0);
    let status = gateway.admin("/status").await.json();
    let members = status["upstreams"][0]["members"].as_array().unwrap().clone();
    let states: Vec<_> = members.iter().map(|member| member["state"].clone()).collect();
    assert_eq!(states, ["ejected", "healthy"], "{members:?}");
    assert!(sick.url().ends_with(members[0]["address"].as_str().unwrap()));
}

#[tokio::test]
async fn a_member_that_is_gone_costs_no_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let good = Backend::start().await;
    let gateway = before(&[&gone, &good.url()], "", PUBLIC).await;
    for _ in 0..20 {
        assert_eq!(gateway.request("POST", "/p").send().await.status, 200);
    }
    assert_eq!(good.count(), 20);
    let again = [("upstream", "api"), ("reason", "unreachable"), ("outcome", "sent")];
    assert!(gateway.metric("scopegate_upstream_retries_total", &again).await >= 1.0);

    let gateway = before(&[&gone, &good.url()], "retries = { attempts = 0 }", PUBLIC).await;
    eventually("a request that is not tried elsewhere", async || {
        (gateway.get("/p").send().await.status == 502).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_subject_or_client_of_a_token_or_a_header_chooses_the_member() {
    let [a, b, c] =
        [answering_with("a").await, answering_with("b").await, answering_with("c").await];
    let urls = [a.url(), b.url(), c.url()];
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let issuer = crate::harness::TestIssuer::new();
    let route = r#"path = "/o", access = { scopes = ["orders:read"] }"#;
    for hash in ["\"subject\"", "\"client_id\"", "{ header = \"x-tenant\" }"] {
        let balance = format!("{{ hash = {hash} }}");
        let gateway = setup(&urls, &format!("balance = {balance}"))
            .issuer("main", &issuer, "")
            .route(route)
            .start()
            .await;
        let mut homes = std::collections::BTreeSet::new();
        // Their ports differ from run to run, and so do the homes of names: with so many no member
        // is left without one.
        for name in (0..50).map(|number| format!("name-{number}")) {
            // The other one of these claims is the same for all.
            let claim = if hash == "\"client_id\"" { "client_id" } else { "sub" };
            let token = issuer.token().scopes("orders:read").claim(claim, &*name).sign();
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..2 {
                let request = gateway.get("/o").bearer(&token).header("x-tenant", &name);
                seen.insert(request.send().await.text());
            }
            assert_eq!(seen.len(), 1, "{balance}: {name} at {seen:?}");
            homes.append(&mut seen);
        }
        assert_eq!(homes.len(), 3, "{balance}: all of them are used");
    }
}

#[tokio::test]
async fn members_take_turns() {
    let (a, b) = (answering_with("a").await, answering_with("b").await);
    let gateway = before(&[&a.url(), &b.url()], "balance = \"round_robin\"", PUBLIC).await;
    for _ in 0..10 {
        gateway.get("/p").send().await;
    }
    assert_eq!((a.count(), b.count()), (5, 5));
}

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_members() {
    let world = World::with(&[PUBLIC]).await;
    world.gateway.get("/p").send().await;
    let since = world.gateway.admin("/status").await.json()["upstreams"][0]["members"].clone();
    let text = std::fs::read_to_string(world.gateway.config()).unwrap();
    std::fs::write(world.gateway.config(), text.replace("realm = \"test\"", "realm = \"new\""))
        .unwrap();
    world.gateway.signal("HUP");
    world.gateway.logs("configuration taken up").await;
    let after = world.gateway.admin("/status").await.json()["upstreams"][0]["members"].clone();
    assert_eq!(since, after);
}

#[tokio::test]
async fn a_member_whose_health_check_fails_gets_no_requests_until_it_is_well_again() {
    let (a, b) = (answering_with("a").await, answering_with("b").await);
    let health = "health = { path = \"/healthz?x\", interval = \"20ms\", unhealthy_after = 2 }";
    let gateway = before(&[&a.url(), &b.url()], health, PUBLIC).await;
    let unwell = [("upstream", "api"), ("state", "unhealthy")];
    let becomes = async |count: f64| {
        eventually("a change of health", async || {
            (gateway.metric("scopegate_upstream_members", &unwell).await == count).then_some(())
        })
        .await;
    };
    a.answer(|seen| match seen.target.as_str() {
        "/healthz?x" => Reply::status(503),
        _ => Reply::status(200).body("a"),
    });
    becomes(1.0).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/p").bearer("a-token").send().await.text(), "b");
    }
    let checks = a.all();
    let check = checks.iter().find(|seen| seen.target == "/healthz?x").expect("a health check");
    assert_eq!(check.header("host"), Some(a.address().to_string().as_str()));
    assert!(check.header("user-agent").unwrap().contains("scopegate"));
    assert_eq!((check.method.as_str(), check.header("authorization")), ("GET", None));
    assert!(check.header("cookie").is_none() && check.header("x-request-id").is_none());
    assert!(
        gateway.metric("scopegate_upstream_health_checks_total", &[("outcome", "bad")]).await
            >= 1.0
    );

    // Where nobody is well they are tried all the same.
    b.answer(|seen| Reply::status(if seen.target == "/p" { 200 } else { 500 }));
    becomes(2.0).await;
    assert_eq!(gateway.get("/p").send().await.status, 200);

    a.answer(|_| Reply::status(200).body("a"));
    becomes(1.0).await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/p").send().await.text(), "a");
    }
}

#[tokio::test]
async fn a_member_that_takes_requests_and_never_answers_is_ejected() {
    let (stuck, good) = (RawBackend::start("", Then::Hang).await, Backend::start().await);
    let more = "eject = { failures = 2, for = \"1h\" }\ntimeouts = { header = \"200ms\" }";
    let gateway = before(&[&stuck.url(), &good.url()], more, PUBLIC).await;
    let ejected = [("upstream", "api"), ("state", "ejected")];
    eventually("the ejection", async || {
        gateway.get("/p").send().await;
        (gateway.metric("scopegate_upstream_members", &ejected).await == 1.0).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/p").send().await.status, 200);
    }
}

#[tokio::test]
async fn a_member_that_came_back_gets_its_share_slowly() {
    for (slow_start, least, most) in [("1h", 0, 25), ("0s", 50, 50)] {
        let (a, b) = (answering_with("a").await, answering_with("b").await);
        b.answer(|_| Reply::status(503));
        let more = format!(
            "balance = \"round_robin\"\nslow_start = \"{slow_start}\"\n\
             health = {{ path = \"/healthz\", interval = \"20ms\", healthy_after = 1 }}"
        );
        let gateway = before(&[&a.url(), &b.url()], &more, PUBLIC).await;
        let in_state = async |state: &str, wanted: f64| {
            let labels = [("upstream", "api"), ("state", state)];
            eventually("a change of health", async || {
                let count = gateway.metric("scopegate_upstream_members", &labels).await;
                (count == wanted).then_some(())
            })
            .await;
        };
        in_state("unhealthy", 1.0).await;
        b.answer(|_| Reply::status(200).body("b"));
        in_state("healthy", 2.0).await;
        let mut at_b = 0;
        for _ in 0..100 {
            at_b += usize::from(gateway.get("/p").send().await.text() == "b");
        }
        assert!((least..=most).contains(&at_b), "{slow_start}: {at_b} of 100");
    }
}
