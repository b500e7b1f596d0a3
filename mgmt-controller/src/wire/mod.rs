//! What travels between the core and those that it talks to, without I/O: a message becomes inputs or is refused, an action becomes
//! messages. The runtime drives it with sockets, a replay with a recording.
//!
//! Each peer and each client has a [`Translator`], because each may speak another dialect of the API. It is shared by whoever
//! reads what comes from there, which may be another thread if it is much, and whoever writes what goes there.

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

pub use deliver::{Deliveries, NativePeers, Publication, ToNative};
pub use read::{ClientReader, FromClient, FromPeer, Heard, PeerReader, Refusal};

/// Of how many clients more than there are may translators be kept. See [`Wire::client_gone`].
const CLIENTS_IN_TRANSIT_MAX: u64 = 1000;

/// All that is known of those that the controller talks to.
#[derive(Debug)]
pub struct Wire {
    common: Arc<Common>,
    peers: BTreeMap<EndpointId, Party>,
    /// By number, clients in words.
    clients: BTreeMap<u64, String>,
    links: Arc<Links>,
    newest_client: u64,
}

#[derive(Debug)]
struct Common {
    settings: Settings,
    /// What is assumed of those that have not said anything.
    assumed: Dialect,
}

/// A native peer.
#[derive(Clone, Debug)]
struct Party {
    /// For the log.
    words: String,
    link: Link,
}

/// The translators of WebSocket clients, by the clients' numbers.
#[derive(Debug, Default)]
struct Links(Mutex<BTreeMap<u64, Link>>);

/// One connection's translator.
#[derive(Clone, Debug)]
struct Link(Arc<Mutex<Translator>>);

impl Wire {
    /// `assumed` is what peers and clients are taken to speak that have not said anything.
    pub fn new(settings: Settings, assumed: Dialect) -> Self {
        Self {
            common: Arc::new(Common { settings, assumed }),
            peers: BTreeMap::new(),
            clients: BTreeMap::new(),
            links: Arc::default(),
            newest_client: 0,
        }
    }

    /// What a native endpoint subscribes to: Zeek's controller to the first two, that of 4.x to the last two.
    pub fn subscriptions(&self) -> [ZeekString; 4] {
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
        ]
    }

    /// A native peering is up. `dialled` says whether we connected to the peer, `words` who it is, for the log.
    pub fn peer_added(&mut self, peer: EndpointId, dialled: bool, words: String) {
        let link = self.common.link(peer.to_string().into(), dialled);
        self.peers.insert(peer, Party { words, link });
    }

    /// It has ended.
    pub fn peer_lost(&mut self, peer: EndpointId) {
        self.peers.remove(&peer);
    }

    /// Reads what a peer says. None if it is not connected.
    pub fn reader(&self, peer: EndpointId) -> Option<PeerReader> {
        let Party { words, link } = self.peers.get(&peer)?.clone();
        Some(PeerReader {
            common: Arc::clone(&self.common),
            peer,
            words,
            link,
        })
    }

    /// What a peer speaks, as far as is known.
    pub fn dialect(&self, peer: EndpointId) -> Option<Dialect> {
        self.peers.get(&peer).map(|party| party.link.lock().dialect())
    }

    /// A WebSocket client is there; `words` say who it is, for the log.
    pub fn client_connected(&mut self, client: u64, words: String) {
        self.newest_client = self.newest_client.max(client);
        self.clients.insert(client, words);
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

    /// A client, in words.
    pub fn client(&self, client: u64) -> String {
        let words = self.clients.get(&client).cloned();
        words.unwrap_or_else(|| format!("WebSocket client {client}"))
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
    fn link(&self, id: ZeekString, dialled: bool) -> Link {
        let topics = Topics {
            controller: self.settings.topic.clone(),
            agent_prefix: self.settings.agent_topic_prefix.clone(),
        };
        let peer = Peer {
            id,
            dialled,
            host: Address::UNSPECIFIED_V4,
        };
        let translator = Translator::new(Side::Controller, peer, topics, self.assumed);
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
            .or_insert_with(|| common.link(ZeekString::default(), false));
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
