use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Deref, DerefMut},
};

use broker_codec::{
    EndpointId,
    data::{Excerpt, ZeekString},
};
use counters::Counters;
use mgmt_api::{
    AgentMessage, ControllerId, IdSource, LogLine, MESSAGE_BYTES_MAX, Now, Principal, State, WallClock,
    operator::{Event, EventKind, text},
};

use super::{
    action::{Action, Level},
    cluster_name::ClusterName,
    dials::Dials,
    input::{RecallId, WriteId},
    owners::Owners,
    refused::Refused,
    skew::Skew,
};
use crate::Counted;

/// How long the message of an event may be, in bytes before escaping: the last output of a node, and what is said of it.
const EVENT_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// One call of `step`: what has to happen, and what all clusters have in common.
pub(super) struct Turn<'a> {
    effects: mgmt_api::Turn<Action>,
    pub(super) ids: &'a mut dyn IdSource,
    pub(super) counters: &'a Counters<Counted>,
    /// The time of day at [`Now::START`].
    epoch: WallClock,
    pub(super) common: &'a mut Common,
    /// What follows when all else has happened.
    pub(super) follows: VecDeque<Follow>,
    /// Whether the cluster may have other instances now than before.
    pub(super) claims_have_changed: bool,
    /// The cluster that log lines are about, if it is not `default`.
    speaks_of: Option<ClusterName>,
}

/// What clusters share.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Who the controller is, to agents.
    pub(super) id: Option<ControllerId>,
    pub(super) dials: Dials,
    pub(super) owners: Owners,
    pub(super) refused: Refused,
    /// What the store writes,
    pub(super) writes: AtStore<WriteId>,
    /// and what it fetches.
    pub(super) recalls: AtStore<RecallId>,
    /// What an operator should mend of the controller itself.
    pub(super) warnings: Vec<String>,
}

/// What the store has been asked for and has not answered, and the clusters that it is of.
#[derive(Debug)]
pub(super) struct AtStore<Id> {
    last: u64,
    under_way: BTreeMap<Id, ClusterName>,
}

impl<Id: Copy + Ord + From<u64>> AtStore<Id> {
    pub(super) fn begin(&mut self, cluster: &ClusterName) -> Id {
        self.last += 1;
        let id = Id::from(self.last);
        self.under_way.insert(id, cluster.clone());
        id
    }

    pub(super) fn end(&mut self, id: Id) -> Option<ClusterName> {
        self.under_way.remove(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }
}

impl<Id> Default for AtStore<Id> {
    fn default() -> Self {
        Self {
            last: 0,
            under_way: BTreeMap::new(),
        }
    }
}

/// What happens because of an input, as if it came in when all else that the input brings about has happened.
#[derive(Debug)]
pub(super) enum Follow {
    /// A configuration was staged to be deployed.
    Deploy {
        cluster: ClusterName,
        principal: Principal,
        reqid: ZeekString,
    },
    /// What an agent cannot say is said in its place.
    Agent {
        peer: EndpointId,
        topic: ZeekString,
        message: AgentMessage,
    },
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    Cluster,
    Instance(&'a ZeekString),
    Node {
        instance: &'a ZeekString,
        node: &'a ZeekString,
        /// If that has changed.
        state: Option<State>,
    },
    /// The deployment of this request.
    Deployment(&'a ZeekString),
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        now: Now,
        ids: &'a mut dyn IdSource,
        counters: &'a Counters<Counted>,
        epoch: WallClock,
        common: &'a mut Common,
    ) -> Self {
        Self {
            effects: mgmt_api::Turn::new(now),
            ids,
            counters,
            epoch,
            common,
            follows: VecDeque::new(),
            claims_have_changed: false,
            speaks_of: None,
        }
    }

    /// Does something, of which log lines say that it is of a cluster.
    pub(super) fn speaking_of<T>(&mut self, cluster: &ClusterName, does: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.speaks_of, cluster.besides_default());
        let done = does(self);
        self.speaks_of = before;
        done
    }

    fn line(&self, message: String) -> String {
        match &self.speaks_of {
            Some(cluster) => cluster.line(&message),
            None => message,
        }
    }

    /// Writes a line for operators on standard error, and tells those who follow events.
    pub(super) fn report(&mut self, level: Level, about: About<'_>, message: String) {
        let event = self.event(level, about, message);
        self.push(Action::Report(event));
    }

    /// Tells those who follow events.
    pub(super) fn tell(&mut self, level: Level, about: About<'_>, message: String) {
        let event = self.event(level, about, message);
        self.push(Action::Event(event));
    }

    fn event(&self, level: Level, about: About<'_>, message: String) -> Box<Event> {
        let cluster = self.speaks_of.clone();
        let cluster = cluster.unwrap_or_else(ClusterName::default_cluster);
        let mut event = Event {
            time: self.wall_clock(self.now).to_rfc3339(),
            cluster: cluster.into(),
            level,
            message: bounded(message),
            ..Event::default()
        };
        match about {
            About::Cluster => {}
            About::Instance(name) => {
                event.kind = EventKind::Instance;
                event.instance = Some(text(name));
            }
            About::Node {
                instance,
                node,
                state,
            } => {
                event.kind = EventKind::Node;
                (event.instance, event.node, event.state) = (Some(text(instance)), Some(text(node)), state);
            }
            About::Deployment(reqid) => {
                event.kind = EventKind::Deployment;
                event.deployment = Some(text(reqid));
            }
        }
        Box::new(event)
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
        let message = self.line(message);
        self.effects.log(level, message);
    }

    /// A time of day, as it is told now.
    pub(super) fn told(&self, at: Now) -> String {
        self.wall_clock(at).told_at(self.wall_clock(self.now))
    }

    pub(super) fn wall_clock(&self, at: Now) -> WallClock {
        self.epoch + at.since_start()
    }

    /// How far a clock is from ours that was asked and has answered then.
    pub(super) fn skew(&self, times: (Now, Now), told: u64) -> Skew {
        Skew::measured(self.epoch, times, told)
    }

    /// A time of day, in seconds since 1970.
    pub(super) fn unix_seconds(&self, at: Now) -> u64 {
        (self.epoch + at.since_start()).unix_seconds()
    }

    pub(super) fn into_actions(self) -> Vec<Action> {
        self.effects.into_actions()
    }
}

/// What events keep of a message: all of it, unless it is longer than any of ours should be.
fn bounded(message: String) -> String {
    if message.len() <= EVENT_BYTES_MAX {
        return message;
    }
    Excerpt::new(message.as_bytes())
        .at_most(EVENT_BYTES_MAX)
        .to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_no_more_of_a_message_than_its_beginning() {
        let [longest, longer] = [EVENT_BYTES_MAX, EVENT_BYTES_MAX + 1].map(|bytes| "a".repeat(bytes));
        assert_eq!(bounded(longest.clone()), longest);
        assert_eq!(bounded(longer), format!("{longest}\u{2026} (4097 bytes)"));
    }
}
