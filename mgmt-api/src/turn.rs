//! What the state machines of the framework share: one call of `step`.

use crate::{log::Level, time::Now};

/// A line for the management log, which every machine can want written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub message: String,
}

/// One call of `step`: the time, and what has to happen so far.
#[derive(Debug)]
pub struct Turn<A> {
    pub now: Now,
    actions: Vec<A>,
}

impl<A: From<LogLine>> Turn<A> {
    /// A turn in which nothing has to happen yet.
    pub const fn new(now: Now) -> Self {
        Self {
            now,
            actions: Vec::new(),
        }
    }

    /// What has to happen, in this order.
    pub fn into_actions(self) -> Vec<A> {
        self.actions
    }

    /// Has something happen after all else.
    pub fn push(&mut self, action: A) {
        self.actions.push(action);
    }

    /// Writes a line for developers.
    pub fn debug(&mut self, message: String) {
        self.log(Level::Debug, message);
    }

    /// Writes a line about the normal course of things.
    pub fn info(&mut self, message: String) {
        self.log(Level::Info, message);
    }

    /// Writes a line about something that is not as it should be.
    pub fn warning(&mut self, message: String) {
        self.log(Level::Warning, message);
    }

    /// Writes a line about something that failed.
    pub fn error(&mut self, message: String) {
        self.log(Level::Error, message);
    }

    pub fn log(&mut self, level: Level, message: String) {
        self.push(LogLine { level, message }.into());
    }
}
