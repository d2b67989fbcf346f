//! The text of a configuration.
#![allow(clippy::expect_used, clippy::panic, reason = "a target stops at what must not be")]

use super::{Config, Forward, Grant, Problem, Severity, Source, parse};
use crate::oauth::Plaintext;
use crate::route::{RouteKey, Table};

/// Compiles it, and looks at what came of it: each number in it names something that is there,
/// or each problem can be shown.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/claims.toml");
    let sources = || vec![Source { path: path.into(), text: text.to_owned() }];
    match parse(sources(), Plaintext::Refused) {
        Ok(loaded) => {
            check_config(&loaded.config);
            let again = parse(sources(), Plaintext::Refused).expect("the second time, too");
            assert_eq!(again.config.digest, loaded.config.digest);
            let is_warning = |problem: &Problem| problem.severity() == Severity::Warning;
            assert!(loaded.warnings.iter().all(is_warning));
            loaded.warnings.iter().for_each(check_shown);
        }
        Err(problems) => {
            let is_error = |problem: &Problem| problem.severity() == Severity::Error;
            assert!(problems.iter().any(is_error), "refused, and nobody says why");
            problems.iter().for_each(check_shown);
            drop(problems.to_string());
        }
    }
}

fn check_config(config: &Config) {
    assert!(!config.listeners.is_empty() && config.workers > 0);
    let is_server = |index: &usize| *index < config.servers.len();
    for client in &config.clients {
        assert!(is_server(&client.server), "client {}", client.name);
        let actor = client.grant.actor().and_then(|actor| config.clients.get(actor));
        let is_own = actor.is_none_or(|actor| actor.grant == Grant::ClientCredentials);
        assert!(is_own, "client {}", client.name);
    }
    for route in &config.routes {
        assert!(route.upstream < config.upstreams.len(), "{}", route.name);
        assert!(route.servers.iter().all(is_server), "{}", route.name);
        for server in route.opaque_server.iter().chain(&route.basic_server) {
            assert!(route.servers.contains(server), "{}", route.name);
        }
        let grant = |index: usize| {
            let client = config.clients.get(index).expect("a forward names a client");
            client.grant.clone()
        };
        match route.forward {
            Forward::Token | Forward::None => {}
            Forward::Client(index) => assert_eq!(grant(index), Grant::ClientCredentials),
            Forward::Exchange(index) => assert!(matches!(grant(index), Grant::Exchange(_))),
            Forward::Signed(index) => assert!(index < config.signers.len()),
        }
    }
    let keys: Vec<_> = config
        .routes
        .iter()
        .map(|route| RouteKey { host: &route.host, path: &route.path, methods: &route.methods })
        .collect();
    Table::build(&keys).expect("two routes that tie are a problem");
}

fn check_shown(problem: &Problem) {
    let shown = format!("{problem} {} {} {}", problem.key(), problem.what(), problem.write());
    let is_safe = |character: char| character == '\n' || !character.is_control();
    assert!(shown.chars().all(is_safe), "a file that steers the terminal: {shown:?}");
    let Some(excerpt) = &problem.place().excerpt else { return };
    assert!(0 < excerpt.line && 0 < excerpt.column && !excerpt.caret.is_empty());
    assert!(excerpt.caret.start <= excerpt.text.chars().count(), "it points at nothing");
}
