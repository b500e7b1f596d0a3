use broker_codec::data::ZeekString;
use mgmt_api::Now;

use super::{
    action::{Action, Audience, Level, Outgoing},
    configurations::Slot,
    input::WriteId,
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

    pub(super) fn log(&mut self, level: Level, message: String) {
        self.actions.push(Action::Log { level, message });
    }

    pub(super) fn persist(&mut self, write: WriteId, entries: Vec<(Slot, mgmt_api::Configuration)>) {
        self.actions.push(Action::Persist { write, entries });
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn publish(&mut self, topic: ZeekString, event: Outgoing, to: Audience) {
        self.actions.push(Action::Publish { topic, event, to });
    }
}
