//! The rules of the pages that people read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use broker_codec::websocket::RejectionCode;
use broker_endpoint::websocket;
use counters::{Counters, Kind, Registry};
use expect_test::expect_file;
use mgmt_daemon::config::{COMMON, Setting};
use regex_lite::Regex;

use super::{found, numbered, read, regex, report, rust_files, tracked_files};
use crate::support::workspace_root;

/// The README's largest size, in bytes: what a stranger reads in a minute or two.
const README_MAX: usize = 6_000;

/// How the page of counters begins.
const INTRODUCTION: &str = "# Counters\n\nWhat controller and agent count from their start on. At its end each writes those that are not zero to \
                            standard error, in the line `counted`.\n";

const DEVIATIONS: &str = "docs/deviations.md";

/// These files speak about markers and numbers in general.
const ABOUT_THE_RULES: [&str; 2] = ["tests/tidy.rs", "tests/tidy/docs.rs"];

fn page(path: &str) -> String {
    read(Path::new(path)).unwrap_or_else(|| panic!("{path} is UTF-8"))
}

/// Every file that is text and not recorded.
fn texts() -> impl Iterator<Item = (PathBuf, String)> {
    tracked_files()
        .into_iter()
        .filter(|path| {
            !path.starts_with("fixtures") && ABOUT_THE_RULES.iter().all(|rules| path != Path::new(rules))
        })
        .filter_map(|path| read(&path).map(|text| (path, text)))
}

pub(crate) fn pages() -> impl Iterator<Item = (PathBuf, String)> {
    tracked_files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .map(|path| {
            let text = read(&path).expect("pages are UTF-8");
            (path, text)
        })
}

/// The rows of all tables, as their cells.
pub(crate) fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| {
            line.split(" | ")
                .map(|cell| cell.trim().trim_end_matches('|'))
                .collect()
        })
}

/// The keys and the numbers of the deviations, each as often as it has a row.
fn deviations() -> (Vec<String>, Vec<String>) {
    let (page, number) = (page(DEVIATIONS), number());
    let (mut keys, mut found) = (Vec::new(), Vec::new());
    for row in rows(&page) {
        let key = row[0].strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        keys.extend(key.map(str::to_owned));
        let numbered = if key.is_some() { row[row.len() - 1] } else { row[0] };
        found.extend(number.find_iter(numbered).map(|found| found.as_str().to_owned()));
    }
    (keys, found)
}

/// What stands in a text in the form of `Q-01` or `W-01`.
fn number() -> Regex {
    regex(r"\b[QW]-[0-9]{2}\b")
}

fn repeated(found: &[String]) -> Vec<String> {
    let mut sorted = found.to_vec();
    sorted.sort();
    let pairs = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs
        .map(|pair| format!("{}: more than one row in {DEVIATIONS}", pair[0]))
        .collect()
}

#[test]
fn every_deviation_has_one_row_and_the_reverse() {
    let deviation = regex(r"//.*?DIFFERENCE(?:\(([a-z0-9-]+)\):)?");
    let mut violations = Vec::new();
    let mut marked = BTreeSet::new();
    for (path, text) in
        rust_files().filter(|(path, _)| ABOUT_THE_RULES.iter().all(|rules| path != Path::new(rules)))
    {
        for (number, line) in numbered(&text) {
            let Some(found) = deviation.captures(line) else {
                continue;
            };
            match found.get(1) {
                Some(key) => _ = marked.insert(key.as_str().to_owned()),
                None => violations.push(format!("{}:{number}: no (key) of the deviation", path.display())),
            }
        }
    }
    let (keys, _) = deviations();
    violations.extend(repeated(&keys));
    let keys: BTreeSet<String> = keys.into_iter().collect();
    let without = marked.difference(&keys);
    violations.extend(without.map(|key| format!("{key}: marked in the code, no row in {DEVIATIONS}")));
    let unmarked = keys.difference(&marked);
    violations.extend(unmarked.map(|key| format!("{key}: a row in {DEVIATIONS}, not marked in the code")));
    assert!(keys.len() > 50, "the tables were found");
    report("deviations", &violations);
}

#[test]
fn every_number_that_is_cited_has_one_row() {
    let (_, rows) = deviations();
    let mut violations = repeated(&rows);
    let number = number();
    for (path, text) in texts() {
        let cited = found(&number, &path, numbered(&text));
        violations.extend(cited.filter(|cited| !rows.iter().any(|row| cited.ends_with(row))));
    }
    assert!(rows.len() > 50, "the tables were found");
    report("numbers of deviations", &violations);
}

#[test]
fn the_readme_is_short() {
    let len = page("README.md").len();
    assert!(
        len <= README_MAX,
        "the README has {len} bytes, {README_MAX} at most: move something to docs/"
    );
}

/// The lines of a page that are not in a block of code.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    numbered(page).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What a heading is called in a link, as the usual renderers have it.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(page: &str, wanted: &str) -> bool {
    prose(page).any(|(_, line)| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let link = regex(r"\]\(([^)]*)\)");
    let mut links = 0;
    let mut violations = Vec::new();
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            for target in link.captures_iter(line).map(|found| found[1].to_owned()) {
                if target.contains("://") {
                    continue;
                }
                links += 1;
                let (file, wanted) = target.split_once('#').unwrap_or((&target, ""));
                let to = if file.is_empty() {
                    path.clone()
                } else {
                    path.with_file_name("").join(file)
                };
                let there = workspace_root().join(&to).exists();
                if !there || (!wanted.is_empty() && !has_anchor(&read(&to).unwrap_or_default(), wanted)) {
                    violations.push(format!("{}:{number}: {target}", path.display()));
                }
            }
        }
    }
    assert!(links > 50, "only {links} links found");
    report("links", &violations);
}

/// In code, scripts and pages, where no link is.
#[test]
fn every_page_that_is_named_exists() {
    let name = regex(r"docs/[A-Za-z0-9/._-]*\.(md|txt)\b");
    let mut violations = Vec::new();
    for (path, text) in texts() {
        let named = found(&name, &path, numbered(&text));
        violations.extend(named.filter(|place| {
            let (_, name) = place.rsplit_once(": ").expect("a place and what it names");
            !workspace_root().join(name).exists()
        }));
    }
    report("pages", &violations);
}

/// The table of settings is the source, and `UPDATE_EXPECT=1` writes the page's tables anew.
#[test]
fn every_setting_is_documented() {
    const PAGE: &str = "docs/configuration.md";
    let text = page(PAGE);
    for schema in [mgmt_controller::config::SCHEMA, mgmt_agent::config::SCHEMA] {
        let command = schema.command();
        let shown = command.get_arguments().filter(|option| !option.is_hide_set());
        for long in shown.filter_map(|option| option.get_long()) {
            assert!(text.contains(&format!("`--{long}")), "{PAGE} lacks --{long}");
        }
    }
    let mut expected = text.clone();
    for (heading, settings) in [
        ("## Both programs\n", COMMON),
        ("## Controller\n", mgmt_controller::config::SCHEMA.tables[0]),
        ("## Agent\n", mgmt_agent::config::SCHEMA.tables[0]),
    ] {
        let at = expected.find(heading).expect("the page has this heading") + heading.len();
        let end = expected[at..]
            .find("\n## ")
            .map_or(expected.len(), |end| at + end);
        expected.replace_range(at..end, &table(settings));
    }
    expect_file![workspace_root().join(PAGE)].assert_eq(&expected);
}

fn table(settings: &[Setting]) -> String {
    let mut table = String::from(
        "\n| setting | default | what | Zeek's setting, option, environment |\n|---|---|---|---|\n",
    );
    for setting in settings {
        let zeek = setting.zeek.iter().map(|name| (*name).to_owned());
        let given = zeek
            .chain(setting.flag())
            .chain(setting.variable.map(str::to_owned));
        let given: Vec<String> = given.map(|name| format!("`{name}`")).collect();
        let Setting {
            key, default, text, ..
        } = setting;
        let row = [&format!("`{key}`"), *default, text, &given.join(", ")];
        assert!(
            row.iter().all(|cell| !cell.contains('|')),
            "{key}: a cell would end there"
        );
        table.extend(["| ", &row.join(" | "), " |\n"]);
    }
    table
}

/// What is measured says what it is, and `UPDATE_EXPECT=1` writes the page's tables anew.
#[test]
fn every_metric_is_documented() {
    const PAGE: &str = "docs/monitoring.md";
    let mut expected = page(PAGE);
    for (heading, prefix, measured) in [
        (
            "### Both programs\n",
            "zeek_mgmt_*",
            measured::<mgmt_daemon::metrics::Measured>(),
        ),
        (
            "### Controller\n",
            "zeek_mgmt_controller",
            measured::<mgmt_controller::Measured>(),
        ),
        (
            "### Agent\n",
            "zeek_mgmt_agent",
            measured::<mgmt_agent::Measured>(),
        ),
    ] {
        let at = expected.find(heading).expect("the page has this heading") + heading.len();
        let end = expected[at..].find("\n##").map_or(expected.len(), |end| at + end);
        let mut table = String::from("\n| metric | what |\n|---|---|\n");
        for (name, what) in measured {
            table.extend([
                "| `",
                prefix,
                "_",
                name,
                "` | ",
                what.trim_end_matches('.'),
                " |\n",
            ]);
        }
        expected.replace_range(at..end, &table);
    }
    expect_file![workspace_root().join(PAGE)].assert_eq(&expected);
}

fn measured<K: Kind>() -> Vec<(&'static str, &'static str)> {
    let described = |kind: K| (kind.into(), kind.get_documentation().unwrap_or_default());
    K::iter().map(described).collect()
}

/// The counters say what they are, and `UPDATE_EXPECT=1` writes the page's tables anew.
#[test]
fn every_counter_is_documented() {
    let (mut both, mut controller, mut agent) =
        (Registry::default(), Registry::default(), Registry::default());
    both.add("", &Counters::<mgmt_daemon::Counted>::default());
    both.add("broker_", &Counters::<broker_endpoint::Counted>::default());
    controller.add("", &Counters::<mgmt_controller::Counted>::default());
    controller.add("websocket_", &Counters::<websocket::Counted>::default());
    controller.add("websocket_closed_", &Counters::<websocket::CloseCause>::default());
    controller.add("websocket_error_", &Counters::<RejectionCode>::default());
    agent.add("", &Counters::<mgmt_agent::Counted>::default());
    let mut expected = String::from(INTRODUCTION);
    for (heading, registry) in [
        ("Both programs", both),
        ("Controller", controller),
        ("Agent", agent),
    ] {
        expected.extend(["\n## ", heading, "\n\n| counter | what |\n|---|---|\n"]);
        for (name, what, _) in registry.iter() {
            expected.extend(["| `", name, "` | ", what.trim_end_matches('.'), " |\n"]);
        }
    }
    expect_file![workspace_root().join("docs/counters.md")].assert_eq(&expected);
}
