//! `tests/README.md` ticks the checklist off: every test that it names exists, and no line is left
//! without a test or a reason.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("tests/README.md")).unwrap()
}

/// The names of tests in a line: what stands in backticks and has `::` in it.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|text| text.contains("::"))
}

/// The file and the function of a test: `jwt::f` stands in tests/gateway, `src: verify/jwt::f` in
/// src, `bounds: endless::f` in tests/bounds.
fn place(name: &str) -> Option<(PathBuf, &str)> {
    let (folder, rest) = match name.split_once(": ") {
        None => ("tests/gateway".to_owned(), name),
        Some(("src", rest)) => ("src".to_owned(), rest),
        Some((room, rest)) => (format!("tests/{room}"), rest),
    };
    let (module, function) = rest.split_once("::")?;
    Some((root().join(folder).join(format!("{module}.rs")), function))
}

/// Whether the test exists.
fn is_there(name: &str) -> bool {
    let Some((path, function)) = place(name) else { return false };
    let Ok(source) = std::fs::read_to_string(path) else { return false };
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let is_test = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let named = format!("fn {function}(");
        if is_test && lines.find(|line| line.contains("fn ")).is_some_and(|f| f.contains(&named)) {
            return true;
        }
    }
    false
}

#[test]
fn every_test_that_the_checklist_names_exists() {
    let text = readme();
    let all: Vec<_> = text.lines().flat_map(names).collect();
    let lost: Vec<_> = all.iter().filter(|name| !is_there(name)).collect();
    assert!(lost.is_empty(), "{} of {} are not there: {lost:#?}", lost.len(), all.len());
    assert!(all.len() > 300, "{} names: are they still read?", all.len());
}

#[test]
fn no_line_of_the_checklist_is_without_a_test_or_a_reason() {
    let text = readme();
    let (_, checklist) = text.split_once("\n## 1 ").expect("the first section");
    let mut count = 0;
    for line in checklist.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        let proof = cells[2];
        let has_reason = REASONS.iter().any(|reason| proof.starts_with(reason));
        let is_head = proof == "shown by";
        assert!(is_head || has_reason || names(proof).next().is_some(), "nothing shows: {line}");
        count += usize::from(!is_head);
    }
    assert!(count > 200, "{count} lines: are they still read?");
}

#[test]
fn a_name_that_is_wrong_anywhere_is_noticed() {
    for (name, expected) in [
        ("jwt::every_asymmetric_algorithm_is_accepted", true),
        ("src: verify/jwt::length_comes_before_everything", true),
        ("bounds: endless::bodies_of_many_gibibytes_pass_at_constant_memory", true),
        ("jwt::every_asymmetric_algorithm_is", false),
        ("jwt::refused", false),
        ("keys::every_asymmetric_algorithm_is_accepted", false),
        ("nowhere::every_asymmetric_algorithm_is_accepted", false),
        ("src: jwt::length_comes_before_everything", false),
        ("jwt", false),
    ] {
        assert_eq!(is_there(name), expected, "{name}");
    }
    let found: Vec<_> = names("| a `b` | `jwt::c`, `src: d/e::f` |").collect();
    assert_eq!(found, ["jwt::c", "src: d/e::f"]);
}

/// How a line begins that no test shows.
const REASONS: [&str; 3] = ["Not built:", "Instead:", "Does not apply:"];
