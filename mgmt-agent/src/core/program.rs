//! Whether the Zeek on disk is still the one that nodes are started from. Those of a Supervisor of Zeek's are forks of its stem and
//! never started from the file (`Supervisor.cc`), but read the scripts that are on disk; those that we start ourselves run what is there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What tells a file from one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that it is on.
    pub device: u64,
    pub inode: u64,
    /// When its content was last changed, since 1970 in UTC.
    pub modified: Duration,
}

/// The program that Supervisors, or our own nodes, are started from, as it is on disk now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub path: String,
    /// The file. `None` if there is none, as in the middle of an upgrade.
    pub file: Option<FileIdentity>,
    /// Whether a Supervisor has just been started from it, or found.
    pub is_start: bool,
    /// Whether the Supervisor is started by the agent.
    pub is_ours: bool,
}

/// What is known of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// What the program on disk is compared with: what the Supervisor was started from; under our own supervision, what was there at the last
    /// look.
    compared: Option<FileIdentity>,
    /// The other file that was last warned of, or that did not say which Zeek it is.
    warned_of: Option<FileIdentity>,
    /// It has not said which Zeek it is.
    has_not_answered: bool,
}

impl Known {
    /// The path of a program that has changed since nodes were started from it, once for each change.
    pub(super) fn seen(&mut self, program: &Program) -> Option<String> {
        let file = program.file?;
        if program.is_start || self.compared.is_none() {
            *self = Self {
                compared: Some(file),
                ..Self::default()
            };
            return None;
        }
        if self.compared == Some(file) {
            self.warned_of = None;
            return None;
        }
        if self.warned_of.replace(file) == Some(file) {
            return None;
        }
        Some(program.path.clone())
    }

    /// Whether the program has to be asked which Zeek it is: it is another one than at the last look, or did not say then.
    pub(super) fn is_to_be_asked(&mut self, program: &Program) -> bool {
        let Some(file) = program.file else { return false };
        let before = self.compared.replace(file);
        std::mem::take(&mut self.has_not_answered) || before.is_some_and(|before| before != file)
    }

    /// It does not say which Zeek it is, and is asked again at the next look. Returns whether that is news.
    pub(super) fn did_not_answer(&mut self) -> bool {
        self.has_not_answered = true;
        std::mem::replace(&mut self.warned_of, self.compared) != self.compared
    }
}
