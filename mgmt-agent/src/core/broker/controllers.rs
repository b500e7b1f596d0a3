//! Peers other than the Supervisor, and what each of them speaks.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{EndpointId, data::ZeekString, zeek::Event};
use mgmt_api::{
    Dialect, DialectError, Translator,
    dialect::{Peer, Published, Side, Topics, Translation},
    topics,
};

use super::Settings;

const HELLO: &str = "Management::Agent::API::notify_agent_hello";

/// The translators of all peers but the Supervisor.
pub(super) struct Controllers {
    settings: Settings,
    peers: BTreeMap<EndpointId, Link>,
}

struct Link {
    /// For what it says and hears as a controller ...
    controller: Translator,
    /// ... and as a node. Its dialect is that of the Zeek installed here, not the controller's.
    node: Translator,
    /// Whether it has said something that only controllers say. Nodes are peers as well, and who has said nothing yet may be
    /// either.
    is_controller: bool,
    /// Whether it has subscribed to [`topics::LINK`].
    is_ours: bool,
}

/// An event for one peer, or for all that subscribed to the topic.
pub(super) type Addressed = (Option<EndpointId>, Published);

impl Controllers {
    pub(super) const fn new(settings: Settings) -> Self {
        Self {
            settings,
            peers: BTreeMap::new(),
        }
    }

    /// The topic of the agent for controllers of 4.x.
    pub(super) fn old_topic(settings: &Settings) -> ZeekString {
        topics::agent(topics::CLUSTER_AGENT_PREFIX.as_bytes(), &settings.agent.name)
    }

    pub(super) fn added(&mut self, peer: EndpointId, is_ours: bool) {
        let link = Link {
            controller: self.translator(self.settings.controller_api),
            node: self.translator(Dialect::V7_0),
            is_controller: false,
            is_ours,
        };
        self.peers.insert(peer, link);
    }

    pub(super) fn lost(&mut self, peer: EndpointId) {
        self.peers.remove(&peer);
    }

    /// Whether a peer is of this project.
    pub(super) fn is_ours(&self, peer: EndpointId) -> bool {
        self.peers.get(&peer).is_some_and(|link| link.is_ours)
    }

    /// For a peer of which nothing is known.
    fn translator(&self, assumed: Dialect) -> Translator {
        let topics = Topics {
            agent_prefix: self.settings.agent.topic_prefix.clone(),
            ..Topics::default()
        };
        let peer = Peer {
            // Only agents say who they are.
            id: ZeekString::default(),
            dialled: self.settings.agent.connecting,
            host: self.settings.address,
        };
        Translator::new(Side::Agent, peer, topics, assumed)
    }

    /// What a peer has said, in the model's terms, and what it is to hear at once.
    pub(super) fn incoming(
        &mut self,
        peer: EndpointId,
        topic: &ZeekString,
        event: Event,
    ) -> Result<(Vec<Published>, Vec<Addressed>), DialectError> {
        if !self.peers.contains_key(&peer) {
            self.added(peer, false);
        }
        let Some(link) = self.peers.get_mut(&peer) else {
            return Ok(Default::default());
        };
        let of_node = *topic == self.settings.agent.node_topic;
        let translator = if of_node {
            &mut link.node
        } else {
            &mut link.controller
        };
        let Translation { to_model, to_peer } = translator.incoming(topic, event)?;
        link.is_controller |= !to_model.is_empty() && !of_node;
        // What is said to it without the core's doing is about its request alone.
        let to_peer = to_peer.into_iter().map(|published| (Some(peer), published));
        Ok((to_model, to_peer.collect()))
    }

    /// What becomes of something that the agent tells controllers: as long as they all speak alike, one event for all of them,
    /// as Zeek sends it; else one for each. A peer that has not spoken yet is told, in what it may understand, that the agent is
    /// there.
    pub(super) fn outgoing(
        &mut self,
        topic: &ZeekString,
        event: &Event,
    ) -> Result<Vec<Addressed>, DialectError> {
        let introduces = event.name == *HELLO;
        let dialects = self.dialects();
        let mut addressed: Vec<Addressed> = Vec::new();
        if introduces || dialects.is_empty() {
            let said = self
                .translator(self.settings.controller_api)
                .outgoing(topic, event)?
                .to_peer;
            addressed.extend(said.into_iter().map(|published| (None, published)));
        }
        for (peer, link) in self.peers.iter_mut().filter(|(_, link)| link.is_controller) {
            for published in link.controller.outgoing(topic, event)?.to_peer {
                let to = (introduces || dialects.len() > 1).then_some(*peer);
                let said = |(to_other, other): &Addressed| {
                    *other == published && (to_other.is_none() || *to_other == to)
                };
                if !addressed.iter().any(said) {
                    addressed.push((to, published));
                }
            }
        }
        Ok(addressed)
    }

    /// What controllers are owed now that the agent has dealt with what they said.
    pub(super) fn settle(&mut self) -> Result<Vec<Addressed>, DialectError> {
        let mut addressed = Vec::new();
        let peers: Vec<EndpointId> = self.peers.keys().copied().collect();
        for peer in peers {
            let Some(link) = self.peers.get_mut(&peer) else {
                continue;
            };
            let owed = link.controller.settle()?;
            addressed.extend(self.for_peer(peer, owed));
        }
        Ok(addressed)
    }

    /// To a peer alone, or to all who subscribed if all controllers speak alike.
    fn for_peer(&self, peer: EndpointId, said: Vec<Published>) -> Vec<Addressed> {
        let to = (self.dialects().len() > 1).then_some(peer);
        said.into_iter().map(|published| (to, published)).collect()
    }

    fn dialects(&self) -> BTreeSet<Dialect> {
        let controllers = self.peers.values().filter(|link| link.is_controller);
        controllers.map(|link| link.controller.dialect()).collect()
    }
}
