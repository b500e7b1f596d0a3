use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{
    EndpointId,
    data::{Address, ZeekString},
};
use mgmt_api::Instance;

/// What the controller knows about instances, by name.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those of the configuration that is deployed, or is being deployed (`g_instances`).
    pub(super) wanted: BTreeMap<ZeekString, Instance>,
    /// Those whose agents are connected and said hello, in whatever configuration they are (`g_instances_known`).
    pub(super) known: BTreeMap<ZeekString, Agent>,
    /// The wanted ones whose agents are ready to deploy (`g_instances_ready`); all of them are known.
    pub(super) ready: BTreeSet<ZeekString>,
    /// Those that are not wanted any more and may not know: their agents have not said that they stand by. At most
    /// [`DISMISSED_MAX`]. Stored with each deployed configuration; what changes after that is not, so that after a restart
    /// an agent may be told once more.
    pub(super) dismissed: BTreeSet<ZeekString>,
}

/// How many dropped instances are remembered until their agents stand by. Of more, those that are away when they are dropped
/// are not told when they return.
pub const DISMISSED_MAX: usize = 1024;

/// The agent of a known instance.
#[derive(Debug)]
pub(super) struct Agent {
    /// Its peer, which is the only one that can speak for the instance.
    pub(super) peer: EndpointId,
    /// The instance as it was observed.
    pub(super) observed: Instance,
    /// The id of the `agent_welcome_request` that it has not answered yet.
    pub(super) welcome: Option<ZeekString>,
}

impl Instances {
    /// What always holds.
    pub(super) fn are_consistent(&self) -> bool {
        let peers: BTreeSet<_> = self.known.values().map(|agent| agent.peer).collect();
        let in_both = |name| self.wanted.contains_key(name) && self.known.contains_key(name);
        let dismissed = |name| self.dismissed.contains(name);
        self.ready.iter().all(in_both)
            && peers.len() == self.known.len()
            && !self.wanted.keys().any(dismissed)
    }

    /// Remembers that an instance is not wanted any more, until its agent stands by.
    pub(super) fn dismiss(&mut self, name: ZeekString) {
        if self.dismissed.len() < DISMISSED_MAX {
            self.dismissed.insert(name);
        }
    }

    /// Whether every wanted instance is ready; also if none is wanted.
    pub(super) fn all_ready(&self) -> bool {
        self.wanted.keys().eq(&self.ready)
    }

    /// The host of a known instance, if its address was observed.
    pub(super) fn observed_host(&self, name: &ZeekString) -> Option<Address> {
        let host = self.known.get(name)?.observed.host;
        (host != Address::UNSPECIFIED_V4).then_some(host)
    }

    /// Whether a wanted instance is to be reached in another way than before: at another host, at another port, or in
    /// the other direction (`is_instance_connectivity_change`). Where its agent is seen, it has not moved to.
    pub(super) fn moves(&self, instance: &Instance) -> bool {
        self.wanted.get(&instance.name).is_some_and(|before| {
            let other_host = ![Address::UNSPECIFIED_V4, before.host].contains(&instance.host)
                && self.observed_host(&instance.name) != Some(instance.host);
            other_host || instance.listen_port != before.listen_port
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_dropped_instances_are_remembered_than_the_limit_says() {
        let mut instances = Instances::default();
        for number in 0..2 * DISMISSED_MAX {
            instances.dismiss(format!("host{number}").as_str().into());
        }
        assert_eq!(instances.dismissed.len(), DISMISSED_MAX);
    }
}
