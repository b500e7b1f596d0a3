//! Deviations that are known: a table with a reason and an exact count for each.

use std::fmt;

/// What differs, as a waiver names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// A recorded event that the peer under test does not send.
    Missing(String),
    /// An event that is not recorded.
    Extra(String),
    /// A recorded event that is sent before others that are recorded before it on the same connection.
    Early(String),
    /// A field of an event with another value: the event's name and the path without indices.
    Differs(String, String),
    /// A recorded line of the management log that is not written; how it begins.
    LogMissing(String),
    /// A line of the management log that is not recorded; how it begins.
    LogExtra(String),
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(event) => write!(f, "missing {event}"),
            Self::Extra(event) => write!(f, "extra {event}"),
            Self::Early(event) => write!(f, "early {event}"),
            Self::Differs(event, path) => write!(f, "differs {event} {path}"),
            Self::LogMissing(line) => write!(f, "log missing {line}"),
            Self::LogExtra(line) => write!(f, "log extra {line}"),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// The quirk, as `Q-10`, or the key of the difference, as `node-states`.
    pub reason: String,
    /// The recording, as `zeek-9.0.0-rc1/a2c`.
    pub scenario: String,
    /// The role, as `controller` or `agent instance-1`.
    pub role: String,
    /// What differs, as [`Deviation`] is printed.
    pub what: String,
    /// How often, exactly.
    pub count: u64,
}

/// The table is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the waivers: {reason}")]
pub struct WaiverError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The table of this repository.
pub const COMMITTED: &str = include_str!("waivers.txt");

/// Reads a table: `reason | scenario | role | what | count`, one row a line; empty lines and those that begin with `#` are
/// passed over.
pub fn parse(table: &str) -> Result<Vec<Waiver>, WaiverError> {
    let mut waivers: Vec<Waiver> = Vec::new();
    for (index, line) in table.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |reason: &str| WaiverError {
            line: index + 1,
            reason: reason.to_owned(),
        };
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [reason, scenario, role, what, count] = fields[..] else {
            return Err(error("expected `reason | scenario | role | what | count`"));
        };
        let known = [
            "missing ",
            "extra ",
            "early ",
            "differs ",
            "log missing ",
            "log extra ",
        ];
        if !known.iter().any(|known| what.starts_with(known)) {
            return Err(error(
                "what differs begins with missing, extra, early, differs, log missing or log extra",
            ));
        }
        let waiver = Waiver {
            reason: reason.to_owned(),
            scenario: scenario.to_owned(),
            role: role.to_owned(),
            what: what.to_owned(),
            count: count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| error("the count is a number from 1"))?,
        };
        if reason.is_empty() || scenario.is_empty() || role.is_empty() {
            return Err(error("no field may be empty"));
        }
        let same = |other: &Waiver| {
            (&other.scenario, &other.role, &other.what) == (&waiver.scenario, &waiver.role, &waiver.what)
        };
        if waivers.iter().any(same) {
            return Err(error("the same deviation stands there already"));
        }
        waivers.push(waiver);
    }
    Ok(waivers)
}

/// The waivers of one replay, and how often each was used.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<(Waiver, u64)>,
}

impl Ledger {
    pub(super) fn new(waivers: &[Waiver], scenario: &str, role: &str) -> Self {
        let of_replay = waivers
            .iter()
            .filter(|waiver| waiver.scenario == scenario && waiver.role == role);
        Self {
            entries: of_replay.map(|waiver| (waiver.clone(), 0)).collect(),
        }
    }

    /// Whether a deviation is waived; that counts.
    pub(super) fn take(&mut self, deviation: &Deviation) -> bool {
        let what = deviation.to_string();
        let entry = self
            .entries
            .iter_mut()
            .find(|(waiver, used)| waiver.what == what && *used < waiver.count);
        match entry {
            Some((_, used)) => {
                *used += 1;
                true
            }
            None => false,
        }
    }

    /// Whether [`Self::take`] would be true.
    pub(super) fn can_take(&self, deviation: &Deviation) -> bool {
        let what = deviation.to_string();
        let mut entries = self.entries.iter();
        entries.any(|(waiver, used)| waiver.what == what && *used < waiver.count)
    }

    /// Whether an event is waived that is not recorded, and was not sent yet.
    pub(super) fn awaits_extra(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(waiver, used)| waiver.what.starts_with("extra ") && *used < waiver.count)
    }

    /// Those that are not about the management log.
    pub(super) fn without_logs(&self) -> Vec<(Waiver, u64)> {
        let others = self
            .entries
            .iter()
            .filter(|(waiver, _)| !waiver.what.starts_with("log "));
        others.cloned().collect()
    }

    /// Every waiver with how often it was used.
    pub(super) fn entries(&self) -> &[(Waiver, u64)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_counts_exactly_and_for_its_replay_only() {
        let table =
            "# comment\n\nQ-10 | s | controller | missing E | 2\nQ-10 | t | controller | missing E | 1\n";
        let waivers = parse(table).unwrap();
        let mut ledger = Ledger::new(&waivers, "s", "controller");
        let missing = Deviation::Missing("E".into());
        assert!(ledger.take(&missing));
        assert!(!ledger.take(&Deviation::Extra("E".into())));
        assert!(ledger.take(&missing));
        assert!(!ledger.take(&missing));
        assert_eq!(ledger.entries().len(), 1);
        assert_eq!(ledger.entries()[0].1, 2);
        assert!(!Ledger::new(&waivers, "s", "agent a").take(&missing));
    }

    #[test]
    fn a_table_that_is_none_is_refused_with_its_line() {
        for (row, error) in [
            (
                "Q-10 | s | controller | missing E",
                "line 2 of the waivers: expected `reason | scenario | role | what | count`",
            ),
            (
                "Q-10 | s | controller | lacks E | 1",
                "line 2 of the waivers: what differs begins with missing, extra, early, differs, log missing or log extra",
            ),
            (
                "Q-10 | s | controller | missing E | 0",
                "line 2 of the waivers: the count is a number from 1",
            ),
            (
                " | s | controller | missing E | 1",
                "line 2 of the waivers: no field may be empty",
            ),
            (
                "W-1 | s | r | missing D | 4",
                "line 2 of the waivers: the same deviation stands there already",
            ),
        ] {
            let table = format!("Q-10 | s | r | missing D | 1\n{row}\n");
            assert_eq!(parse(&table).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn the_committed_table_is_one() {
        assert!(parse(COMMITTED).is_ok());
    }
}
