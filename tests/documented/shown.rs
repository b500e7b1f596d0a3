//! What a page shows of a program's output, and what the program prints.

use regex_lite::Regex;

use crate::support::mgmtctl::{masked, without_ids};

/// A text without what differs from run to run: times, ids, processes, ports, addresses, directories, widths of columns.
pub(super) fn timeless(text: &str) -> String {
    let replaced = [
        ("/[^ \"]+/", ".../"),
        (r"\bmgmt_[0-9a-f]+", "mgmt_"),
        (r"\bplan [0-9a-f]{16}\b", "plan ID"),
        (r"expires at [0-9-]+ \d\d:\d\d:\d\d", "expires at AT"),
        (r"\b\d+ d( \d+ h)?", "1 s"),
        (r"\b(127|10)\.0\.0\.\d+:\d+", "10.0.0.1"),
    ];
    let text = replaced.iter().fold(text.to_owned(), |text, (pattern, by)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *by).into_owned()
    });
    let text = without_ids(&masked(&text));
    let ids = Regex::new(r"\b[0-9][0-9A-Za-z]{15,17}\b").expect("a pattern");
    ids.replace_all(&text, "ID").into_owned()
}

/// Whether a line is as it is shown, where `...` stands for any text.
fn fits(shown: &str, line: &str) -> bool {
    let parts: Vec<&str> = shown.split("...").collect();
    let [first, middle @ .., last] = &parts[..] else {
        return shown == line;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether lines are as they are shown, where a line `...` stands for any lines.
fn all_fit(shown: &[&str], lines: &[&str]) -> bool {
    match (shown, lines) {
        ([], []) => true,
        ([first, further @ ..], _) if *first == "..." => {
            (0..=lines.len()).any(|skipped| all_fit(further, &lines[skipped..]))
        }
        ([first, further @ ..], [line, rest @ ..]) => fits(first, line) && all_fit(further, rest),
        _ => false,
    }
}

/// Whether what a program prints is as it is shown.
pub(super) fn is_as_shown(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (timeless(&shown.replace('…', "...")), timeless(printed));
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    all_fit(&shown, &printed)
}

#[track_caller]
pub(super) fn assert_as_shown(shown: &str, printed: &str) {
    assert!(is_as_shown(shown, printed), "{printed}\nis shown as\n{shown}");
}

#[test]
fn what_is_otherwise_than_it_is_shown_is_found() {
    assert!(is_as_shown("a\n...\nb 4711", "a\nx\ny\nb 4711\n"));
    assert!(is_as_shown("node … is 10.0.0.12", "node worker-1 is 127.0.0.1"));
    assert!(!is_as_shown("node … is up", "node worker-1 is down"));
    assert!(!is_as_shown("a\nb", "a\nb\nc"));
    assert!(!is_as_shown("a\nb", "a"));
}
