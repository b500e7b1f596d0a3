//! Compares management logs: all lines as a set; in their order those about what comes on one connection, and those about one request.
//!
//! How connections are interleaved in a log is not compared, nor the order of Zeek's hash tables, which is that of lists in a line.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;

use super::{
    capture::Capture,
    ids::Ids,
    judge::Judge,
    message::{answer_of, event_in, reqid},
    report::{Difference, Report},
    rules::{Case, Kind, without_times},
};

/// What is known of the lines of a log.
pub(super) struct Log {
    ids: Ids,
    judge: Judge,
    /// On which connection a request of this id was made first.
    requests: BTreeMap<ZeekString, usize>,
    /// The connections of agents and nodes, by the names in their hellos.
    names: BTreeMap<ZeekString, usize>,
}

impl Log {
    pub(super) fn new(capture: &Capture, ids: Ids, judge: Judge) -> Self {
        let (mut requests, mut names) = (BTreeMap::new(), BTreeMap::new());
        for message in &capture.messages {
            let event = event_in(&message.content);
            let event = event.filter(|_| judge.history.process.links.contains_key(&message.connection));
            let Some((event, first)) = event.as_ref().and_then(|event| Some((event, reqid(event)?))) else {
                continue;
            };
            if answer_of(event).is_some() {
                requests.entry(first.clone()).or_insert(message.connection);
            } else if event.name.ends_with(b"_hello") {
                names.entry(first.clone()).or_insert(message.connection);
            }
        }
        Self {
            ids,
            judge,
            requests,
            names,
        }
    }

    /// Compares what was written with what was recorded.
    pub(super) fn compare(mut self, recorded: &[String], own: &[String], report: &mut Report) {
        let recorded: Vec<String> = recorded.iter().map(|line| normal(line)).collect();
        let own = own.iter().map(|line| with_ids(line, &self.ids));
        let own: Vec<String> = own.map(|line| normal(&line)).collect();
        let mut extra: Vec<(usize, &String)> = own.iter().enumerate().collect();
        let mut missing: Vec<(usize, &String)> = recorded.iter().enumerate().collect();
        let mut pairs = BTreeMap::new();
        // First those that are alike, then those with an id that only the log shows.
        for is_same in [alike, same] {
            missing.retain(|(index, line)| {
                let mut own = extra.iter();
                let found = own.position(|(_, own)| is_same(own, line, &mut self.ids));
                pairs.extend(found.map(|position| (*index, (*line, extra.remove(position).0))));
                found.is_none()
            });
        }
        let lines = u64::try_from(pairs.len()).unwrap_or(u64::MAX);
        report.count("lines of the management log", lines);
        self.check_order(pairs.into_values(), report);
        extra.retain(|(_, line)| !self.explain(Kind::LogExtra, line, report));
        missing.retain(|(_, line)| !self.explain(Kind::LogMissing, line, report));
        for (_, line) in missing {
            // A wrong line may stand in its place.
            let likely = extra
                .iter()
                .position(|(_, own)| beginning(own).eq(beginning(line)));
            let got = likely.map_or("nothing", |position| extra.remove(position).1);
            report.differences.push(difference().between(line, got));
        }
        let extra = extra.into_iter().map(|(_, line)| Difference {
            got: Some(line.clone()),
            note: "is not recorded".into(),
            ..difference()
        });
        report.differences.extend(extra);
    }

    /// What comes on a connection must follow each other as recorded, and so must the lines about a request. Of each line, its place in our
    /// log.
    fn check_order<'l>(&self, lines: impl Iterator<Item = (&'l String, usize)>, report: &mut Report) {
        let mut last: BTreeMap<Thread<'_>, (&str, usize)> = BTreeMap::new();
        for (line, own) in lines {
            for thread in self.threads(line) {
                if let Some((before, own_before)) = last.insert(thread, (line, own))
                    && own_before > own
                {
                    report.differences.push(Difference {
                        expected: Some(line.clone()),
                        note: format!("is written before: {before}"),
                        ..difference()
                    });
                }
            }
        }
    }

    /// What a line belongs to.
    fn threads<'l>(&self, line: &'l str) -> Vec<Thread<'l>> {
        let words = words(line);
        let request = words
            .iter()
            .find_map(|word| Some((*word, *self.requests.get(&ZeekString::from(*word))?)));
        let sender = line.rsplit_once(" from ").map(|(_, name)| name);
        let mut mentioned = sender.into_iter().chain(words.iter().copied());
        let named = |name: &str| self.names.get(&ZeekString::from(name)).copied();
        let connection = match (request, sender) {
            (Some((_, connection)), None) => Some(connection),
            _ => mentioned.find_map(named),
        };
        let connection = connection
            .filter(|_| line.starts_with("rx "))
            .map(Thread::Connection);
        let request = request
            .filter(|_| sender.is_none())
            .map(|(id, _)| Thread::Request(id));
        connection.into_iter().chain(request).collect()
    }

    fn explain(&self, kind: Kind, line: &str, report: &mut Report) -> bool {
        let words: Vec<ZeekString> = words(line).into_iter().map(ZeekString::from).collect();
        let case = Case {
            has_known_id: words.iter().any(|word| self.requests.contains_key(word)),
            ..Case::new(kind, line, 0)
        };
        let of_request = words.iter().find_map(|word| self.judge.explained(word));
        let key = of_request.or_else(|| self.judge.explanation(&case));
        if let Some(key) = key {
            report.explain(key, case.in_words());
        }
        key.is_some()
    }
}

/// Lines whose order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thread<'a> {
    Connection(usize),
    Request(&'a str),
}

fn difference() -> Difference {
    Difference {
        event: "line of the management log".into(),
        ..Difference::default()
    }
}

/// The words of a line that say which event it is about.
fn beginning(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').take(2)
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

fn alike(own: &str, recorded: &str, _ids: &mut Ids) -> bool {
    own == recorded
}

/// Whether two lines are alike but for ids that only the log shows. These are learnt.
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

/// Words and what stands between them.
fn words(line: &str) -> Vec<&str> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '#' || char == '-';
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

/// A line without times of day, and with its list in one order: `success (instance a, node b), error (reason) (reqid c)`, or instances that are ready.
fn normal(line: &str) -> String {
    const READY: &str = "notify_agents_ready ";
    let line = &*without_times(line);
    let results = || {
        let outcomes = ["success", "error"]
            .iter()
            .filter_map(|outcome| line.find(outcome));
        outcomes.min().filter(|_| line.contains("_response "))
    };
    let start = line.find(READY).map(|start| start + READY.len()).or_else(results);
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
    use crate::replay::recording::{Process, Role};

    /// What differs between a recorded log and another one.
    fn differences(recorded: &[&str], own: &[&str]) -> Vec<String> {
        let process = Process::without_connections(Role::Controller);
        let judge = Judge::new(process.into(), false);
        let mut log = Log::new(&Capture::default(), Ids::default(), judge);
        log.requests = BTreeMap::from([("r".into(), 0), ("s".into(), 1)]);
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut report = Report::default();
        log.compare(&lines(recorded), &lines(own), &mut report);
        let differences = report.differences.into_iter();
        let words = differences.map(
            |Difference {
                 expected, got, note, ..
             }| {
                format!(
                    "{} {} {note}",
                    expected.unwrap_or_default(),
                    got.unwrap_or_default()
                )
            },
        );
        words.collect()
    }

    #[test]
    fn lines_count_as_a_set_but_those_about_a_request_in_their_order() {
        let recorded = [
            "rx A::x_request r",
            "tx A::x_response r",
            "rx A::x_request s",
            "last seen 14:48:15",
        ];
        for (own, found) in [
            (vec![0, 1, 2, 3], &[][..]),
            (vec![2, 3, 0, 1], &[]),
            (
                vec![1, 0, 2, 3],
                &["tx A::x_response r  is written before: rx A::x_request r"],
            ),
            (vec![0, 2, 3], &["tx A::x_response r nothing "]),
            (vec![0, 1, 2, 2, 3], &[" rx A::x_request s is not recorded"]),
        ] {
            let own: Vec<&str> = own.into_iter().map(|line: usize| recorded[line]).collect();
            assert_eq!(differences(&recorded, &own), found, "{own:?}");
        }
        let own = ["rx a 1", "odd one out", "rx b 2", "tx c 4"];
        let found = ["tx c 3 tx c 4 ", " odd one out is not recorded"];
        assert_eq!(differences(&["rx a 1", "rx b 2", "tx c 3"], &own), found);
    }

    #[test]
    fn an_id_that_only_the_log_shows_is_learnt_once() {
        let recorded = ["triggering via abc", "via abc.", "via def"];
        assert!(differences(&recorded, &["triggering via #3", "via #3.", "via #4"]).is_empty());
        for own in [
            ["triggering via #3", "via #3.", "via #3"],
            ["triggering via #3", "via #4.", "via #5"],
            ["triggering via #3", "via #3.", "via ghi"],
        ] {
            assert_eq!(differences(&recorded, &own).len(), 2, "{own:?}");
        }
    }

    #[test]
    fn lists_and_times_are_brought_into_one_form() {
        for (line, in_one_form) in [
            (
                "tx A::deploy_response success (reqid r, node b), error (no, never) (reqid r, node a)",
                "tx A::deploy_response error (no, never) (reqid r, node a), success (reqid r, node b)",
            ),
            (
                "tx C::restart_response [request x pending, results: success (node b), success (node a)]",
                "tx C::restart_response [request x pending, results: success (node a), success (node b)]",
            ),
            (
                "rx Management::Controller::API:notify_agents_ready b, a",
                "rx Management::Controller::API:notify_agents_ready a, b",
            ),
            (
                "node b since 14:48:15, error, success",
                "node b since 00:00:00, error, success",
            ),
        ] {
            assert_eq!(normal(line), in_one_form);
        }
    }
}
