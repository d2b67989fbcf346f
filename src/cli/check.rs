//! `scopegate check`.

use std::path::Path;
use std::process::ExitCode;

use super::{MISTAKE, NO, complain, online, say};
use crate::config::{self, AuthorizationServer, Client, Config, Grant, IntrospectionAnswer};
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
    let parts = [
        counted(config.routes.len(), "route"),
        counted(config.listeners.len(), "listener"),
        counted(config.servers.len(), "authorization server"),
        counted(config.clients.len(), "client"),
        counted(config.upstreams.len(), "upstream"),
        counted(warnings, "warning"),
    ];
    let mut summary = format!("ok: {}", parts.join(", "));
    let on = switched_on(config);
    if !on.is_empty() {
        summary.push_str("\non: ");
        summary.push_str(&on.join(", "));
    }
    summary
}

/// What is off in a configuration that does not ask for it, and on in this one.
fn switched_on(config: &Config) -> Vec<String> {
    let servers = |has: fn(&AuthorizationServer) -> bool, what: &str| {
        let named = config.servers.iter().filter(|server| has(server)).map(|server| &*server.name);
        listed(what, named.collect())
    };
    let clients = |has: fn(&Client) -> bool, what: &str| {
        let named = config.clients.iter().filter(|client| has(client)).map(|client| &*client.name);
        listed(what, named.collect())
    };
    let signers = config.signers.iter().map(|signer| &*signer.name).collect();
    let resources = config.resources.iter().map(|resource| &*resource.name).collect();
    let signs = |server: &AuthorizationServer| {
        server.introspection.as_ref().is_some_and(|one| one.answer == IntrospectionAnswer::Jwt)
    };
    let rules = config.routes.iter().map(rules).sum();
    let step_ups = config.routes.iter().filter(|route| has_step_up(route)).count();
    let kept = config.admin.as_ref().map_or(0, |admin| admin.refusals);
    let list = config.revocations.as_ref();
    let lines = [
        (0 < rules).then(|| counted(rules, "rule") + " about claims"),
        (0 < step_ups).then(|| format!("step-up at {}", counted(step_ups, "route"))),
        servers(|server| server.dpop.is_some(), "DPoP"),
        servers(|server| server.certificate_bound.is_some(), "certificate-bound tokens"),
        servers(signs, "signed introspection answers"),
        clients(|client| matches!(client.grant, Grant::Exchange(_)), "exchange of tokens"),
        clients(|client| client.refresh_tokens, "refresh tokens"),
        clients(|client| !client.authorization_details.is_empty(), "authorization details"),
        listed("signed identity", signers),
        listed("resource metadata", resources),
        list.map(|list| format!("a revocation list of {}", list.entries)),
        servers(|server| server.revocation.is_some(), "revocation endpoint"),
        servers(|server| server.logout.is_some(), "back-channel logout"),
        (0 < kept).then(|| format!("{kept} refusals kept to be explained")),
    ];
    lines.into_iter().flatten().collect()
}

/// `what (a, b)`; nothing where nobody has it.
fn listed(what: &str, names: Vec<&str>) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what} ({})", names.join(", ")))
}

/// How many conditions, objects of `authorization_details` and expressions a route has.
fn rules(route: &config::Route) -> usize {
    match &route.access {
        Access::Token(requirement) => requirement.rules.as_ref().map_or(0, |rules| rules.count()),
        Access::Public => 0,
    }
}

/// Whether a route asks how its user logged in (RFC 9470).
const fn has_step_up(route: &config::Route) -> bool {
    match &route.access {
        Access::Token(requirement) => requirement.authentication.is_some(),
        Access::Public => false,
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
