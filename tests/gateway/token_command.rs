//! `scopegate token`: a client-credentials exchange by hand (RFC 6749 §4.4), and what it gave.

use serde_json::json;

use crate::harness::gateway::command;
use crate::harness::program::run;
use crate::harness::world::{Setup, client};
use crate::harness::{AuthServer, Backend};

/// Exit code, standard output and standard error.
async fn asked(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    let config = setup.folder.write("gateway.toml", setup.text());
    let mut command = command(&["token", "--config"]);
    let (status, output, errors) = run(command.arg(config).args(arguments)).await;
    (status.code().unwrap(), output, errors)
}

fn partial(name: &str, id: &str, partial: &str) -> String {
    let more = format!("partial_scopes = \"{partial}\"");
    client(name, id, "orders:read orders:write", &more)
}

#[tokio::test]
async fn a_token_is_printed_alone_and_what_is_missing_beside_it() {
    let server = AuthServer::start().await;
    let setup = Setup::new()
        .server("main", &server, "")
        .secret("reports", "reports-secret")
        .secret("strict", "limited-secret")
        .secret("lenient", "limited-secret")
        .secret("wrong", "wrong")
        .table(&partial("reports", "reports", "refuse"))
        .table(&partial("strict", "limited", "refuse"))
        .table(&partial("lenient", "limited", "allow"))
        .table(&partial("wrong", "reports", "refuse"))
        .upstream("api", "http://127.0.0.1:1", "")
        .route(r#"path = "/x", access = "public""#);
    #[rustfmt::skip]
    let cases: [(&[&str], i32, bool, &str); 7] = [
        (&["--client", "reports"],                           0, true,  "missing:   none"),
        (&["--client", "reports", "--scope", "orders:read"], 0, true,  "asked for: orders:read\n"),
        (&["--client", "lenient"],                           0, true,  "missing:   orders:write"),
        (&["--client", "strict"],                            1, true,  "partial_scopes"),
        (&["--client", "wrong"],                             1, false, "invalid_client"),
        (&["--client", "report"],                            2, false, "there are: "),
        (&["--client", "reports", "--scope", "a b"],         2, false, "--scope"),
    ];
    for (arguments, expected, is_given, text) in cases {
        let (code, output, errors) = asked(&setup, arguments).await;
        assert_eq!(code, expected, "{arguments:?}\n{output}\n{errors}");
        let words = output.split_whitespace().count();
        assert_eq!(words, usize::from(is_given), "the token alone: {output}");
        assert!(errors.contains(text), "{text:?} in:\n{errors}");
        assert!(!errors.contains("eyJ") && !errors.contains("-secret"), "{errors}");
    }
    server.fault("token", json!({ "status": 500 })).await;
    let (code, output, errors) = asked(&setup, &["--client", "reports"]).await;
    assert_eq!((code, &*output), (2, ""), "{errors}");
    assert!(errors.contains("cannot be asked"), "{errors}");
}

#[tokio::test]
async fn the_printed_token_opens_the_route() {
    let (server, upstream) = (AuthServer::start().await, Backend::start().await);
    let gateway = Setup::new()
        .server("main", &server, "")
        .secret("reports", "reports-secret")
        .table(&partial("reports", "reports", "refuse"))
        .upstream("api", &upstream.url(), "")
        .route(r#"path = "/{*rest}", access = { scopes = ["orders:read"] }"#)
        .start()
        .await;
    let config = gateway.config().to_str().unwrap();
    let mut command = command(&["token", "--config", config, "--client", "reports"]);
    let (_, token, errors) = run(&mut command).await;
    let answer = gateway.get("/nothing").bearer(token.trim()).send().await;
    assert_eq!(answer.status, 200, "{errors}\n{}", answer.text());
}
