//! What operators ask of a cluster, by its controller.

use serde::{Deserialize, Serialize};

use super::{
    agent::{NodeName, NodeReport},
    plain,
};
use crate::enums::ClusterRole;

/// What an operator asks of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterRequest {
    /// How it is, against how it is to be: [`ClusterStatus`].
    Status,
    /// What a node last wrote: [`Outputs`](super::agent::Outputs).
    Outputs(NodeName),
    /// Nodes are to stop, and stay so until they are started: [`ClusterChanged`].
    Stop(ClusterSelection),
    /// Nodes that were stopped are to start: [`ClusterChanged`].
    Start(ClusterSelection),
    /// Nodes are to be restarted: [`ClusterChanged`].
    Restart(NodeNames),
}

/// Which nodes of the deployed configuration are meant: all, of these names, on these instances, and of this role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSelection {
    /// None for any.
    pub nodes: Vec<String>,
    /// None for any.
    pub instances: Vec<String>,
    #[serde(
        serialize_with = "plain::serialize_option",
        deserialize_with = "plain::deserialize_option"
    )]
    pub role: Option<ClusterRole>,
}

/// Nodes; none for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeNames {
    pub nodes: Vec<String>,
}

/// The nodes that were not as they are to be now, and what could not be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterChanged {
    pub nodes: Vec<String>,
    pub failures: Vec<Failure>,
}

/// What could not be done on an instance, or for one of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub instance: Option<String>,
    pub node: Option<String>,
    pub reason: String,
}

/// How a cluster is, against how it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    pub cluster: String,
    /// The id of the deployed configuration, if there is one.
    pub deployed: Option<String>,
    /// Whether another one is staged.
    pub is_another_staged: bool,
    /// Those of the deployed configuration, and those that are connected besides, in the order of their names.
    pub instances: Vec<InstanceReport>,
}

/// How an instance is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceReport {
    pub instance: String,
    /// Whether it belongs to the deployed configuration.
    pub is_deployed: bool,
    /// Whether its agent is connected.
    pub is_connected: bool,
    /// Where its agent is, or was last seen.
    pub address: Option<String>,
    /// For how long it has been connected, or away, in seconds; not known of one that was never there.
    pub since: Option<u64>,
    /// What is said of the agent if it is ours: its release.
    pub agent: Option<String>,
    /// What keeps its nodes, likewise.
    pub supervise: Option<String>,
    /// The id of the configuration that it runs, likewise.
    pub configuration: Option<String>,
    /// Why its nodes' states are not known, if they are not.
    pub trouble: Option<String>,
    /// Those of the deployed configuration, and those that it has besides.
    pub nodes: Vec<NodeReport>,
}
