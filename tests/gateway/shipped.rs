//! What `deploy/` ships: its configuration compiles, and its numbers fit each other.

use std::path::Path;

use crate::harness::gateway::check;
use crate::harness::tls::Authority;
use crate::harness::{Scratch, SigningKey};

/// Makes the files that a configuration names, below `folder`: certificates, keys, key sets, secrets.
pub fn make_what_it_names(folder: &Scratch, text: &str) {
    let (authority, identity) = (Authority::new(), SigningKey::new("ES256", "1"));
    let server = authority.certify(&["api.test"]);
    for name in quoted(text) {
        let Some(extension) = Path::new(name).extension().and_then(|found| found.to_str()) else {
            if text.contains(&format!("file = \"{name}\"")) {
                folder.write(name, "a-secret-of-thirty-two-bytes-or-more");
            }
            continue;
        };
        match extension {
            "crt" => drop(folder.write(name, &server.certificate)),
            "key" => drop(folder.write(name, &server.key)),
            "pem" if name.contains("key") => drop(folder.write(name, identity.pkcs8_pem())),
            "pem" => drop(folder.write(name, authority.pem())),
            "json" => {
                let jwks = serde_json::json!({ "keys": [identity.jwk()] });
                drop(folder.write(name, jwks.to_string()));
            }
            _ => {}
        }
    }
}

/// Everything between double quotes that is a relative path.
fn quoted(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let values = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    values
        .filter(|value| !value.contains("://") && !value.starts_with('/') && !value.is_empty())
        .collect()
}

fn deploy(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The block of text that stands under `key: |` in a YAML file, without its indent.
fn block(yaml: &str, key: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != format!("{key}: |"));
    lines.next().expect("the key");
    let lines: Vec<_> = lines.collect();
    let indent = lines[0].len() - lines[0].trim_start().len();
    let inside = lines
        .iter()
        .take_while(|line| line.trim().is_empty() || line.starts_with(&" ".repeat(indent)));
    inside.map(|line| line.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_config_map_compiles() {
    let text = block(&deploy("kubernetes/sidecar.yaml"), "scopegate.toml");
    let folder = Scratch::new();
    let base = folder.path().display().to_string();
    let text = text.replace("/etc/scopegate/", &format!("{base}/"));
    for file in ["gateway-secret", "reports-secret"] {
        folder.write(&format!("secrets/{file}"), "secret");
    }
    let authority = Authority::new();
    let server = authority.certify(&["api.example.com"]);
    folder.write("tls/tls.crt", &server.certificate);
    folder.write("tls/tls.key", &server.key);
    let (code, output) = check(&folder, &text).await;
    assert_eq!(code, 0, "{output}\n{text}");
}

#[test]
fn kubernetes_waits_for_the_whole_drain() {
    let yaml = deploy("kubernetes/sidecar.yaml");
    let text = block(&yaml, "scopegate.toml");
    let seconds = |key: &str| -> u64 {
        let drain = text.split("[drain]").nth(1).expect("[drain]");
        let line = drain.lines().find(|line| line.starts_with(key)).expect(key);
        line.split('"').nth(1).unwrap().trim_end_matches('s').parse().unwrap()
    };
    let grace = yaml.split("terminationGracePeriodSeconds:").nth(1).unwrap();
    let grace: u64 = grace.lines().next().unwrap().trim().parse().unwrap();
    assert!(grace > seconds("delay") + seconds("timeout"), "{grace} s cut requests off");
}
