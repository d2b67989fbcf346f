//! The files in `config/` compile, and its reference has every key that the reader asks for.

use std::collections::BTreeSet;
use std::path::Path;

use super::Folder;
use crate::config::context::Context;
use crate::config::load::walk;
use crate::config::{Problems, Severity, parse};
use crate::oauth::Plaintext;

const REFERENCE: &str = include_str!("../../../config/scopegate.toml");

/// Every file that the configurations in `config/` name.
fn folder() -> Folder {
    let folder = Folder::new();
    let (certificate, key) = super::pair();
    for name in ["gateway", "reports", "legacy", "admin", "dpop", "hydra", "zitadel", "oclc"] {
        folder.write(&format!("secrets/{name}"), &"s".repeat(64));
    }
    for name in ["tls.crt", "clients.pem", "login-ca.pem", "orders-ca.pem", "gateway.crt"] {
        folder.write(&format!("tls/{name}"), &certificate);
    }
    for name in ["tls/tls.key", "tls/gateway.key", "keys/client.pem", "keys/identity.pem"] {
        folder.write(name, &key);
    }
    let (other, other_key) = super::pair_of("other.example.com");
    folder.write("tls/other.crt", &other);
    folder.write("tls/other.key", &other_key);
    folder.write("keys/legacy.json", r#"{ "keys": [{ "kty": "RSA" }] }"#);
    folder
}

/// Names a variable that every process has, in place of those that an operator sets.
fn with_environment(text: &str) -> String {
    let pieces = text.split("{ env = \"");
    let rest = pieces.map(|piece| piece.split_once("\" }").unwrap_or(("", piece)));
    let texts: Vec<String> = rest
        .enumerate()
        .map(|(index, (_, after))| match index {
            0 => text.split("{ env = \"").next().unwrap().to_owned(),
            _ => format!("{{ env = \"PATH\" }}{after}"),
        })
        .collect();
    texts.concat()
}

fn switched_on(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect()
}

fn asked_and_seen(text: &str) -> Result<(Vec<String>, BTreeSet<&'static str>), Problems> {
    let folder = folder();
    let mut unseen = Vec::new();
    let mut words = BTreeSet::new();
    let then = |context: &Context| {
        let keys = context.keys.borrow();
        unseen = keys.asked.difference(&keys.seen).cloned().collect();
        words.clone_from(&keys.words);
        assert!(keys.asked.len() > 100, "the reader says what it asks for");
    };
    walk(vec![folder.source("scopegate.toml", text)], Plaintext::Refused, then)?;
    Ok((unseen, words))
}

#[test]
fn every_configuration_compiles() {
    let folder = folder();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in std::fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue; // presets, below
        }
        let text = with_environment(&std::fs::read_to_string(&path).unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        let outcome = parse(vec![folder.source(name, &text)], Plaintext::Refused);
        assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
        count += 1;
    }
    assert!(count >= 6);
}

/// As it stands in a folder beside a configuration, and with its routes.
#[test]
fn every_preset_compiles_beside_a_configuration() {
    let folder = folder();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers");
    // Its route takes tokens of its own server alone: opaque ones of two could not be told apart.
    let base = format!("{}authorization_servers = [\"main\"]\n", super::BASE);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        // The base has this path already.
        let routes = switched_on(&text).replace("path = \"/", "path = \"/preset/");
        for text in [text, routes] {
            let sources = [("preset.toml", text.as_str()), ("x.toml", base.as_str())];
            let sources = sources.map(|(name, text)| folder.source(name, text));
            let outcome = parse(sources.into(), Plaintext::Refused);
            let told = outcome.err().map(|problems| problems.to_string()).unwrap_or_default();
            assert_eq!(told, "", "{name}");
        }
        names.push(name);
    }
    names.sort_unstable();
    let all = "auth0 cognito entra google hydra keycloak oclc okta zitadel";
    assert_eq!(names.join(" "), all);
}

#[test]
fn the_reference_is_complete() {
    let text = with_environment(&switched_on(REFERENCE));
    let (unseen, words) = asked_and_seen(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(unseen, Vec::<String>::new(), "config/scopegate.toml lacks these");
    let unsaid: Vec<_> =
        words.into_iter().filter(|word| !text.contains(&format!("\"{word}\""))).collect();
    assert_eq!(unsaid, Vec::<&str>::new(), "config/scopegate.toml does not show these values");
}

#[test]
fn a_key_that_is_taken_out_of_the_reference_is_missed() {
    let text = with_environment(&switched_on(REFERENCE));
    for line in ["body_max = ", "client_key_id = ", "server_name = ", "cooldown = "] {
        let without: String = text
            .lines()
            .filter(|one| !one.starts_with(line))
            .map(|one| format!("{one}\n"))
            .collect();
        let (unseen, _) = asked_and_seen(&without).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!unseen.is_empty(), "{line}");
    }
}

#[test]
fn whatever_is_cut_out_of_a_file_a_refusal_says_why() {
    let folder = folder();
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let says_something = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let told = (0..lines.len()).filter(|index| lines.get(*index).is_some_and(says_something));
    let without_line = told.map(|out| {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != out);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    });
    let ends = (0..REFERENCE.len()).step_by(293).filter_map(|end| REFERENCE.get(..end));
    let gaps = (0..REFERENCE.len()).step_by(271).filter_map(|start| {
        Some(format!("{}{}", REFERENCE.get(..start)?, REFERENCE.get(start + 7..)?))
    });
    for text in without_line.chain(ends.map(str::to_owned)).chain(gaps) {
        let Err(problems) = parse(vec![folder.source("x.toml", &text)], Plaintext::Refused) else {
            continue;
        };
        let says_why = problems.iter().any(|one| one.severity() == Severity::Error);
        assert!(says_why && !problems.to_string().is_empty(), "{text}");
    }
}
