use std::sync::Arc;

use broker_codec::{
    EndpointId,
    data::{Address, DataError, Port, ZeekString},
    zeek::Event,
};
pub use mgmt_api::Level;
use mgmt_api::{
    AgentMessage, AgentRequest, ClientResponse, LinkMessage, Principal, Transport, link,
    operator::{Event as Happened, NotDone, Vitals},
};
use serde::{Deserialize, Serialize};

use super::{
    cluster_name::ClusterName,
    configurations::Changes,
    input::{RecallId, WriteId},
};

/// What the controller wants done, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        level: Level,
        /// The line's message. One line: names of clients and agents in it are escaped.
        message: String,
    },
    /// Write a line for operators on standard error, but not into the management log, which has Zeek's lines, and tell those who follow events.
    Report(Box<Happened>),
    /// Tell those who follow events. Standard error has it in another form.
    Event(Box<Happened>),
    /// Make these changes durable, and say so by [`super::Input::Persisted`]. Writes are
    /// carried out one after the other.
    Persist {
        /// Names the write in the input that ends it.
        write: WriteId,
        #[serde(flatten)]
        changes: Changes,
    },
    /// Fetch the configuration of a revision from the store, and tell it by [`super::Input::Recalled`].
    Recall {
        /// Names this in the input that ends it.
        recall: RecallId,
        cluster: ClusterName,
        /// The revision's.
        number: u32,
    },
    /// Answer what an operator has asked under this id ([`super::Input::Operator`]).
    Answer {
        id: u64,
        /// JSON ([`mgmt_api::operator`]), or why there is no answer.
        outcome: Result<ZeekString, NotDone>,
    },
    /// Say how the controller is, as was asked under this id ([`super::Input::Vitals`]).
    Vitals { id: u64, vitals: Box<Vitals> },
    Publish {
        topic: ZeekString,
        event: Outgoing,
        to: Audience,
    },
    /// Connect to an agent that listens there, and connect again whenever the connection ends, until
    /// [`Action::Disconnect`].
    Connect { host: Address, port: Port },
    /// End the connection that [`Action::Connect`] asked for, if there is one, and do not connect there again. What was
    /// sent before is still delivered.
    Disconnect { host: Address, port: Port },
    /// End the connection to a peer, and do not connect there again if it was us.
    Close {
        /// The peer. Its end is told by [`super::Input::PeerLost`], as any other.
        peer: EndpointId,
        /// Why, for the log.
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// The WebSocket clients and native peers that have subscribed to the topic.
    Subscribers,
    /// This native peer and no other; and WebSocket clients that have subscribed to the topic.
    Peer(EndpointId),
    /// This WebSocket client, by its number, and no other.
    Client(u64),
    /// This native peer, as a client, and no other.
    NativeClient(EndpointId),
}

impl Audience {
    /// The client or peer that asks. Operators get their answers otherwise.
    pub const fn asker(principal: &Principal) -> Self {
        match principal.transport {
            Transport::WebSocket { client, .. } => Self::Client(client),
            Transport::Broker { peer } => Self::NativeClient(peer),
            Transport::ControlSocket { .. } | Transport::Http { .. } => Self::Subscribers,
        }
    }
}

/// An event that the controller publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outgoing {
    Client(ClientResponse),
    Agent(AgentRequest),
    /// News of an agent, passed on.
    News(Box<AgentMessage>),
    /// A message of the extension, for one peer that speaks it, and no other peer or client.
    Link(LinkMessage),
    /// The same for a request that many peers get.
    Shared(SharedRequest),
}

/// A request of the extension whose JSON ends with what others get as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SharedRequest {
    pub reqid: ZeekString,
    pub kind: ZeekString,
    /// The beginning.
    pub json: ZeekString,
    /// The end.
    pub rest: Arc<ZeekString>,
}

impl SharedRequest {
    pub fn to_message(&self) -> LinkMessage {
        LinkMessage::Request {
            reqid: self.reqid.clone(),
            kind: self.kind.clone(),
            json: [&self.json[..], &self.rest[..]].concat().into(),
        }
    }
}

impl Outgoing {
    pub fn to_event(&self) -> Result<Event, DataError> {
        match self {
            Self::Client(response) => Event::of(response),
            Self::Agent(request) => Event::of(request),
            Self::News(message) => Event::of(message),
            Self::Link(message) => Event::of(message),
            Self::Shared(request) => Event::of(&request.to_message()),
        }
    }

    /// The id of the request that the event is about, if it is about one.
    pub const fn reqid(&self) -> Option<&ZeekString> {
        match self {
            Self::Client(response) => Some(response.reqid()),
            Self::Agent(request) => Some(request.reqid()),
            Self::News(message) => message.reqid(),
            Self::Link(message) => message.reqid(),
            Self::Shared(request) => Some(&request.reqid),
        }
    }

    /// The event's name, fully qualified.
    pub fn event_name(&self) -> &'static str {
        match self {
            Self::Client(response) => response.event_name(),
            Self::Agent(request) => request.event_name(),
            Self::News(message) => message.event_name(),
            Self::Link(message) => message.event_name(),
            Self::Shared(_) => link::REQUEST,
        }
    }
}
