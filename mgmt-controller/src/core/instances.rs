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
}

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
        self.ready.iter().all(in_both) && peers.len() == self.known.len()
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
