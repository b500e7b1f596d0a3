//! Each row of docs/troubleshooting.md has a test that brings its symptom about.

use std::fs;

use regex_lite::Regex;

use crate::{support::workspace_root, tidy::docs::rows};

/// A line for each test: `said`, words of a row, a file that has the same words, and its test unless it is a transcript; `done`, where the test brings it about and looks at
/// what follows, not at the words; `none`, where there is no test, and why.
const TESTS: &str = include_str!("symptoms.txt");

/// What the rows of the page say: everything but the remedy.
fn symptoms() -> Vec<String> {
    let page = fs::read_to_string(workspace_root().join("docs/troubleshooting.md")).expect("it can be read");
    let heads = [
        "the daemon says",
        "symptom",
        "the log says",
        "zeek-client prints",
        "the agent says",
        "`mgmt-agent enroll`, or the agent's log",
    ];
    let rows = rows(&page).filter(|cells| !heads.contains(&cells[0]));
    rows.map(|cells| cells[..cells.len() - 1].join(" | ")).collect()
}

/// A source as its texts are, without what breaks their lines.
fn source(file: &str) -> String {
    let text = fs::read_to_string(workspace_root().join(file)).unwrap_or_default();
    let broken = Regex::new(r"\\\n\s*").expect("a pattern");
    broken.replace_all(&text, "").into_owned()
}

fn has_test(source: &str, test: &str) -> bool {
    source.contains(&format!("fn {test}("))
}

/// What is wrong with a line of [`TESTS`].
fn fault(kind: &str, words: &str, file: &str, test: &str) -> Option<String> {
    let source = source(file);
    let is_there = has_test(&source, test);
    match kind {
        // A transcript is run by the test of its folder.
        "said" if !source.contains(words) => Some(format!("{words}: not in {file}")),
        "said" if test.is_empty() && !source.contains("fn ") => None,
        "said" | "done" if !is_there => Some(format!("{words}: {file} has no test {test}")),
        "said" | "done" => None,
        "none" if !file.is_empty() => None,
        _ => Some(format!("{kind}: {words}: no reason")),
    }
}

#[test]
fn every_symptom_has_a_test_that_brings_it_about_or_a_reason_why_not() {
    let symptoms = symptoms();
    assert!(symptoms.len() > 100, "only {} rows found", symptoms.len());
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for line in TESTS.lines() {
        let mut cells = line.split(" | ");
        let mut next = || cells.next().unwrap_or_default();
        let (kind, words, file, test) = (next(), next(), next(), next());
        wrong.extend(fault(kind, words, file, test));
        all.push(words);
    }
    let found = |symptom: &&String| all.iter().any(|words| symptom.contains(words));
    let uncovered = symptoms.iter().filter(|symptom| !found(symptom));
    wrong.extend(uncovered.map(|symptom| format!("no test: {symptom}")));
    let stale = all
        .iter()
        .filter(|words| !symptoms.iter().any(|symptom| symptom.contains(**words)));
    wrong.extend(stale.map(|words| format!("no row: {words}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
