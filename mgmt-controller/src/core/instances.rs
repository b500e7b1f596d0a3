//! The instances of the cluster, and those that are gathered for the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::{Instance, Now};

use super::peers::{Peers, Target};

/// How many dropped instances are remembered until their agents stand by. Of more, those that are away when they are dropped
/// are not told when they return.
const DISMISSED_MAX: usize = 1024;

/// How many names are remembered with when and from where their agents were last seen. Of more, the oldest are forgotten first,
/// but not those of the cluster.
const SEEN_MAX: usize = 1024;

/// What the controller knows about instances, by name.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those of the configuration that is deployed (`g_instances`).
    pub(super) wanted: BTreeMap<ZeekString, Instance>,
    /// Those of a deployment that is not accepted yet. They are connected to and welcomed, and nothing else.
    pub(super) gathered: BTreeMap<ZeekString, Instance>,
    /// Where we connect to for these only.
    pub(super) dialled: BTreeSet<Target>,
    /// Of both, those whose agents are ready to deploy (`g_instances_ready`); all of them are connected.
    pub(super) ready: BTreeSet<ZeekString>,
    /// Those that are not wanted any more and may not know: their agents have not said that they stand by. We go on connecting to those
    /// that listen. At most [`DISMISSED_MAX`]. Stored with each deployed configuration; what changes after that is not, so that after a
    /// restart an agent may be told once more.
    pub(super) dismissed: BTreeMap<ZeekString, Instance>,
    /// The wanted ones that were not there when the others got the deployed configuration.
    behind: BTreeSet<ZeekString>,
    /// Those that are away.
    seen: BTreeMap<ZeekString, Seen>,
}

/// When and from where an agent was last seen, and why it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Now,
    pub(super) address: Address,
    pub(super) reason: String,
}

impl Instances {
    /// What always holds.
    pub(super) fn are_consistent(&self, peers: &Peers) -> bool {
        let can_be_ready = |name| self.are_needed(name) && peers.agent(name).is_some();
        let dismissed = |name| self.dismissed.contains_key(name);
        self.ready.iter().all(can_be_ready) && !self.wanted.keys().any(dismissed)
    }

    /// Whether an instance belongs to the cluster, or may soon.
    pub(super) fn are_needed(&self, name: &ZeekString) -> bool {
        self.wanted.contains_key(name) || self.gathered.contains_key(name)
    }

    /// Remembers that an instance is not wanted any more, until its agent stands by.
    pub(super) fn dismiss(&mut self, instance: &Instance) {
        if self.dismissed.len() < DISMISSED_MAX {
            self.dismissed.insert(instance.name.clone(), instance.clone());
        }
    }

    /// The agent at this place has another name: no dropped instance is there any more.
    pub(super) fn occupied(&mut self, target: Target, name: &ZeekString) {
        for (other, instance) in &mut self.dismissed {
            if other != name && target_of(instance) == Some(target) {
                instance.listen_port = None;
            }
        }
    }

    /// What [`Self::dismissed`] is when the instances that are gathered are the wanted ones.
    pub(super) fn dismissed_then(&self) -> BTreeMap<ZeekString, Instance> {
        let dropped = self.wanted.values();
        let dropped = dropped.filter(|instance| !self.gathered.contains_key(&instance.name));
        let mut then = Self {
            dismissed: self.dismissed.clone(),
            ..Self::default()
        };
        dropped.for_each(|instance| then.dismiss(instance));
        then.dismissed.retain(|name, _| !self.gathered.contains_key(name));
        then.dismissed
    }

    /// Whether every wanted instance is ready; also if none is wanted.
    pub(super) fn all_ready(&self) -> bool {
        self.wanted.keys().all(|name| self.ready.contains(name))
    }

    pub(super) fn wanted_ready(&self) -> impl Iterator<Item = &ZeekString> {
        self.wanted.keys().filter(|name| self.ready.contains(*name))
    }

    /// The wanted instances that are not ready.
    pub(super) fn wanted_missing(&self) -> impl Iterator<Item = &ZeekString> {
        self.wanted.keys().filter(|name| !self.ready.contains(*name))
    }

    /// All ready instances get the deployed configuration. Returns those that lacked it, and remembers those that lack it now.
    pub(super) fn caught_up(&mut self) -> Vec<ZeekString> {
        let missing: BTreeSet<_> = self.wanted_missing().cloned().collect();
        let before = std::mem::replace(&mut self.behind, missing);
        before
            .into_iter()
            .filter(|name| self.ready.contains(name))
            .collect()
    }

    /// Whether an instance is to be reached at this place, also to be told that it was dropped.
    pub(super) fn are_at(&self, target: Target) -> bool {
        self.name_at(target).is_some()
    }

    /// The name of such an instance.
    pub(super) fn name_at(&self, target: Target) -> Option<&ZeekString> {
        let needed = self.wanted.values().chain(self.gathered.values());
        let mut reached = needed.chain(self.dismissed.values());
        let found = reached.find(|instance| target_of(instance) == Some(target));
        found.map(|instance| &instance.name)
    }

    /// The agent of an instance is gone.
    pub(super) fn lost(&mut self, name: ZeekString, seen: Seen) {
        self.ready.remove(&name);
        self.note(name, seen);
    }

    fn note(&mut self, name: ZeekString, seen: Seen) {
        self.seen.insert(name, seen);
        if self.seen.len() > SEEN_MAX {
            let others = self.seen.iter().filter(|(name, _)| !self.are_needed(name));
            let oldest = others.min_by_key(|(_, seen)| seen.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.seen.remove(&oldest);
            }
        }
    }

    /// Another cluster has an instance from now on: what is remembered of it.
    pub(super) fn part_with(&mut self, name: &ZeekString) -> (Option<Instance>, Option<Seen>) {
        (self.dismissed.remove(name), self.seen.remove(name))
    }

    /// An instance comes from another cluster, with what is remembered of it.
    pub(super) fn take_in(&mut self, name: ZeekString, (dismissed, seen): (Option<Instance>, Option<Seen>)) {
        if let Some(instance) = dismissed {
            self.dismiss(&instance);
        }
        if let Some(seen) = seen {
            self.note(name, seen);
        }
    }

    /// An instance has an agent. Returns for how long it had none, if it had one before.
    pub(super) fn found(&mut self, name: &ZeekString, now: Now) -> Option<Duration> {
        self.seen.remove(name).map(|seen| now - seen.at)
    }

    /// When an instance that is away was last seen.
    pub(super) fn last_seen(&self, name: &ZeekString) -> Option<&Seen> {
        self.seen.get(name)
    }
}

/// Where we connect to for an instance, if its agent does not connect to us.
pub(super) fn target_of(instance: &Instance) -> Option<Target> {
    instance.listen_port.map(|port| (instance.host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_dropped_instances_are_remembered_than_the_limit_says() {
        let mut instances = Instances::default();
        for number in 0..2 * DISMISSED_MAX {
            instances.dismiss(&Instance::new(format!("host{number}")));
        }
        assert_eq!(instances.dismissed.len(), DISMISSED_MAX);
    }

    #[test]
    fn no_more_names_are_remembered_than_the_limit_says_and_those_of_the_cluster_first() {
        let mut instances = Instances::default();
        let name = |number: usize| ZeekString::from(format!("host{number}"));
        instances.wanted.insert(name(0), Instance::new(name(0)));
        for number in 0..2 * SEEN_MAX {
            let seen = Seen {
                at: Now::from_start(Duration::from_secs(number as u64)),
                address: Address::UNSPECIFIED_V4,
                reason: String::new(),
            };
            instances.lost(name(number), seen);
        }
        assert_eq!(instances.seen.len(), SEEN_MAX);
        assert!(instances.last_seen(&name(0)).is_some());
        assert!(instances.last_seen(&name(1)).is_none());
        assert!(instances.last_seen(&name(2 * SEEN_MAX - 1)).is_some());
    }
}
