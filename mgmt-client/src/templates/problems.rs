//! What is wrong with a file, and where.

use std::{fmt::Write, path::Path};

use broker_codec::data::Excerpt;
use mgmt_api::operator::counted;

/// How many problems of a file are told.
const TOLD_MAX: usize = 100;

/// A value, and the line where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// By line.
    told: Vec<(usize, String)>,
    count: usize,
}

impl Problems {
    pub(super) fn add(&mut self, line: usize, reason: impl Into<String>) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push((line, reason.into()));
        }
    }

    /// Whether no more are told.
    pub(super) const fn is_full(&self) -> bool {
        self.count >= TOLD_MAX
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What there is, unless something is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// A line for each, in the order of the file, which has this path.
    pub(crate) fn in_words(&self, path: &Path) -> String {
        let path = path.display();
        let mut told: Vec<&(usize, String)> = self.told.iter().collect();
        told.sort_by_key(|(line, _)| *line);
        if let ([(line, reason)], 1) = (&told[..], self.count) {
            return format!("{path}:{line}: {reason}");
        }
        let mut text = format!("{path} has {}:", counted(self.count, "error"));
        for (line, reason) in told {
            let _ = write!(text, "\n  {path}:{line}: {reason}");
        }
        if self.count > self.told.len() {
            let _ = write!(text, "\n  and {} more", self.count - self.told.len());
        }
        text
    }
}

/// A name or a value of the file, as an error shows it.
pub(super) fn shown(text: &str) -> Excerpt<'_> {
    Excerpt::new(text.as_bytes())
}
