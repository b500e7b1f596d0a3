use std::collections::BTreeMap;

use broker_codec::{EndpointId, data::ZeekString};

use super::{Agent, Peer, Peers, Target};

/// Connections that go from one cluster to another, and the names that agents among them hold.
#[derive(Debug, Default)]
pub(in crate::core) struct Party {
    peers: BTreeMap<EndpointId, Peer>,
    agents: BTreeMap<ZeekString, Agent>,
}

impl Party {
    pub(in crate::core) fn has_agent(&self) -> bool {
        !self.agents.is_empty()
    }

    pub(in crate::core) fn peers(&self) -> impl Iterator<Item = EndpointId> {
        self.peers.keys().copied()
    }

    /// Where we connected to them.
    pub(in crate::core) fn targets(&self) -> Vec<Target> {
        let targets = self.peers.values().filter_map(|peer| peer.peering.target());
        targets.collect()
    }
}

impl Peers {
    /// Gives the agent of an instance away, and the peers that wait for its name.
    pub(in crate::core) fn part_with(&mut self, name: &ZeekString) -> Party {
        self.part(|_, peer| {
            let waits_for = peer.waiting.as_ref().map(|hello| &hello.instance);
            peer.name.as_ref() == Some(name) || waits_for == Some(name)
        })
    }

    /// Gives a peer away.
    pub(in crate::core) fn part_with_peer(&mut self, id: EndpointId) -> Party {
        self.part(|other, _| *other == id)
    }

    /// Gives all peers away.
    pub(in crate::core) fn part_with_all(&mut self) -> Party {
        self.part(|_, _| true)
    }

    fn part(&mut self, goes: impl Fn(&EndpointId, &Peer) -> bool) -> Party {
        let all = std::mem::take(&mut self.peers).into_iter();
        let (going, staying): (BTreeMap<_, _>, BTreeMap<_, _>) = all.partition(|(id, peer)| goes(id, peer));
        self.peers = staying;
        let names = going.values().filter_map(|peer| peer.name.as_ref());
        let agents = names.filter_map(|name| self.agents.remove_entry(name));
        let agents = agents.collect();
        Party { peers: going, agents }
    }

    /// Takes in what another cluster has given away.
    pub(in crate::core) fn take_in(&mut self, Party { peers, agents }: Party) {
        self.peers.extend(peers);
        self.agents.extend(agents);
    }
}
