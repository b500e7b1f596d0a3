use broker_codec::{
    data::{DataError, ZeekString},
    zeek::Event,
};
use mgmt_api::{AgentMessage, Level, NodeRequest};
use serde::{Deserialize, Serialize};

use super::supervision::Command;

/// What the agent wants done, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        level: Level,
        /// The id of the controller's request that it is about; `None`: what the input is about.
        reqid: Option<ZeekString>,
        /// The line's message. One line: names of controllers and nodes in it are escaped.
        message: String,
    },
    /// Tell an operator, but not in the management log, which has what Zeek's has.
    Report {
        level: Level,
        message: String,
    },
    Publish {
        topic: ZeekString,
        event: Outgoing,
    },
    /// Have the Supervisor do this.
    Supervise(Command),
    /// Create a directory and those above it, unless it is there. If that fails, [`super::Input::DirectoryFailed`]
    /// says so.
    MakeDirectory {
        path: ZeekString,
    },
    /// Archive rotated logs: if there is such a directory, write the message into the management log with level INFO and
    /// run the command by `sh -c`, without waiting for its end.
    RunArchiver {
        /// The directory of rotated logs. Loggers create it when they first rotate.
        directory: String,
        command: String,
        /// The line for the log.
        message: String,
    },
}

/// An event that the agent publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outgoing {
    /// To controllers.
    Agent(AgentMessage),
    /// To cluster nodes.
    Node(NodeRequest),
}

impl Outgoing {
    pub const fn event_name(&self) -> &'static str {
        match self {
            Self::Agent(message) => message.event_name(),
            Self::Node(request) => request.event_name(),
        }
    }

    pub fn to_event(&self) -> Result<Event, DataError> {
        match self {
            Self::Agent(message) => Event::of(message),
            Self::Node(request) => Event::of(request),
        }
    }
}
