//! One connection's translator: what a table cannot say because it takes more than one event, or none.

mod agent;
mod controller;
mod refusal;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::BTreeMap;

use broker_codec::{
    Data,
    data::{Address, DataError, ZeekString},
    zeek::Event,
};

use super::api::{Context, Dialect, DialectError};
use crate::{log::MESSAGE_BYTES_MAX, records::ResultRecord, topics};
use agent::Deployment;
pub use controller::{Answers, sets_configuration};
pub use texts::{TextTooLong, check_texts};

/// How many requests to set a configuration may be under way on one connection. More are refused.
pub const REQUESTS_MAX: usize = 256;

/// Which side of the connection is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We are a controller. The peer is an agent, or a client, or both.
    Controller,
    /// We are an agent. The peer is a controller or a cluster node.
    Agent,
}

/// What is known of a peer when it connects. Older agents do not say such things of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its Broker endpoint ID. Clients that have none may have any.
    pub id: ZeekString,
    /// Whether we connected to it, rather than the reverse.
    pub dialled: bool,
    /// If we are an agent: our own address, which older agents send in their hello.
    pub host: Address,
}

/// The topics of the model, which an operator can choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// `Management::Controller::topic`
    pub controller: ZeekString,
    /// `Management::Agent::topic_prefix`
    pub agent_prefix: ZeekString,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            controller: topics::CONTROLLER.into(),
            agent_prefix: topics::AGENT_PREFIX.into(),
        }
    }
}

/// An event on its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub topic: ZeekString,
    pub event: Event,
}

/// What comes of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// For the core, as if the peer had sent it.
    pub to_model: Option<Published>,
    /// For the peer, in this order, before anything that the core says because of `to_model`.
    pub to_peer: Vec<Published>,
}

impl Translation {
    fn to_model(topic: ZeekString, event: Event) -> Self {
        Self {
            to_model: Some(Published { topic, event }),
            to_peer: Vec::new(),
        }
    }
}

/// Translates between one peer, or one client, and a core that knows the model only.
///
/// Everything that the peer says goes through [`Self::incoming`]. What it is to hear goes through [`Self::outgoing`] on an agent's
/// side, and [`Self::settle`] follows there when the core has said all that it has to say about what came in; on a controller's side
/// it goes through [`Dialect::say`], or [`Answers`] if it is a client. A peer that speaks the model costs one look at each event.
///
/// What the peer speaks is learnt from what it says, and believed again whenever it says otherwise.
#[derive(Clone, Debug)]
pub struct Translator {
    side: Side,
    topics: Topics,
    context: Context,
    dialect: Dialect,
    /// Whether the peer has said anything of the API.
    heard: bool,
    /// Controllers' requests to set a configuration, by id.
    deployments: BTreeMap<ZeekString, Deployment>,
}

impl Translator {
    /// For a peer that has just connected. `assumed` is what it speaks as long as nothing else is known: the model,
    /// [`Dialect::V7_0`], is understood by all since 5.0.
    pub fn new(side: Side, peer: Peer, topics: Topics, assumed: Dialect) -> Self {
        Self {
            side,
            topics,
            context: Context {
                agent_id: peer.id,
                connecting: !peer.dialled,
                host: peer.host,
            },
            dialect: assumed,
            heard: false,
            deployments: BTreeMap::new(),
        }
    }

    /// What the peer speaks, as far as is known.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Takes in what the peer said on a topic.
    pub fn incoming(&mut self, topic: &[u8], event: Event) -> Result<Translation, DialectError> {
        if self.is_second_hello(&event) {
            return Ok(Translation::default());
        }
        if let Some(dialect) = self.dialect.detect(&event) {
            self.dialect = dialect;
        }
        self.heard = true;
        let topic = self.model_topic(topic);
        if let Err(reason) = check_texts(&event) {
            return self.refuse(&topic, event, reason);
        }
        if self.dialect == Dialect::V7_0 {
            return Ok(Translation::to_model(topic, event));
        }
        let sets_configuration = sets_configuration(&event);
        let event = self.dialect.read(event, &self.context)?;
        match self.side {
            Side::Agent if sets_configuration => self.set_agent_configuration(topic, event),
            Side::Agent | Side::Controller => Ok(Translation::to_model(topic, event)),
        }
    }

    /// Whether an agent that has shown a newer API also says hello as those of 4.x do, as ours does when it does not know the
    /// controller.
    fn is_second_hello(&self, event: &Event) -> bool {
        self.heard
            && !self.dialect.is_cluster_controller()
            && event.name == "ClusterAgent::API::notify_agent_hello"
    }

    /// The event for the peer, if its dialect has it.
    fn convert(&self, topic: &[u8], event: &Event) -> Result<Translation, DialectError> {
        let said = self
            .dialect
            .write_published(&self.topics, topic, event, &self.context)?;
        Ok(Translation {
            to_model: None,
            to_peer: said.into_iter().collect(),
        })
    }

    fn model_topic(&self, topic: &[u8]) -> ZeekString {
        if topic == topics::CLUSTER_CONTROLLER.as_bytes() {
            return self.topics.controller.clone();
        }
        match topic.strip_prefix(topics::CLUSTER_AGENT_PREFIX.as_bytes()) {
            Some(rest) => [self.topics.agent_prefix.as_bytes(), rest].concat().into(),
            None => topic.into(),
        }
    }

    /// The name in the topic of an agent.
    fn instance(&self, topic: &[u8]) -> ZeekString {
        let name = topic.strip_prefix(self.topics.agent_prefix.as_bytes());
        name.and_then(|name| name.strip_prefix(b"/"))
            .unwrap_or_default()
            .into()
    }
}

impl Dialect {
    /// What a peer of this dialect is told, on the topic that stands for the model's; nothing if the dialect has no such event.
    pub fn say(
        self,
        topics: &Topics,
        topic: &[u8],
        event: &Event,
    ) -> Result<Option<Published>, DialectError> {
        // Only agents tell of themselves.
        let context = Context {
            agent_id: ZeekString::default(),
            connecting: false,
            host: Address::UNSPECIFIED_V4,
        };
        self.write_published(topics, topic, event, &context)
    }

    /// The topic that stands for one of the model's.
    pub fn topic(self, topics: &Topics, topic: &[u8]) -> ZeekString {
        if self.is_cluster_controller() {
            cluster_controller_topic(topics, topic)
        } else {
            topic.into()
        }
    }

    fn write_published(
        self,
        topics: &Topics,
        topic: &[u8],
        event: &Event,
        context: &Context,
    ) -> Result<Option<Published>, DialectError> {
        let topic = self.topic(topics, topic);
        let written = self.write(event, context)?;
        Ok(written.map(|event| Published { topic, event }))
    }
}

/// The topic of 4.x that stands for one of the model's.
fn cluster_controller_topic(topics: &Topics, topic: &[u8]) -> ZeekString {
    if topic == topics.controller.as_bytes() {
        return topics::CLUSTER_CONTROLLER.into();
    }
    match topic.strip_prefix(topics.agent_prefix.as_bytes()) {
        Some(rest) => [topics::CLUSTER_AGENT_PREFIX.as_bytes(), rest].concat().into(),
        None => topic.into(),
    }
}

/// The model's own event cannot be read or written.
const fn fault(source: DataError) -> DialectError {
    DialectError {
        dialect: Dialect::V7_0,
        source,
    }
}

/// The first argument of a request or a response.
fn reqid(event: &Event) -> ZeekString {
    match event.args.first() {
        Some(Data::String(reqid)) => reqid.clone(),
        _ => ZeekString::default(),
    }
}

/// Several results as one: a failure if one of them is (`controller/main.zeek` of 4.2, `set_configuration_response`).
fn as_one(reqid: ZeekString, instance: Option<ZeekString>, results: &[ResultRecord]) -> ResultRecord {
    let failures: Vec<String> = results
        .iter()
        .filter(|result| !result.success)
        .map(|result| {
            let error = match &result.error {
                Some(error) => error.excerpt(MESSAGE_BYTES_MAX).to_string(),
                None => "failed".into(),
            };
            match &result.node {
                Some(node) => format!("node {node} failed: {error}"),
                None => error,
            }
        })
        .collect();
    let one = ResultRecord {
        instance,
        ..ResultRecord::success(reqid)
    };
    if failures.is_empty() {
        return one;
    }
    ResultRecord {
        success: false,
        error: Some(failures.join(", ").into()),
        ..one
    }
}
