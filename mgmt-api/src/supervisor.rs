//! The API of the Management framework's part of the Supervisor, on [`crate::topics::SUPERVISOR_SHIM`].
//!
//! Zeek's own Supervisor API (`SupervisorControl`) differs from release to release and is not here.

use broker_codec::data::ZeekString;
use serde::{Deserialize, Serialize};

use crate::records::NodeOutputs;

/// What the Supervisor tells its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SupervisorMessage {
    /// A node ended. Zeek sends it only when the node is started again.
    #[serde(rename = "Management::Supervisor::API::notify_node_exit")]
    NodeExit {
        /// The node's name.
        node: ZeekString,
        /// Its last output.
        outputs: NodeOutputs,
    },
}
