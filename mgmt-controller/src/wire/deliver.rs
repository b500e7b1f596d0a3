//! Who gets what of an event of the core.

use std::collections::BTreeSet;

use broker_codec::{Recipients, json::DataMessage};
use mgmt_api::{
    Dialect, DialectError,
    dialect::{Published, Topics},
};

use super::{
    known::{Client, Wire},
    messages::{NativePeers, Publication, ToNative, websocket},
};
use crate::core::Audience;

/// What becomes of an event of the core.
#[derive(Debug, Default, PartialEq)]
pub struct Deliveries {
    /// For native peers, in this order.
    pub native: Vec<ToNative>,
    /// For WebSocket clients that have subscribed, in this order.
    pub websocket: Vec<(Recipients<u64>, DataMessage)>,
    /// For one WebSocket client alone, whatever it may hear.
    pub answer: Option<(u64, DataMessage)>,
    /// The peers or clients for which it cannot be translated, and why.
    pub failures: Vec<(String, DialectError)>,
}

impl Wire {
    /// Who gets what of an event.
    pub fn deliver(&mut self, publication: &Publication) -> Deliveries {
        let mut deliveries = Deliveries::default();
        match publication.to {
            Audience::Peer(peer) if publication.of_link => {
                let said = ToNative::new(NativePeers::One(peer), publication.published());
                deliveries.native.push(said);
            }
            Audience::Peer(peer) => {
                let Publication { topic, event, .. } = publication;
                if let Some(known) = self.peers.get(&peer) {
                    match known.agent.say(&self.topics, topic, event) {
                        Ok(said) => {
                            let native = said.map(|said| ToNative::new(NativePeers::One(peer), said));
                            deliveries.native.extend(native);
                        }
                        Err(error) => deliveries.fail(&known.client, error),
                    }
                }
                let shown = websocket(publication.published());
                deliveries.websocket.push((Recipients::all(), shown));
            }
            Audience::Client(client) => {
                if let Some(known) = self.clients.get_mut(&client) {
                    let said = deliveries.in_its_dialect(publication, &self.topics, known);
                    deliveries.answer = said.map(|said| (client, websocket(said)));
                }
            }
            Audience::NativeClient(peer) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    let said = deliveries.in_its_dialect(publication, &self.topics, &mut known.client);
                    let native = said.map(|said| ToNative::new(NativePeers::One(peer), said));
                    deliveries.native.extend(native);
                }
            }
            Audience::Subscribers => {
                let peers = self.peers.iter_mut().map(|(id, known)| (*id, &mut known.client));
                for (among, said) in deliveries.each_in_its_dialect(publication, &self.topics, peers) {
                    let native = ToNative::new(NativePeers::Subscribers(among), said);
                    deliveries.native.push(native);
                }
                let clients = self.clients.iter_mut().map(|(id, client)| (*id, client));
                for (among, said) in deliveries.each_in_its_dialect(publication, &self.topics, clients) {
                    deliveries.websocket.push((among, websocket(said)));
                }
            }
        }
        deliveries
    }
}

impl Deliveries {
    /// What subscribers get: those of older releases in their dialect, all others the event as it is. Only answers are translated:
    /// news came with our controller, and what is said to and by agents clients see as it is in the model.
    fn each_in_its_dialect<'a, K: Ord + Copy>(
        &mut self,
        publication: &Publication,
        topics: &Topics,
        listeners: impl Iterator<Item = (K, &'a mut Client)>,
    ) -> Vec<(Recipients<K>, Published)> {
        let Publication { topic, event, .. } = publication;
        let is_old = |(_, listener): &(K, &mut Client)| listener.answers.dialect != Dialect::V7_0;
        let (mut old, mut in_their_dialect) = (BTreeSet::new(), Vec::new());
        for (id, listener) in listeners.filter(is_old).filter(|_| publication.of_client) {
            old.insert(id);
            match listener.answers.say(topics, topic, event) {
                Ok(said) => in_their_dialect.extend(said.map(|said| (Recipients::one(id), said))),
                Err(error) => self.fail(listener, error),
            }
        }
        let others = (Recipients::Except(old), publication.published());
        [others].into_iter().chain(in_their_dialect).collect()
    }

    /// What one listener gets of an answer.
    fn in_its_dialect(
        &mut self,
        publication: &Publication,
        topics: &Topics,
        listener: &mut Client,
    ) -> Option<Published> {
        if listener.answers.dialect == Dialect::V7_0 {
            return Some(publication.published());
        }
        let Publication { topic, event, .. } = publication;
        let said = listener.answers.say(topics, topic, event);
        said.unwrap_or_else(|error| {
            self.fail(listener, error);
            None
        })
    }

    fn fail(&mut self, listener: &Client, error: DialectError) {
        self.failures.push((listener.principal.to_string(), error));
    }
}
