//! `scopegate load`: where tokens come from, and the self-test.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::harness::gateway::command;
use crate::harness::issuer::{AUDIENCE, ISSUER};
use crate::harness::program::{self, Program};
use crate::harness::world::ORDERS;
use crate::harness::{
    AuthServer, Backend, Scratch, Setup, SigningKey, TestIssuer, World, eventually,
};

/// The rows of a self-test, by name.
fn rows(report: &Value) -> BTreeMap<String, Value> {
    let rows = report["rows"].as_array().expect("rows");
    rows.iter().map(|row| (row["row"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// Runs a command to its end and reads the JSON that it prints.
async fn json_of(command: &mut Command) -> (i32, Value, String) {
    let (status, output, errors) = program::run(command).await;
    let report = serde_json::from_str(&output)
        .unwrap_or_else(|error| panic!("{error} in {output}\n{errors}"));
    (status.code().unwrap_or(-1), report, errors)
}

const SHORT_SELF_TEST: [&str; 9] = [
    "load",
    "--self-test",
    "--distinct-tokens",
    "40",
    "--duration",
    "300ms",
    "--connections",
    "4",
    "--json",
];

#[tokio::test]
async fn a_self_test_has_six_rows_with_the_right_statuses_and_calls() {
    let mut command = command(&SHORT_SELF_TEST);
    let (code, report, errors) = json_of(command.args(["--algorithm", "ES256"])).await;
    assert_eq!(code, 0, "{report:#}\n{errors}");
    assert_eq!(report["passed"], true);
    assert_eq!(report["algorithm"], "ES256");
    let rows = rows(&report);
    let names: Vec<_> = rows.keys().map(String::as_str).collect();
    let expected =
        ["cold_jwt", "cold_opaque", "pass_through", "refused", "warm_jwt", "warm_opaque"];
    assert_eq!(names, expected);
    for (name, row) in &rows {
        let status = if name == "refused" { "403" } else { "200" };
        let statuses: Vec<_> = row["statuses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, [status], "{name}: {row}");
        assert_eq!(row["errors"]["total"], 0, "{name}: {row}");
        let asked = if name == "cold_opaque" { row["requests"].clone() } else { 0.into() };
        assert_eq!(row["introspection_calls"], asked, "{name}: {row}");
        let latency = &row["latency_ms"];
        assert!(latency["p50"].as_f64() <= latency["p99"].as_f64(), "{name}: {row}");
        #[cfg(target_os = "linux")]
        assert!(row["gateway_cpu_us_per_request"].as_f64().unwrap() > 0.0, "{name}: {row}");
    }
    for cold in ["cold_jwt", "cold_opaque"] {
        assert_eq!(rows[cold]["requests"], 40, "each token once");
    }
    assert!(rows["warm_opaque"]["requests"].as_u64() > Some(40), "tokens come again");
}

#[tokio::test]
async fn a_self_test_that_is_ended_leaves_no_process_and_no_folder() {
    let home = Scratch::new();
    let mut program = Program::start(
        command(&["load", "--self-test", "--distinct-tokens", "10", "--duration", "60s"])
            .args(["--algorithm", "ES256"])
            .env("TMPDIR", home.path()),
    );
    let folders = || std::fs::read_dir(home.path()).unwrap().count();
    let gateways = || processes_with(&home.path().display().to_string());
    let is_running = || folders() > 0 && (gateways() > 0 || !cfg!(target_os = "linux"));
    eventually("the gateway", async || is_running().then_some(())).await;
    program.signal("INT");
    assert_eq!(program.end().await.code(), Some(1));
    assert_eq!((folders(), gateways()), (0, 0), "{}", program.errors().text());
}

/// How many processes have this text on their command line; none where the system does not tell.
fn processes_with(text: &str) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let lines = processes.filter_map(|one| std::fs::read(one.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// A key in a file that an issuer of tests trusts.
fn key_file(folder: &Scratch, key: &SigningKey) -> String {
    folder.write("mint.pem", key.pkcs8_pem()).display().to_string()
}

/// A load against `url` that ends after so many requests.
fn load(url: &str, requests: u32) -> Command {
    let requests = requests.to_string();
    let mut command = command(&["load", "--url", url, "--connections", "2", "--json"]);
    command.args(["--requests", &requests]);
    command
}

fn statuses(report: &Value) -> BTreeMap<String, u64> {
    let statuses = report["statuses"].as_object().unwrap_or_else(|| panic!("{report:#}"));
    statuses.iter().map(|(status, count)| (status.clone(), count.as_u64().unwrap())).collect()
}

/// Mints against a key that the usual issuer trusts, for what the usual route asks.
fn minting(mut load: Command, key: &SigningKey, folder: &Scratch, more: &[&str]) -> Command {
    load.args(["--mint", &key_file(folder, key), "--issuer", ISSUER, "--audience", AUDIENCE]);
    load.args(["--scope", "orders:read", "--kid", &key.id]).args(more);
    load
}

#[tokio::test]
async fn each_kind_gets_the_status_that_it_is_made_for() {
    let (world, folder) = (World::orders().await, Scratch::new());
    let url = format!("{}/orders/1", world.gateway.url());
    for (kind, status) in [
        ("good", "200"),
        ("expired", "401"),
        ("scope", "403"),
        ("audience", "401"),
        ("issuer", "401"),
        ("signature", "401"),
        ("garbage", "401"),
        ("none", "401"),
    ] {
        let mix = format!("{kind}=1");
        let more = ["--mix", &mix, "--distinct-tokens", "3"];
        let mut command = minting(load(&url, 6), &world.issuer.keys[0], &folder, &more);
        let (_, report, errors) = json_of(&mut command).await;
        assert_eq!(statuses(&report), [(status.to_owned(), 6)].into(), "{kind}: {errors}");
    }
    assert_eq!(world.upstream.count(), 6, "only good ones reach the upstream");
}

#[tokio::test]
async fn a_key_of_each_type_mints_tokens_that_are_good() {
    let algorithms = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"];
    let (issuer, folder) = (TestIssuer::named(ISSUER, &algorithms), Scratch::new());
    let route = |setup: Setup| setup.route(ORDERS);
    let world = World::built(issuer, "", route).await;
    let url = format!("{}/orders/1", world.gateway.url());
    for key in &world.issuer.keys {
        let more = ["--algorithm", key.algorithm];
        let mut command = minting(load(&url, 2), key, &folder, &more);
        let (_, report, errors) = json_of(&mut command).await;
        assert_eq!(
            statuses(&report),
            [("200".to_owned(), 2)].into(),
            "{}: {errors}",
            key.algorithm
        );
    }
}

#[tokio::test]
async fn tokens_by_client_credentials_from_a_real_server_are_good() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .upstream("api", &upstream.url(), "")
        .route(ORDERS)
        .start()
        .await;
    let endpoint = format!("{}/token", server.issuer);
    let fetching = |secret: &str| {
        let mut command = load(&format!("{}/orders/1", gateway.url()), 8);
        command.args(["--client-credentials", "--token-endpoint", &endpoint]);
        command.args(["--token-ca", &server.ca(), "--client-id", "reports"]);
        command.args(["--client-secret", "env:TEST_SECRET", "--scope", "orders:read"]);
        command.args(["--distinct-tokens", "4"]).env("TEST_SECRET", secret);
        command
    };
    let (_, report, errors) = json_of(&mut fetching("reports-secret")).await;
    assert_eq!(statuses(&report), [("200".to_owned(), 8)].into(), "{errors}");
    assert_eq!(server.count("token").await, 4, "one call for each distinct token");
    let (status, output, errors) = program::run(&mut fetching("wrong")).await;
    assert_eq!((status.code(), output.as_str()), (Some(2), ""));
    assert!(errors.contains("invalid_client") && errors.contains("--client-secret"), "{errors}");
}

#[tokio::test]
async fn what_does_not_fit_together_is_told_with_what_to_write() {
    let folder = Scratch::new();
    let ec = folder.write("ec.pem", SigningKey::new("ES256", "a").pkcs8_pem());
    let ec = ec.display().to_string();
    let mint = ["--mint", &ec, "--issuer", ISSUER, "--audience", AUDIENCE];
    #[rustfmt::skip]
    let cases: [(&[&str], &str); 6] = [
        (&["--mint", &ec],                                "--issuer"),
        (&[&mint[..], &["--algorithm", "RS256"]].concat(), "leave --algorithm out"),
        (&["--mix", "good=1,expired=1", "--token", "a"],  "--mint"),
        (&["--mix", "good=1,bad=1"],                      "the kinds are good"),
        (&["--client-credentials", "--client-id", "a"],   "--token-endpoint"),
        (&["--client-secret", "hunter2"],                 "env:NAME"),
    ];
    for (arguments, expected) in cases {
        let mut command = load("http://127.0.0.1:1/", 1);
        let (status, _, errors) = program::run(command.args(arguments)).await;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[tokio::test]
async fn a_mix_gets_each_status_in_its_proportion() {
    let (world, folder) = (World::orders().await, Scratch::new());
    let load = load(&format!("{}/orders/1", world.gateway.url()), 200);
    let more = ["--distinct-tokens", "20", "--mix", "good=80,expired=10,scope=10"];
    let mut command = minting(load, &world.issuer.keys[0], &folder, &more);
    let (_, report, errors) = json_of(&mut command).await;
    let expected = [("200", 160), ("401", 20), ("403", 20)];
    let expected = expected.map(|(status, count)| (status.to_owned(), count)).into();
    assert_eq!(statuses(&report), expected, "{report:#}\n{errors}");
}
