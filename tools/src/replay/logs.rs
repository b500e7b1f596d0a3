//! Compares management logs line by line.
//!
//! What is in the order of Zeek's hash tables is brought into one order first: requests that follow each other and go to
//! several agents or nodes, and the results in a line.

use std::collections::VecDeque;

use super::{
    ids::Ids,
    report::{Difference, Report},
    waivers::{Deviation, Ledger},
};

/// Compares what was written with what was recorded.
pub(super) fn compare(
    recorded: &[String],
    own: &[String],
    ids: &mut Ids,
    ledger: &mut Ledger,
    report: &mut Report,
) {
    let mut own: VecDeque<String> = in_one_order(own.iter().map(|line| with_ids(line, ids)).collect()).into();
    for recorded in in_one_order(recorded.to_vec()) {
        while let Some(line) = own.front()
            && !same(line, &recorded, ids)
            && ledger.take(&Deviation::LogExtra(beginning(line)))
        {
            own.pop_front();
        }
        let fits = own.front().is_some_and(|line| same(line, &recorded, ids));
        if fits {
            own.pop_front();
            report.compared.log_lines += 1;
            continue;
        }
        if ledger.take(&Deviation::LogMissing(beginning(&recorded))) {
            continue;
        }
        // The line may come later, or a wrong one stands in its place.
        let later = own.iter().position(|line| same(line, &recorded, ids));
        if let Some(position) = later {
            let passed: Vec<String> = own.drain(..=position).collect();
            let extras = passed.into_iter().take(position).map(extra);
            report.differences.extend(extras);
            report.compared.log_lines += 1;
            continue;
        }
        let likely = own
            .front()
            .is_some_and(|line| beginning(line) == beginning(&recorded));
        let got = if likely {
            own.pop_front()
        } else {
            own.front().cloned()
        };
        let difference = Difference {
            event: "line of the management log".into(),
            ..Difference::default()
        };
        report
            .differences
            .push(difference.between(&recorded, got.unwrap_or_else(|| "nothing".into())));
    }
    for line in own {
        if !ledger.take(&Deviation::LogExtra(beginning(&line))) {
            report.differences.push(extra(line));
        }
    }
}

fn extra(line: String) -> Difference {
    Difference {
        event: "line of the management log".into(),
        got: Some(line),
        note: "is not recorded here".into(),
        ..Difference::default()
    }
}

/// Our line with the recorded ids.
fn with_ids(line: &str, ids: &Ids) -> String {
    words(line)
        .into_iter()
        .map(|word| match ids.recorded(&word.into()) {
            Some(recorded) => recorded.to_string(),
            None => word.to_owned(),
        })
        .collect()
}

/// Whether two lines say the same. An id that only the log shows is learnt.
fn same(own: &str, recorded: &str, ids: &mut Ids) -> bool {
    let (own, recorded) = (words(own), words(recorded));
    let mut learnt = Vec::new();
    let same = own.len() == recorded.len()
        && std::iter::zip(&own, &recorded).all(|(own, recorded)| {
            if own == recorded {
                return true;
            }
            if let Some(known) = ids.recorded(&(*own).into()) {
                return *known == *recorded;
            }
            if is_placeholder(own) {
                learnt.push((*own, *recorded));
                return true;
            }
            false
        });
    same && learnt
        .into_iter()
        .all(|(own, recorded)| ids.bind(&own.into(), &recorded.into()).is_ok())
}

/// An id that the recording does not show elsewhere.
fn is_placeholder(word: &str) -> bool {
    let number = word.strip_prefix('#').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a line is about: `tx` or `rx` and the event, or the first words.
fn beginning(line: &str) -> String {
    if line.starts_with("request ") && line.ends_with(" timed out") {
        return "request timed out".into();
    }
    let count = if line.starts_with("tx ") || line.starts_with("rx ") {
        2
    } else {
        3
    };
    let mut words: Vec<&str> = line.split(' ').take(count).collect();
    if words.first() == Some(&"node") {
        words.truncate(1);
    }
    words.join(" ")
}

/// Words and what stands between them.
fn words(line: &str) -> Vec<&str> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '#';
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|char| is_word(char) != is_word(first))
            .unwrap_or(rest.len());
        let (word, others) = rest.split_at(end);
        words.push(word);
        rest = others;
    }
    words
}

fn in_one_order(mut lines: Vec<String>) -> Vec<String> {
    for line in &mut lines {
        *line = results_in_one_order(line);
    }
    for group in lines.chunk_by_mut(|a, b| order(a).is_some() && order(a) == order(b)) {
        group.sort_by_cached_key(|line| {
            let event = line.split(' ').nth(1).unwrap_or_default().to_owned();
            (event, line.rsplit(' ').next().unwrap_or_default().to_owned())
        });
    }
    lines
}

/// Lines that follow each other in any order: requests to several agents or nodes, and answers of several nodes, whose
/// connections do not know of each other.
fn order(line: &str) -> Option<u8> {
    let groups = [
        "tx Management::Agent::API::",
        "tx SupervisorControl::",
        "rx Management::Node::API::node_dispatch_response ",
    ];
    let group = groups.iter().position(|group| line.starts_with(group))?;
    let is_answer = line.starts_with("tx ") && !line.contains("_request ");
    (!is_answer).then(|| u8::try_from(group).ok())?
}

/// A line about an answer with its results in one order: `success (instance a, node b), error (reason) (reqid c)`.
fn results_in_one_order(line: &str) -> String {
    let start = ["success", "error"]
        .iter()
        .filter_map(|outcome| line.find(outcome))
        .min()
        .filter(|_| line.contains("_response "));
    let Some((head, list)) = start.and_then(|start| line.split_at_checked(start)) else {
        return line.to_owned();
    };
    let (list, end) = match list.strip_suffix(']') {
        Some(list) => (list, "]"),
        None => (list, ""),
    };
    let mut results: Vec<String> = Vec::new();
    let mut depth = 0_i32;
    for part in list.split(", ") {
        match results.last_mut() {
            Some(result) if depth > 0 => {
                result.push_str(", ");
                result.push_str(part);
            }
            _ => results.push(part.to_owned()),
        }
        depth += balance(part);
    }
    results.sort_unstable();
    format!("{head}{}{end}", results.join(", "))
}

fn balance(text: &str) -> i32 {
    text.chars().fold(0, |depth, char| match char {
        '(' => depth + 1,
        ')' => depth - 1,
        _ => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_sorted_in_every_form_of_a_line() {
        for (line, sorted) in [
            (
                "tx A::deploy_response success (reqid r, node b), error (no, never) (reqid r, node a)",
                "tx A::deploy_response error (no, never) (reqid r, node a), success (reqid r, node b)",
            ),
            (
                "tx C::restart_response [request x pending, results: success (node b), success (node a)]",
                "tx C::restart_response [request x pending, results: success (node a), success (node b)]",
            ),
            ("node b crashed: error, success", "node b crashed: error, success"),
        ] {
            assert_eq!(results_in_one_order(line), sorted);
        }
    }

    #[test]
    fn an_id_that_only_the_log_shows_is_learnt_once() {
        let mut ids = Ids::default();
        assert!(same("triggering via #3", "triggering via abc", &mut ids));
        assert!(same("via #3.", "via abc.", &mut ids));
        assert!(!same("via #3", "via def", &mut ids));
        assert!(!same("via #4", "via abc", &mut ids));
        assert!(!same("via x", "via y", &mut ids));
    }

    #[test]
    fn lines_that_are_missing_extra_or_different_are_told_apart() {
        let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
        let recorded = lines(&["rx a 1", "rx b 2", "tx c 3"]);
        let own = lines(&["rx a 1", "odd one out", "rx b 2", "tx c 4"]);
        let mut report = Report::default();
        compare(
            &recorded,
            &own,
            &mut Ids::default(),
            &mut Ledger::default(),
            &mut report,
        );
        let found: Vec<(Option<&str>, Option<&str>)> = report
            .differences
            .iter()
            .map(|difference| (difference.expected.as_deref(), difference.got.as_deref()))
            .collect();
        assert_eq!(
            found,
            [(None, Some("odd one out")), (Some("tx c 3"), Some("tx c 4"))]
        );
        assert_eq!(report.compared.log_lines, 2);
    }
}
