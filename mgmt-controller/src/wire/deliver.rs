//! What goes out.

use std::collections::BTreeSet;

use broker_codec::Recipients;
use broker_codec::{
    Data, EndpointId,
    data::{DataError, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{
    Dialect, DialectError,
    dialect::{Published, Topics},
};

use super::{Listener, Wire};
use crate::core::{Audience, Outgoing};

/// An event of the core on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    topic: ZeekString,
    event: Event,
    to: Audience,
    of_client: bool,
}

/// An event for native peers, in their dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct ToNative {
    /// Which of them.
    pub to: NativePeers,
    pub topic: ZeekString,
    event: Event,
}

/// Which native peers get an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativePeers {
    /// These, of those that have subscribed to the topic.
    Subscribers(Recipients<EndpointId>),
    /// This one, also if it has not subscribed.
    One(EndpointId),
}

/// What becomes of an event of the core.
#[derive(Debug, Default, PartialEq)]
pub struct Deliveries {
    /// For native peers, in this order.
    pub native: Vec<ToNative>,
    /// For WebSocket clients that have subscribed, in this order.
    pub websocket: Vec<(Recipients<u64>, DataMessage)>,
    /// The peers or clients for which it cannot be translated, and why.
    pub failures: Vec<(String, DialectError)>,
}

impl Publication {
    /// What [`crate::core::Action::Publish`] asks for. An error says that the event cannot be written, so no peer and no client gets it.
    pub fn new(topic: ZeekString, event: &Outgoing, to: Audience) -> Result<Self, DataError> {
        let of_client = matches!(event, Outgoing::Client(_));
        let event = event.to_event()?;
        Ok(Self {
            topic,
            event,
            to,
            of_client,
        })
    }

    fn published(&self) -> Published {
        Published {
            topic: self.topic.clone(),
            event: self.event.clone(),
        }
    }
}

impl ToNative {
    pub(super) fn new(to: NativePeers, Published { topic, event }: Published) -> Self {
        Self { to, topic, event }
    }

    /// What they get: as Zeek 9.0 sends it, with an empty list of metadata.
    pub fn to_data(&self) -> Data {
        let event = Event {
            metadata: Some(Vec::new()),
            ..self.event.clone()
        };
        event.into_data()
    }
}

impl Wire {
    /// Who gets what of an event.
    pub fn deliver(&mut self, publication: &Publication) -> Deliveries {
        let mut deliveries = Deliveries::default();
        match publication.to {
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
        listeners: impl Iterator<Item = (K, &'a mut Listener)>,
    ) -> Vec<(Recipients<K>, Published)> {
        let Publication { topic, event, .. } = publication;
        let is_old = |(_, listener): &(K, &mut Listener)| listener.answers.dialect != Dialect::V7_0;
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

    fn fail(&mut self, listener: &Listener, error: DialectError) {
        self.failures.push((listener.principal.to_string(), error));
    }
}

/// What WebSocket clients get: without metadata, and readable by zeek-client.
pub(super) fn websocket(Published { topic, mut event }: Published) -> DataMessage {
    event.metadata = None;
    readable(DataMessage {
        topic,
        data: event.into_data(),
    })
}

/// What zeek-client can read of a message, be it ours or a copy of what another client published.
pub fn readable(mut message: DataMessage) -> DataMessage {
    if has_port_0(&message.data) {
        message.data = without_port_0(message.data);
    }
    message
}

/// In the tables of the API there are texts only.
fn has_port_0(data: &Data) -> bool {
    match data {
        Data::Port(port) => port.number == 0,
        Data::Vector(elements) => elements.iter().any(has_port_0),
        Data::Set(elements) => elements.iter().any(has_port_0),
        _ => false,
    }
}

/// DIFFERENCE(no-port-0): Zeek's controller passes a port 0 on, as the one of a node that was given it, or in a copy of a client's request. zeek-client fails at the whole
/// message (`zeekclient/brokertypes.py`, `Port`, in 1.2.0 to 1.5.0). Here there is no port instead.
fn without_port_0(data: Data) -> Data {
    match data {
        Data::Port(port) if port.number == 0 => Data::None,
        Data::Vector(elements) => Data::Vector(elements.into_iter().map(without_port_0).collect()),
        Data::Set(elements) => Data::Set(elements.into_iter().map(without_port_0).collect()),
        other => other,
    }
}
