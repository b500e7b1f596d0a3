//! The cluster nodes' API, between an agent and its nodes on [`crate::topics::NODE`].

use broker_codec::data::{Set, ZeekString};
use serde::{Deserialize, Serialize};

use crate::records::{ResultRecord, event_name, none_as_default};

/// What an agent asks of cluster nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeRequest {
    /// Carry out an action.
    #[serde(rename = "Management::Node::API::node_dispatch_request")]
    NodeDispatch {
        reqid: ZeekString,
        /// The action's name and its arguments: `get_id_value` and an identifier's name.
        action: Vec<ZeekString>,
        /// The nodes that are meant; all of them if empty.
        #[serde(default, deserialize_with = "none_as_default")]
        nodes: Set<ZeekString>,
    },
}

impl NodeRequest {
    pub fn event_name(&self) -> &'static str {
        event_name(self)
    }
}

/// What a cluster node tells its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeMessage {
    /// The action's outcome.
    #[serde(rename = "Management::Node::API::node_dispatch_response")]
    NodeDispatch { reqid: ZeekString, result: ResultRecord },
    /// A node is there.
    #[serde(rename = "Management::Node::API::notify_node_hello")]
    Hello { node: ZeekString },
}
