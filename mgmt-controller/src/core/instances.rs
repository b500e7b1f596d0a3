use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Address, ZeekString};
use mgmt_api::Instance;

use super::membership::Membership;

/// What the controller knows about instances, by name.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Those of the configuration that is deployed, or is being deployed (`g_instances`).
    pub(super) wanted: BTreeMap<ZeekString, Instance>,
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

impl Instances {
    /// What always holds.
    pub(super) fn are_consistent(&self, membership: &Membership) -> bool {
        let in_both = |name| self.wanted.contains_key(name) && membership.agent(name).is_some();
        let dismissed = |name| self.dismissed.contains(name);
        self.ready.iter().all(in_both) && !self.wanted.keys().any(dismissed)
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

    /// Whether a wanted instance is to be reached in another way than before: at another host, at another port, or in
    /// the other direction (`is_instance_connectivity_change`). Where its agent is seen, it has not moved to.
    pub(super) fn moves(&self, instance: &Instance, observed: Option<Address>) -> bool {
        self.wanted.get(&instance.name).is_some_and(|before| {
            let other_host = ![Address::UNSPECIFIED_V4, before.host].contains(&instance.host)
                && observed != Some(instance.host);
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
