//! Which cluster an instance belongs to: the one whose configuration names it, or that has dropped it and waits for it to stand by; all
//! others are `default`'s.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;

use super::cluster_name::ClusterName;

/// The instances that clusters have.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<ZeekString, Owner>);

#[derive(Debug)]
struct Owner {
    cluster: ClusterName,
    /// By a configuration. Otherwise the cluster has dropped the instance, and another one can have it.
    is_named: bool,
}

/// What a cluster has.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The instances of its configurations.
    pub(super) named: BTreeSet<ZeekString>,
    /// Those that were dropped and have not said that they stand by.
    pub(super) dropped: BTreeSet<ZeekString>,
}

/// An instance goes from one cluster to another.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) instance: ZeekString,
    pub(super) from: ClusterName,
    pub(super) to: ClusterName,
}

impl Owners {
    /// The cluster that an instance belongs to.
    pub(super) fn of(&self, instance: &ZeekString) -> ClusterName {
        let owner = self.0.get(instance);
        owner.map_or_else(ClusterName::default_cluster, |owner| owner.cluster.clone())
    }

    /// The other cluster whose configuration names an instance.
    pub(super) fn named_elsewhere(
        &self,
        instance: &ZeekString,
        cluster: &ClusterName,
    ) -> Option<&ClusterName> {
        let owner = self.0.get(instance);
        let elsewhere = owner.filter(|owner| owner.is_named && owner.cluster != *cluster);
        elsewhere.map(|owner| &owner.cluster)
    }

    /// From now on a cluster has these instances, as far as no configuration of another cluster names them.
    pub(super) fn settle(&mut self, cluster: &ClusterName, claims: Claims) -> Vec<Move> {
        let Claims { named, dropped } = claims;
        let mut moves = Vec::new();
        self.0.retain(|instance, owner| {
            let stays = owner.cluster != *cluster || named.contains(instance) || dropped.contains(instance);
            if !stays && !cluster.is_default() {
                moves.push(Move {
                    instance: instance.clone(),
                    from: cluster.clone(),
                    to: ClusterName::default_cluster(),
                });
            }
            stays
        });
        let named = named.into_iter().map(|name| (name, true));
        // A name that is in both counts as named.
        for (instance, is_named) in dropped.into_iter().map(|name| (name, false)).chain(named) {
            let from = match self.0.get(&instance) {
                Some(owner) if owner.cluster == *cluster => None,
                Some(owner) if owner.is_named || !is_named => continue,
                _ => Some(self.of(&instance)).filter(|from| from != cluster),
            };
            if let Some(from) = from {
                let (instance, to) = (instance.clone(), cluster.clone());
                moves.push(Move { instance, from, to });
            }
            let cluster = cluster.clone();
            self.0.insert(instance, Owner { cluster, is_named });
        }
        moves
    }
}
