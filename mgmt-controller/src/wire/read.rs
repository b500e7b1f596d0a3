//! What comes in.

use std::sync::Arc;

use broker_codec::{
    Data, EndpointId,
    data::{DataError, ZeekString},
    json::DataMessage,
    websocket::Rejection,
    zeek::Event,
};
use mgmt_api::{
    AgentMessage, ClientRequest, DialectError,
    dialect::{Published, Translation, check_texts},
    topics,
};

use super::{Common, Links, PeerLinks, ToNative, deliver::websocket};
use crate::core::Input;

/// Reads what one native peer says. On any thread; messages of one peer must be read in their order.
#[derive(Clone, Debug)]
pub struct PeerReader {
    pub(super) common: Arc<Common>,
    pub(super) peer: EndpointId,
    pub(super) links: PeerLinks,
}

/// Reads what WebSocket clients say. On any thread; messages of one client must be read in their order.
#[derive(Clone, Debug)]
pub struct ClientReader {
    pub(super) common: Arc<Common>,
    pub(super) links: Arc<Links>,
}

/// What follows from a message of a native peer.
#[derive(Debug, Default, PartialEq)]
pub struct FromPeer {
    /// In this order, after the answers.
    pub inbound: Vec<Inbound>,
    /// What the peer gets to hear without the core's doing.
    pub answers: Vec<ToNative>,
}

/// What a native peer has said in the model's terms.
#[derive(Debug, PartialEq)]
pub struct Inbound {
    /// For the core.
    pub input: Input,
    /// For WebSocket clients that have subscribed to the topic.
    pub copy: Option<DataMessage>,
}

/// What follows from a message of a WebSocket client.
#[derive(Debug, Default, PartialEq)]
pub struct FromClient {
    /// For the core, in this order, after the answers.
    pub requests: Vec<ClientRequest>,
    /// What the client gets to hear without the core's doing.
    pub answers: Vec<DataMessage>,
}

/// A message of a native peer that is not obeyed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Prefixes of topics match more than what is meant.
    #[error("the controller does not subscribe to this topic")]
    Topic,
    /// Not an event, or not one of those that belong on the topic.
    #[error(transparent)]
    Event(#[from] DataError),
    /// Not an event of the dialect that the peer speaks.
    #[error(transparent)]
    Dialect(#[from] DialectError),
}

impl ClientReader {
    /// Reads what a client published. It may publish requests of the controller's API, on the controller's topic or on that of 4.x.
    ///
    /// DIFFERENCE(client-publications): Zeek's server publishes any event that the process knows on any topic, to every peer: a WebSocket client
    /// could pose as an agent.
    pub fn read(&self, client: u64, message: DataMessage) -> Result<FromClient, Rejection> {
        let own = &self.common.settings.topic;
        if message.topic != *own && message.topic != *topics::CLUSTER_CONTROLLER {
            let explanation = format!("topic {} is not open to clients, only {own}", message.topic);
            return Err(Rejection::no_event(&explanation));
        }
        let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
        // Before a translator would answer it: other clients do not see what is rejected.
        check_texts(&event).map_err(|error| Rejection::no_event(&error))?;
        let link = self.links.of(client, &self.common);
        let translation = link.lock().incoming(&message.topic, event);
        let Translation { to_model, to_peer } = translation.map_err(|error| Rejection::no_event(&error))?;
        let mut requests = Vec::with_capacity(to_model.len());
        for Published { event, .. } in to_model {
            requests.push(event.parse().map_err(|error| Rejection::no_event(&error))?);
        }
        Ok(FromClient {
            requests,
            answers: to_peer.into_iter().map(websocket).collect(),
        })
    }
}

impl PeerReader {
    /// Reads what the peer published: on the controller's topic requests of the controller's API, on those of agents what agents
    /// say. The topics of 4.x stand for these.
    ///
    /// DIFFERENCE(peer-topics): Zeek handles any event that it has a handler for, its internal ones included, on any topic
    ///
    pub fn read(&self, topic: &[u8], data: Data) -> Result<FromPeer, Refusal> {
        let event = Event {
            metadata: None,
            ..Event::from_data(data)?
        };
        let settings = &self.common.settings;
        let of_clients = [topics::CLUSTER_CONTROLLER.as_bytes(), &settings.topic].contains(&topic);
        let of_agents = topic.starts_with(topics::CLUSTER_AGENT_PREFIX.as_bytes())
            || topic.starts_with(&settings.agent_topic_prefix);
        let link = match (of_clients, of_agents) {
            (true, _) => &self.links.client,
            (false, true) => &self.links.agent,
            (false, false) => return Err(Refusal::Topic),
        };
        let Translation { to_model, to_peer } = link.lock().incoming(topic, event)?;
        let mut inbound = Vec::with_capacity(to_model.len());
        for published in to_model {
            inbound.push(self.inbound(published)?);
        }
        let answer = |published| ToNative::one(self.peer, published);
        Ok(FromPeer {
            inbound,
            answers: to_peer.into_iter().map(answer).collect(),
        })
    }

    fn inbound(&self, Published { topic, event }: Published) -> Result<Inbound, Refusal> {
        let (input, is_news) = if topic == self.common.settings.topic {
            let request = event.parse()?;
            let client = self.links.description.clone();
            (Input::Request { client, request }, false)
        } else {
            let message: AgentMessage = event.parse()?;
            // These the core passes on itself, if they are to be believed.
            let is_news = matches!(
                message,
                AgentMessage::Change { .. } | AgentMessage::Error { .. } | AgentMessage::Log { .. }
            );
            let topic = topic.clone();
            let peer = self.peer;
            (Input::Agent { peer, topic, message }, is_news)
        };
        let copy = (!is_news).then(|| websocket(Published { topic, event }));
        Ok(Inbound { input, copy })
    }
}

/// What the model makes of an event that a translator says the peer would have sent.
pub(super) fn input(
    settings_topic: &ZeekString,
    peer: Option<EndpointId>,
    description: &str,
    Published { topic, event }: Published,
) -> Result<Input, DataError> {
    match peer {
        Some(peer) if topic != *settings_topic => Ok(Input::Agent {
            peer,
            topic,
            message: event.parse()?,
        }),
        _ => Ok(Input::Request {
            client: description.to_owned(),
            request: event.parse()?,
        }),
    }
}
