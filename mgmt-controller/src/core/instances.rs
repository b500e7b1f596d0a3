use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::Instance;

/// What the controller knows about instances, by name.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those of the configuration that is deployed, or is being deployed (`g_instances`).
    pub(super) wanted: BTreeMap<ZeekString, Instance>,
    /// Those whose agents are connected and said hello, in whatever configuration they are, with the address that
    /// was observed (`g_instances_known`).
    pub(super) known: BTreeMap<ZeekString, Instance>,
    /// The wanted ones whose agents are ready to deploy (`g_instances_ready`).
    pub(super) ready: BTreeSet<ZeekString>,
}

impl Instances {
    /// Whether every wanted instance is ready; also if none is wanted.
    pub(super) fn all_ready(&self) -> bool {
        self.wanted.keys().eq(&self.ready)
    }

    /// The wanted instances that are ready.
    pub(super) fn wanted_and_ready(&self) -> Vec<ZeekString> {
        self.wanted
            .keys()
            .filter(|name| self.ready.contains(*name))
            .cloned()
            .collect()
    }

    /// The host of a known instance, if its address was observed.
    pub(super) fn observed_host(&self, name: &ZeekString) -> Option<Address> {
        let host = self.known.get(name)?.host;
        (host != Address::UNSPECIFIED_V4).then_some(host)
    }

    /// Whether a wanted instance is to be reached in another way than before: at another host, at another port, or in
    /// the other direction (`is_instance_connectivity_change`).
    pub(super) fn moves(&self, instance: &Instance) -> bool {
        self.wanted.get(&instance.name).is_some_and(|before| {
            let other_host = instance.host != Address::UNSPECIFIED_V4 && instance.host != before.host;
            other_host || instance.listen_port != before.listen_port
        })
    }
}
