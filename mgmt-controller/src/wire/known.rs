//! What is known of the peers and clients that the controller talks to.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{Address, ZeekString},
};
use mgmt_api::{
    Dialect, Principal, Translator,
    dialect::{Answers, Peer, Side, Topics},
    topics,
};

use super::{
    clients::{ClientSession, FromClient},
    peers::{FromPeer, PeerSession},
    shared::{Asked, HandedOut},
};
use crate::core::{Input, Settings};

/// What is known of those that the controller talks to.
#[derive(Debug)]
pub struct Wire {
    pub(super) topics: Topics,
    assumed: Assumed,
    pub(super) peers: BTreeMap<EndpointId, NativePeer>,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) handed_out: HandedOut,
    pub(super) asked: Asked,
}

/// A native peer.
#[derive(Debug)]
pub(super) struct NativePeer {
    /// None while it is with [`Wire::session`]'s caller.
    session: Option<PeerSession>,
    /// What it speaks as an agent.
    pub(super) agent: Dialect,
    /// Nothing keeps an agent from being a client as well.
    pub(super) client: Client,
}

/// A client, or a peer as one.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) principal: Principal,
    pub(super) answers: Answers,
}

/// What those speak that have not said anything that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// Agents.
    pub agents: Dialect,
    /// Clients over native Broker.
    pub clients: Dialect,
    /// Clients over WebSocket. Zeek has that since 5.2.
    pub websocket: Dialect,
}

impl Assumed {
    /// They are all contemporaries.
    pub const fn all(dialect: Dialect) -> Self {
        Self {
            agents: dialect,
            clients: dialect,
            websocket: dialect,
        }
    }
}

/// Today's API.
impl Default for Assumed {
    fn default() -> Self {
        Self::all(Dialect::V7_0)
    }
}

impl Wire {
    /// How many WebSocket clients are connected.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Without peers and clients.
    pub fn new(settings: Settings, assumed: Assumed) -> Self {
        Self {
            topics: Topics {
                controller: settings.topic,
                agent_prefix: settings.agent_topic_prefix,
            },
            assumed,
            peers: BTreeMap::new(),
            clients: BTreeMap::new(),
            handed_out: HandedOut::default(),
            asked: Asked::default(),
        }
    }

    /// What a native endpoint subscribes to: Zeek's controller to the first two, that of 4.x to the two after
    /// them. The last one is that of the extension; by it our agents know that they may take longer than under a controller of scripts.
    pub fn subscriptions(&self) -> [ZeekString; 5] {
        [
            self.topics.agent_prefix.clone(),
            self.topics.controller.clone(),
            topics::CLUSTER_AGENT_PREFIX.into(),
            topics::CLUSTER_CONTROLLER.into(),
            topics::LINK.into(),
        ]
    }

    /// A native peering is up. `dialled` says whether we connected to the peer.
    pub fn peer_added(&mut self, peer: EndpointId, dialled: bool, principal: Principal) {
        let Assumed { agents, clients, .. } = self.assumed;
        let id = ZeekString::from(peer.to_string());
        let session = PeerSession {
            peer,
            principal: principal.clone(),
            topics: self.topics.clone(),
            agent: translator(&self.topics, id.clone(), dialled, agents),
            client: translator(&self.topics, id, dialled, clients),
            is_copied: false,
        };
        let known = NativePeer {
            session: Some(session),
            agent: agents,
            client: Client::new(principal, clients),
        };
        self.peers.insert(peer, known);
    }

    pub fn peer_lost(&mut self, peer: EndpointId) {
        self.peers.remove(&peer);
    }

    /// Reads what a peer says, on any thread; [`Self::heard`] follows before the next message. None if the peer is not connected.
    pub fn session(&mut self, peer: EndpointId) -> Option<PeerSession> {
        let mut session = self.peers.get_mut(&peer)?.session.take()?;
        session.is_copied = !self.clients.is_empty();
        Some(session)
    }

    /// A peer's session comes back with what it has read, if that could be read.
    pub fn heard(&mut self, session: PeerSession, read: Option<&FromPeer>) {
        let Some(known) = self.peers.get_mut(&session.peer) else {
            return;
        };
        known.agent = session.agent.dialect();
        let inbound = read.and_then(|read| read.inbound.as_ref());
        known
            .client
            .heard(session.client.dialect(), inbound.map(|inbound| &inbound.input));
        known.session = Some(session);
    }

    /// What a peer speaks as an agent and as a client, as far as is known.
    pub fn dialects(&self, peer: EndpointId) -> Option<[Dialect; 2]> {
        let NativePeer { agent, client, .. } = self.peers.get(&peer)?;
        Some([*agent, client.answers.dialect])
    }

    /// Makes what reads the messages of a WebSocket client, in the client's own task.
    pub fn client_sessions(&self) -> impl Fn(Principal) -> ClientSession + Send + Sync + use<> {
        let (topics, assumed) = (self.topics.clone(), self.assumed.websocket);
        move |principal| ClientSession {
            translator: translator(&topics, ZeekString::default(), false, assumed),
            topic: topics.controller.clone(),
            principal,
        }
    }

    /// A WebSocket client is there.
    pub fn client_connected(&mut self, client: u64, principal: Principal) {
        let listener = Client::new(principal, self.assumed.websocket);
        self.clients.insert(client, listener);
    }

    /// A WebSocket client's session has read something.
    pub fn client_heard(&mut self, client: u64, read: &FromClient) {
        if let Some(listener) = self.clients.get_mut(&client) {
            listener.heard(read.dialect, read.input.as_ref());
        }
    }

    pub fn client_gone(&mut self, client: u64) {
        self.clients.remove(&client);
    }
}

impl Client {
    const fn new(principal: Principal, assumed: Dialect) -> Self {
        Self {
            principal,
            answers: Answers::new(assumed),
        }
    }

    fn heard(&mut self, dialect: Dialect, input: Option<&Input>) {
        self.answers.dialect = dialect;
        if let Some(Input::SetConfiguration { reqid, .. }) = input {
            self.answers.set_configuration(reqid.clone());
        }
    }
}

fn translator(topics: &Topics, id: ZeekString, dialled: bool, assumed: Dialect) -> Translator {
    let peer = Peer {
        id,
        dialled,
        host: Address::UNSPECIFIED_V4,
    };
    Translator::new(Side::Controller, peer, topics.clone(), assumed)
}
