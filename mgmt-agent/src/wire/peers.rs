//! Controllers and nodes, as peers of a Broker endpoint: a session for each, and what each of them speaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use broker_codec::{
    EndpointId,
    data::{DataError, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    AgentMessage, AgentRequest, Dialect, DialectError, LinkMessage, NodeMessage, NodeRequest, Principal,
    Translator, Transport,
    access::{Grant, Role},
    dialect::{Peer, Published, Side, Topics, Translation},
    node_link::agent_topic,
    topics,
};

use super::node_link::{TokenOf, of_other};
use crate::core::{Action, Input, Settings, To, Turn};

/// The sessions of all peers but the Supervisor.
pub struct Sessions {
    pub(super) settings: Settings,
    of_peers: BTreeMap<EndpointId, Session>,
    /// Whether roles are set, as the latest peer has shown.
    asks_for_roles: bool,
    /// The peer that is just being added: what is said now is said because of it.
    pub new_peer: Option<EndpointId>,
}

struct Session {
    /// For what it says and hears as a controller ...
    controller: Translator,
    /// ... and as a node. Its dialect is that of the Zeek installed here, not the controller's.
    node: Translator,
    /// Whether it has said something that only controllers say. Nodes are peers as well, and a peer that has said nothing yet
    /// may be either.
    is_controller: bool,
    /// Whether it has subscribed to [`mgmt_api::topics::LINK`].
    is_ours: bool,
    /// Who it is, where roles are set.
    principal: Option<Box<Principal>>,
    /// The node of this instance that it is, by its latest hello.
    name: Option<ZeekString>,
    /// If it is one under our own supervision: the version of [`mgmt_api::node_link`] that it speaks.
    linked: Option<u64>,
}

type Addressed = (To, Published);

impl Sessions {
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            of_peers: BTreeMap::new(),
            asks_for_roles: false,
            new_peer: None,
        }
    }

    pub fn added(&mut self, peer: EndpointId, is_ours: bool, principal: Option<Box<Principal>>) {
        self.asks_for_roles = principal.is_some();
        let session = Session {
            controller: self.translator(self.settings.controller_api),
            node: self.translator(Dialect::V7_0),
            is_controller: false,
            is_ours,
            principal,
            name: None,
            linked: None,
        };
        self.of_peers.insert(peer, session);
    }

    /// A peer says something that was not added, as the Supervisor. Where roles are set it has none.
    fn know(&mut self, peer: EndpointId) {
        if !self.of_peers.contains_key(&peer) {
            let principal = self.asks_for_roles.then(|| {
                Box::new(Principal {
                    transport: Transport::Broker { peer },
                    address: None,
                    certificate: None,
                    grant: Some(Grant::default()),
                })
            });
            self.added(peer, false, principal);
        }
    }

    /// Returns the node that the peer was, if it was one.
    pub fn lost(&mut self, peer: EndpointId) -> Option<ZeekString> {
        self.of_peers.remove(&peer)?.name
    }

    /// A node of this instance is that peer, and no earlier one.
    pub fn is_node(&mut self, peer: EndpointId, node: &ZeekString) {
        for (id, session) in &mut self.of_peers {
            if *id == peer {
                session.name = Some(node.clone());
            } else if session.name.as_ref() == Some(node) {
                session.name = None;
                session.linked = None;
            }
        }
    }

    /// A node under our own supervision is that peer, and no earlier one.
    pub(super) fn is_linked(&mut self, peer: EndpointId, node: &ZeekString, protocol: u64) {
        self.is_node(peer, node);
        if let Some(session) = self.of_peers.get_mut(&peer) {
            session.linked = Some(protocol);
        }
    }

    /// The node under our own supervision that a peer is, and the version that it speaks.
    pub(super) fn linked(&self, peer: EndpointId) -> Option<(&ZeekString, u64)> {
        let session = self.of_peers.get(&peer)?;
        Some((session.name.as_ref()?, session.linked?))
    }

    /// The nodes under our own supervision that are connected.
    pub(super) fn linked_nodes(&self) -> impl Iterator<Item = &ZeekString> {
        let linked = self.of_peers.values().filter(|session| session.linked.is_some());
        linked.filter_map(|session| session.name.as_ref())
    }

    /// Whether other nodes are connected than these.
    pub(super) fn has_other_nodes(&self) -> bool {
        let mut sessions = self.of_peers.values();
        sessions.any(|session| session.name.is_some() && session.linked.is_none())
    }

    /// For a peer of which nothing is known.
    fn translator(&self, assumed: Dialect) -> Translator {
        let topics = Topics {
            agent_prefix: self.settings.topic_prefix.clone(),
            ..Topics::default()
        };
        let peer = Peer {
            // Only agents say who they are.
            id: ZeekString::default(),
            dialled: self.settings.connecting,
            host: self.settings.address,
        };
        Translator::new(Side::Agent, peer, topics, assumed)
    }

    /// What an event means to the agent, or why it means nothing. What the peer is to hear at once is in the turn then.
    ///
    /// DIFFERENCE(peer-topics): Zeek's agent handles any event that it has a handler for, from any peer and on any
    /// topic: any peer could speak for the Supervisor.
    pub fn read(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        topic: &ZeekString,
        event: Event,
        token_of: TokenOf<'_>,
    ) -> Result<Vec<Input>, String> {
        let Settings { node_topic, zeek, .. } = &self.settings;
        if *topic == *topics::LINK {
            let Some(session) = self.of_peers.get(&peer).filter(|session| session.is_ours) else {
                return Err("a peer that has not subscribed to this topic has nothing to say on it".into());
            };
            let message = event.parse().map_err(|error: DataError| error.to_string())?;
            return Ok(vec![Input::Link {
                peer,
                message,
                principal: session.principal.clone(),
            }]);
        }
        if *topic == agent_topic(node_topic) {
            self.know(peer);
            return self.read_node_link(peer, event, token_of);
        }
        let topics = self.settings.controller_topics();
        let of_controllers = topics.iter().any(|ours| topic.starts_with(ours));
        let of_node = topic == node_topic;
        if !of_controllers && !of_node {
            let of_supervisor = topic.starts_with(&zeek.topic) || topic.starts_with(&zeek.shim_topic);
            return Err(if of_supervisor {
                "only the Supervisor speaks on this topic"
            } else {
                "no agent and no node listens on this topic"
            }
            .into());
        }
        self.know(peer);
        let Some(session) = self.of_peers.get_mut(&peer) else {
            return Ok(Vec::new());
        };
        let translator = if of_node {
            &mut session.node
        } else {
            &mut session.controller
        };
        let translated = translator.incoming(topic, event);
        let Translation { to_model, to_peer } = translated.map_err(|error| error.to_string())?;
        session.is_controller |= to_model.is_some() && !of_node;
        // What is said to it without the core's doing is about its request alone.
        let to_peer = to_peer.into_iter().map(|published| (To::One(peer), published));
        publish(turn, to_peer.collect());
        let readable = |error: DataError| error.to_string();
        let (of_ours, principal) = (session.is_ours, session.principal.clone());
        let Some(Published { topic, event }) = to_model else {
            return Ok(Vec::new());
        };
        Ok(vec![if of_controllers {
            Input::Request {
                peer,
                topic,
                request: event.parse::<AgentRequest>().map_err(readable)?,
                of_ours,
                principal,
            }
        } else {
            let message = event.parse::<NodeMessage>().map_err(readable)?;
            of_other(&message, token_of)?;
            Input::Node(message)
        }])
    }

    /// Tells controllers something: as long as they all speak alike, one event for all of them, as Zeek sends it; else one for each. A
    /// peer that has not spoken yet is told, in what it may understand, that the agent is there.
    pub fn tell(&mut self, turn: &mut Turn, message: &AgentMessage) {
        let addressed = Event::of(message)
            .map_err(|error| error.to_string())
            .and_then(|event| {
                let introduces = matches!(message, AgentMessage::Hello { .. });
                self.outgoing(&event, introduces)
                    .map_err(|error| error.to_string())
            });
        match addressed {
            Ok(addressed) => publish(turn, addressed),
            Err(reason) => unsendable(turn, message.event_name(), &reason),
        }
    }

    /// Tells one controller something.
    pub fn tell_one(&mut self, turn: &mut Turn, peer: EndpointId, message: &AgentMessage) {
        let topic = self.settings.agent_topic();
        let Some(session) = self.of_peers.get_mut(&peer) else {
            return;
        };
        let said = Event::of(message)
            .map_err(|error| error.to_string())
            .and_then(|event| {
                let translated = session.controller.outgoing(&topic, &event);
                translated.map_err(|error| error.to_string())
            });
        match said {
            Ok(Translation { to_peer, .. }) => {
                let to_peer = to_peer.into_iter().map(|published| (To::One(peer), published));
                publish(turn, to_peer.collect());
            }
            Err(reason) => unsendable(turn, message.event_name(), &reason),
        }
    }

    /// Tells a controller something that speaks the extension.
    pub fn link(turn: &mut Turn, peer: EndpointId, message: &LinkMessage) {
        match Event::of(message) {
            Ok(event) => {
                let topic = topics::LINK.into();
                publish(turn, vec![(To::One(peer), Published { topic, event })]);
            }
            Err(error) => unsendable(turn, message.event_name(), &error),
        }
    }

    /// Asks nodes something. It is the same in every dialect. Returns the answers of those that need not be asked.
    pub fn ask(&self, turn: &mut Turn, request: &NodeRequest) -> Vec<Input> {
        let (answers, others) = self.dispatch_linked(turn, request);
        if !others {
            return answers;
        }
        match Event::of(request) {
            Ok(event) => {
                let topic = self.settings.node_topic.clone();
                publish(turn, vec![(To::ALL, Published { topic, event })]);
            }
            Err(error) => unsendable(turn, request.event_name(), &error),
        }
        answers
    }

    fn outgoing(&mut self, event: &Event, introduces: bool) -> Result<Vec<Addressed>, DialectError> {
        let topic = self.settings.agent_topic();
        let dialects = self.dialects();
        let except = if introduces {
            self.introduced()
        } else {
            BTreeSet::new()
        };
        let mut addressed: Vec<Addressed> = Vec::new();
        if introduces || dialects.is_empty() {
            let said = self
                .translator(self.settings.controller_api)
                .outgoing(&topic, event)?
                .to_peer;
            let to = To::Subscribers {
                except: except.clone(),
            };
            addressed.extend(said.into_iter().map(|published| (to.clone(), published)));
        }
        let controllers = self
            .of_peers
            .iter_mut()
            .filter(|(_, session)| session.is_controller);
        for (peer, session) in controllers.filter(|(peer, _)| !except.contains(peer)) {
            for published in session.controller.outgoing(&topic, event)?.to_peer {
                let alone = introduces || dialects.len() > 1;
                let to = if alone { To::One(*peer) } else { To::ALL };
                let said = |(to_other, other): &Addressed| {
                    *other == published && (to_other.one().is_none() || *to_other == to)
                };
                if !addressed.iter().any(said) {
                    addressed.push((to, published));
                }
            }
        }
        // That an agent is there is no secret.
        Ok(if introduces {
            addressed
        } else {
            self.to_permitted(addressed)
        })
    }

    /// Where roles are set, only those hear what the agent does who may also have it do something.
    fn to_permitted(&self, addressed: Vec<Addressed>) -> Vec<Addressed> {
        if !self.asks_for_roles {
            return addressed;
        }
        let permitted = |session: &Session| {
            let principal = session.principal.as_ref();
            principal.is_some_and(|principal| principal.has(Role::Deploy, None))
        };
        let permitted = self.of_peers.iter().filter(|(_, session)| permitted(session));
        let permitted: BTreeSet<EndpointId> = permitted.map(|(peer, _)| *peer).collect();
        let mut to_each = Vec::new();
        for (to, published) in addressed {
            let peers = permitted
                .iter()
                .filter(|peer| to.one().is_none_or(|to| to == **peer));
            to_each.extend(peers.map(|peer| (To::One(*peer), published.clone())));
        }
        to_each
    }

    /// Tells controllers what they are owed now that the agent has dealt with what they said: each alone, or all who subscribed if
    /// they all speak alike.
    pub fn settle(&mut self, turn: &mut Turn) {
        let alone = self.dialects().len() > 1 || self.asks_for_roles;
        for (peer, session) in &mut self.of_peers {
            match session.controller.settle() {
                Ok(owed) => {
                    let to = if alone { To::One(*peer) } else { To::ALL };
                    let owed = owed.into_iter().map(|published| (to.clone(), published));
                    publish(turn, owed.collect());
                }
                Err(error) => return unsendable(turn, "an answer", &error),
            }
        }
    }

    /// Who need not hear again that the agent is there because another peer has come: controllers of this project. Zeek's agent says
    /// it to all (`agent/main.zeek`, `Broker::peer_added`), each node's connection included.
    fn introduced(&self) -> BTreeSet<EndpointId> {
        let Some(new_peer) = self.new_peer else {
            return BTreeSet::new();
        };
        let others = self.of_peers.iter().filter(|(peer, _)| **peer != new_peer);
        let introduced = others.filter(|(_, session)| session.is_ours && session.is_controller);
        introduced.map(|(peer, _)| *peer).collect()
    }

    fn dialects(&self) -> BTreeSet<Dialect> {
        let controllers = self.of_peers.values().filter(|session| session.is_controller);
        controllers.map(|session| session.controller.dialect()).collect()
    }
}

pub(super) fn publish(turn: &mut Turn, addressed: Vec<Addressed>) {
    for (to, Published { topic, event }) in addressed {
        turn.push(Action::Publish { to, topic, event });
    }
}

pub(super) fn unsendable(turn: &mut Turn, event: &str, reason: &dyn Display) {
    turn.push(Action::Unsendable {
        event: event.into(),
        reason: reason.to_string(),
    });
}
