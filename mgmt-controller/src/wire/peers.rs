//! What native peers say.

use broker_codec::{Data, EndpointId, data::DataError, json::DataMessage, zeek::Event};
use mgmt_api::{
    AgentMessage, DialectError, Principal, Translator,
    dialect::{Published, Topics, Translation, sets_configuration},
    topics,
};

use super::{
    clients::request,
    messages::{NativePeers, ToNative, websocket},
};
use crate::core::Input;

/// Reads what one native peer says.
#[derive(Debug)]
pub struct PeerSession {
    pub(super) peer: EndpointId,
    pub(super) principal: Principal,
    pub(super) topics: Topics,
    /// For what it says as an agent ...
    pub(super) agent: Translator,
    /// ... and as a client.
    pub(super) client: Translator,
    /// Whether there are WebSocket clients that may want copies.
    pub(super) is_copied: bool,
}

/// What follows from a message of a native peer.
#[derive(Debug, Default, PartialEq)]
pub struct FromPeer {
    /// After the answers.
    pub inbound: Option<Inbound>,
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

impl PeerSession {
    /// Reads what the peer published: on the controller's topic requests of the controller's API, on those of agents what agents
    /// say, on that of the extension its messages. The topics of 4.x stand for the first two.
    ///
    /// DIFFERENCE(peer-topics): Zeek handles any event that it has a handler for, its internal ones included, on any topic
    ///
    pub fn read(&mut self, topic: &[u8], data: Data) -> Result<FromPeer, Refusal> {
        let event = Event {
            metadata: None,
            ..Event::from_data(data)?
        };
        if topic == topics::LINK.as_bytes() {
            let input = Input::Link {
                peer: self.peer,
                message: event.parse()?,
            };
            return Ok(FromPeer {
                inbound: Some(Inbound { input, copy: None }),
                answers: Vec::new(),
            });
        }
        let of_clients = [topics::CLUSTER_CONTROLLER.as_bytes(), &self.topics.controller].contains(&topic);
        let of_agents = topic.starts_with(topics::CLUSTER_AGENT_PREFIX.as_bytes())
            || topic.starts_with(&self.topics.agent_prefix);
        let translator = match (of_clients, of_agents) {
            (true, _) => &mut self.client,
            (false, true) => &mut self.agent,
            (false, false) => return Err(Refusal::Topic),
        };
        let deploys = sets_configuration(&event);
        let Translation { to_model, to_peer } = translator.incoming(topic, event)?;
        let answer = |published| ToNative::new(NativePeers::One(self.peer), published);
        Ok(FromPeer {
            answers: to_peer.into_iter().map(answer).collect(),
            inbound: to_model
                .map(|published| self.inbound(published, deploys))
                .transpose()?,
        })
    }

    fn inbound(&self, Published { topic, event }: Published, deploys: bool) -> Result<Inbound, DataError> {
        let copy = self.is_copied.then(|| {
            websocket(Published {
                topic: topic.clone(),
                event: event.clone(),
            })
        });
        let (input, is_news) = if topic == self.topics.controller {
            (request(&self.principal, event, deploys)?, false)
        } else {
            let message: AgentMessage = event.parse()?;
            // These the core passes on itself, if they are to be believed.
            let is_news = matches!(
                message,
                AgentMessage::Change { .. } | AgentMessage::Error { .. } | AgentMessage::Log { .. }
            );
            let input = Input::Agent {
                peer: self.peer,
                topic,
                message,
                dialect: self.agent.dialect(),
            };
            (input, is_news)
        };
        let copy = copy.filter(|_| !is_news);
        Ok(Inbound { input, copy })
    }
}
