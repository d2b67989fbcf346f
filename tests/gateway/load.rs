//! `scopegate load`: it counts what happened, keeps its bounds and its rate, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Notify;

use crate::harness::backend::Then;
use crate::harness::gateway::command;
use crate::harness::program::{self, Program};
use crate::harness::tls::Authority;
use crate::harness::world::ORDERS;
use crate::harness::{Backend, RawBackend, Reply, Scratch, TestIssuer, World};

/// Exit code, standard output, standard error.
type Ended = (i32, String, String);

/// Runs it against a URL.
async fn load(url: &str, more: &[&str]) -> Ended {
    let mut command = command(&["load", "--url", url]);
    let (status, output, errors) = program::run(command.args(more)).await;
    (status.code().unwrap_or(-1), output, errors)
}

/// The same, for its JSON.
async fn measured(url: &str, more: &[&str]) -> Value {
    let (code, output, errors) = load(url, &[more, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{output}\n{errors}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error} in: {output}"))
}

fn orders(world: &World) -> String {
    format!("{}/orders/1", world.gateway.url())
}

#[tokio::test]
async fn each_token_gets_its_answer_counted_and_requests_are_as_many_as_asked_for() {
    let world = World::orders().await;
    let tokens = [
        world.token(),
        world.issuer.token().scopes("profile").sign(),
        world.issuer.token().scopes("orders:read").ttl(-600).sign(),
    ];
    let folder = Scratch::new();
    let file = folder.write("tokens", tokens.join("\n") + "\n\n").display().to_string();
    let more = ["--tokens", &file, "--requests", "300", "--connections", "4", "--threads", "2"];
    let result = measured(&orders(&world), &more).await;
    // Two threads take turns from two places, so a kind may come once more or less than another.
    for status in ["200", "401", "403"] {
        let count = result["statuses"][status].as_u64().unwrap();
        assert!((98..=102).contains(&count), "{status}: {result}");
    }
    assert_eq!((&result["requests"], &result["errors"]["total"]), (&300.into(), &0.into()));
    assert!(world.upstream.all().iter().all(|seen| seen.header("authorization").is_some()));
    let (_, _, errors) = load(&orders(&world), &["--requests", "1", "--token", "a b"]).await;
    assert!(errors.contains("visible ASCII"), "{errors}");
}

#[tokio::test]
async fn without_a_token_the_gateway_refuses_and_that_is_a_result() {
    let world = World::orders().await;
    let more = ["--duration", "300ms", "--connections", "2", "--warm-up", "100ms"];
    let before = Instant::now();
    let result = measured(&orders(&world), &more).await;
    assert!(before.elapsed() < Duration::from_secs(5), "bounded by its duration");
    assert_eq!(result["statuses"]["401"], result["requests"]);
    let elapsed = result["elapsed_s"].as_f64().unwrap();
    assert!((0.3..1.0).contains(&elapsed), "warm-up does not count: {elapsed}");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn a_request_is_what_the_arguments_say() {
    let backend = Backend::start().await;
    let more = ["--requests", "2", "--body-size", "1KiB", "-H", "x-a: 1", "-H", "x-a: 2"];
    let result = measured(&format!("{}/a?b", backend.url()), &more).await;
    assert_eq!(result["statuses"]["200"], 2);
    let seen = backend.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.body.len()),
        ("POST", "/a?b", 1024)
    );
    assert_eq!((seen.all("x-a"), seen.header("authorization")), (vec!["1", "2"], None));
    let result = measured(&backend.url(), &["--requests", "1", "--method", "HEAD"]).await;
    assert_eq!(result["statuses"]["200"], 1, "an answer to HEAD ends with its head");
}

#[tokio::test]
async fn http2_over_tls_and_over_plaintext() {
    let authority = Authority::new();
    let world = World::built(TestIssuer::new(), "", |setup| {
        let server = authority.certify(&["127.0.0.1"]);
        setup.folder.write("tls.crt", &server.certificate);
        setup.folder.write("tls.key", &server.key);
        setup
            .listener("[listeners.tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"")
            .route(ORDERS)
    })
    .await;
    let url = format!("https://{}/orders/1", world.gateway.address());
    let ca = world.gateway.folder().write("ca.pem", authority.pem()).display().to_string();
    let token = world.token();
    let more = ["--http2", "--streams", "5", "--connections", "2", "--requests", "200"];
    let trusting = [&more[..], &["--token", &token, "--ca", &ca]].concat();
    assert_eq!(measured(&url, &trusting).await["statuses"]["200"], 200);
    let h1 = ["--requests", "10", "--insecure", "--token", &token];
    assert_eq!(measured(&url, &h1).await["statuses"]["200"], 10);
    let (code, _, errors) = load(&url, &more).await;
    assert!(code == 1 && errors.contains("--ca"), "nobody vouches for it: {code} {errors}");

    let plain = World::orders().await;
    let token = plain.token();
    let h2c = [&more[..], &["--token", &token]].concat();
    assert_eq!(measured(&orders(&plain), &h2c).await["statuses"]["200"], 200);
}

#[tokio::test]
async fn an_open_loop_charges_a_stall_to_all_that_waited() {
    let world = World::orders().await;
    let (gate, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let stall = Arc::clone(&gate);
    world.upstream.answer(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        20 => Reply::status(200).after(&stall),
        _ => Reply::status(200),
    });
    let (url, token) = (orders(&world), world.token());
    let more = ["--token", &token, "--rate", "100", "--duration", "1500ms", "--connections", "1"];
    let opened = async {
        world.upstream.reached(21).await;
        // This is the stall itself.
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.notify_one();
    };
    let (result, ()) = tokio::join!(measured(&url, &more), opened);
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert_eq!(number("/schedule/due"), 150.0, "the rate is kept: {result}");
    assert!(number("/latency_ms/max") >= 450.0, "{result}");
    // One request was slow for the target; fifty were to begin meanwhile.
    assert!(number("/latency_ms/p90") >= 150.0, "{result}");
    assert!(number("/schedule/late") >= 30.0, "{result}");
}

#[tokio::test]
async fn what_no_connection_was_free_for_is_told() {
    let hanging = RawBackend::start("", Then::Hang).await;
    let more = ["--rate", "100", "--duration", "300ms", "--connections", "1", "--timeout", "1s"];
    let (code, output, _) = load(&hanging.url(), &[&more[..], &["--json"]].concat()).await;
    let result: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &result["errors"]["timeout"]), (1, &1.into()), "{result}");
    assert_eq!(result["schedule"]["not_started"], 29);
    assert_eq!(result["latency_ms"], Value::Null);
}

#[tokio::test]
async fn only_a_whole_answer_is_an_answer() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    #[rustfmt::skip]
    let cases = [
        ("truncated", half,            Then::Close),
        ("closed",    "",              Then::Close),
        ("malformed", "SSH-2.0-x\r\n", Then::Continue),
        ("malformed", two,             Then::Continue),
        ("timeout",   half,            Then::Hang),
    ];
    for (name, bytes, then) in cases {
        let target = RawBackend::start(bytes, then).await;
        let more = ["--requests", "2", "--connections", "1", "--timeout", "300ms", "--json"];
        let (code, output, errors) = load(&target.url(), &more).await;
        let result: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(
            (&result["errors"][name], &result["answers"]),
            (&2.into(), &0.into()),
            "{result}"
        );
        assert!(code == 1 && errors.contains("no request was answered"), "{errors}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_with_its_answer_is_opened_again() {
    let bytes = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let target = RawBackend::start(bytes, Then::Close).await;
    let result = measured(&target.url(), &["--requests", "5", "--connections", "1"]).await;
    assert_eq!((&result["statuses"]["200"], &result["reconnects"]), (&5.into(), &4.into()));
    assert_eq!(result["errors"]["total"], 0);
}

#[tokio::test]
async fn expectations_decide_the_exit_code() {
    let backend = Backend::start().await;
    let run = async |expected: &str| {
        load(&backend.url(), &["--requests", "20", "--connections", "2", "--expect", expected])
            .await
    };
    let (code, _, errors) = run("p99<10s, status2xx>99.9%,errors<1").await;
    assert_eq!(code, 0, "{errors}");
    let (code, output, errors) = run("p99<10s,status5xx>0,max<1us").await;
    assert_eq!(code, 1);
    assert!(errors.contains("status5xx>0 does not hold: 0"), "{errors}");
    assert!(errors.contains("max<1us") && !errors.contains("p99"), "{errors}");
    assert!(output.contains("BROKEN"), "{output}");
    let (code, _, errors) = run("p99<5").await;
    assert!(code == 2 && errors.contains("compared with a duration"), "{errors}");
    assert_eq!(backend.count(), 40, "a mistake is told before anything is sent");
}

#[tokio::test]
async fn a_target_that_is_not_there_is_told_at_once() {
    let (code, output, errors) = load("http://127.0.0.1:1/", &[]).await;
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.contains("cannot be reached") && errors.contains("--url"), "{errors}");
    let (code, _, errors) = load("ftp://a/", &[]).await;
    assert!(code == 2 && errors.contains("http:// or https://"), "{errors}");
}

#[tokio::test]
async fn a_pipe_gets_plain_text_and_files_get_the_rest() {
    let backend = Backend::start().await;
    let folder = Scratch::new();
    let file = |name| folder.path().join(name).display().to_string();
    let (page, histogram) = (file("report.html"), file("latency.hgrm"));
    let more =
        ["--requests", "50", "--report", &page, "--histogram", &histogram, "--token", "s3cret"];
    let (code, output, errors) = load(&backend.url(), &more).await;
    assert_eq!(code, 0, "{errors}");
    assert!(output.contains("status 200") && output.contains("p99.9"), "{output}");
    let text = format!("{output}{errors}");
    assert!(!text.contains('\x1b') && !text.contains('\r') && !text.contains("s3cret"), "{text:?}");
    let page = std::fs::read_to_string(page).unwrap();
    for outside in ["src=", "href=", "url(", "@import", "<script", "<link", "s3cret"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<svg") && page.contains(&backend.url()));
    let histogram = std::fs::read_to_string(histogram).unwrap();
    assert!(histogram.contains("#[Max") && histogram.contains("Total count    =           50"));
}

#[tokio::test]
async fn ctrl_c_ends_a_run_with_its_results_so_far() {
    let backend = Backend::start().await;
    let mut running = Program::start(&mut command(&[
        "load",
        "--json",
        "--duration",
        "1h",
        "--connections",
        "2",
        "--rate",
        "200",
        "--url",
        &backend.url(),
    ]));
    backend.reached(20).await;
    running.signal("INT");
    assert!(running.end().await.success(), "{}", running.errors().text());
    let result: Value = serde_json::from_str(&running.output().text()).unwrap();
    assert_eq!(result["ended"], "interrupted");
    assert!(result["answers"].as_u64().unwrap() >= 20, "{result}");
}
