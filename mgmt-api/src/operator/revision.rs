//! Revisions: the configurations that have become the deployed one of a cluster, each with a number.

use broker_codec::data::is_hostile;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    configuration::ConfigurationFile,
    request::{NotDone, NotDoneKind},
};

/// How long a note may be, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;

/// The revisions of a cluster, the last one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Revisions {
    /// The id of the deployed configuration, if there is one.
    pub deployed: Option<String>,
    /// Its number. One that an earlier release or Zeek's controller has deployed has none, until another one is deployed in its place.
    pub deployed_revision: Option<u32>,
    /// Those that are kept.
    pub revisions: Vec<RevisionSummary>,
}

/// A revision in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RevisionSummary {
    /// Its number: in each cluster from 1, and none twice.
    pub revision: u32,
    /// The id of its configuration.
    pub configuration: String,
    /// SHA-256 of what its configuration says, without the id, in hexadecimal digits: what is the same has the same.
    pub checksum: String,
    /// Whether it is the deployed one.
    pub is_deployed: bool,
    /// When it became the deployed one, as RFC 3339 has it; not known of one that an earlier release or Zeek's controller has deployed.
    pub time: Option<String>,
    /// Who has asked for that; likewise.
    pub asked_by: Option<String>,
    /// What was said of it then.
    pub note: Option<String>,
}

/// A revision with its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Revision {
    #[serde(flatten)]
    pub summary: RevisionSummary,
    /// The configuration, with what the controller had filled in.
    pub content: ConfigurationFile,
}

/// Checks whether a note is one line that is not too long, in which nothing drives a terminal.
///
/// # Errors
///
/// If not.
pub fn check_note(note: &str) -> Result<(), NotDone> {
    if note.len() <= NOTE_BYTES_MAX && !note.contains(is_hostile) {
        return Ok(());
    }
    let reason = format!("a note is one line of {NOTE_BYTES_MAX} bytes at most, without control characters");
    Err(NotDone::new(NotDoneKind::Invalid, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_that_is_not_too_long() {
        let longest = "ü".repeat(NOTE_BYTES_MAX / 2);
        for good in ["", "more workers, ticket 4711", &longest] {
            assert_eq!(check_note(good), Ok(()), "{good}");
        }
        for bad in ["a\nb", "\u{1b}[31m", "\u{202e}", "\0", &(longest + "a")] {
            assert!(check_note(bad).is_err(), "{bad:?}");
        }
    }
}
