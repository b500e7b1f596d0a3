use broker_codec::data::ZeekString;
use mgmt_api::{Level, Now};

use super::{
    action::{Action, Outgoing},
    supervision::Command,
};

/// One call of `step`: the time, and what has to happen so far.
pub(super) struct Turn {
    pub(super) now: Now,
    actions: Vec<Action>,
}

impl Turn {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            now,
            actions: Vec::new(),
        }
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    pub(super) fn debug(&mut self, message: String) {
        self.log(Level::Debug, message);
    }

    pub(super) fn info(&mut self, message: String) {
        self.log(Level::Info, message);
    }

    pub(super) fn warning(&mut self, message: String) {
        self.log(Level::Warning, message);
    }

    pub(super) fn error(&mut self, message: String) {
        self.log(Level::Error, message);
    }

    fn log(&mut self, level: Level, message: String) {
        self.actions.push(Action::Log { level, message });
    }

    pub(super) fn publish(&mut self, topic: ZeekString, event: Outgoing) {
        self.actions.push(Action::Publish { topic, event });
    }

    pub(super) fn supervise(&mut self, command: Command) {
        self.actions.push(Action::Supervise(command));
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }
}
