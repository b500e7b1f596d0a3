//! What travels between the core and its peers, without I/O: a message becomes an input or is refused, an action becomes
//! messages. The runtime drives it with sockets, a replay with a recording.

use broker_codec::{
    Data, EndpointId,
    data::{DataError, ZeekString},
    json::DataMessage,
    websocket::Rejection,
    zeek::Event,
};
use mgmt_api::{AgentMessage, ClientRequest};

use crate::core::{Audience, Input, Outgoing, Settings};

/// What a client may publish: requests of the controller's API, on the controller's topic.
///
/// DIFFERENCE(client-publications): Zeek's server publishes any event that the process knows on any topic, to every peer: a WebSocket client
/// could pose as an agent (Q-21).
pub fn from_client(topic: &ZeekString, message: DataMessage) -> Result<ClientRequest, Rejection> {
    if message.topic != *topic {
        let explanation = format!("topic {} is not open to clients, only {topic}", message.topic);
        return Err(Rejection::no_event(&explanation));
    }
    let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
    event.parse().map_err(|error| Rejection::no_event(&error))
}

/// What a native peer said, read as far as that needs nothing but the message.
#[derive(Debug, PartialEq)]
pub struct FromPeer {
    topic: ZeekString,
    message: PeerMessage,
    /// As WebSocket clients get it, without metadata.
    event: Event,
}

/// What a native peer may say.
#[derive(Debug, PartialEq)]
enum PeerMessage {
    /// A request of a client.
    Request(ClientRequest),
    /// An event of the agents' API. Whether this peer may send it, and about which instance, is for the core to know.
    Agent(AgentMessage),
}

/// What follows from a message of a native peer.
#[derive(Debug, PartialEq)]
pub struct Heard {
    /// For the core.
    pub input: Input,
    /// For WebSocket clients that have subscribed to the topic.
    pub shown: Option<DataMessage>,
}

/// A message of a native peer that is not obeyed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Prefixes of topics match more than what is meant.
    #[error("nobody listens on this topic")]
    Topic,
    /// Not an event, or not one of those that belong on the topic.
    #[error(transparent)]
    Event(#[from] DataError),
}

/// Reads what a native peer sent: on the controller's topic requests of the controller's API, on those of agents what agents
/// say.
///
/// DIFFERENCE(peer-topics): Zeek handles any event that it has a handler for, its internal ones included, on whatever topic it comes
/// (Q-21).
pub fn from_peer(settings: &Settings, topic: &[u8], data: Data) -> Result<FromPeer, Refusal> {
    let event = Event {
        metadata: None,
        ..Event::from_data(data)?
    };
    let message = if topic == settings.topic.as_bytes() {
        PeerMessage::Request(event.parse()?)
    } else if topic.starts_with(&settings.agent_topic_prefix) {
        PeerMessage::Agent(event.parse()?)
    } else {
        return Err(Refusal::Topic);
    };
    let topic = topic.into();
    Ok(FromPeer {
        topic,
        message,
        event,
    })
}

impl FromPeer {
    /// What follows from it, given the peer's id and its address in words.
    pub fn heard(self, peer: EndpointId, address: &str) -> Heard {
        let Self {
            topic,
            message,
            event,
        } = self;
        let shown = DataMessage {
            topic: topic.clone(),
            data: event.into_data(),
        };
        let (input, is_news) = match message {
            PeerMessage::Request(request) => {
                let client = format!("Broker peer {peer} at {address}");
                (Input::Request { client, request }, false)
            }
            PeerMessage::Agent(message) => {
                // These the core passes on itself, if they are to be believed.
                let is_news = matches!(
                    message,
                    AgentMessage::Change { .. } | AgentMessage::Error { .. } | AgentMessage::Log { .. }
                );
                (Input::Agent { peer, topic, message }, is_news)
            }
        };
        Heard {
            input,
            shown: (!is_news).then_some(shown),
        }
    }
}

/// An event on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    topic: ZeekString,
    event: Event,
    to: Audience,
}

/// Which native peers get an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativePeers {
    /// Those that have subscribed to the topic.
    Subscribers,
    /// This one, whatever it has subscribed to.
    One(EndpointId),
}

impl Publication {
    /// What [`crate::core::Action::Publish`] asks for. An error says that the event cannot be written, so nobody gets it.
    pub fn new(topic: ZeekString, event: &Outgoing, to: Audience) -> Result<Self, DataError> {
        let event = event.to_event()?;
        Ok(Self { topic, event, to })
    }

    /// The topic.
    pub const fn topic(&self) -> &ZeekString {
        &self.topic
    }

    /// Which native peers get it, if any do.
    pub const fn native_peers(&self) -> Option<NativePeers> {
        match self.to {
            Audience::Subscribers => Some(NativePeers::Subscribers),
            Audience::Peer(peer) => Some(NativePeers::One(peer)),
            Audience::WebSocketClients => None,
        }
    }

    /// What native peers get: as Zeek 9.0 sends it, with an empty list of metadata.
    pub fn to_native(&self) -> Data {
        let event = Event {
            metadata: Some(Vec::new()),
            ..self.event.clone()
        };
        event.into_data()
    }

    /// What WebSocket clients get: without metadata.
    pub fn into_websocket(self) -> DataMessage {
        DataMessage {
            topic: self.topic,
            data: self.event.into_data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data<T: serde::Serialize>(value: &T) -> Data {
        let event = Event {
            metadata: Some(Vec::new()),
            ..Event::of(value).unwrap()
        };
        event.into_data()
    }

    #[test]
    fn the_topic_decides_which_api_a_peer_may_use() {
        let settings = Settings::default();
        let request = ClientRequest::GetNodes { reqid: "r".into() };
        let error = AgentMessage::Error {
            instance: "a".into(),
            msg: "m".into(),
            node: "".into(),
        };
        let controller = "zeek/management/controller";
        let agent = "zeek/management/agent/a";
        let read = |topic: &str, data| from_peer(&settings, topic.as_bytes(), data).map(|read| read.message);
        assert_eq!(
            read(controller, data(&request)),
            Ok(PeerMessage::Request(request.clone()))
        );
        assert_eq!(read(agent, data(&error)), Ok(PeerMessage::Agent(error.clone())));
        let refused = |topic, data| read(topic, data).unwrap_err().to_string();
        assert_eq!(
            refused(agent, data(&request)),
            "unknown event `Management::Controller::API::get_nodes_request`"
        );
        assert_eq!(
            refused(controller, data(&error)),
            "unknown event `Management::Agent::API::notify_error`"
        );
        assert_eq!(
            refused("zeek/management/controller/x", data(&request)),
            "nobody listens on this topic"
        );
        assert_eq!(refused(agent, Data::None), "a Zeek message is a list");
    }

    #[test]
    fn clients_see_events_of_peers_without_metadata_and_what_the_core_passes_on_only_once() {
        let shown = |topic: &str, data| {
            let read = from_peer(&Settings::default(), topic.as_bytes(), data).unwrap();
            read.heard(EndpointId::NIL, "192.0.2.1:5").shown
        };
        let request = ClientRequest::GetNodes { reqid: "r".into() };
        let topic = "zeek/management/controller";
        assert_eq!(
            shown(topic, data(&request)),
            Some(DataMessage {
                topic: topic.into(),
                data: Event::of(&request).unwrap().into_data()
            })
        );
        let news = AgentMessage::Log {
            instance: "a".into(),
            msg: "m".into(),
            node: "".into(),
        };
        assert_eq!(shown("zeek/management/agent/a", data(&news)), None);
    }

    #[test]
    fn native_peers_get_an_empty_list_of_metadata_and_clients_get_none() {
        let request = mgmt_api::AgentRequest::GetNodes { reqid: "r".into() };
        let publication = |to| Publication::new("t".into(), &Outgoing::Agent(request.clone()), to).unwrap();
        let sent = publication(Audience::Peer(EndpointId::NIL));
        assert_eq!(sent.native_peers(), Some(NativePeers::One(EndpointId::NIL)));
        assert_eq!(
            Event::from_data(sent.to_native()).unwrap().metadata,
            Some(Vec::new())
        );
        assert_eq!(
            Event::from_data(sent.into_websocket().data).unwrap().metadata,
            None
        );
        assert_eq!(publication(Audience::WebSocketClients).native_peers(), None);
    }
}
