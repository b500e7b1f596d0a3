use broker_codec::{
    data::{DataError, ZeekString},
    zeek::Event,
};
pub use mgmt_api::Level;
use mgmt_api::{AgentRequest, ClientResponse, Configuration};
use serde::{Deserialize, Serialize};

use super::{configurations::Slot, input::WriteId};

/// What the controller wants done, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        /// How important it is.
        level: Level,
        /// The line's message. Names in it come from clients and agents: whatever they hold, it is one line.
        message: String,
    },
    /// Make these configurations durable, all of them or none, and say so by [`super::Input::Persisted`]. Writes are
    /// carried out one after the other.
    Persist {
        /// Names the write in the input that ends it.
        write: WriteId,
        /// What to write where.
        entries: Vec<(Slot, Configuration)>,
    },
    /// Publish an event.
    Publish {
        /// The topic.
        topic: ZeekString,
        /// The event.
        event: Outgoing,
    },
}

/// An event that the controller publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outgoing {
    /// An answer to a client.
    Client(ClientResponse),
    /// A request to an agent.
    Agent(AgentRequest),
}

impl Outgoing {
    /// The event as it travels.
    pub fn to_event(&self) -> Result<Event, DataError> {
        match self {
            Self::Client(response) => Event::of(response),
            Self::Agent(request) => Event::of(request),
        }
    }

    /// The id of the request that the event is about.
    pub const fn reqid(&self) -> &ZeekString {
        match self {
            Self::Client(response) => response.reqid(),
            Self::Agent(request) => request.reqid(),
        }
    }

    /// The event's name, fully qualified.
    pub const fn event_name(&self) -> &'static str {
        match self {
            Self::Client(response) => response.kind().response_event(),
            Self::Agent(request) => request.event_name(),
        }
    }
}
