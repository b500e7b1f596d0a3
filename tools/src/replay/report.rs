//! What came out of a replay.

use std::{collections::BTreeMap, fmt};

/// Zeek's agent says it to all its peers whenever one is added. How many there were when it heard of one is not seen.
pub(super) const HELLOS: &str = "hellos repeated for another peering";

/// See `engine/copies.rs`.
pub(super) const COPIES: &str = "copies for WebSocket clients that come or go at that moment";

/// What came out of the replay of one role of a capture.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub scenario: String,
    pub role: String,
    /// Where the peer is, if it is a running process, and how Broker connections with it are protected.
    pub peer: Option<String>,
    /// How many processes had the role, one after the other.
    pub processes: usize,
    /// What was compared, and how often.
    pub compared: BTreeMap<&'static str, u64>,
    /// What the recorded peer sent and is not compared, or was made alike before it was; and how often.
    pub excluded: BTreeMap<&'static str, u64>,
    /// Deviations that a rule explains.
    pub explained: Vec<Explained>,
    pub differences: Vec<Difference>,
}

/// A deviation that a rule explains.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The row of docs/deviations.md.
    pub key: &'static str,
    pub what: String,
    pub count: u64,
}

/// A place where the peer under test does otherwise than the recorded one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// The packet in the capture, as Wireshark counts them.
    pub frame: Option<u64>,
    /// When, in seconds since the first packet.
    pub time: Option<f64>,
    /// The connection, in words.
    pub connection: String,
    /// The event, or what else it is about.
    pub event: String,
    /// The place in the event, by Zeek's names.
    pub path: String,
    /// What is recorded.
    pub expected: Option<String>,
    /// What came.
    pub got: Option<String>,
    /// What to make of it.
    pub note: String,
}

impl Difference {
    pub(super) fn between(self, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self {
            expected: Some(expected.to_string()),
            got: Some(got.to_string()),
            ..self
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(frame) = self.frame {
            write!(f, "frame {frame}")?;
            if let Some(time) = self.time {
                write!(f, " at {time:.3} s")?;
            }
            f.write_str(", ")?;
        }
        if !self.connection.is_empty() {
            writeln!(f, "{}", self.connection)?;
            f.write_str("  ")?;
        }
        f.write_str(&self.event)?;
        if !self.path.is_empty() {
            write!(f, "\n  {}", self.path)?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n    expected {expected}")?;
        }
        if let Some(got) = &self.got {
            write!(f, "\n    got      {got}")?;
        }
        if !self.note.is_empty() {
            write!(f, "\n    {}", self.note)?;
        }
        Ok(())
    }
}

impl Report {
    /// Whether the peer under test did what the recorded one did.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    /// How many events are excluded because chance decides whether they are sent.
    pub(super) fn by_chance(&self) -> u64 {
        let count = |what: &&str| self.excluded.get(what).copied().unwrap_or_default();
        [HELLOS, COPIES].iter().map(count).sum()
    }

    /// Counts what was compared.
    pub(super) fn count(&mut self, what: &'static str, how_many: u64) {
        *self.compared.entry(what).or_default() += how_many;
    }

    /// Counts a deviation that a rule explains.
    pub(super) fn explain(&mut self, key: &'static str, what: String) {
        let mut known = self.explained.iter_mut();
        match known.find(|known| known.key == key && known.what == what) {
            Some(known) => known.count += 1,
            None => self.explained.push(Explained { key, what, count: 1 }),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}\n")?;
        }
        let verdict = match self.differences.len() {
            0 => "PASS".to_owned(),
            1 => "FAIL, 1 difference".to_owned(),
            number => format!("FAIL, {number} differences"),
        };
        write!(f, "{} as {}", self.scenario, self.role)?;
        if let Some(peer) = &self.peer {
            write!(f, ", {peer}")?;
        }
        writeln!(f, ": {verdict}")?;
        for (what, count) in &self.compared {
            writeln!(f, "  compared {count} {what}")?;
        }
        for (what, count) in &self.excluded {
            writeln!(f, "  excluded {count} {what}")?;
        }
        for Explained { key, what, count } in &self.explained {
            writeln!(f, "  explained {count} {what} ({key})")?;
        }
        Ok(())
    }
}
