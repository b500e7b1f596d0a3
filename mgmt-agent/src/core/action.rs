use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
    zeek::Event,
};
use mgmt_api::{
    AgentMessage, Level, LinkMessage, LogLine, NodeLinkRequest, NodeRequest,
    operator::{NotDone, Vitals},
};
use serde::{Deserialize, Serialize};

use super::{
    desired::Desired,
    node_spec::Candidate,
    order::Order,
    supervision::{ClusterNode, Command},
};

/// What the agent wants done, in this order. Its [`crate::machine`] makes events of what is for controllers, nodes and the
/// Supervisor, and hands everything else on to the daemon as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Write a line into the management log.
    Log {
        level: Level,
        /// The id of the request or command that it is about: the controller's, if a request of one is behind it.
        reqid: Option<ZeekString>,
        /// The line's message. One line: names of controllers and nodes in it are escaped.
        message: String,
    },
    /// Tell an operator, but not in the management log, which has what Zeek's has.
    Report { level: Level, message: String },
    /// Tell controllers.
    Tell(AgentMessage),
    /// Tell one controller.
    TellOne { peer: EndpointId, message: AgentMessage },
    /// Tell one controller that speaks the extension.
    Link { peer: EndpointId, message: LinkMessage },
    /// Answer what an operator has asked under this id ([`super::Input::Operator`]).
    Answer {
        id: u64,
        /// JSON ([`mgmt_api::operator`]), or why there is no answer.
        outcome: Result<ZeekString, NotDone>,
    },
    /// Say how the agent is, as was asked under this id ([`super::Input::Vitals`]).
    Vitals { id: u64, vitals: Box<Vitals> },
    /// Ask cluster nodes.
    Ask(NodeRequest),
    /// Ask nodes under our own supervision.
    AskLinked(NodeLinkRequest),
    /// Have the Supervisor do this.
    Supervise(Command),
    /// Start and end processes of nodes, where no Supervisor of Zeek's does.
    Nodes(Order),
    /// Write down what should run, and say by [`super::Input::Remembered`] whether that was done.
    Remember(Desired),
    /// Create a directory and those above it, unless it is there. If that fails, [`super::Input::DirectoryFailed`]
    /// says so.
    MakeDirectory { path: ZeekString },
    /// Look whether the host has what these nodes need, and say so by [`super::Input::Prepared`]. Comes again only after that.
    Prepare {
        nodes: Vec<Candidate>,
        /// The cluster that they are part of, if the controller says so.
        cluster: Option<BTreeMap<ZeekString, ClusterNode>>,
        /// Ports that do not count.
        given_up: Vec<Port>,
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
    Publish {
        to: To,
        topic: ZeekString,
        /// The event, without metadata.
        event: Event,
    },
    /// Ask the installed Zeek which one it is. The answer is [`News::Version`](crate::supervisors::zeek::News::Version), or that of
    /// [our own supervision](crate::supervisors::own::News::Version).
    AskVersion,
    /// End the Supervisor's process, which is ours, and start it again.
    EndSupervisor {
        /// How long it has been silent.
        silence: Duration,
    },
    /// Count a message that is not obeyed, and say so.
    Refuse {
        peer: EndpointId,
        topic: ZeekString,
        /// What is wrong with it.
        reason: String,
    },
    /// An event could not be written, so no peer gets it. A fault of ours.
    Unsendable { event: String, reason: String },
}

/// Who gets an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum To {
    /// This peer, also if it has not subscribed to the topic.
    One(EndpointId),
    /// Every peer that has, but these.
    Subscribers { except: BTreeSet<EndpointId> },
}

impl To {
    /// Every peer that has subscribed to the topic.
    pub const ALL: Self = Self::Subscribers {
        except: BTreeSet::new(),
    };

    /// The only one.
    pub const fn one(&self) -> Option<EndpointId> {
        match self {
            Self::One(peer) => Some(*peer),
            Self::Subscribers { .. } => None,
        }
    }
}

/// One call of `step`, of the agent or of its Supervisor.
pub type Turn = mgmt_api::Turn<Action>;

impl From<LogLine> for Action {
    fn from(LogLine { level, message }: LogLine) -> Self {
        Self::Log {
            level,
            reqid: None,
            message,
        }
    }
}

impl Action {
    /// A line about a request, which need not be what the input is about.
    pub(super) fn about_request(reqid: &ZeekString, message: String) -> Self {
        Self::Log {
            level: Level::Info,
            reqid: Some(reqid.clone()),
            message,
        }
    }

    /// A line that names no request is about this one.
    pub(crate) fn about(self, request: Option<&ZeekString>) -> Self {
        match self {
            Self::Log {
                level,
                reqid: None,
                message,
            } => Self::Log {
                level,
                reqid: request.cloned(),
                message,
            },
            other => other,
        }
    }
}
