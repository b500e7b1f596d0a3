//! What goes out.

use std::collections::BTreeSet;

use broker_codec::{
    Data, EndpointId,
    data::{DataError, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use broker_endpoint::Recipients;
use mgmt_api::{
    Dialect, DialectError,
    dialect::{Published, Translation},
};

use super::{Link, PeerLinks, Wire, read};
use crate::core::{Audience, Input, Outgoing};

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
    /// For the core, after the rest of its actions: what a peer or a client would say in return if it spoke the model.
    pub inputs: Vec<Input>,
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
    pub(super) fn one(peer: EndpointId, Published { topic, event }: Published) -> Self {
        let to = NativePeers::One(peer);
        Self { to, topic, event }
    }

    fn subscribers(among: Recipients<EndpointId>, Published { topic, event }: Published) -> Self {
        let to = NativePeers::Subscribers(among);
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
    pub fn deliver(&self, publication: &Publication) -> Deliveries {
        let mut deliveries = Deliveries::default();
        match publication.to {
            Audience::Peer(peer) => {
                if let Some(links) = self.peers.get(&peer) {
                    let to_peer = self.translate(
                        &mut deliveries,
                        publication,
                        (&links.agent, Some(peer), &links.description),
                    );
                    let to_native = |published| ToNative::one(peer, published);
                    deliveries.native = to_peer.into_iter().map(to_native).collect();
                }
                deliveries
                    .websocket
                    .push((Recipients::all(), websocket(publication.published())));
            }
            Audience::Subscribers => {
                self.deliver_to_subscribing_peers(&mut deliveries, publication);
                self.deliver_to_clients(&mut deliveries, publication);
            }
        }
        deliveries
    }

    /// Only answers are translated for clients: news came with our controller.
    fn deliver_to_subscribing_peers(&self, deliveries: &mut Deliveries, publication: &Publication) {
        let is_old =
            |links: &PeerLinks| publication.of_client && links.client.lock().dialect() != Dialect::V7_0;
        let old: Vec<_> = self.peers.iter().filter(|(_, links)| is_old(links)).collect();
        let others = Recipients::Except(old.iter().map(|(peer, _)| **peer).collect());
        deliveries
            .native
            .push(ToNative::subscribers(others, publication.published()));
        for (peer, links) in old {
            let to = (&links.client, Some(*peer), &*links.description);
            for published in self.translate(deliveries, publication, to) {
                let to_native = ToNative::subscribers(Recipients::one(*peer), published);
                deliveries.native.push(to_native);
            }
        }
    }

    /// As for native peers. What is said to and by agents clients see as it is in the model.
    fn deliver_to_clients(&self, deliveries: &mut Deliveries, publication: &Publication) {
        let mut old = Vec::new();
        if publication.of_client {
            let links = self.links.lock();
            let is_old = |link: &Link| link.lock().dialect() != Dialect::V7_0;
            let links = links.iter().filter(|(_, link)| is_old(link));
            old = links.map(|(client, link)| (*client, link.clone())).collect();
        }
        let others: BTreeSet<u64> = old.iter().map(|(client, _)| *client).collect();
        deliveries
            .websocket
            .push((Recipients::Except(others), websocket(publication.published())));
        for (client, link) in old {
            let description = self.client(client);
            for published in self.translate(deliveries, publication, (&link, None, &description)) {
                deliveries
                    .websocket
                    .push((Recipients::one(client), websocket(published)));
            }
        }
    }

    /// What one peer or client gets of an event; what it would say in return becomes an input.
    fn translate(
        &self,
        deliveries: &mut Deliveries,
        publication: &Publication,
        (link, peer, description): (&Link, Option<EndpointId>, &str),
    ) -> Vec<Published> {
        let translation = link.lock().outgoing(&publication.topic, &publication.event);
        let fail =
            |deliveries: &mut Deliveries, error| deliveries.failures.push((description.to_owned(), error));
        let Translation { to_model, to_peer } = match translation {
            Ok(translation) => translation,
            Err(error) => {
                fail(deliveries, error);
                return Vec::new();
            }
        };
        for published in to_model {
            match read::input(&self.common.settings.topic, peer, description, published) {
                Ok(input) => deliveries.inputs.push(input),
                Err(source) => {
                    let dialect = Dialect::V7_0;
                    fail(deliveries, DialectError { dialect, source });
                }
            }
        }
        to_peer
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
