use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
};

use broker_codec::{EndpointId, data::ZeekString};
use counters::Counters;
use mgmt_api::{AgentMessage, IdSource, LogLine, Now, Principal, WallClock};

use super::action::{Action, Level};
use crate::Counted;

/// One call of `step`: what has to happen, and what all clusters have in common.
pub(super) struct Turn<'a> {
    effects: mgmt_api::Turn<Action>,
    pub(super) ids: &'a mut dyn IdSource,
    pub(super) counters: &'a Counters<Counted>,
    /// The time of day at [`Now::START`].
    epoch: WallClock,
    /// What follows when all else has happened.
    pub(super) follows: VecDeque<Follow>,
}

/// What happens because of an input, as if it came in when all else that the input brings about has happened.
#[derive(Debug)]
pub(super) enum Follow {
    /// A configuration was staged to be deployed.
    Deploy { principal: Principal, reqid: ZeekString },
    /// What an agent cannot say is said in its place.
    Agent {
        peer: EndpointId,
        topic: ZeekString,
        message: AgentMessage,
    },
}

impl<'a> Turn<'a> {
    pub(super) const fn new(
        now: Now,
        ids: &'a mut dyn IdSource,
        counters: &'a Counters<Counted>,
        epoch: WallClock,
    ) -> Self {
        Self {
            effects: mgmt_api::Turn::new(now),
            ids,
            counters,
            epoch,
            follows: VecDeque::new(),
        }
    }

    /// Writes a line for operators on standard error.
    pub(super) fn report(&mut self, level: Level, message: String) {
        self.push(Action::Report { level, message });
    }

    /// A time of day, as it is told now.
    pub(super) fn told(&self, at: Now) -> String {
        self.wall_clock(at).told_at(self.wall_clock(self.now))
    }

    pub(super) fn wall_clock(&self, at: Now) -> WallClock {
        self.epoch + at.since_start()
    }

    /// A time of day, in seconds since 1970.
    pub(super) fn unix_seconds(&self, at: Now) -> u64 {
        (self.epoch + at.since_start()).unix_seconds()
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.effects.into_actions()
    }
}

impl Deref for Turn<'_> {
    type Target = mgmt_api::Turn<Action>;

    fn deref(&self) -> &Self::Target {
        &self.effects
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.effects
    }
}

impl From<LogLine> for Action {
    fn from(LogLine { level, message }: LogLine) -> Self {
        Self::Log { level, message }
    }
}
