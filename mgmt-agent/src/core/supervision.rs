//! The seam between the agent and what looks after its processes.

use broker_codec::data::ZeekString;
use mgmt_api::{NodeConfig, NodeOutputs, SupervisorStatus};
use serde::{Deserialize, Serialize};

/// What the agent wants of the Supervisor. The id comes back in the report that ends the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Say which nodes there are. Ends in [`Report::Status`].
    Status { id: ZeekString },
    /// Start a node and keep it running. Ends in [`Report::Created`].
    Create { id: ZeekString, node: Box<NodeConfig> },
    /// End a node and start it again. Ends in [`Report::Restarted`].
    Restart {
        id: ZeekString,
        /// The node's name, never empty.
        node: ZeekString,
    },
    /// End a node and forget it. Ends in [`Report::Destroyed`].
    Destroy {
        id: ZeekString,
        /// The node's name, never empty.
        node: ZeekString,
    },
}

impl Command {
    pub const fn id(&self) -> &ZeekString {
        match self {
            Self::Status { id }
            | Self::Create { id, .. }
            | Self::Restart { id, .. }
            | Self::Destroy { id, .. } => id,
        }
    }
}

/// What the Supervisor tells the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It can be reached now, for the first time or again. Its nodes may be other ones than before.
    Ready,
    /// It cannot be reached any more. Commands that have not ended end without another report.
    Lost { reason: String },
    /// It runs but does not answer, so it is ended and started again. Commands that have not ended end without another
    /// report.
    GivenUp { reason: String },
    Status {
        id: ZeekString,
        status: SupervisorStatus,
    },
    /// The node will be started, or why it will not.
    Created {
        id: ZeekString,
        /// The Supervisor's reason.
        outcome: Result<(), ZeekString>,
    },
    /// The node will be restarted, if it exists.
    Restarted { id: ZeekString, existed: bool },
    /// The node will be ended, if it exists.
    Destroyed { id: ZeekString, existed: bool },
    /// The command cannot be passed on, or has not been answered.
    Failed { id: ZeekString, reason: String },
    /// It has not answered a command in time. Comes before the [`Report::Failed`] of the first such command.
    Silent { reason: String },
    /// It has said something again.
    Heard,
    /// A command to start or restart a node, which [`Report::Failed`] had ended for lack of an answer, was answered after all: the
    /// node will be started.
    Late { id: ZeekString },
    /// A node has ended by itself. Not every Supervisor tells; it comes before the [`Report::NodeStarted`] that follows.
    NodeEnded {
        node: ZeekString,
        /// The process that has ended.
        pid: u64,
        /// How: `exit status 1`, `signal 9 (SIGKILL)`.
        how: String,
    },
    /// A node was started: because of a command, or because it had ended by itself.
    NodeStarted {
        node: ZeekString,
        /// Its process id; 0 if it could not be started, which is tried again.
        pid: u64,
    },
    /// What a node wrote before its latest start. Comes after [`Report::NodeStarted`], if there was output.
    NodeExited {
        node: ZeekString,
        /// Its last output.
        outputs: NodeOutputs,
    },
}
