//! `scopegate check`.

use std::path::Path;
use std::process::ExitCode;

use super::{MISTAKE, NO, complain, online, say};
use crate::config::{self, AuthorizationServer, Config};
use crate::oauth::Plaintext;
use crate::policy::Access;

/// Checks the configuration at `path`, and with `is_online` what it points to as well.
pub(super) fn check(path: &Path, is_online: bool) -> ExitCode {
    let loaded = match config::load(path, Plaintext::Refused) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return ExitCode::from(MISTAKE);
        }
    };
    for warning in &loaded.warnings {
        complain(&format_args!("{warning}\n"));
    }
    if is_online && !reaches_all(&loaded.config) {
        return ExitCode::from(NO);
    }
    say(&summary(&loaded.config, loaded.warnings.len()));
    ExitCode::SUCCESS
}

/// One line per thing that the configuration points to, as each is known.
fn reaches_all(config: &Config) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let findings = match runtime {
        Ok(runtime) => runtime.block_on(online::findings(config)),
        Err(error) => {
            complain(&format!("the system gives no runtime: {error}"));
            return false;
        }
    };
    for finding in &findings {
        say(finding);
    }
    let failed = findings.iter().filter(|finding| finding.outcome.is_err()).count();
    if failed > 0 {
        complain(&format!("{failed} of {} failed", findings.len()));
    }
    failed == 0
}

fn summary(config: &Config, warnings: usize) -> String {
    let mut parts = vec![
        counted(config.routes.len(), "route"),
        counted(config.listeners.len(), "listener"),
        counted(config.servers.len(), "authorization server"),
        counted(config.clients.len(), "client"),
        counted(config.upstreams.len(), "upstream"),
        counted(warnings, "warning"),
    ];
    if !config.signers.is_empty() {
        parts.insert(parts.len() - 1, counted(config.signers.len(), "signer"));
    }
    let rules = config.routes.iter().map(rules).sum();
    if 0 < rules {
        parts.insert(1, counted(rules, "rule") + " about claims");
    }
    parts.extend(config.revocations.as_ref().map(|list| {
        let doors = |has: fn(&AuthorizationServer) -> bool| {
            config.servers.iter().filter(|server| has(server)).count()
        };
        let endpoints = counted(doors(|server| server.revocation.is_some()), "revocation endpoint");
        let logouts = counted(doors(|server| server.logout.is_some()), "logout endpoint");
        format!("a revocation list of {} with {endpoints} and {logouts}", list.entries)
    }));
    format!("ok: {}", parts.join(", "))
}

/// How many conditions, objects of `authorization_details` and expressions a route has.
fn rules(route: &config::Route) -> usize {
    match &route.access {
        Access::Token(requirement) => requirement.rules.as_ref().map_or(0, |rules| rules.count()),
        Access::Public => 0,
    }
}

fn counted(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_nothing_else_is() {
        let counts = [0, 1, 2].map(|number| counted(number, "route"));
        assert_eq!(counts, ["0 routes", "1 route", "2 routes"]);
    }
}
