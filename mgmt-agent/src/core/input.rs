use std::{collections::BTreeSet, time::Duration};

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    AgentRequest, HostState, LinkMessage, NodeMessage, OperatorRequest, Principal, link::Prepared,
};
use serde::{Deserialize, Serialize};

use super::{lives::LifeSign, program::Program, supervision::Report};

/// What happens to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The process is up. Comes first, once.
    Started {
        /// The Broker endpoint ID, as text.
        broker_id: ZeekString,
        pid: i64,
        /// The time by the clock on the wall, since 1970 in UTC.
        clock: Duration,
    },
    /// A peering with a controller or a cluster node is up.
    PeerAdded {
        /// With whom, in words, for the log.
        peer: String,
    },
    /// A peering with a controller, or with a node of which nothing was heard, has ended.
    PeerLost {
        peer: EndpointId,
    },
    /// Whether a controller is connected now.
    HasController(bool),
    /// A controller's request. What cannot be read as one never gets here.
    Request {
        peer: EndpointId,
        /// The topic it came on. Subscriptions are prefixes, so it may be another agent's.
        topic: ZeekString,
        request: AgentRequest,
        /// Whether the controller is one of this project, as it has subscribed to [`mgmt_api::topics::LINK`]. It waits longer.
        of_ours: bool,
        /// Who asks, where roles are set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<Box<Principal>>,
    },
    /// A controller's message of the extension. What cannot be read as one never gets here.
    Link {
        peer: EndpointId,
        message: LinkMessage,
        /// Who says it, where roles are set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        principal: Option<Box<Principal>>,
    },
    /// What an operator asks on the control socket. The answer is [`super::Action::Answer`].
    Operator {
        id: u64,
        principal: Principal,
        request: OperatorRequest,
    },
    /// How is the agent? The answer is [`super::Action::Vitals`].
    Vitals {
        id: u64,
    },
    /// The host is another than it was, or than the start said.
    Host(HostState),
    /// What [`super::Action::Prepare`] has found.
    Prepared(Prepared),
    /// What a cluster node tells, on the topic of nodes.
    Node(NodeMessage),
    /// What a node under our own supervision, which has shown that it is that node, tells of itself.
    SignOfLife {
        node: ZeekString,
        sign: LifeSign,
    },
    /// The peering with a cluster node has ended, as the node has said nothing, or taken nothing, for too long.
    NodeSilent {
        node: ZeekString,
        reason: String,
    },
    Supervisor(Report),
    /// What the program is like that Supervisors, or our own nodes, are started from. Comes with each start and now and then.
    Program(Program),
    /// The controller that the agent keeps has come up, or has ended.
    Controller(Option<KeptController>),
    /// A directory of [`super::Action::MakeDirectory`] cannot be created.
    DirectoryFailed {
        path: ZeekString,
        reason: String,
    },
    /// What was in the agent's directory is gone. It is there again; or it cannot be made again, for this reason.
    DirectoryLost {
        directory: String,
        outcome: Result<(), String>,
    },
    /// These nodes, and no others, work in directories that are gone.
    Homeless(BTreeSet<ZeekString>),
    /// What should run was written down ([`super::Action::Remember`]), or why not.
    Remembered(Result<(), String>),
    /// Time has passed; due at [`super::Agent::deadline`].
    Tick,
    /// The process is about to end, and its nodes with it.
    EndNodes,
    /// The process is about to end.
    Stopping {
        /// Whether the Supervisor has ended before it, with all nodes.
        without_nodes: bool,
    },
}

/// The process of a controller that the agent keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptController {
    pub name: ZeekString,
    pub pid: i64,
}

impl Input {
    /// The id of the request or command that it is about.
    pub(super) fn about(&self) -> Option<&ZeekString> {
        match self {
            Self::Request { request, .. } => Some(request.reqid()),
            Self::Link { message, .. } => message.reqid(),
            Self::Node(NodeMessage::NodeDispatch { reqid, .. }) => Some(reqid),
            Self::Supervisor(
                Report::Status { id, .. }
                | Report::Created { id, .. }
                | Report::Restarted { id, .. }
                | Report::Destroyed { id, .. }
                | Report::Failed { id, .. }
                | Report::Late { id },
            ) => Some(id),
            _ => None,
        }
    }
}
