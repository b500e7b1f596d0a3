//! What who may say on which topic; the rest never reaches the core.

use broker_codec::{
    Data,
    data::{DataError, ZeekString},
    json::DataMessage,
    zeek::Event,
};
use broker_endpoint::websocket::Rejection;
use mgmt_api::{AgentMessage, ClientRequest};

use crate::core::Settings;

/// What a client may publish: requests of the controller's API, on the controller's topic.
///
/// DIFFERENCE(client-publications): Zeek's server publishes any event that the process knows on any topic, to every peer: a WebSocket client
/// could pose as an agent (Q-21).
pub(super) fn client(topic: &ZeekString, message: DataMessage) -> Result<ClientRequest, Rejection> {
    if message.topic != *topic {
        let explanation = format!("topic {} is not open to clients, only {topic}", message.topic);
        return Err(Rejection::no_event(&explanation));
    }
    let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
    event.parse().map_err(|error| Rejection::no_event(&error))
}

/// What a native peer may say.
#[derive(Debug, PartialEq)]
pub(super) enum PeerMessage {
    /// A request of a client.
    Request(ClientRequest),
    /// An event of the agents' API. Whether this peer may send it, and about which instance, is for the core to know.
    Agent(AgentMessage),
}

/// A message of a native peer that is not obeyed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// Prefixes of topics match more than what is meant.
    #[error("nobody listens on this topic")]
    Topic,
    /// Not an event, or not one of those that belong on the topic.
    #[error(transparent)]
    Event(#[from] DataError),
}

/// Reads what a native peer sent: on the controller's topic requests of the controller's API, on those of agents what agents
/// say. Also returns the event as WebSocket clients get it, without metadata.
///
/// DIFFERENCE(peer-topics): Zeek handles any event that it has a handler for, its internal ones included, on whatever topic it comes
/// (Q-21).
pub(super) fn peer(settings: &Settings, topic: &[u8], data: Data) -> Result<(PeerMessage, Event), Refusal> {
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
    Ok((message, event))
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
        let read = |topic: &str, data| peer(&settings, topic.as_bytes(), data).map(|(message, _)| message);
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
    fn clients_see_events_of_peers_without_metadata() {
        let request = ClientRequest::GetNodes { reqid: "r".into() };
        let (_, event) = peer(
            &Settings::default(),
            b"zeek/management/controller",
            data(&request),
        )
        .unwrap();
        assert_eq!(event, Event::of(&request).unwrap());
    }
}
