//! `scopegate check` and what it says: every mistake at once, where it stands, what to write.

use crate::harness::gateway::{check, command};
use crate::harness::{Scratch, program};

const GOOD: &str = r#"
[[listeners]]
address = "127.0.0.1:0"

[authorization_servers.main]
issuer = "https://login.example.com"
audiences = ["https://api.example.com"]

[upstreams.orders]
endpoints = ["http://127.0.0.1:9000"]

[[routes]]
path = "/orders/{id}"
upstream = "orders"
access = { scopes = ["orders:read"] }
"#;

#[tokio::test]
async fn a_good_configuration_is_0() {
    let folder = Scratch::new();
    let (code, output) = check(&folder, GOOD).await;
    assert_eq!(code, 0, "{output}");
    assert!(!output.contains("\non:"), "all else is off: {output}");
}

/// What is off until it is configured is named where it is on.
#[tokio::test]
async fn what_is_switched_on_is_named() {
    let folder = Scratch::new();
    folder.write("secret", "s");
    let tables = r#"
[admin]
address = "127.0.0.1:0"
refusals = 100

[authorization_servers.main.introspection]
client_id = "gateway"
client_secret = { file = "secret" }
answer = "jwt"
[authorization_servers.main.dpop]
[authorization_servers.main.certificate_bound]
[authorization_servers.main.revocation]
path = "/revoke"
[authorization_servers.main.backchannel_logout]
path = "/logout"
client_ids = ["web"]

[clients.inner]
authorization_server = "main"
client_id = "gateway"
client_secret = { file = "secret" }
grant = "token_exchange"
audience = "https://inner.example.com"
refresh_tokens = true
authorization_details = [{ type = "a" }]

[signers.orders]
issuer = "https://gateway.example.com"
audience = "https://orders.internal"

[resources.orders]
resource = "https://api.example.com/orders"

[[routes]]
path = "/exchanged"
upstream = "orders"
access = { acr_values = ["mfa"], cel = "claims.level > 1", all = [{ pointer = "/a", has = ["b"] }] }
forward = { exchange = "inner" }

[[routes]]
path = "/signed"
upstream = "orders"
access = { scopes = ["orders:read"] }
forward = { signed = "orders" }
resource = "orders"
"#;
    let (code, output) = check(&folder, &format!("{GOOD}{tables}")).await;
    assert_eq!(code, 0, "{output}");
    let (_, on) = output.split_once("\non: ").expect(&output);
    for named in [
        "2 rules about claims",
        "step-up at 1 route",
        "DPoP (main)",
        "certificate-bound tokens (main)",
        "signed introspection answers (main)",
        "exchange of tokens (inner)",
        "refresh tokens (inner)",
        "authorization details (inner)",
        "signed identity (orders)",
        "resource metadata (orders)",
        "a revocation list of 100000",
        "revocation endpoint (main)",
        "back-channel logout (main)",
        "100 refusals kept to be explained",
    ] {
        assert!(on.contains(named), "{named} in {output}");
    }
}

#[tokio::test]
async fn every_mistake_is_told_in_one_go_with_its_place_and_the_line() {
    let text = GOOD
        .replace("[\"orders:read\"]", "[\"orders read\"]")
        .replace("issuer = ", "isuer = ")
        .replace("upstream = \"orders\"", "upstream = \"ordres\"")
        .replace("http://127.0.0.1:9000", "ftp://127.0.0.1:9000");
    let (code, output) = check(&Scratch::new(), &text).await;
    assert_eq!(code, 2, "{output}");
    for said in ["orders read", "isuer", "issuer", "ordres", "ftp://"] {
        assert!(output.contains(said), "{said} in {output}");
    }
    let place = |line: &str| {
        let number = text.lines().position(|found| found.contains(line)).unwrap() + 1;
        format!("checked.toml:{number}:")
    };
    for line in ["orders read", "isuer", "ordres", "ftp://"] {
        assert!(output.contains(&place(line)), "{} in {output}", place(line));
        let shown = text.lines().find(|found| found.contains(line)).unwrap();
        assert!(output.contains(shown), "the line itself, {shown:?}, in {output}");
    }
}

#[tokio::test]
async fn each_mistake_is_refused() {
    #[rustfmt::skip]
    let cases = [
        ("a route without access",        "access = { scopes = [\"orders:read\"] }\n", ""),
        ("an unknown key",                "path = \"/orders", "colour = 1\npath = \"/orders"),
        ("an issuer without TLS",         "https://login", "http://login"),
        ("an issuer with a query",        "example.com\"\naud", "example.com?a=b\"\naud"),
        ("an issuer with a fragment",     "example.com\"\naud", "example.com#a\"\naud"),
        ("the algorithm none",            "audiences", "algorithms = [\"none\"]\naudiences"),
        ("HS256 without a secret",        "audiences", "algorithms = [\"HS256\"]\naudiences"),
        ("a secret in the file",          "[upstreams.orders]", "[authorization_servers.main.introspection]\nclient_id = \"a\"\nclient_secret = \"s\"\n[upstreams.orders]"),
        ("a scope that is empty",         "[\"orders:read\"]", "[\"\"]"),
        ("a scope with a quote",          "[\"orders:read\"]", "['a\"b']"),
        ("a duration without a unit",     "audiences", "clock_skew = \"30\"\naudiences"),
        ("a listener without an address", "address = \"127.0.0.1:0\"", ""),
        ("a path without a slash",        "\"/orders/{id}\"", "\"orders/{id}\""),
        ("a rest that is not last",       "/orders/{id}", "/{*rest}/orders"),
        ("a method in small letters",     "upstream = \"orders\"\n", "upstream = \"orders\"\nmethods = [\"get \"]\n"),
        ("basic without an exchange",     "upstream = \"orders\"\n", "upstream = \"orders\"\naccept = [\"digest\"]\n"),
        ("no TOML at all",                "[[listeners]]", "[[listeners"),
    ];
    for (claim, from, to) in cases {
        assert!(GOOD.contains(from), "{claim}: the case is stale");
        let (code, output) = check(&Scratch::new(), &GOOD.replacen(from, to, 1)).await;
        assert_eq!(code, 2, "{claim}: {output}");
        assert!(output.contains("checked.toml:"), "{claim}: {output}");
    }
}

#[tokio::test]
async fn routes_that_tie_and_servers_with_one_issuer_are_mistakes() {
    let route =
        "\n[[routes]]\npath = \"/orders/{other}\"\nupstream = \"orders\"\naccess = \"public\"\n";
    let server = "\n[authorization_servers.twin]\nissuer = \"https://login.example.com\"\naudiences = [\"a\"]\n";
    for (claim, more) in [("routes", route), ("servers", server)] {
        let (code, output) = check(&Scratch::new(), &format!("{GOOD}{more}")).await;
        assert_eq!(code, 2, "{claim}: {output}");
    }
}

#[tokio::test]
async fn what_is_unwise_is_said_and_accepted() {
    let cases = [
        ("a token over a plain listener", "127.0.0.1:0", "0.0.0.0:8080"),
        ("a plain upstream elsewhere", "http://127.0.0.1:9000", "http://10.0.0.4:9000"),
        ("a long skew", "audiences", "clock_skew = \"10m\"\naudiences"),
    ];
    for (claim, from, to) in cases {
        let (code, output) = check(&Scratch::new(), &GOOD.replacen(from, to, 1)).await;
        assert_eq!(code, 0, "{claim}: {output}");
        assert!(output.to_lowercase().contains("warn"), "{claim}: {output}");
    }
}

#[tokio::test]
async fn a_folder_of_files_is_one_configuration() {
    let folder = Scratch::new();
    let (servers, routes) = GOOD.split_at(GOOD.find("[[routes]]").unwrap());
    folder.write("conf/a.toml", servers);
    folder.write("conf/b.toml", routes);
    let (status, output, errors) =
        program::run(command(&["check"]).arg(folder.path().join("conf"))).await;
    assert_eq!(status.code(), Some(0), "{output}\n{errors}");
}

#[tokio::test]
async fn usage_errors_are_2_and_help_has_an_example() {
    for arguments in
        [&["check"][..], &["fly"], &["run", "--config"], &["check", "/does/not/exist.toml"]]
    {
        let (status, output, errors) = program::run(&mut command(arguments)).await;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {output}{errors}");
    }
    for name in ["run", "check", "dev"] {
        let (status, output, _) = program::run(&mut command(&[name, "--help"])).await;
        assert_eq!(status.code(), Some(0));
        assert!(output.contains(&format!("scopegate {name}")), "{output}");
    }
}

#[tokio::test]
async fn the_configurations_that_we_ship_compile() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let scratch = Scratch::new();
            crate::shipped::make_what_it_names(&scratch, &text);
            let (code, output) = check(&scratch, &text).await;
            assert_eq!(code, 0, "{}: {output}", path.display());
        }
    }
}
