//! `scopegate dev`: its curl lines work as printed, with the status that it promises.

use std::process::Command;

use crate::harness::gateway::command;
use crate::harness::program::{self, Program};
use crate::harness::{Scratch, eventually};

/// The curl lines of an output, each with the status that is promised around it.
fn curl_lines(output: &str) -> Vec<(String, Option<u16>)> {
    let (mut found, mut said): (Vec<(String, Option<u16>)>, _) = (Vec::new(), None);
    let joined = output.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        let line = line.trim_start_matches("$ ");
        if line.contains("curl ") && !line.starts_with('#') {
            let promised =
                line.split_once(" # ").and_then(|(_, comment)| status(comment)).or(said.take());
            found.push((line.to_owned(), promised));
        } else if let Some(status) = status(line) {
            said = Some(status);
        }
    }
    found
}

/// The first number in a text that is a status code.
fn status(text: &str) -> Option<u16> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok())
        .find(|code| (200..600).contains(code))
}

#[tokio::test]
async fn the_printed_curl_lines_work_as_printed() {
    let mut dev = Program::start(&mut command(&["dev"]));
    let lines = eventually("the curl lines", async || {
        if let Some(status) = dev.ended() {
            panic!("dev ended with {status}:\n{}\n{}", dev.output().text(), dev.errors().text());
        }
        let before = dev.output().text();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let after = dev.output().text();
        let lines = curl_lines(&after);
        (before == after && lines.len() >= 3).then_some(lines)
    })
    .await;
    let home = Scratch::new();
    home.write(".curlrc", "silent\nwrite-out = \"%{stderr}%{http_code}\\n\"\n");
    let mut statuses = Vec::new();
    for (line, promised) in &lines {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("CURL_HOME", home.path()).env("HOME", home.path());
        let (_, output, errors) = program::run(&mut shell).await;
        let status: u16 =
            errors.lines().last().and_then(|code| code.trim().parse().ok()).unwrap_or(0);
        if let Some(promised) = promised {
            assert_eq!(status, *promised, "{line}\n{output}\n{errors}");
        }
        statuses.push(status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&403), "{lines:#?} gave {statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 200).count() >= 2, "{statuses:?}");
    for told in
        ["allowed: the token of", "refused: the token carries", "refused: this route needs a token"]
    {
        assert!(dev.output().text().contains(told), "{told:?} in {}", dev.output().text());
    }
    dev.signal("INT");
    assert!(dev.end().await.success(), "{}", dev.errors().text());
}
