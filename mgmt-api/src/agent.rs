//! The agent's API, between the controller and one agent on [`crate::topics::agent`].

use std::sync::Arc;

use broker_codec::data::{Set, ZeekString};
use serde::{Deserialize, Serialize};

use crate::{
    enums::State,
    records::{Configuration, Node, ResultRecord, event_name, none_as_default},
};

/// What the controller asks of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentRequest {
    /// Run this configuration's nodes of your instance, and no others.
    #[serde(rename = "Management::Agent::API::deploy_request")]
    Deploy {
        reqid: ZeekString,
        config: Arc<Configuration>,
        /// Also if it is the running one. Zeek's controller never asks for it.
        force: bool,
    },
    /// The state of every process on your instance.
    #[serde(rename = "Management::Agent::API::get_nodes_request")]
    GetNodes { reqid: ZeekString },
    /// Pass an action on to cluster nodes.
    #[serde(rename = "Management::Agent::API::node_dispatch_request")]
    NodeDispatch {
        reqid: ZeekString,
        /// The action's name and its arguments.
        action: Vec<ZeekString>,
        /// The nodes; all of them if empty.
        #[serde(default, deserialize_with = "none_as_default")]
        nodes: Set<ZeekString>,
    },
    /// You are part of the cluster now.
    #[serde(rename = "Management::Agent::API::agent_welcome_request")]
    AgentWelcome { reqid: ZeekString },
    /// You are not part of the cluster any more: end your nodes.
    #[serde(rename = "Management::Agent::API::agent_standby_request")]
    AgentStandby {
        /// Empty: the controller does not wait for the answer.
        reqid: ZeekString,
    },
    /// Restart cluster nodes.
    #[serde(rename = "Management::Agent::API::restart_request")]
    Restart {
        reqid: ZeekString,
        /// The nodes; all of them if empty. May name nodes of other instances.
        #[serde(default, deserialize_with = "none_as_default")]
        nodes: Set<ZeekString>,
    },
}

impl AgentRequest {
    pub const fn reqid(&self) -> &ZeekString {
        match self {
            Self::Deploy { reqid, .. }
            | Self::GetNodes { reqid }
            | Self::NodeDispatch { reqid, .. }
            | Self::AgentWelcome { reqid }
            | Self::AgentStandby { reqid }
            | Self::Restart { reqid, .. } => reqid,
        }
    }

    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }
}

/// With what an agent of this project begins its last [`AgentMessage::Log`] when it ends in good order.
pub const AGENT_STOPPED: &str = "its agent was stopped";

/// The error of a request whose time is up, in Zeek's words (`request.zeek`, and the timeouts of `*/main.zeek`).
pub const TIMED_OUT: &str = "request timed out";

/// What an agent tells the controller: answers, and news without a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AgentMessage {
    /// One result per node of the instance.
    #[serde(rename = "Management::Agent::API::deploy_response")]
    Deploy {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// The data is a vector of `NodeStatus`.
    #[serde(rename = "Management::Agent::API::get_nodes_response")]
    GetNodes { reqid: ZeekString, result: ResultRecord },
    /// One result per node that answered.
    #[serde(rename = "Management::Agent::API::node_dispatch_response")]
    NodeDispatch {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// The agent is ready to deploy.
    #[serde(rename = "Management::Agent::API::agent_welcome_response")]
    AgentWelcome { reqid: ZeekString, result: ResultRecord },
    /// The agent ended its nodes.
    #[serde(rename = "Management::Agent::API::agent_standby_response")]
    AgentStandby { reqid: ZeekString, result: ResultRecord },
    /// One result per node.
    #[serde(rename = "Management::Agent::API::restart_response")]
    Restart {
        reqid: ZeekString,
        results: Vec<ResultRecord>,
    },
    /// An agent is there.
    #[serde(rename = "Management::Agent::API::notify_agent_hello")]
    Hello {
        instance: ZeekString,
        /// The agent's Broker endpoint ID.
        id: ZeekString,
        /// Whether the agent connected to the controller, rather than the reverse.
        connecting: bool,
        /// The version of its API, see [`crate::API_VERSION`].
        api_version: u64,
    },
    /// A node changed its state. Zeek's agent never sends it.
    #[serde(rename = "Management::Agent::API::notify_change")]
    Change {
        instance: ZeekString,
        n: Node,
        old: State,
        new: State,
    },
    /// Something went wrong.
    #[serde(rename = "Management::Agent::API::notify_error")]
    Error {
        instance: ZeekString,
        msg: ZeekString,
        /// The node that it is about; empty if none.
        #[serde(default, deserialize_with = "none_as_default")]
        node: ZeekString,
    },
    /// Something to note. Zeek's agent never sends it.
    #[serde(rename = "Management::Agent::API::notify_log")]
    Log {
        instance: ZeekString,
        msg: ZeekString,
        /// The node that it is about; empty if none.
        #[serde(default, deserialize_with = "none_as_default")]
        node: ZeekString,
    },
}

impl AgentMessage {
    /// The answer to a request, with this as its only result.
    pub fn answer(request: &AgentRequest, result: ResultRecord) -> Self {
        let reqid = result.reqid.clone();
        match request {
            AgentRequest::Deploy { .. } => Self::Deploy {
                reqid,
                results: vec![result],
            },
            AgentRequest::GetNodes { .. } => Self::GetNodes { reqid, result },
            AgentRequest::NodeDispatch { .. } => Self::NodeDispatch {
                reqid,
                results: vec![result],
            },
            AgentRequest::AgentWelcome { .. } => Self::AgentWelcome { reqid, result },
            AgentRequest::AgentStandby { .. } => Self::AgentStandby { reqid, result },
            AgentRequest::Restart { .. } => Self::Restart {
                reqid,
                results: vec![result],
            },
        }
    }

    /// The id of the request that this answers; `None` for news.
    pub const fn reqid(&self) -> Option<&ZeekString> {
        match self {
            Self::Deploy { reqid, .. }
            | Self::GetNodes { reqid, .. }
            | Self::NodeDispatch { reqid, .. }
            | Self::AgentWelcome { reqid, .. }
            | Self::AgentStandby { reqid, .. }
            | Self::Restart { reqid, .. } => Some(reqid),
            Self::Hello { .. } | Self::Change { .. } | Self::Error { .. } | Self::Log { .. } => None,
        }
    }

    /// Whether an agent of this project says by this that it ends in good order.
    pub fn is_farewell(&self) -> bool {
        matches!(self, Self::Log { msg, node, .. } if node.is_empty() && msg.starts_with(AGENT_STOPPED.as_bytes()))
    }

    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }
}
