//! The Supervisor's API: what an agent asks of a `zeek -j` process, and what that tells.
//!
//! | what | topic | upstream, below `scripts/` |
//! |---|---|---|
//! | [`SupervisorRequest`], [`SupervisorResponse`] | [`crate::topics::SUPERVISOR`] | `base/frameworks/supervisor/control.zeek` |
//! | [`SupervisorMessage`] | [`crate::topics::SUPERVISOR_SHIM`] | `policy/frameworks/management/supervisor/api.zeek` |
//! | [`NodeConfig`], [`ClusterEndpoint`], [`SupervisedNode`], [`SupervisorStatus`] | | `base/frameworks/supervisor/api.zeek` |
//!
//! The records changed with Zeek's releases. The types are those of Zeek 7.0 and later; [`SupervisorLayout`] converts.

mod layout;
mod records;

#[cfg(test)]
mod tests;

use broker_codec::data::ZeekString;
use serde::{Deserialize, Serialize};

use crate::records::{NodeOutputs, event_name};
pub use layout::{LayoutError, SupervisorLayout, release};
pub use records::{ClusterEndpoint, NodeConfig, SupervisedNode, SupervisorStatus};

/// What an agent asks of the Supervisor. Every request has an id, which comes back in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorRequest {
    /// Start a node and keep it running.
    #[serde(rename = "SupervisorControl::create_request")]
    Create {
        reqid: ZeekString,
        node: Box<NodeConfig>,
    },
    /// Which nodes are there?
    #[serde(rename = "SupervisorControl::status_request")]
    Status {
        reqid: ZeekString,
        /// The node's name; empty for all of them.
        node: ZeekString,
    },
    /// End a node and start it again.
    #[serde(rename = "SupervisorControl::restart_request")]
    Restart {
        reqid: ZeekString,
        /// The node's name; empty for all of them.
        node: ZeekString,
    },
    /// End a node and forget it.
    #[serde(rename = "SupervisorControl::destroy_request")]
    Destroy {
        reqid: ZeekString,
        /// The node's name; empty for all of them.
        node: ZeekString,
    },
}

impl SupervisorRequest {
    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }

    pub const fn reqid(&self) -> &ZeekString {
        match self {
            Self::Create { reqid, .. }
            | Self::Status { reqid, .. }
            | Self::Restart { reqid, .. }
            | Self::Destroy { reqid, .. } => reqid,
        }
    }

    /// The name of the node that the request is about; empty for all of them.
    pub fn node(&self) -> &ZeekString {
        match self {
            Self::Create { node, .. } => &node.name,
            Self::Status { node, .. } | Self::Restart { node, .. } | Self::Destroy { node, .. } => node,
        }
    }
}

/// What the Supervisor tells: answers, which say that it has taken a request on and not that it is done, and news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorResponse {
    /// To [`SupervisorRequest::Create`].
    #[serde(rename = "SupervisorControl::create_response")]
    Create {
        reqid: ZeekString,
        /// Why the node cannot be created; empty if it can.
        result: ZeekString,
    },
    /// To [`SupervisorRequest::Status`].
    #[serde(rename = "SupervisorControl::status_response")]
    Status {
        reqid: ZeekString,
        result: SupervisorStatus,
    },
    /// To [`SupervisorRequest::Restart`].
    #[serde(rename = "SupervisorControl::restart_response")]
    Restart {
        reqid: ZeekString,
        /// Whether there is such a node.
        result: bool,
    },
    /// To [`SupervisorRequest::Destroy`].
    #[serde(rename = "SupervisorControl::destroy_response")]
    Destroy {
        reqid: ZeekString,
        /// Whether there was such a node.
        result: bool,
    },
    /// A node was started: for the first time, after a restart, or because it had ended by itself.
    #[serde(rename = "SupervisorControl::node_status")]
    NodeStatus {
        node: ZeekString,
        /// Its process id; 0 if it could not be started.
        pid: u64,
    },
}

/// What the Management framework's part of the Supervisor tells its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorMessage {
    /// A node ended. Zeek sends it only when the node is started again, after
    /// [`SupervisorResponse::NodeStatus`].
    #[serde(rename = "Management::Supervisor::API::notify_node_exit")]
    NodeExit { node: ZeekString, outputs: NodeOutputs },
}
