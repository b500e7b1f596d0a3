//! Where the controller connects to: for which clusters, and which agents it has found there.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;

use super::{cluster_name::ClusterName, peers::Target};

#[derive(Debug, Default)]
pub(super) struct Dials(BTreeMap<Target, Dial>);

#[derive(Debug, Default)]
struct Dial {
    wanted_by: BTreeSet<ClusterName>,
    /// Whether a connection is opened again when it ends. It is not where we have closed it.
    is_kept: bool,
    /// The instance that the agent there speaks for.
    found: Option<ZeekString>,
}

/// What a wish for a connection brings about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Whether the cluster did not want it before.
    pub(super) is_new: bool,
    /// Whether it is to be opened.
    pub(super) is_to_open: bool,
}

impl Dials {
    /// A cluster wants to be connected there.
    pub(super) fn want(&mut self, target: Target, cluster: &ClusterName) -> Wanted {
        let dial = self.0.entry(target).or_default();
        Wanted {
            is_new: dial.wanted_by.insert(cluster.clone()),
            is_to_open: !std::mem::replace(&mut dial.is_kept, true),
        }
    }

    /// A cluster does not want that any more. Returns whether the connection is to be ended, as no other one does.
    pub(super) fn leave(&mut self, target: Target, cluster: &ClusterName) -> bool {
        let Some(dial) = self.0.get_mut(&target) else {
            return false;
        };
        let was_wanted = dial.wanted_by.remove(cluster);
        let is_kept = dial.is_kept;
        dial.wanted_by.is_empty() && self.0.remove(&target).is_some() && was_wanted && is_kept
    }

    /// A cluster has the connection there closed.
    pub(super) fn closed(&mut self, target: Target, cluster: &ClusterName) {
        if let Some(dial) = self.0.get_mut(&target) {
            dial.wanted_by.remove(cluster);
            dial.is_kept = false;
            if dial.wanted_by.is_empty() {
                self.0.remove(&target);
            }
        }
    }

    /// A connection there has ended. Returns whether it is to be opened again, as clusters want it and it was closed.
    pub(super) fn ended(&mut self, target: Target) -> bool {
        let dial = self.0.get_mut(&target);
        dial.is_some_and(|dial| {
            dial.found = None;
            !std::mem::replace(&mut dial.is_kept, true)
        })
    }

    /// The agent there speaks for this instance, or there is none any more.
    pub(super) fn finds(&mut self, target: Target, name: Option<&ZeekString>) {
        if let Some(dial) = self.0.get_mut(&target) {
            dial.found = name.cloned();
        }
    }

    /// The instance that the agent there speaks for.
    pub(super) fn found(&self, target: Target) -> Option<&ZeekString> {
        self.0.get(&target)?.found.as_ref()
    }

    /// The clusters that want to be connected there.
    pub(super) fn wanted_by(&self, target: Target) -> impl Iterator<Item = &ClusterName> {
        self.0.get(&target).into_iter().flat_map(|dial| &dial.wanted_by)
    }

    /// A cluster is removed. Returns the connections that are to be ended.
    pub(super) fn forget(&mut self, cluster: &ClusterName) -> Vec<Target> {
        let wanted = self.0.iter().filter(|(_, dial)| dial.wanted_by.contains(cluster));
        let targets: Vec<_> = wanted.map(|(target, _)| *target).collect();
        targets
            .into_iter()
            .filter(|target| self.leave(*target, cluster))
            .collect()
    }
}
