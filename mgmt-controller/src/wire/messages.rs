//! Messages on their way out, and what zeek-client can read of them.

use std::sync::Arc;

use broker_codec::{
    Data, EndpointId, Payload, Recipients,
    binary::{self, DecodeError, EncodeError},
    data::{DataError, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use mgmt_api::{AgentRequest, DialectError, dialect::Published};

use super::shared::Deploy;
use crate::core::{Audience, Outgoing, SharedRequest};

/// An event of the core on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    pub(super) topic: ZeekString,
    pub(super) said: Said,
    pub(super) to: Audience,
    pub(super) of_client: bool,
    /// A message of the extension: no client sees it, and it is the same in every dialect.
    pub(super) of_link: bool,
}

/// What is published.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Event(Event),
    /// For this agent: others get it as well.
    Deploy(EndpointId, Deploy),
    /// For this one, which speaks the extension.
    Request(EndpointId, SharedRequest),
}

/// An event for native peers, in their dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct ToNative {
    /// Which of them.
    pub to: NativePeers,
    pub topic: ZeekString,
    said: Native,
}

#[derive(Clone, Debug, PartialEq)]
enum Native {
    Event(Event),
    Encoded(Payload),
}

/// Why a peer or a client does not get an event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotSaid {
    #[error(transparent)]
    Event(#[from] DataError),
    #[error(transparent)]
    Dialect(#[from] DialectError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
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
        let said = match (event, to) {
            (Outgoing::Agent(AgentRequest::Deploy { reqid, config, force }), Audience::Peer(peer)) => {
                let deploy = Deploy {
                    reqid: reqid.clone(),
                    config: Arc::clone(config),
                    force: *force,
                };
                Said::Deploy(peer, deploy)
            }
            (Outgoing::Shared(request), Audience::Peer(peer)) => Said::Request(peer, request.clone()),
            _ => Said::Event(event.to_event()?),
        };
        Ok(Self {
            topic,
            said,
            to,
            of_client,
            of_link,
        })
    }
}

impl ToNative {
    pub(super) fn new(to: NativePeers, Published { topic, event }: Published) -> Self {
        let said = Native::Event(event.native());
        Self { to, topic, said }
    }

    pub(super) const fn encoded(to: NativePeers, topic: ZeekString, payload: Payload) -> Self {
        let said = Native::Encoded(payload);
        Self { to, topic, said }
    }

    /// What they get, to be looked at.
    ///
    /// # Errors
    ///
    /// Never, unless there is a fault in how it is encoded.
    pub fn to_data(&self) -> Result<Data, DecodeError> {
        match &self.said {
            Native::Event(event) => Ok(event.to_data()),
            Native::Encoded(payload) => binary::decode(&payload.to_bytes()),
        }
    }

    /// Who gets what.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded.
    pub fn into_payload(self) -> Result<(NativePeers, Payload), EncodeError> {
        let payload = match self.said {
            Native::Event(event) => Payload::of(&event.into_data())?,
            Native::Encoded(payload) => payload,
        };
        Ok((self.to, payload))
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
