//! The seam between the agent and what looks after its processes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker_codec::data::{Address, Port, ZeekString};
use mgmt_api::{ClusterRole, NodeOutputs};
use serde::{Deserialize, Serialize};

/// What the agent wants of the Supervisor. A command ends in one report with its id, or with all others in [`Report::Lost`] or
/// [`Report::Unresponsive`]. Only after [`Report::Failed`] there may be another one about it, [`Report::Late`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Say which nodes there are. Ends in [`Report::Status`].
    Status { id: ZeekString },
    /// Start a node and keep it running. Ends in [`Report::Created`].
    Create { id: ZeekString, node: Box<NodeSpec> },
    /// A node that runs is to learn of the workers in its cluster; nothing else about it has changed. Ends in [`Report::Created`].
    Relayout { id: ZeekString, node: Box<NodeSpec> },
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
            | Self::Relayout { id, .. }
            | Self::Restart { id, .. }
            | Self::Destroy { id, .. } => id,
        }
    }
}

/// A node as it is to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub name: ZeekString,
    /// The network interface to sniff.
    pub interface: Option<ZeekString>,
    /// Where it works.
    pub directory: ZeekString,
    /// Scripts to load after those that every node loads.
    pub scripts: Vec<ZeekString>,
    pub env: BTreeMap<ZeekString, ZeekString>,
    /// The CPU to pin the process to.
    pub cpu_affinity: Option<i64>,
    /// Zeek options to set, and what this project reads between them, whose names begin with `mgmt.`. Zeek's Supervisor knows none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<ZeekString, ZeekString>,
    /// What the manager's option [`CLUSTER_BACKEND`](mgmt_api::CLUSTER_BACKEND) says, for all nodes alike: they must not differ in it.
    #[serde(default)]
    pub cluster_backend: Option<ZeekString>,
    /// The cluster that it is part of, itself included: the same for all its nodes.
    pub cluster: Arc<BTreeMap<ZeekString, ClusterNode>>,
}

/// Where a node of the cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNode {
    pub role: ClusterRole,
    pub host: Address,
    /// Its Broker port, if it listens.
    pub p: Option<Port>,
    /// The network interface it sniffs.
    pub interface: Option<ZeekString>,
    pub metrics_port: Option<Port>,
}

/// Whether all nodes of a cluster are on one host.
pub fn is_on_one_host(cluster: &BTreeMap<ZeekString, ClusterNode>) -> bool {
    let mut hosts = cluster.values().map(|node| node.host);
    let first = hosts.next();
    hosts.all(|host| Some(host) == first)
}

/// Whether this node of a cluster writes the logs of others: a manager does where there is no logger.
pub fn writes_logs(cluster: &BTreeMap<ZeekString, ClusterNode>, node: &ClusterNode) -> bool {
    let is = |node: &ClusterNode, role| node.role == role;
    is(node, ClusterRole::Logger)
        || (is(node, ClusterRole::Manager) && !cluster.values().any(|other| is(other, ClusterRole::Logger)))
}

/// A process of the Supervisor's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervised {
    /// Its process id as last known; the process may have ended since.
    pub pid: Option<i64>,
    /// For how long the process has run, if the Supervisor can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// What it is to the Management framework, as `AGENT`, if it is a part of it. Such a process is left alone.
    pub management: Option<ZeekString>,
    /// Its own place in its cluster, if it is a cluster node.
    pub node: Option<ClusterNode>,
    /// How it was started, if the Supervisor can tell. Without that it is never taken for one that may run on.
    #[serde(default)]
    pub spec: Option<Box<NodeSpec>>,
}

/// The processes of the Supervisor, by name.
pub type Processes = BTreeMap<ZeekString, Supervised>;

/// What the Supervisor tells the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It can be reached now, for the first time or again. Its nodes may be other ones than before.
    Ready,
    /// It cannot be reached any more. Commands that have not ended end without another report.
    Lost { reason: String },
    /// It runs but does not answer, so it is ended and started again. Commands that have not ended end without another
    /// report.
    Unresponsive { reason: String },
    Status {
        id: ZeekString,
        /// Its processes, by name.
        status: Processes,
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
    /// A node that was to be ended has ended. Not every Supervisor tells.
    Gone { node: ZeekString },
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
        pid: i64,
        /// How: `exit status 1`, `signal 9 (SIGKILL)`.
        how: String,
    },
    /// A node was started: because of a command, or because it had ended by itself.
    NodeStarted {
        node: ZeekString,
        pid: i64,
        /// Whether it is to end already, as a later command wants. Not every Supervisor knows.
        #[serde(default)]
        is_to_end: bool,
    },
    /// No process could be started for a node, which is tried again.
    NotStarted { node: ZeekString },
    /// What a node wrote before its latest start. Comes after [`Report::NodeStarted`], if there was output.
    NodeExited {
        node: ZeekString,
        /// Its last output.
        outputs: NodeOutputs,
    },
    /// A node has ended by itself, or could not be started, and is started again after a time.
    Crashed {
        node: ZeekString,
        /// How: `exit status 1`, `signal 9 (SIGKILL)`.
        how: String,
        /// The last lines of what it wrote.
        outputs: NodeOutputs,
        again_in: Duration,
        /// Whether it has ended so often that it counts as failed.
        has_failed: bool,
    },
    /// A node is started as soon as this is there that it needs: `interface eth9`.
    Waits { node: ZeekString, what: String },
    /// A node has done its work: it has read its trace file.
    Done { node: ZeekString },
    /// An administrator has stopped a node, or started one that was stopped, by other means than ours.
    Administered { node: ZeekString, runs: bool },
    /// The answer to [`super::Action::AskVersion`], where the agent starts nodes itself.
    Installed {
        /// What the program says that it is: `zeek version 9.0.0`.
        version: Option<String>,
        /// Why no node can be started from it.
        problem: Option<String>,
    },
}
