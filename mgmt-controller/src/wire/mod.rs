//! What travels between the core and those that it talks to, without I/O: a message becomes inputs or is refused, an action becomes
//! messages. The runtime drives it with sockets, a replay with a recording.
//!
//! Each client has a [`Translator`], and each peer two, one as an agent and one as a client, because each may speak another dialect
//! of the API. The task that writes shares it with the one that reads, which may be on another
//! thread if a message is long.

mod deliver;
mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use broker_codec::{
    EndpointId,
    data::{Address, ZeekString},
};
use mgmt_api::{
    Dialect, Translator,
    dialect::{Peer, Side, Topics},
    topics,
};

use crate::core::Settings;

pub use deliver::{Deliveries, NativePeers, Publication, ToNative, readable};
pub use read::{ClientReader, FromClient, FromPeer, Inbound, PeerReader, Refusal};

/// Of how many clients more than there are may translators be kept. See [`Wire::client_gone`].
const CLIENTS_IN_TRANSIT_MAX: u64 = 1000;

/// All that is known of those that the controller talks to.
#[derive(Debug)]
pub struct Wire {
    common: Arc<Common>,
    peers: BTreeMap<EndpointId, PeerLinks>,
    /// Their descriptions, by number.
    clients: BTreeMap<u64, String>,
    links: Arc<Links>,
    newest_client: u64,
}

#[derive(Debug)]
struct Common {
    settings: Settings,
    assumed: Assumed,
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

#[derive(Clone, Debug)]
struct PeerLinks {
    /// For the log.
    description: String,
    /// For what it says and hears as an agent ...
    agent: Link,
    /// ... and as a client. Nothing keeps a peer from being both.
    client: Link,
}

/// The translators of WebSocket clients, by the clients' numbers.
#[derive(Debug, Default)]
struct Links(Mutex<BTreeMap<u64, Link>>);

#[derive(Clone, Debug)]
struct Link(Arc<Mutex<Translator>>);

impl Wire {
    /// Without peers and clients.
    pub fn new(settings: Settings, assumed: Assumed) -> Self {
        Self {
            common: Arc::new(Common { settings, assumed }),
            peers: BTreeMap::new(),
            clients: BTreeMap::new(),
            links: Arc::default(),
            newest_client: 0,
        }
    }

    /// What a native endpoint subscribes to: Zeek's controller to the first two, that of 4.x to the two after
    /// them. By the last one our agents know that they may take longer than under a controller of scripts.
    pub fn subscriptions(&self) -> [ZeekString; 5] {
        let Settings {
            topic,
            agent_topic_prefix,
            ..
        } = &self.common.settings;
        [
            agent_topic_prefix.clone(),
            topic.clone(),
            topics::CLUSTER_AGENT_PREFIX.into(),
            topics::CLUSTER_CONTROLLER.into(),
            topics::LINK.into(),
        ]
    }

    /// A native peering is up. `dialled` says whether we connected to the peer, `description` is for the log.
    pub fn peer_added(&mut self, peer: EndpointId, dialled: bool, description: String) {
        let Assumed { agents, clients, .. } = self.common.assumed;
        let id = ZeekString::from(peer.to_string());
        let links = PeerLinks {
            description,
            agent: self.common.link(id.clone(), dialled, agents),
            client: self.common.link(id, dialled, clients),
        };
        self.peers.insert(peer, links);
    }

    pub fn peer_lost(&mut self, peer: EndpointId) {
        self.peers.remove(&peer);
    }

    /// Reads what a peer says. None if it is not connected.
    pub fn reader(&self, peer: EndpointId) -> Option<PeerReader> {
        Some(PeerReader {
            common: Arc::clone(&self.common),
            peer,
            links: self.peers.get(&peer)?.clone(),
        })
    }

    /// What a peer speaks as an agent and as a client, as far as is known.
    pub fn dialects(&self, peer: EndpointId) -> Option<[Dialect; 2]> {
        let PeerLinks { agent, client, .. } = self.peers.get(&peer)?;
        Some([agent, client].map(|link| link.lock().dialect()))
    }

    /// A WebSocket client is there; `description` is for the log.
    pub fn client_connected(&mut self, client: u64, description: String) {
        self.newest_client = self.newest_client.max(client);
        self.clients.insert(client, description);
    }

    /// It is gone. Something that it said may still be being read, and that brings its translator back; so translators of
    /// clients that are not there are dropped when many newer ones have come.
    pub fn client_gone(&mut self, client: u64) {
        self.clients.remove(&client);
        let (clients, newest) = (&self.clients, self.newest_client);
        self.links.lock().retain(|number, _| {
            let in_transit = *number != client && number.saturating_add(CLIENTS_IN_TRANSIT_MAX) > newest;
            clients.contains_key(number) || in_transit
        });
    }

    pub fn client(&self, client: u64) -> String {
        let description = self.clients.get(&client).cloned();
        description.unwrap_or_else(|| format!("WebSocket client {client}"))
    }

    /// Reads what WebSocket clients say.
    pub fn client_reader(&self) -> ClientReader {
        ClientReader {
            common: Arc::clone(&self.common),
            links: Arc::clone(&self.links),
        }
    }
}

impl Common {
    fn link(&self, id: ZeekString, dialled: bool, assumed: Dialect) -> Link {
        let topics = Topics {
            controller: self.settings.topic.clone(),
            agent_prefix: self.settings.agent_topic_prefix.clone(),
        };
        let peer = Peer {
            id,
            dialled,
            host: Address::UNSPECIFIED_V4,
        };
        let translator = Translator::new(Side::Controller, peer, topics, assumed);
        Link(Arc::new(Mutex::new(translator)))
    }
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The translator of a client; a new one at its first message.
    fn of(&self, client: u64, common: &Common) -> Link {
        let mut links = self.lock();
        let link = links
            .entry(client)
            .or_insert_with(|| common.link(ZeekString::default(), false, common.assumed.websocket));
        link.clone()
    }
}

impl Link {
    /// A panic in a translator ends the connection, or loses the message, that it happened for; what the translator has learnt
    /// remains usable.
    fn lock(&self) -> MutexGuard<'_, Translator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
