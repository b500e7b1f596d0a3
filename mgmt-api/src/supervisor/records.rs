use std::collections::BTreeMap;

use broker_codec::data::{Address, Port, ZeekString};
use serde::{Deserialize, Serialize};

use crate::{enums::ClusterRole, records::none_as_default};

/// How to start a node (`Supervisor::NodeConfig`).
///
/// Containers are written as they are, never as `none`: Zeek 5.0's Supervisor crashes on that.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeConfig {
    /// The node's name: not empty, without spaces.
    pub name: ZeekString,
    /// The network interface to sniff.
    #[serde(default)]
    pub interface: Option<ZeekString>,
    /// The capture file to read instead.
    #[serde(default)]
    pub pcap_file: Option<ZeekString>,
    #[serde(default)]
    pub directory: Option<ZeekString>,
    /// A file for the standard output.
    #[serde(default)]
    pub stdout_file: Option<ZeekString>,
    /// A file for the standard error.
    #[serde(default)]
    pub stderr_file: Option<ZeekString>,
    /// Whether to leave out the scripts that Zeek loads by default.
    #[serde(default)]
    pub bare_mode: Option<bool>,
    /// Scripts to load before those on the Supervisor's command line.
    #[serde(default, deserialize_with = "none_as_default")]
    pub addl_base_scripts: Vec<ZeekString>,
    /// Scripts to load after them.
    #[serde(default, deserialize_with = "none_as_default")]
    pub addl_user_scripts: Vec<ZeekString>,
    /// Environment variables to set.
    #[serde(default, deserialize_with = "none_as_default")]
    pub env: BTreeMap<ZeekString, ZeekString>,
    /// The CPU to pin the process to.
    #[serde(default)]
    pub cpu_affinity: Option<i64>,
    /// The cluster that the node is part of, itself included.
    #[serde(default, deserialize_with = "none_as_default")]
    pub cluster: BTreeMap<ZeekString, ClusterEndpoint>,
}

/// Where a node of the cluster is (`Supervisor::ClusterEndpoint`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterEndpoint {
    pub role: ClusterRole,
    pub host: Address,
    /// Its Broker port; `0/unknown` if it does not listen.
    pub p: Port,
    /// The network interface it sniffs.
    #[serde(default)]
    pub interface: Option<ZeekString>,
    /// The capture file it reads.
    #[serde(default)]
    pub pcap_file: Option<ZeekString>,
    /// The port for its metrics.
    #[serde(default)]
    pub metrics_port: Option<Port>,
}

/// A node of the Supervisor's (`Supervisor::NodeStatus`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SupervisedNode {
    /// How it was started.
    pub node: NodeConfig,
    /// Its process id as last known; the process may have ended since.
    #[serde(default)]
    pub pid: Option<i64>,
}

/// The Supervisor's nodes (`Supervisor::Status`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SupervisorStatus {
    #[serde(default, deserialize_with = "none_as_default")]
    pub nodes: BTreeMap<ZeekString, SupervisedNode>,
}
