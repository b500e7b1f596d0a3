//! Who gets what of an event of the core.

use std::collections::BTreeSet;

use broker_codec::{EndpointId, Recipients, data::ZeekString, json::DataMessage, zeek::Event};
use mgmt_api::{
    Dialect,
    dialect::{Published, Topics},
};

use super::{
    known::{Client, Wire},
    messages::{NativePeers, NotSaid, Publication, Said, ToNative, websocket},
    shared::Deploy,
};
use crate::core::{Audience, SharedRequest};

/// What becomes of an event of the core.
#[derive(Debug, Default, PartialEq)]
pub struct Deliveries {
    /// For native peers, in this order.
    pub native: Vec<ToNative>,
    /// For WebSocket clients that have subscribed, in this order.
    pub websocket: Vec<(Recipients<u64>, DataMessage)>,
    /// For one WebSocket client alone, whatever it may hear.
    pub answer: Option<(u64, DataMessage)>,
    /// The peers or clients for which it cannot be written, and why.
    pub failures: Vec<(String, NotSaid)>,
}

impl Wire {
    /// Who gets what of an event. Of what is for one peer, WebSocket clients get a copy if some listen on its topic.
    pub fn deliver(&mut self, publication: &Publication, is_heard: bool) -> Deliveries {
        match &publication.said {
            Said::Event(event) => self.deliver_event(publication, event, is_heard),
            Said::Deploy(peer, deploy) => self.hand_out(*peer, &publication.topic, deploy, is_heard),
            Said::Request(peer, request) => self.ask(*peer, &publication.topic, request),
        }
    }

    fn ask(&mut self, peer: EndpointId, topic: &ZeekString, request: &SharedRequest) -> Deliveries {
        let mut deliveries = Deliveries::default();
        match self.asked.say(request) {
            Ok(payload) => {
                let said = ToNative::encoded(NativePeers::One(peer), topic.clone(), payload);
                deliveries.native.push(said);
            }
            Err(error) => deliveries.failures.push((peer.to_string(), error)),
        }
        deliveries
    }

    fn hand_out(
        &mut self,
        peer: EndpointId,
        topic: &ZeekString,
        deploy: &Deploy,
        is_heard: bool,
    ) -> Deliveries {
        let mut deliveries = Deliveries::default();
        if let Some(known) = self.peers.get(&peer) {
            match self.handed_out.say(known.agent, deploy) {
                Ok(said) => deliveries.native.extend(said.map(|payload| {
                    let topic = known.agent.topic(&self.topics, topic);
                    ToNative::encoded(NativePeers::One(peer), topic, payload)
                })),
                Err(error) => deliveries.fail(&known.client, error),
            }
        }
        if is_heard && let Ok(event) = deploy.to_event() {
            let topic = topic.clone();
            let shown = websocket(Published { topic, event });
            deliveries.websocket.push((Recipients::all(), shown));
        }
        deliveries
    }

    fn deliver_event(&mut self, publication: &Publication, event: &Event, is_heard: bool) -> Deliveries {
        let mut deliveries = Deliveries::default();
        let topic = &publication.topic;
        let published = || Published {
            topic: topic.clone(),
            event: event.clone(),
        };
        match publication.to {
            Audience::Peer(peer) if publication.of_link => {
                let said = ToNative::new(NativePeers::One(peer), published());
                deliveries.native.push(said);
            }
            Audience::Peer(peer) => {
                if let Some(known) = self.peers.get(&peer) {
                    match known.agent.say(&self.topics, topic, event) {
                        Ok(said) => {
                            let native = said.map(|said| ToNative::new(NativePeers::One(peer), said));
                            deliveries.native.extend(native);
                        }
                        Err(error) => deliveries.fail(&known.client, error),
                    }
                }
                if is_heard {
                    let shown = websocket(published());
                    deliveries.websocket.push((Recipients::all(), shown));
                }
            }
            Audience::Client(client) => {
                if let Some(known) = self.clients.get_mut(&client) {
                    let said = deliveries.in_its_dialect(published(), &self.topics, known);
                    deliveries.answer = said.map(|said| (client, websocket(said)));
                }
            }
            Audience::NativeClient(peer) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    let said = deliveries.in_its_dialect(published(), &self.topics, &mut known.client);
                    let native = said.map(|said| ToNative::new(NativePeers::One(peer), said));
                    deliveries.native.extend(native);
                }
            }
            Audience::Subscribers => {
                let peers = self.peers.iter_mut().map(|(id, known)| (*id, &mut known.client));
                for (among, said) in
                    deliveries.each_in_its_dialect(publication, published(), &self.topics, peers)
                {
                    let native = ToNative::new(NativePeers::Subscribers(among), said);
                    deliveries.native.push(native);
                }
                let clients = self.clients.iter_mut().map(|(id, client)| (*id, client));
                for (among, said) in
                    deliveries.each_in_its_dialect(publication, published(), &self.topics, clients)
                {
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
        published: Published,
        topics: &Topics,
        listeners: impl Iterator<Item = (K, &'a mut Client)>,
    ) -> Vec<(Recipients<K>, Published)> {
        let Published { topic, event } = &published;
        let is_old = |(_, listener): &(K, &mut Client)| listener.answers.dialect != Dialect::V7_0;
        let (mut old, mut in_their_dialect) = (BTreeSet::new(), Vec::new());
        for (id, listener) in listeners.filter(is_old).filter(|_| publication.of_client) {
            old.insert(id);
            match listener.answers.say(topics, topic, event) {
                Ok(said) => in_their_dialect.extend(said.map(|said| (Recipients::one(id), said))),
                Err(error) => self.fail(listener, error),
            }
        }
        let others = (Recipients::Except(old), published);
        [others].into_iter().chain(in_their_dialect).collect()
    }

    /// What one listener gets of an answer.
    fn in_its_dialect(
        &mut self,
        published: Published,
        topics: &Topics,
        listener: &mut Client,
    ) -> Option<Published> {
        if listener.answers.dialect == Dialect::V7_0 {
            return Some(published);
        }
        let said = listener.answers.say(topics, &published.topic, &published.event);
        said.unwrap_or_else(|error| {
            self.fail(listener, error);
            None
        })
    }

    fn fail(&mut self, listener: &Client, error: impl Into<NotSaid>) {
        self.failures.push((listener.principal.to_string(), error.into()));
    }
}
