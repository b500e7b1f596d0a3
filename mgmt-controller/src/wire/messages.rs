//! Messages on their way out, and what zeek-client can read of them.

use broker_codec::{
    Data, EndpointId, Recipients,
    data::{DataError, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::dialect::Published;

use crate::core::{Audience, Outgoing};

/// An event of the core on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    pub(super) topic: ZeekString,
    pub(super) event: Event,
    pub(super) to: Audience,
    pub(super) of_client: bool,
    /// A message of the extension: no client sees it, and it is the same in every dialect.
    pub(super) of_link: bool,
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

impl Publication {
    /// What [`crate::core::Action::Publish`] asks for. An error says that the event cannot be written, so no peer and no client gets it.
    pub fn new(topic: ZeekString, event: &Outgoing, to: Audience) -> Result<Self, DataError> {
        let of_client = matches!(event, Outgoing::Client(_));
        let of_link = matches!(event, Outgoing::Link(_));
        let event = event.to_event()?;
        Ok(Self {
            topic,
            event,
            to,
            of_client,
            of_link,
        })
    }

    pub(super) fn published(&self) -> Published {
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

    /// What they get.
    pub fn to_data(&self) -> Data {
        self.event.clone().native().into_data()
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
