//! The floors: a module imports only from modules that stand above it in `src/lib.rs`, and from
//! its own. So there are no circles, and a file can be read with what is above it.

use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules of `src/lib.rs`, ground floor first.
fn floors() -> Vec<String> {
    let text = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("pub mod "));
    lines.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// Every Rust file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
            false => Vec::new(),
        })
        .collect()
}

/// The modules that a text names after `crate::`, and the lines where it does. Braces after it are
/// opened: `use crate::{base, oauth::Scope}` names two.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = &text[line_start..at];
        if before.trim_start().starts_with("//") || before.ends_with('$') {
            continue;
        }
        let number = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_names(group).into_iter().map(|name| (number, name)));
        } else {
            found.push((number, first_word(rest)));
        }
    }
    found
}

/// The first word of each item at the top of a brace group.
fn group_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut at_start) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            other if at_start && !other.is_whitespace() => {
                names.push(first_word(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn a_module_imports_only_from_floors_below() {
    let floors = floors();
    assert!(floors.len() > 10, "{floors:?}");
    let mut climbs = Vec::new();
    for (floor, module) in floors.iter().enumerate() {
        let folder = source().join(module);
        for path in files(&folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            for (line, name) in imports(&text) {
                match floors.iter().position(|other| *other == name) {
                    Some(other) if other <= floor => {}
                    _ => climbs
                        .push(format!("{}:{line}: {module} uses crate::{name}", path.display())),
                }
            }
        }
    }
    assert!(climbs.is_empty(), "{climbs:#?}");
}

#[test]
fn every_folder_of_src_is_a_module_of_the_map() {
    let floors = floors();
    for entry in std::fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let known = ["lib", "main"].contains(&name.as_str()) || floors.contains(&name);
        assert!(known, "{} is not in src/lib.rs", path.display());
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::base::time;\nuse crate::{oauth::{A, B}, reject};\n// crate::server\nlet x = crate::policy::f();\n";
    let found: Vec<_> =
        imports(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(found, ["1 base", "2 oauth", "2 reject", "4 policy"]);
}
