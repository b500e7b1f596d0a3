//! Instances go to the [clusters that they belong to](super::owners), and the connections of their agents with them.

use std::collections::BTreeSet;

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::Level;

use super::{
    cluster_name::ClusterName,
    clusters::Clusters,
    instances::target_of,
    membership::Membership,
    owners::{Claims, Move},
    peers::{Party, Target},
    turn::{About, Turn},
};

impl Clusters {
    /// A cluster's configurations have changed, or what it has dropped: instances go where they belong.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>, name: &ClusterName) {
        let Some(cluster) = self.get(name) else {
            return;
        };
        let moves = turn.common.owners.settle(name, cluster.claims());
        self.move_all(turn, moves);
        self.remove_if_void(turn, name);
    }

    /// What a cluster is to remember of instances that were dropped, it has stored.
    fn move_all(&mut self, turn: &mut Turn<'_>, moves: Vec<Move>) {
        let mut remembering = BTreeSet::new();
        for moved in moves {
            let to = moved.to.clone();
            if self.move_instance(turn, moved) {
                remembering.insert(to);
            }
        }
        for name in remembering {
            if let Some(cluster) = self.get_mut(&name) {
                cluster.store_dismissed(turn);
            }
        }
    }

    /// Returns whether the instance was dropped and has not said that it stands by.
    fn move_instance(&mut self, turn: &mut Turn<'_>, Move { instance, from, to }: Move) -> bool {
        let Some(cluster) = self.get_mut(&from) else {
            return false;
        };
        turn.speaking_of(&from, |turn| cluster.wait_no_more(turn, &instance, &to));
        let party = cluster.members.peers.part_with(&instance);
        let remembered = cluster.members.instances.part_with(&instance);
        let dismissed = remembered.0.clone();
        if party.has_agent() {
            let message = format!("instance {instance} goes from cluster {from} to cluster {to}");
            turn.report(Level::Info, About::Instance(&instance), message);
        }
        self.move_party(turn, party, &from, &to);
        if let Some(cluster) = self.get_mut(&to) {
            cluster.members.instances.take_in(instance.clone(), remembered);
            turn.speaking_of(&to, |turn| cluster.members.joined(turn, &instance));
        }
        // The other cluster connects there now.
        if let Some(target) = dismissed.as_ref().and_then(target_of)
            && let Some(cluster) = self.get_mut(&from)
        {
            cluster.members.give_up(turn, target);
        }
        dismissed.is_some()
    }

    /// At a hello: a peer that speaks for no instance yet goes to the cluster that has this one.
    pub(super) fn bring_home(&mut self, turn: &mut Turn<'_>, peer: EndpointId, instance: &ZeekString) {
        let (from, to) = (self.home_of(peer), turn.common.owners.of(instance));
        if from == to {
            return;
        }
        if let Some(cluster) = self.get_mut(&from)
            && cluster.members.peers.name_of(peer).is_none()
        {
            let party = cluster.members.peers.part_with_peer(peer);
            self.move_party(turn, party, &from, &to);
        }
    }

    /// A cluster is removed: what it has dropped is `default`'s.
    pub(super) fn release_all(&mut self, turn: &mut Turn<'_>, name: &ClusterName) {
        let moves = turn.common.owners.settle(name, Claims::default());
        self.move_all(turn, moves);
    }

    /// At start: what was dropped by one cluster and belongs to another is told by that.
    pub(super) fn settle_dropped(&mut self, turn: &Turn<'_>) {
        let dropped = self.iter().flat_map(|(name, cluster)| {
            let dropped = cluster.claims().dropped.into_iter();
            dropped.map(|instance| (name.clone(), instance))
        });
        let dropped: Vec<_> = dropped.collect();
        for (from, instance) in dropped {
            let to = turn.common.owners.of(&instance);
            if from != to
                && let Some(cluster) = self.get_mut(&from)
            {
                let remembered = cluster.members.instances.part_with(&instance);
                if let Some(cluster) = self.get_mut(&to) {
                    cluster.members.instances.take_in(instance, remembered);
                }
            }
        }
    }

    /// Connections go from one cluster to another, and with them that we connect there.
    pub(super) fn move_party(
        &mut self,
        turn: &mut Turn<'_>,
        party: Party,
        from: &ClusterName,
        to: &ClusterName,
    ) {
        let targets = party.targets();
        for peer in party.peers() {
            self.is_at_home(peer, to);
        }
        if let Some(cluster) = self.get_mut(to) {
            cluster.members.peers.take_in(party);
            for target in &targets {
                cluster.members.connect(turn, *target);
            }
        }
        if let Some(cluster) = self.get_mut(from) {
            for target in targets {
                cluster.members.give_up(turn, target);
            }
        }
    }

    /// At start: another controller may have written into Zeek's slots what a cluster of ours has.
    pub(super) fn warn_of_conflicts(&self, turn: &mut Turn<'_>) {
        for (name, cluster) in self.iter() {
            for instance in cluster.claims().named {
                if let Some(other) = turn.common.owners.named_elsewhere(&instance, name) {
                    let message = format!(
                        "instance {instance} is in the configurations of clusters {name} and {other}: it belongs to cluster {other}; deploy \
                         cluster {name} without it"
                    );
                    turn.report(Level::Error, About::Instance(&instance), message);
                }
            }
        }
    }
}

impl Membership {
    /// This place is not the cluster's any more, unless an instance of it is to be there.
    fn give_up(&mut self, turn: &mut Turn<'_>, target: Target) {
        if !self.instances.are_at(target) {
            self.disconnect(turn, target);
        }
    }

    /// An instance belongs to the cluster now, with the agent that it may have.
    fn joined(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        if self.peers.agent(name).is_some() && self.instances.are_needed(name) {
            self.welcome(turn, name);
        }
        if let Some(target) = self.instances.dismissed.get(name).and_then(target_of) {
            self.connect(turn, target);
        }
    }
}
