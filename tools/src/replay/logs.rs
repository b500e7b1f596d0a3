//! Compares management logs: all lines as a set; in their order those about what comes on one connection, and those about one request.
//!
//! How connections are interleaved in a log is not compared, nor the order of Zeek's hash tables, which is that of lists in a line.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;

use super::{
    capture::{Capture, Content},
    engine::Outcome,
    history::{answer_of, reqid},
    ids::Ids,
    recording::{Process, event_of, event_of_text},
    report::{Difference, Report},
    rules::{Case, Facts, Kind, explanation},
};

/// What is known of the lines of a log.
pub(super) struct Log<'a> {
    process: &'a Process,
    outcome: Outcome,
    /// On which connection a request of this id was made first.
    requests: BTreeMap<ZeekString, usize>,
    /// The connections of those who say hello, by their names.
    names: BTreeMap<ZeekString, usize>,
    lenient: bool,
}

impl<'a> Log<'a> {
    pub(super) fn new(capture: &Capture, process: &'a Process, outcome: Outcome, lenient: bool) -> Self {
        let (mut requests, mut names) = (BTreeMap::new(), BTreeMap::new());
        for message in &capture.messages {
            let event = match &message.content {
                Content::Envelope(envelope) => event_of(envelope),
                Content::Text(text) => event_of_text(text).map(|(_, event)| event),
                _ => None,
            };
            let event = event.filter(|_| process.links.contains_key(&message.connection));
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
            process,
            outcome,
            requests,
            names,
            lenient,
        }
    }

    /// Compares what was written with what was recorded.
    pub(super) fn compare(mut self, recorded: &[String], own: &[String], report: &mut Report) {
        let recorded: Vec<String> = recorded.iter().map(|line| lists_in_one_order(line)).collect();
        let own = own.iter().map(|line| with_ids(line, &self.outcome.ids));
        let own: Vec<String> = own.map(|line| lists_in_one_order(&line)).collect();
        let pairs = self.pair(&recorded, &own);
        report.compared.log_lines += u64::try_from(pairs.len()).unwrap_or(u64::MAX);
        self.check_order(&recorded, &pairs, report);
        let is_paired =
            |index: usize, side: fn(&(usize, usize)) -> usize| pairs.iter().any(|pair| side(pair) == index);
        let missing = recorded
            .iter()
            .enumerate()
            .filter(|(index, _)| !is_paired(*index, |pair| pair.0));
        let extra = own
            .iter()
            .enumerate()
            .filter(|(index, _)| !is_paired(*index, |pair| pair.1));
        let mut extra: Vec<&String> = extra
            .map(|(_, line)| line)
            .filter(|line| !self.explain(Kind::LogExtra, line, report))
            .collect();
        for (_, line) in missing {
            if self.explain(Kind::LogMissing, line, report) {
                continue;
            }
            // A wrong line may stand in its place.
            let likely = extra
                .iter()
                .position(|other| words(other).first() == words(line).first() && event(other) == event(line));
            let got = likely.map_or("nothing", |position| extra.remove(position));
            report.differences.push(difference().between(line, got));
        }
        report
            .differences
            .extend(extra.into_iter().map(|line| Difference {
                got: Some(line.clone()),
                note: "is not recorded".into(),
                ..difference()
            }));
    }

    /// Which line is which: first those that are alike, then those with an id that only the log shows.
    fn pair(&mut self, recorded: &[String], own: &[String]) -> Vec<(usize, usize)> {
        let mut free: Vec<usize> = (0..own.len()).collect();
        let mut pairs = Vec::new();
        let mut later = Vec::new();
        for (index, line) in recorded.iter().enumerate() {
            match free.iter().position(|other| own.get(*other) == Some(line)) {
                Some(position) => pairs.push((index, free.remove(position))),
                None => later.push((index, line)),
            }
        }
        for (index, line) in later {
            let ids = &mut self.outcome.ids;
            let found = free
                .iter()
                .position(|other| own.get(*other).is_some_and(|own| same(own, line, ids)));
            if let Some(position) = found {
                pairs.push((index, free.remove(position)));
            }
        }
        pairs.sort_unstable();
        pairs
    }

    /// What comes on a connection must follow each other as recorded, and so must the lines about a request.
    fn check_order(&self, recorded: &[String], pairs: &[(usize, usize)], report: &mut Report) {
        let mut last: BTreeMap<Thread<'_>, (&str, usize)> = BTreeMap::new();
        for (index, own) in pairs {
            let Some(line) = recorded.get(*index) else {
                continue;
            };
            for thread in self.threads(line) {
                if let Some((before, own_before)) = last.insert(thread, (line, *own))
                    && own_before > *own
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
        if !self.lenient {
            return false;
        }
        let words: Vec<ZeekString> = words(line).into_iter().map(ZeekString::from).collect();
        let case = Case {
            has_known_id: words.iter().any(|word| self.requests.contains_key(word)),
            ..Case::new(kind, line, 0)
        };
        let of_request = words
            .iter()
            .find_map(|word| self.outcome.explained.get(word).copied());
        let facts = Facts {
            process: self.process,
            history: &self.outcome.history,
        };
        let key = of_request.or_else(|| explanation(&case, &facts));
        if let Some(key) = key {
            report.explain(key, &case);
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

/// The event that a line is about.
fn event(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
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

/// A line with its list in one order: `success (instance a, node b), error (reason) (reqid c)`, or instances that are ready.
fn lists_in_one_order(line: &str) -> String {
    const READY: &str = "notify_agents_ready ";
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
